"""When a delivery is tried again, and when it is given up."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from esplanade.config.model import Retry
from esplanade.delivery import backoff
from esplanade.values import Duration

RETRY = Retry(window=Duration(3600), min_attempts=3, base=Duration(2), cap=Duration(60))
attempts = st.integers(0, 10_000)
seeds = st.integers()


class Highest(Random):
    """Chance at its least favourable: the longest wait that may come out."""

    def uniform(self, a, b):
        return b


@given(attempts, seeds)
def test_a_wait_is_never_negative_and_never_above_the_cap(tried, seed):
    assert 0 <= backoff.delay(tried, RETRY, Random(seed)) <= RETRY.cap


def test_the_longest_wait_doubles_with_every_attempt_up_to_the_cap():
    waits = [backoff.delay(tried, RETRY, Highest()) for tried in range(1, 9)]
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_the_jitter_is_full_so_that_many_deliveries_do_not_come_back_together():
    rng = Random(7)
    waits = [backoff.delay(4, RETRY, rng) for _ in range(2_000)]
    assert min(waits) < 0.5
    assert max(waits) > 15.5
    assert 7.5 < sum(waits) / len(waits) < 8.5


@given(attempts, st.floats(allow_nan=False))
def test_what_a_vendor_asks_for_counts_up_to_a_day_and_never_below_nothing(tried, wish):
    assert backoff.delay(tried, RETRY, Random(1), asked_for=wish) == min(max(wish, 0.0), 86_400.0)


@given(attempts, st.floats(0, 10_000))
def test_giving_up_takes_both_the_window_and_the_attempts(tried, age):
    spent = backoff.is_spent(tried, 1_000.0, 1_000.0 + age, RETRY)
    assert spent == (tried >= 3 and 1_000.0 + age - 1_000.0 > 3600)
