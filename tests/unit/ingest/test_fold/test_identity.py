"""Who is who: renames, people who turn out to be one, and what each vendor is told of it."""

from __future__ import annotations

import itertools

import pytest

from esplanade.connector import Traits
from esplanade.errors import OutcomeUnknown, PermanentError
from esplanade.model import Outcome, ProfileEvent, TriggerTarget
from esplanade.records import DeliveryFilter
from esplanade.runtime.replay import replay

A, B, C, D = "a@example.com", "b@example.com", "c@example.com", "d@example.com"
NEW, RENAME, MERGE = (Traits(address_change=change) for change in ("new-contact", "rename", "merge"))
PROOF = {"evidence": {"form": "footer"}}


class Book:
    """A vendor that numbers its contacts, one per address, and keeps what each may be mailed for."""

    def __init__(self, *, moves=False):
        self.moves = moves
        self.numbers = {}
        self.granted = set()
        self.members = set()
        self.mails = []
        self._next = itertools.count(1)

    def __call__(self, event):
        number = self._number(event)
        address = next(address for address, each in self.numbers.items() if each == number)
        if isinstance(event, ProfileEvent):
            self.members |= {(address, name) for name in event.audiences.add}
            self.members -= {(address, name) for name in event.audiences.remove}
        elif hasattr(event, "trigger_id"):
            self.mails.append((event.email, event.trigger_id))
        elif event.state == "granted":
            self.granted.add(address)
        else:
            self.granted.discard(address)
        return Outcome(remote_id=str(number))

    def _number(self, event):
        previous = getattr(event, "previous_email", None)
        if self.moves and previous in self.numbers and event.email not in self.numbers:
            self.numbers[event.email] = self.numbers.pop(previous)
            self.granted = {event.email if each == previous else each for each in self.granted}
            self.members = {(event.email if each == previous else each, name) for each, name in self.members}
        return (
            self.numbers.setdefault(event.email, None)
            or self.numbers.update({event.email: next(self._next)})
            or (self.numbers[event.email])
        )


async def known(hub, email, book=None, name="webpower", **more):
    """Somebody whom a vendor holds, with a grant and a membership."""
    await hub.profile(email, fields={"firstname": "Ada"}, audiences={"vip": True}, **more)
    await hub.consent("granted", email, **PROOF)
    await hub.passes(1)
    await hub.deliver(name, book or Outcome())
    await hub.passes(1)


def told(events):
    """What left: kind, address, and what it says."""
    said = []
    for event in events:
        if isinstance(event, ProfileEvent):
            said.append(("profile", event.email, event.previous_email, sorted(event.audiences.remove)))
        else:
            said.append((event.purpose, event.email, event.state))
    return said


def addresses(person):
    return (person.email, set(person.emails))


def former(remote):
    return [(each.email, each.remote_id) for each in remote.former]


# Which address is the current one.


async def test_an_address_that_is_only_used_moves_nothing(house):
    hub = await house(webpower={})
    await hub.profile(A, id="u-1")
    await hub.profile(B, previous_email=A)
    await hub.consent("granted", A)
    await hub.profile(A, fields={"firstname": "Ada"})
    assert addresses(await hub.person(A)) == (B, {A})


RENAMES = [
    {"email": A, "id": "u-1", "at": 1_000},
    {"email": B, "previous_email": A, "at": 2_000},
    {"email": C, "previous_email": B, "at": 3_000},
    {"email": D, "id": "u-1", "at": 4_000},
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
async def test_renames_that_arrive_in_any_order_give_the_same_person(house, order):
    hub = await house(webpower={})
    for number in order:
        await hub.says("profile", RENAMES[number])
    person = await hub.person(D)
    assert addresses(person) == (D, {A, B, C})
    assert {(await hub.person(email)).id for email in (A, B, C)} == {(await hub.by_id("u-1")).id} == {person.id}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_a_rename_back_that_arrives_in_any_order_gives_the_same_address(house, order):
    hub = await house(webpower={})
    said = [
        {"email": A, "id": "u-1", "at": 1_000},
        {"email": B, "previous_email": A, "at": 2_000},
        {"email": A, "previous_email": B, "at": 3_000},
    ]
    for number in order:
        await hub.says("profile", said[number])
    assert addresses(await hub.by_id("u-1")) == (A, {B})


async def test_a_consent_or_trigger_with_an_id_states_the_address_too(house):
    hub = await house(webpower={})
    await hub.profile(A, id="u-1")
    await hub.consent("granted", B, id="u-1")
    assert (await hub.by_id("u-1")).email == B
    await hub.trigger("cart", C, id="u-1")
    assert (await hub.by_id("u-1")).email == C


async def test_an_address_that_was_stated_before_another_is_one_more_way_to_find_the_person(house):
    hub = await house(webpower={})
    await hub.profile(B, id="u-1", at=2_000)
    await hub.profile(A, id="u-1", at=1_000)
    assert addresses(await hub.person(A)) == (B, {A})


async def test_the_case_of_a_previous_address_does_not_matter(house):
    hub = await house(webpower={})
    await hub.profile("Ada@Old.example", fields={"firstname": "Ada"})
    await hub.profile(B, previous_email="ada@OLD.example")
    assert addresses(await hub.person(B)) == (B, {"Ada@Old.example"})


async def test_a_rename_to_the_same_address_in_other_case_is_none(house):
    hub = await house(webpower={})
    await hub.profile("Ada@example.com")
    await hub.settle()
    await hub.profile("ADA@example.com", previous_email="ada@example.com")
    assert addresses(await hub.person("ada@example.com")) == ("Ada@example.com", set())
    assert await hub.waits("webpower") == []


async def test_a_former_address_of_somebody_without_one_becomes_theirs_once_it_is_used(house):
    hub = await house(webpower={})
    await hub.profile(None, id="u-1", previous_email=A)
    await hub.profile(A)
    assert addresses(await hub.by_id("u-1")) == (A, set())


# Two people who are one.


async def test_one_event_that_names_two_people_merges_them(house):
    hub = await house(webpower={})
    await hub.profile(A, fields={"firstname": "Ada", "phone": "06"}, audiences={"vip": True}, at=1_000)
    await hub.profile(B, fields={"firstname": "A."}, audiences={"vip": False}, at=500)
    (event,) = await hub.profile(B, previous_email=A, at=2_000)
    assert await hub.values(B) == {"firstname": "Ada", "phone": "06"}
    merged = await hub.person(A)
    assert (merged.audiences["vip"].value, merged.lineage) == (True, [2])
    assert addresses(merged) == (B, {A})
    assert ("merged", "", "merged") in await hub.notes(A, event)


async def test_the_one_with_a_cdp_id_survives_although_the_other_is_older(house):
    hub = await house(webpower={})
    await hub.profile(A)
    await hub.passes(1)
    await hub.profile(B, id="u-1")
    await hub.profile(B, previous_email=A)
    survivor = await hub.person(A)
    assert (survivor.id, survivor.cdp_id, survivor.lineage) == (2, "u-1", [1])


async def test_an_address_and_an_id_that_nobody_knew_to_be_one_are_merged(house):
    hub = await house(webpower={})
    await hub.profile(None, id="u-1", fields={"firstname": "Ada"})
    await hub.profile(A, fields={"phone": "06"})
    await hub.profile(A, id="u-1")
    assert (await hub.by_id("u-1")).id == (await hub.person(A)).id
    assert await hub.values(A) == {"firstname": "Ada", "phone": "06"}


async def test_three_people_become_one_at_once(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    for email in (A, B):
        await known(hub, email, book)
    await hub.profile(None, id="u-1", fields={"phone": "06"})
    await hub.profile(B, id="u-1", previous_email=A)
    one = await hub.by_id("u-1")
    assert {(await hub.person(email)).id for email in (A, B)} == {one.id}
    assert set(one.lineage) == {1, 2}
    await hub.deliver("webpower", book)
    assert (book.granted, book.members) == ({B}, {(B, "vip")})
    assert former(await hub.remote("webpower", B)) == [(A, "1")]


async def test_those_who_were_merged_before_go_along(house):
    hub = await house(webpower={})
    for email in (A, B, C):
        await hub.profile(email)
        await hub.passes(1)
    await hub.consent("denied", A)
    await hub.profile(B, previous_email=A)
    await hub.profile(C, id="u-1")
    await hub.profile(C, previous_email=B)
    survivor = await hub.person(A)
    assert (survivor.id, set(survivor.lineage)) == (3, {1, 2})
    assert await hub.state(email=C) == "denied"
    assert [row[0] for row in await hub.ledger(email=C)] == ["denied"]


@pytest.mark.parametrize(("denied", "granted"), [(A, B), (B, A)])
async def test_a_denial_of_either_stands(house, denied, granted):
    hub = await house(webpower={})
    await hub.consent("granted", granted, at=1_000, **PROOF)
    await hub.consent("denied", denied, at=2_000)
    await hub.profile(B, previous_email=A)
    assert await hub.state(email=B) == "denied"


async def test_a_later_grant_with_proof_lifts_the_denial_of_the_other(house):
    hub = await house(webpower={})
    await hub.consent("denied", A, at=1_000)
    await hub.consent("granted", B, at=2_000, **PROOF)
    await hub.profile(B, previous_email=A)
    assert await hub.state(email=B) == "granted"


async def test_a_grant_without_proof_does_not_lift_the_denial_of_the_other(house):
    hub = await house(webpower={})
    await hub.consent("denied", A, at=1_000)
    await hub.consent("granted", B, at=2_000)
    await hub.deliver("webpower")
    await hub.profile(B, previous_email=A)
    assert await hub.state(email=B) == "denied"
    assert ("newsletter", B, "denied") in told(await hub.deliver("webpower"))


async def test_a_question_that_waits_for_its_answer_goes_on_at_the_current_address(house, asks):
    hub = await house(traits={"webpower": NEW}, webpower={"consents": {"newsletter": asks}})
    book = Book()
    await hub.profile(B)
    await hub.consent("granted", A, **PROOF)
    await hub.deliver("webpower", book)
    await hub.profile(B, previous_email=A)
    assert await hub.state(email=B) == "pending"
    assert (await hub.store.read(lambda reader: reader.pending_people("newsletter"))) == [(await hub.person(B)).id]
    sent = told(await hub.deliver("webpower", book))
    assert ("newsletter", B, "pending") in sent
    assert ("newsletter", A, "denied") in sent


async def test_a_question_to_one_is_pointless_once_the_other_has_said_yes(house, asks):
    hub = await house(webpower={"consents": {"newsletter": asks}})
    await hub.consent("granted", A, **PROOF)
    await hub.consent("granted", B, method="double", **PROOF)
    await hub.deliver("webpower")
    await hub.profile(B, previous_email=A)
    assert await hub.state(email=B) == "granted"
    assert await hub.store.read(lambda reader: reader.pending_people("newsletter")) == []


# Two people who are not one.


async def mixed_up(hub):
    await hub.profile(A, id="u-1")
    await hub.profile(B, id="u-2")
    await hub.settle()


@pytest.mark.parametrize(
    "event",
    [
        {"email": A, "id": "u-2"},
        {"email": A, "id": "u-3"},
        {"email": B, "previous_email": A},
        {"email": C, "id": "u-2", "previous_email": A},
    ],
)
async def test_two_cdp_ids_are_never_one_person(house, event):
    hub = await house(webpower={})
    await mixed_up(hub)
    before = [await hub.person(email) for email in (A, B)]
    (number,) = await hub.says("profile", {**event, "fields": {"firstname": "Eve"}})
    assert [await hub.person(email) for email in (A, B)] == before
    assert await hub.parked() == [(":fold", "identity-conflict")]
    assert await hub.notes(A, number) == [("failed", "", "identity-conflict")]
    assert await hub.settle() == {}


async def test_a_conflict_is_noted_at_everybody_and_its_opt_outs_count_for_each(house):
    hub = await house(webpower={})
    await mixed_up(hub)
    (event,) = await hub.profile(B, previous_email=A, consents={"newsletter": "denied", "service": "granted"})
    for email in (A, B):
        assert ("failed", "", "identity-conflict") in await hub.notes(email, event)
        assert await hub.state(email=email) == "denied"
        assert await hub.state("service", email) is None
    assert sorted(told((await hub.settle())["webpower"])) == [("newsletter", A, "denied"), ("newsletter", B, "denied")]


async def test_a_vendor_that_moves_a_contact_to_somebody_elses_address_conflicts(house):
    hub = await house(webpower={})
    await mixed_up(hub)
    await hub.reports("webpower", A, remote_id="1")
    event = await hub.reports("webpower", B, remote_id="1", consents={"newsletter": "denied"})
    assert await hub.parked() == [("webpower:in", "identity-conflict")]
    for email in (A, B):
        assert ("failed", "", "identity-conflict") in await hub.notes(email, event)
        assert await hub.state(email=email) == "denied"


async def replays(hub):
    wanted = DeliveryFilter(reason="identity-conflict", states=["parked"])
    await replay(hub.store, wanted, force=False, now=hub.clock.time())
    hub.intake.added(1)
    await hub.fold.caught_up()


async def test_a_conflict_that_is_replayed_as_things_are_is_one_again(house):
    hub = await house(webpower={})
    await mixed_up(hub)
    await hub.profile(A, id="u-2")
    await replays(hub)
    assert await hub.parked() == [(":fold", "identity-conflict")]


async def test_a_conflict_is_mended_by_saying_where_the_other_one_is_now(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book, id="u-1")
    await known(hub, B, book, id="u-2")
    await hub.profile(A, id="u-2", fields={"firstname": "Bea"})
    await hub.passes(1)
    await hub.profile(C, id="u-1")
    await hub.passes(1)
    await replays(hub)
    assert await hub.parked() == []
    assert [addresses(await hub.by_id(each)) for each in ("u-1", "u-2")] == [(C, set()), (A, {B})]
    assert (await hub.person(A)).cdp_id == "u-2"
    await hub.deliver("webpower", book)
    assert book.granted == {A, C}


async def test_two_people_may_swap_their_addresses_by_way_of_a_third(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book, id="u-1")
    await known(hub, B, book, id="u-2")
    for email, name in ((C, "u-1"), (A, "u-2"), (B, "u-1")):
        await hub.profile(email, id=name)
        await hub.passes(1)
    assert [addresses(await hub.by_id(each)) for each in ("u-1", "u-2")] == [(B, {C}), (A, set())]
    await hub.deliver("webpower", book)
    assert book.granted == {A, B}


# At the vendor: rename.


async def test_a_vendor_that_can_rename_is_told_where_the_contact_was(house):
    hub = await house(traits={"webpower": RENAME}, webpower={})
    book = Book(moves=True)
    await known(hub, A, book)
    await hub.profile(B, previous_email=A)
    assert told(await hub.deliver("webpower", book)) == [("profile", B, A, [])]
    assert (book.numbers, book.granted, book.members) == ({B: 1}, {B}, {(B, "vip")})
    assert (await hub.remote("webpower", B)).former == []


async def test_renames_faster_than_the_vendor_become_one(house):
    hub = await house(traits={"webpower": RENAME}, webpower={})
    book = Book(moves=True)
    await known(hub, A, book)
    await hub.profile(B, previous_email=A)
    land = await hub.claim("webpower", book)
    await hub.profile(C, previous_email=B)
    await hub.profile(D, previous_email=C)
    assert told(await land()) == [("profile", B, A, [])]
    assert told(await hub.deliver("webpower", book)) == [("profile", D, B, [])]
    assert (book.granted, former(await hub.remote("webpower", D))) == ({D}, [])


async def test_a_rename_there_and_back_before_the_vendor_heard_of_it_is_nothing(house):
    hub = await house(traits={"webpower": RENAME}, webpower={})
    await known(hub, A)
    await hub.profile(B, previous_email=A)
    await hub.profile(A, previous_email=B)
    assert await hub.deliver("webpower") == []


@pytest.mark.parametrize("traits", [NEW, RENAME])
async def test_of_two_contacts_the_one_at_the_current_address_stays(house, traits):
    hub = await house(traits={"webpower": traits}, webpower={})
    book = Book(moves=traits is RENAME)
    await known(hub, A, book)
    await known(hub, B, book)
    await hub.profile(B, previous_email=A)
    await hub.deliver("webpower", book)
    assert (book.granted, book.members) == ({B}, {(B, "vip")})
    remote = await hub.remote("webpower", B)
    assert ((remote.email, remote.remote_id), former(remote)) == ((B, "2"), [(A, "1")])


async def test_a_vendor_that_had_a_contact_at_the_new_address_of_which_nobody_knew(house):
    hub = await house(traits={"webpower": RENAME}, webpower={})
    book = Book(moves=True)
    await known(hub, A, book)
    book.numbers[B] = 77
    await hub.profile(B, previous_email=A)
    await hub.deliver("webpower", book)
    remote = await hub.remote("webpower", B)
    assert ((remote.email, remote.remote_id), former(remote)) == ((B, "77"), [(A, "1")])
    assert (book.granted, book.members) == ({B}, {(B, "vip")})


# At the vendor: merge.


async def test_a_vendor_that_merges_is_told_both_addresses_and_then_what_may_have_been_lost(house):
    hub = await house(traits={"webpower": MERGE}, webpower={})
    await known(hub, A)
    await known(hub, B)
    await hub.profile(B, previous_email=A)
    assert told(await hub.deliver("webpower")) == [("profile", B, A, []), ("newsletter", B, "granted")]


async def test_a_vendor_that_merges_is_told_of_each_of_several_addresses(house):
    hub = await house(traits={"webpower": MERGE}, webpower={})
    for email in (A, B, C):
        await known(hub, email)
    await hub.profile(None, id="u-1")
    await hub.profile(B, id="u-1", previous_email=A)
    await hub.profile(C, previous_email=B)
    events = await hub.deliver("webpower")
    assert {event.previous_email for event in events if isinstance(event, ProfileEvent)} == {A, B}
    assert {event.email for event in events} == {C}
    assert (await hub.remote("webpower", C)).former == []


# At the vendor: a new contact.


async def test_a_vendor_that_cannot_rename_gets_a_new_contact_and_the_old_one_leaves_every_list(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, previous_email=A)
    sent = told(await hub.deliver("webpower", book))
    assert set(map(str, sent)) == set(
        map(
            str,
            [
                ("newsletter", A, "denied"),
                ("profile", A, None, ["vip"]),
                ("profile", B, None, []),
                ("newsletter", B, "granted"),
            ],
        )
    )
    assert (book.granted, book.members) == ({B}, {(B, "vip")})
    assert await hub.deliver("webpower", book) == []


async def test_taking_the_old_address_off_is_no_word_of_the_person(house):
    hub = await house(traits={"webpower": NEW}, webpower={}, sparkloop={})
    await known(hub, A, Book())
    await hub.settle()
    await hub.profile(B, previous_email=A)
    await hub.settle()
    await hub.reports("webpower", A, consents={"newsletter": "denied"})
    await hub.reports("webpower", A, consents={"newsletter": "denied"}, at=hub.clock.time())
    await hub.reports("webpower", A, consents={"newsletter": "absent"}, fields={"first_name": "X"}, pulled=True)
    assert await hub.state(email=B) == "granted"
    assert await hub.values(B) == {"firstname": "Ada"}
    assert await hub.settle() == {}


async def test_an_opt_out_of_the_former_address_by_the_person_counts(house):
    hub = await house(traits={"webpower": NEW}, webpower={}, sparkloop={})
    await known(hub, A, Book())
    left_at = hub.clock.time()
    await hub.passes(120)
    await hub.profile(B, previous_email=A)
    await hub.settle()
    await hub.reports("webpower", A, consents={"newsletter": "denied"}, at=left_at)
    assert await hub.state(email=B) == "denied"
    assert {name: told(events) for name, events in (await hub.settle()).items()} == {
        "webpower": [("newsletter", B, "denied")],
        "sparkloop": [("newsletter", B, "denied")],
    }


async def test_a_clock_that_is_somewhat_behind_makes_the_hubs_own_opt_out_no_word_of_the_person(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    await known(hub, A, Book())
    await hub.profile(B, previous_email=A)
    land = await hub.claim("webpower", Book())
    event = await hub.reports("webpower", A, consents={"newsletter": "denied"}, at=hub.clock.time() - 30)
    await land()
    assert ("reported", "webpower", "former-address") in await hub.notes(B, event)
    assert await hub.state(email=B) == "granted"


async def test_an_opt_out_of_the_former_address_is_recorded_once_however_often_it_is_told(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    await known(hub, A, Book())
    left_at = hub.clock.time()
    await hub.passes(120)
    await hub.profile(B, previous_email=A)
    await hub.settle()
    for _ in range(3):
        await hub.reports("webpower", A, consents={"newsletter": "denied"}, at=left_at)
    assert [row[0] for row in await hub.ledger(email=B)] == ["granted", "denied"]
    await hub.consent("granted", B, **PROOF)
    await hub.reports("webpower", A, consents={"newsletter": "denied"}, at=left_at)
    assert await hub.state(email=B) == "granted"


async def test_an_opt_out_of_the_former_address_before_the_hub_took_it_off_counts(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    await known(hub, A, Book())
    await hub.profile(B, previous_email=A)
    await hub.reports("webpower", A, consents={"newsletter": "denied"})
    assert await hub.state(email=B) == "denied"


async def test_a_former_contact_that_is_put_on_a_list_again_is_taken_off_again(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, previous_email=A)
    await hub.deliver("webpower", book)
    book.granted.add(A)
    await hub.reports("webpower", A, remote_id="1", consents={"newsletter": "granted"}, confirmed=True)
    assert told(await hub.deliver("webpower", book)) == [("newsletter", A, "denied")]
    await hub.reports("webpower", A, remote_id="1", consents={"newsletter": "denied"})
    assert (await hub.state(email=B), book.granted) == ("granted", {B})


async def test_whoever_signs_up_again_by_the_former_address_and_leaves_again_has_left(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, previous_email=A)
    await hub.deliver("webpower", book)
    await hub.reports("webpower", A, consents={"newsletter": "granted"})
    await hub.reports("webpower", A, consents={"newsletter": "denied"})
    assert await hub.state(email=B) == "denied"


async def test_nobody_goes_back_and_forth_with_a_vendor_that_keeps_a_former_contact_on_its_list(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    await known(hub, A, Book())
    await hub.profile(B, previous_email=A)
    await hub.settle()
    for _ in range(3):
        await hub.reports("webpower", A, consents={"newsletter": "granted"})
    assert told((await hub.settle())["webpower"]) == [("newsletter", A, "denied")]


async def test_a_contact_of_which_nobody_knew_at_an_earlier_address_leaves_every_list(house):
    hub = await house(traits={"webpower": RENAME}, webpower={})
    book = Book(moves=True)
    await known(hub, A, book)
    await hub.profile(B, previous_email=A)
    await hub.deliver("webpower", book)
    book(await _signs_up(A))
    await hub.reports("webpower", A, remote_id="2", consents={"newsletter": "granted"}, fields={"first_name": "X"})
    await hub.deliver("webpower", book)
    assert (book.granted, await hub.values(B)) == ({B}, {"firstname": "Ada"})
    remote = await hub.remote("webpower", B)
    assert ((remote.email, remote.remote_id), former(remote)) == ((B, "1"), [(A, "2")])


async def _signs_up(email):
    from esplanade.clock import as_datetime
    from esplanade.model import ConsentEvent, ConsentTarget

    return ConsentEvent(
        delivery_id="0.0",
        person="p-0",
        email=email,
        purpose="newsletter",
        target=ConsentTarget(),
        state="granted",
        said_at=as_datetime(0.0),
        at=as_datetime(0.0),
    )


async def test_a_former_contact_that_is_deleted_is_forgotten_quietly(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, previous_email=A)
    await hub.deliver("webpower", book)
    await hub.reports("webpower", A, remote_id="1", deleted=True)
    assert await hub.state(email=B) == "granted"
    assert await hub.deliver("webpower", book) == []
    assert (await hub.remote("webpower", B)).email == B


async def test_a_contact_that_is_deleted_and_made_anew_is_the_persons_own(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.reports("webpower", A, remote_id="1", deleted=True)
    book.numbers[A] = 9
    await hub.profile(A, fields={"firstname": "Ada L."})
    await hub.deliver("webpower", book)
    remote = await hub.remote("webpower", A)
    assert ((remote.email, remote.remote_id), former(remote)) == ((A, "9"), [])


async def test_back_at_an_earlier_address_the_old_contact_is_the_persons_own_again(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    for email, previous in ((B, A), (A, B)):
        await hub.profile(email, previous_email=previous)
        await hub.passes(1)
        await hub.deliver("webpower", book)
        await hub.passes(1)
    assert (book.granted, book.members) == ({A}, {(A, "vip")})
    remote = await hub.remote("webpower", A)
    assert ((remote.email, remote.remote_id), former(remote)) == ((A, "1"), [(B, "2")])


async def test_back_and_forth_before_the_vendor_is_called_leaves_one_contact(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, previous_email=A)
    await hub.profile(A, previous_email=B)
    await hub.deliver("webpower", book)
    assert (book.granted, book.members) == ({A}, {(A, "vip")})


@pytest.mark.parametrize("clocked", [False, True])
async def test_a_late_word_of_the_hubs_own_opt_out_does_not_follow_the_person_back(house, clocked):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, previous_email=A)
    await hub.deliver("webpower", book)
    off_at = hub.clock.time()
    await hub.passes(1)
    await hub.profile(A, previous_email=B)
    more = {"at": off_at} if clocked else {}
    await hub.reports("webpower", A, remote_id="1", consents={"newsletter": "denied"}, **more)
    assert await hub.state(email=A) == "granted"
    await hub.deliver("webpower", book)
    assert book.granted == {A}


async def test_an_opt_out_at_the_address_that_the_person_came_back_to_counts(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    for email, previous in ((B, A), (A, B)):
        await hub.profile(email, previous_email=previous)
        await hub.passes(1)
        await hub.deliver("webpower", book)
    await hub.passes(1)
    await hub.reports("webpower", A, remote_id="1", consents={"newsletter": "denied"}, at=hub.clock.time())
    assert await hub.state(email=A) == "denied"


async def test_whoever_came_back_and_signed_up_at_the_vendor_can_leave_again(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, previous_email=A)
    await hub.deliver("webpower", book)
    await hub.profile(A, previous_email=B)
    await hub.passes(1)
    await hub.reports(
        "webpower", A, remote_id="1", consents={"newsletter": "granted"}, confirmed=True, at=hub.clock.time()
    )
    await hub.deliver("webpower", book)
    await hub.passes(86_400)
    await hub.reports("webpower", A, remote_id="1", consents={"newsletter": "denied"}, at=hub.clock.time())
    assert await hub.state(email=A) == "denied"


async def test_a_former_contact_to_which_the_vendor_gives_no_real_address_leaves_every_list(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, previous_email=A)
    await hub.deliver("webpower", book)
    await hub.reports("webpower", "gone", remote_id="1", consents={"newsletter": "granted"}, confirmed=True)
    (event,) = await hub.deliver("webpower")
    assert (event.remote_id, event.purpose, event.state) == ("1", "newsletter", "denied")


@pytest.mark.parametrize("traits", [NEW, RENAME, MERGE])
async def test_a_vendor_without_ids_of_its_own_keeps_one_contact(house, traits):
    hub = await house(traits={"webpower": traits}, webpower={})
    book = Book(moves=traits is not NEW)

    def nameless(event):
        book(event)
        return Outcome()

    await known(hub, A, nameless)
    await hub.profile(B, previous_email=A)
    await hub.deliver("webpower", nameless)
    assert (book.granted, book.members) == ({B}, {(B, "vip")})
    await hub.reports("webpower", B, consents={"newsletter": "granted"})
    assert await hub.deliver("webpower", nameless) == []
    assert (await hub.remote("webpower", B)).email == B


# A vendor that knows better.


@pytest.mark.parametrize("traits", [NEW, RENAME])
async def test_a_vendor_that_moves_a_contact_renames_the_person_everywhere(house, traits):
    hub = await house(traits={"webpower": RENAME, "sparkloop": traits}, webpower={}, sparkloop={})
    await known(hub, A, Book())
    book = Book(moves=traits is RENAME)
    await hub.deliver("sparkloop", book)
    await hub.passes(1)
    await hub.reports("webpower", B, remote_id="1")
    assert addresses(await hub.person(A)) == (B, {A})
    await hub.deliver("sparkloop", book)
    assert book.granted == {B}
    assert await hub.deliver("webpower") == []


async def test_a_vendor_that_moves_a_contact_to_an_address_that_somebody_has_merges_the_two(house):
    hub = await house(webpower={}, sparkloop={})
    book = Book(moves=True)
    for email in (A, B):
        await known(hub, email, book)
    await hub.deliver("sparkloop", Book(moves=True))
    await hub.reports("webpower", B, remote_id="1")
    one = await hub.person(A)
    assert addresses(one) == (B, {A})
    assert one.lineage == [2]
    remote = await hub.remote("webpower", B)
    assert (remote.email, remote.remote_id) == (B, "1")


async def test_an_old_word_of_a_vendor_does_not_move_the_person_back(house):
    hub = await house(webpower={})
    book = Book(moves=True)
    await known(hub, A, book)
    before = hub.clock.time()
    await hub.passes(1)
    await hub.profile(B, previous_email=A)
    await hub.deliver("webpower", book)
    await hub.reports("webpower", A, remote_id="1", at=before)
    assert (await hub.person(A)).email == B


# What was under way.


async def test_a_call_for_somebody_who_was_merged_meanwhile_settles_at_their_contact(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, fields={"firstname": "A."}, consents={"newsletter": "granted"})
    land = await hub.claim("webpower", book)
    await hub.passes(1)
    await hub.profile(A, previous_email=B)
    assert await hub.deliver("webpower", book) == []  # one call at a time, also of two who are one
    assert [event.email for event in await land()] == [B]
    await hub.deliver("webpower", book)
    remote = await hub.remote("webpower", A)
    assert ((remote.email, remote.remote_id), former(remote)) == ((A, "1"), [(B, "2")])
    assert (book.granted, book.members) == ({A}, {(A, "vip")})
    assert await hub.queue("webpower", "in_flight", "pending", "parked", "dead") == []


@pytest.mark.parametrize("traits", [NEW, RENAME])
async def test_a_call_to_the_survivors_old_contact_settles_there(house, traits):
    hub = await house(traits={"webpower": traits}, webpower={})
    book = Book(moves=traits is RENAME)
    await known(hub, A, book)
    await known(hub, B, book)
    await hub.profile(A, fields={"phone": "06"})
    land = await hub.claim("webpower", book)
    await hub.passes(1)
    await hub.profile(B, previous_email=A)
    assert [event.email for event in await land()] == [A]
    await hub.deliver("webpower", book)
    remote = await hub.remote("webpower", B)
    assert ((remote.email, remote.remote_id), former(remote)) == ((B, "2"), [(A, "1")])
    assert remote.fields == {"first_name": "Ada", "mobile": "06"}
    assert (book.granted, book.members) == ({B}, {(B, "vip")})


async def test_a_call_to_an_address_that_was_left_meanwhile_settles_at_the_contact_left_behind(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(A, fields={"phone": "06"})
    land = await hub.claim("webpower", book)
    await hub.profile(B, previous_email=A)
    await land()
    await hub.deliver("webpower", book)
    assert (book.granted, book.members) == ({B}, {(B, "vip")})
    assert former(await hub.remote("webpower", B)) == [(A, "1")]


async def test_a_first_call_to_an_address_that_was_left_meanwhile_leaves_no_contact_on_a_list(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await hub.profile(A, audiences={"vip": True}, consents={"newsletter": "granted"})
    land = await hub.claim("webpower", book)
    await hub.profile(B, previous_email=A)
    await land()
    await hub.deliver("webpower", book)
    assert (book.granted, book.members) == ({B}, {(B, "vip")})


async def test_taking_a_contact_off_that_became_the_persons_own_meanwhile_ends_well(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, previous_email=A)
    land = await hub.claim("webpower", book)
    await hub.passes(1)
    await hub.profile(A, previous_email=B)
    await hub.reports("webpower", A, remote_id="1")
    await land()
    await hub.deliver("webpower", book)
    assert (book.granted, book.members) == ({A}, {(A, "vip")})
    remote = await hub.remote("webpower", A)
    assert (remote.consents, remote.audiences) == ({"newsletter": "granted"}, {"vip": True})


@pytest.mark.parametrize("fault", [OutcomeUnknown("no answer"), PermanentError("no")])
async def test_a_call_that_fails_after_the_merge_leaves_the_survivor_whole(house, fault):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, fields={"phone": "07"}, at=10)
    land = await hub.claim("webpower", fault)
    await hub.profile(A, previous_email=B)
    await land()
    await hub.passes(3_600)
    await hub.deliver("webpower", book)
    assert (await hub.remote("webpower", A)).email == A
    assert book.granted == {A}
    assert await hub.queue("webpower", "pending", "in_flight") == []


async def test_work_that_waits_for_another_try_is_done_for_the_survivor_at_once(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, fields={"phone": "07"}, consents={"newsletter": "granted"})
    await (await hub.claim("webpower", OutcomeUnknown("no answer")))()
    await hub.profile(A, previous_email=B)
    assert await hub.deliver("webpower", book)
    assert (await hub.remote("webpower", A)).fields == {"first_name": "Ada", "mobile": "07"}


async def test_a_dead_letter_of_somebody_merged_is_replayed_for_the_survivor(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, fields={"phone": "bad"}, at=10)
    await (await hub.claim("webpower", PermanentError("no")))()
    await hub.profile(A, previous_email=B)
    await hub.deliver("webpower", book)
    (dead,) = await hub.queue("webpower", "dead")
    assert dead.person == (await hub.person(A)).id
    await replay(hub.store, DeliveryFilter(ids=[dead.id]), force=False, now=hub.clock.time())
    assert {event.email for event in await hub.deliver("webpower", book)} == {A}


async def test_a_restart_while_somebody_merged_has_a_call_in_flight_repeats_it_for_the_survivor(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    book = Book()
    await known(hub, A, book)
    await hub.profile(B, fields={"phone": "06"})
    await hub.claim("webpower", book)
    await hub.profile(A, previous_email=B)
    await hub.store.run(lambda unit: hub.desk("webpower").recover(unit, hub.clock.time()))
    await hub.deliver("webpower", book)
    remote = await hub.remote("webpower", A)
    assert (remote.email, remote.unknown, remote.fields["mobile"]) == (A, False, "06")
    assert book.granted == {A}


# Triggers.

CART = {"triggers": {"cart": TriggerTarget()}}


@pytest.mark.parametrize("when", ["waiting", "sent", "in flight", "retried", "unknown", "dead"])
async def test_a_trigger_of_two_people_who_are_one_is_sent_once(house, when):
    hub = await house(traits={"webpower": NEW}, webpower=CART)
    book = Book()

    def strict(event):
        return book(event) if not isinstance(event, ProfileEvent) else Outcome()

    for email in (A, B):
        await hub.profile(email)
    await hub.deliver("webpower")
    await hub.trigger("cart", A, trigger_id="c-1")
    land = None
    match when:
        case "sent":
            await hub.deliver("webpower", strict)
        case "in flight":
            land = await hub.claim("webpower", strict)
        case "retried":
            await (await hub.claim("webpower", OutcomeUnknown("no answer")))()
        case "unknown":
            hub.repeat = "never"
            await (await hub.claim("webpower", lambda event: book(event) and OutcomeUnknown("no answer")))()
        case "dead":
            await (await hub.claim("webpower", PermanentError("no")))()
    await hub.trigger("cart", B, trigger_id="c-1")
    await hub.profile(B, previous_email=A)
    if land is not None:
        await land()
    await hub.passes(3_600)
    await hub.deliver("webpower", strict)
    assert len(book.mails) == 1
    assert await hub.queue("webpower", "pending", "dead") == []
    for email in (A, B):
        await hub.trigger("cart", email, trigger_id="c-1")
    assert await hub.deliver("webpower", strict) == []


async def test_a_repeat_that_waits_in_front_of_the_call_in_flight_is_dropped(house):
    hub = await house(traits={"webpower": NEW}, webpower=CART)
    for email in (A, B):
        await hub.profile(email)
    await hub.deliver("webpower")
    await hub.trigger("cart", A, trigger_id="c-1")
    await (await hub.claim("webpower", OutcomeUnknown("no answer")))()
    await hub.trigger("cart", B, trigger_id="c-1")
    land = await hub.claim("webpower")
    await hub.profile(B, previous_email=A)
    await land()
    await hub.passes(3_600)
    assert not [event for event in await hub.deliver("webpower") if hasattr(event, "trigger_id")]


async def test_triggers_of_their_own_are_sent_to_the_current_address(house):
    hub = await house(traits={"webpower": NEW}, webpower=CART)
    book = Book()
    for email in (A, B):
        await hub.profile(email)
    await hub.deliver("webpower", book)
    await hub.trigger("cart", A, trigger_id="c-1")
    await hub.trigger("cart", B, trigger_id="c-2")
    await hub.profile(B, previous_email=A)
    await hub.deliver("webpower", book)
    assert sorted(book.mails) == [(B, "c-1"), (B, "c-2")]


# A call of which nobody knows whether the vendor acted on it.


async def test_a_contact_that_an_unanswered_call_may_have_made_leaves_every_list_once_the_address_changes(house):
    hub = await house(traits={"webpower": NEW}, webpower={})
    await hub.profile(A, audiences={"vip": True})
    await (await hub.claim("webpower", OutcomeUnknown("no answer")))()
    await hub.profile(B, previous_email=A)
    await hub.passes(3_600)
    assert told(await hub.deliver("webpower")) == [
        ("newsletter", A, "denied"),
        ("profile", B, None, []),
        ("profile", A, None, ["vip"]),
    ]


async def test_a_membership_that_an_unanswered_call_may_have_made_can_be_ended(house):
    hub = await house(webpower={})
    await hub.profile(A, audiences={"vip": True})
    await (await hub.claim("webpower", OutcomeUnknown("no answer")))()
    await hub.reports("webpower", A, audiences={"vip": True}, pulled=True)
    await hub.profile(A, audiences={"vip": False})
    await hub.passes(3_600)
    (event,) = await hub.deliver("webpower")
    assert list(event.audiences.remove) == ["vip"]
