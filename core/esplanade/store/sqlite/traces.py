"""Looking for the words of a person in what was stored as it came; slice by slice, beside the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from esplanade.records import Entry
from esplanade.store.erasures import Cut, Erasure, Traces
from esplanade.store.words import Finder, decoded

_entries = msgspec.msgpack.Decoder(list[Entry]).decode
_entry = msgspec.msgpack.Decoder(Entry).decode
_encode = msgspec.msgpack.Encoder().encode

LETTERS_A_LOOK = 2_000
ROWS_A_LOOK = 500
READ_BYTES = 4_000_000
"""How much of the journal one look reads."""
CUT_BYTES = 64_000
"""How much of the journal one unit writes anew, but for a segment that alone is larger."""

LETTERS = (
    "SELECT id, lane, kind, state, payload, last_error FROM deliveries WHERE id > ? AND id <= ? AND person IS NULL "
    "ORDER BY id"
)
SEGMENTS = "SELECT id, entries, payload FROM journal WHERE id > ? AND id <= ? ORDER BY id LIMIT 200"
CURSOR = "SELECT segment, done FROM fold_cursor"
ANSWERS = "SELECT source, key, answer FROM answers WHERE (source, key) > (?, ?) ORDER BY source, key LIMIT ?"
VALUES = (
    "SELECT connector, key, value FROM plugin_values WHERE (connector, key) > (?, ?) ORDER BY connector, key LIMIT ?"
)
STATES = "SELECT name, record FROM connector_states"
CURSORS = "SELECT connector, job, cursor FROM cursors"


class TraceReads:
    """One look for an erasure's traces, in the stage where it stands."""

    db: sqlite3.Connection

    def traces(self, erasure: Erasure) -> Traces:
        looks: dict[str, Callable[[Erasure, Finder], Traces]] = {
            "letters": self._letters,
            "journal": self._journal,
            "answers": self._answers,
            "values": self._values,
            "states": self._states,
        }
        look = looks.get(erasure.stage)
        return look(erasure, Finder(erasure.words)) if look else Traces()

    def _letters(self, erasure: Erasure, finder: Finder) -> Traces:
        (first,) = erasure.after or (0,)
        last = min(first + LETTERS_A_LOOK, erasure.last_delivery)
        found = Traces(after=[last] if last < erasure.last_delivery else None)
        for number, lane, kind, state, payload, error in self.db.execute(LETTERS, (first, last)):
            if not finder.may_hold(payload + (error or "").encode()):
                continue
            entry = _entry(payload) if kind == "fold" else None
            stored = decoded(payload if entry is None else entry.body)
            if entry is not None and entry.kind != "webhook":
                gone = finder.about(entry)
            else:  # a webhook that waits to be folded is like any other
                gone = _webhook(finder, stored, entry.origin if entry else lane.partition(":")[0], state)
            if gone or (state == "done" and finder.addressed(error)):
                found.letters.append(number)
            elif finder.addressed(stored):
                found.kept += 1
        return found

    def _journal(self, erasure: Erasure, finder: Finder) -> Traces:
        (after,) = erasure.after or (0,)
        segment, done = self.db.execute(CURSOR).fetchone()
        found, read, written, looked = Traces(), 0, 0, False
        for number, many, payload in self.db.execute(SEGMENTS, (after, erasure.last_segment)):
            looked, after, read = True, number, read + len(payload)
            if finder.may_hold(payload):
                entries = _entries(payload)
                folded = len(entries) if number < segment else done if number == segment else 0
                gone = [place for place, one in enumerate(entries) if _is_trace(finder, one, folded=place < folded)]
                found.kept += sum(_is_kept(finder, one) for one in entries[folded:] if one.kind == "webhook")
                if gone:
                    kept = _encode([one for place, one in enumerate(entries) if place not in set(gone)])
                    found.segments.append(Cut(segment=number, entries=many, gone=gone, payload=kept))
                    written += len(kept)
            if read > READ_BYTES or written > CUT_BYTES:
                break
        found.after = [after] if looked else None
        return found

    def _answers(self, erasure: Erasure, finder: Finder) -> Traces:
        rows = self.db.execute(ANSWERS, (*(erasure.after or ("", "")), ROWS_A_LOOK)).fetchall()
        found = Traces(after=_place(rows))
        found.answers = [(source, key) for source, key, answer in rows if finder.addressed([key, answer])]
        return found

    def _values(self, erasure: Erasure, finder: Finder) -> Traces:
        rows = self.db.execute(VALUES, (*(erasure.after or ("", "")), ROWS_A_LOOK)).fetchall()
        found = Traces(after=_place(rows))
        for connector, key, packed in rows:
            value = decoded(packed)
            named = finder.named(key, connector, distinct=1) or finder.named(value, connector)
            if named or finder.addressed([key, value]):
                found.values.append((connector, key))
        return found

    def _states(self, _: Erasure, finder: Finder) -> Traces:
        found = Traces()
        found.states = [name for name, record in self.db.execute(STATES) if _tells(finder, name, decoded(record))]
        found.cursors = [
            (connector, job) for connector, job, text in self.db.execute(CURSORS) if _tells(finder, connector, text)
        ]
        return found


def _tells(finder: Finder, connector: str, stored: Any) -> bool:
    return finder.addressed(stored) or finder.named(stored, connector)


def _webhook(finder: Finder, webhook: Any, connector: str, state: str) -> bool:
    """Whether a raw webhook goes. One that was read has done its work; one that may yet be read goes if it is theirs alone."""
    match state:
        case "done":
            return finder.addressed(webhook) or finder.named(webhook, connector, distinct=1)
        case "dead" | "parked":
            return finder.alone(webhook) and _tells(finder, connector, webhook)
        case _:
            return finder.alone(webhook) and finder.addressed(webhook)


def _is_trace(finder: Finder, entry: Entry, *, folded: bool) -> bool:
    """Whether a journal entry goes. What was folded has done its work, so a mention is enough."""
    if not finder.may_hold(entry.body):
        return False
    body = decoded(entry.body)
    if entry.kind == "webhook":
        return _webhook(finder, body, entry.origin, "done" if folded else "pending")
    return finder.about(entry) or (folded and finder.addressed(body))


def _is_kept(finder: Finder, entry: Entry) -> bool:
    body = decoded(entry.body)
    return finder.addressed(body) and not finder.alone(body)


def _place(rows: list[tuple[str, str, bytes]]) -> list[Any] | None:
    return [rows[-1][0], rows[-1][1]] if len(rows) == ROWS_A_LOOK else None
