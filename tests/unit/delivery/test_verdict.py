"""What follows from how a hook ended: every error, for every kind of work and every kind of plugin."""

from random import Random

import pytest

from esplanade.config.model import Retry
from esplanade.delivery.verdict import Done, Park, Pause, Reject, RetryAt, Wait, exchange_of, verdict_on, words
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
from esplanade.model import Exchange, Outcome
from esplanade.records import Delivery
from esplanade.values import Duration

NOW = 1_000_000.0
DAY = 86_400.0
KINDS = ("profile", "consent", "trigger", "webhook")
REPEATS = ("safe", "check", "never")
UNKNOWN = (OutcomeUnknown("cut"), PluginError("no Outcome"), KeyError("ada@example.com"), DeliveryError("vague"))


def verdict(result, kind="profile", repeat="safe", *, attempts=1, age=0.0):
    delivery = Delivery(id=1, lane="crm", kind=kind, attempts=attempts, first_at=NOW - age)
    return verdict_on(result, delivery, now=NOW, retry=Retry(), rng=Random(3), repeat=repeat)


@pytest.mark.parametrize("repeat", REPEATS)
@pytest.mark.parametrize("error", [*UNKNOWN, UnreadableAnswer("no JSON")], ids=lambda error: type(error).__name__)
def test_a_question_that_was_perhaps_put_is_never_put_again(repeat, error):
    delivery = Delivery(id=1, lane="crm", kind="consent", attempts=1, first_at=NOW)
    found = verdict_on(error, delivery, now=NOW, retry=Retry(), rng=Random(3), repeat=repeat, asks=True)
    assert isinstance(found, Park)
    assert found.reason == "outcome-unknown"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("repeat", REPEATS)
class TestWhateverTheKindAndTheRepeatClass:
    def test_an_outcome_is_done(self, kind, repeat):
        outcome = Outcome(remote_id="9001")
        assert verdict(outcome, kind, repeat) == Done(outcome=outcome)

    def test_what_was_not_acted_on_is_tried_again_and_nothing_is_in_doubt(self, kind, repeat):
        found = verdict(TemporaryError("down"), kind, repeat)
        assert isinstance(found, RetryAt)
        assert NOW <= found.at <= NOW + 1
        assert not found.unknown

    def test_a_vendor_that_asks_for_patience_gets_it_from_the_whole_lane(self, kind, repeat):
        patience = "RateLimited: slow down"
        assert verdict(RateLimited("slow down"), kind, repeat) == Wait(error=patience)
        assert verdict(RateLimited("slow down", retry_after=9), kind, repeat) == Wait(error=patience, at=NOW + 9)
        late = verdict(RateLimited("slow down"), kind, repeat, attempts=100, age=300 * DAY)
        assert late == Wait(error=patience)

    def test_a_refusal_is_a_dead_letter_at_once(self, kind, repeat):
        found = verdict(PermanentError("no such group"), kind, repeat)
        assert found == Reject(reason="rejected", error="PermanentError: no such group")

    def test_a_call_that_was_not_let_out_says_so(self, kind, repeat):
        found = verdict(EgressRefused("vm is at 127.0.0.1"), kind, repeat)
        assert found == Reject(reason="egress-refused", error="EgressRefused: vm is at 127.0.0.1")

    def test_refused_credentials_pause_the_connector(self, kind, repeat):
        assert verdict(AuthenticationError("401"), kind, repeat) == Pause(
            state="auth", error="AuthenticationError: 401"
        )

    def test_an_endpoint_that_is_gone_pauses_the_connector(self, kind, repeat):
        assert verdict(EndpointGone("410"), kind, repeat) == Pause(state="gone", error="EndpointGone: 410")

    @pytest.mark.parametrize("error", UNKNOWN, ids=lambda error: type(error).__name__)
    def test_what_may_have_been_acted_on_is_repeated_unless_it_is_a_trigger_that_must_not_be(self, kind, repeat, error):
        found = verdict(error, kind, repeat)
        if kind == "trigger" and repeat == "never":
            assert isinstance(found, Park)
            assert found.reason == "outcome-unknown"
        else:
            assert isinstance(found, RetryAt)
            assert found.unknown

    def test_it_is_given_up_only_once_window_and_attempts_are_used_up(self, kind, repeat):
        assert isinstance(verdict(TemporaryError(), kind, repeat, attempts=100, age=29 * DAY), RetryAt)
        assert isinstance(verdict(TemporaryError(), kind, repeat, attempts=7, age=31 * DAY), RetryAt)
        found = verdict(TemporaryError("down"), kind, repeat, attempts=8, age=31 * DAY)
        assert found == Reject(reason="gave-up", error="TemporaryError: down")


class TestAVendorThatHasActedAndGivesAnAnswerThatCannotBeRead:
    error = UnreadableAnswer("the vendor answered 200 with a body that is not JSON")

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "trigger"])
    @pytest.mark.parametrize("repeat", REPEATS)
    def test_state_is_a_dead_letter_for_the_same_answer_would_come_again(self, kind, repeat):
        assert verdict(self.error, kind, repeat) == Reject(reason="rejected", error=f"UnreadableAnswer: {self.error}")

    @pytest.mark.parametrize("repeat", ["safe", "never"])
    def test_a_trigger_is_left_to_a_person_and_never_repeated(self, repeat):
        found = verdict(self.error, "trigger", repeat)
        assert found == Park(reason="outcome-unknown", error=f"UnreadableAnswer: {self.error}")

    def test_a_trigger_of_which_the_vendor_can_be_asked_is_looked_up(self):
        found = verdict(self.error, "trigger", "check")
        assert isinstance(found, RetryAt)
        assert found.unknown


def test_how_a_trigger_that_must_not_be_repeated_ended_stays_in_doubt_however_long_it_was_tried():
    found = verdict(OutcomeUnknown("cut"), "trigger", "never", attempts=100, age=300 * DAY)
    assert isinstance(found, Park)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("repeat", REPEATS)
@pytest.mark.parametrize(
    "error", [AuthenticationError("401"), EndpointGone("410"), PermanentError("no"), EgressRefused("private")]
)
def test_what_an_answer_means_does_not_depend_on_how_often_it_came(kind, repeat, error):
    assert verdict(error, kind, repeat, attempts=100, age=300 * DAY) == verdict(error, kind, repeat)


@pytest.mark.parametrize("wish", [10**12, 10**400, 1e300, DAY + 1], ids=["long", "no float", "absurd", "a bit"])
@pytest.mark.parametrize("error", [TemporaryError, RateLimited, OutcomeUnknown])
def test_however_long_a_vendor_wants_to_be_left_alone_it_is_for_a_day(error, wish):
    assert verdict(error("later", retry_after=wish)).at == NOW + DAY


@pytest.mark.parametrize("error", [TemporaryError, RateLimited, OutcomeUnknown])
@pytest.mark.parametrize("wish", [0, 0.0, -(10**400), float("-inf")], ids=["0", "0.0", "no float", "-inf"])
def test_a_wait_of_nothing_or_less_is_none(error, wish):
    assert verdict(error("later", retry_after=wish)).at == NOW


@pytest.mark.parametrize("error", [TemporaryError, RateLimited, OutcomeUnknown])
def test_the_wait_that_a_vendor_asks_for_is_kept_up_to_a_day(error):
    assert verdict(error("later", retry_after=120)).at == NOW + 120
    assert verdict(error("later", retry_after=float("inf"))).at == NOW + DAY
    assert verdict(error("later", retry_after=-5)).at == NOW


@pytest.mark.parametrize("wish", [float("nan"), "120", "Wed, 21 Oct 2026 07:28:00 GMT", b"1", [1]])
def test_a_wait_that_is_no_number_counts_as_none(wish):
    assert verdict(RateLimited("later", retry_after=wish)).at is None
    assert NOW <= verdict(TemporaryError("later", retry_after=wish)).at <= NOW + 1


def test_a_trigger_is_looked_up_no_sooner_than_a_call_may_take():
    delivery = Delivery(id=1, lane="crm", kind="trigger", attempts=1, first_at=NOW)

    def at(error):
        found = verdict_on(error, delivery, now=NOW, retry=Retry(), rng=Random(1), repeat="check", look_up_after_s=30)
        assert isinstance(found, RetryAt)
        return found.at - NOW

    assert at(OutcomeUnknown("cut")) == 30
    assert at(OutcomeUnknown("cut", retry_after=90)) == 90
    assert at(TemporaryError("refused")) <= 1


def test_the_hubs_own_schedule_grows_with_the_attempts():
    retry = Retry(base=Duration(1), cap=Duration(3600))
    delivery = Delivery(id=1, lane="crm", kind="profile", attempts=20, first_at=NOW)
    waits = [
        verdict_on(TemporaryError(), delivery, now=NOW, retry=retry, rng=Random(seed), repeat="safe").at - NOW
        for seed in range(200)
    ]
    assert 1000 < max(waits) <= 3600


class TestTheExchangeOfWhichAnErrorTells:
    made = Exchange(method="POST", path="/contacts", status=422, took_s=0.25, sent='{"email":"text"}', answered="no")

    def raised(self):
        problem = PermanentError("no")
        problem.exchange = self.made
        return problem

    def test_it_is_that_of_the_error_itself(self):
        assert exchange_of(self.raised()) == self.made

    @pytest.mark.parametrize("result", [Outcome(), PermanentError("no"), KeyError("x")])
    def test_without_one_there_is_none(self, result):
        assert exchange_of(result) is None

    @pytest.mark.parametrize("link", ["__cause__", "__context__"])
    @pytest.mark.parametrize("error", [KeyError, TemporaryError])
    def test_an_error_that_was_made_of_another_tells_of_that_ones(self, error, link):
        problem = error("mine")
        setattr(problem, link, RuntimeError("in between"))
        setattr(getattr(problem, link), link, self.raised())
        assert exchange_of(problem) == self.made

    def test_a_chain_of_errors_without_an_end_is_left_after_a_few(self):
        first, second = KeyError("a"), KeyError("b")
        first.__cause__, second.__cause__ = second, first
        assert exchange_of(first) is None

    @pytest.mark.parametrize("made_up", ["a text", object(), {"method": 1}, Outcome(reason="x" * 100_000)])
    def test_what_is_none_is_not_kept(self, made_up):
        problem = PermanentError("no")
        problem.exchange = made_up
        assert exchange_of(problem) is None


def test_a_plugins_own_exception_is_told_by_its_type_alone():
    assert words(KeyError("ada@example.com")) == "PluginError: the plugin raised KeyError"


def test_an_error_on_purpose_is_told_in_its_own_words_but_not_at_any_length():
    assert words(PermanentError("mailing 318 is not published")) == "PermanentError: mailing 318 is not published"
    assert len(words(PermanentError("x" * 10_000))) == 500
