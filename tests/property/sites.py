"""What a mesh is made of: its connectors' configurations, an empty store, and a writer without a thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Coroutine
from typing import Any, TypeVar

from msgspec import Struct, field

from esplanade.config.model import ConnectorConfig
from esplanade.context import Context
from esplanade.model import AudienceTarget, ConsentTarget, TriggerTarget
from esplanade.store import migrate
from esplanade.store.sqlite.unit import SqliteUnit
from esplanade.testing.clock import FakeClock

from .vendor import Habits

T = TypeVar("T")


class Asks(ConsentTarget, frozen=True, kw_only=True):
    """A target whose vendor has each plain grant confirmed."""

    def asks_to_confirm(self) -> bool:
        return True


class Site(Struct, frozen=True, kw_only=True):
    """One connector and its vendor."""

    habits: Habits = field(default_factory=Habits)
    fields: list[str] = field(default_factory=lambda: ["name", "note", "points"])
    purposes: list[str] = field(default_factory=lambda: ["newsletter"])
    audiences: list[str] = field(default_factory=lambda: ["club"])
    asks: bool = False
    """The vendor has grants of ``newsletter`` confirmed, if no other does so already."""
    regrant: str = "confirmed"
    conflict: str = "newest"
    requires: str | None = None
    source: str | None = None


class Silent:
    """A log that nobody reads."""

    def debug(self, event: str, **values: Any) -> None: ...

    info = warning = error = debug


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise AssertionError("something in the mesh waits")


class Steady:
    """The writer without its thread."""

    def __init__(self, unit: SqliteUnit) -> None:
        self._unit = unit

    async def accept(self, entries, answered=None):
        self._unit.append(entries)

    async def run(self, work, *, durable=True):
        return work(self._unit)

    async def read(self, question):
        return question(self._unit)


def database() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None, cached_statements=256)
    for migration in migrate.due("sqlite", 0):
        db.executescript(migration.sql)
    db.execute("BEGIN")
    return db


def config_of(name: str, site: Site, *, asks: bool) -> ConnectorConfig:
    consents = {purpose: ConsentTarget(regrant=site.regrant) for purpose in site.purposes}  # type: ignore[arg-type]  # drawn from the three
    if asks:
        consents["newsletter"] = Asks(regrant=site.regrant)  # type: ignore[arg-type]  # drawn from the three
    return ConnectorConfig(
        name=name,
        plugin=name,
        receives=["profile", "consent", "trigger"],
        sends=["profile", "consent", "trigger"],
        fields={each: each.upper() for each in site.fields},
        consents=consents,
        audiences={audience: AudienceTarget() for audience in site.audiences},
        triggers={"welcome": TriggerTarget()},
        conflict=site.conflict,  # type: ignore[arg-type]  # drawn from the three
        requires=site.requires,
        source=site.source,
    )


def context_of(config: ConnectorConfig, clock: FakeClock) -> Context:
    return Context(
        connector=config.name,
        http=None,  # type: ignore[arg-type]  # the model vendors are asked directly
        kv=None,  # type: ignore[arg-type]  # and remember by themselves
        log=Silent(),
        clock=clock,
        fields=config.fields,
        consents=config.consents,
        audiences=config.audiences,
        triggers=config.triggers,
        language="en",
        timezone="UTC",
    )
