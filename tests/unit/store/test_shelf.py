"""What the writer remembers: always what is still to be written, and of the rest as much as there is room for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.store.sqlite.shelf import UNKNOWN, Shelf

ROOM = 8


@pytest.fixture
def shelf():
    return Shelf(ROOM)


def known(shelf):
    return list(shelf)


def test_what_was_learnt_or_put_is_known_and_nothing_else_is(shelf):
    shelf.learn("ada", 1)
    shelf.put("bob", 2)
    shelf.learn("nobody", None)
    assert [shelf.get(name, UNKNOWN) for name in ("ada", "bob", "nobody", "eve")] == [1, 2, None, UNKNOWN]


def test_only_what_was_put_is_to_be_written_and_only_once(shelf):
    shelf.learn("ada", 1)
    shelf.put("bob", 2)
    shelf.put("eve", 3)
    shelf.put("bob", 4)
    assert shelf.take() == {"bob": 4, "eve": 3}
    assert shelf.take() == {}
    assert dict(shelf) == {"ada": 1, "bob": 4, "eve": 3}


def test_what_was_written_may_be_put_again(shelf):
    shelf.put("ada", 1)
    shelf.take()
    shelf.put("ada", 2)
    assert shelf.take() == {"ada": 2}


def test_once_forgotten_nothing_is_known_and_nothing_is_to_be_written(shelf):
    shelf.learn("ada", 1)
    shelf.put("bob", 2)
    shelf.forget()
    assert (dict(shelf), shelf.take()) == ({}, {})
    shelf.put("eve", 3)
    assert shelf.take() == {"eve": 3}


def test_without_room_for_more_the_older_half_goes(shelf):
    for number in range(ROOM):
        shelf.learn(number, number)
    assert known(shelf) == list(range(ROOM))
    shelf.learn(ROOM, ROOM)
    assert known(shelf) == list(range(ROOM // 2, ROOM + 1))


def test_what_is_still_to_be_written_stays_however_old_it_is(shelf):
    shelf.put("first", 1)
    for number in range(5 * ROOM):
        shelf.learn(number, number)
    shelf.put("last", 2)
    assert shelf["first"] == 1
    assert shelf.take() == {"first": 1, "last": 2}


def test_once_it_is_written_it_goes_like_the_others(shelf):
    shelf.put("first", 1)
    shelf.take()
    for number in range(5 * ROOM):
        shelf.learn(number, number)
    assert "first" not in shelf


def test_where_nothing_can_go_nothing_goes_until_it_is_written(shelf):
    for number in range(4 * ROOM):
        shelf.put(number, number)
    assert known(shelf) == list(range(4 * ROOM))
    assert len(shelf.take()) == 4 * ROOM
    for number in range(4 * ROOM, 8 * ROOM):
        shelf.learn(number, number)
    assert len(shelf) <= ROOM
    assert (8 * ROOM - 1) in shelf


names = st.integers(0, 3 * ROOM)
moves = st.lists(
    st.one_of(
        st.tuples(st.just("learn"), names),
        st.tuples(st.just("put"), names),
        st.tuples(st.just("take")),
        st.tuples(st.just("forget")),
    ),
    max_size=120,
)


@given(story=moves)
def test_whatever_happens_it_is_never_wrong_loses_nothing_unwritten_and_keeps_its_bound(story):
    """Beside a file in which each name holds the last value that was written there."""
    shelf, written, unwritten, most_unwritten = Shelf(ROOM), {}, {}, 0
    for value, move in enumerate(story):
        match move:
            case ("learn", name) if name not in shelf:  # as a reader does: what is known is not asked for
                shelf.learn(name, written.get(name))
            case ("put", name):
                shelf.put(name, value)
                unwritten[name] = value
            case ("take",):
                taken = shelf.take()
                assert taken == unwritten
                written.update(taken)
                unwritten = {}
            case ("forget",):
                shelf.forget()
                unwritten, most_unwritten = {}, 0
        most_unwritten = max(most_unwritten, len(unwritten))
        truth = written | unwritten
        assert all(value == truth.get(name) for name, value in shelf.items())
        assert unwritten.items() <= shelf.items()
        assert len(shelf) <= ROOM + most_unwritten
