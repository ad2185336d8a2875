"""The consent law: docs/explanation/consent.md, row by row, and what must hold for any rows at all."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.records import LedgerRow, Person
from esplanade.sync.consent import effective, granted, lifts, report_lifts, stand

EARLIER, SAME, LATER, LATER_STILL = 90.0, 100.0, 110.0, 120.0


def row(state, at=SAME, *, lifts=False, **more):
    kept = {
        "person": 1,
        "purpose": "newsletter",
        "state": state,
        "method": "single",
        "source": "shop",
        "evidence": {},
        "said_at": at,
        "recorded_at": at,
        "lifts": lifts,
    }
    return LedgerRow(**{**kept, **more})


def state_of(*rows):
    standing = stand(rows)
    return standing and (standing.state, standing.under)


GRANTED, DENIED = ("granted", None), ("denied", None)

# What a row of the tables in docs/explanation/consent.md records before, what arrives, and what holds then.
TABLE = {
    "nothing was ever said": ([], None),
    "a grant over nothing counts without evidence": ([row("granted")], GRANTED),
    "a grant over nothing counts with evidence": ([row("granted", lifts=True)], GRANTED),
    "an import over nothing counts": ([row("granted", method="import")], GRANTED),
    "a denial over nothing": ([row("denied")], DENIED),
    "a grant after a grant": ([row("granted"), row("granted", LATER)], GRANTED),
    "a later denial of a grant": ([row("granted"), row("denied", LATER)], DENIED),
    "a later denial of a proven grant": ([row("granted", lifts=True), row("denied", LATER)], DENIED),
    "a denial at the moment of the grant": ([row("granted"), row("denied")], DENIED),
    "a denial at the moment of a proven grant": ([row("granted", lifts=True), row("denied")], DENIED),
    "an earlier denial of an unproven grant": ([row("granted"), row("denied", EARLIER)], DENIED),
    "an earlier denial of a proven grant": ([row("granted", lifts=True), row("denied", EARLIER)], GRANTED),
    "a later proven grant lifts": ([row("denied"), row("granted", LATER, lifts=True)], GRANTED),
    "a proven grant at the same moment does not": ([row("denied"), row("granted", lifts=True)], DENIED),
    "an earlier proven grant does not": ([row("denied"), row("granted", EARLIER, lifts=True)], DENIED),
    "a grant without evidence does not": ([row("denied"), row("granted", LATER)], DENIED),
    "an import however late does not": ([row("denied"), row("granted", 1e9, method="import")], DENIED),
    "a denial later still holds": (
        [row("denied"), row("granted", LATER, lifts=True), row("denied", LATER_STILL)],
        DENIED,
    ),
    "of several denials the latest counts": (
        [row("denied"), row("denied", LATER_STILL), row("granted", LATER, lifts=True)],
        DENIED,
    ),
    "a request over nothing waits over nothing": ([row("pending")], ("pending", None)),
    "a request without evidence over a denial": ([row("denied"), row("pending", LATER)], DENIED),
    "a request with evidence over a denial": (
        [row("denied"), row("pending", LATER, lifts=True)],
        ("pending", "denied"),
    ),
    "a request over a grant": ([row("granted"), row("pending", LATER)], GRANTED),
    "a request that is confirmed": (
        [row("pending"), row("granted", LATER, lifts=True, method="double")],
        GRANTED,
    ),
    "a request over a denial that is confirmed": (
        [row("denied"), row("pending", LATER, lifts=True), row("granted", LATER_STILL, lifts=True, method="double")],
        GRANTED,
    ),
    "a denial while waiting": ([row("pending"), row("denied", LATER)], DENIED),
    "a denial while waiting over a denial": (
        [row("denied"), row("pending", LATER, lifts=True), row("denied", LATER_STILL)],
        DENIED,
    ),
}


@pytest.mark.parametrize(("rows", "holds"), TABLE.values(), ids=TABLE.keys())
def test_the_truth_table_holds_in_every_order_of_arrival(rows, holds):
    assert {state_of(*order) for order in itertools.permutations(rows)} == {holds}


@pytest.mark.parametrize(
    ("origin", "method", "evidence", "lifting"),
    [
        ("event", "single", {"form": "footer"}, True),
        ("event", "double", {"click": "c-1"}, True),
        ("event", None, {"form": "footer"}, True),
        ("event", "single", {}, False),
        ("event", "import", {"file": "old.csv"}, False),
        ("profile", None, {}, False),
        ("profile", None, {"form": "footer"}, False),
        ("import", None, {"form": "footer"}, False),
    ],
)
def test_only_an_explicit_event_with_evidence_may_lift(origin, method, evidence, lifting):
    assert lifts(origin, method, evidence) is lifting


@pytest.mark.parametrize(
    ("regrant", "confirmed", "said_at", "lifting"),
    [
        ("confirmed", True, LATER, True),
        ("confirmed", True, EARLIER, True),
        ("confirmed", False, LATER, False),
        ("reported", False, LATER, True),
        ("reported", False, SAME, False),
        ("reported", False, EARLIER, False),
        ("reported", True, EARLIER, True),
        ("never", True, LATER, False),
        ("never", False, LATER, False),
    ],
)
def test_regrant_decides_what_a_vendors_word_may_lift(regrant, confirmed, said_at, lifting):
    assert report_lifts(regrant, confirmed=confirmed, said_at=said_at, denial_acked_at=SAME) is lifting


def test_the_standing_keeps_the_words_of_the_row_that_decides():
    proof = row("granted", LATER, lifts=True, method="double", source="webpower", evidence={"click": "c-1"})
    standing = stand([row("denied"), proof, row("granted", LATER_STILL)])
    assert (standing.at, standing.method, standing.source, standing.evidence) == (
        LATER,
        "double",
        "webpower",
        {"click": "c-1"},
    )


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ([row("granted")], True),
        ([row("denied")], False),
        ([row("pending")], False),
        ([row("denied"), row("pending", LATER, lifts=True)], False),
        ([row("granted"), row("pending", LATER)], True),
        ([], False),
    ],
)
def test_only_a_recorded_grant_counts_as_consent(rows, counts):
    person = Person(id=1, email="ada@example.com", email_key="ada@example.com")
    if rows:
        person.consents["newsletter"] = stand(rows)
    assert granted(person, "newsletter") is counts
    assert granted(person, "service") is False


def test_nothing_is_in_effect_where_nothing_was_said():
    assert effective(None) is None


# For any rows.

EVERY_ROW = [
    row(state, at, lifts=lifts, recorded_at=recorded_at, method=method, evidence=evidence)
    for state, at, lifts, recorded_at, method, evidence in itertools.product(
        ["granted", "denied", "pending"],
        [1.0, 2.0, 3.0, 4.0, 5.0],
        [True, False],
        [1.0, 5.0],
        ["single", "import", None],
        [{}, {"ip": "192.0.2.1"}],
    )
    if not (lifts and state == "denied")
]


def rows(*states):
    return st.sampled_from([each for each in EVERY_ROW if not states or each.state in states])


HISTORIES = st.lists(rows(), max_size=8)


@given(HISTORIES.flatmap(lambda history: st.tuples(st.just(history), st.permutations(history))))
def test_the_order_of_arrival_plays_no_part(histories):
    one, other = histories
    assert stand(one) == stand(other)


def test_two_grants_that_differ_in_their_evidence_alone_are_told_apart_in_any_order():
    one, other = row("granted", evidence={"form": "footer"}), row("granted", evidence={"form": "popup"})
    assert stand([one, other]) == stand([other, one])


@given(HISTORIES)
def test_saying_everything_twice_changes_nothing(history):
    assert stand(history) == stand([*history, *history])


@given(HISTORIES, st.lists(rows("granted", "pending"), max_size=4))
def test_a_denial_never_becomes_a_grant_without_a_later_grant_that_lifts(history, more):
    denials = [each.said_at for each in history if each.state == "denied"]
    before, after = stand(history), stand(history + more)
    if effective(before) == "denied" and effective(after) == "granted":
        assert any(each.state == "granted" and each.lifts and each.said_at > max(denials) for each in more)


@given(HISTORIES, st.sampled_from([5.0, 6.0]))
def test_a_denial_later_than_everything_always_denies(history, at):
    assert state_of(*history, row("denied", at)) == DENIED


@given(HISTORIES)
def test_while_a_request_waits_no_grant_is_in_effect(history):
    standing = stand(history)
    if standing is not None and standing.state == "pending":
        assert effective(standing) in {None, "denied"}
        assert not any(each.state == "granted" for each in history) or standing.under == "denied"


@given(st.lists(rows("pending", "denied"), max_size=6))
def test_requests_alone_never_grant(history):
    assert effective(stand(history)) in {None, "denied"}


@given(HISTORIES)
def test_requests_change_nothing_that_is_in_effect(history):
    without = [each for each in history if each.state != "pending"]
    assert effective(stand(history)) == effective(stand(without))
