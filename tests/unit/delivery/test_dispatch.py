"""Calling a plugin's hooks: an answer for each event, whatever a hook does, and a bad one in a batch costs no other."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.delivery.dispatch import Dispatch
from esplanade.errors import (
    AuthenticationError,
    DeliveryError,
    EgressRefused,
    EndpointGone,
    OutcomeUnknown,
    PermanentError,
    PluginError,
    RateLimited,
    TemporaryError,
    UnreadableAnswer,
)
from esplanade.model import KINDS, Outcome

CTX = object()
STATE = ("profile", "consent")
NONSENSE = [
    None,
    "ok",
    {"status": "delivered"},
    Outcome(remote_id=9001),
    Outcome(status="fine"),
    Outcome(acknowledged={"City": object()}),
    Outcome(remote_id=2**80),
    SystemExit(1),
]
"""What is no outcome that could be kept. An error that is not raised counts only where one may be returned."""


def dispatch(*, was_sent=None, batch_items=100, triggers_at_once=100, **hooks):
    return Dispatch(
        hooks, CTX, was_sent=was_sent, batch_items=batch_items, batch_bytes=1_000_000, triggers_at_once=triggers_at_once
    )


class Hook:
    """Answers with what ``act`` returns or raises, and keeps what it was asked."""

    def __init__(self, act):
        self.act, self.asked, self.contexts = act, [], []

    async def __call__(self, asked, ctx):
        self.asked.append(asked)
        self.contexts.append(ctx)
        return self.act(asked)


def raising(problem):
    def act(_):
        raise problem

    return Hook(act)


async def alone(kind, hook):
    """What comes of a hook that takes one event."""
    (result,) = await dispatch(**{f"on_{kind}": hook}).call(kind, ["ada"])
    return result


async def together(kind, hook, events):
    return await dispatch(**{f"on_{kind}_batch": hook}).call(kind, events)


def text(result):
    """A result as it can be compared: errors are told by their class and words."""
    return result if isinstance(result, Outcome) else f"{type(result).__name__}: {result}"


@pytest.mark.parametrize("kind", KINDS)
class TestOneEvent:
    async def test_the_hook_of_its_kind_is_given_the_event_and_the_context(self, kind):
        hook, others = Hook(lambda _: Outcome(remote_id="9001")), raising(AssertionError("not this one"))
        hooks = {f"on_{each}": hook if each == kind else others for each in KINDS}
        assert await dispatch(**hooks).call(kind, ["ada"]) == [Outcome(remote_id="9001")]
        assert (hook.asked, hook.contexts) == (["ada"], [CTX])

    @pytest.mark.parametrize(
        "problem", [TemporaryError("down"), PermanentError("no"), KeyError("ada"), PluginError("x")]
    )
    async def test_what_it_raises_is_the_answer(self, kind, problem):
        assert await alone(kind, raising(problem)) is problem

    async def test_a_plugin_that_wants_the_program_to_end_is_wrong(self, kind):
        assert text(await alone(kind, raising(SystemExit(3)))) == "PluginError: the plugin raised SystemExit"

    async def test_whoever_cancels_the_call_is_obeyed(self, kind):
        with pytest.raises(asyncio.CancelledError):
            await alone(kind, raising(asyncio.CancelledError()))

    @pytest.mark.parametrize("nonsense", NONSENSE, ids=repr)
    async def test_what_is_no_outcome_is_a_fault_of_the_plugin_that_names_the_hook(self, kind, nonsense):
        found = await alone(kind, Hook(lambda _: nonsense))
        assert isinstance(found, PluginError)
        assert str(found).startswith(f"on_{kind} ")

    async def test_an_error_that_is_returned_is_none_that_was_raised(self, kind):
        found = await alone(kind, Hook(lambda _: PermanentError("no")))
        assert text(found) == f"PluginError: on_{kind} must return an Outcome, not PermanentError"


class TestHowManyShareACall:
    def test_as_many_as_the_plugin_takes_and_one_where_it_takes_no_batches(self):
        found = dispatch(on_profile=None, on_consent_batch=Hook(None), on_trigger_batch=Hook(None), batch_items=70)
        assert [found.at_once(kind) for kind in KINDS] == [1, 70, 70]

    def test_of_triggers_no_more_than_may_be_in_doubt_at_once(self):
        hooks = {f"on_{kind}_batch": Hook(None) for kind in KINDS}
        assert [dispatch(**hooks, triggers_at_once=50).at_once(kind) for kind in KINDS] == [100, 100, 50]
        few = dispatch(**hooks, batch_items=3, triggers_at_once=50)
        assert [few.at_once(kind) for kind in KINDS] == [3, 3, 3]


@pytest.mark.parametrize("kind", KINDS)
class TestABatch:
    async def test_it_is_one_call_and_each_event_has_its_own_answer(self, kind):
        answers = [Outcome(remote_id="1"), TemporaryError("down"), Outcome(), KeyError("x"), PermanentError("no")]
        hook = Hook(lambda _: list(answers))
        assert await together(kind, hook, "abcde") == answers
        assert (hook.asked, hook.contexts) == (["abcde"], [CTX])

    @pytest.mark.parametrize("nonsense", NONSENSE, ids=repr)
    async def test_an_answer_that_is_none_is_the_fault_of_that_event_alone(self, kind, nonsense):
        hook = Hook(lambda _: [Outcome(remote_id="1"), nonsense, Outcome(remote_id="3")])
        first, wrong, last = await together(kind, hook, "abc")
        assert (first, last) == (Outcome(remote_id="1"), Outcome(remote_id="3"))
        assert isinstance(wrong, PluginError)
        assert len(hook.asked) == 1

    async def test_whoever_cancels_the_call_is_obeyed(self, kind):
        with pytest.raises(asyncio.CancelledError):
            await together(kind, raising(asyncio.CancelledError()), "ab")

    @pytest.mark.parametrize(
        "problem",
        [
            TemporaryError("down"),
            RateLimited("slow down"),
            OutcomeUnknown("cut"),
            AuthenticationError("401"),
            EndpointGone("410"),
            EgressRefused("private"),
            DeliveryError("vague"),
        ],
        ids=lambda each: type(each).__name__,
    )
    async def test_an_error_that_says_nothing_of_its_events_is_that_of_all_and_nothing_is_tried_again(
        self, kind, problem
    ):
        hook = raising(problem)
        assert await together(kind, hook, "abcd") == [problem] * 4
        assert hook.asked == ["abcd"]

    async def test_one_that_was_refused_as_a_whole_is_halved_until_the_culprit_is_found(self, kind):
        def refuse(events):
            if "c" in events:
                raise PermanentError(f"{len(events)} refused")
            return [Outcome(remote_id=each) for each in events]

        hook = Hook(refuse)
        found = await together(kind, hook, "abcdefgh")
        assert [text(each) for each in found] == [
            Outcome(remote_id="a"), Outcome(remote_id="b"), "PermanentError: 1 refused", *map_to_ids("defgh"),
        ]  # fmt: skip
        assert hook.asked == ["abcdefgh", "abcd", "ab", "cd", "c", "d", "efgh"]

    async def test_a_half_that_fails_otherwise_is_not_tried_again(self, kind):
        def answer(events):
            if len(events) == 4:
                raise PermanentError("one of you")
            if "a" in events:
                raise OutcomeUnknown("cut")
            return [Outcome() for _ in events]

        hook = Hook(answer)
        assert [text(each) for each in await together(kind, hook, "abcd")] == [
            *["OutcomeUnknown: cut"] * 2, *[Outcome()] * 2,
        ]  # fmt: skip
        assert hook.asked == ["abcd", "ab", "cd"]


def map_to_ids(events):
    return [Outcome(remote_id=each) for each in events]


FAULTS = [
    pytest.param(raising(UnreadableAnswer("no JSON")).act, "UnreadableAnswer: no JSON", id="unreadable"),
    pytest.param(raising(PluginError("broken")).act, "PluginError: broken", id="plugin error"),
    pytest.param(raising(KeyError("email")).act, "KeyError: 'email'", id="its own exception"),
    pytest.param(raising(SystemExit(1)).act, "PluginError: the plugin raised SystemExit", id="system exit"),
    *(
        pytest.param(
            lambda events, wrong=wrong: wrong(events),
            "PluginError: on_{kind}_batch must return a list with one outcome or error per event",
            id=name,
        )
        for name, wrong in {
            "nothing": lambda _: None,
            "an empty list": lambda _: [],
            "one too few": lambda events: [Outcome()] * (len(events) - 1),
            "one too many": lambda events: [Outcome()] * (len(events) + 1),
            "a tuple": lambda events: (Outcome(),) * len(events),
            "one for all": lambda _: Outcome(),
        }.items()
    ),
]
"""After each of these nobody knows how far the plugin came."""


class TestABatchOfWhichNobodyKnowsHowFarItCame:
    @pytest.mark.parametrize(("act", "error"), FAULTS)
    @pytest.mark.parametrize("kind", STATE)
    async def test_state_is_halved_for_it_may_be_sent_twice(self, kind, act, error):
        hook = Hook(lambda events: act(events) if "b" in events else [Outcome() for _ in events])
        found = [text(each) for each in await together(kind, hook, "abcd")]
        assert found == [Outcome(), error.format(kind=kind), Outcome(), Outcome()]

    @pytest.mark.parametrize(("act", "error"), FAULTS)
    async def test_triggers_are_left_as_they_are(self, act, error):
        hook = Hook(act)
        assert [text(each) for each in await together("trigger", hook, "abcd")] == [error.format(kind="trigger")] * 4
        assert hook.asked == ["abcd"]

    async def test_a_plugin_that_is_always_wrong_ends_all_the_same(self):
        hook = Hook(lambda _: [])
        found = await together("profile", hook, "abcde")
        assert {type(each) for each in found} == {PluginError}
        assert sorted(hook.asked, key=len)[:5] == ["a", "b", "c", "d", "e"]


class Vendor:
    """Takes a batch whole or refuses it whole, as one with a transaction does."""

    def __init__(self, bad):
        self.bad, self.took, self.calls = bad, [], 0

    async def __call__(self, events, ctx):
        self.calls += 1
        refused = [each for each in events if each in self.bad]
        if refused:
            raise PermanentError(f"{refused} refused")
        self.took += events
        return [Outcome(remote_id=str(each)) for each in events]


batches = st.integers(1, 70).flatmap(
    lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1), max_size=size))
)


@given(batch=batches, kind=st.sampled_from(KINDS))
async def test_whichever_of_a_batch_are_bad_each_good_one_is_delivered_once_and_each_bad_one_has_its_own_error(
    batch, kind
):
    size, bad = batch
    vendor = Vendor(bad)
    found = await together(kind, vendor, list(range(size)))
    assert [text(each) for each in found] == [
        f"PermanentError: [{number}] refused" if number in bad else Outcome(remote_id=str(number))
        for number in range(size)
    ]
    assert vendor.took == [number for number in range(size) if number not in bad]
    assert vendor.calls <= 1 + 2 * len(bad) * size.bit_length()


@given(batch=batches, error=st.sampled_from([TemporaryError("down"), OutcomeUnknown("cut")]))
async def test_no_trigger_is_tried_twice_in_a_call_unless_a_batch_with_it_was_refused(batch, error):
    size, bad = batch
    tried = []

    async def hook(events, ctx):
        if len(events) == size > 1:
            raise PermanentError("one of you")
        tried.extend(events)
        if bad.intersection(events):
            raise error
        return [Outcome() for _ in events]

    await together("trigger", hook, list(range(size)))
    assert tried == list(range(size))


class TestLookingUp:
    async def ask(self, act):
        hook = Hook(act)
        found = await dispatch(was_sent=hook).look_up("t-1")
        assert (hook.asked, hook.contexts) == (["t-1"], [CTX])
        return found

    async def test_a_trigger_that_was_sent_is_delivered(self):
        assert await self.ask(lambda _: True) == Outcome()

    async def test_one_that_was_not_sent_is_still_to_be_sent(self):
        assert await self.ask(lambda _: False) is None

    @pytest.mark.parametrize("nonsense", [None, 0, "", "yes", Outcome()])
    async def test_what_is_neither_yes_nor_no_is_a_fault_of_the_plugin(self, nonsense):
        told = f"PluginError: was_sent must return True or False, not {type(nonsense).__name__}"
        assert text(await self.ask(lambda _: nonsense)) == told

    async def test_an_error_is_an_answer_too(self):
        problem = TemporaryError("down")
        assert await self.ask(raising(problem).act) is problem

    async def test_a_plugin_that_wants_the_program_to_end_is_wrong(self):
        assert text(await self.ask(raising(SystemExit(3)).act)) == "PluginError: the plugin raised SystemExit"

    async def test_whoever_cancels_it_is_obeyed(self):
        with pytest.raises(asyncio.CancelledError):
            await self.ask(raising(asyncio.CancelledError()).act)
