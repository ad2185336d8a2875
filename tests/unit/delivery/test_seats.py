"""Which work shares a call: as many as the plugin takes, no heavier than it takes, of one kind, and opt-outs by themselves."""

from collections import defaultdict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.delivery.desk import NONE_OPEN, OPEN_CALL, Free
from esplanade.delivery.dispatch import Dispatch
from esplanade.delivery.seats import Seats
from esplanade.model import KINDS
from esplanade.records import Delivery, Urgency

OPT_OUT, TRIGGER, LIVE, BACKFILL = Urgency
SMALL = "x" * 8
SIZE = len(msgspec.json.encode(SMALL))


async def never_called(_events, _ctx):
    raise AssertionError


def seats(
    room,
    *,
    batch_items=3,
    batch_bytes=1_000,
    triggers_at_once=3,
    batch=KINDS,
    single=(),
    open_calls=NONE_OPEN,
    was_sent=None,
):
    hooks = [f"on_{kind}_batch" for kind in batch] + [f"on_{kind}" for kind in single]
    dispatch = Dispatch(
        dict.fromkeys(hooks, never_called),
        None,
        was_sent=was_sent,
        batch_items=batch_items,
        batch_bytes=batch_bytes,
        triggers_at_once=triggers_at_once,
    )
    return Seats(dispatch, [room] * len(Urgency) if isinstance(room, int) else room, open_calls)


def work(kind="profile", urgency=LIVE):
    return Delivery(id=1, lane="crm", kind=kind, urgency=urgency)


def take(of, *works, event=SMALL):
    """The numbers of the calls of some work, one after the other, as the desk takes them."""
    return [number(of.take(each, event)) if of.any_for(each) else None for each in works]


def number(seat):
    return None if seat is None else seat.call


def test_a_call_is_filled_before_the_next_one_is_begun():
    assert take(seats(3), *[work()] * 7) == [1, 1, 1, 2, 2, 2, 3]


def test_there_are_no_more_calls_than_may_start():
    assert take(seats(2), *[work()] * 8) == [1, 1, 1, 2, 2, 2, None, None]
    assert take(seats(0), work()) == [None]


def test_a_plugin_without_batches_has_a_call_for_each():
    of = seats(2, batch=(), single=KINDS)
    assert take(of, work(), work("consent"), work("trigger")) == [1, 2, None]


def test_a_call_carries_one_kind():
    of = seats(9)
    assert take(of, work(), work("consent"), work(), work("trigger"), work("consent")) == [1, 2, 1, 3, 2]


def test_a_kind_without_batches_goes_beside_one_with():
    of = seats(3, batch=["profile"], single=["consent"])
    assert take(of, work(), work("consent"), work("consent"), work(), work("consent")) == [1, 2, 3, 1, None]


def test_of_triggers_that_must_never_be_repeated_fewer_share_a_call():
    of = seats(9, batch_items=5, triggers_at_once=2)
    assert take(of, *[work("trigger", TRIGGER)] * 5) == [1, 1, 2, 2, 3]


def test_an_opt_out_shares_a_call_with_nothing_else():
    of = seats(9)
    grant, opt_out = work("consent"), work("consent", OPT_OUT)
    assert take(of, opt_out, grant, opt_out, grant) == [1, 2, 1, 2]


def test_urgencies_may_share_a_call_but_for_opt_outs():
    assert take(seats(9), work(urgency=TRIGGER), work(urgency=LIVE), work(urgency=BACKFILL)) == [1, 1, 1]


def test_a_call_is_no_heavier_than_the_plugin_takes():
    of = seats(9, batch_bytes=2 * SIZE, batch_items=100)
    assert take(of, *[work()] * 5) == [1, 1, 2, 2, 3]
    assert take(seats(9, batch_bytes=2 * SIZE - 1, batch_items=100), *[work()] * 3) == [1, 2, 3]


def test_an_event_that_is_too_heavy_by_itself_still_goes_and_goes_alone():
    of = seats(9, batch_bytes=100)
    heavy = "x" * 200
    assert [number(of.take(work(), event)) for event in (SMALL, heavy, SMALL, SMALL)] == [1, 2, 3, 3]


def test_where_the_last_call_is_too_full_for_an_event_there_is_no_seat_for_it():
    of = seats(1, batch_bytes=2 * SIZE)
    assert take(of, work(), work()) == [1, 1]
    assert of.any_for(work())
    assert of.take(work(), SMALL) is None


def test_without_batches_weight_does_not_matter():
    of = seats(2, batch=(), single=KINDS, batch_bytes=1)
    assert take(of, work(), work(), event="x" * 200) == [1, 2]


@pytest.mark.parametrize(
    ("urgency", "calls"),
    [(OPT_OUT, [1, 2, 3]), (TRIGGER, [1, 2, None]), (LIVE, [1, None, None]), (BACKFILL, [None] * 3)],
)
def test_the_more_urgent_may_have_calls_that_the_less_urgent_may_not(urgency, calls):
    of = seats([3, 2, 1, 0], batch_items=1)
    assert take(of, *[work(urgency=urgency)] * 3) == calls


def test_calls_of_the_more_urgent_count_for_the_less_urgent():
    of = seats([3, 2, 2, 1], batch_items=1)
    assert take(of, work(urgency=TRIGGER), work(urgency=BACKFILL), work(urgency=LIVE), work(urgency=OPT_OUT)) == [
        1, None, 2, 3,
    ]  # fmt: skip


def test_the_less_urgent_may_use_what_is_left_of_a_call_of_the_more_urgent():
    of = seats([1, 1, 1, 0])
    assert take(of, work(urgency=LIVE), work(urgency=BACKFILL), work(urgency=BACKFILL), work(urgency=BACKFILL)) == [
        1, 1, 1, None,
    ]  # fmt: skip


def test_a_seat_says_what_its_event_weighs_where_calls_have_a_limit():
    assert seats(9).take(work(), SMALL).weight == SIZE
    assert seats(9, batch=(), single=KINDS).take(work(), SMALL).weight == 0


class TestACallThatAnEarlierVisitBegan:
    def test_it_is_filled_first_though_no_other_may_be_begun(self):
        of = seats(0, open_calls={("profile", False): Free(2, 1_000)})
        assert take(of, *[work()] * 3) == [OPEN_CALL, OPEN_CALL, None]

    def test_once_it_is_full_the_next_one_is_begun(self):
        of = seats(1, open_calls={("profile", False): Free(1, 1_000)})
        assert take(of, *[work()] * 5) == [OPEN_CALL, 1, 1, 1, None]

    def test_it_is_of_one_kind_and_for_no_opt_outs(self):
        of = seats(0, open_calls={("consent", False): Free(9, 1_000)})
        assert take(of, work(), work("consent", OPT_OUT), work("consent", BACKFILL)) == [None, None, OPEN_CALL]

    def test_what_is_too_heavy_for_it_is_not_squeezed_in(self):
        full, roomy = Free(9, SIZE - 1), Free(9, SIZE)
        assert take(seats(1, batch_items=10, open_calls={("profile", False): full}), work()) == [1]
        assert take(seats(1, batch_items=10, open_calls={("profile", False): roomy}), work(), work()) == [OPEN_CALL, 1]


some_work = st.builds(
    lambda kind, urgency, size: (work(kind, urgency), "x" * size),
    st.sampled_from(KINDS),
    st.sampled_from([OPT_OUT, LIVE]),
    st.integers(0, 60),
)


@given(
    works=st.lists(some_work, max_size=40),
    room=st.integers(0, 9),
    batch_items=st.integers(1, 5),
    batch_bytes=st.integers(1, 120),
)
def test_whatever_comes_no_call_is_too_full_too_heavy_or_mixed(works, room, batch_items, batch_bytes):
    of = seats(room, batch_items=batch_items, batch_bytes=batch_bytes)
    calls = defaultdict(list)
    for each, event in works:
        may_begin = len(calls) < room
        seat = of.take(each, event) if of.any_for(each) else None
        assert seat is not None or not may_begin
        if seat is not None:
            calls[seat.call].append((each, len(msgspec.json.encode(event))))
    assert len(calls) <= room
    assert sorted(calls) == list(range(1, len(calls) + 1))
    for call in calls.values():
        assert len({(each.kind, each.urgency == OPT_OUT) for each, _ in call}) == 1
        assert len(call) <= batch_items
        if batch_items > 1 and len(call) > 1:
            assert sum(size for _, size in call) <= batch_bytes


def test_a_trigger_that_may_have_been_sent_already_has_a_call_of_its_own_where_it_is_looked_up_first():
    unsure = Delivery(id=1, lane="crm", kind="trigger", urgency=TRIGGER, unsure=True)
    sure = work("trigger", TRIGGER)
    assert take(seats(9, was_sent=never_called), sure, unsure, sure, unsure, sure) == [1, 2, 1, 3, 1]
    assert take(seats(9), sure, unsure, sure) == [1, 1, 1]
