"""The guard: a share of those who are there, rounded up, and never fewer than ten."""

from hypothesis import given
from hypothesis import strategies as st

from esplanade.records import AudienceRun
from esplanade.sync.guard import RUN_S, admit, limit


def test_the_share_is_rounded_up_and_never_binds_below_ten():
    assert [limit(people, 0.02) for people in (0, 500, 501, 550, 551, 10_000)] == [10, 10, 11, 11, 12, 200]


@given(st.integers(0, 5_000), st.floats(0, 1), st.lists(st.floats(0, 5_000), max_size=60))
def test_no_hour_that_begins_with_a_removal_admits_more_than_the_share(members, share, waits):
    run, now, admitted = AudienceRun(members=members), 1_000.0, list[float]()
    began = float("-inf")
    for wait in waits:
        now += wait
        if now >= began + RUN_S:
            began, admitted = now, []
        if admit(run, now, share):
            admitted.append(now)
        assert len(admitted) <= limit(members, share)


def test_a_clock_that_was_set_back_begins_a_new_run():
    run = AudienceRun(members=10)
    assert all(admit(run, 10_000.0, 0.0) for _ in range(10))
    assert not admit(run, 10_001.0, 0.0)
    assert admit(run, 5_000.0, 0.0)
