"""The window over a lane's backlog: the right order, nobody forgotten, and little of it in memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.delivery import window
from esplanade.delivery.window import PAGE, ROOM, Window
from esplanade.records import Place, Urgency

NOW = 1_000.0
OPT_OUT, TRIGGER, LIVE, BACKFILL = Urgency


def place(number, urgency=LIVE, due_at=NOW, person=None):
    return Place(urgency, due_at, number, number if person is None else person)


class Store:
    """What a lane's deliveries are in the store: places of those that wait, whoever is under way."""

    def __init__(self):
        self.places = {}

    def page(self, page):
        found = sorted(
            each
            for each in self.places.values()
            if each.urgency == page.urgency and (each.due_at, each.delivery) > page.after and each.due_at <= page.until
        )
        later = [
            each.due_at for each in self.places.values() if each.urgency == page.urgency and each.due_at > page.until
        ]
        return [(each.person, each) for each in found[: page.limit]], min(later, default=None)


class Lane:
    """A window and its store, with the lane's manners: it reads what the window asks for, then takes."""

    def __init__(self, now=NOW):
        self.window, self.store, self.now, self.served = Window(), Store(), now, []

    def queue(self, *places, told=True):
        for each in places:
            self.store.places[each.delivery] = each
            if told:
                self.window.offer(each.person, each, self.now)

    def reads(self):
        for page in self.window.pages(self.now):
            self.window.loaded(page, *self.store.page(page), self.now)

    def takes(self, many=1):
        self.reads()
        taken = self.window.take([many] * len(Urgency))
        self.served += [each.delivery for _, each in taken]
        return taken

    def ends(self, key, number):
        """A call has ended, and with it the delivery; the lane is told what else the person has."""
        self.store.places.pop(number, None)
        self._reminded(key)

    def puts_off(self, key, number, seconds):
        """A call has failed: the same work is due later, and the lane is told of all that the person has."""
        self.store.places[number] = self.store.places[number]._replace(due_at=self.now + seconds)
        self._reminded(key)

    def _reminded(self, key):
        for each in self.store.places.values():
            if each.person == key:
                self.window.offer(key, each, self.now)
        self.window.done(key, self.now)

    def works(self):
        """Serve until nothing is left that is due."""
        while self.window.is_due(self.now):
            for key, each in self.takes(4):
                self.ends(key, each.delivery)
        return self.served


def test_the_most_urgent_goes_first_then_the_oldest():
    lane = Lane()
    lane.queue(place(1, BACKFILL), place(2), place(3, due_at=NOW - 5), place(4, TRIGGER), place(5, OPT_OUT))
    assert lane.works() == [5, 4, 3, 2, 1]


def test_a_key_is_served_once_at_a_time():
    lane = Lane()
    lane.queue(place(1, person=7), place(2, person=7), place(3, person=8))
    assert [key for key, _ in lane.takes(3)] == [7, 8]
    assert len(lane.window._busy) == 2
    assert lane.takes(3) == []
    lane.ends(7, 1)
    assert [each.delivery for _, each in lane.takes(3)] == [2]


def test_of_a_key_that_stands_in_two_places_the_better_one_counts():
    lane = Lane()
    lane.queue(place(1, BACKFILL, person=7), place(2, person=8))
    lane.queue(place(3, OPT_OUT, person=7))
    assert [each.delivery for _, each in lane.takes(2)] == [3, 2]


def test_what_is_offered_for_a_key_under_way_waits_until_it_is_done():
    lane = Lane()
    lane.queue(place(1, person=7))
    lane.takes()
    lane.window.offer(7, place(3, person=7), NOW)
    lane.window.offer(7, place(2, OPT_OUT, person=7), NOW)
    assert not lane.window.is_due(NOW)
    lane.window.done(7, NOW)
    assert [each.delivery for _, each in lane.window.take([9] * len(Urgency))] == [2]


def test_those_who_were_taken_and_not_served_are_next_again():
    lane = Lane()
    lane.queue(place(1), place(2), place(3))
    taken = lane.takes(2)
    lane.window.give_back(taken, NOW)
    assert [each.delivery for _, each in lane.window.take([9] * len(Urgency))] == [1, 2, 3]


def test_what_is_due_later_is_left_in_the_store_until_then():
    lane = Lane()
    lane.queue(place(1, due_at=NOW + 60), place(2, due_at=NOW + 30))
    assert lane.works() == []
    assert lane.window.next_due_at() == NOW + 30
    lane.now += 30
    assert lane.works() == [2]
    assert lane.window.next_due_at() == NOW + 60
    lane.now += 30
    assert lane.works() == [2, 1]
    assert lane.window.next_due_at() is None


def test_what_an_earlier_process_left_is_read_from_the_store():
    lane = Lane()
    lane.queue(place(1), place(2, due_at=NOW + 9), told=False)
    assert lane.window.is_due(NOW)
    assert lane.works() == [1]
    assert lane.window.next_due_at() == NOW + 9


def test_however_long_the_backlog_is_little_of_it_is_in_memory():
    lane = Lane()
    lane.queue(*(place(number) for number in range(3 * ROOM)))
    most = len(lane.window)
    while lane.window.is_due(NOW):
        for key, each in lane.takes(100):
            lane.ends(key, each.delivery)
        most = max(most, len(lane.window))
    assert most <= ROOM
    assert lane.served == list(range(3 * ROOM))


def test_an_opt_out_is_found_behind_a_backlog_that_fills_the_window():
    lane = Lane()
    lane.queue(*(place(number, BACKFILL) for number in range(2 * ROOM)))
    lane.queue(place(99_999, OPT_OUT))
    assert [each.delivery for _, each in lane.takes()] == [99_999]


def test_nobody_less_urgent_is_served_while_the_store_may_hold_somebody_more_urgent():
    window_ = Window()
    window_.offer(1, place(1, BACKFILL), NOW)
    assert window_.take([1] * len(Urgency)) == []
    for page in window_.pages(NOW):
        window_.loaded(page, [], None, NOW)
    assert [key for key, _ in window_.take([1] * len(Urgency))] == [1]


def test_what_is_left_behind_while_a_page_is_being_read_is_not_passed_over():
    lane = Lane()
    lane.queue(*(place(number, due_at=NOW - 50) for number in range(10, 10 + PAGE)), told=False)
    pages = lane.window.pages(NOW)
    answers = [(page, lane.store.page(page)) for page in pages]
    lane.queue(*(place(number, due_at=NOW - 90) for number in range(5_000, 5_000 + ROOM)))
    lane.queue(place(3, due_at=NOW - 99))  # no room for it, and it stands before all that was read
    for page, answer in answers:
        lane.window.loaded(page, *answer, NOW)
    assert sorted(lane.works()) == sorted([3, *range(10, 10 + PAGE), *range(5_000, 5_000 + ROOM)])


def test_a_clock_that_is_set_back_hides_nothing():
    lane = Lane()
    lane.queue(place(1))
    lane.works()
    lane.now -= 500
    lane.queue(place(2, due_at=lane.now), place(3, due_at=lane.now + 5))
    assert lane.works() == [1, 2]
    lane.now += 5
    assert lane.works() == [1, 2, 3]


def test_after_a_rescan_everything_is_found_and_nothing_twice():
    lane = Lane()
    lane.queue(place(1), place(2))
    lane.takes(1)
    lane.queue(place(0), told=False)  # changed past the lane, as by a merge
    lane.window.rescan()
    assert [each.delivery for _, each in lane.takes(9)] == [0, 2]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("queue"), st.integers(0, 3), st.integers(-3, 3), st.integers(0, 5)),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.just("end"), st.integers(0, 9)),
        st.tuples(st.just("put off"), st.integers(0, 9), st.integers(1, 4)),
        st.tuples(st.just("wait"), st.integers(0, 4)),
        st.tuples(st.just("rescan")),
    ),
    max_size=60,
)


@given(story=steps)
def test_in_any_story_everybody_is_served_and_nobody_twice_at_once(story):
    with pytest.MonkeyPatch.context() as patch:  # room for few, so that a short story fills it
        patch.setattr(window, "ROOM", 4)
        patch.setattr(window, "PAGE", 2)
        _tell(story)


def _tell(story):
    lane, busy, numbers = Lane(), {}, 0
    for step in story:
        match step:
            case ("queue", urgency, shift, person):
                numbers += 1
                lane.queue(place(numbers, urgency, lane.now + shift, person))
            case ("take", many):
                for key, each in lane.takes(many):
                    assert key not in busy
                    assert each.due_at <= lane.now
                    busy[key] = each.delivery
            case ("end", which) if busy:
                key = sorted(busy)[which % len(busy)]
                lane.ends(key, busy.pop(key))
            case ("put off", which, seconds) if busy:  # it failed: the same work, due later
                key = sorted(busy)[which % len(busy)]
                lane.puts_off(key, busy.pop(key), seconds)
            case ("wait", seconds):
                lane.now += seconds
            case ("rescan",):
                lane.window.rescan()
        assert len(lane.window) <= (window.ROOM + window.PAGE) * len(Urgency)
    for key, number in busy.items():
        lane.ends(key, number)
    while lane.store.places:
        before = len(lane.store.places)
        lane.works()
        lane.now = max(lane.now, min((each.due_at for each in lane.store.places.values()), default=lane.now))
        assert lane.window.is_due(lane.now) or len(lane.store.places) < before, "forgotten"
