"""The journal, its cursor, and the ids and answers that make repeats harmless."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import msgspec

from esplanade.records import Answered, Entry

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Entry]).decode

ADD_SEGMENT = "INSERT INTO journal (at, entries, payload) VALUES (?, ?, ?)"
ADD_TOTAL = "UPDATE journal_total SET entries = entries + ?"
ADD_ANSWER = "INSERT OR REPLACE INTO answers (source, key, digest, status, answer, at) VALUES (?, ?, ?, ?, ?, ?)"
NEXT_SEGMENTS = "SELECT id FROM journal WHERE id >= ? ORDER BY id LIMIT ?"
SEGMENT = "SELECT payload FROM journal WHERE id = ?"
CURSOR = "SELECT segment, done FROM fold_cursor"
MOVE_CURSOR = "UPDATE fold_cursor SET segment = ?, done = ?, folded = folded + ?"
BACKLOG = "SELECT (SELECT entries FROM journal_total) - (SELECT folded FROM fold_cursor)"
ADD_EVENT_ID = "INSERT OR IGNORE INTO event_ids (id, at) VALUES (?, ?)"
ANSWERED = "SELECT source, key, digest, status, answer FROM answers WHERE source = ? AND key = ?"


class JournalReads:
    """Questions about the journal."""

    db: sqlite3.Connection

    def backlog(self) -> int:
        (waiting,) = self.db.execute(BACKLOG).fetchone()
        return int(waiting)

    def answered(self, source: str, key: str) -> Answered | None:
        row = self.db.execute(ANSWERED, (source, key)).fetchone()
        if row is None:
            return None
        return Answered(source=row[0], key=row[1], digest=row[2], status=row[3], answer=row[4])


class JournalWrites(JournalReads):
    """Appending to the journal, and folding it."""

    _segment: tuple[int, list[Entry]] | None

    def append(self, entries: Sequence[Entry]) -> None:
        if entries:
            self.db.execute(ADD_SEGMENT, (entries[0].at, len(entries), _encode(list(entries))))
            self.db.execute(ADD_TOTAL, (len(entries),))

    def keep_answer(self, answered: Answered, at: float) -> None:
        """Keep what was answered under an Idempotency-Key, in the commit that holds its events."""
        row = (answered.source, answered.key, answered.digest, answered.status, answered.answer, at)
        self.db.execute(ADD_ANSWER, row)

    def next_entries(self, limit: int) -> Iterator[tuple[tuple[int, int], Entry]]:
        segment, done = self.db.execute(CURSOR).fetchone()
        left = limit
        for number in self._segments_from(segment, limit + 1):
            entries = self._entries(number)
            start = done if number == segment else 0
            for index in range(start, min(len(entries), start + left)):
                yield (number, index + 1), entries[index]
            left -= len(entries) - start
            if left <= 0:
                return

    def move_cursor(self, position: tuple[int, int], folded: int) -> None:
        self.db.execute(MOVE_CURSOR, (*position, folded))

    def first_time(self, event_id: str, now: float) -> bool:
        return self.db.execute(ADD_EVENT_ID, (event_id, now)).rowcount == 1

    def _segments_from(self, segment: int, limit: int) -> list[int]:
        return [row[0] for row in self.db.execute(NEXT_SEGMENTS, (segment, limit))]

    def _entries(self, number: int) -> list[Entry]:
        # a segment of thousands of entries is folded in many units: read and decode it once
        if self._segment is None or self._segment[0] != number:
            (payload,) = self.db.execute(SEGMENT, (number,)).fetchone()
            self._segment = (number, _decode(payload))
        return self._segment[1]
