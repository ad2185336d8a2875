"""The journal, its cursor, and the ids and answers that make repeats harmless."""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from esplanade.records import Answered, Entry

from .many import Many
from .shelf import UNKNOWN, Shelf, Unknown

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Entry]).decode
_texts = msgspec.json.Decoder(list[str]).decode

RECENT_ENTRIES = 4_096
"""So many of the latest entries are remembered, so that a fold that keeps up need not read back what was just written."""
IDS = 8_192
"""So many event ids are remembered."""

ADD_SEGMENT = "INSERT INTO journal (at, entries, payload) VALUES (?, ?, ?)"
ADD_ANSWER = "INSERT OR REPLACE INTO answers (source, key, digest, status, answer, at) VALUES (?, ?, ?, ?, ?, ?)"
NEXT_SEGMENTS = "SELECT id FROM journal WHERE id >= ? ORDER BY id LIMIT ?"
SEGMENT = "SELECT payload FROM journal WHERE id = ?"
CURSOR = "SELECT segment, done FROM fold_cursor"
MOVE_CURSOR = "UPDATE fold_cursor SET segment = ?, done = ?"
BACKLOG = (
    "SELECT coalesce(sum(j.entries - iif(j.id = c.segment, c.done, 0)), 0) "
    "FROM fold_cursor c JOIN journal j ON j.id >= c.segment"
)
END = "SELECT id, entries FROM journal ORDER BY id DESC LIMIT 1"
LATEST = "SELECT at FROM journal ORDER BY id DESC LIMIT 1"
KNOWN_IDS = "SELECT json_group_array(id) FROM event_ids WHERE id IN (SELECT value FROM json_each(?))"
KNOWN_ID = "SELECT 1 FROM event_ids WHERE id = ?"
ADD_EVENT_IDS = Many("INSERT OR IGNORE INTO event_ids (id, at)", 2)
ANSWERED = "SELECT source, key, digest, status, answer FROM answers WHERE source = ? AND key = ?"


class JournalReads:
    """Questions about the journal."""

    db: sqlite3.Connection

    def backlog(self) -> int:
        (waiting,) = self.db.execute(BACKLOG).fetchone()
        return int(waiting)

    def last_accepted_at(self) -> float:
        row = self.db.execute(LATEST).fetchone()
        return row[0] if row else 0.0

    def answered(self, source: str, key: str) -> Answered | None:
        row = self.db.execute(ANSWERED, (source, key)).fetchone()
        if row is None:
            return None
        return Answered(source=row[0], key=row[1], digest=row[2], status=row[3], answer=row[4])


class JournalWrites(JournalReads):
    """Appending to the journal, and folding it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._recent: deque[tuple[int, list[Entry]]] = deque()
        """The latest segments, all from one on."""
        self._recent_entries = 0
        self._recent_after = (0, 0)
        """The segment before them and its number of entries, which is where the cursor stands once that is folded."""
        self._end: tuple[int, int] | None = None
        self._segment: tuple[int, list[Entry]] | None = None
        self._cursor: tuple[int, int] | None = None
        self._event_ids: Shelf[str, float | None] = Shelf(IDS)

    def append(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        if not self._recent:
            self._recent_after = self._end or self.db.execute(END).fetchone() or (0, 0)
        entries = list(entries)
        number = self.db.execute(ADD_SEGMENT, (entries[0].at, len(entries), _encode(entries))).lastrowid or 0
        self._recent.append((number, entries))
        self._recent_entries += len(entries)
        self._end = (number, len(entries))
        while self._recent_entries > RECENT_ENTRIES:
            self._drop_oldest()

    def keep_answer(self, answered: Answered, at: float) -> None:
        """Keep what was answered under an Idempotency-Key, in the commit that holds its events."""
        row = (answered.source, answered.key, answered.digest, answered.status, answered.answer, at)
        self.db.execute(ADD_ANSWER, row)

    def journal_end(self) -> tuple[int, int]:
        if self._end is None:
            self._end = self.db.execute(END).fetchone() or (0, 0)
        return self._end

    def is_behind(self, end: tuple[int, int] | None = None) -> bool:
        now = self.journal_end()  # an erasure may have shortened what was the end before
        return self._where() < (now if end is None else min(end, now))

    def next_entries(self, limit: int) -> Iterator[tuple[tuple[int, int], Entry]]:
        segment, done = self._where()
        left = limit
        for number, entries in self._segments_from(segment, done, limit + 1):
            start = done if number == segment else 0
            for index in range(start, min(len(entries), start + left)):
                yield (number, index + 1), entries[index]
            left -= len(entries) - start
            if left <= 0:
                return

    def move_cursor(self, position: tuple[int, int]) -> None:
        self.db.execute(MOVE_CURSOR, position)
        self._cursor = position

    def expect_event_ids(self, event_ids: Iterable[str]) -> None:
        """Read at once which of these ids are known."""
        unknown = [each for each in event_ids if each not in self._event_ids]
        if unknown:
            found = set(_texts(self.db.execute(KNOWN_IDS, (json.dumps(unknown),)).fetchone()[0]))
            for each in unknown:
                self._event_ids.learn(each, 0.0 if each in found else None)

    def first_time(self, event_id: str, now: float) -> bool:
        at = self._event_ids.get(event_id, UNKNOWN)
        if isinstance(at, Unknown):
            at = 0.0 if self.db.execute(KNOWN_ID, (event_id,)).fetchone() else None
        if at is None:
            self._event_ids.put(event_id, now)
            return True
        self._event_ids.learn(event_id, at)
        return False

    def write_journal(self) -> None:
        """Write what is still to be written."""
        ADD_EVENT_IDS.write(self.db, list(self._event_ids.take().items()))

    def forget_journal(self) -> None:
        """What is remembered may be wrong, and what was to be written was undone."""
        self._recent.clear()
        self._recent_entries = 0
        self._segment = self._cursor = self._end = None
        self._event_ids.forget()

    def _where(self) -> tuple[int, int]:
        if self._cursor is None:
            self._cursor = self.db.execute(CURSOR).fetchone()
        return self._cursor

    def _segments_from(self, segment: int, done: int, limit: int) -> Iterator[tuple[int, list[Entry]]]:
        while self._recent and (self._recent[0][0], len(self._recent[0][1])) <= (segment, done):
            self._drop_oldest()
        if self._recent and (segment, done) >= self._recent_after:
            yield from list(self._recent)
            return
        for (number,) in self.db.execute(NEXT_SEGMENTS, (segment, limit)).fetchall():
            yield number, self._entries(number)

    def _drop_oldest(self) -> None:
        number, entries = self._recent.popleft()
        self._recent_entries -= len(entries)
        self._recent_after = (number, len(entries))

    def _entries(self, number: int) -> list[Entry]:
        # a segment of thousands of entries is folded in many units: read and decode it once
        if self._segment is None or self._segment[0] != number:
            (payload,) = self.db.execute(SEGMENT, (number,)).fetchone()
            self._segment = (number, _decode(payload))
        return self._segment[1]
