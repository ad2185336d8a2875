"""The consent law over any rows at all: any sources, any evidence, any clocks, in any order, split over any two people."""

from __future__ import annotations

import itertools
import os
from functools import partial
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from esplanade.records import LedgerRow, Person
from esplanade.sync import consent
from esplanade.sync.consent import effective

DAY = 86_400.0
EXPIRY = 3 * DAY
EXAMPLES = 2_000 if os.environ.get("ESPLANADE_PROFILE") == "long" else 200

stand = partial(consent.stand, pending_expiry=EXPIRY)
many = settings(max_examples=EXAMPLES, deadline=None)


class Word(NamedTuple):
    """One thing that somebody said, and where from: the row that ingest makes of it, and what may be expected of it."""

    origin: str
    """``event``, ``profile``, ``import``, or ``report`` for a vendor's."""
    state: str
    said_at: float
    recorded_at: float
    evidence: bool = False
    method: str | None = None
    regrant: str = "confirmed"
    confirmed: bool = False
    denial_acked_at: float = 0.0
    asks: bool = False
    """Whether this purpose has a connector that asks people to confirm."""

    @property
    def may_lift(self):
        """Whether a grant was allowed to stand over an earlier denial, in the words of docs/explanation/consent.md."""
        if self.state != "granted":
            return False
        if self.origin == "report":
            worth = {
                "never": False,
                "confirmed": self.confirmed,
                "reported": self.confirmed or self.said_at > self.denial_acked_at,
            }
            return worth[self.regrant]
        return self.origin == "event" and self.evidence and self.method != "import"

    @property
    def is_answer(self):
        """Whether it may grant while a request waits: proof, or the person's own confirmation."""
        return self.may_lift or (self.origin == "report" and self.confirmed)

    def row(self, person=1):
        evidence = {"form": "footer"} if self.evidence else {}
        state, method = self.state, self.method or ("import" if self.origin == "import" else "single")
        if self.origin == "report":
            method = "double" if self.confirmed and self.state == "granted" else "vendor"
            evidence = {"reported_by": "webpower", **evidence}
            lifts = self.state == "granted" and consent.report_lifts(
                self.regrant,
                confirmed=self.confirmed,
                said_at=self.said_at,
                denial_acked_at=self.denial_acked_at,
            )
        else:
            lifts = self.state != "denied" and consent.lifts(self.origin, self.method, evidence)
            elsewhere = self.method == "double" and self.evidence
            if self.asks and self.state == "granted" and self.origin != "import" and not elsewhere:
                state = "pending"
        return LedgerRow(
            person=person,
            purpose="newsletter",
            state=state,
            method=method,
            source="shop",
            evidence=evidence,
            said_at=self.said_at,
            recorded_at=self.recorded_at,
            lifts=lifts,
        )


MOMENTS = [day * DAY for day in (1, 2, 3, 4, 6, 9)]  # few, so that they tie and fall on both sides of the expiry
moments = st.sampled_from(MOMENTS)
said_by_sources = st.builds(
    Word,
    origin=st.sampled_from(["event", "event", "profile", "import"]),
    state=st.sampled_from(["granted", "granted", "denied", "pending"]),
    said_at=moments,
    recorded_at=moments,
    evidence=st.booleans(),
    method=st.sampled_from([None, "single", "double", "import"]),
    asks=st.booleans(),
).map(lambda word: word if word.origin == "event" else word._replace(method=None, evidence=False))
reported = st.builds(
    Word,
    origin=st.just("report"),
    state=st.sampled_from(["granted", "granted", "denied"]),
    said_at=moments,
    recorded_at=moments,
    evidence=st.booleans(),
    regrant=st.sampled_from(["never", "confirmed", "reported"]),
    confirmed=st.booleans(),
    denial_acked_at=st.sampled_from([*MOMENTS, float("inf")]),
)
words = st.one_of(said_by_sources, reported)
OPT_OUT = Word(origin="event", state="denied", said_at=2 * DAY, recorded_at=2 * DAY)
stories = st.builds(lambda known, rest: [*known, *rest], st.sampled_from([[], [OPT_OUT]]), st.lists(words, max_size=8))


def rows_of(story, person=1):
    return [word.row(person) for word in story]


def denials(rows):
    return [row.said_at for row in rows if row.state == "denied"]


# (a) No upgrade by accident.


@many
@given(stories)
def test_a_denial_becomes_a_grant_only_by_a_later_word_that_may_lift_it(story):
    rows = rows_of(story)
    for known, word in enumerate(story):
        before, after = stand(rows[:known]), stand(rows[: known + 1])
        if effective(before) == "denied" and effective(after) == "granted":
            assert word.may_lift
            assert word.said_at > max(denials(rows[:known]))


@many
@given(stories)
def test_who_ever_said_no_is_granted_only_by_a_later_word_that_may_lift_it(story):
    rows = rows_of(story)
    if denials(rows) and effective(stand(rows)) == "granted":
        assert any(word.may_lift and word.said_at > max(denials(rows)) for word in story)


@many
@given(stories)
def test_a_request_is_answered_only_by_proof_or_by_the_person(story):
    rows = rows_of(story)
    for known, word in enumerate(story):
        before, after = stand(rows[:known]), stand(rows[: known + 1])
        if before is not None and before.state == "pending" and effective(after) == "granted":
            asked = [row for row in rows[:known] if row.state == "pending"]
            earlier = all(word.said_at < row.said_at for row in asked if row.recorded_at + EXPIRY > word.said_at)
            assert word.is_answer or earlier


@many
@given(stories, moments)
def test_a_denial_later_than_everything_denies(story, at):
    rows = rows_of(story)
    last = max([at, *(row.said_at for row in rows)])
    denial = Word(origin="profile", state="denied", said_at=last, recorded_at=last).row()
    after = stand([*rows, denial])
    assert (after.state, after.under) == ("denied", None)


@many
@given(stories)
def test_proof_later_than_everything_grants(story):
    rows = rows_of(story)
    last = 1 + max((row.said_at for row in rows), default=0.0)
    proof = Word(origin="event", state="granted", said_at=last, recorded_at=last, evidence=True).row()
    assert effective(stand([*rows, proof])) == "granted"


# (b) A function of the set.


@many
@given(stories.flatmap(lambda story: st.tuples(st.just(story), st.permutations(story), st.lists(st.integers(0, 8)))))
def test_neither_order_nor_repetition_plays_a_part(told):
    story, another_order, again = told
    repeated = [*another_order, *(another_order[each] for each in again if each < len(another_order))]
    assert stand(rows_of(story)) == stand(rows_of(repeated))


# (c) Two people who are one.


@many
@given(stories, stories)
def test_merging_two_people_grants_nothing_that_neither_had(one, other):
    one, other = rows_of(one, person=1), rows_of(other, person=2)
    if effective(stand(one + other)) == "granted":
        assert "granted" in {effective(stand(one)), effective(stand(other))}


@many
@given(stories, stories)
def test_a_denial_on_either_side_of_a_merge_stands_unless_a_later_word_lifts_it(one, other):
    both = rows_of(one) + rows_of(other)
    for side in (one, other):
        denied = denials(rows_of(side))
        if denied and effective(stand(both)) == "granted":
            assert any(word.may_lift and word.said_at > max(denied) for word in [*one, *other])
        if denied:
            assert stand(both) is not None


# (e) Pending counts for nothing.


@many
@given(stories)
def test_while_a_request_waits_nothing_is_granted(story):
    person = Person(id=1, email="ada@example.com", email_key="ada@example.com")
    standing = stand(rows_of(story))
    if standing is not None:
        person.consents["newsletter"] = standing
    if standing is not None and standing.state == "pending":
        assert not consent.granted(person, "newsletter")
        assert standing.under in {None, "denied"}


@many
@given(stories)
def test_a_request_takes_away_no_denial_and_gives_no_grant(story):
    rows = rows_of(story)
    without = [row for row in rows if row.state != "pending"]
    match effective(stand(rows)), effective(stand(without)):
        case "granted", unasked:
            assert unasked == "granted"
        case "denied", unasked:
            assert unasked == "denied"
        case None, unasked:
            assert unasked != "denied"


@many
@given(stories)
def test_a_request_is_open_only_while_its_standing_is_pending(story):
    rows = rows_of(story)
    standing = stand(rows)
    for now in (*MOMENTS, 20 * DAY):
        if consent.waiting(rows, now=now, pending_expiry=EXPIRY):
            assert standing.state == "pending"
            assert any(row.state == "pending" and row.recorded_at + EXPIRY > now for row in rows)


def test_the_stories_reach_every_standing():
    """What the properties above are about does happen in what they are shown."""
    proof = Word(origin="event", state="granted", said_at=DAY, recorded_at=DAY, evidence=True)
    no = Word(origin="event", state="denied", said_at=DAY, recorded_at=DAY)
    plain = Word(origin="profile", state="granted", said_at=DAY, recorded_at=DAY)
    seen = set()
    for story in itertools.product([no, plain], [proof, plain], [False, True], MOMENTS):
        first, second, asks, at = story
        standing = stand(rows_of([first._replace(asks=asks), second._replace(asks=asks, said_at=at, recorded_at=at)]))
        seen.add((standing.state, standing.under))
    assert seen == {("granted", None), ("denied", None), ("pending", None), ("pending", "denied")}
