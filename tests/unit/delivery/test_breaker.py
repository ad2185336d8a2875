"""The breaker: closed, open, half-open, and one probe between them."""

import pytest

from esplanade.config.model import BreakerConfig
from esplanade.delivery.breaker import Breaker
from esplanade.values import Duration


@pytest.fixture
def breaker():
    return Breaker(BreakerConfig(failures=3, open=Duration(30)))


@pytest.fixture
def tripped(breaker):
    for _ in range(3):
        breaker.failed(100)
    return breaker


def test_closed_it_lets_everything_through_for_which_there_is_room(breaker):
    assert breaker.state(0) == "closed"
    assert breaker.allows(0, 7) == 7
    assert breaker.reopens_at() is None


def test_it_opens_only_after_so_many_failures_in_a_row(breaker):
    breaker.failed(1)
    breaker.failed(2)
    breaker.succeeded()
    breaker.failed(3)
    breaker.failed(4)
    assert breaker.state(4) == "closed"
    breaker.failed(5)
    assert breaker.state(5) == "open"


def test_open_it_lets_nothing_through_until_its_time_has_passed(tripped):
    assert tripped.reopens_at() == 130
    assert tripped.state(129.9) == "open"
    assert tripped.allows(129.9, 4) == 0
    assert tripped.state(130) == "half-open"


def test_half_open_it_lets_one_probe_through_and_no_more(tripped):
    assert tripped.allows(130, 4) == 1
    assert tripped.allows(130, 0) == 0
    tripped.started(130)
    assert tripped.allows(131, 4) == 0


def test_a_probe_that_succeeds_closes_it(tripped):
    tripped.started(130)
    tripped.succeeded()
    assert tripped.state(131) == "closed"
    assert tripped.allows(131, 4) == 4


def test_a_probe_that_fails_opens_it_again_for_the_whole_time(tripped):
    tripped.started(130)
    tripped.failed(135)
    assert tripped.state(164.9) == "open"
    assert tripped.allows(165, 4) == 1


def test_after_closing_the_failures_are_counted_anew(tripped):
    tripped.started(130)
    tripped.succeeded()
    tripped.failed(140)
    tripped.failed(141)
    assert tripped.state(141) == "closed"


def test_a_call_from_before_it_opened_that_fails_late_keeps_it_open(tripped):
    tripped.failed(120)
    assert tripped.state(140) == "open"
    assert tripped.state(150) == "half-open"


def test_a_call_from_before_it_opened_that_succeeds_late_closes_it(tripped):
    tripped.succeeded()
    assert tripped.state(110) == "closed"


def test_calls_while_closed_are_no_probes(breaker):
    breaker.started(1)
    assert breaker.allows(1, 4) == 4
