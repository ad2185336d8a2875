"""What each verdict leaves behind: of the work, of what the vendor is known to hold, and of what people are told."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from esplanade.config.model import ConnectorConfig, Hub
from esplanade.delivery.desk import Answer, Finished
from esplanade.delivery.dispatch import Dispatch
from esplanade.delivery.outbound import OutboundDesk
from esplanade.delivery.verdict import Done, Park, Pause, Reject, RetryAt, Wait, Withdrawn
from esplanade.ingest.world import World
from esplanade.model import ConsentTarget, Exchange, Outcome, TriggerTarget
from esplanade.records import Attempt, Clocked, ConnectorState, Delivery, Standing
from esplanade.store.sqlite.store import SqliteStore
from esplanade.sync.plan import TriggerBody
from esplanade.testing.clock import FakeClock
from tests import desks

NOW, LATER = 1_000.0, 1_005.0
OPT_OUT, TRIGGER, LIVE = range(3)
ADA = 1
DELIVERED = Done(outcome=Outcome(remote_id="9001"))
EXCHANGE = Exchange(method="POST", path="/c", status=503, took_s=0.5, sent="{}", answered="")


class Bench:
    """One person's work, claimed at NOW and settled at LATER, in a real store."""

    def __init__(self, store):
        self.store = store
        connector = ConnectorConfig(
            name="crm",
            plugin="crm",
            receives=["profile", "consent", "trigger"],
            fields={"city": "City"},
            consents={"newsletter": ConsentTarget()},
            triggers={"order": TriggerTarget()},
        )
        world = World(hub=Hub(), connectors={"crm": connector})
        dispatch = Dispatch(
            dict.fromkeys(("on_profile", "on_consent", "on_trigger"), self._never),
            None,
            was_sent=None,
            batch_items=1,
            batch_bytes=1,
            triggers_at_once=1,
        )
        self.desk = OutboundDesk(
            connector, dispatch, world=lambda: world, clock=FakeClock(NOW), repeat="never", rng=Random(0)
        )

    async def _never(self, event, ctx):
        raise AssertionError("nobody is called here")

    async def do(self, work):
        return await self.store.run(work)

    async def queue(self, *kinds, state="granted", urgency=LIVE):
        """Queue work for Ada, of whom this is all that is known."""

        def work(unit):
            ada = unit.person(ADA) or unit.add_person("ada@example.com", "ada@example.com", None, NOW)
            ada.fields = {"city": Clocked("Delft", NOW)}
            ada.consents = {"newsletter": Standing(state=state, at=NOW, source="shop")}
            unit.save_person(ada)
            return [self._put(unit, kind, urgency) for kind in kinds]

        return await self.do(work)

    def _put(self, unit, kind, urgency):
        known = {"id": 0, "lane": "crm", "kind": kind, "person": ADA, "due_at": NOW, "first_at": NOW}
        match kind:
            case "trigger":
                body = msgspec.msgpack.encode(TriggerBody(trigger_id="t-1", at=NOW))
                return unit.enqueue(Delivery(**known, urgency=TRIGGER, subject="order", payload=body))
            case "consent":
                return unit.enqueue_state(Delivery(**known, urgency=urgency, subject="newsletter"))
            case _:
                return unit.enqueue_state(Delivery(**known, urgency=urgency))

    async def claim(self):
        (work,) = await self.do(lambda unit: desks.claim(self.desk, unit, 9, NOW))
        return work

    async def ends(self, work, verdict, exchange=None):
        """Settle a call that took two seconds, alone: what follows is left to the next visit."""
        one = Finished(work=work, answer=Answer(verdict=verdict, exchange=exchange), began_at=NOW + 3, took_s=2.0)
        return await self.do(lambda unit: self.desk._settlement.settle(unit, one, LATER))

    async def comes_to(self, kind, verdict, **more):
        """One delivery, from its claim to its end; returns what is left of it."""
        (number,) = await self.queue(kind)
        assert await self.ends(await self.claim(), verdict, **more) == ADA
        return await self.row(number)

    async def row(self, number):
        return await self.store.read(lambda reader: reader.delivery(number))

    async def rows(self):
        return await self.do(lambda unit: unit.waiting("crm", ADA))

    async def remote(self):
        return await self.store.read(lambda reader: reader.remote(ADA, "crm"))

    async def told(self):
        notes = await self.store.read(lambda reader: reader.timeline(ADA))
        return [(note.what, note.kind, note.reason, note.detail) for note in notes]

    async def attempts(self, number):
        return await self.store.read(lambda reader: reader.attempts(number))

    async def state(self):
        return await self.store.read(lambda reader: reader.connector_state("crm"))


@pytest.fixture
async def bench(tmp_path):
    store = await SqliteStore.open(tmp_path / "hub.db", what="tests")
    yield Bench(store)
    await store.close()


def left(row):
    return row.state, row.attempts, row.due_at, row.reason, row.last_error


class TestDone:
    async def test_the_vendor_holds_what_was_sent_and_the_work_is_over(self, bench):
        row = await bench.comes_to("profile", DELIVERED)
        assert left(row) == ("done", 1, LATER, None, None)
        assert (row.outcome, row.took_s) == ("delivered", 2.0)
        remote = await bench.remote()
        assert (remote.remote_id, remote.email, remote.fields) == ("9001", "ada@example.com", {"City": "Delft"})
        assert (remote.unknown, remote.acked_at) == (False, LATER)
        assert await bench.told() == [("sent", "profile", None, "")]

    async def test_of_a_success_no_more_is_kept_than_that_it_was_one(self, bench):
        row = await bench.comes_to("profile", DELIVERED)
        assert await bench.attempts(row.id) == [Attempt(delivery=row.id, at=NOW + 3, took_s=2.0, outcome="delivered")]
        assert (await bench.state()).last_error is None

    async def test_what_the_vendor_had_already_is_told_with_its_reason(self, bench):
        row = await bench.comes_to("profile", Done(outcome=Outcome(status="unchanged", reason="suppressed")))
        assert (row.state, row.outcome) == ("done", "unchanged")
        assert await bench.told() == [("not-sent", "profile", "suppressed", "")]
        assert (await bench.remote()).fields == {}

    async def test_a_consent_is_held_as_it_was_sent(self, bench):
        await bench.comes_to("consent", DELIVERED)
        assert (await bench.remote()).consents == {"newsletter": "granted"}

    async def test_a_trigger_makes_the_person_known_and_nothing_more(self, bench):
        await bench.comes_to("trigger", DELIVERED)
        remote = await bench.remote()
        assert (remote.email, remote.remote_id, remote.fields, remote.consents) == ("ada@example.com", "9001", {}, {})

    async def test_what_changed_while_it_was_sent_is_due_again_and_has_all_its_attempts(self, bench):
        (number,) = await bench.queue("profile")
        work = await bench.claim()
        await bench.queue("profile")
        await bench.ends(work, DELIVERED)
        row = await bench.row(number)
        assert left(row) == ("pending", 0, LATER, None, None)
        assert (row.rev, row.force) == (1, False)
        assert [what for what, *_ in await bench.told()] == ["sent"]


class TestRetryAt:
    VERDICT = RetryAt(at=NOW + 60, error="TemporaryError: down")

    async def test_it_waits_until_then_and_says_why(self, bench):
        row = await bench.comes_to("profile", self.VERDICT, exchange=EXCHANGE)
        assert left(row) == ("pending", 1, NOW + 60, None, "TemporaryError: down")
        assert await bench.told() == [("failed", "profile", "retried", "TemporaryError: down")]
        assert await bench.attempts(row.id) == [
            Attempt(delivery=row.id, at=NOW + 3, took_s=2.0, outcome="retried", error="TemporaryError: down", exchange=EXCHANGE)
        ]  # fmt: skip
        state = await bench.state()
        assert (state.state, state.last_error, state.last_error_at) == ("ok", "TemporaryError: down", LATER)
        assert (await bench.remote()).unknown

    async def test_the_person_s_later_work_waits_for_it(self, bench):
        await bench.queue("profile", "consent", "trigger")
        await bench.ends(await bench.claim(), self.VERDICT)
        assert [row.due_at for row in await bench.rows()] == [NOW + 60] * 3

    @pytest.mark.parametrize("kind", ["profile", "consent"])
    async def test_where_the_vendor_may_have_acted_nothing_is_known_of_it_any_more(self, bench, kind):
        row = await bench.comes_to(kind, RetryAt(at=NOW + 60, error="OutcomeUnknown: cut", unknown=True))
        assert (row.unsure, (await bench.remote()).unknown) == (True, True)

    async def test_a_consent_in_doubt_leaves_the_fields_of_a_known_contact_known(self, bench):
        await bench.comes_to("profile", Done(outcome=Outcome(remote_id="9")))
        await bench.comes_to("consent", RetryAt(at=NOW + 60, error="OutcomeUnknown: cut", unknown=True))
        remote = await bench.remote()
        assert (remote.unknown, remote.consents) == (False, {})

    @pytest.mark.parametrize(
        "verdict", [RetryAt(at=NOW + 60, error="cut", unknown=True), Wait(error="429", at=NOW + 60)]
    )
    async def test_a_denial_of_which_nobody_knows_any_more_is_remembered_as_one_that_may_be(self, bench, verdict):
        await bench.comes_to("profile", DELIVERED)
        remote = await bench.remote()
        remote.consents["newsletter"] = "denied"
        await bench.do(lambda unit: unit.save_remote(remote))
        row = await bench.comes_to("consent", verdict)
        remote = await bench.remote()
        assert (remote.consents, remote.perhaps_denied) == ({}, ["newsletter"])
        await bench.do(lambda unit: unit.save_delivery(msgspec.structs.replace(row, due_at=NOW)))
        await bench.ends(await bench.claim(), DELIVERED)
        assert (await bench.remote()).perhaps_denied == []

    async def test_a_trigger_in_doubt_says_nothing_of_the_person_s_state(self, bench):
        row = await bench.comes_to("trigger", RetryAt(at=NOW + 60, error="OutcomeUnknown: cut", unknown=True))
        assert (row.unsure, (await bench.remote()).unknown) == (True, False)

    async def test_once_in_doubt_it_stays_so(self, bench):
        (number,) = await bench.queue("trigger")
        await bench.ends(await bench.claim(), RetryAt(at=NOW, error="OutcomeUnknown: cut", unknown=True))
        await bench.ends(await bench.claim(), RetryAt(at=NOW, error="TemporaryError: down"))
        row = await bench.row(number)
        assert (row.unsure, row.attempts) == (True, 2)

    async def test_an_opt_out_that_came_meanwhile_does_not_wait(self, bench):
        (number,) = await bench.queue("consent")
        work = await bench.claim()
        await bench.queue("consent", state="denied", urgency=OPT_OUT)
        await bench.ends(work, self.VERDICT)
        row = await bench.row(number)
        assert (row.urgency, row.due_at) == (OPT_OUT, LATER)


class TestWait:
    @pytest.mark.parametrize(("at", "due_at"), [(NOW + 60, NOW + 60), (None, LATER)])
    async def test_nothing_was_tried(self, bench, at, due_at):
        row = await bench.comes_to("profile", Wait(at=at, error="RateLimited: slow down"))
        assert left(row) == ("pending", 0, due_at, None, "RateLimited: slow down")
        assert await bench.told() == [("failed", "profile", "quota", "RateLimited: slow down")]
        assert [each.outcome for each in await bench.attempts(row.id)] == ["waits"]

    async def test_however_often_it_waits_no_attempt_is_used_up(self, bench):
        (number,) = await bench.queue("profile")
        await bench.ends(await bench.claim(), RetryAt(at=NOW, error="TemporaryError: down"))
        for _ in range(5):
            await bench.ends(await bench.claim(), Wait(at=NOW, error="RateLimited: slow down"))
        assert (await bench.row(number)).attempts == 1


class TestRejectAndPark:
    @pytest.mark.parametrize(
        ("verdict", "state"),
        [
            (Reject(reason="rejected", error="PermanentError: no"), "dead"),
            (Reject(reason="gave-up", error="TemporaryError: down"), "dead"),
            (Reject(reason="egress-refused", error="EgressRefused: private"), "dead"),
            (Park(reason="outcome-unknown", error="OutcomeUnknown: cut"), "parked"),
        ],
        ids=lambda each: getattr(each, "reason", None),
    )
    @pytest.mark.parametrize("kind", ["profile", "consent", "trigger"])
    async def test_it_is_kept_with_the_vendor_s_words(self, bench, verdict, state, kind):
        row = await bench.comes_to(kind, verdict)
        assert left(row) == (state, 1, NOW, verdict.reason, verdict.error)
        assert await bench.told() == [("failed", kind, verdict.reason, verdict.error)]
        assert [each.outcome for each in await bench.attempts(row.id)] == [verdict.word]

    async def test_a_value_that_was_refused_is_not_sent_again_by_itself(self, bench):
        await bench.comes_to("profile", Reject(reason="rejected", error="PermanentError: no such city"))
        assert (await bench.remote()).rejected == {"City": "Delft"}

    async def test_one_that_was_given_up_is(self, bench):
        await bench.comes_to("profile", Reject(reason="gave-up", error="TemporaryError: down"))
        assert (await bench.remote()).rejected == {}

    @pytest.mark.parametrize("kind", ["profile", "consent"])
    async def test_what_came_meanwhile_is_work_of_its_own(self, bench, kind):
        (number,) = await bench.queue(kind)
        work = await bench.claim()
        await bench.queue(kind)
        await bench.ends(work, Reject(reason="rejected", error="PermanentError: no"))
        assert (await bench.row(number)).state == "dead"
        (again,) = await bench.rows()
        assert again.id != number
        assert left(again)[:4] == ("pending", 0, LATER, None)

    async def test_work_that_waited_for_it_goes_at_once(self, bench):
        await bench.queue("profile", "consent")
        await bench.ends(await bench.claim(), RetryAt(at=NOW + 60, error="TemporaryError: down"))
        (work,) = await bench.do(lambda unit: desks.claim(bench.desk, unit, 9, NOW + 60))
        await bench.ends(work, Reject(reason="rejected", error="PermanentError: no"))
        (consent,) = await bench.rows()
        assert (consent.kind, consent.due_at) == ("consent", LATER)


class TestPause:
    @pytest.mark.parametrize("state", ["auth", "gone"])
    async def test_the_connector_stops_and_nothing_was_tried(self, bench, state):
        row = await bench.comes_to("profile", Pause(state=state, error="AuthenticationError: 401"))
        assert left(row) == ("pending", 0, LATER, None, "AuthenticationError: 401")
        assert await bench.told() == [("failed", "profile", "paused", "AuthenticationError: 401")]
        found = await bench.state()
        assert (found.state, found.reason, found.since) == (state, "AuthenticationError: 401", LATER)
        assert found.last_error == "AuthenticationError: 401"

    async def test_why_an_operator_has_paused_it_stays(self, bench):
        held = ConnectorState(name="crm", state="paused", reason="a move", since=NOW)
        await bench.do(lambda unit: unit.save_connector_state(held))
        await bench.comes_to("profile", Pause(state="auth", error="AuthenticationError: 401"))
        found = await bench.state()
        assert (found.state, found.reason, found.since) == ("paused", "a move", NOW)


class TestWithdrawn:
    async def test_it_is_as_it_was_before_its_claim_and_nobody_is_told(self, bench):
        (number,) = await bench.queue("trigger")
        before = await bench.row(number)
        await bench.ends(await bench.claim(), Withdrawn())
        assert await bench.row(number) == before
        assert (await bench.told(), await bench.attempts(number)) == ([], [])
        assert (await bench.state()).last_error is None

    async def test_what_came_meanwhile_is_kept(self, bench):
        (number,) = await bench.queue("consent")
        work = await bench.claim()
        await bench.queue("consent", state="denied", urgency=OPT_OUT)
        await bench.ends(work, Withdrawn())
        row = await bench.row(number)
        assert (row.state, row.attempts, row.rev, row.urgency) == ("pending", 0, 1, OPT_OUT)


@pytest.mark.parametrize("verdict", [DELIVERED, RetryAt(at=NOW, error="x"), Withdrawn()], ids=lambda each: each.word)
async def test_what_is_in_hand_no_more_is_nobody_s(bench, verdict):
    (number,) = await bench.queue("profile")
    work = await bench.claim()
    await bench.ends(work, DELIVERED)
    before = (await bench.row(number), await bench.remote(), await bench.told())
    assert await bench.ends(work, verdict) is None
    assert (await bench.row(number), await bench.remote(), await bench.told()) == before


async def test_what_is_set_aside_says_so_and_holds_back_nobody(bench):
    (number, _) = await bench.queue("profile", "consent")
    await bench.do(lambda unit: unit.hold_back("crm", ADA, NOW + 60, number))

    def set_aside(unit):
        bench.desk._settlement.set_aside(unit, unit.delivery(number), "a bug", LATER)

    await bench.do(set_aside)
    assert left(await bench.row(number)) == ("dead", 0, NOW, "not-planned", "a bug")
    assert await bench.told() == [("failed", "profile", "not-planned", "a bug")]
    (consent,) = await bench.rows()
    assert consent.due_at == LATER
