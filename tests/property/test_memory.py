"""The writer's memory changes no answer: a unit that remembers and writes late is like one that asks and writes at once."""

from __future__ import annotations

import os
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.sites import database

from esplanade.records import (
    AudienceRun,
    Clocked,
    Contact,
    Delivery,
    Entry,
    LedgerRow,
    Note,
    Person,
    Remote,
)
from esplanade.store.sqlite import journal, people, work
from esplanade.store.sqlite.unit import SqliteUnit

EXAMPLES = 3_000 if os.environ.get("ESPLANADE_PROFILE") == "long" else 150
LANES = ("crm", "esp")
RANDOM = "ledger_salts", "suppression_key", "seal", "digest", "link", "salt"

number = st.integers(1, 4)
lane = st.sampled_from(LANES)
email = st.sampled_from(["a@example.com", "b@example.com", "c@example.com"])
cdp_id = st.sampled_from(["u-1", "u-2"])
contact = st.sampled_from(["77", "88"])
purpose = st.sampled_from(["newsletter", "service"])
moment = st.floats(0, 4e9, allow_nan=False)  # times as clocks give them, to the last digit
which = st.integers(0, 9)

steps = st.one_of(
    st.tuples(
        st.just("add_person"), st.sampled_from(["", "a@example.com", "b@example.com"]), cdp_id | st.none(), moment
    ),
    st.tuples(st.just("save_person"), number, email, cdp_id | st.none(), moment),
    st.tuples(st.just("add_email"), number, email),
    st.tuples(st.just("save_remote"), number, lane, contact | st.none(), contact | st.none(), moment),
    st.tuples(st.just("set_pending"), number, purpose, st.booleans()),
    st.tuples(st.just("save_audience"), lane, st.sampled_from(["vip", "club"]), st.integers(0, 9)),
    st.tuples(st.just("note"), number, lane, st.sampled_from(["echo", "unchanged", None]), moment),
    st.tuples(st.just("append_ledger"), number, purpose, st.sampled_from(["granted", "denied"]), moment),
    st.tuples(st.just("enqueue_state"), number, lane, purpose, st.integers(0, 3), moment),
    st.tuples(st.just("enqueue_parked"), number, lane, moment),
    st.tuples(st.just("enqueue"), number, lane, moment),
    st.tuples(st.just("park"), number, lane, purpose, moment),
    st.tuples(st.just("claim"), which),
    st.tuples(st.just("end"), which, st.sampled_from(["done", "dead", "parked", "pending"]), moment),
    st.tuples(st.just("hold_back"), number, lane, moment, which),
    st.tuples(st.just("release"), number, lane, moment),
    st.tuples(st.just("first_time"), st.sampled_from(["e-1", "e-2", "e-3"])),
    st.tuples(st.just("guard"), lane, st.sampled_from(["t-1", "t-2"])),
    st.tuples(st.just("append"), st.integers(1, 3)),
    st.tuples(st.just("fold"), st.integers(1, 3)),
    st.tuples(st.just("merge_person"), number, number),
    st.tuples(st.just("prune"), moment),
)
story = st.lists(
    st.one_of(
        steps,
        st.tuples(st.just("expect"), st.lists(email), st.lists(cdp_id), st.lists(st.tuples(lane, contact))),
        st.tuples(st.just("unit ends")),
        st.tuples(st.just("undone"), st.lists(steps, max_size=4)),
    ),
    max_size=30,
)


OF_SOMEBODY = {"enqueue_state", "enqueue_parked", "enqueue", "park", "save_remote", "note"}
"""Steps about a person who is known: nothing is queued for anybody else."""


class House:
    """Does what a story tells to one store, and answers what the others ask of it."""

    def __init__(self, *, remembers: bool) -> None:
        self.db = database()
        self.unit = SqliteUnit(self.db)
        self._remembers = remembers

    def does(self, step):
        if step[0] == "undone":
            answer = self._undone(step[1])
        elif step[0] == "unit ends":
            self.unit.write()
            answer = None
        elif step[0] in OF_SOMEBODY and self.unit.person(step[1]) is None:
            answer = None
        else:
            answer = getattr(self, f"_{step[0]}")(*step[1:])
        if not self._remembers:
            self.unit.write()
            self.unit.forget()
        return answer

    def _undone(self, inner):
        def part():
            for step in inner:
                self.does(step)
            raise RuntimeError("undone")

        return str(self.unit.attempt(part))

    def _expect(self, emails, cdp_ids, contacts):
        if self._remembers:
            self.unit.expect(
                email_keys=emails,
                cdp_ids=cdp_ids,
                contacts=contacts,
                event_ids=["e-1", "e-9"],
                people=[1, 9],
                lanes=LANES,
            )

    def _add_person(self, email, cdp_id, at):
        return self.unit.add_person(email, email, cdp_id, at)

    def _save_person(self, number, email, cdp_id, at):
        person = self.unit.person(number)
        if person is not None and person.merged_into is None:
            person.email = person.email_key = email
            person.cdp_id, person.fields = cdp_id, {"city": Clocked("Delft", at)}
            self.unit.save_person(person)
        return person

    def _add_email(self, number, email):
        if self.unit.person(number) is not None:
            self.unit.add_email(number, email)

    def _save_remote(self, number, lane, remote_id, former, at):
        remote = self.unit.remote(number, lane) or Remote(person=number, connector=lane)
        before = repr(remote)
        remote.remote_id, remote.acked_at = remote_id, at
        remote.former = [Contact(remote_id=former)] if former else []
        self.unit.save_remote(remote)
        return before

    def _set_pending(self, number, purpose, pending):
        if self.unit.person(number) is not None:
            self.unit.set_pending(number, purpose, pending=pending)

    def _save_audience(self, lane, audience, members):
        before = self.unit.audience(lane, audience)
        self.unit.save_audience(lane, audience, AudienceRun(members=members))
        return before

    def _note(self, number, lane, reason, at):
        self.unit.note(Note(person=number, at=at, what="sent", connector=lane, kind="profile", reason=reason))

    def _append_ledger(self, number, purpose, state, at):
        row = LedgerRow(
            person=number, purpose=purpose, state=state, method=None, source="shop", evidence={}, said_at=at,
            recorded_at=at, lifts=False,
        )  # fmt: skip
        self.unit.append_ledger(row)

    def _delivery(self, number, lane, at, **more):
        known = {"id": 0, "lane": lane, "kind": "profile", "person": number, "due_at": at, "first_at": at / 2}
        return Delivery(**{**known, **more})

    def _enqueue_state(self, number, lane, purpose, urgency, at):
        return self.unit.enqueue_state(
            self._delivery(number, lane, at, kind="consent", subject=purpose, urgency=urgency, payload=b"\x00'")
        )

    def _enqueue_parked(self, number, lane, at):
        return self.unit.enqueue_state(self._delivery(number, lane, at, state="parked", reason="loop"))

    def _enqueue(self, number, lane, at):
        return self.unit.enqueue(self._delivery(number, lane, at, kind="trigger", urgency=1, expires_at=at + 1))

    def _park(self, number, lane, purpose, at):
        return self.unit.park(self._delivery(number, lane, at, subject=purpose, reason="guard"))

    def _claim(self, which):
        delivery = self.unit.delivery(which)
        if delivery is not None and delivery.state == "pending":
            self.unit.claim(delivery)
        return delivery

    def _end(self, which, state, at):
        delivery = self.unit.delivery(which)
        if delivery is not None:
            delivery.state, delivery.due_at, delivery.took_s = state, at, at / 3
            self.unit.save_delivery(delivery)
        return delivery

    def _hold_back(self, number, lane, until, after):
        self.unit.hold_back(lane, number, until, after)

    def _release(self, number, lane, now):
        self.unit.release(lane, number, now)

    def _first_time(self, event_id):
        return self.unit.first_time(event_id, 5.0)

    def _guard(self, lane, key):
        return self.unit.guard(lane, key, 5.0)

    def _append(self, many):
        self.unit.append([Entry(kind="profile", origin="shop", id=f"e-{at}", at=1.0, body=b"x") for at in range(many)])

    def _fold(self, many):
        taken = list(self.unit.next_entries(many))
        if taken:
            self.unit.move_cursor(taken[-1][0])
        return [(position[1], entry.id) for position, entry in taken], self.unit.backlog()

    def _merge_person(self, gone, into):
        one, other = self.unit.person(gone), self.unit.person(into)
        if gone != into and one is not None and other is not None and None is one.merged_into is other.merged_into:
            self.unit.merge_person(gone, into, 9.0)
            self.unit.save_person(Person(id=gone, email="", email_key="", merged_into=into))

    def _prune(self, before):
        return self.unit.prune(kept_since=before, ids_since=before)

    def knows(self):
        """Everything that can be asked, in one value."""
        unit = self.unit
        return repr(
            [
                [unit.person(each) for each in range(1, 7)],
                [unit.person_by_email(each) for each in ("a@example.com", "b@example.com", "c@example.com")],
                [unit.person_by_cdp_id(each) for each in ("u-1", "u-2")],
                [unit.person_by_remote(lane, each) for lane in LANES for each in ("77", "88")],
                [unit.remotes(each) for each in range(1, 5)],
                [unit.held_by(lane) for lane in LANES],
                [unit.waiting(lane, each) for lane in LANES for each in range(1, 5)],
                [unit.parked(lane, each, "loop") for lane in LANES for each in range(1, 5)],
                [unit.triggers(each) for each in range(1, 5)],
                [unit.in_flight(lane) for lane in LANES],
                [unit.places(lane, each, (-1.0, 0), 5e9, 99) for lane in LANES for each in range(4)],
                [unit.next_due_at(lane, each, 1e9) for lane in LANES for each in range(4)],
                [unit.open_deliveries(each) for each in range(1, 5)],
                [unit.pending_people(each) for each in ("newsletter", "service")],
                [unit.timeline(each) for each in range(1, 5)],
                [unit.decisions(each) for each in range(1, 5)],
                [len(unit.ledger(each)) for each in range(1, 5)],
                [unit.delivery(each) for each in range(1, 12)],
                unit.last_delivery(),
                unit.backlog(),
            ]
        )


def contents(db: sqlite3.Connection) -> dict[str, list[tuple]]:
    """Every row of every table, but for what is random."""
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    found = {}
    for name in names:
        if name in {"ledger_salts", "ledger_tips", "meta"}:
            continue
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({name})") if row[1] not in RANDOM]
        found[name] = sorted(db.execute(f"SELECT {', '.join(columns)} FROM {name}").fetchall(), key=repr)
    return found


@settings(max_examples=EXAMPLES, deadline=None)
@given(story=story, room=st.sampled_from([1, 2, 4_096]))
def test_a_unit_that_remembers_is_like_one_that_does_not(story, room):
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((people, "ROOM"), (work, "ROOM"), (journal, "IDS"), (journal, "RECENT_ENTRIES")):
            patch.setattr(module, name, room)
        one, other = House(remembers=True), House(remembers=False)
        for at, step in enumerate(story):
            assert repr(one.does(step)) == repr(other.does(step)), step
            if at % 5 == 4:
                assert one.knows() == other.knows()
        assert one.knows() == other.knows()
        one.unit.write()
        other.unit.write()
        assert contents(one.db) == contents(other.db)
        one.unit.forget()
        assert one.knows() == other.knows(), "what is written is what was remembered"
