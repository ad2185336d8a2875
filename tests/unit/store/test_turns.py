"""The fold's turn: at once, but for a burst of requests, which goes first for a while."""

import pytest

from esplanade.store.sqlite.turns import CROWD, LULL_S, PATIENCE_S, REST_S, Turns

NOW = 1_000.0


@pytest.fixture
def turns():
    return Turns()


def crowd(turns, now, *, urgent=False):
    turns.committed(CROWD, now, urgent=urgent)


def burst(turns, until, since=NOW):
    """Crowds one right after the other; returns when the last of them came."""
    now = since
    while now < until:
        crowd(turns, now)
        now += LULL_S / 2
    return now


def test_without_a_crowd_it_is_its_turn_at_once(turns):
    assert turns.wait_s(NOW) == 0.0
    turns.committed(CROWD - 1, NOW, urgent=False)
    assert turns.wait_s(NOW) == 0.0


def test_behind_a_crowd_it_waits_for_the_next_one_and_no_longer(turns):
    crowd(turns, NOW)
    assert turns.wait_s(NOW) == pytest.approx(LULL_S)
    assert turns.wait_s(NOW + LULL_S) == 0.0


def test_one_crowd_after_the_other_goes_first_until_its_patience_is_at_an_end(turns):
    burst(turns, NOW + PATIENCE_S - LULL_S)
    assert turns.wait_s(NOW + PATIENCE_S - LULL_S) > 0.0
    crowd(turns, NOW + PATIENCE_S)
    assert turns.wait_s(NOW + PATIENCE_S) == 0.0


def test_out_of_patience_it_takes_its_share_until_it_has_caught_up(turns):
    last = burst(turns, NOW + 5 * PATIENCE_S)
    crowd(turns, last)
    assert turns.wait_s(last) == 0.0
    turns.caught_up()
    crowd(turns, last)
    assert turns.wait_s(last) == pytest.approx(LULL_S)


def test_what_is_urgent_ends_its_patience(turns):
    crowd(turns, NOW)
    turns.committed(1, NOW, urgent=True)
    assert turns.wait_s(NOW) == 0.0
    crowd(turns, NOW)
    assert turns.wait_s(NOW) == 0.0


def test_after_a_failure_it_rests(turns):
    turns.rest(NOW)
    assert turns.wait_s(NOW) == pytest.approx(REST_S)
    assert turns.wait_s(NOW + REST_S) == 0.0
