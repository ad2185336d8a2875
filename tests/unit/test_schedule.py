"""The alarm clock: when a job is due, and that each moment is rung for once, whoever was away."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from esplanade.errors import TemporaryError
from esplanade.schedule import Job, Schedule, Timing
from esplanade.store.sqlite.store import SqliteStore
from esplanade.testing.clock import FakeClock

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def moment(*parts, zone=AMSTERDAM, fold=0):
    return datetime(*parts, tzinfo=zone, fold=fold).timestamp()


def local(at):
    return datetime.fromtimestamp(at, AMSTERDAM).strftime("%m-%d %H:%M")


def slots(timing, after, count):
    found = []
    for _ in range(count):
        after = timing.next_after(after)
        found.append(after)
    return found


class TestWhenAJobIsDue:
    def test_a_cron_expression_means_the_clocks_of_its_time_zone(self):
        timing = Timing("0 3 * * *", "Europe/Amsterdam")
        assert timing.next_after(moment(2026, 1, 15, 2, 59)) == moment(2026, 1, 15, 3)
        assert timing.next_after(moment(2026, 7, 15, 2, 59)) == datetime(2026, 7, 15, 1, tzinfo=UTC).timestamp()

    def test_the_next_slot_is_later_than_the_moment_itself(self):
        assert Timing("0 3 * * *", "UTC").next_after(10_800) == 10_800 + 86_400
        assert Timing("15m", "UTC").next_after(900) == 1_800

    def test_no_day_is_left_out_when_the_clock_jumps_forward_over_the_slot(self):
        timing = Timing("30 2 * * *", "Europe/Amsterdam")
        found = [local(at) for at in slots(timing, moment(2026, 3, 28), 3)]
        assert found == ["03-28 02:30", "03-29 03:30", "03-30 02:30"]

    def test_slots_go_on_growing_when_the_clock_is_put_back(self):
        timing = Timing("*/30 * * * *", "Europe/Amsterdam")
        found = slots(timing, moment(2026, 10, 25, 1, 59), 5)
        assert [later - earlier for earlier, later in pairwise(found)] == [1800] * 4
        assert [local(at) for at in found] == [
            "10-25 02:00",
            "10-25 02:30",
            "10-25 02:00",
            "10-25 02:30",
            "10-25 03:00",
        ]

    @pytest.mark.parametrize(
        ("weekdays", "rings_on"),
        [
            ("0", "sun"),
            ("7", "sun"),
            ("sun", "sun"),
            ("1-5", "mon tue wed thu fri"),
            ("mon-fri", "mon tue wed thu fri"),
            ("MON-FRI", "mon tue wed thu fri"),
            ("0-6", "sun mon tue wed thu fri sat"),
            ("0-2", "sun mon tue"),
            ("5-7", "sun fri sat"),
            ("fri-sun", "sun fri sat"),
            ("6,0", "sun sat"),
            ("*/2", "sun tue thu sat"),
            ("1-5/2", "mon wed fri"),
            ("*", "sun mon tue wed thu fri sat"),
        ],
    )
    def test_weekdays_are_those_of_cron_which_counts_from_sunday(self, weekdays, rings_on):
        timing = Timing(f"0 3 * * {weekdays}", "UTC")
        week = datetime(2026, 1, 18, tzinfo=UTC)  # a Sunday
        rung = [at for at in slots(timing, week.timestamp() - 1, 7) if at < (week + timedelta(days=7)).timestamp()]
        days = {DAYS[int(datetime.fromtimestamp(at, UTC).strftime("%w"))] for at in rung}
        assert days == set(rings_on.split())

    @pytest.mark.parametrize("expression", ["0 3 * * 8", "0 3 * *", "61 3 * * *", "nonsense"])
    def test_what_is_no_expression_is_refused_at_once(self, expression):
        with pytest.raises(ValueError, match=r".+"):
            Timing(expression, "UTC")

    def test_a_date_that_never_comes_is_never_due(self):
        timing = Timing("0 0 30 2 *", "UTC")
        assert timing.next_after(0) == float("inf")
        assert timing.last_before(0, 1e9) is None

    def test_a_duration_counts_from_the_epoch_so_that_a_restart_shifts_nothing(self):
        timing = Timing("15m", "Europe/Amsterdam")
        assert slots(timing, 1_000, 3) == [1_800, 2_700, 3_600]
        assert Timing("2592000.000000s", "UTC").next_after(0) == 2_592_000

    def test_the_last_slot_before_now_is_found_and_none_when_there_was_none(self):
        hourly = Timing("0 * * * *", "UTC")
        assert hourly.last_before(0, 3_599) is None
        assert hourly.last_before(0, 3_600) == 3_600
        assert hourly.last_before(0, 86_399) == 23 * 3_600
        quarter = Timing("15m", "UTC")
        assert quarter.last_before(900, 1_799) is None
        assert quarter.last_before(900, 86_399) == 85_500

    def test_after_months_of_absence_some_missed_slot_is_found_in_bounded_time(self):
        found = Timing("* * * * *", "UTC").last_before(0, 90 * 86_400)
        assert found is not None
        assert 0 < found <= 90 * 86_400

    @settings(max_examples=60, deadline=None)
    @given(
        expression=st.sampled_from(["30 2 * * *", "*/7 * * * *", "0 0 * * 0", "15 2,3 * 3,10 *", "0 */5 1 * *"]),
        at=st.floats(moment(2025, 1, 1), moment(2030, 1, 1)),
        gap=st.floats(0, 400_000),
    )
    def test_slots_only_grow_and_the_last_one_lies_between(self, expression, at, gap):
        timing = Timing(expression, "Europe/Amsterdam")
        following = timing.next_after(at)
        assert following > at
        last = timing.last_before(at, at + gap)
        assert (last is None) == (following > at + gap)
        assert last is None or following <= last <= at + gap


@pytest.fixture
async def store(tmp_path):
    store = await SqliteStore.open(tmp_path / "hub.db")
    yield store
    await store.close()


class Bell:
    """A job's action that says when it was run."""

    def __init__(self, problem=None):
        self.rung = 0
        self.heard = asyncio.Event()
        self.problem = problem

    async def __call__(self):
        self.rung += 1
        self.heard.set()
        if self.problem is not None:
            raise self.problem


def schedule_on(store, clock):
    return Schedule(store, clock, structlog.get_logger())


def job(bell, expression="1h", name="pull"):
    return Job(connector="crm", name=name, timing=Timing(expression, "UTC"), action=bell)


class TestTheClockOfTheHub:
    async def test_two_hubs_on_one_store_run_a_slot_once(self, store):
        bell, clock = Bell(), FakeClock()
        one, other = schedule_on(store, clock), schedule_on(store, clock)
        claimed = await asyncio.gather(one.tick(job(bell), 3600.0), other.tick(job(bell), 3600.0))
        assert sorted(claimed) == [False, True]
        assert bell.rung == 1
        assert await other.tick(job(bell), 7200.0)
        assert not await one.tick(job(bell), 3600.0)

    async def test_a_job_that_was_never_seen_begins_with_its_next_slot(self, store):
        bell, clock = Bell(), FakeClock(10_000.0)
        schedule = schedule_on(store, clock)
        await schedule.start([job(bell)])
        assert schedule.next_slot("crm", "pull") == 10_800.0
        schedule.stop()
        assert bell.rung == 0

    async def test_slots_missed_while_nobody_was_there_are_caught_up_once(self, store):
        bell, clock = Bell(), FakeClock(10_000.0)
        before = schedule_on(store, clock)
        await before.start([job(bell)])
        before.stop()
        clock.set(10_000.0 + 50 * 3600)
        after = schedule_on(store, clock)
        await after.start([job(bell)])
        await bell.heard.wait()
        await asyncio.sleep(0)
        assert bell.rung == 1
        assert await store.read(lambda reader: reader.last_tick("crm", "pull")) == 187_200.0
        assert after.next_slot("crm", "pull") == 190_800.0
        after.stop()

    async def test_nothing_missed_is_nothing_to_catch_up(self, store):
        bell, clock = Bell(), FakeClock(10_000.0)
        before = schedule_on(store, clock)
        await before.start([job(bell)])
        before.stop()
        clock.set(10_700.0)
        after = schedule_on(store, clock)
        await after.start([job(bell)])
        assert after.next_slot("crm", "pull") == 10_800.0
        after.stop()
        assert bell.rung == 0

    @pytest.mark.parametrize("problem", [TemporaryError("down"), KeyError("page"), RuntimeError()])
    async def test_a_job_that_raises_rings_again(self, store, problem):
        bell, clock = Bell(problem), FakeClock(10_000.0)
        await store.run(lambda unit: unit.claim_tick("crm", "pull", 1.0))
        schedule = schedule_on(store, clock)
        await schedule.start([job(bell)])
        await bell.heard.wait()
        await asyncio.sleep(0)
        assert schedule.next_slot("crm", "pull") == 10_800.0
        assert await schedule.tick(job(bell), 10_800.0)
        assert bell.rung == 2
        schedule.stop()

    async def test_a_date_that_never_comes_lets_the_others_start(self, store):
        bell, clock = Bell(), FakeClock(10_000.0)
        schedule = schedule_on(store, clock)
        await schedule.start([job(bell, "0 0 30 2 *", "never"), job(bell)])
        assert schedule.next_slot("crm", "never") is None
        assert schedule.next_slot("crm", "pull") == 10_800.0
        schedule.stop()

    async def test_jobs_that_are_replaced_are_forgotten(self, store):
        bell, clock = Bell(), FakeClock(10_000.0)
        schedule = schedule_on(store, clock)
        await schedule.start([job(bell), job(bell, name="pending_check")])
        await schedule.replace([job(bell, "2h")])
        assert schedule.next_slot("crm", "pull") == 14_400.0
        assert schedule.next_slot("crm", "pending_check") is None
        schedule.stop()

    async def test_a_job_that_is_replaced_while_it_runs_takes_the_new_timing(self, store):
        clock, begun, go = FakeClock(10_000.0), asyncio.Event(), asyncio.Event()
        done = asyncio.Event()

        async def long_pull():
            begun.set()
            await go.wait()
            done.set()

        await store.run(lambda unit: unit.claim_tick("crm", "pull", 1.0))
        await store.run(lambda unit: unit.claim_tick("crm", "gone", 1.0))
        schedule = schedule_on(store, clock)
        await schedule.start([job(long_pull), job(long_pull, name="gone")])
        await begun.wait()
        await schedule.replace([job(Bell(), "6h")])
        go.set()
        await done.wait()
        await asyncio.sleep(0)
        assert schedule.next_slot("crm", "pull") == 21_600.0
        assert schedule.next_slot("crm", "gone") is None
        schedule.stop()
