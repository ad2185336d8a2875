"""The calls of a lane: no more at once than the connector allows, the most urgent first, and none for longer than it may take."""

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esplanade.config.model import BreakerConfig, Pace, Retry
from esplanade.delivery.breaker import Breaker
from esplanade.delivery.calls import GRACE_SWEEPS, Calls
from esplanade.delivery.desk import OPEN_CALL, Answer, Free, Work
from esplanade.delivery.health import Health
from esplanade.delivery.pace import Pacer
from esplanade.delivery.verdict import Done, Pause, RetryAt, Wait, Withdrawn
from esplanade.model import Outcome
from esplanade.records import Delivery, Urgency
from esplanade.testing.clock import FakeClock
from esplanade.values import Duration, Rate

OPT_OUT, TRIGGER, LIVE, BACKFILL = Urgency
TIMEOUT_S = 10.0
DONE = Done(outcome=Outcome())
CUT = RetryAt(at=0.0, error="OutcomeUnknown: cut", unknown=True)
LATE = RetryAt(at=0.0, error="late", unknown=True)


class Log:
    def __init__(self):
        self.lines = []

    def error(self, event, **words):
        self.lines.append((event, words))

    info = warning = error


class Desk:
    """Calls end when a test says so, and say what it wants; ``during`` is done within each."""

    lane = "crm"

    def __init__(self, may_wait, at_once):
        self.may_wait, self.at_once = may_wait, at_once
        self.begun, self.under_way, self.most = [], {}, 0
        self.during = None

    async def do(self, call):
        numbers = [work.delivery.id for work in call]
        self.begun.append(numbers)
        self.under_way[numbers[0]] = ends = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.under_way))
        try:
            if self.during is not None:
                await self.during(ends)
            verdict = await ends
        finally:
            del self.under_way[numbers[0]]
        return [Answer(verdict=verdict) for _ in call]

    def free(self, call):
        items = self.at_once - len(call)
        return Free(items, 1_000) if items > 0 else None

    def overdue(self, call):
        return [Answer(verdict=LATE) for _ in call]


class Setting:
    """Calls over a desk, with everything else real."""

    def __init__(self, *, concurrency=2, may_wait=False, at_once=1, failures=100, **pace):
        self.clock, self.log, self.ended = FakeClock(1_000.0), Log(), 0
        self._numbers, self._calls = 0, 0
        self.desk = Desk(may_wait, at_once)
        self.pacer = Pacer(Pace(**pace), self.clock)
        self.health = Health(
            Breaker(BreakerConfig(failures=failures, open=Duration(30))),
            lane="crm",
            retry=Retry(),
            rng=Random(0),
            log=self.log,
        )
        self.calls = Calls(
            self.desk,
            pacer=self.pacer,
            health=self.health,
            clock=self.clock,
            log=self.log,
            concurrency=concurrency,
            timeout_s=TIMEOUT_S,
            on_end=self._on_end,
        )

    def _on_end(self):
        self.ended += 1

    def works(self, *urgencies, keys=None, kind="profile", call=None):
        """A call of some works; the key of each is its number."""
        made = []
        self._calls += 1
        for urgency in urgencies:
            self._numbers += 1
            delivery = Delivery(id=self._numbers, lane="crm", kind=kind, urgency=urgency)
            key = self._numbers if keys is None else keys[len(made)]
            made.append(Work(delivery=delivery, key=key, job=None, call=self._calls if call is None else call))
        return made

    def room(self):
        return self.calls.room(self.clock.time())

    async def start(self, *calls):
        """Claim calls, each given as the urgencies of its works, and start those that may start."""
        await self.claim(*[self.works(*call) for call in calls])

    async def claim(self, *calls, more=False):
        self.calls.add([work for call in calls for work in call], more=more)
        await self.fill()

    async def fill(self):
        self.calls.fill(self.clock.time())
        await turns()

    async def end(self, number, verdict=DONE):
        self.desk.under_way[number].set_result(verdict)
        await turns()

    async def sweep(self, times=1):
        for _ in range(times):
            self.calls.sweep()
            await turns()

    def begun(self):
        return [number for call in self.desk.begun for number in call]

    def taken(self):
        """What has ended, as numbers and verdicts, for the lane to settle."""
        ended, self.calls.finished = self.calls.finished, []
        return [(one.work.delivery.id, one.answer.verdict) for one in ended]


async def turns():
    """Let every task go on as far as it can."""
    for _ in range(6):
        await asyncio.sleep(0)


# How many at once.


async def test_no_more_are_under_way_than_the_connector_allows_and_each_that_ends_lets_the_next_begin():
    lane = Setting(concurrency=2)
    await lane.start([LIVE], [LIVE], [LIVE], [LIVE])
    assert (lane.begun(), lane.calls.running, lane.calls.waiting) == ([1, 2], 2, 2)
    await lane.end(2)
    assert (lane.begun(), lane.calls.running, lane.calls.waiting) == ([1, 2, 3], 2, 1)
    await lane.end(1)
    await lane.end(3)
    await lane.end(4)
    assert (lane.desk.most, lane.calls.running, lane.calls.waiting, lane.ended) == (2, 0, 0, 4)
    assert lane.taken() == [(2, DONE), (1, DONE), (3, DONE), (4, DONE)]


async def test_the_lane_is_told_of_each_end():
    lane = Setting()
    await lane.start([LIVE, LIVE])
    await lane.end(1)
    assert (lane.ended, lane.taken()) == (1, [(1, DONE), (2, DONE)])


async def test_how_long_it_took_is_measured_from_the_moment_it_began_not_from_its_claim():
    lane = Setting(concurrency=1)
    await lane.start([LIVE], [LIVE])
    await lane.clock.advance(3)
    await lane.end(1)
    await lane.clock.advance(2)
    await lane.end(2)
    first, second = lane.calls.finished
    assert (first.began_at, first.took_s) == (1_000.0, 3.0)
    assert (second.began_at, second.took_s) == (1_003.0, 2.0)


async def test_who_waits_for_the_calls_about_somebody_goes_on_once_the_last_of_them_has_ended():
    lane = Setting(concurrency=3)
    await lane.claim(lane.works(LIVE, LIVE, keys=[7, 8]), lane.works(LIVE, keys=[9]), lane.works(LIVE, keys=[7]))
    nobody, one, two = (asyncio.create_task(lane.calls.ended(keys)) for keys in ({1}, {7, 70}, {7}))
    await turns()
    assert (nobody.done(), one.done()) == (True, False)
    two.cancel()
    await lane.end(1)
    await lane.end(3)
    assert not one.done()
    await lane.end(4)
    assert one.done()


# Who is next.


async def test_the_most_urgent_that_waits_begins_first_then_the_one_that_waits_longest():
    lane = Setting(concurrency=1)
    await lane.start([LIVE])
    await lane.start([BACKFILL], [LIVE], [TRIGGER], [LIVE], [OPT_OUT], [TRIGGER])
    for number in (1, 6, 4, 7, 3, 5, 2):
        await lane.end(number)
    assert lane.begun() == [1, 6, 4, 7, 3, 5, 2]


class TestRoom:
    def test_without_waiting_there_is_room_for_as_many_as_may_start(self):
        assert Setting(concurrency=3).room() == [3, 3, 3, 3]

    async def test_what_is_under_way_takes_its_place_whatever_its_urgency(self):
        lane = Setting(concurrency=3)
        await lane.start([BACKFILL], [LIVE])
        assert lane.room() == [1, 1, 1, 1]
        await lane.start([LIVE])
        assert lane.room() == [0, 0, 0, 0]

    async def test_where_work_may_wait_the_next_calls_are_made_ready(self):
        lane = Setting(concurrency=2, may_wait=True)
        assert lane.room() == [4, 4, 4, 4]
        await lane.start([LIVE], [LIVE])
        assert lane.room() == [2, 2, 2, 2]
        await lane.start([LIVE])
        assert lane.room() == [2, 2, 1, 1]

    async def test_there_is_always_room_for_the_more_urgent_beside_the_less_urgent_that_waits(self):
        lane = Setting(concurrency=2, may_wait=True)
        await lane.start([BACKFILL], [BACKFILL], [BACKFILL], [BACKFILL])
        assert lane.room() == [2, 2, 2, 0]
        await lane.start([TRIGGER])
        assert lane.room() == [2, 1, 1, 0]
        await lane.start([OPT_OUT], [OPT_OUT])
        assert lane.room() == [0, 0, 0, 0]

    async def test_at_a_pace_nothing_is_claimed_that_cannot_start_at_once(self):
        lane = Setting(concurrency=4, may_wait=True, rate=Rate(1), burst=2)
        assert lane.room() == [2, 2, 2, 2]
        await lane.start([LIVE], [LIVE])
        assert lane.room() == [0, 0, 0, 0]
        await lane.clock.advance(1)
        assert lane.room() == [1, 1, 1, 1]

    async def test_once_the_day_s_budget_is_spent_there_is_none(self):
        lane = Setting(concurrency=4, may_wait=True, daily=1)
        await lane.start([LIVE])
        await lane.end(1)  # it asked for nothing, which goes back
        assert lane.room() == [1, 1, 1, 1]

        async def request(_):
            await lane.pacer.acquire()

        lane.desk.during = request
        await lane.start([LIVE])
        await lane.end(2)
        assert lane.room() == [0, 0, 0, 0]

    async def test_of_a_vendor_that_may_be_ill_one_is_tried_and_nothing_made_ready(self):
        lane = Setting(concurrency=2, may_wait=True, failures=1)
        await lane.start([LIVE])
        await lane.end(1, CUT)
        assert lane.room() == [0, 0, 0, 0]
        await lane.clock.advance(30)
        assert lane.room() == [1, 1, 1, 1]
        await lane.start([LIVE], [LIVE])
        assert (lane.begun(), lane.room()) == ([1, 2], [0, 0, 0, 0])

    @pytest.mark.parametrize("verdict", [Wait(error="later", at=1_060.0), Pause(state="auth", error="401")])
    async def test_for_a_vendor_that_does_not_want_to_be_called_there_is_none(self, verdict):
        lane = Setting(concurrency=2, may_wait=True)
        await lane.start([LIVE])
        await lane.end(1, verdict)
        assert lane.room() == [0, 0, 0, 0]


# What stops the next ones.


@pytest.mark.parametrize("verdict", [Wait(error="later", at=1_060.0), Pause(state="auth", error="401")])
async def test_what_one_call_says_of_the_vendor_counts_before_the_next_begins(verdict):
    lane = Setting(concurrency=1)
    await lane.start([LIVE], [LIVE])
    await lane.end(1, verdict)
    await lane.fill()
    assert (lane.begun(), lane.calls.waiting) == ([1], 1)
    assert lane.taken() == [(1, verdict)]
    lane.health.paused = False
    await lane.clock.advance(60)
    await lane.fill()
    assert lane.begun() == [1, 2]


async def test_a_call_that_ends_begins_no_other_before_its_pace_allows():
    lane = Setting(concurrency=1, rate=Rate(1), burst=1)

    async def request(_):
        await lane.pacer.acquire()

    lane.desk.during = request
    await lane.start([LIVE], [LIVE])
    await lane.end(1)
    assert (lane.begun(), lane.calls.waiting) == ([1], 1)
    await lane.clock.advance(1)
    await lane.fill()
    assert lane.begun() == [1, 2]


# Taking back.


async def test_all_that_waits_can_be_taken_back_and_what_is_under_way_goes_on():
    lane = Setting(concurrency=1)
    await lane.start([LIVE])
    await lane.start([TRIGGER, TRIGGER], [BACKFILL])
    lane.calls.withdraw()
    assert lane.calls.waiting == 0
    assert lane.taken() == [(2, Withdrawn()), (3, Withdrawn()), (4, Withdrawn())]
    await lane.end(1)
    assert (lane.begun(), lane.taken()) == ([1], [(1, DONE)])


async def test_what_waits_for_some_keys_can_be_taken_back_out_of_the_calls_that_it_shares():
    lane = Setting(concurrency=1)
    await lane.start([LIVE])
    await lane.claim(
        lane.works(LIVE, LIVE, LIVE, keys=[71, 72, 73]),
        lane.works(LIVE, keys=[72]),
        lane.works(LIVE, keys=[74]),
        lane.works(BACKFILL, keys=[71]),
    )
    lane.calls.withdraw({71, 72, 99})
    assert lane.calls.waiting == 2
    assert lane.taken() == [(2, Withdrawn()), (3, Withdrawn()), (5, Withdrawn()), (7, Withdrawn())]
    await lane.end(1)
    await lane.end(4)
    assert lane.desk.begun == [[1], [4], [6]]


async def test_what_is_taken_back_gives_no_token_back_for_it_had_none():
    lane = Setting(concurrency=1, rate=Rate(1), burst=3)
    await lane.start([LIVE], [LIVE])
    assert lane.pacer.free() == 2
    lane.calls.withdraw()
    assert lane.pacer.free() == 2
    await lane.end(1)
    assert lane.pacer.free() == 3


# Calls that wait to be filled.


class TestACallThatHasRoom:
    async def test_it_waits_for_more_of_its_kind_and_starts_once_it_is_full(self):
        lane = Setting(at_once=3)
        await lane.claim(lane.works(LIVE), more=True)
        assert (lane.begun(), lane.calls.waiting) == ([], 1)
        assert lane.calls.open_calls == {("profile", False): Free(2, 1_000)}
        await lane.claim(lane.works(LIVE, call=OPEN_CALL), more=True)
        assert lane.calls.open_calls == {("profile", False): Free(1, 1_000)}
        await lane.claim(lane.works(LIVE, call=OPEN_CALL), more=True)
        assert (lane.desk.begun, lane.calls.waiting, lane.calls.open_calls) == ([[1, 2, 3]], 0, {})

    async def test_it_starts_as_it_is_once_there_is_no_more(self):
        lane = Setting(at_once=3)
        await lane.claim(lane.works(LIVE), more=True)
        await lane.claim(lane.works(LIVE, call=OPEN_CALL), more=False)
        assert lane.desk.begun == [[1, 2]]

    async def test_it_starts_as_it_is_when_nothing_more_of_its_kind_was_found(self):
        lane = Setting(at_once=3)
        await lane.claim(lane.works(LIVE), more=True)
        await lane.claim(lane.works(LIVE, kind="consent"), more=True)
        assert (lane.desk.begun, list(lane.calls.open_calls)) == ([[1]], [("consent", False)])
        await lane.claim(more=True)
        assert lane.desk.begun == [[1], [2]]

    async def test_of_several_that_were_begun_only_the_last_of_a_kind_waits(self):
        lane = Setting(at_once=2, concurrency=4)
        await lane.claim(lane.works(LIVE, LIVE), lane.works(LIVE, LIVE), lane.works(LIVE), more=True)
        assert (lane.desk.begun, lane.calls.waiting) == ([[1, 2], [3, 4]], 1)

    async def test_one_that_was_full_for_the_next_event_starts_and_the_next_one_waits(self):
        lane = Setting(at_once=3)
        await lane.claim(lane.works(LIVE), more=True)
        await lane.claim(lane.works(LIVE), more=True)  # in a call of its own: it was too heavy for the first one
        assert (lane.desk.begun, lane.calls.waiting) == ([[1]], 1)

    async def test_it_has_its_place_among_those_that_may_start(self):
        lane = Setting(at_once=3, concurrency=2)
        await lane.claim(lane.works(LIVE), more=True)
        assert lane.room() == [2, 2, 1, 1]
        await lane.claim(lane.works(BACKFILL, kind="consent"), lane.works(LIVE, call=OPEN_CALL), more=True)
        assert lane.room() == [2, 2, 1, 0]

    async def test_it_is_as_urgent_as_the_most_urgent_that_it_carries(self):
        lane = Setting(at_once=3, concurrency=1)
        await lane.claim(lane.works(LIVE))
        await lane.claim(lane.works(LIVE, LIVE, LIVE))
        await lane.claim(lane.works(BACKFILL, TRIGGER))
        await lane.end(1)
        assert lane.desk.begun == [[1], [5, 6]]

    async def test_it_is_taken_back_like_any_other_that_waits(self):
        lane = Setting(at_once=3)
        await lane.claim(lane.works(LIVE, LIVE, keys=[71, 72]), more=True)
        lane.calls.withdraw({71})
        assert lane.taken() == [(1, Withdrawn())]
        await lane.fill()
        assert lane.desk.begun == [[2]]
        await lane.claim(lane.works(LIVE, LIVE), more=True)
        lane.calls.withdraw()
        assert (lane.taken(), lane.calls.waiting, lane.calls.open_calls) == (
            [(3, Withdrawn()), (4, Withdrawn())], 0, {},
        )  # fmt: skip


# Time.


async def test_a_call_that_takes_too_long_is_cancelled_and_the_next_begins():
    lane = Setting(concurrency=1)
    await lane.start([LIVE, LIVE], [LIVE])
    await lane.clock.advance(TIMEOUT_S)
    await lane.sweep()
    assert lane.begun() == [1, 2]
    await lane.clock.advance(0.25)
    await lane.sweep()
    assert lane.taken() == [(1, LATE), (2, LATE)]
    assert lane.begun() == [1, 2, 3]
    await lane.sweep()
    await lane.end(3)
    assert (lane.taken(), lane.log.lines) == ([(3, DONE)], [])


def stubborn(swallowed):
    """Goes on when it is cancelled."""

    async def during(ends):
        while not ends.done():
            try:
                await asyncio.shield(ends)
            except asyncio.CancelledError:
                swallowed.append(True)

    return during


async def test_one_that_does_not_even_end_then_gives_its_place_away_and_what_it_says_later_counts_for_nothing():
    lane, swallowed = Setting(concurrency=1), []
    lane.desk.during = stubborn(swallowed)
    await lane.start([LIVE])
    lane.desk.during = None
    await lane.start([LIVE])
    await lane.clock.advance(TIMEOUT_S + 1)
    await lane.sweep(GRACE_SWEEPS)
    assert (len(swallowed), lane.begun(), lane.log.lines) == (GRACE_SWEEPS, [1], [])
    await lane.sweep()
    assert lane.log.lines == [("hook_does_not_end", {"lane": "crm", "delivery": 1})]
    assert (lane.taken(), lane.calls.running) == ([(1, LATE)], 0)
    await lane.fill()
    assert lane.begun() == [1, 2]
    await lane.end(1)
    assert (lane.taken(), lane.calls.running) == ([], 1)
    await lane.end(2)
    assert (lane.taken(), lane.ended) == ([(2, DONE)], 2)


async def test_one_that_ends_well_although_it_was_cancelled_is_believed():
    lane = Setting()
    lane.desk.during = stubborn([])
    await lane.start([LIVE])
    await lane.clock.advance(TIMEOUT_S + 1)
    await lane.sweep()
    await lane.end(1)
    assert lane.taken() == [(1, DONE)]


@pytest.mark.parametrize("swallows", [True, False])
async def test_that_one_call_was_cancelled_is_nothing_of_the_next_one(swallows):
    lane, cancelling = Setting(concurrency=1), []

    async def ask(_):
        cancelling.append(asyncio.current_task().cancelling())

    lane.desk.during = stubborn([]) if swallows else None
    await lane.start([LIVE], [LIVE])
    lane.desk.during = ask
    await lane.clock.advance(TIMEOUT_S + 1)
    await lane.sweep()
    if swallows:
        await lane.end(1)
    assert (lane.begun(), cancelling) == ([1, 2], [0])


async def test_what_took_too_long_counts_as_a_vendor_that_does_not_answer():
    lane = Setting(failures=2)
    await lane.start([LIVE], [LIVE])
    await lane.clock.advance(TIMEOUT_S + 1)
    await lane.sweep()
    assert lane.health.state(lane.clock.time()) == "open"


async def test_when_the_hub_stops_calls_are_cancelled_and_tell_nothing():
    lane = Setting(concurrency=2)
    await lane.start([LIVE], [LIVE])
    await lane.calls.abandon()
    assert (lane.desk.under_way, lane.taken(), lane.ended) == ({}, [], 0)


async def test_without_a_call_there_is_nothing_to_abandon():
    lane = Setting()
    await lane.calls.abandon()
    assert lane.taken() == []


# Reservations.


@pytest.mark.parametrize("how", ["ends", "is cancelled", "is abandoned"])
async def test_a_call_that_asked_for_nothing_gives_its_reservation_back_however_it_ends(how):
    lane = Setting(rate=Rate(0.001), burst=2)
    await lane.start([LIVE])
    assert lane.pacer.free() == 1
    if how == "ends":
        await lane.end(1)
    elif how == "is cancelled":
        await lane.clock.advance(TIMEOUT_S + 1)
        await lane.sweep()
    else:
        await lane.calls.abandon()
    assert lane.pacer.free() == 2


async def test_what_a_call_asked_for_is_spent():
    lane = Setting(rate=Rate(0.001), burst=3)

    async def two_requests(_):
        await lane.pacer.acquire()
        await lane.pacer.acquire()

    lane.desk.during = two_requests
    await lane.start([LIVE])
    await lane.end(1)
    assert lane.pacer.free() == 1


# A law.

events = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.integers(0, 3), st.integers(1, 3)),
        st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from([DONE, DONE, CUT, Wait(error="later")])),
        st.tuples(st.just("pass"), st.integers(0, 15)),
        st.tuples(st.just("withdraw"), st.none() | st.sets(st.integers(1, 40), max_size=5)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(story=events, concurrency=st.integers(1, 3), may_wait=st.booleans(), paced=st.booleans())
async def test_whatever_happens_all_that_was_claimed_ends_once_and_never_too_many_are_under_way(
    story, concurrency, may_wait, paced
):
    pace = {"rate": Rate(1), "burst": 2} if paced else {}
    lane = Setting(concurrency=concurrency, may_wait=may_wait, failures=3, **pace)
    claimed, ended = [], []
    for event in story:
        match event:
            case ("claim", urgency, size) if lane.room()[urgency] > 0:
                work = lane.works(*[urgency] * size)
                claimed += [one.delivery.id for one in work]
                lane.calls.add(work, more=False)
            case ("end", which, verdict) if lane.desk.under_way:
                await lane.end(sorted(lane.desk.under_way)[which % len(lane.desk.under_way)], verdict)
            case ("pass", seconds):
                await lane.clock.advance(seconds)
                await lane.sweep()
            case ("withdraw", keys):
                lane.calls.withdraw(keys)
        await lane.fill()
        ended += lane.taken()
        assert lane.calls.running == len(lane.desk.under_way) <= concurrency
        assert lane.calls.waiting <= 2 * concurrency * len(Urgency)
        for urgency in range(len(Urgency) - 1):
            assert lane.room()[urgency] >= lane.room()[urgency + 1] >= 0
    lane.calls.withdraw()
    while lane.desk.under_way:
        await lane.end(min(lane.desk.under_way))
    ended += lane.taken()
    assert sorted(number for number, _ in ended) == sorted(claimed)
    called = set(lane.begun())
    assert len(called) == len(lane.begun())
    assert {number for number, verdict in ended if verdict == Withdrawn()} == set(claimed) - called
