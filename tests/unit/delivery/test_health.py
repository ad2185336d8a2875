"""What calls tell of their vendor: ill, well again, in need of patience, or not to be called at all."""

from random import Random

import pytest

from esplanade.config.model import BreakerConfig, Retry
from esplanade.delivery.breaker import Breaker
from esplanade.delivery.health import Health
from esplanade.delivery.verdict import Done, Park, Pause, Reject, RetryAt, Wait, Withdrawn
from esplanade.model import Outcome
from esplanade.values import Duration

NOW = 1_000.0
OPEN_S = 30.0

DONE = Done(outcome=Outcome())
DOWN = RetryAt(at=NOW + 1, error="TemporaryError: down")
CUT = Park(reason="outcome-unknown", error="OutcomeUnknown: cut")
GAVE_UP = Reject(reason="gave-up", error="TemporaryError: still down")
REFUSED = Reject(reason="rejected", error="PermanentError: no such list")
HELD_BACK = Reject(reason="egress-refused", error="EgressRefused: private")
PATIENCE = Wait(error="RateLimited: slow down")
AUTH = Pause(state="auth", error="AuthenticationError: 401")
AILING = [DOWN, CUT, GAVE_UP]
ANSWERING = [DONE, REFUSED, HELD_BACK]


class Highest(Random):
    """Chance at its least favourable: the longest wait that may come out."""

    def uniform(self, a, b):
        return b


class Lowest(Random):
    def uniform(self, a, b):
        return a


class Log:
    def __init__(self):
        self.lines = []

    def info(self, event, **words):
        self.lines.append((event, words))

    warning = info


@pytest.fixture
def log():
    return Log()


def health_of(log, rng):
    return Health(
        Breaker(BreakerConfig(failures=3, open=Duration(OPEN_S))),
        lane="crm",
        retry=Retry(base=Duration(2), cap=Duration(60)),
        rng=rng,
        log=log,
    )


@pytest.fixture
def health(log):
    return health_of(log, Highest())


def names(verdict):
    return f"{type(verdict).__name__} {getattr(verdict, 'reason', '')}".strip()


def falls_ill(health, now=NOW):
    for _ in range(3):
        health.feel([DOWN], now)


# The breaker.


@pytest.mark.parametrize("verdict", AILING, ids=names)
def test_calls_in_a_row_that_the_vendor_did_not_answer_open_the_breaker(health, verdict):
    health.feel([verdict], NOW)
    health.feel([verdict], NOW)
    assert (health.allows(NOW, 4), health.is_sound(NOW)) == (4, True)
    health.feel([verdict], NOW)
    assert (health.allows(NOW, 4), health.is_sound(NOW)) == (0, False)
    assert health.state(NOW) == "open"
    assert health.changes_at() == NOW + OPEN_S


@pytest.mark.parametrize("verdict", [*ANSWERING, PATIENCE, AUTH], ids=names)
def test_an_answer_in_between_begins_the_count_anew(health, verdict):
    for answer in (DOWN, DOWN, verdict, DOWN, DOWN):
        health.feel([answer], NOW)
    assert health.state(NOW) == "closed"


def test_a_call_counts_once_however_many_works_it_carried(health):
    health.feel([DOWN] * 100, NOW)
    health.feel([DOWN, CUT, GAVE_UP] * 100, NOW)
    assert health.state(NOW) == "closed"
    health.feel([DOWN] * 100, NOW)
    assert health.state(NOW) == "open"


@pytest.mark.parametrize("verdict", ANSWERING, ids=names)
def test_a_call_of_which_one_work_was_answered_was_answered(health, verdict):
    for _ in range(5):
        health.feel([DOWN, verdict, DOWN], NOW)
    assert health.state(NOW) == "closed"


def test_what_was_not_called_after_all_tells_nothing(health):
    falls_ill(health)
    health.feel([Withdrawn()], NOW)
    health.feel([], NOW)
    assert health.state(NOW) == "open"
    assert health.changes_at() == NOW + OPEN_S


def test_that_there_was_nothing_to_do_tells_nothing_for_perhaps_nobody_was_called(health, log):
    falls_ill(health)
    later = NOW + OPEN_S
    health.started(later)
    assert health.allows(later, 4) == 0
    health.feel([Done(outcome=Outcome(status="unchanged", reason="no-consent"))], later)
    assert (health.allows(later, 4), health.is_sound(later)) == (1, False)
    health.feel([Done(outcome=Outcome(status="unchanged")), DONE], later)
    assert (health.allows(later, 4), health.is_sound(later)) == (4, True)
    assert [event for event, _ in log.lines] == ["vendor_unavailable", "vendor_available"]


def test_half_open_one_probe_is_let_through_and_what_is_to_come_is_still_not_sound(health):
    falls_ill(health)
    later = NOW + OPEN_S
    assert (health.allows(later, 4), health.is_sound(later)) == (1, False)
    health.started(later)
    assert health.allows(later, 4) == 0
    health.feel([DONE], later)
    assert (health.allows(later, 4), health.is_sound(later)) == (4, True)


# The pause.


def test_credentials_that_are_refused_stop_everything_at_once(health):
    health.feel([AUTH], NOW)
    assert health.paused
    assert (health.allows(NOW + 1e6, 4), health.is_sound(NOW + 1e6)) == (0, False)
    health.paused = False
    assert (health.allows(NOW, 4), health.is_sound(NOW)) == (4, True)


def test_a_paused_vendor_is_left_alone_though_a_call_from_before_is_answered(health):
    health.feel([AUTH], NOW)
    health.feel([DONE], NOW)
    assert health.allows(NOW, 4) == 0


# Patience.


def test_the_time_that_a_vendor_names_is_kept(health):
    health.feel([Wait(error="later", at=NOW + 60)], NOW)
    assert (health.allows(NOW + 59, 4), health.is_sound(NOW + 59)) == (0, False)
    assert health.changes_at() == NOW + 60
    assert (health.allows(NOW + 60, 4), health.is_sound(NOW + 60)) == (4, True)


def test_of_several_times_the_latest_is_kept(health):
    for seconds in (30, 90, 60):
        health.feel([Wait(error="later", at=NOW + seconds)], NOW)
    assert health.changes_at() == NOW + 90


def test_where_it_names_none_it_is_left_alone_longer_each_time_in_a_row(health):
    now, waits = NOW, []
    for _ in range(8):
        health.feel([PATIENCE], now)
        waits.append(health.changes_at() - now)
        now = health.changes_at()
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_even_by_chance_the_wait_is_never_next_to_nothing(log):
    health = health_of(log, Lowest())
    health.feel([PATIENCE], NOW)
    assert health.changes_at() == NOW + 1


def test_calls_that_were_refused_together_lengthen_the_wait_once(health):
    for _ in range(4):
        health.feel([PATIENCE], NOW)
    assert health.changes_at() == NOW + 2
    health.feel([PATIENCE], NOW + 2)
    assert health.changes_at() == NOW + 6


def test_after_a_delivery_the_next_wait_is_a_short_one_again(health):
    health.feel([PATIENCE], NOW)
    health.feel([PATIENCE], NOW + 2)
    health.feel([DONE], NOW + 6)
    health.feel([PATIENCE], NOW + 6)
    assert health.changes_at() == NOW + 8


@pytest.mark.parametrize("beside", [*ANSWERING, *AILING], ids=names)
@pytest.mark.parametrize("first", [True, False], ids=["said first", "said last"])
def test_what_a_vendor_asks_for_counts_whatever_it_says_of_other_works_of_the_call(health, beside, first):
    wait = Wait(error="later", at=NOW + 60)
    health.feel([wait, beside] if first else [beside, wait], NOW)
    assert health.allows(NOW + 59, 4) == 0
    assert health.state(NOW) == "closed"


@pytest.mark.parametrize("beside", [*ANSWERING, *AILING, PATIENCE], ids=names)
@pytest.mark.parametrize("first", [True, False], ids=["said first", "said last"])
def test_refused_credentials_count_whatever_the_vendor_says_of_other_works_of_the_call(health, beside, first):
    health.feel([AUTH, beside] if first else [beside, AUTH], NOW)
    assert health.paused


# The log.


def test_that_it_falls_ill_and_is_well_again_is_told_once_each(health, log):
    falls_ill(health)
    for probe in range(1, 5):
        health.started(NOW + probe * OPEN_S)
        health.feel([CUT], NOW + probe * OPEN_S)
    assert log.lines == [("vendor_unavailable", {"lane": "crm", "error": "TemporaryError: down"})]
    for _ in range(5):
        health.feel([DONE], NOW + 5 * OPEN_S)
    assert log.lines[1:] == [("vendor_available", {"lane": "crm"})]
    falls_ill(health, NOW + 6 * OPEN_S)
    assert [event for event, _ in log.lines[2:]] == ["vendor_unavailable"]


def test_failures_that_open_no_breaker_are_not_told(health, log):
    for verdict in (DOWN, CUT, DONE, GAVE_UP, DOWN, REFUSED):
        health.feel([verdict], NOW)
    assert log.lines == []


def test_neither_patience_nor_a_pause_is_an_illness(health, log):
    for verdict in (PATIENCE, AUTH, PATIENCE, HELD_BACK):
        health.feel([verdict], NOW)
    assert log.lines == []


def test_of_a_batch_the_first_ailment_is_told(health, log):
    for _ in range(3):
        health.feel([Withdrawn(), CUT, DOWN], NOW)
    assert log.lines == [("vendor_unavailable", {"lane": "crm", "error": "OutcomeUnknown: cut"})]
