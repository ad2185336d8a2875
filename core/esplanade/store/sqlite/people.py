"""People, their identities, and what each vendor holds of them."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from esplanade.records import Note, Person, Remote

from .identity import ADD_FORMER, BY_FORMER, IdentityWrites

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_person = msgspec.msgpack.Decoder(Person).decode
_remote = msgspec.msgpack.Decoder(Remote).decode

PERSON = "SELECT record FROM people WHERE id = ?"
BY_EMAIL = "SELECT p.record FROM emails e JOIN people p ON p.id = e.person WHERE e.email_key = ?"
BY_CDP_ID = "SELECT p.record FROM cdp_ids c JOIN people p ON p.id = c.person WHERE c.cdp_id = ?"
BY_REMOTE = (
    "SELECT p.record FROM remotes r JOIN people p ON p.id = r.person WHERE r.connector = ? AND r.remote_id = ? LIMIT 1"
)
ADD_PERSON = "INSERT INTO people (created_at, record) VALUES (?, x'')"
SAVE_PERSON = "UPDATE people SET record = ?, merged_into = ? WHERE id = ?"
ADD_EMAIL = "INSERT OR REPLACE INTO emails (email_key, person) VALUES (?, ?)"
ADD_CDP_ID = "INSERT OR REPLACE INTO cdp_ids (cdp_id, person) VALUES (?, ?)"
ADD_PENDING = "INSERT OR IGNORE INTO pending_consents (purpose, person) VALUES (?, ?)"
DROP_PENDING = "DELETE FROM pending_consents WHERE purpose = ? AND person = ?"
PENDING = "SELECT person FROM pending_consents WHERE purpose = ? AND person > ? ORDER BY person LIMIT ?"
REMOTE = "SELECT record FROM remotes WHERE connector = ? AND person = ?"
REMOTES = "SELECT record FROM remotes WHERE person = ? ORDER BY connector"
SAVE_REMOTE = (
    "INSERT INTO remotes (connector, person, remote_id, record) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (connector, person) DO UPDATE SET remote_id = excluded.remote_id, record = excluded.record"
)
HELD_BY = "SELECT record FROM remotes WHERE connector = ? AND person > ? ORDER BY person LIMIT ?"
ADD_NOTE = (
    "INSERT INTO timeline (person, at, what, connector, kind, event_id, reason, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
CUT_TIMELINE = (
    "DELETE FROM timeline WHERE person = ?1 AND id <= "
    "(SELECT id FROM timeline WHERE person = ?1 ORDER BY id DESC LIMIT 1 OFFSET 100)"
)
ADD_DECISION = (
    "INSERT INTO decisions (person, connector, kind, reason, times, at) VALUES (?, ?, ?, ?, 1, ?) "
    "ON CONFLICT (person, connector, kind) DO UPDATE SET "
    "times = iif(reason = excluded.reason, times + 1, 1), reason = excluded.reason, at = excluded.at"
)
TIMELINE = (
    "SELECT person, at, what, connector, kind, event_id, reason, detail FROM "
    "(SELECT * FROM timeline WHERE person = ? ORDER BY id DESC LIMIT 100) ORDER BY id"
)
DECISIONS = "SELECT connector, kind, reason, times, at FROM decisions WHERE person = ? ORDER BY connector, kind"


class PeopleReads:
    """Questions about people."""

    db: sqlite3.Connection

    def person(self, person: int) -> Person | None:
        return self._one_person(PERSON, (person,))

    def person_by_email(self, email_key: str) -> Person | None:
        return self._one_person(BY_EMAIL, (email_key,))

    def person_by_cdp_id(self, cdp_id: str) -> Person | None:
        return self._one_person(BY_CDP_ID, (cdp_id,))

    def person_by_remote(self, connector: str, remote_id: str) -> Person | None:
        known = self._one_person(BY_REMOTE, (connector, remote_id))
        return known or self._one_person(BY_FORMER, (connector, remote_id))

    def remote(self, person: int, connector: str) -> Remote | None:
        row = self.db.execute(REMOTE, (connector, person)).fetchone()
        return _remote(row[0]) if row else None

    def remotes(self, person: int) -> list[Remote]:
        return [_remote(row[0]) for row in self.db.execute(REMOTES, (person,))]

    def held_by(self, connector: str, *, after: int = 0, limit: int = 500) -> list[Remote]:
        return [_remote(row[0]) for row in self.db.execute(HELD_BY, (connector, after, limit))]

    def pending_people(self, purpose: str, *, after: int = 0, limit: int = 500) -> list[int]:
        return [row[0] for row in self.db.execute(PENDING, (purpose, after, limit))]

    def timeline(self, person: int) -> list[Note]:
        return [
            Note(
                person=row[0],
                at=row[1],
                what=row[2],
                connector=row[3],
                kind=row[4],
                event_id=row[5],
                reason=row[6],
                detail=row[7],
            )
            for row in self.db.execute(TIMELINE, (person,))
        ]

    def decisions(self, person: int) -> list[tuple[str, str, str, int, float]]:
        return [tuple(row) for row in self.db.execute(DECISIONS, (person,))]

    def _one_person(self, question: str, values: tuple[Any, ...]) -> Person | None:
        row = self.db.execute(question, values).fetchone()
        return _person(row[0]) if row else None


class PeopleWrites(PeopleReads, IdentityWrites):
    """Changing what is known of people."""

    _outcomes: dict[tuple[str, str, str], int]

    def add_person(self, email: str, email_key: str, cdp_id: str | None, at: float) -> Person:
        number = self.db.execute(ADD_PERSON, (at,)).lastrowid
        assert number is not None
        person = Person(id=number, email=email, email_key=email_key, cdp_id=cdp_id, created_at=at)
        self.save_person(person)
        if email_key:
            self.db.execute(ADD_EMAIL, (email_key, number))
        return person

    def save_person(self, person: Person) -> None:
        self.db.execute(SAVE_PERSON, (_encode(person), person.merged_into, person.id))
        if person.cdp_id is not None:
            self.db.execute(ADD_CDP_ID, (person.cdp_id, person.id))

    def set_pending(self, person: int, purpose: str, *, pending: bool) -> None:
        self.db.execute(ADD_PENDING if pending else DROP_PENDING, (purpose, person))

    def add_email(self, person: int, email_key: str) -> None:
        self.db.execute(ADD_EMAIL, (email_key, person))

    def save_remote(self, remote: Remote) -> None:
        self.db.execute(SAVE_REMOTE, (remote.connector, remote.person, remote.remote_id, _encode(remote)))
        for contact in remote.former:
            if contact.remote_id is not None:
                self.db.execute(ADD_FORMER, (remote.connector, contact.remote_id, remote.person))

    def note(self, note: Note) -> None:
        row = (note.person, note.at, note.what, note.connector, note.kind, note.event_id, note.reason, note.detail)
        number = self.db.execute(ADD_NOTE, row).lastrowid or 0
        if number % 16 == 0:
            self.db.execute(CUT_TIMELINE, (note.person,))
        if note.reason is not None:
            self.db.execute(ADD_DECISION, (note.person, note.connector, note.kind, note.reason, note.at))
        key = (note.connector, note.what, note.reason or "")
        self._outcomes[key] = self._outcomes.get(key, 0) + 1
