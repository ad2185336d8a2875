"""Work in hand: what is claimed, what lanes hear of each commit, what is read together, and what an undone part leaves behind."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esplanade.model import Exchange
from esplanade.records import Attempt, Delivery, DeliveryFilter, Note, Place, Remote, Urgency

NOW = 1_000.0
OPT_OUT, TRIGGER, LIVE, BACKFILL = Urgency
BEFORE_ALL = (float("-inf"), 0)
CRM, ESP = "crm", "esp"


def delivery(person=1, **more):
    known = {"id": 0, "lane": CRM, "kind": "profile", "urgency": LIVE, "due_at": NOW, "first_at": NOW}
    return Delivery(**{**known, "person": person, **more})


def mail(person=1, **more):
    return delivery(person, **{"kind": "trigger", "subject": "order", "urgency": TRIGGER, **more})


def consent(person=1, **more):
    return delivery(person, **{"kind": "consent", "subject": "newsletter", **more})


def queue(unit, *deliveries):
    """Queue them; their numbers."""
    return [
        unit.enqueue(each) if each.kind in {"trigger", "webhook"} else unit.enqueue_state(each) for each in deliveries
    ]


def add_people(unit, many=3):
    return [unit.add_person(f"p{number}@example.com", f"p{number}@example.com", None, NOW).id for number in range(many)]


def claim(unit, number):
    found = unit.delivery(number)
    unit.claim(found)
    return found


def save(unit, number, **changed):
    found = unit.delivery(number)
    for name, value in changed.items():
        setattr(found, name, value)
    unit.save_delivery(found)


async def reopened(backend, store):
    await store.close()
    return await backend.open()


class Committed:
    """What a store tells of its commits."""

    def __init__(self, store):
        self.told = []
        store.on_commit = self.told.append

    def places(self, lane=CRM):
        """Where work stands, by what was told last."""
        return self.told[-1].places.get(lane, [])


@pytest.fixture
def committed(store):
    return Committed(store)


@pytest.fixture
async def people(store):
    return await store.run(add_people)


# Claims.


async def test_what_is_claimed_is_in_flight_for_one_more_attempt(store, people):
    def work(unit):
        (number,) = queue(unit, delivery())
        claimed = claim(unit, number)
        return claimed, unit.delivery(number), unit.in_flight(CRM), unit.waiting(CRM, 1)

    claimed, found, in_flight, waiting = await store.run(work)
    assert (claimed.state, claimed.attempts) == ("in_flight", 1)
    assert found == claimed
    assert in_flight == waiting == [claimed]
    assert await store.read(lambda reader: reader.delivery(claimed.id)) == claimed


async def test_a_claim_outlives_its_process(backend, store, people):
    number, other = await store.run(lambda unit: queue(unit, mail(), mail(2)))
    await store.run(lambda unit: save(unit, number, attempts=4, last_error="503"))
    claimed = await store.run(lambda unit: claim(unit, number))
    store = await reopened(backend, store)
    assert await store.run(lambda unit: unit.in_flight(CRM)) == [claimed]
    assert (claimed.attempts, claimed.last_error) == (5, "503")
    assert (await store.read(lambda reader: reader.delivery(other))).state == "pending"
    await store.close()


@pytest.mark.parametrize("state", ["done", "dead", "parked", "pending"])
async def test_it_is_in_flight_until_it_is_saved_in_another_state(backend, store, people, state):
    number, other = await store.run(lambda unit: queue(unit, delivery(1), delivery(2)))
    await store.run(lambda unit: (claim(unit, number), claim(unit, other)))
    await store.run(lambda unit: save(unit, number, state=state, due_at=NOW + 1))
    for _ in range(2):
        assert [each.id for each in await store.run(lambda unit: unit.in_flight(CRM))] == [other]
        found = await store.read(lambda reader: reader.delivery(number))
        assert (found.state, found.attempts, found.due_at) == (state, 1, NOW + 1)
        store = await reopened(backend, store)
    await store.close()


async def test_what_was_claimed_and_is_tried_again_may_be_claimed_again(store, people):
    (number,) = await store.run(lambda unit: queue(unit, delivery()))
    for attempt in (1, 2, 3):
        assert (await store.run(lambda unit: claim(unit, number))).attempts == attempt
        await store.run(lambda unit: save(unit, number, state="pending"))
    assert await store.run(lambda unit: unit.in_flight(CRM)) == []


async def test_a_claim_that_is_taken_back_in_the_same_unit_leaves_no_trace(backend, store, people):
    (number,) = await store.run(lambda unit: queue(unit, delivery()))

    def work(unit):
        claim(unit, number)
        save(unit, number, state="pending", attempts=0)

    await store.run(work)
    store = await reopened(backend, store)
    found = await store.run(lambda unit: (unit.in_flight(CRM), unit.delivery(number).attempts))
    assert found == ([], 0)
    await store.close()


async def test_each_lane_has_its_own_claims(store, people):
    ours, theirs = await store.run(lambda unit: queue(unit, delivery(), delivery(lane=ESP)))
    await store.run(lambda unit: (claim(unit, ours), claim(unit, theirs)))
    found = await store.run(lambda unit: (unit.in_flight(CRM), unit.in_flight(ESP), unit.in_flight("nobody")))
    assert [[each.id for each in lane] for lane in found] == [[ours], [theirs], []]


async def test_a_claim_in_a_unit_that_is_undone_is_none(store, people):
    (number,) = await store.run(lambda unit: queue(unit, delivery()))

    def breaks(unit):
        claim(unit, number)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await store.run(breaks)
    found = await store.run(lambda unit: (unit.in_flight(CRM), unit.delivery(number)))
    assert (found[0], found[1].state, found[1].attempts) == ([], "pending", 0)


async def test_the_end_of_a_claim_in_a_unit_that_is_undone_is_none_either(store, people):
    (number,) = await store.run(lambda unit: queue(unit, delivery()))
    await store.run(lambda unit: claim(unit, number))

    def breaks(unit):
        save(unit, number, state="done")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await store.run(breaks)
    assert [each.id for each in await store.run(lambda unit: unit.in_flight(CRM))] == [number]
    await store.run(lambda unit: save(unit, number, state="done"))
    assert await store.run(lambda unit: unit.in_flight(CRM)) == []


async def test_what_is_under_way_still_stands_in_its_place_and_is_not_the_oldest_that_is_due(store, people):
    first, second = await store.run(lambda unit: queue(unit, delivery(1, due_at=NOW - 9), delivery(2)))
    await store.run(lambda unit: claim(unit, first))
    places = await store.run(lambda unit: unit.places(CRM, LIVE, BEFORE_ALL, NOW, 9))
    assert [each.delivery for each in places] == [first, second]
    assert await store.read(lambda reader: reader.oldest_due_at(CRM, LIVE, NOW)) == NOW
    counts = (await store.read(lambda reader: reader.counts(NOW)))[CRM]
    assert (counts.due, counts.in_flight, counts.oldest_due_at) == (1, 1, NOW)


async def test_deliveries_are_searched_by_the_state_that_their_claims_give_them(store, people):
    ours, other = await store.run(lambda unit: queue(unit, delivery(1), delivery(2)))
    await store.run(lambda unit: claim(unit, ours))

    async def ids(*states):
        found = await store.read(lambda reader: reader.deliveries(DeliveryFilter(states=list(states))))
        return [each.id for each, _ in found]

    assert await ids("in_flight") == [ours]
    assert await ids("pending") == [other]
    assert await ids("in_flight", "pending") == [ours, other]


async def test_what_is_under_way_is_found_as_it_is_now_and_a_change_raises_its_revision(store, people):
    def work(unit):
        (number,) = queue(unit, consent(urgency=LIVE))
        claim(unit, number)
        assert queue(unit, consent(urgency=OPT_OUT, due_at=NOW + 3)) == [number]
        return unit.delivery(number)

    found = await store.run(work)
    assert (found.state, found.attempts, found.rev, found.urgency) == ("in_flight", 1, 1, OPT_OUT)
    assert await store.read(lambda reader: reader.delivery(found.id)) == found


# What lanes hear.


async def test_a_lane_is_told_of_all_that_is_queued_for_it(store, people, committed):
    numbers = await store.run(
        lambda unit: queue(unit, delivery(1), mail(2, due_at=NOW + 9), delivery(None, kind="webhook", lane="crm:in"))
    )
    assert committed.places() == [Place(LIVE, NOW, numbers[0], 1), Place(TRIGGER, NOW + 9, numbers[1], 2)]
    assert committed.places("crm:in") == [Place(LIVE, NOW, numbers[2], None)]
    assert committed.places(ESP) == []


async def test_it_is_told_before_whoever_asked_for_the_commit(store, people, committed):
    (number,) = await store.run(lambda unit: queue(unit, delivery()))
    assert [each.delivery for each in committed.places()] == [number]


async def test_it_is_told_of_each_commit_once(store, people, committed):
    await store.run(lambda unit: queue(unit, delivery()))
    await store.run(lambda unit: unit.set_meta("k", "v"))
    assert committed.places() == []


async def test_it_is_not_told_of_what_is_only_claimed_or_at_its_end(store, people, committed):
    one, other = await store.run(lambda unit: queue(unit, delivery(1), delivery(2)))
    await store.run(lambda unit: (claim(unit, one), claim(unit, other)))
    assert committed.places() == []
    await store.run(lambda unit: (save(unit, one, state="done"), save(unit, other, state="dead")))
    assert committed.places() == []


async def test_it_is_told_of_what_is_put_off_brought_forward_or_sent_again(store, people, committed):
    first, second = await store.run(lambda unit: queue(unit, delivery(1), consent(1)))
    await store.run(lambda unit: claim(unit, first))

    def fails(unit):
        save(unit, first, state="pending", due_at=NOW + 60)
        unit.hold_back(CRM, 1, NOW + 60, first)

    await store.run(fails)
    assert set(committed.places()) == {Place(LIVE, NOW + 60, first, 1), Place(LIVE, NOW + 60, second, 1)}
    await store.run(lambda unit: save(unit, first, state="dead"))
    await store.run(lambda unit: unit.release(CRM, 1, NOW + 5))
    assert committed.places() == [Place(LIVE, NOW + 5, second, 1)]
    await store.run(lambda unit: save(unit, first, state="pending", due_at=NOW + 7))
    assert committed.places() == [Place(LIVE, NOW + 7, first, 1)]


async def test_it_is_told_when_a_change_makes_waiting_work_more_urgent(store, people, committed):
    (number,) = await store.run(lambda unit: queue(unit, consent(urgency=BACKFILL, due_at=NOW + 60)))
    await store.run(lambda unit: queue(unit, consent(urgency=OPT_OUT)))
    assert committed.places() == [Place(OPT_OUT, NOW, number, 1)]


async def test_it_is_told_when_a_trigger_lifts_what_waits_before_it(store, people, committed):
    (profile,) = await store.run(lambda unit: queue(unit, delivery(urgency=BACKFILL)))
    (trigger,) = await store.run(lambda unit: queue(unit, mail()))
    assert set(committed.places()) == {Place(TRIGGER, NOW, profile, 1), Place(TRIGGER, NOW, trigger, 1)}


async def test_what_is_parked_is_no_work(store, people, committed):
    await store.run(lambda unit: unit.park(delivery(reason="guard")))
    assert committed.places() == []


async def test_a_reminder_tells_of_all_that_waits_for_a_person_and_of_nothing_else(store, people, committed):
    numbers = await store.run(
        lambda unit: queue(unit, delivery(), consent(due_at=NOW + 60), mail(), delivery(2), delivery(lane=ESP))
    )
    await store.run(lambda unit: claim(unit, numbers[0]))
    await store.run(lambda unit: unit.remind(CRM, 1))
    assert [each.delivery for each in committed.places()] == numbers[1:3]
    assert committed.places(ESP) == []
    await store.run(lambda unit: unit.remind(CRM, 99))
    assert committed.places() == []


async def test_after_a_merge_anything_may_have_changed(store, people, committed):
    await store.run(lambda unit: queue(unit, delivery(2), delivery(3, lane=ESP)))
    await store.run(lambda unit: unit.merge_person(2, 1, NOW))
    assert committed.told[-1].shuffled == {CRM}


async def test_after_time_was_brought_forward_anything_may_have_changed(store, people, committed):
    numbers = await store.run(
        lambda unit: queue(unit, delivery(1, due_at=NOW + 100), delivery(2, due_at=NOW + 10), delivery(3))
    )
    await store.run(lambda unit: unit.bring_forward(30, NOW + 1))
    assert CRM in committed.told[-1].shuffled
    found = await store.run(lambda unit: [unit.delivery(number).due_at for number in numbers])
    assert found == [NOW + 70, NOW + 1, NOW]


async def test_of_units_that_share_a_commit_each_is_told(store, people, committed, busy):
    async with busy(store, lambda unit: queue(unit, delivery(1))):
        pass
    assert [each.person for each in committed.places()] == [1]


async def test_places_that_were_told_lead_to_the_work_that_stands_there(store, people, committed):
    def work(unit):
        queue(unit, delivery(1), consent(1), mail(2, due_at=NOW + 5), delivery(3, urgency=BACKFILL))
        unit.hold_back(CRM, 1, NOW + 9, 0)

    await store.run(work)
    last = {each.delivery: each for each in committed.places()}
    for urgency in range(len(Urgency)):
        there = await store.run(lambda unit, urgency=urgency: unit.places(CRM, urgency, BEFORE_ALL, NOW + 99, 9))
        assert sorted(each for each in last.values() if each.urgency == urgency) == there


# What is read together.


async def test_reading_together_changes_no_answer(backend, store, people):
    numbers = await store.run(lambda unit: queue(unit, delivery(1), consent(1), mail(2), delivery(3, lane=ESP)))
    await store.run(lambda unit: claim(unit, numbers[1]))
    store = await reopened(backend, store)

    def ask(unit, *, expects):
        if expects:
            unit.expect(people=[1, 2, 3, 99], lanes=[CRM, ESP])
        return [unit.waiting(lane, person) for lane in (CRM, ESP) for person in (1, 2, 3, 99)]

    plain = await store.run(lambda unit: ask(unit, expects=False))
    store = await reopened(backend, store)
    assert await store.run(lambda unit: ask(unit, expects=True)) == plain
    assert [[each.id for each in found] for found in plain] == [
        numbers[:2], numbers[2:3], [], [], [], [], numbers[3:], [],
    ]  # fmt: skip
    await store.close()


async def test_what_is_still_to_be_written_is_among_what_is_read_together(store, people):
    def work(unit):
        numbers = queue(unit, delivery(1), delivery(2))
        claim(unit, numbers[1])
        unit.expect(people=[1, 2], lanes=[CRM])
        return numbers, [unit.waiting(CRM, person) for person in (1, 2)]

    numbers, ((first,), (second,)) = await store.run(work)
    assert (first.id, first.state, second.id, second.state) == (numbers[0], "pending", numbers[1], "in_flight")


async def test_people_are_read_together_by_each_of_their_names(backend, store, people):
    def name(unit):
        ada = unit.person(1)
        ada.cdp_id = "u-1"
        unit.save_person(ada)
        return queue(unit, delivery(1), delivery(2))

    numbers = await store.run(name)
    store = await reopened(backend, store)

    def ask(unit):
        unit.expect(email_keys=["p1@example.com", "nobody@example.com"], cdp_ids=["u-1", "u-9"], lanes=[CRM])
        known = [unit.person_by_cdp_id("u-1"), unit.person_by_email("p1@example.com")]
        return [each.id for person in known for each in unit.waiting(CRM, person.id)], unit.person_by_cdp_id("u-9")

    assert await store.run(ask) == (numbers, None)
    await store.close()


@pytest.mark.parametrize(
    "at", [0.1 + 0.2, 1_768_471_200.123_456_7, 5e-324, 1.7976931348623157e308, 2.0**53 + 2], ids=repr
)
async def test_moments_are_kept_to_their_last_digit_however_they_are_read(backend, store, people, at):
    whole = mail(due_at=at, first_at=at, expires_at=at, took_s=at, payload=b"\x00'\xff", last_error='"it\'s"\n\x01')
    await store.run(lambda unit: queue(unit, whole))
    store = await reopened(backend, store)
    found = await store.run(lambda unit: (unit.expect(people=[1], lanes=[CRM]), unit.waiting(CRM, 1))[1])
    assert found == [whole]
    (place,) = await store.run(lambda unit: unit.places(CRM, TRIGGER, BEFORE_ALL, at, 1))
    assert place == Place(TRIGGER, at, whole.id, 1)
    await store.close()


async def test_a_value_that_was_given_out_is_the_asker_s_own(store, people):
    def work(unit):
        (number,) = queue(unit, delivery())
        for found in (unit.delivery(number), *unit.waiting(CRM, 1), *unit.in_flight(CRM)):
            found.state, found.attempts, found.last_error = "dead", 99, "changed"
        claimed = claim(unit, number)
        claimed.last_error = "changed"
        return unit.waiting(CRM, 1)

    (found,) = await store.run(work)
    assert (found.state, found.attempts, found.last_error) == ("in_flight", 1, None)


async def test_what_was_queued_is_the_store_s_own(store, people):
    def work(unit):
        given = delivery()
        (number,) = queue(unit, given)
        given.state, given.due_at = "dead", 0.0
        return unit.delivery(number), unit.waiting(CRM, 1)

    found, waiting = await store.run(work)
    assert (found.state, found.due_at) == ("pending", NOW)
    assert waiting == [found]


async def test_somebody_new_is_read_together_with_the_others(store, people):
    numbers = await store.run(lambda unit: queue(unit, delivery(1)))

    def work(unit):
        (new,) = add_people(unit, 1)
        numbers.extend(queue(unit, delivery(new)))
        unit.save_remote(Remote(person=new, connector=CRM, remote_id="9001"))
        unit.expect(people=[1, new], lanes=[CRM])
        found = [[each.id for each in unit.waiting(CRM, person)] for person in (1, new)]
        return found, unit.remote(new, CRM).remote_id, unit.remote(1, CRM)

    assert await store.run(work) == ([numbers[:1], numbers[1:]], "9001", None)


async def test_what_is_parked_for_somebody_new_is_no_work_and_what_is_queued_beside_it_is(store):
    def work(unit):
        (new,) = add_people(unit, 1)
        parked = unit.park(delivery(new, reason="guard"))
        (number,) = queue(unit, delivery(new))
        waiting = [each.id for each in unit.waiting(CRM, new)]
        return parked, waiting == [number], len(unit.parked(CRM, new, "guard"))

    assert await store.run(work) == (True, True, 1)


async def test_what_waits_is_never_forgotten_within_a_unit_however_much_is_asked_meanwhile(store):
    def work(unit):
        (new,) = add_people(unit, 1)
        (number,) = queue(unit, delivery(new))
        unit.attempts(number)
        for stranger in range(1_000, 12_000):
            unit.waiting(CRM, stranger)
        again = queue(unit, delivery(new))
        return number, again, [each.id for each in unit.waiting(CRM, new)]

    number, again, waiting = await store.run(work)
    assert (again, waiting) == ([number], [number])


async def test_nor_is_what_a_vendor_holds_of_somebody_new(store):
    def work(unit):
        (new,) = add_people(unit, 1)
        unit.save_remote(Remote(person=new, connector=CRM, remote_id="9001"))
        held = unit.remotes(new)
        for stranger in range(1_000, 12_000):
            unit.remote(stranger, CRM)
        return held, unit.remote(new, CRM)

    held, found = await store.run(work)
    assert held == [found]


# Rows that are written together.


@pytest.mark.parametrize("many", [1, 63, 64, 65, 500])
async def test_however_many_rows_a_unit_changes_all_are_there_when_it_ends(backend, store, many):
    def work(unit):
        numbers = queue(unit, *(delivery(person) for person in add_people(unit, many)))
        for number in numbers[::2]:
            claim(unit, number)
        for number in numbers[::3]:
            save(unit, number, state="done", outcome="delivered", took_s=0.5)
        for number in numbers:
            unit.add_attempt(Attempt(delivery=number, at=NOW, took_s=0.1, outcome="retried", error=f"e-{number}"))
        return numbers

    numbers = await store.run(work)
    expected = {
        number: "done" if at % 3 == 0 else "in_flight" if at % 2 == 0 else "pending"
        for at, number in enumerate(numbers)
    }
    for _ in range(2):
        found = await store.read(lambda reader: reader.deliveries(DeliveryFilter(), limit=1_000))
        assert {each.id: each.state for each, _ in found} == expected
        assert [address for _, address in found] == [f"p{number}@example.com" for number in range(many)]
        in_flight = await store.run(lambda unit: unit.in_flight(CRM))
        assert [each.id for each in in_flight] == [number for number in numbers if expected[number] == "in_flight"]
        attempts = await store.read(lambda reader: [reader.attempts(number)[0].error for number in numbers])
        assert attempts == [f"e-{number}" for number in numbers]
        store = await reopened(backend, store)
    await store.close()


async def test_of_several_changes_of_one_delivery_in_a_unit_the_last_one_counts(backend, store, people):
    def work(unit):
        (number,) = queue(unit, delivery())
        for attempts in range(1, 5):
            save(unit, number, due_at=NOW + attempts, attempts=attempts, last_error=f"e-{attempts}")
        save(unit, number, state="done", due_at=NOW + 9, last_error=None)
        return unit.delivery(number)

    last = await store.run(work)
    store = await reopened(backend, store)
    assert await store.read(lambda reader: reader.delivery(last.id)) == last
    assert (last.state, last.attempts, last.due_at) == ("done", 4, NOW + 9)
    await store.close()


async def test_numbers_go_on_where_they_were(backend, store, people):
    first = await store.run(lambda unit: queue(unit, mail(), mail()))
    assert await store.run(lambda unit: unit.last_delivery()) == first[-1]
    store = await reopened(backend, store)
    assert await store.run(lambda unit: unit.last_delivery()) == first[-1]
    again = await store.run(lambda unit: queue(unit, mail()))
    assert again[0] > first[-1]
    await store.close()


# Attempts.


@pytest.mark.parametrize("together", [True, False], ids=["in one unit", "one by one"])
async def test_of_each_delivery_the_last_twenty_attempts_are_kept(store, people, together):
    made = [
        Attempt(delivery=number, at=NOW + at, took_s=0.5, outcome="retried", error=f"{number} {at}")
        for at in range(33)
        for number in (1, 2, 3)
        if number != 3 or at < 20
    ]

    def write(unit, *attempts):
        for each in attempts:
            unit.add_attempt(each)

    if together:
        await store.run(lambda unit: write(unit, *made))
    else:
        for each in made:
            await store.run(lambda unit, each=each: write(unit, each))
    for number in (1, 2, 3):
        of_it = [each for each in made if each.delivery == number]
        assert await store.read(lambda reader, number=number: reader.attempts(number)) == of_it[-20:]


async def test_an_attempt_keeps_its_exchange_and_a_delivery_that_ends_adds_its_last_one(store, people):
    exchange = Exchange(method="PUT", path="/c/{id}", status=503, took_s=0.25, sent='{"a":"text"}', answered='"é"\n')
    failed = Attempt(delivery=1, at=NOW, took_s=0.5, outcome="retried", error="503", exchange=exchange)

    def work(unit):
        (number,) = queue(unit, delivery())
        unit.add_attempt(failed)
        save(unit, number, state="done", due_at=NOW + 9, took_s=2.0, outcome="delivered")
        return unit.attempts(number)

    found = await store.run(work)
    assert found == [failed, Attempt(delivery=1, at=NOW + 7, took_s=2.0, outcome="delivered")]
    assert await store.read(lambda reader: reader.attempts(1)) == found


# Parts of a unit.


async def test_a_part_that_is_undone_leaves_work_as_it_was_before_the_part(store, people):
    one, other = await store.run(lambda unit: queue(unit, delivery(1), delivery(2)))

    def breaks(unit):
        claim(unit, other)
        save(unit, one, state="done")
        queue(unit, mail(3))
        unit.add_attempt(Attempt(delivery=one, at=NOW, took_s=0.0, outcome="retried"))
        raise ValueError("no")

    def work(unit):
        claim(unit, one)
        problem = unit.attempt(lambda: breaks(unit))
        return str(problem), unit.delivery(one).state, unit.delivery(other).state, unit.waiting(CRM, 3)

    assert await store.run(work) == ("no", "in_flight", "pending", [])
    found = await store.read(lambda reader: reader.deliveries(DeliveryFilter()))
    assert {each.id: each.state for each, _ in found} == {one: "in_flight", other: "pending"}
    assert await store.read(lambda reader: reader.attempts(one)) == []


async def test_one_by_one_only_the_part_that_raises_is_missing(store, people, committed):
    """As a lane does when it is careful."""

    def part(unit, person):
        numbers = queue(unit, delivery(person), mail(person))
        claim(unit, numbers[0])
        unit.note(Note(person=person, at=NOW, what="sent", connector=CRM))
        if person == 2:
            raise KeyError("email")

    def work(unit):
        return [type(unit.attempt(lambda person=person: part(unit, person))) for person in (1, 2, 3)]

    assert await store.run(work) == [type(None), KeyError, type(None)]
    assert {1, 3} <= {each.person for each in committed.places() if each.urgency == TRIGGER}
    in_flight = await store.run(lambda unit: unit.in_flight(CRM))
    assert [each.person for each in in_flight] == [1, 3]
    assert await store.read(lambda reader: reader.open_deliveries(2)) == {}
    assert await store.read(lambda reader: reader.outcomes()) == {(CRM, "sent", ""): 2}


async def test_after_a_part_that_was_undone_the_unit_goes_on(store, people):
    def breaks(unit):
        queue(unit, delivery(1))
        raise ValueError("no")

    def work(unit):
        unit.attempt(lambda: breaks(unit))
        return queue(unit, delivery(1), consent(1), mail(2))

    numbers = await store.run(work)
    assert len(set(numbers)) == 3
    assert [each.id for each in await store.run(lambda unit: unit.waiting(CRM, 1))] == numbers[:2]


# A law.

steps = st.lists(
    st.one_of(
        st.tuples(st.just("queue"), st.integers(1, 3), st.sampled_from([OPT_OUT, LIVE, BACKFILL]), st.integers(0, 9)),
        st.tuples(st.just("mail"), st.integers(1, 3), st.integers(0, 9)),
        st.tuples(st.just("claim"), st.integers(1, 12)),
        st.tuples(st.just("end"), st.integers(1, 12), st.sampled_from(["done", "dead", "pending"]), st.integers(0, 9)),
        st.tuples(st.just("hold back"), st.integers(1, 3), st.integers(0, 9), st.integers(0, 12)),
        st.tuples(st.just("release"), st.integers(1, 3), st.integers(0, 9)),
    ),
    max_size=12,
)


def does(unit, step):
    match step:
        case ("queue", person, urgency, after):
            queue(unit, consent(person, urgency=urgency, due_at=NOW + after))
        case ("mail", person, after):
            queue(unit, mail(person, due_at=NOW + after))
        case ("claim", number) if (found := unit.delivery(number)) is not None and found.state == "pending":
            unit.claim(found)
        case ("end", number, state, after) if (found := unit.delivery(number)) is not None:
            if found.state == "in_flight":
                save(unit, number, state=state, due_at=NOW + after)
        case ("hold back", person, after, number):
            unit.hold_back(CRM, person, NOW + after, number)
        case ("release", person, after):
            unit.release(CRM, person, NOW + after)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(units=st.lists(st.tuples(steps, st.booleans()), max_size=6))
async def test_a_lane_that_only_listens_knows_where_everything_stands(tmp_path_factory, backend, units):
    """A lane keeps each place that it was told last; of what waits it then never misses a change of urgency or of time."""
    backend.folder = tmp_path_factory.mktemp("law")
    store = await backend.open()
    try:
        told, heard = {}, []
        store.on_commit = lambda committed: heard.extend(committed.places.get(CRM, []))
        await store.run(add_people)
        for story, breaks in units:

            def work(unit, story=story, breaks=breaks):
                for step in story:
                    does(unit, step)
                if breaks:
                    raise RuntimeError("no")

            try:
                await store.run(work)
            except RuntimeError:
                heard.clear()
            told.update({place.delivery: place for place in heard})
            heard.clear()
        found = await store.run(lambda unit: unit.deliveries(DeliveryFilter(states=["pending"])))
        stands = {each.id: Place(each.urgency, each.due_at, each.id, each.person) for each, _ in found}
        assert {number: told[number] for number in stands} == stands
    finally:
        await store.close()
