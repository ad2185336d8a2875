"""The consent law: docs/explanation/consent.md, row by row, and what must hold for any rows at all."""

from __future__ import annotations

import itertools
from functools import partial

import pytest

from esplanade.records import LedgerRow, Person
from esplanade.sync import consent
from esplanade.sync.consent import effective, granted, lifts, report_lifts

EARLIER, SAME, LATER, LATER_STILL = 90.0, 100.0, 110.0, 120.0
EXPIRY = 1_000.0
EXPIRED = SAME + EXPIRY

stand = partial(consent.stand, pending_expiry=EXPIRY)
waiting = partial(consent.waiting, pending_expiry=EXPIRY)


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


GRANTED, DENIED, PENDING = ("granted", None), ("denied", None), ("pending", None)

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
    "a request over nothing waits over nothing": ([row("pending")], PENDING),
    "a request without evidence over a denial": ([row("denied"), row("pending", LATER)], DENIED),
    "a request with evidence over a denial": (
        [row("denied"), row("pending", LATER, lifts=True)],
        ("pending", "denied"),
    ),
    "a request over a grant": ([row("granted"), row("pending", LATER)], GRANTED),
    "an import while a request waits": ([row("pending"), row("granted", LATER, method="import")], PENDING),
    "a grant without evidence while a request waits": ([row("pending"), row("granted", LATER)], PENDING),
    "a grant without evidence at the moment of the request": ([row("pending"), row("granted")], PENDING),
    "a grant that claims to be confirmed": ([row("pending"), row("granted", LATER, method="double")], PENDING),
    "proof while a request waits": ([row("pending"), row("granted", LATER, lifts=True)], GRANTED),
    "an answer that may lift no denial": (
        [row("pending"), row("granted", LATER, method="double", evidence={"click": "c-1"})],
        GRANTED,
    ),
    "an answer that may lift no denial over a denial": (
        [
            row("denied"),
            row("pending", LATER, lifts=True),
            row("granted", LATER_STILL, method="double", evidence={"click": "c-1"}),
        ],
        ("pending", "denied"),
    ),
    "a grant without evidence just before the request expires": (
        [row("pending"), row("granted", EXPIRED - 1)],
        PENDING,
    ),
    "a grant without evidence once the request has expired": ([row("pending"), row("granted", EXPIRED)], GRANTED),
    "a grant without evidence while the second request waits": (
        [row("pending"), row("pending", EXPIRED), row("granted", EXPIRED + 1)],
        PENDING,
    ),
    "a request is open from when it was recorded": (
        [row("pending", recorded_at=LATER), row("granted", EXPIRED)],
        PENDING,
    ),
    "an expired request over a denial keeps it": (
        [row("denied"), row("pending", LATER, lifts=True), row("granted", 1e9)],
        ("pending", "denied"),
    ),
    "a late answer": ([row("pending"), row("granted", 1e9, lifts=True, method="double")], GRANTED),
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


@pytest.mark.parametrize(
    ("rows", "now", "open_"),
    [
        ([], SAME, False),
        ([row("pending")], SAME, True),
        ([row("pending")], EXPIRED - 1, True),
        ([row("pending")], EXPIRED, False),
        ([row("pending", recorded_at=LATER)], EXPIRED, True),
        ([row("pending"), row("pending", EXPIRED)], EXPIRED, True),
        ([row("pending"), row("granted", LATER, lifts=True)], LATER, False),
        ([row("pending"), row("denied", LATER)], LATER, False),
        ([row("denied"), row("pending", LATER)], LATER, False),
        ([row("denied"), row("pending", LATER, lifts=True)], LATER, True),
        ([row("denied"), row("pending", LATER, lifts=True), row("pending", EXPIRED)], EXPIRED + LATER, False),
    ],
)
def test_a_request_waits_until_it_is_answered_or_expires(rows, now, open_):
    assert waiting(rows, now=now) is open_


def test_two_grants_that_differ_in_their_evidence_alone_are_told_apart_in_any_order():
    one, other = row("granted", evidence={"form": "footer"}), row("granted", evidence={"form": "popup"})
    assert stand([one, other]) == stand([other, one])
