"""The three-way merge: what must be sent, what a report comes to, and when two values are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.connector import Traits
from esplanade.model import Alters
from esplanade.records import Clocked, Contact, Remote
from esplanade.sync.alike import alike
from esplanade.sync.merge import KEEP_SENT, Telling, confirm, echoed, is_empty, remember_sent, weigh
from esplanade.sync.merge import delta as full_delta

NOW, WINDOW = 10_000.0, 600.0
ADA = "ada@example.com"
PLAIN = Traits()

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
VALUES = SCALARS | st.lists(st.booleans() | st.integers() | st.text(max_size=3), max_size=3)
NAMES = st.sampled_from(["firstname", "phone", "ltv", "tags"])
FIELDS = st.dictionaries(NAMES, VALUES, max_size=4)
MEMBERSHIPS = st.dictionaries(st.sampled_from(["vip", "churn-risk", "staff"]), st.booleans(), max_size=3)


def remote(**known):
    return Remote(person=1, connector="webpower", **{"email": ADA, **known})


def delta(email, desired, audiences, base, traits=PLAIN):
    return full_delta(email, desired, audiences, base, traits)


# What must be sent.


def settled(base, wanted, email=ADA):
    """What the vendor holds once it acknowledged everything of a delta."""
    return Remote(
        person=1,
        connector="webpower",
        email=email,
        fields={**base.fields, **wanted.changed, **dict.fromkeys(wanted.cleared)},
        audiences={**base.audiences, **dict.fromkeys(wanted.add, True), **dict.fromkeys(wanted.remove, False)},
        owned=sorted((set(base.owned) | set(wanted.add)) - set(wanted.remove)),
    )


@given(FIELDS, FIELDS, MEMBERSHIPS, MEMBERSHIPS, st.booleans())
def test_nothing_is_left_to_send_once_a_delta_is_acknowledged(desired, fields, audiences, held, unknown):
    base = remote(fields=fields, audiences=held, owned=sorted(held), unknown=unknown)
    wanted = delta(ADA, desired, audiences, base)
    assert delta(ADA, desired, audiences, settled(base, wanted)).is_empty()


@given(FIELDS)
def test_a_vendor_that_holds_everything_is_sent_nothing(fields):
    assert delta(ADA, fields, {}, remote(fields=fields)).is_empty()


@given(FIELDS, FIELDS, MEMBERSHIPS)
def test_an_unknown_base_equals_nothing(desired, fields, audiences):
    wanted = delta(ADA, desired, audiences, remote(fields=fields, audiences=audiences, unknown=True))
    assert set(wanted.changed) == {name for name, value in desired.items() if not is_empty(value)}
    assert set(wanted.cleared) == {name for name, value in desired.items() if is_empty(value) and name in fields}
    assert set(wanted.add) == {name for name, member in audiences.items() if member}


def test_a_new_person_is_sent_what_is_set_and_not_what_is_empty():
    wanted = delta(ADA, {"firstname": "Ada", "phone": None}, {"vip": True, "staff": False}, None)
    assert (wanted.changed, wanted.cleared) == ({"firstname": "Ada"}, [])
    assert (wanted.add, wanted.remove, wanted.not_owned) == (["vip"], [], [])
    assert wanted.renamed_from is None


def test_only_what_differs_is_changed_but_all_is_desired():
    wanted = delta(ADA, {"firstname": "Ada", "ltv": 13}, {}, remote(fields={"firstname": "Ada", "ltv": 12}))
    assert wanted.changed == {"ltv": 13}
    assert wanted.desired == {"firstname": "Ada", "ltv": 13}


def test_a_cleared_value_is_cleared_where_the_vendor_holds_one():
    wanted = delta(ADA, {"phone": None, "fax": None}, {}, remote(fields={"phone": "0612345678"}))
    assert wanted.cleared == ["phone"]


def test_a_value_that_the_vendor_refused_is_not_sent_again_until_it_changes():
    refused = remote(fields={"phone": ""}, rejected={"phone": "+31 6 12345678"})
    assert delta(ADA, {"phone": "+31 6 12345678"}, {}, refused).is_empty()
    assert delta(ADA, {"phone": "0612345678"}, {}, refused).changed == {"phone": "0612345678"}


def test_a_membership_that_the_hub_did_not_make_is_not_taken_away():
    wanted = delta(
        ADA, {}, {"vip": False, "staff": False}, remote(audiences={"vip": True, "staff": True}, owned=["vip"])
    )
    assert (wanted.remove, wanted.not_owned) == (["vip"], ["staff"])


def test_an_uncertain_membership_is_taken_away_where_the_hub_may_have_made_it():
    wanted = delta(ADA, {}, {"vip": False, "staff": False}, remote(owned=["vip"], unknown=True))
    assert (wanted.remove, wanted.not_owned) == (["vip"], [])


def test_another_address_is_a_rename():
    assert delta("ada@new.example", {}, {}, remote()).renamed_from == ADA


@pytest.mark.parametrize(
    ("held", "ours"),
    [
        ("Ada@Example.com", ADA),
        ("info@bücher.example", "info@xn--bcher-kva.example"),
        ("jose\u0301@example.com", "jos\u00e9@example.com"),
        ("not an address", "Not an address"),
    ],
)
def test_the_same_address_in_another_form_is_no_rename(held, ours):
    assert delta(ours, {}, {}, remote(email=held)).is_empty()


# What a report comes to.

ADA_L = Clocked("Ada L.", 5_000.0)


def verdict(
    reported, base=None, *, hub=ADA_L, at=None, conflict="newest", fresh=False, can_fetch=False, alters=None, **known
):
    fields = {} if base is None else {"name": base}
    return weigh(
        reported,
        key="name",
        remote=remote(**{"fields": fields, **known}),
        hub=hub,
        telling=telling(at=at, fresh=fresh),
        conflict=conflict,
        traits=Traits(can_fetch=can_fetch, alters={"text": alters} if alters else {}),
    )


def telling(now=NOW, *, at=None, fresh=False):
    return Telling(now=now, window=WINDOW, at=now if at is None else at, has_clock=at is not None, fresh=fresh)


def sent(*values):
    return {"field:name": [Clocked(value, at) for value, at in values]}


JUDGED = {
    # what comes back of our own
    "equal to base": ("echo", {"reported": "Ada", "base": "Ada"}),
    "equal to base but for its form": ("echo", {"reported": "12", "base": 12}),
    "equal to base and later by its clock": ("echo", {"reported": "Ada", "base": "Ada", "at": NOW}),
    "in flight": ("echo", {"reported": "Ada L.", "base": "Ada", "sent": sent(("Ada L.", NOW - 5))}),
    "sent before what is in flight": (
        "echo",
        {
            "reported": "A.",
            "base": "Ada",
            "hub": Clocked("B.", 9_990.0),
            "sent": sent(("A.", NOW - 9), ("B.", NOW - 5)),
        },
    ),
    "in flight and earlier by its own clock": (
        "echo",
        {"reported": "A.", "base": "Ada", "at": NOW - 10, "sent": sent(("A.", NOW - 5))},
    ),
    "sent lately, but later by its own clock": (
        "take",
        {"reported": "A.", "base": "Ada", "at": NOW - 1, "sent": sent(("A.", NOW - 5))},
    ),
    "sent, replaced and acknowledged since": (
        "returned",
        {"reported": "A.", "base": "B.", "sent": sent(("A.", NOW - 9), ("B.", NOW - 5)), "acked_at": NOW - 4},
    ),
    "sent, replaced, and read anew after the acknowledgement": (
        "take",
        {
            "reported": "A.",
            "base": "B.",
            "sent": sent(("A.", NOW - 9), ("B.", NOW - 5)),
            "acked_at": NOW - 4,
            "fresh": True,
        },
    ),
    "sent at the end of the window": ("echo", {"reported": "A.", "base": "Ada", "sent": sent(("A.", NOW - WINDOW))}),
    "sent before the window": ("take", {"reported": "A.", "base": "Ada", "sent": sent(("A.", NOW - WINDOW - 1))}),
    # what the vendor made of it
    "cut after it was sent": ("cut", {"reported": "Ad", "base": "Ada L.", "sent": sent(("Ada L.", NOW - 5))}),
    "refused after it was sent": ("cut", {"reported": "", "base": "Ada L.", "sent": sent(("Ada L.", NOW - 5))}),
    "emptied after it was sent": ("cut", {"reported": None, "base": "Ada L.", "sent": sent(("Ada L.", NOW - 5))}),
    "cut, and told of it a day later": (
        "cut",
        {"reported": "Ad", "base": "Ada L.", "sent": sent(("Ada L.", NOW - 86_400))},
    ),
    "emptied after it was once reported whole": (
        "take",
        {"reported": None, "base": "Ada L.", "sent": sent(("Ada L.", NOW - 5)), "confirmed": ["field:name"]},
    ),
    "another value after it was sent": (
        "take",
        {"reported": "Bob", "base": "Ada L.", "sent": sent(("Ada L.", NOW - 5))},
    ),
    "another value soon after it was sent, where the vendor can be asked": (
        "ask",
        {"reported": "Bob", "base": "Ada L.", "sent": sent(("Ada L.", NOW - 5)), "can_fetch": True},
    ),
    "another value from before it was sent, by the vendor's clock": (
        "keep",
        {"reported": "Bob", "base": "Ada L.", "sent": sent(("Ada L.", NOW - 5)), "at": NOW - 6},
    ),
    "another value after it was sent, by the vendor's clock": (
        "take",
        {"reported": "Bob", "base": "Ada L.", "sent": sent(("Ada L.", NOW - 5)), "at": NOW - 4, "can_fetch": True},
    ),
    "another value, and the vendor was asked": (
        "take",
        {"reported": "Bob", "base": "Ada L.", "sent": sent(("Ada L.", NOW - 5)), "fresh": True, "can_fetch": True},
    ),
    "another value long after it was sent": (
        "take",
        {"reported": "Bob", "base": "Ada L.", "sent": sent(("Ada L.", NOW - WINDOW - 1)), "can_fetch": True},
    ),
    "what the vendor is known to make of it": (
        "echo",
        {"reported": "ada l", "base": "Ada L.", "alters": Alters(ignores_case=True, max_length=5)},
    ),
    "a number is not cut": (
        "take",
        {"reported": 1, "base": 12, "hub": Clocked(12, 5_000.0), "sent": sent((12, NOW - 5))},
    ),
    # only the vendor changed
    "changed at the vendor": ("take", {"reported": "Ada Lovelace", "base": "Ada L."}),
    "changed at the vendor, by its clock": ("take", {"reported": "Ada Lovelace", "base": "Ada L.", "at": 6_000.0}),
    "changed at the vendor, though the hub has the last word": (
        "take",
        {"reported": "Ada Lovelace", "base": "Ada L.", "conflict": "hub"},
    ),
    "an old report of what was there before": ("keep", {"reported": "A.", "base": "Ada L.", "at": 4_000.0}),
    "unknown to the hub": ("take", {"reported": "Ada", "hub": None}),
    "equal to the hub's, unlike base": ("same", {"reported": "Ada L.", "base": "Ada"}),
    # both changed
    "both, the vendor's later": ("take", {"reported": "A.", "base": "Ada", "at": 6_000.0}),
    "both, the hub's later": ("keep", {"reported": "A.", "base": "Ada", "at": 4_000.0}),
    "both at the same moment": ("keep", {"reported": "A.", "base": "Ada", "at": 5_000.0}),
    "both, the vendor without a clock, read later": ("take", {"reported": "A.", "base": "Ada"}),
    "both, the hub wins": ("keep", {"reported": "A.", "base": "Ada", "at": 6_000.0, "conflict": "hub"}),
    "both, the vendor wins": ("take", {"reported": "A.", "base": "Ada", "at": 4_000.0, "conflict": "esp"}),
    # no base to compare with
    "no base, no clock": ("keep", {"reported": "A."}),
    "no base, later by its clock": ("take", {"reported": "A.", "at": 6_000.0}),
    "no base, earlier by its clock": ("keep", {"reported": "A.", "at": 4_000.0}),
    "no base, the hub wins": ("keep", {"reported": "A.", "at": 6_000.0, "conflict": "hub"}),
    "no base, the vendor wins": ("take", {"reported": "A.", "conflict": "esp"}),
    "an uncertain base is none": ("same", {"reported": "Ada L.", "base": "Ada L.", "unknown": True}),
    "an uncertain base shows no change": ("keep", {"reported": "A.", "base": "Ada L.", "unknown": True}),
}


@pytest.mark.parametrize(("expected", "case"), JUDGED.values(), ids=JUDGED.keys())
def test_a_reported_value_is(expected, case):
    assert verdict(**case) == expected


@given(VALUES, st.sampled_from(["newest", "hub", "esp"]), st.none() | st.floats(0, NOW))
def test_what_equals_base_is_always_an_echo(value, conflict, at):
    assert verdict(value, hub=Clocked("x", 1.0), at=at, conflict=conflict, fields={"name": value}) == "echo"


# What was sent lately.


def test_values_are_remembered_for_a_window():
    held = remote()
    remember_sent(held, {"field:name": "A."}, NOW - WINDOW - 1, WINDOW)
    remember_sent(held, {"field:name": "B."}, NOW - 1, WINDOW)
    remember_sent(held, {"field:name": "C."}, NOW, WINDOW)
    assert [value.value for value in held.sent["field:name"]] == ["B.", "C."]


def test_only_the_last_few_values_are_remembered():
    held = remote()
    for number in range(KEEP_SENT + 3):
        remember_sent(held, {"field:name": number}, NOW, WINDOW)
    assert [value.value for value in held.sent["field:name"]] == list(range(3, KEEP_SENT + 3))


def test_a_membership_in_flight_is_told_from_one_that_changed_later():
    held = remote()
    remember_sent(held, {"audience:vip": True}, NOW, WINDOW)
    assert echoed(held, "audience:vip", True, telling(NOW + 1)) == Clocked(True, NOW)
    assert echoed(held, "audience:vip", False, telling(NOW + 1)) is None
    assert echoed(held, "audience:vip", True, telling(NOW + 2, at=NOW + 1)) is None
    assert echoed(held, "audience:vip", True, telling(NOW + 2, fresh=True)) is None
    assert echoed(held, "audience:staff", True, telling(NOW + 1)) is None


def test_a_write_counts_as_confirmed_once_it_is_reported_whole_and_until_the_next():
    held = remote()
    remember_sent(held, {"field:name": "Ada"}, NOW, WINDOW)
    confirm(held, "field:name", "Ad", {})
    assert held.confirmed == []
    confirm(held, "field:name", "Ada", {})
    confirm(held, "field:name", "Ada", {})
    confirm(held, "field:phone", "06", {})
    assert held.confirmed == ["field:name"]
    remember_sent(held, {"field:name": "Ada L."}, NOW + 1, WINDOW)
    assert held.confirmed == []


def test_two_contacts_of_one_person_are_told_of_where_the_vendor_merges_them():
    base = remote(former=[Contact(email="old@example.com")])
    assert delta(ADA, {}, {}, base, Traits(address_change="merge")).renamed_from == "old@example.com"
    assert delta(ADA, {}, {}, base, Traits(address_change="rename")).renamed_from is None


@given(FIELDS)
def test_what_the_vendor_made_of_a_value_is_not_sent_again(fields):
    alters = {"text": Alters(trim=True, ignores_case=True)}
    held = {name: value.lower().strip() if isinstance(value, str) else value for name, value in fields.items()}
    assert all(alike(fields[name], held[name], alters) for name in fields)
    assert delta(ADA, fields, {}, remote(fields=held), Traits(alters=alters)).is_empty()


class TestWhatAVendorMakesOfAValue:
    """It was asked after it took our write, and holds something else."""

    def weigh(self, *, at=90.0, has_clock=True, fresh=True, confirmed=(), base="ada", acked_at=100.0):
        remote = Remote(
            person=1,
            connector="crm",
            fields={"first": base},
            sent={"field:first": [Clocked("ada", 99.0)]},
            confirmed=list(confirmed),
            acked_at=acked_at,
        )
        telling = Telling(now=5_000.0, window=600.0, at=at, has_clock=has_clock, fresh=fresh)
        return weigh(
            "Ada!",
            key="first",
            remote=remote,
            hub=Clocked("ada", 98.0),
            telling=telling,
            conflict="newest",
            traits=Traits(),
        )

    def test_that_nothing_changed_since_says_that_it_altered_ours(self):
        assert self.weigh() == "cut"

    @pytest.mark.parametrize(
        "otherwise",
        [
            {"at": 101.0},
            {"has_clock": False, "at": 101.0},
            {"base": "eve"},
            {"confirmed": ["field:first"]},
            {"fresh": False},
        ],
        ids=lambda each: ",".join(each),
    )
    def test_anything_else_leaves_room_for_a_change(self, otherwise):
        assert self.weigh(**otherwise) != "cut"
