"""The consent law through the real fold: any interleaving of what sources say, vendors report and people confirm."""

from __future__ import annotations

import json
import os
from functools import partial

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.ingest.test_fold.conftest import Asks, House, connector

from esplanade.config.model import Hub
from esplanade.ingest.entries import fold_entry
from esplanade.ingest.shapes import ReportIn
from esplanade.model import ConsentTarget, Outcome
from esplanade.records import Entry
from esplanade.store.sqlite.connection import open_writer
from esplanade.store.sqlite.unit import SqliteUnit
from esplanade.sync import consent, mapping
from esplanade.testing.clock import FakeClock
from tests import desks

DAY = 86_400.0
EXPIRY = 4 * DAY
PURPOSES = ("newsletter", "service")
EXAMPLES = 1_000 if os.environ.get("ESPLANADE_PROFILE") == "long" else 150

effective = consent.effective
stand = partial(consent.stand, pending_expiry=EXPIRY)
many = settings(
    max_examples=EXAMPLES,
    deadline=None,
    # each example rolls its transaction back
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class SynchronousHouse(House):
    """The house of the fold's tests, folding within one open transaction instead of on the writer's thread."""

    def __init__(self, unit, regrants):
        self.unit = unit
        asks = {"newsletter": Asks(regrant=regrants[0]), "service": ConsentTarget(regrant=regrants[0])}
        others = {purpose: ConsentTarget(regrant=regrants[1]) for purpose in PURPOSES}
        both = [connector("webpower", consents=asks), connector("sparkloop", consents=others)]
        super().__init__(None, FakeClock(), Hub(pending_expiry=EXPIRY), both)
        self.said = 0

    def does(self, step, email):
        """Do one step of a story, for one person."""
        kind, *words = step
        getattr(self, f"_{kind}")(email, *words)

    def _consent(self, email, purpose, state, method, evidence, skew):
        body = {"email": email, "purpose": purpose, "state": state, "at": self.clock.time() + skew}
        body |= {"method": method} if method else {}
        self._sends("consent", body | ({"evidence": {"form": "footer"}} if evidence else {}))

    def _profile(self, email, purpose, state, imported, skew):
        body = {"email": email, "consents": {purpose: state}, "at": self.clock.time() + skew}
        self._sends("profile", body, imported=imported)

    def _report(self, email, vendor, purpose, held, confirmed, skew):
        at = None if skew is None else self.clock.time() + skew
        body = ReportIn(
            email=email,
            consents={purpose: held},
            confirmed=confirmed,
            at=at,
            read_at=self.clock.time(),
            pulled=skew is None,
        )
        self.said += 1
        entry = Entry(
            kind="report",
            origin=vendor,
            id=f"report-{self.said}",
            at=self.clock.time(),
            body=msgspec.msgpack.encode(body),
        )
        fold_entry(self.unit, self.world, entry, {})

    def _delivers(self, email, vendor):
        desk, now = self.desk(vendor, Outcome()), self.clock.time()
        while works := desks.claim(desk, self.unit, 10, now):
            done = [_at_once(desks.call(desk, work, now)) for work in works]
            desks.settle(desk, self.unit, done, now)

    def _passes(self, email, seconds):
        self.clock.set(self.clock.time() + seconds)

    def _sends(self, kind, body, imported=False):
        admission = self.intake.admit(
            "shop", kind, [json.dumps(body).encode()], may=("profile", "consent"), imported=imported
        )
        assert not admission.rejected
        for entry in admission.entries:
            fold_entry(self.unit, self.world, entry, {})

    def held(self, email):
        person = self.unit.person_by_email(email)
        return dict(person.consents) if person else {}

    def rows(self, email, purpose):
        person = self.unit.person_by_email(email)
        return self.unit.ledger(person.id, purpose) if person else []

    def base(self, vendor, email, purpose):
        person = self.unit.person_by_email(email)
        remote = self.unit.remote(person.id, vendor) if person else None
        return remote.consents.get(purpose) if remote else None


def _at_once(coroutine):
    """What a coroutine returns that waits for nothing."""
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


purposes = st.sampled_from(["newsletter", "newsletter", "service"])
skews = st.sampled_from([0.0, 0.0, -1.0, -DAY, -3 * DAY, 60.0, 2 * DAY])
vendors = st.sampled_from(["webpower", "sparkloop"])
states = st.sampled_from(["granted", "granted", "denied"])
methods = st.sampled_from([None, "single", "double", "import"])
held = st.sampled_from(["granted", "granted", "granted", "denied", "absent", "pending"])
steps = st.one_of(
    st.tuples(st.just("consent"), purposes, states, methods, st.booleans(), skews),
    st.tuples(st.just("profile"), purposes, states, st.booleans(), skews),
    st.tuples(st.just("report"), vendors, purposes, held, st.booleans(), st.one_of(st.none(), skews)),
    st.tuples(st.just("delivers"), vendors),
    st.tuples(st.just("passes"), st.sampled_from([0.0, 1.0, 3_600.0, DAY, EXPIRY])),
)
TOLD = [("delivers", "webpower"), ("delivers", "sparkloop"), ("passes", DAY)]
ASKED = [("consent", "newsletter", "granted", None, True, 0.0), *TOLD]
DENIED = [*[("consent", purpose, "denied", None, False, 0.0) for purpose in PURPOSES], *TOLD]
stories = st.builds(
    lambda known, rest: [*known, *rest],
    st.sampled_from([[], ASKED, DENIED, [*DENIED, *ASKED]]),  # what matters is rare from a clean start
    st.lists(steps, min_size=3, max_size=12),
)
regrants = st.tuples(*[st.sampled_from(["confirmed", "reported", "never"])] * 2)


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    opened = open_writer(tmp_path_factory.mktemp("consent") / "esplanade.db")
    yield opened
    opened.close()


@pytest.fixture
def opened(db):
    """``opened(regrants)`` gives a house that has seen nothing yet."""

    def open_house(regrants):
        if db.in_transaction:
            db.execute("ROLLBACK")
        db.execute("BEGIN")
        return SynchronousHouse(SqliteUnit(db), regrants)

    yield open_house
    if db.in_transaction:
        db.execute("ROLLBACK")


def may_lift(house, step, purpose, base):
    """Whether a step is one of those that may bring a person back, in the words of docs/explanation/consent.md."""
    match step:
        case ("consent", said, "granted", method, True, _):
            return said == purpose and method != "import"
        case ("report", vendor, said, "granted", confirmed, _) if said == purpose:
            worth = house.world.connectors[vendor].consents[purpose].regrant
            answered = base == "pending" and vendor == "webpower"
            return {
                "never": False,
                "confirmed": confirmed or answered,
                "reported": confirmed or answered or base == "denied",
            }[worth]
    return False


@many
@given(story=stories, regrants=regrants)
def test_nothing_turns_a_denial_into_a_grant_but_what_may(opened, story, regrants):
    house, email = opened(regrants), "ada@example.com"
    for step in story:
        before = house.held(email)
        vendor = step[1] if step[0] == "report" else None
        bases = {purpose: house.base(vendor, email, purpose) for purpose in PURPOSES}
        house.does(step, email)
        for purpose, standing in house.held(email).items():
            if effective(before.get(purpose)) == "denied" and effective(standing) == "granted":
                assert may_lift(house, step, purpose, bases[purpose])
                denials = [row.said_at for row in house.rows(email, purpose) if row.state == "denied"]
                assert standing.at > max(denials)


@many
@given(story=stories, regrants=regrants, shuffled=st.randoms(use_true_random=False))
def test_what_is_held_is_what_the_ledger_says_in_any_order_and_was_so_at_every_moment(
    opened, story, regrants, shuffled
):
    house, email = opened(regrants), "ada@example.com"
    held = {purpose: [] for purpose in PURPOSES}
    for step in story:
        known = {purpose: len(house.rows(email, purpose)) for purpose in PURPOSES}
        house.does(step, email)
        for purpose, standing in house.held(email).items():
            if len(house.rows(email, purpose)) > known[purpose]:
                held[purpose].append(standing)
    for purpose in PURPOSES:
        rows = house.rows(email, purpose)
        assert [stand(rows[: number + 1]) for number in range(len(rows))] == held[purpose]
        shuffled.shuffle(rows)
        assert stand(rows) == house.held(email).get(purpose)


@many
@given(story=stories, regrants=st.tuples(*[st.sampled_from(["confirmed", "never"])] * 2))
def test_purposes_never_influence_each_other(opened, story, regrants):
    """But for one thing: a vendor's clockless word is old once the vendor has acknowledged anything about the person."""
    story = [step for step in story if step[0] != "report" or step[-1] is not None]
    house = opened(regrants)
    for step in story:
        house.does(step, "ada@example.com")
    both = house.held("ada@example.com")
    for purpose in PURPOSES:
        alone = opened(regrants)
        for step in story:
            if not {*PURPOSES} - {purpose} & {*step}:
                alone.does(step, "ada@example.com")
        assert _words(alone.held("ada@example.com").get(purpose)) == _words(both.get(purpose))


def _words(standing):
    """A standing but for the number of the report that it comes from."""
    if standing is None:
        return None
    return msgspec.structs.replace(standing, evidence={**standing.evidence, "event": None})


@many
@given(story=stories, regrants=regrants)
def test_while_a_request_waits_nobody_is_told_of_a_grant(opened, story, regrants):
    house, email = opened(regrants), "ada@example.com"
    for step in story:
        house.does(step, email)
        person = house.unit.person_by_email(email)
        for purpose, standing in house.held(email).items():
            if standing.state == "pending":
                assert not consent.granted(person, purpose)
                for each in house.world.connectors.values():
                    assert mapping.desired_consent(person, each, purpose) != "granted"


@many
@given(story=stories, regrants=regrants)
def test_a_request_is_answered_only_by_proof_or_by_the_person_while_it_is_open(opened, story, regrants):
    house, email = opened(regrants), "ada@example.com"
    for step in story:
        before = {purpose: (house.rows(email, purpose), house.held(email).get(purpose)) for purpose in PURPOSES}
        house.does(step, email)
        for purpose, (rows, standing) in before.items():
            now = house.clock.time()
            waits = consent.waiting(rows, now=now, pending_expiry=EXPIRY)
            if standing is None or standing.under or not waits:
                continue
            if effective(house.held(email)[purpose]) == "granted":
                (answer,) = house.rows(email, purpose)[len(rows) :]
                open_ones = [row for row in rows if row.state == "pending" and now < row.recorded_at + EXPIRY]
                first = min(row.said_at for row in open_ones)
                assert answer.lifts or answer.method == "double" or answer.said_at < first
