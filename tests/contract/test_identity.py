"""What every store must keep of people who turn out to be one, and of their former contacts at vendors."""

from __future__ import annotations

import msgspec
import pytest

from esplanade.records import Attempt, AudienceRun, Clocked, Contact, Delivery, LedgerRow, Note, Person, Remote

NOW = 1_000.0
ADA, OLD, EVE = "ada@example.com", "ada@old.example", "eve@example.com"


def add(unit, email, cdp_id=None):
    return unit.add_person(email, email, cdp_id, NOW)


def delivery(person, **more):
    known = {"id": 0, "lane": "webpower", "kind": "profile", "urgency": 2, "due_at": NOW, "first_at": NOW}
    return Delivery(**{**known, "person": person, **more})


def row(person, said_at, state="granted"):
    return LedgerRow(
        person=person,
        purpose="newsletter",
        state=state,
        method="single",
        source="shop",
        evidence={"form": "footer"},
        said_at=said_at,
        recorded_at=said_at,
        lifts=False,
    )


def is_merged(unit, gone, into):
    """What the fold does around it: the record of who is gone says so."""
    unit.merge_person(gone, into, NOW + 1)
    unit.save_person(Person(id=gone, email="", email_key="", created_at=NOW, merged_into=into))


# Finding those who were merged.


async def test_every_address_and_id_of_somebody_merged_leads_to_who_is_left(store):
    def work(unit):
        ada, old = add(unit, ADA), add(unit, OLD, "u-1")
        unit.add_email(old.id, "ada@older.example")
        is_merged(unit, old.id, ada.id)
        return [unit.person_by_email(email).id for email in (ADA, OLD, "ada@older.example")], unit.person_by_cdp_id(
            "u-1"
        ).id

    assert await store.run(work) == ([1, 1, 1], 1)


async def test_nobody_else_is_touched_by_a_merge(store):
    def work(unit):
        ada, old, eve = add(unit, ADA), add(unit, OLD), add(unit, EVE, "u-2")
        unit.save_remote(Remote(person=eve.id, connector="webpower", remote_id="9"))
        unit.append_ledger(row(eve.id, 1.0))
        number = unit.enqueue_state(delivery(eve.id))
        is_merged(unit, old.id, ada.id)
        return (
            [unit.person_by_email(EVE), unit.person_by_cdp_id("u-2"), unit.person_by_remote("webpower", "9")],
            unit.ledger(eve.id),
            unit.delivery(number).state,
        )

    found, ledger, state = await store.run(work)
    assert {person.email for person in found} == {EVE}
    assert (len(ledger), state) == (1, "pending")


async def test_who_was_merged_is_still_there_by_number_and_says_into_whom(store):
    def work(unit):
        ada, old = add(unit, ADA), add(unit, OLD)
        is_merged(unit, old.id, ada.id)
        return unit.person(old.id)

    gone = await store.run(work)
    assert (gone.merged_into, gone.email) == (1, "")


# The ledger of a lineage.


async def test_what_was_said_of_all_who_were_merged_is_read_together_in_order(store):
    def work(unit):
        people = [add(unit, f"{number}@example.com").id for number in range(3)]
        for said_at, person in enumerate([people[2], people[0], people[1], people[0]]):
            unit.append_ledger(row(person, float(said_at)))
        is_merged(unit, people[0], people[1])
        is_merged(unit, people[1], people[2])
        unit.append_ledger(row(people[2], 4.0, "denied"))
        return [each.said_at for each in unit.ledger(people[2])], [
            each.said_at for each in unit.ledger(people[2], "service")
        ]

    assert await store.run(work) == ([0.0, 1.0, 2.0, 3.0, 4.0], [])


async def test_a_lineage_of_lineages_outlives_a_restart(backend, store):
    def work(unit):
        people = [add(unit, f"{number}@example.com").id for number in range(4)]
        for person in people:
            unit.append_ledger(row(person, float(person)))
        is_merged(unit, people[0], people[1])
        is_merged(unit, people[2], people[3])
        is_merged(unit, people[1], people[3])

    await store.run(work)
    await store.close()
    store = await backend.open()
    found = await store.read(lambda reader: [row.person for row in reader.ledger(4)])
    assert found == [1, 2, 3, 4]
    await store.close()


# Work that waits.


async def test_what_waits_for_the_state_of_somebody_merged_is_done_with_a_reason(store):
    def work(unit):
        ada, old = add(unit, ADA), add(unit, OLD)
        numbers = [
            unit.enqueue_state(delivery(old.id)),
            unit.enqueue_state(delivery(old.id, kind="consent", subject="newsletter", urgency=0)),
        ]
        is_merged(unit, old.id, ada.id)
        return [unit.delivery(number) for number in numbers], unit.waiting("webpower", ada.id)

    done, waiting = await store.run(work)
    assert [(each.state, each.outcome, each.reason) for each in done] == [("done", "unchanged", "merged")] * 2
    assert waiting == []


@pytest.mark.parametrize(
    ("kind", "state", "payload"),
    [
        ("trigger", "pending", b"t"),
        ("profile", "in_flight", b""),
        ("profile", "parked", b""),
        ("consent", "dead", b""),
        ("profile", "pending", b"a former contact"),
        ("consent", "pending", b"a former contact"),
        ("fetch", "pending", b""),
    ],
)
async def test_other_work_goes_on_for_who_is_left(store, kind, state, payload):
    def work(unit):
        ada, old = add(unit, ADA), add(unit, OLD)
        number = unit.enqueue(delivery(old.id, kind=kind, payload=payload))
        waiting = unit.delivery(number)
        waiting.state = state
        unit.save_delivery(waiting)
        unit.add_attempt(Attempt(delivery=number, at=NOW, took_s=0.1, outcome="retried"))
        is_merged(unit, old.id, ada.id)
        return unit.delivery(number), unit.attempts(number), unit.open_deliveries(old.id)

    found, attempts, left = await store.run(work)
    assert (found.person, found.state, found.payload) == (1, state, payload)
    assert len(attempts) == 1
    assert left == {}


async def test_all_triggers_of_a_person_are_found_whatever_became_of_them(store):
    def work(unit):
        ada, old = add(unit, ADA), add(unit, OLD)
        unit.enqueue_state(delivery(ada.id))
        for person, state in ((old, "done"), (ada, "dead"), (old, "pending")):
            waiting = unit.delivery(unit.enqueue(delivery(person.id, kind="trigger", subject="cart")))
            waiting.state = state
            unit.save_delivery(waiting)
        is_merged(unit, old.id, ada.id)
        return [each.state for each in unit.triggers(ada.id)], unit.triggers(old.id)

    assert await store.run(work) == (["done", "dead", "pending"], [])


async def test_a_question_for_confirmation_is_no_longer_asked_of_who_is_gone(store):
    def work(unit):
        ada, old = add(unit, ADA), add(unit, OLD)
        unit.set_pending(old.id, "newsletter", pending=True)
        is_merged(unit, old.id, ada.id)
        return unit.pending_people("newsletter")

    assert await store.run(work) == []


async def test_the_timeline_of_both_is_one(store):
    def work(unit):
        ada, old = add(unit, ADA), add(unit, OLD)
        for at, person in ((1.0, old), (2.0, ada), (3.0, old)):
            unit.note(Note(person=person.id, at=at, what="accepted", reason="unchanged"))
        is_merged(unit, old.id, ada.id)
        return [note.at for note in unit.timeline(ada.id)], unit.timeline(old.id), unit.decisions(old.id)

    assert await store.run(work) == ([1.0, 2.0, 3.0], [], [])


# Contacts at vendors.


def contact(remote_id, **known):
    return Contact(email=OLD, remote_id=remote_id, **known)


async def test_what_a_vendor_holds_of_somebody_merged_is_theirs_no_more(store):
    def work(unit):
        ada, old = add(unit, ADA), add(unit, OLD)
        unit.save_remote(Remote(person=old.id, connector="webpower", remote_id="1"))
        is_merged(unit, old.id, ada.id)
        return unit.remotes(old.id), unit.person_by_remote("webpower", "1")

    assert await store.run(work) == ([], None)


async def test_a_former_contact_finds_its_person_at_its_vendor(store):
    def work(unit):
        ada = add(unit, ADA)
        unit.save_remote(
            Remote(person=ada.id, connector="webpower", remote_id="2", former=[contact("1"), contact(None)])
        )
        found = [unit.person_by_remote("webpower", number) for number in ("1", "2", "3")]
        return [person and person.id for person in found], unit.person_by_remote("sparkloop", "1")

    assert await store.run(work) == ([1, 1, None], None)


async def test_a_former_contact_comes_back_as_it_was(backend, store):
    whole = contact(
        "1",
        fields={"first_name": "Ada"},
        consents={"newsletter": "denied"},
        audiences=["vip"],
        told={"newsletter": 5.5},
    )
    remote = Remote(
        person=1, connector="webpower", former=[whole], sent={"retired:newsletter": [Clocked("denied", 5.5)]}
    )

    def work(unit):
        add(unit, ADA)
        unit.save_remote(remote)

    await store.run(work)
    await store.close()
    store = await backend.open()
    assert await store.read(lambda reader: reader.remote(1, "webpower")) == remote
    await store.close()


async def test_the_former_contacts_of_somebody_merged_find_who_is_left(store):
    def work(unit):
        ada, old = add(unit, ADA), add(unit, OLD)
        unit.save_remote(Remote(person=old.id, connector="webpower", former=[contact("1")]))
        is_merged(unit, old.id, ada.id)
        return unit.person_by_remote("webpower", "1").id

    assert await store.run(work) == 1


async def test_whose_contact_it_is_now_goes_before_whose_it_was(store):
    def work(unit):
        ada, eve = add(unit, ADA), add(unit, EVE)
        unit.save_remote(Remote(person=ada.id, connector="webpower", remote_id="2", former=[contact("1")]))
        unit.save_remote(Remote(person=eve.id, connector="webpower", remote_id="1"))
        return unit.person_by_remote("webpower", "1").id

    assert await store.run(work) == 2


# Undone, and counted.


async def test_a_merge_that_fails_half_way_is_undone_whole(store):
    def merges(unit):
        is_merged(unit, 2, 1)
        raise RuntimeError("no")

    await store.run(lambda unit: [add(unit, ADA), add(unit, OLD), unit.enqueue_state(delivery(2))])
    problem = await store.run(lambda unit: unit.attempt(lambda: merges(unit)))
    assert isinstance(problem, RuntimeError)
    found = await store.run(lambda unit: (unit.person_by_email(OLD), unit.waiting("webpower", 2)))
    assert (found[0].id, found[0].merged_into, len(found[1])) == (2, None, 1)


async def test_the_run_of_an_audience_is_kept_by_vendor_and_name(store):
    run = AudienceRun(members=3, began_at=NOW, began_with=4, removed=1)
    other = msgspec.structs.replace(run, members=9)

    def work(unit):
        unit.save_audience("webpower", "vip", run)
        unit.save_audience("sparkloop", "vip", other)
        return [unit.audience(*each) for each in (("webpower", "vip"), ("sparkloop", "vip"), ("webpower", "staff"))]

    assert await store.run(work) == [run, other, AudienceRun()]
