"""People, what each vendor holds of them, and the ways to find them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec

from esplanade.records import Person, Remote

from .many import Many
from .shelf import UNKNOWN, Shelf, Unknown

_encode = msgspec.msgpack.Encoder().encode
_person = msgspec.msgpack.Decoder(Person).decode
_remote = msgspec.msgpack.Decoder(Remote).decode
_rows = msgspec.json.Decoder(list[list[Any]]).decode

ROOM = 4_096
"""How many people the writer remembers, and what vendors hold of them."""

PERSON = "SELECT record FROM people WHERE id = ?"
BY_EMAIL = "SELECT p.record FROM emails e JOIN people p ON p.id = e.person WHERE e.email_key = ?"
BY_CDP_ID = "SELECT p.record FROM cdp_ids c JOIN people p ON p.id = c.person WHERE c.cdp_id = ?"
OWNER = (
    "SELECT coalesce((SELECT person FROM remotes WHERE connector = ?1 AND remote_id = ?2 LIMIT 1), "
    "(SELECT person FROM former_contacts WHERE connector = ?1 AND remote_id = ?2))"
)
BY_REMOTE = f"SELECT record FROM people WHERE id = ({OWNER})"
REMOTE = "SELECT record FROM remotes WHERE connector = ? AND person = ?"
REMOTES = "SELECT record FROM remotes WHERE person = ? ORDER BY connector"
HELD_BY = "SELECT record FROM remotes WHERE connector = ? AND person > ? ORDER BY person LIMIT ?"
PENDING = "SELECT person FROM pending_consents WHERE purpose = ? AND person > ? ORDER BY person LIMIT ?"

LAST_PERSON = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'people'"
ROW = "SELECT id, merged_into, created_at, record FROM people WHERE id = ?"
EMAIL = "SELECT person FROM emails WHERE email_key = ?"
CDP_ID = "SELECT person FROM cdp_ids WHERE cdp_id = ?"
REMOTE_ROW = "SELECT connector, person, remote_id, record FROM remotes WHERE connector = ? AND person = ?"
_GIVEN = "(SELECT value FROM json_each(?1))"
ROWS = f"SELECT json_group_array(json_array(id, merged_into, quote(created_at), hex(record))) FROM people WHERE id IN {_GIVEN}"
EMAILS = f"SELECT json_group_array(json_array(email_key, person)) FROM emails WHERE email_key IN {_GIVEN}"
CDP_IDS = f"SELECT json_group_array(json_array(cdp_id, person)) FROM cdp_ids WHERE cdp_id IN {_GIVEN}"
OWNERS = (
    "SELECT json_group_array(json_array(g.value->>0, g.value->>1, coalesce("
    "(SELECT person FROM remotes r WHERE r.connector = g.value->>0 AND r.remote_id = g.value->>1 LIMIT 1), "
    "(SELECT person FROM former_contacts f WHERE f.connector = g.value->>0 AND f.remote_id = g.value->>1)"
    "))) FROM json_each(?) g"
)
REMOTE_ROWS = (
    "SELECT json_group_array(json_array(connector, person, remote_id, hex(record))) FROM remotes "
    f"WHERE person IN {_GIVEN} AND connector IN (SELECT value FROM json_each(?2))"
)
SAVE_PEOPLE = Many(
    "INSERT INTO people (id, merged_into, created_at, record)",
    4,
    "ON CONFLICT (id) DO UPDATE SET merged_into = excluded.merged_into, record = excluded.record",
)
SAVE_EMAILS = Many("INSERT OR REPLACE INTO emails (email_key, person)", 2)
SAVE_CDP_IDS = Many("INSERT OR REPLACE INTO cdp_ids (cdp_id, person)", 2)
SAVE_REMOTES = Many(
    "INSERT INTO remotes (connector, person, remote_id, record)",
    4,
    "ON CONFLICT (connector, person) DO UPDATE SET remote_id = excluded.remote_id, record = excluded.record",
)
ADD_PENDING = Many("INSERT OR IGNORE INTO pending_consents (purpose, person)", 2)
DROP_PENDING = "DELETE FROM pending_consents WHERE (purpose, person) IN (SELECT value->>0, value->>1 FROM json_each(?))"
ADD_FORMER = "INSERT OR REPLACE INTO former_contacts (connector, remote_id, person) VALUES (?, ?, ?)"

Row: TypeAlias = tuple[int, int | None, float, bytes]
RemoteRow: TypeAlias = tuple[str, int, str | None, bytes]


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
        return self._one_person(BY_REMOTE, (connector, remote_id))

    def remote(self, person: int, connector: str) -> Remote | None:
        row = self.db.execute(REMOTE, (connector, person)).fetchone()
        return _remote(row[0]) if row else None

    def remotes(self, person: int) -> list[Remote]:
        return [_remote(row[0]) for row in self.db.execute(REMOTES, (person,))]

    def held_by(self, connector: str, *, after: int = 0, limit: int = 500) -> list[Remote]:
        return [_remote(row[0]) for row in self.db.execute(HELD_BY, (connector, after, limit))]

    def pending_people(self, purpose: str, *, after: int = 0, limit: int = 500) -> list[int]:
        return [row[0] for row in self.db.execute(PENDING, (purpose, after, limit))]

    def _one_person(self, question: str, values: tuple[Any, ...]) -> Person | None:
        row = self.db.execute(question, values).fetchone()
        return _person(row[0]) if row else None


class PeopleWrites(PeopleReads):
    """Changing what is known of people. Rows are written together, when the unit ends or asks past what it remembers."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._people: Shelf[int, Row | None] = Shelf(ROOM)
        self._emails: Shelf[str, int | None] = Shelf(2 * ROOM)
        self._cdp_ids: Shelf[str, int | None] = Shelf(2 * ROOM)
        self._remotes: Shelf[tuple[int, str], RemoteRow | None] = Shelf(2 * ROOM)
        self._owners: Shelf[tuple[str, str], int | None] = Shelf(2 * ROOM)
        """Whose a vendor's contact is, by the vendor and its id; it follows from the others and is never written."""
        self._pending: dict[tuple[str, int], bool] = {}
        self._newborn: set[int] = set()
        (self._last_person,) = db.execute(LAST_PERSON).fetchone()

    def expect_people(self, people: Iterable[int], connectors: Iterable[str]) -> None:
        """Read at once what is not known of these people, and of what these vendors hold of them."""
        people, connectors = list(people), list(connectors)
        if unknown := [person for person in people if person not in self._people]:
            found = {row[0]: row for row in self._together(ROWS, unknown)}
            for person in unknown:
                row = found.get(person)
                self._people.learn(person, (row[0], row[1], float(row[2]), bytes.fromhex(row[3])) if row else None)
        if asked := [key for person in people for key in self._unknown_remotes(person, connectors)]:
            self._write_remotes()
            rows = self._together(REMOTE_ROWS, sorted({person for person, _ in asked}), connectors)
            held = {(row[1], row[0]): (row[0], row[1], row[2], bytes.fromhex(row[3])) for row in rows}
            for key in asked:
                self._remotes.learn(key, held.get(key))

    def expect_emails(self, email_keys: Iterable[str]) -> list[int]:
        """Read at once whose addresses these are; returns whose."""
        return self._expect(self._emails, EMAILS, email_keys)

    def expect_cdp_ids(self, cdp_ids: Iterable[str]) -> list[int]:
        """The same for the CDP's ids."""
        return self._expect(self._cdp_ids, CDP_IDS, cdp_ids)

    def expect_contacts(self, contacts: Iterable[tuple[str, str]]) -> list[int]:
        """The same for vendors' contacts, each given by its connector and its id there."""
        contacts = list(contacts)
        known = [self._owners[contact] for contact in contacts if contact in self._owners]
        if unknown := [contact for contact in contacts if contact not in self._owners]:
            self._write_remotes()
            found = {(row[0], row[1]): row[2] for row in self._together(OWNERS, unknown)}
            for contact in unknown:
                if contact in found:  # SQLite's JSON cuts a text at a NUL: such a one is asked about by itself
                    self._owners.learn(contact, found[contact])
            known += found.values()
        return [person for person in known if person is not None]

    def person(self, person: int) -> Person | None:
        row = self._people.get(person, UNKNOWN)
        if isinstance(row, Unknown):
            row = self.db.execute(ROW, (person,)).fetchone()
            self._people.learn(person, row)
        return None if row is None else _person(row[3])

    def person_by_email(self, email_key: str) -> Person | None:
        return self._named(self._emails, EMAIL, email_key)

    def person_by_cdp_id(self, cdp_id: str) -> Person | None:
        return self._named(self._cdp_ids, CDP_ID, cdp_id)

    def person_by_remote(self, connector: str, remote_id: str) -> Person | None:
        person = self._owners.get((connector, remote_id), UNKNOWN)
        if isinstance(person, Unknown):
            self._write_remotes()
            (person,) = self.db.execute(OWNER, (connector, remote_id)).fetchone()
            self._owners.learn((connector, remote_id), person)
        return None if person is None else self.person(person)

    def remote(self, person: int, connector: str) -> Remote | None:
        row = self._remotes.get((person, connector), UNKNOWN)
        if isinstance(row, Unknown):
            if person in self._newborn:
                return None
            row = self.db.execute(REMOTE_ROW, (connector, person)).fetchone()
            self._remotes.learn((person, connector), row)
        return None if row is None else _remote(row[3])

    def remotes(self, person: int) -> list[Remote]:
        self._write_remotes()
        return super().remotes(person)

    def held_by(self, connector: str, *, after: int = 0, limit: int = 500) -> list[Remote]:
        self._write_remotes()
        return super().held_by(connector, after=after, limit=limit)

    def pending_people(self, purpose: str, *, after: int = 0, limit: int = 500) -> list[int]:
        self.write_people()
        return super().pending_people(purpose, after=after, limit=limit)

    def add_person(self, email: str, email_key: str, cdp_id: str | None, at: float) -> Person:
        self._last_person += 1
        person = Person(id=self._last_person, email=email, email_key=email_key, cdp_id=cdp_id, created_at=at)
        self._newborn.add(person.id)
        self.save_person(person)
        if email_key:
            self._emails.put(email_key, person.id)
        return person

    def save_person(self, person: Person) -> None:
        self._people.put(person.id, (person.id, person.merged_into, person.created_at, _encode(person)))
        if person.cdp_id is not None and self._cdp_ids.get(person.cdp_id) != person.id:
            self._cdp_ids.put(person.cdp_id, person.id)
        if person.merged_into is not None:
            self._write_people()  # the ledger is read by way of it

    def add_email(self, person: int, email_key: str) -> None:
        self._emails.put(email_key, person)

    def set_pending(self, person: int, purpose: str, *, pending: bool) -> None:
        self._pending[purpose, person] = pending

    def save_remote(self, remote: Remote) -> None:
        key = (remote.person, remote.connector)
        before = self._remotes.get(key, UNKNOWN)
        if isinstance(before, Unknown):
            self._owners.forget()
        elif before is not None and before[2] is not None and before[2] != remote.remote_id:
            self._owners.pop((remote.connector, before[2]), None)
        if remote.remote_id is not None and self._owners.get((remote.connector, remote.remote_id)) != remote.person:
            self._owners.pop((remote.connector, remote.remote_id), None)
        self._remotes.put(key, (remote.connector, remote.person, remote.remote_id, _encode(remote)))
        for contact in remote.former:
            if contact.remote_id is not None:
                self._owners.pop((remote.connector, contact.remote_id), None)
                self.db.execute(ADD_FORMER, (remote.connector, contact.remote_id, remote.person))

    def write_people(self) -> None:
        """Write what is still to be written of people."""
        self._write_people()
        self._write_remotes()
        self._newborn.clear()

    def forget_people(self) -> None:
        """What is remembered may be wrong, and what was to be written was undone, or is about to be."""
        self._people.forget()
        self._emails.forget()
        self._cdp_ids.forget()
        self._remotes.forget()
        self._owners.forget()
        self._pending.clear()
        self._newborn.clear()

    def _write_people(self) -> None:
        SAVE_PEOPLE.write(self.db, [row for row in self._people.take().values() if row is not None])
        SAVE_EMAILS.write(self.db, list(self._emails.take().items()))
        SAVE_CDP_IDS.write(self.db, list(self._cdp_ids.take().items()))
        if self._pending:
            pending, self._pending = self._pending, {}
            self.db.execute(DROP_PENDING, (json.dumps([key for key, waits in pending.items() if not waits]),))
            ADD_PENDING.write(self.db, [key for key, waits in pending.items() if waits])

    def _write_remotes(self) -> None:
        rows = [row for row in self._remotes.take().values() if row is not None]
        SAVE_REMOTES.write(self.db, rows)
        self._newborn.difference_update(row[1] for row in rows)  # of them the file knows something by now

    def _unknown_remotes(self, person: int, connectors: list[str]) -> list[tuple[int, str]]:
        if person in self._newborn:
            return []
        keys = [(person, connector) for connector in connectors]
        return [key for key in keys if key not in self._remotes]

    def _named(self, shelf: Shelf[str, int | None], question: str, name: str) -> Person | None:
        person = shelf.get(name, UNKNOWN)
        if isinstance(person, Unknown):
            row = self.db.execute(question, (name,)).fetchone()
            person = row[0] if row else None
            shelf.learn(name, person)
        return None if person is None else self.person(person)

    def _expect(self, shelf: Shelf[str, int | None], question: str, names: Iterable[str]) -> list[int]:
        names = list(names)
        known = [shelf[name] for name in names if name in shelf]
        if unknown := [name for name in names if name not in shelf]:
            found = dict[str, int](self._together(question, unknown))
            for name in unknown:
                shelf.learn(name, found.get(name))
            known += found.values()
        return [person for person in known if person is not None]

    def _together(self, question: str, *given: list[Any]) -> list[list[Any]]:
        """Many rows as one, which is one step of SQLite."""
        (found,) = self.db.execute(question, tuple(map(json.dumps, given))).fetchone()
        return _rows(found)
