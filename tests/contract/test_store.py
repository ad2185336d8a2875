"""What every store must keep: store/port.py, sentence by sentence, on each backend."""

from __future__ import annotations

import asyncio

import pytest

from esplanade.errors import StoreError, StoreLocked
from esplanade.records import (
    Answered,
    Attempt,
    Clocked,
    ConnectorState,
    Delivery,
    DeliveryFilter,
    Entry,
    LedgerRow,
    Note,
    Place,
    Remote,
    Standing,
    Urgency,
)

NOW = 1_000.0
OPT_OUT, TRIGGER, LIVE, BACKFILL = Urgency


def entry(name, at=NOW, **more):
    return Entry(**{"kind": "profile", "origin": "shop", "id": name, "at": at, "body": name.encode(), **more})


def delivery(person=1, **more):
    known = {"id": 0, "lane": "webpower", "kind": "profile", "urgency": LIVE, "due_at": NOW, "first_at": NOW}
    return Delivery(**{**known, "person": person, **more})


def add_ada(unit, email="ada@example.com", cdp_id="u-1"):
    return unit.add_person(email, email, cdp_id, NOW)


def everything(unit):
    return [found.id for _, found in unit.next_entries(10_000)]


async def reopened(backend, store):
    await store.close()
    return await backend.open()


# Accepting.


async def test_what_was_accepted_is_in_the_journal_in_order(store):
    await store.accept([entry("e-1"), entry("e-2")])
    await store.accept([entry("e-3")])
    assert await store.run(everything) == ["e-1", "e-2", "e-3"]


async def test_an_entry_comes_back_as_it_was_accepted(store):
    whole = entry("e-1", root="e-0", hops=2, backfill=True, dedupe=True)
    await store.accept([whole])
    ((_, found),) = await store.run(lambda unit: list(unit.next_entries(1)))
    assert found == whole


async def test_requests_in_flight_share_a_commit(backend, store, busy):
    async with busy(store):
        before = backend.commits(store)
        accepts = [asyncio.create_task(store.accept([entry(f"e-{number}")])) for number in range(200)]
        await asyncio.sleep(0)
    await asyncio.gather(*accepts)
    assert backend.commits(store) - before == 2  # what kept the writer busy, and all of them
    assert await store.run(everything) == [f"e-{number}" for number in range(200)]


async def test_many_requests_at_once_are_all_durable(backend, store):
    names = [f"e-{number}" for number in range(500)]
    await asyncio.gather(*(store.accept([entry(name)]) for name in names))
    assert backend.commits(store) < 500
    store = await reopened(backend, store)
    assert await store.run(everything) == names
    await store.close()


async def test_nothing_is_acknowledged_before_it_is_on_disk(store, busy):
    async with busy(store):
        accept = asyncio.create_task(store.accept([entry("e-1")]))
        await asyncio.sleep(0)
        assert await store.read(lambda reader: reader.backlog()) == 0
        assert not accept.done()
    await accept
    assert await store.read(lambda reader: reader.backlog()) == 1


async def test_a_sender_that_goes_away_undoes_nothing(store, busy):
    async with busy(store):
        accept = asyncio.create_task(store.accept([entry("e-1")]))
        await asyncio.sleep(0)
        accept.cancel()
    await store.accept([entry("e-2")])
    assert await store.run(everything) == ["e-1", "e-2"]


ANSWER = Answered(source="shop", key="k-1", digest=b"d", status=202, answer=b"{}")


async def test_an_answer_is_kept_with_its_events(store):
    await store.accept([entry("e-1")], ANSWER)
    assert await store.read(lambda reader: reader.answered("shop", "k-1")) == ANSWER
    assert await store.read(lambda reader: reader.answered("site", "k-1")) is None
    assert await store.read(lambda reader: reader.answered("shop", "k-2")) is None


async def test_an_answer_that_cannot_be_kept_takes_its_events_with_it(store):
    with pytest.raises(StoreError):
        await store.accept([entry("e-1")], Answered(source="shop", key="k", digest=b"", status=2**70, answer=b""))
    assert await store.run(everything) == []
    await store.accept([entry("e-2")], ANSWER)
    assert await store.run(everything) == ["e-2"]


async def test_an_answer_without_events_is_kept_too(store):
    await store.accept([], ANSWER)
    assert await store.read(lambda reader: reader.answered("shop", "k-1")) == ANSWER
    assert await store.read(lambda reader: reader.backlog()) == 0


# Units.


async def test_a_unit_returns_what_it_found(store):
    assert await store.run(lambda unit: add_ada(unit).name) == "p-1"


async def test_a_unit_that_raises_undoes_itself_alone(store, busy):
    def breaks(unit):
        add_ada(unit, "eve@example.com", "u-2")
        unit.note(Note(person=1, at=NOW, what="accepted"))
        raise RuntimeError("no")

    async with busy(store):
        accept = asyncio.create_task(store.accept([entry("e-1")]))
        good = asyncio.create_task(store.run(add_ada))
        bad = asyncio.create_task(store.run(breaks))
        better = asyncio.create_task(store.run(lambda unit: unit.set_meta("k", "v")))
        await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="no"):
        await bad
    await asyncio.gather(accept, good, better)
    found = await store.read(lambda reader: [reader.person_by_cdp_id("u-1"), reader.person_by_cdp_id("u-2")])
    assert (found[0] is not None, found[1]) == (True, None)
    assert await store.read(lambda reader: (reader.meta("k"), reader.backlog(), reader.outcomes())) == ("v", 1, {})


async def test_a_unit_sees_what_earlier_units_wrote(store):
    one = asyncio.create_task(store.run(lambda unit: unit.set_meta("k", "v")))
    other = asyncio.create_task(store.run(lambda unit: unit.meta("k")))
    assert (await one, await other) == (None, "v")


async def test_a_part_of_a_unit_is_undone_alone(store):
    def breaks(unit):
        unit.set_meta("k", "broken")
        unit.note(Note(person=1, at=NOW, what="merged"))
        raise ValueError("no")

    def works(unit):
        unit.set_meta("before", "kept")
        why = unit.attempt(lambda: breaks(unit))
        fine = unit.attempt(lambda: unit.set_meta("after", "kept"))
        return str(why), fine, unit.meta("k")

    assert await store.run(works) == ("no", None, None)
    kept = await store.read(lambda reader: (reader.meta("before"), reader.meta("after"), reader.outcomes()))
    assert kept == ("kept", "kept", {})


async def test_parts_may_have_parts(store):
    def breaks(unit):
        unit.set_meta("inner", "broken")
        raise ValueError("inner")

    def outer(unit):
        unit.set_meta("outer", "kept")
        assert isinstance(unit.attempt(lambda: breaks(unit)), ValueError)

    assert await store.run(lambda unit: unit.attempt(lambda: outer(unit))) is None
    assert await store.read(lambda reader: (reader.meta("outer"), reader.meta("inner"))) == ("kept", None)


async def test_a_reader_sees_only_what_was_committed(store, busy):
    async with busy(store, add_ada):
        assert await store.read(lambda reader: reader.person_by_cdp_id("u-1")) is None
    assert await store.read(lambda reader: reader.person_by_cdp_id("u-1")) is not None


async def test_work_that_need_not_be_durable_is_seen_at_once_and_in_order(backend, store):
    await store.run(lambda unit: unit.set_meta("k", "fold"), durable=False)
    assert await store.read(lambda reader: reader.meta("k")) == "fold"
    work = [
        asyncio.create_task(
            store.run(lambda unit, n=number: unit.set_meta("k", f"{unit.meta('k')} {n}"), durable=number % 3 == 0)
        )
        for number in range(6)
    ]
    await asyncio.gather(*work)
    store = await reopened(backend, store)
    assert await store.read(lambda reader: reader.meta("k")) == "fold 0 1 2 3 4 5"
    await store.close()


async def test_closing_finishes_what_was_submitted(backend, store, busy):
    async with busy(store):
        accept = asyncio.create_task(store.accept([entry("e-1")]))
        unit = asyncio.create_task(store.run(add_ada))
        await asyncio.sleep(0)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
    await asyncio.gather(accept, unit, closing)
    store = await backend.open()
    assert await store.run(everything) == ["e-1"]
    assert await store.read(lambda reader: reader.person_by_cdp_id("u-1")) is not None
    await store.close()


async def test_a_closed_store_takes_nothing_more(store):
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.accept([entry("e-1")])
    with pytest.raises(StoreError, match="closed"):
        await store.run(everything)
    with pytest.raises(StoreError, match="closed"):
        await store.read(lambda reader: reader.backlog())


async def test_a_store_that_is_held_names_its_holder(backend, store):
    with pytest.raises(StoreLocked, match=r"in use by process \d+ \(the contract tests\)"):
        await backend.open("a second hub")
    await store.accept([entry("e-1")])


# The journal and its cursor.


async def test_the_fold_goes_on_behind_its_cursor(backend, store):
    await store.accept([entry("e-1"), entry("e-2"), entry("e-3")])
    ((_, _), (second, _)) = await store.run(lambda unit: list(unit.next_entries(2)))
    await store.run(lambda unit: unit.move_cursor(second))
    store = await reopened(backend, store)
    assert await store.run(everything) == ["e-3"]
    assert await store.read(lambda reader: reader.backlog()) == 1
    await store.close()


async def test_entries_are_read_across_commits(store):
    for first in (0, 3, 6):
        await store.accept([entry(f"e-{first + number}") for number in range(3)])
    read = []
    while part := await store.run(lambda unit: list(unit.next_entries(2))):
        read.append([found.id for _, found in part])
        position, _ = part[-1]
        await store.run(lambda unit, position=position: unit.move_cursor(position))
    assert read == [["e-0", "e-1"], ["e-2", "e-3"], ["e-4", "e-5"], ["e-6", "e-7"], ["e-8"]]
    assert await store.read(lambda reader: reader.backlog()) == 0
    await store.accept([entry("e-9")])
    assert await store.run(everything) == ["e-9"]


async def test_a_cursor_that_is_undone_stays(store):
    await store.accept([entry("e-1")])

    def breaks(unit):
        ((position, _),) = unit.next_entries(1)
        unit.move_cursor(position)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await store.run(breaks)
    assert await store.run(everything) == ["e-1"]


async def test_what_a_unit_appends_is_journalled_with_it(store):
    def breaks(unit):
        unit.append([entry("e-1")])
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await store.run(breaks)
    await store.run(lambda unit: unit.append([entry("e-2")]))
    await store.run(lambda unit: unit.append([]))
    assert await store.run(everything) == ["e-2"]
    assert await store.read(lambda reader: reader.backlog()) == 1


async def test_an_event_id_is_new_once(store):
    def ask(unit):
        return unit.first_time("e-1", NOW), unit.first_time("e-1", NOW), unit.first_time("e-2", NOW)

    assert await store.run(ask) == (True, False, True)
    assert await store.run(lambda unit: unit.first_time("e-1", NOW)) is False


async def test_an_event_id_of_a_part_that_was_undone_is_new_again(store):
    def breaks(unit):
        assert unit.first_time("e-1", NOW)
        raise RuntimeError

    await store.run(lambda unit: unit.attempt(lambda: breaks(unit)))
    assert await store.run(lambda unit: unit.first_time("e-1", NOW))


# People.


async def test_a_person_is_found_by_every_name(store):
    def make(unit):
        ada = add_ada(unit)
        unit.add_email(ada.id, "a@old.example")
        unit.save_remote(Remote(person=ada.id, connector="webpower", remote_id="9001"))
        return ada

    def find(reader):
        return [
            reader.person(ada.id),
            reader.person_by_email("ada@example.com"),
            reader.person_by_email("a@old.example"),
            reader.person_by_cdp_id("u-1"),
            reader.person_by_remote("webpower", "9001"),
        ]

    def miss(reader):
        return [
            reader.person(99),
            reader.person_by_email("eve@example.com"),
            reader.person_by_cdp_id("u-2"),
            reader.person_by_remote("sparkloop", "9001"),
            reader.person_by_remote("webpower", "9002"),
        ]

    ada = await store.run(make)
    assert await store.read(find) == [ada] * 5
    assert await store.read(miss) == [None] * 5


async def test_a_person_is_kept_whole(backend, store):
    def make(unit):
        ada = add_ada(unit)
        ada.fields = {"firstname": Clocked("Ada", 1.5), "tags": Clocked(["a", 1], 2.0), "phone": Clocked(None, 3.0)}
        ada.audiences = {"vip": Clocked(True, 4.0)}
        ada.emails = ["a@old.example"]
        ada.consents = {"newsletter": Standing(state="granted", at=5.0, source="shop", evidence={"ip": "192.0.2.1"})}
        unit.save_person(ada)
        return ada

    ada = await store.run(make)
    store = await reopened(backend, store)
    assert await store.read(lambda reader: reader.person(ada.id)) == ada
    await store.close()


async def test_a_person_may_be_known_by_the_cdps_id_alone(store):
    ada = await store.run(lambda unit: unit.add_person("", "", "u-1", NOW))
    await store.run(lambda unit: unit.add_person("", "", "u-2", NOW))
    assert await store.read(lambda reader: reader.person_by_cdp_id("u-1")) == ada
    assert await store.read(lambda reader: reader.person_by_email("")) is None


async def test_the_ledger_keeps_every_row_in_the_order_it_was_recorded(store):
    def row(purpose, at, **more):
        known = {"person": 1, "state": "granted", "method": None, "source": "shop", "evidence": {}, "lifts": False}
        return LedgerRow(**{**known, "purpose": purpose, "said_at": at, "recorded_at": NOW, **more})

    rows = [
        row("newsletter", 3.0, evidence={"ip": "192.0.2.1", "n": [1]}, lifts=True, method="single"),
        row("service", 2.0),
        row("newsletter", 1.0, state="denied"),
    ]
    for each in [*rows, row("newsletter", 1.0, person=2)]:
        await store.run(lambda unit, each=each: unit.append_ledger(each))
    assert await store.read(lambda reader: reader.ledger(1)) == rows
    assert await store.read(lambda reader: reader.ledger(1, "newsletter")) == [rows[0], rows[2]]
    assert await store.read(lambda reader: reader.ledger(3)) == []


async def test_people_with_a_pending_consent_are_listed_page_by_page(store):
    def write(unit):
        for number in (1, 2, 3):
            unit.add_person(f"p{number}@example.com", f"p{number}@example.com", None, NOW)
            unit.set_pending(number, "newsletter", pending=True)
        unit.set_pending(2, "newsletter", pending=False)
        unit.set_pending(3, "newsletter", pending=True)
        unit.set_pending(3, "other", pending=False)

    await store.run(write)
    assert await store.read(lambda reader: reader.pending_people("newsletter")) == [1, 3]
    assert await store.read(lambda reader: reader.pending_people("newsletter", limit=1)) == [1]
    assert await store.read(lambda reader: reader.pending_people("newsletter", after=1)) == [3]
    assert await store.read(lambda reader: reader.pending_people("service")) == []


async def test_what_a_vendor_holds_is_kept_whole(backend, store):
    remote = Remote(
        person=1,
        connector="webpower",
        remote_id="9001",
        email="ada@example.com",
        unknown=True,
        fields={"first_name": "Ada", "tags": ["a"]},
        consents={"newsletter": "pending"},
        audiences={"vip": True},
        owned=["vip"],
        sent={"field:first_name": [Clocked("Ada", 1.0)]},
        confirmed=["field:first_name"],
        asked={"newsletter": None},
        rejected={"mobile": "x"},
        acked_at=2.5,
        root="e-1",
        hops=2,
    )
    other = Remote(person=1, connector="sparkloop")
    for each in (remote, other, Remote(person=2, connector="webpower")):
        await store.run(lambda unit, each=each: unit.save_remote(each))
    store = await reopened(backend, store)
    assert await store.read(lambda reader: reader.remote(1, "webpower")) == remote
    assert await store.read(lambda reader: reader.remote(3, "webpower")) is None
    assert await store.read(lambda reader: reader.remotes(1)) == [other, remote]
    await store.close()


async def test_a_vendors_id_that_changes_finds_nobody_under_the_old_one(store):
    ada = await store.run(add_ada)
    await store.run(lambda unit: unit.save_remote(Remote(person=ada.id, connector="webpower", remote_id="1")))
    await store.run(lambda unit: unit.save_remote(Remote(person=ada.id, connector="webpower", remote_id="2")))
    assert await store.read(lambda reader: reader.person_by_remote("webpower", "1")) is None
    assert await store.read(lambda reader: reader.person_by_remote("webpower", "2")) == ada


async def test_what_a_vendor_holds_is_listed_person_by_person(store):
    for person in (3, 1, 2):
        await store.run(lambda unit, person=person: unit.save_remote(Remote(person=person, connector="webpower")))
    await store.run(lambda unit: unit.save_remote(Remote(person=4, connector="sparkloop")))

    def people(reader, **page):
        return [remote.person for remote in reader.held_by("webpower", **page)]

    assert await store.read(people) == [1, 2, 3]
    assert await store.read(lambda reader: people(reader, limit=2)) == [1, 2]
    assert await store.read(lambda reader: people(reader, after=2)) == [3]


# Notes.


async def test_a_timeline_keeps_the_last_hundred_notes_oldest_first(store):
    def write(unit):
        for number in range(130):
            unit.note(Note(person=1, at=float(number), what="accepted", detail=str(number)))
            unit.note(Note(person=2, at=float(number), what="accepted"))

    await store.run(write)
    found = await store.read(lambda reader: reader.timeline(1))
    assert [note.detail for note in found] == [str(number) for number in range(30, 130)]


async def test_a_note_comes_back_as_it_was_written(store):
    note = Note(
        person=1,
        at=NOW,
        what="not-sent",
        connector="webpower",
        kind="profile",
        event_id="e-1",
        reason="echo",
        detail="first_name",
    )
    await store.run(lambda unit: unit.note(note))
    assert await store.read(lambda reader: reader.timeline(1)) == [note]


async def test_decisions_hold_the_last_reason_and_how_often_it_was_given(store):
    def note(reason, at, connector="webpower"):
        return Note(person=1, at=at, what="not-sent", connector=connector, kind="profile", reason=reason)

    def write(unit):
        for each in (
            note("unchanged", 1.0),
            note("echo", 2.0),
            note("echo", 3.0),
            note("no-consent", 4.0, "sparkloop"),
            note(None, 5.0),
        ):
            unit.note(each)

    await store.run(write)
    assert await store.read(lambda reader: reader.decisions(1)) == [
        ("sparkloop", "profile", "no-consent", 1, 4.0),
        ("webpower", "profile", "echo", 2, 3.0),
    ]


async def test_outcomes_are_counted_over_everybody(backend, store):
    def note(person, what, reason=None):
        return Note(person=person, at=NOW, what=what, connector="webpower", reason=reason)

    for each in (note(1, "sent"), note(2, "sent"), note(1, "not-sent", "echo")):
        await store.run(lambda unit, each=each: unit.note(each))
    store = await reopened(backend, store)
    await store.run(lambda unit: unit.note(note(3, "sent")))
    counted = await store.read(lambda reader: reader.outcomes())
    assert counted == {("webpower", "sent", ""): 3, ("webpower", "not-sent", "echo"): 1}
    await store.close()


# Queues.


async def enqueue(store, *deliveries):
    """Put them in the queue, states coalescing, and return their ids."""

    def put(unit):
        state = ("profile", "consent")
        return [unit.enqueue_state(each) if each.kind in state else unit.enqueue(each) for each in deliveries]

    return await store.run(put)


async def change(store, number, **changed):
    def save(unit):
        found = unit.delivery(number)
        for name, value in changed.items():
            setattr(found, name, value)
        unit.save_delivery(found)

    await store.run(save)


BEFORE_ALL = (float("-inf"), 0)


async def due(store, now=NOW, limit=100, lane="webpower"):
    """What a lane would read: the most urgent first, each urgency from its start."""

    def read(unit):
        return [unit.places(lane, urgency, BEFORE_ALL, now, limit) for urgency in range(len(Urgency))]

    return [place.delivery for page in await store.run(read) for place in page]


async def the(store, number):
    return await store.read(lambda reader: reader.delivery(number))


async def test_work_that_is_parked_for_one_reason_is_parked_once(store):
    def parked(subject="", **more):
        return delivery(kind="profile", subject=subject, state="parked", reason="loop", **more)

    first, again = await enqueue(store, parked(root="e-1", hops=5), parked(root="e-1", hops=6))
    assert first == again
    assert ((await the(store, first)).state, (await the(store, first)).hops) == ("parked", 6)
    others = await enqueue(store, parked(payload=b"another contact"), parked(person=2), delivery(kind="profile"))
    assert len({first, *others}) == 4


async def test_a_delivery_comes_back_as_it_was_put(store):
    whole = delivery(
        kind="trigger",
        subject="abandoned-cart",
        urgency=TRIGGER,
        root="e-0",
        hops=1,
        event_id="e-1",
        expires_at=NOW + 9,
        payload=b"\x81",
        reason="r",
    )
    (number,) = await enqueue(store, whole)
    assert whole.id == number
    assert await the(store, number) == whole
    assert await the(store, number + 1) is None


async def test_due_are_the_most_urgent_first_then_the_oldest(store):
    numbers = await enqueue(
        store,
        delivery(1, urgency=BACKFILL, due_at=1.0),
        delivery(2, urgency=LIVE, due_at=5.0),
        delivery(3, urgency=LIVE, due_at=4.0),
        delivery(4, urgency=LIVE, due_at=4.0),
        delivery(5, kind="trigger", urgency=TRIGGER, due_at=9.0),
        delivery(6, kind="consent", subject="newsletter", urgency=OPT_OUT, due_at=10.0),
        delivery(7, urgency=LIVE, due_at=11.0),
        delivery(8, lane="sparkloop", due_at=1.0),
    )
    backfill, second, first, beside, trigger, opt_out, _, elsewhere = numbers
    assert await due(store, 10.0) == [opt_out, trigger, first, beside, second, backfill]
    assert await due(store, 10.0, limit=2) == [opt_out, trigger, first, beside, backfill]
    assert await due(store, 3.0) == [backfill]
    assert await due(store, 10.0, lane="sparkloop") == [elsewhere]


async def test_what_is_due_is_read_page_by_page(store):
    numbers = await enqueue(store, *(delivery(person, due_at=float(person // 2)) for person in range(2, 9)))
    pages, after = [], BEFORE_ALL
    while page := await store.run(lambda unit, after=after: unit.places("webpower", LIVE, after, NOW, 3)):
        pages.append([place.delivery for place in page])
        after = (page[-1].due_at, page[-1].delivery)
    assert pages == [numbers[0:3], numbers[3:6], numbers[6:]]


async def test_a_place_says_whose_work_stands_where(store):
    one, webhook = await enqueue(store, delivery(1), delivery(None, kind="webhook", due_at=NOW - 1))
    assert await store.run(lambda unit: unit.places("webpower", LIVE, BEFORE_ALL, NOW, 9)) == [
        Place(LIVE, NOW - 1, webhook, None),
        Place(LIVE, NOW, one, 1),
    ]


@pytest.mark.parametrize("state", ["parked", "dead", "done"])
async def test_only_what_waits_is_due(store, state):
    (number,) = await enqueue(store, delivery())
    await change(store, number, state=state)
    assert await due(store) == []
    assert await store.run(lambda unit: unit.next_due_at("webpower", LIVE, 0.0)) is None


async def test_the_next_due_is_the_earliest_of_a_lane_that_is_not_yet_due(store):
    await enqueue(store, delivery(1, due_at=9.0), delivery(2, due_at=7.0), delivery(4, due_at=8.0, urgency=BACKFILL))
    await enqueue(store, delivery(3, lane="sparkloop", due_at=1.0))

    async def next_due(lane, urgency, after):
        return await store.run(lambda unit: unit.next_due_at(lane, urgency, after))

    assert await next_due("webpower", LIVE, 0.0) == 7.0
    assert await next_due("webpower", LIVE, 7.0) == 9.0
    assert await next_due("webpower", LIVE, 9.0) is None
    assert await next_due("webpower", BACKFILL, 0.0) == 8.0
    assert await next_due("nobody", LIVE, 0.0) is None


async def test_changes_of_one_thing_become_one_delivery(store):
    one, again = await enqueue(
        store, delivery(root="e-1", event_id="e-1"), delivery(root="e-2", event_id="e-2", hops=1, due_at=NOW + 5)
    )
    assert one == again
    found = await the(store, one)
    assert (found.rev, found.root, found.event_id, found.hops) == (1, "e-2", "e-2", 1)
    assert (found.due_at, found.first_at) == (NOW, NOW)


async def test_different_things_stay_apart(store):
    numbers = await enqueue(
        store,
        delivery(),
        delivery(kind="consent", subject="newsletter"),
        delivery(kind="consent", subject="service"),
        delivery(2),
        delivery(lane="sparkloop"),
    )
    assert len(set(numbers)) == 5


async def test_a_change_while_the_call_is_in_flight_raises_its_revision(store):
    (number,) = await enqueue(store, delivery())
    await change(store, number, state="in_flight", attempts=1)
    assert await enqueue(store, delivery()) == [number]
    found = await the(store, number)
    assert (found.state, found.rev, found.attempts) == ("in_flight", 1, 1)


@pytest.mark.parametrize("state", ["parked", "dead", "done"])
async def test_a_change_after_the_end_is_new_work(store, state):
    (number,) = await enqueue(store, delivery())
    await change(store, number, state=state)
    (again,) = await enqueue(store, delivery())
    assert again != number


async def test_a_change_becomes_as_urgent_as_the_most_urgent_of_it(store):
    (number,) = await enqueue(store, delivery(urgency=BACKFILL))
    await enqueue(store, delivery(urgency=LIVE))
    assert (await the(store, number)).urgency == LIVE
    await enqueue(store, delivery(urgency=BACKFILL))
    assert (await the(store, number)).urgency == LIVE


async def test_an_opt_out_does_not_wait_for_the_retry_of_the_grant_that_it_replaces(store):
    (number,) = await enqueue(store, delivery(kind="consent", subject="newsletter", due_at=NOW + 3_600))
    await enqueue(store, delivery(kind="consent", subject="newsletter", urgency=OPT_OUT, due_at=NOW + 1))
    found = await the(store, number)
    assert (found.urgency, found.due_at) == (OPT_OUT, NOW + 1)


async def test_a_person_s_later_work_waits_for_the_earlier(store):
    profile, consent, trigger, other = await enqueue(
        store,
        delivery(due_at=NOW + 60),
        delivery(kind="consent", subject="newsletter"),
        delivery(kind="trigger", subject="welcome", urgency=TRIGGER),
        delivery(2),
    )
    assert await due(store, NOW) == [other]
    assert {(await the(store, number)).due_at for number in (profile, consent, trigger)} == {NOW + 60}


async def test_an_opt_out_waits_for_nothing(store):
    _, opt_out = await enqueue(
        store, delivery(due_at=NOW + 60), delivery(kind="consent", subject="newsletter", urgency=OPT_OUT)
    )
    assert await due(store) == [opt_out]


async def test_a_trigger_lifts_the_same_person_s_earlier_work(store):
    profile, other, trigger = await enqueue(
        store,
        delivery(1, urgency=BACKFILL),
        delivery(2, urgency=BACKFILL),
        delivery(1, kind="trigger", subject="welcome", urgency=TRIGGER),
    )
    urgencies = [(await the(store, number)).urgency for number in (profile, other, trigger)]
    assert urgencies == [TRIGGER, BACKFILL, TRIGGER]


async def test_a_trigger_does_not_slow_an_opt_out_down(store):
    opt_out, _ = await enqueue(
        store,
        delivery(kind="consent", subject="newsletter", urgency=OPT_OUT),
        delivery(kind="trigger", subject="welcome", urgency=TRIGGER),
    )
    assert (await the(store, opt_out)).urgency == OPT_OUT


async def test_two_triggers_are_two_deliveries(store):
    work = {"kind": "trigger", "subject": "welcome", "urgency": TRIGGER}
    assert len(set(await enqueue(store, delivery(**work), delivery(**work)))) == 2


async def test_later_work_is_held_back_but_for_opt_outs(store):
    retried, later, opt_out, other = await enqueue(
        store,
        delivery(),
        delivery(kind="consent", subject="service"),
        delivery(kind="consent", subject="newsletter", urgency=OPT_OUT),
        delivery(2),
    )
    await store.run(lambda unit: unit.hold_back("webpower", 1, NOW + 60, retried))
    assert await due(store) == [opt_out, retried, other]
    assert (await the(store, later)).due_at == NOW + 60


async def test_what_waits_longer_of_itself_is_not_brought_forward(store):
    retried, later = await enqueue(store, delivery(), delivery(kind="consent", subject="s", due_at=NOW + 90))
    await store.run(lambda unit: unit.hold_back("webpower", 1, NOW + 60, retried))
    assert (await the(store, later)).due_at == NOW + 90


async def test_released_is_what_only_waited_for_another(store):
    first, held, tried, other = await enqueue(
        store,
        delivery(),
        delivery(kind="consent", subject="newsletter", due_at=NOW + 60),
        delivery(kind="consent", subject="service", due_at=NOW + 60),
        delivery(2, due_at=NOW + 60),
    )
    await change(store, tried, attempts=1)
    await change(store, first, state="done")
    await store.run(lambda unit: unit.release("webpower", 1, NOW + 1))
    assert await due(store, NOW + 1) == [held]
    assert (await the(store, other)).due_at == NOW + 60


async def test_a_person_s_waiting_work_is_listed_in_order(store):
    numbers = await enqueue(store, delivery(urgency=BACKFILL), delivery(kind="consent", urgency=OPT_OUT), delivery(2))
    await change(store, numbers[0], state="in_flight")
    found = await store.run(lambda unit: unit.waiting("webpower", 1))
    assert [each.id for each in found] == numbers[:2]
    assert [each.id for each in await store.run(lambda unit: unit.in_flight("webpower"))] == numbers[:1]


async def test_what_became_of_a_delivery_is_kept(store):
    (number,) = await enqueue(store, delivery())
    settled = {
        "state": "parked",
        "urgency": TRIGGER,
        "rev": 4,
        "due_at": NOW + 1,
        "attempts": 3,
        "outcome": "delivered",
        "reason": "outcome-unknown",
        "last_error": "timeout",
        "force": True,
    }
    await change(store, number, **settled)
    found = await the(store, number)
    assert {name: getattr(found, name) for name in settled} == settled


async def test_a_guard_is_kept_for_ever(backend, store):
    assert await store.run(lambda unit: (unit.guard("w", "t-1", NOW), unit.guard("w", "t-1", NOW))) == (True, False)
    await store.run(lambda unit: unit.prune(kept_since=NOW * 9, ids_since=NOW * 9))
    store = await reopened(backend, store)
    assert await store.run(lambda unit: (unit.guard("w", "t-1", NOW), unit.guard("s", "t-1", NOW))) == (False, True)
    await store.close()


async def test_attempts_are_kept_in_order(store):
    made = [Attempt(delivery=1, at=float(number), took_s=0.25, outcome="retried", error="503") for number in range(3)]
    for each in [*made, Attempt(delivery=2, at=9.0, took_s=0.0, outcome="delivered")]:
        await store.run(lambda unit, each=each: unit.add_attempt(each))
    assert await store.read(lambda reader: reader.attempts(1)) == made


async def test_of_many_attempts_the_latest_are_kept(store):
    def write(unit):
        for number in range(100):
            unit.add_attempt(Attempt(delivery=1, at=float(number), took_s=0.0, outcome="retried"))

    await store.run(write)
    found = await store.read(lambda reader: reader.attempts(1))
    assert [attempt.at for attempt in found] == [float(number) for number in range(80, 100)]


async def test_durations_are_those_of_a_lane_s_calls(store):
    numbers = await enqueue(store, delivery(1), delivery(2), delivery(3, lane="sparkloop"), delivery(4))
    for number, took in zip(numbers, (0.25, 0.5, 1.0), strict=False):
        await change(store, number, state="done", took_s=took)
    found = await store.read(lambda reader: reader.durations())
    assert {lane: sorted(times) for lane, times in found.items()} == {"webpower": [0.25, 0.5], "sparkloop": [1.0]}


async def test_queues_are_counted_by_state(store):
    numbers = await enqueue(store, *(delivery(person, due_at=NOW + person) for person in range(1, 8)))
    for number, state in zip(numbers, ["in_flight", "parked", "dead", "done"], strict=False):
        await change(store, number, state=state)
    await enqueue(store, delivery(None, kind="webhook", lane="webpower:in"))
    counts = await store.read(lambda reader: reader.counts(NOW + 6))
    found = counts["webpower"]
    assert (found.due, found.scheduled, found.in_flight, found.parked, found.dead) == (2, 1, 1, 1, 1)
    assert found.oldest_due_at == NOW + 5
    assert counts["webpower:in"].due == 1


async def test_open_deliveries_are_counted_by_lane(store):
    numbers = await enqueue(
        store, delivery(), delivery(kind="consent", subject="s"), delivery(lane="sparkloop"), delivery(2)
    )
    await change(store, numbers[0], state="in_flight")
    assert await store.read(lambda reader: reader.open_deliveries(1)) == {"webpower": 2, "sparkloop": 1}
    await change(store, numbers[2], state="dead")
    assert await store.read(lambda reader: reader.open_deliveries(1)) == {"webpower": 2}
    assert await store.read(lambda reader: reader.open_deliveries(9)) == {}


async def test_deliveries_are_found_by_any_of_their_parts(store):
    ada = await store.run(add_ada)
    eve = await store.run(lambda unit: add_ada(unit, "eve@example.com", "u-2"))
    profile, trigger, webhook, elsewhere = await enqueue(
        store,
        delivery(ada.id, first_at=1.0),
        delivery(ada.id, kind="trigger", subject="welcome", urgency=TRIGGER, first_at=2.0, reason="loop"),
        delivery(None, kind="webhook", lane="webpower:in", first_at=3.0),
        delivery(eve.id, lane="sparkloop", first_at=4.0),
    )
    await change(store, elsewhere, state="dead", reason="rejected")

    async def found(*, after=0, limit=100, **wanted):
        rows = await store.read(lambda reader: reader.deliveries(DeliveryFilter(**wanted), after=after, limit=limit))
        return [each.id for each, _ in rows]

    assert await found() == [profile, trigger, webhook, elsewhere]
    assert await found(connector="webpower") == [profile, trigger, webhook]
    assert await found(kind="trigger") == [trigger]
    assert await found(email_key="ada@example.com") == [profile, trigger]
    assert await found(email_key="nobody@example.com") == []
    assert await found(reason="rejected") == [elsewhere]
    assert await found(states=["dead", "parked"]) == [elsewhere]
    assert await found(since=2.0, until=4.0) == [trigger, webhook]
    assert await found(ids=[profile, elsewhere]) == [profile, elsewhere]
    assert await found(ids=[]) == []
    assert await found(connector="webpower", kind="profile", email_key="eve@example.com") == []
    assert await found(limit=2) == [profile, trigger]
    assert await found(after=trigger) == [webhook, elsewhere]
    rows = await store.read(lambda reader: reader.deliveries(DeliveryFilter()))
    assert [email for _, email in rows] == ["ada@example.com", "ada@example.com", None, "eve@example.com"]


# Connectors and jobs.


async def test_a_connector_is_well_until_it_is_said_otherwise(store):
    assert await store.read(lambda reader: reader.connector_state("webpower")) == ConnectorState(name="webpower")
    paused = ConnectorState(name="webpower", state="auth", reason="401", since=NOW, last_error="401", last_error_at=NOW)
    await store.run(lambda unit: unit.save_connector_state(paused))
    assert await store.read(lambda reader: reader.connector_state("webpower")) == paused


async def test_words_and_values_are_kept_by_key(backend, store):
    def write(unit):
        unit.set_meta("secret", "s")
        unit.set_value("webpower", "groups", {"vip": 140, "x": [1.5, None, b"\x00"]})
        unit.set_value("webpower", "gone", 1)
        unit.set_value("webpower", "gone", None)

    await store.run(write)
    store = await reopened(backend, store)
    assert await store.read(lambda reader: (reader.meta("secret"), reader.meta("other"))) == ("s", None)
    assert await store.read(lambda reader: reader.value("webpower", "groups")) == {
        "vip": 140,
        "x": [1.5, None, b"\x00"],
    }
    assert await store.read(lambda reader: reader.value("webpower", "gone")) is None
    assert await store.read(lambda reader: reader.value("sparkloop", "groups")) is None
    await store.close()


async def test_a_cursor_is_kept_until_it_is_given_back(store):
    assert await store.read(lambda reader: reader.cursor("webpower", "pull")) is None
    await store.run(lambda unit: unit.set_cursor("webpower", "pull", "page 2"))
    assert await store.read(lambda reader: reader.cursor("webpower", "pull")) == "page 2"
    assert await store.read(lambda reader: reader.cursor("webpower", "other")) is None
    await store.run(lambda unit: unit.set_cursor("webpower", "pull", None))
    assert await store.read(lambda reader: reader.cursor("webpower", "pull")) is None


async def test_a_scheduled_moment_is_claimed_once(store):
    def claim(slot, job="pull"):
        return store.run(lambda unit: unit.claim_tick("webpower", job, slot))

    assert await store.read(lambda reader: reader.last_tick("webpower", "pull")) is None
    assert [await claim(slot) for slot in (10.0, 10.0, 9.0, 11.0)] == [True, False, False, True]
    assert await claim(10.0, "pending") is True
    assert await store.read(lambda reader: reader.last_tick("webpower", "pull")) == 11.0


async def test_who_was_seen_in_a_run_is_known_until_the_run_is_forgotten(store):
    def write(unit):
        unit.mark_seen("webpower", "run 1", "newsletter", 1)
        unit.mark_seen("webpower", "run 1", "newsletter", 1)
        unit.mark_seen("sparkloop", "run 1", "newsletter", 2)

    def seen(connector, run, purpose, person):
        return store.run(lambda unit: unit.was_seen(connector, run, purpose, person))

    await store.run(write)
    assert await seen("webpower", "run 1", "newsletter", 1)
    assert not await seen("webpower", "run 2", "newsletter", 1)
    assert not await seen("webpower", "run 1", "service", 1)
    assert not await seen("webpower", "run 1", "newsletter", 2)
    await store.run(lambda unit: unit.forget_run("webpower"))
    assert not await seen("webpower", "run 1", "newsletter", 1)
    assert await seen("sparkloop", "run 1", "newsletter", 2)


# Keeping it small.


async def test_pruning_takes_what_is_old_and_over(store):
    old, young = await enqueue(store, delivery(1), delivery(2))
    await store.run(lambda unit: unit.add_attempt(Attempt(delivery=old, at=1.0, took_s=0.0, outcome="delivered")))
    await change(store, old, state="done", due_at=50.0)
    await change(store, young, state="done", due_at=150.0)
    await store.run(lambda unit: (unit.first_time("e-old", 50.0), unit.first_time("e-young", 150.0)))
    assert await store.run(lambda unit: unit.prune(kept_since=100.0, ids_since=100.0)) == 2
    assert await the(store, old) is None
    assert await store.read(lambda reader: reader.attempts(old)) == []
    assert await the(store, young) is not None
    assert await store.run(lambda unit: (unit.first_time("e-old", 1.0), unit.first_time("e-young", 1.0))) == (
        True,
        False,
    )


async def test_pruning_leaves_what_still_waits(store):
    numbers = await enqueue(store, *(delivery(person, due_at=1.0) for person in range(1, 5)))
    for number, state in zip(numbers, ["in_flight", "parked", "dead"], strict=False):
        await change(store, number, state=state)
    assert await store.run(lambda unit: unit.prune(kept_since=NOW, ids_since=NOW)) == 0


async def test_pruning_never_takes_what_is_not_folded(store):
    for number in range(3):
        await store.accept([entry(f"e-{number}", at=float(number))])
    ((_, _), (second, _), _) = await store.run(lambda unit: list(unit.next_entries(3)))
    await store.run(lambda unit: unit.move_cursor(second))
    assert await store.run(lambda unit: unit.prune(kept_since=NOW, ids_since=NOW)) == 2
    assert await store.run(everything) == ["e-2"]
    await store.accept([entry("e-3")])
    assert await store.run(everything) == ["e-2", "e-3"]


async def test_pruning_is_done_a_little_at_a_time(store):
    await store.run(lambda unit: [unit.first_time(f"e-{number}", 1.0) for number in range(500)])
    gone = []
    while many := await store.run(lambda unit: unit.prune(kept_since=NOW, ids_since=NOW)):
        gone.append(many)
    assert sum(gone) == 500
    assert max(gone) < 500


async def test_a_replayed_delivery_is_not_pruned_as_done(store):
    (number,) = await enqueue(store, delivery())
    await change(store, number, state="done", due_at=1.0)
    await change(store, number, state="pending")
    assert await store.run(lambda unit: unit.prune(kept_since=NOW, ids_since=NOW)) == 0
    assert await the(store, number) is not None
