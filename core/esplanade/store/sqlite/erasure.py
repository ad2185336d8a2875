"""Erasing a person: what is theirs, and every place where their words were stored as they came."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable

import msgspec

from esplanade.records import ConnectorState, Remote
from esplanade.store.erasures import STAGES, Erasure, Suppression, Traces
from esplanade.store.words import Words
from esplanade.sync.identity import address_key

from .traces import TraceReads

_encode = msgspec.msgpack.Encoder().encode
_erasure = msgspec.msgpack.Decoder(Erasure).decode
_remote = msgspec.msgpack.Decoder(Remote).decode
_state = msgspec.msgpack.Decoder(ConnectorState).decode

SLICE = 50
"""Deliveries, each with its attempts, that one unit erases."""
ERASED = "[erased]"

ERASURE = "SELECT record FROM erasures WHERE person = ?"
OPEN = "SELECT record FROM erasures WHERE stage <> 'done' ORDER BY person"
SAVE = "INSERT OR REPLACE INTO erasures (person, stage, record) VALUES (?, ?, ?)"
KEY = "SELECT value FROM meta WHERE key = 'suppression_key'"
SUPPRESSED = "SELECT person, at FROM suppressions WHERE digest = ?"
ANYBODY = "SELECT EXISTS (SELECT 1 FROM suppressions)"
SUPPRESS = "INSERT OR REPLACE INTO suppressions (digest, kind, person, at) VALUES (?, ?, ?, ?)"
LIFT = "DELETE FROM suppressions WHERE person = ? AND (kind <> 'email' OR digest = ?)"

LINEAGE = "SELECT record FROM people WHERE id = ?1 OR merged_into = ?1"
EMAILS = "SELECT email_key FROM emails WHERE person IN (SELECT id FROM people WHERE id = ?1 OR merged_into = ?1)"
CDP_IDS = "SELECT cdp_id FROM cdp_ids WHERE person IN (SELECT id FROM people WHERE id = ?1 OR merged_into = ?1)"
REMOTES = "SELECT record FROM remotes WHERE person IN (SELECT id FROM people WHERE id = ?1 OR merged_into = ?1)"
FORMER = (
    "SELECT connector, remote_id FROM former_contacts "
    "WHERE person IN (SELECT id FROM people WHERE id = ?1 OR merged_into = ?1)"
)
ANOTHERS_ADDRESS = "SELECT EXISTS (SELECT 1 FROM emails WHERE email_key = ? AND person <> ?)"
ANOTHERS_CONTACT = "SELECT EXISTS (SELECT 1 FROM remotes WHERE connector = ? AND remote_id = ? AND person <> ?)"
LAST = "SELECT (SELECT coalesce(max(id), 0) FROM deliveries), (SELECT coalesce(max(id), 0) FROM journal)"
WORK = (
    "SELECT id FROM deliveries WHERE person = ?1 OR person IN (SELECT id FROM people WHERE merged_into = ?1) "
    "ORDER BY id LIMIT ?2"
)
DROP_ATTEMPTS = "DELETE FROM attempts WHERE delivery IN (SELECT value FROM json_each(?))"
DROP_CLAIMS = "DELETE FROM claims WHERE delivery IN (SELECT value FROM json_each(?))"
DROP_DELIVERIES = "DELETE FROM deliveries WHERE id IN (SELECT value FROM json_each(?))"
PEOPLE = "SELECT id FROM people WHERE id = ?1 OR merged_into = ?1"
THEIRS = (
    "DELETE FROM timeline WHERE person = ?",
    "DELETE FROM decisions WHERE person = ?",
    "DELETE FROM pending_consents WHERE person = ?",
    "DELETE FROM former_contacts WHERE person = ?",
    "DELETE FROM remotes WHERE person = ?",
    "DELETE FROM cdp_ids WHERE person = ?",
    "DELETE FROM emails WHERE person = ?",
)
DROP_LINEAGE = "DELETE FROM people WHERE merged_into = ?"
DROP_PERSON = "DELETE FROM people WHERE id = ?"

CURSOR = "SELECT segment, done FROM fold_cursor"
CUT_SEGMENT = "UPDATE journal SET entries = ?, payload = ? WHERE id = ? AND entries = ?"
DROP_SEGMENT = "DELETE FROM journal WHERE id = ? AND entries = ?"
CUT_CURSOR = "UPDATE fold_cursor SET done = done - ? WHERE segment = ?"
DROP_ANSWER = "DELETE FROM answers WHERE source = ? AND key = ?"
DROP_VALUE = "DELETE FROM plugin_values WHERE connector = ? AND key = ?"
DROP_CURSOR = "DELETE FROM cursors WHERE connector = ? AND job = ?"
STATE = "SELECT record FROM connector_states WHERE name = ?"
SAVE_STATE = "UPDATE connector_states SET record = ? WHERE name = ?"


class ErasureReads(TraceReads):
    """Questions about who was erased, and what is left of them."""

    def erasure(self, person: int) -> Erasure | None:
        row = self.db.execute(ERASURE, (person,)).fetchone()
        return _erasure(row[0]) if row else None

    def open_erasures(self) -> list[Erasure]:
        return [_erasure(row[0]) for row in self.db.execute(OPEN)]

    def is_anothers(self, person: int, *, email_key: str | None = None, contact: tuple[str, str] | None = None) -> bool:
        if email_key is not None and self.db.execute(ANOTHERS_ADDRESS, (email_key, person)).fetchone()[0]:
            return True
        return contact is not None and bool(self.db.execute(ANOTHERS_CONTACT, (*contact, person)).fetchone()[0])

    def suppression(self, kind: str, text: str) -> Suppression | None:
        row = self.db.execute(SUPPRESSED, (self._digest(kind, text),)).fetchone()
        return Suppression(person=row[0], at=row[1]) if row else None

    def _digest(self, kind: str, text: str) -> bytes:
        return hmac.digest(self._suppression_key(), f"{kind}\0{text}".encode(), hashlib.sha256)

    def _suppression_key(self) -> bytes:
        (key,) = self.db.execute(KEY).fetchone()
        return bytes.fromhex(key)


class ErasureWrites(ErasureReads):
    """Erasing, and lifting what keeps an erased person away."""

    erase_ledger_words: Callable[[int], int]
    _key: bytes | None = None
    _anybody: bool | None = None
    """Whether there may be suppressions. It never goes back to False: what lifted the last one may yet be undone."""

    def suppression(self, kind: str, text: str) -> Suppression | None:
        if self._anybody is None:
            (found,) = self.db.execute(ANYBODY).fetchone()
            self._anybody = bool(found)
        return super().suppression(kind, text) if self._anybody else None

    def lift_suppression(self, person: int, email_key: str) -> None:
        self._anybody = True
        self.db.execute(LIFT, (person, self._digest("email", email_key)))

    def begin_erasure(self, person: int, given: Iterable[str], at: float) -> Erasure:
        earlier = self.erasure(person)
        return self._record(
            Erasure(
                person=person,
                at=earlier.at if earlier else at,
                words=self._words(person, given),
                known_at=self._known_at(person, earlier.known_at if earlier else ()),
            )
        )

    def erase(self, erasure: Erasure, traces: Traces) -> tuple[Erasure, int]:
        unfolded = 0
        match erasure.stage:
            case "work":
                traces.after = [] if self._drop_work(erasure.person, SLICE) == SLICE else None
            case "person":
                erasure = self._drop_person(erasure)
            case "letters":
                self._drop_letters(traces.letters)
            case "journal":
                unfolded = self._cut_journal(traces)
            case "answers":
                self.db.executemany(DROP_ANSWER, traces.answers)
            case "values":
                self.db.executemany(DROP_VALUE, traces.values)
            case "states":
                self.db.executemany(DROP_CURSOR, traces.cursors)
                self._clear_states(traces.states)
            case "files" | "vendors" | "done":
                return erasure, 0
        stage, after = erasure.stage, traces.after
        if after is None:
            stage, after = STAGES[STAGES.index(stage) + 1], []
        words = Words() if stage == "files" else erasure.words
        moved = msgspec.structs.replace(erasure, stage=stage, after=after, words=words, kept=erasure.kept + traces.kept)
        return self._record(moved), unfolded

    def end_erasure(self, erasure: Erasure, *, vendors_asked: bool) -> Erasure:
        return self._record(msgspec.structs.replace(erasure, stage="done" if vendors_asked else "vendors"))

    def _suppression_key(self) -> bytes:
        if self._key is None:  # written once, by the schema itself
            self._key = super()._suppression_key()
        return self._key

    def _record(self, erasure: Erasure) -> Erasure:
        self.db.execute(SAVE, (erasure.person, erasure.stage, _encode(erasure)))
        return erasure

    def _held_of(self, person: int) -> list[Remote]:
        return [_remote(row[0]) for row in self.db.execute(REMOTES, (person,))]

    def _known_at(self, person: int, before: Iterable[str]) -> tuple[str, ...]:
        """The connectors whose vendors know the person, or may: a call may be under way."""
        told = (each for each in self._held_of(person) if each.remote_id or each.email or each.sent or each.unknown)
        return tuple(sorted({*before, *(each.connector for each in told)}))

    def _words(self, person: int, given: Iterable[str]) -> Words:
        addresses, ids, contacts = set(given), set[str](), set[tuple[str, str]]()
        for (record,) in self.db.execute(LINEAGE, (person,)):
            held = msgspec.msgpack.decode(record)
            addresses |= {held["email"], held["email_key"], *held["emails"]}
        addresses |= {row[0] for row in self.db.execute(EMAILS, (person,))}
        ids |= {row[0] for row in self.db.execute(CDP_IDS, (person,))}
        contacts |= {(row[0], row[1]) for row in self.db.execute(FORMER, (person,))}
        for remote in self._held_of(person):
            known = [(remote.email, remote.remote_id), *((each.email, each.remote_id) for each in remote.former)]
            addresses |= {email for email, _ in known if email}
            contacts |= {(remote.connector, theirs) for _, theirs in known if theirs}
        return self._own(person, Words.of(addresses, ids, contacts))

    def _own(self, person: int, words: Words) -> Words:
        """The words less those that are by now somebody else's, whose events must not go with them."""
        return Words.of(
            [each for each in words.addresses if not self.is_anothers(person, email_key=address_key(each))],
            words.ids,
            [each for each in words.contacts if not self.is_anothers(person, contact=each)],
        )

    def _drop_work(self, person: int, many: int) -> int:
        found = [row[0] for row in self.db.execute(WORK, (person, many))]
        self._drop_letters(found)
        return len(found)

    def _drop_letters(self, deliveries: list[int]) -> None:
        if deliveries:
            chosen = (json.dumps(deliveries),)
            self.db.execute(DROP_ATTEMPTS, chosen)
            self.db.execute(DROP_CLAIMS, chosen)
            self.db.execute(DROP_DELIVERIES, chosen)

    def _drop_person(self, erasure: Erasure) -> Erasure:
        """Everything that is found by the person, in one unit: nobody is ever left who is half there."""
        person, at = erasure.person, erasure.at
        while self._drop_work(person, SLICE):
            pass
        later = self._words(person, ())
        words = Words.of(
            {*erasure.words.addresses, *later.addresses},
            {*erasure.words.ids, *later.ids},
            {*erasure.words.contacts, *later.contacts},
        )
        words = self._own(person, words)
        known_at = self._known_at(person, erasure.known_at)
        self._suppress(person, at, "email", (row[0] for row in self.db.execute(EMAILS, (person,)).fetchall()))
        self._suppress(person, at, "id", words.ids)
        self._suppress(person, at, "remote", (f"{connector}\0{theirs}" for connector, theirs in words.contacts))
        self.erase_ledger_words(person)
        lineage = self.db.execute(PEOPLE, (person,)).fetchall()
        for statement in THEIRS:
            self.db.executemany(statement, lineage)
        self.db.execute(DROP_LINEAGE, (person,))
        self.db.execute(DROP_PERSON, (person,))
        delivery, segment = self.db.execute(LAST).fetchone()
        return msgspec.structs.replace(
            erasure,
            words=words,
            known_at=known_at,
            last_delivery=delivery,
            last_segment=segment,
        )

    def _suppress(self, person: int, at: float, kind: str, texts: Iterable[str]) -> None:
        self._anybody = True
        self.db.executemany(SUPPRESS, [(self._digest(kind, text), kind, person, at) for text in texts])

    def _cut_journal(self, traces: Traces) -> int:
        """Take entries out of segments; how many of them were still to be folded."""
        total = 0
        for cut in traces.segments:
            left = cut.entries - len(cut.gone)
            if left:
                changed = self.db.execute(CUT_SEGMENT, (left, cut.payload, cut.segment, cut.entries)).rowcount
            else:
                changed = self.db.execute(DROP_SEGMENT, (cut.segment, cut.entries)).rowcount
            if not changed:  # pruned since
                continue
            segment, done = self.db.execute(CURSOR).fetchone()
            folded = len(cut.gone) if cut.segment < segment else 0
            if cut.segment == segment:
                folded = sum(place < done for place in cut.gone)
                self.db.execute(CUT_CURSOR, (folded, segment))
            total += len(cut.gone) - folded
        return total

    def _clear_states(self, names: list[str]) -> None:
        for name in names:
            (record,) = self.db.execute(STATE, (name,)).fetchone()
            held = _state(record)
            reason = ERASED if held.reason is not None else None
            self.db.execute(
                SAVE_STATE, (_encode(msgspec.structs.replace(held, last_error=ERASED, reason=reason)), name)
            )
