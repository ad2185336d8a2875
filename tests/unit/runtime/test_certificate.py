"""By what a vendor may know somebody, and what the certificate says of it."""

import pytest

from esplanade.model import PersonRef
from esplanade.records import Contact, Remote
from esplanade.runtime.certificate import BY_HAND, Asked, Known, answered, by_hand, contacts, failed, not_asked
from esplanade.sync.identity import normalise


def known(*emails, asked_by="ada@example.com", **remote):
    remotes = [Remote(person=1, connector="crm", **remote)] if remote else []
    return Known(person=1, asked_by=normalise(asked_by), emails=emails, remotes=remotes)


def asked(*args, **more):
    return [(each.ref.remote_id, each.ref.email) for each in contacts(known(*args, **more), "crm")]


FORMER = [Contact(email="old@example.com", remote_id="7"), Contact(email="older@example.com"), Contact()]


@pytest.mark.parametrize(
    ("args", "more", "found"),
    [
        ((), {}, [(None, "ada@example.com")]),
        (("Ada@example.com",), {}, [(None, "Ada@example.com")]),
        (("ada@example.com",), {"remote_id": "9", "email": "ADA@example.com"}, [("9", "ADA@example.com")]),
        (("ada@example.com",), {"remote_id": "9"}, [("9", "ada@example.com"), (None, "ada@example.com")]),
        (("ada@example.com",), {"unknown": True}, [(None, "ada@example.com")]),
        (
            ("ada@example.com", "old@example.com", "first@example.com"),
            {"remote_id": "9", "email": "ada@example.com", "former": FORMER},
            [
                ("9", "ada@example.com"),
                ("7", "old@example.com"),
                (None, "older@example.com"),
                (None, "first@example.com"),
            ],
        ),
    ],
    ids=["erased before", "never told", "one contact", "no address told", "a call was cut", "former ones"],
)
def test_a_vendor_is_asked_for_its_contacts_and_for_every_address_that_none_of_them_has(args, more, found):
    assert asked(*args, **more) == found


def test_another_vendors_contact_is_not_asked_for():
    person = known("ada@example.com", remote_id="9", email="ada@example.com")
    assert contacts(person, "mail") == [Asked(ref=PersonRef(person="p-1", email="ada@example.com"))]


def test_a_contact_without_an_address_of_theirs_goes_by_its_id_alone():
    former = [Contact(remote_id="7"), Contact(email="old@example.com", remote_id="8")]
    person = known("ada@example.com", remote_id="9", email="ada@example.com", former=former)
    assert [(each.name, each.by_address) for each in contacts(person, "crm")] == [
        ("contact 9 (ada@example.com)", True),
        ("contact 7", False),
        ("contact 8 (old@example.com)", True),
    ]


def test_by_hand_only_what_the_vendor_was_told_is_named():
    person = known("ada@example.com", "first@example.com", remote_id="9", former=FORMER)
    named = "contact 9 and contact 7 (old@example.com) and the contact with the address older@example.com"
    assert by_hand(person, "crm") == f"erase {named} at the vendor by hand"
    assert by_hand(known(), "crm") == "if ada@example.com is there at the vendor, erase it by hand"


ONE = Asked(ref=PersonRef(person="p-1", email="a@example.com", remote_id="9"))
TWO = Asked(ref=PersonRef(person="p-1", email="b@example.com"))
THREE = Asked(ref=PersonRef(person="p-1", email="a@example.com", remote_id="7"), by_address=False)
FIRST, SECOND = "contact 9 (a@example.com)", "the contact with the address b@example.com"


@pytest.mark.parametrize(
    ("certified", "result", "detail"),
    [
        (answered("crm", [ONE], [TWO]), "erased", f"erased at the vendor: {FIRST}"),
        (answered("crm", [ONE, TWO], []), "erased", f"erased at the vendor: {FIRST} and {SECOND}"),
        (answered("crm", [], [ONE, TWO]), "not-found", f"not there at the vendor: {FIRST} and {SECOND}"),
        (
            failed("crm", [(ONE, "no"), (TWO, "never")], []),
            "failed",
            f"not erased at the vendor: {FIRST}: no; {SECOND}: never. Ask again, by a@example.com, b@example.com.",
        ),
        (
            failed("crm", [(ONE, "no")], [TWO]),
            "failed",
            f"not erased at the vendor: {FIRST}: no. Ask again, by a@example.com. Erased: {SECOND}.",
        ),
        (
            failed("crm", [(THREE, "no")], []),
            "failed",
            f"not erased at the vendor: contact 7: no{BY_HAND}. Ask again, by a@example.com.",
        ),
        (
            not_asked("crm", "no hub", known()),
            "failed",
            "not asked: no hub. See to that and ask again; else if ada@example.com is there at the vendor, erase it by hand",
        ),
    ],
)
def test_the_certificate_names_what_it_speaks_of(certified, result, detail):
    assert (certified.connector, certified.result, certified.detail) == ("crm", result, detail)
