"""What one event costs behind the answer: the pure merge, the fan-out, the whole fold, and their share of ingest."""

from __future__ import annotations

import cProfile
import os
import pstats
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from esplanade.config.model import ConnectorConfig, Hub
from esplanade.connector import Traits
from esplanade.ingest.entries import fold_entry
from esplanade.ingest.shapes import ReportIn
from esplanade.ingest.world import World
from esplanade.model import AudienceTarget, ConsentTarget
from esplanade.records import Clocked, Entry, Person, Remote
from esplanade.store.sqlite.connection import open_writer
from esplanade.store.sqlite.unit import SqliteUnit
from esplanade.sync import mapping, merge

PEOPLE = 2_000
FIELDS = 6
ROUNDS = 5
PARTS = {"sync": "sync/: merge, law, mapping", "ingest": "ingest/: resolve, fan-out", "store": "store/"}


class Costs(msgspec.Struct, frozen=True):
    """Microseconds."""

    decode: float
    judge: float
    delta: float
    changed: float
    unchanged: float
    reported: float
    each_connector: float
    profile: list[tuple[str, float]]


def measure() -> Costs:
    """Everything on one thread, in a real SQLite file, 200 entries a transaction as the fold does it."""
    with tempfile.TemporaryDirectory() as folder:
        db = open_writer(Path(folder) / "fold.db")
        unit = SqliteUnit(db)
        one, four = _world(1), _world(4)
        _fold(unit, db, one, [_profile(number, 0) for number in range(PEOPLE)])
        changed = min(_fold(unit, db, one, _profiles(round_)) for round_ in range(1, ROUNDS))
        fanned = min(_fold(unit, db, four, _profiles(round_)) for round_ in range(ROUNDS, 2 * ROUNDS))
        again = _profiles(2 * ROUNDS - 1)
        unchanged = min(_fold(unit, db, one, again) for _ in range(ROUNDS))
        reported = min(_fold(unit, db, one, [_report(number, at) for number in range(PEOPLE)]) for at in range(ROUNDS))
        profile = _shares(unit, db, one)
        db.close()
    return Costs(
        decode=_each(lambda: msgspec.json.decode(_BODY)),
        judge=_each(_judged()),
        delta=_each(_delta()),
        changed=changed,
        unchanged=unchanged,
        reported=reported,
        each_connector=(fanned - changed) / 3,
        profile=profile,
    )


def table(costs: Costs) -> list[str]:
    """The lines to print."""
    rows = [
        ("decoding one event of 400 bytes from JSON, for comparison", costs.decode),
        ("judging one reported field against base and hub", costs.judge),
        (f"desired - base of a person with {FIELDS} fields", costs.delta),
        ("folding a profile that changes one field, 1 connector", costs.changed),
        ("folding a profile that changes nothing", costs.unchanged),
        ("folding a vendor's report that changes one field", costs.reported),
        ("each connector more that a change fans out to", costs.each_connector),
    ]
    lines = [f"{what:60} {cost:8.1f} µs" for what, cost in rows]
    lines.append("where the fold of a changed profile spends it:")
    return [*lines, *(f"  {what:58} {share:8.0%}" for what, share in costs.profile)]


_BODY = msgspec.json.encode(
    {
        "email": "person.1@load.example",
        "id": "u-1",
        "fields": {f"field{at}": f"value {at} of person 1, of some length" for at in range(FIELDS)},
    }
)


def _world(connectors: int) -> World:
    made = {
        name: ConnectorConfig(
            name=name,
            plugin=name,
            receives=["profile", "consent"],
            sends=["profile", "consent"],
            fields={f"field{at}": f"FIELD{at}" for at in range(FIELDS)},
            consents={"newsletter": ConsentTarget()},
            audiences={"vip": AudienceTarget()},
        )
        for name in [f"vendor{at}" for at in range(connectors)]
    }
    return World(hub=Hub(), connectors=made, traits=dict.fromkeys(made, Traits(can_fetch=True)))


def _profiles(round_: int) -> list[Entry]:
    return [_profile(number, round_) for number in range(PEOPLE)]


def _profile(number: int, round_: int) -> Entry:
    fields = {f"field{at}": f"value {at} of person {number}, of some length" for at in range(FIELDS)}
    body = {"email": f"person.{number}@load.example", "id": f"u-{number}", "fields": {**fields, "field0": str(round_)}}
    return _entry("profile", "shop", f"{number}.{round_}", round_, body)


def _report(number: int, round_: int) -> Entry:
    body = ReportIn(
        email=f"person.{number}@load.example", remote_id=str(number), fields={"FIELD1": f"reported {round_}"}
    )
    return _entry("report", "vendor0", f"r{number}.{round_}", 10_000 + round_, body)


def _entry(kind: str, origin: str, name: str, at: float, body: object) -> Entry:
    return Entry(
        kind=kind,  # type: ignore[arg-type]  # both callers pass a literal
        origin=origin,
        id=name,
        at=1_000.0 + at,
        body=msgspec.msgpack.encode(body),
    )


def _fold(unit: SqliteUnit, db: sqlite3.Connection, world: World, entries: list[Entry]) -> float:
    began = time.perf_counter()
    for start in range(0, len(entries), 200):
        db.execute("BEGIN")
        for entry in entries[start : start + 200]:
            fold_entry(unit, world, entry, {})
        db.execute("COMMIT")
    return (time.perf_counter() - began) / len(entries) * 1e6


def _each(work: Callable[[], object], times: int = 20_000) -> float:
    def once() -> float:
        began = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - began) / times * 1e6

    return min(once() for _ in range(ROUNDS))


def _judged() -> Callable[[], object]:
    remote = Remote(person=1, connector="vendor0", email="a@load.example", fields={"FIELD0": "Ada"})
    telling = merge.Telling(now=5_000.0, window=600.0, at=5_000.0, has_clock=False, fresh=False)
    return lambda: merge.weigh(
        "Ada Lovelace",
        key="FIELD0",
        remote=remote,
        hub=Clocked("Ada", 1_000.0),
        telling=telling,
        conflict="newest",
        traits=_TRAITS,
    )


_TRAITS = Traits()


def _delta() -> Callable[[], object]:
    connector = _world(1).connectors["vendor0"]
    held = {f"FIELD{at}": f"value {at}" for at in range(FIELDS)}
    person = Person(
        id=1,
        email="a@load.example",
        email_key="a@load.example",
        fields={f"field{at}": Clocked(f"value {at}", 1.0) for at in range(FIELDS)},
    )
    remote = Remote(person=1, connector="vendor0", email="a@load.example", fields={**held, "FIELD0": "another"})

    def work() -> merge.Delta:
        desired = mapping.desired_fields(person, connector, frozenset())
        return merge.delta(person.email, desired, mapping.desired_audiences(person, connector), remote, _TRAITS)

    return work


def _shares(unit: SqliteUnit, db: sqlite3.Connection, world: World) -> list[tuple[str, float]]:
    """Own time by part of the core, of folding changed profiles under the profiler."""
    profiler = cProfile.Profile()
    profiler.enable()
    _fold(unit, db, world, _profiles(99))
    profiler.disable()
    parts: dict[str, float] = {}
    for (file, _, name), (_, _, own, _, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]  # typeshed leaves it out
        parts[_part(file, name)] = parts.get(_part(file, name), 0.0) + own
    total = sum(parts.values())
    return [(part, own / total) for part, own in sorted(parts.items(), key=lambda item: -item[1])]


def _part(file: str, name: str) -> str:
    if "execute" in name or "fetch" in name or "COMMIT" in name:
        return "SQLite"
    for part, words in PARTS.items():
        if f"{os.sep}esplanade{os.sep}{part}{os.sep}" in file:
            return words
    return "decoding, encoding and the rest"
