"""Why things were and were not done: each person's timeline, the last reasons, and how many there are of each."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, TypeAlias

from esplanade.records import Note

from .many import Many

ADD_NOTES = Many("INSERT INTO timeline (person, at, what, connector, kind, event_id, reason, detail)", 8)
CUT_TIMELINES = (
    "DELETE FROM timeline WHERE id IN (SELECT id FROM ("
    "SELECT id, row_number() OVER (PARTITION BY person ORDER BY id DESC) AS nth FROM timeline "
    "WHERE person IN (SELECT value FROM json_each(?))) WHERE nth > 100)"
)
ADD_DECISIONS = Many(
    "INSERT INTO decisions (person, connector, kind, reason, times, at)",
    6,
    "ON CONFLICT (person, connector, kind) DO UPDATE SET "
    "times = excluded.times + iif(reason = excluded.reason, times, 0), reason = excluded.reason, at = excluded.at",
)
TIMELINE = (
    "SELECT person, at, what, connector, kind, event_id, reason, detail FROM "
    "(SELECT * FROM timeline WHERE person = ? ORDER BY id DESC LIMIT 100) ORDER BY id"
)
DECISIONS = "SELECT connector, kind, reason, times, at FROM decisions WHERE person = ? ORDER BY connector, kind"
OUTCOMES = "SELECT connector, what, reason, times FROM outcomes"
ADD_OUTCOMES = Many(
    "INSERT INTO outcomes (connector, what, reason, times)",
    4,
    "ON CONFLICT (connector, what, reason) DO UPDATE SET times = times + excluded.times",
)
CUT_EVERY = 17
"""One note in so many has its person's timeline cut, so that it grows little past its hundred. A prime passes nobody over."""

Counts: TypeAlias = dict[tuple[str, str, str], int]


class NoteReads:
    """Questions about what was done and why."""

    db: sqlite3.Connection

    def timeline(self, person: int) -> list[Note]:
        names = ("person", "at", "what", "connector", "kind", "event_id", "reason", "detail")
        return [Note(**dict(zip(names, row, strict=True))) for row in self.db.execute(TIMELINE, (person,))]

    def decisions(self, person: int) -> list[tuple[str, str, str, int, float]]:
        return [tuple(row) for row in self.db.execute(DECISIONS, (person,))]

    def outcomes(self) -> Counts:
        return {(row[0], row[1], row[2]): row[3] for row in self.db.execute(OUTCOMES)}


class NoteWrites(NoteReads):
    """Noting. Rows are written together when the unit ends."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._notes: list[tuple[Any, ...]] = []
        self._decisions: dict[tuple[int, str, str], tuple[str, int, float]] = {}
        self._outcomes: Counts = {}
        self._noted = 0

    def note(self, note: Note) -> None:
        self._notes.append(
            (note.person, note.at, note.what, note.connector, note.kind, note.event_id, note.reason, note.detail)
        )
        if note.reason is not None:
            about = (note.person, note.connector, note.kind)
            before = self._decisions.get(about)
            times = before[1] + 1 if before is not None and before[0] == note.reason else 1
            if before is not None and before[0] != note.reason:
                self._write_decisions()  # another reason ends the count of the one before
            self._decisions[about] = (note.reason, times, note.at)
        key = (note.connector, note.what, note.reason or "")
        self._outcomes[key] = self._outcomes.get(key, 0) + 1

    def timeline(self, person: int) -> list[Note]:
        self.write_notes()
        return super().timeline(person)

    def decisions(self, person: int) -> list[tuple[str, str, str, int, float]]:
        self.write_notes()
        return super().decisions(person)

    def write_notes(self) -> None:
        """Write what is still to be written, but for the counts: these once a commit."""
        notes, self._notes = self._notes, []
        ADD_NOTES.write(self.db, notes)
        first, self._noted = self._noted, self._noted + len(notes)
        cut = {note[0] for at, note in enumerate(notes, first) if at % CUT_EVERY == 0}
        if cut:
            self.db.execute(CUT_TIMELINES, (json.dumps(sorted(cut)),))
        self._write_decisions()

    def forget_notes(self) -> None:
        """What was to be written was undone, or is about to be."""
        self._notes.clear()
        self._decisions.clear()

    def outcomes_so_far(self) -> Counts:
        """The counts that are not written down yet, to go back to when a part of the transaction is undone."""
        return dict(self._outcomes)

    def restore_outcomes(self, before: Counts) -> None:
        """Forget the counts of what was undone."""
        self._outcomes = before

    def write_outcomes(self) -> Counts:
        """Write down, and return, the counts that notes have added in this transaction."""
        noted, self._outcomes = self._outcomes, {}
        ADD_OUTCOMES.write(self.db, [(*key, times) for key, times in noted.items()])
        return noted

    def _write_decisions(self) -> None:
        decisions, self._decisions = self._decisions, {}
        ADD_DECISIONS.write(self.db, [(*about, *why) for about, why in decisions.items()])
