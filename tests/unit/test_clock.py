"""The machine's clock as the hub follows it: set back it slows down, set forward it goes along."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.clock import SystemClock

HOUR, DAY = 3_600.0, 86_400.0
START = 1_768_471_200.0


class Machine:
    """A machine whose clock can be set."""

    def __init__(self):
        self.wall, self.uptime = START, 50.0
        self.clock = SystemClock(lambda: self.wall, lambda: self.uptime)

    def run(self, seconds):
        self.wall += seconds
        self.uptime += seconds
        return self.clock.time()

    def set_by(self, seconds):
        self.wall += seconds
        return self.clock.time()


@pytest.fixture
def machine():
    machine = Machine()
    assert machine.clock.time() == START
    return machine


def test_time_is_the_machines(machine):
    assert [machine.run(1.0), machine.run(DAY)] == [START + 1, START + 1 + DAY]


def test_set_forward_it_goes_along_at_once(machine):
    assert machine.set_by(DAY) == START + DAY


def test_set_back_it_goes_on_at_half_speed_until_the_machine_has_caught_up(machine):
    assert machine.set_by(-HOUR) == START
    assert machine.run(10.0) == START + 5
    assert machine.run(HOUR) == START + 5 + HOUR / 2
    assert machine.run(HOUR) == machine.wall
    assert machine.run(1.0) == machine.wall


def test_monotonic_time_knows_nothing_of_it(machine):
    machine.set_by(-HOUR)
    machine.run(2.0)
    assert machine.clock.monotonic() == 52.0


@given(st.lists(st.tuples(st.floats(0, DAY), st.floats(-DAY, DAY)), max_size=30))
def test_however_it_is_set_time_goes_on_by_half_of_what_passes_at_least(steps):
    machine = Machine()
    before = machine.clock.time()
    for passed, set_by in steps:
        machine.run(passed)
        now = machine.set_by(set_by)
        assert now >= before + passed / 2 - 1e-6
        assert now >= machine.wall
        before = now
