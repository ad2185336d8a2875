"""Which of a vendor's contacts a person is, and what becomes of the others."""

from __future__ import annotations

import pytest

from esplanade.connector import Traits
from esplanade.records import Clocked, Contact, Person, Remote
from esplanade.sync import contacts
from esplanade.sync.plan import FormerRef

A, B, C = "a@example.com", "b@example.com", "c@example.com"


def ada(email=A, *earlier):
    return Person(id=1, email=email, email_key=email, emails=list(earlier))


def remote(email=None, remote_id=None, *former, **known):
    return Remote(person=1, connector="webpower", email=email, remote_id=remote_id, former=list(former), **known)


def contact(email, remote_id=None, **known):
    return Contact(email=email, remote_id=remote_id, **known)


def who(remote):
    return (remote.email, remote.remote_id)


def whose(former):
    return [(each.email, each.remote_id) for each in former]


# Leaving a contact behind.


def test_a_contact_left_behind_keeps_what_it_held_and_the_next_one_starts_with_nothing():
    own = remote(
        A,
        "1",
        fields={"first_name": "Ada"},
        consents={"newsletter": "granted"},
        audiences={"vip": True, "staff": True},
        owned=["vip"],
        sent={"field:first_name": [Clocked("Ada", 1.0)]},
        asked={"newsletter": None},
        rejected={"mobile": "x"},
    )
    left = contacts.part(own)
    assert left == contact(A, "1", fields={"first_name": "Ada"}, consents={"newsletter": "granted"}, audiences=["vip"])
    assert own == remote(None, None, left)


def test_where_there_is_no_contact_none_is_left_behind():
    assert contacts.part(remote()) is None


def test_only_the_latest_former_contacts_are_remembered():
    own = remote()
    for number in range(contacts.KEPT + 3):
        own.email, own.remote_id = f"{number}@example.com", str(number)
        contacts.part(own)
    assert [each.remote_id for each in own.former] == [str(number) for number in range(3, contacts.KEPT + 3)]


@pytest.mark.parametrize(
    ("change", "receives", "moves"),
    [
        ("rename", ["profile", "consent"], True),
        ("merge", ["profile"], True),
        ("new-contact", ["profile", "consent"], False),
        ("rename", ["consent"], False),
        ("merge", ["consent"], False),
    ],
)
def test_a_contact_moves_where_the_vendor_can_and_is_told_of_profiles(connector, change, receives, moves):
    assert contacts.can_move(connector(receives=receives), Traits(address_change=change)) is moves


# Two people who are one.


@pytest.mark.parametrize(("at", "stays", "leaves"), [(A, (A, "1"), (B, "2")), (B, (B, "2"), (A, "1"))])
def test_the_contact_at_the_current_address_stays(at, stays, leaves):
    kept = remote(A, "1", consents={"newsletter": "granted"}, owned=["vip"])
    other = remote(B, "2", consents={"newsletter": "denied"}, owned=[])
    former = contacts.join(kept, other, ada(at))
    assert who(kept) == stays
    assert whose(former) == whose(kept.former) == [leaves]
    assert {kept.consents["newsletter"], former[0].consents["newsletter"]} == {"granted", "denied"}


def test_where_neither_is_at_the_current_address_the_survivors_own_stays():
    kept = remote(A, "1")
    assert whose(contacts.join(kept, remote(B, "2"), ada(C))) == [(B, "2")]
    assert who(kept) == (A, "1")


def test_the_only_contact_there_is_stays_wherever_it_is():
    kept = remote()
    assert contacts.join(kept, remote(B, "2", fields={"first_name": "Ada"}), ada(A)) == []
    assert (who(kept), kept.fields) == ((B, "2"), {"first_name": "Ada"})
    assert contacts.join(kept, remote(), ada(A)) == []
    assert who(kept) == (B, "2")


def test_a_contact_that_only_a_cut_call_may_have_made_counts_as_one():
    kept = remote(unknown=True)
    contacts.join(kept, remote(B, "2"), ada(A))
    assert (kept.unknown, whose(kept.former)) == (True, [(B, "2")])


def test_the_former_contacts_of_both_are_kept():
    kept, other = remote(A, "1", contact("x@example.com", "8")), remote(B, "2", contact("y@example.com", "9"))
    contacts.join(kept, other, ada(A))
    assert [each.remote_id for each in kept.former] == ["8", "9", "2"]


def test_one_contact_that_both_are_known_by_leaves_no_list():
    kept, other = remote(A, "1"), remote(A.upper(), "1")
    assert contacts.join(kept, other, ada(A)) == []


def test_a_contact_that_was_a_former_one_of_the_other_is_no_former_one_any_more():
    kept, other = remote(A, "1", contact(B, "2")), remote(B, "2")
    assert whose(contacts.join(kept, other, ada(B))) == [(A, "1")]
    assert who(kept) == (B, "2")


# Whom a vendor's word is about.

OWN = (A, "1")
OLD = contact(B, "2")


@pytest.mark.parametrize(
    ("email", "remote_id"), [(A, "1"), (None, "1"), (B, "1"), (C, "1"), (A, None), (A.upper(), None), (None, None)]
)
def test_a_word_about_the_persons_own_contact(email, remote_id):
    own = remote(*OWN, OLD)
    assert contacts.about(own, ada(A, B), email, remote_id) is None
    assert (who(own), own.former) == (OWN, [OLD])


@pytest.mark.parametrize(("email", "remote_id"), [(B, "2"), (None, "2"), (C, "2"), (B, None), (B.upper(), None)])
def test_a_word_about_a_former_contact(email, remote_id):
    own = remote(*OWN, OLD)
    assert contacts.about(own, ada(A, B), email, remote_id) is OLD


def test_a_contact_nobody_knew_is_a_former_one_while_the_persons_own_is_known():
    own = remote(*OWN)
    found = contacts.about(own, ada(A, B), B, "9")
    assert found == contact(B, "9")
    assert own.former == [found]
    assert who(own) == OWN


def test_a_contact_nobody_knew_at_the_current_address_is_the_persons_own():
    own = remote(B, "1", consents={"newsletter": "granted"})
    assert contacts.about(own, ada(A, B), A, "9") is None
    assert who(own) == (None, None)  # the caller takes over the vendor's id and address
    assert own.former == [contact(B, "1", consents={"newsletter": "granted"})]


def test_a_contact_that_has_an_address_of_which_the_hub_never_heard_has_moved():
    own = remote(A, None)
    assert contacts.about(own, ada(A), C, None) is None
    assert (who(own), own.former) == ((A, None), [])


def test_a_vendor_without_ids_that_speaks_of_an_earlier_address_speaks_of_a_former_contact():
    own = remote(A, None)
    assert contacts.about(own, ada(A, B), B, None) == contact(B)


def test_a_vendor_that_says_where_the_contact_was_before_speaks_of_the_persons_own():
    own = remote(A, None)
    assert contacts.about(own, ada(A, B), B, None, previous_email=A.upper()) is None
    assert own.former == []


def test_the_echo_of_a_rename_that_is_under_way_leaves_no_contact_behind():
    own = remote(A, None, sent={"address": [Clocked(B, 1.0)]})
    assert contacts.about(own, ada(B, A), B, None) is None
    assert (who(own), own.former) == ((A, None), [])


def test_what_the_vendor_says_of_somebody_whom_it_is_not_known_to_have_makes_the_contact_theirs():
    own = remote()
    assert contacts.about(own, ada(A, B), B, "9") is None
    assert own.former == []


def test_a_word_about_a_former_contact_makes_it_nobodys_own():
    own = remote(None, None, OLD)
    assert contacts.about(own, ada(A, B), B, "2") is OLD
    assert contacts.about(own, ada(A, B), A, "3") is None
    assert own.former == [OLD]


# Back at an earlier address.


def old(**more):
    return contact(B, "2", fields={"first_name": "A."}, audiences=["vip"], **more)


def test_a_former_contact_at_the_current_address_is_the_persons_own_again():
    own = remote(A, "1", old(consents={"newsletter": "denied"}, told={"newsletter": 5.0}))
    assert contacts.about(own, ada(B, A), B, "2") is None
    assert who(own) == (B, "2")
    assert whose(own.former) == [(A, "1")]
    assert (own.consents, own.audiences, own.owned) == ({"newsletter": "denied"}, {"vip": True}, ["vip"])
    assert own.fields == {}  # nobody watched them while it was a former one


def test_a_consent_that_may_or_may_not_have_been_taken_away_is_unknown():
    own = remote(None, None, old(consents={"newsletter": "granted", "service": "granted"}, told={"newsletter": 5.0}))
    assert contacts.take_back(own, B, None)
    assert own.consents == {"service": "granted"}


def test_what_the_person_is_known_to_hold_now_stands_over_what_the_former_contact_held():
    own = remote(B, "2", old(consents={"newsletter": "denied"}), consents={"newsletter": "granted"})
    own.audiences = {"vip": False}
    assert contacts.take_back(own, B, "2")
    assert (own.consents, own.audiences, own.owned) == ({"newsletter": "granted"}, {"vip": False}, [])


def test_where_there_was_no_contact_none_is_taken_back():
    own = remote(A, "1", OLD)
    assert not contacts.take_back(own, C, None)
    assert own == remote(A, "1", OLD)


@pytest.mark.parametrize(
    ("granted_at", "at", "ours"),
    [
        (None, None, True),
        (None, 600.0, True),
        (None, 499.0, True),  # the vendor's clock may be somewhat behind
        (None, 400.0, False),
        (800.0, 600.0, True),
        (800.0, 900.0, False),
        (800.0, None, False),
    ],
)
def test_an_opt_out_of_the_hubs_own_is_told_from_the_persons(granted_at, at, ours):
    own = remote(None, None, old(consents={"newsletter": "denied"}, told={"newsletter": 500.0}))
    contacts.take_back(own, B, None)
    if granted_at is not None:
        own.sent["consent:newsletter"] = [Clocked("granted", granted_at)]
    assert contacts.was_retired(own, "newsletter", at) is ours
    assert not contacts.was_retired(own, "service", at)


# Finding and forgetting.


def test_a_former_contact_is_found_by_its_id_and_else_by_its_address():
    own = remote(*OWN, contact(B, "2"), contact(C, None))
    assert contacts.former_of(own, C, "2").email == B
    assert contacts.former_of(own, C.upper(), None).email == C
    assert contacts.former_of(own, C, "7").email == C  # its id was not known yet
    assert contacts.former_of(own, B, "7") is None  # another contact that has its address now
    assert contacts.former_of(own, None, None) is None


def test_a_contact_that_is_forgotten_is_found_no_more():
    own = remote(*OWN, contact(B, "2"))
    contacts.forget(own, C, None)
    assert len(own.former) == 1
    contacts.forget(own, B, None)
    assert own.former == []


@pytest.mark.parametrize(
    ("ref", "own"),
    [
        ((A, "1"), True),
        ((B, "1"), True),
        ((A, "2"), False),
        ((A, None), True),
        ((B, None), False),
        ((None, None), False),
    ],
)
def test_a_contact_is_the_persons_own_by_its_id_and_else_by_its_address(ref, own):
    assert contacts.is_own(remote(*OWN), FormerRef(*ref)) is own


@pytest.mark.parametrize(
    ("held", "known"),
    [
        (None, False),
        (remote(), False),
        (remote(A), True),
        (remote(unknown=True), True),
        (remote(consents={"newsletter": "denied"}), True),
    ],
)
def test_whether_the_vendor_has_a_contact(held, known):
    assert contacts.is_known(held) is known
