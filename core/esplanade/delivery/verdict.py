"""What follows from how a hook ended, as a value."""

from __future__ import annotations

import math
from random import Random
from typing import Literal, TypeAlias

from msgspec import Struct

from esplanade.config.model import Retry
from esplanade.connector import TriggerRepeat
from esplanade.errors import (
    AuthenticationError,
    DeliveryError,
    EgressRefused,
    EndpointGone,
    EsplanadeError,
    OutcomeUnknown,
    PermanentError,
    RateLimited,
    TemporaryError,
)
from esplanade.model import Outcome
from esplanade.records import Delivery

from . import backoff


class Done(Struct, frozen=True, kw_only=True):
    """The vendor acknowledged, or there was nothing to do."""

    outcome: Outcome


class RetryAt(Struct, frozen=True, kw_only=True):
    """Try again then. ``unknown``: the call may have been acted on, so that nobody knows what the vendor holds."""

    at: float
    error: str
    unknown: bool = False


class Wait(Struct, frozen=True, kw_only=True):
    """The vendor, or the connector's own pace, asks for patience: the lane waits until then, and nothing was tried."""

    error: str
    at: float | None = None
    """None: nobody says how long; the lane waits longer each time."""


class Reject(Struct, frozen=True, kw_only=True):
    """A dead letter, kept and replayable."""

    reason: Literal["rejected", "gave-up", "egress-refused"]
    error: str


class Park(Struct, frozen=True, kw_only=True):
    """Kept for a person to decide on."""

    reason: Literal["outcome-unknown"]
    error: str


class Pause(Struct, frozen=True, kw_only=True):
    """The connector stops; this delivery waits with the others."""

    state: Literal["auth", "gone"]
    error: str


class Withdrawn(Struct, frozen=True, kw_only=True):
    """It was claimed and not called after all: it waits as before, and nothing was tried."""


Verdict: TypeAlias = Done | RetryAt | Wait | Reject | Park | Pause | Withdrawn


def judge(
    result: Outcome | Exception,
    delivery: Delivery,
    *,
    now: float,
    retry: Retry,
    rng: Random,
    repeat: TriggerRepeat,
    look_up_after_s: float = 0.0,
) -> Verdict:
    """What follows for one delivery. ``repeat`` says what may be done with a trigger whose outcome is unknown.

    ``look_up_after_s``: how long to wait at least before the vendor is asked whether it has acted.
    """
    if isinstance(result, Outcome):
        return Done(outcome=result)
    error = words(result)
    match result:
        case AuthenticationError():
            return Pause(state="auth", error=error)
        case EndpointGone():
            return Pause(state="gone", error=error)
        case EgressRefused():
            return Reject(reason="egress-refused", error=error)
        case PermanentError():
            return Reject(reason="rejected", error=error)
        case RateLimited():
            asked_for = _asked_for(result)
            return Wait(error=error, at=None if asked_for is None else now + backoff.granted(asked_for))
        case TemporaryError():
            unknown, asked_for = False, _asked_for(result)
        case OutcomeUnknown():
            unknown, asked_for = True, _asked_for(result)
        case _:  # the plugin raised what it should not: nobody knows how far it came
            unknown, asked_for = True, None
    if unknown and delivery.kind == "trigger" and repeat == "never":
        return Park(reason="outcome-unknown", error=error)
    if backoff.is_spent(delivery.attempts, delivery.first_at, now, retry):
        return Reject(reason="gave-up", error=error)
    wait = backoff.delay(delivery.attempts, retry, rng, asked_for=asked_for)
    if unknown and delivery.kind == "trigger" and repeat == "check":
        wait = max(wait, look_up_after_s)
    return RetryAt(at=now + wait, error=error, unknown=unknown)


def _asked_for(problem: DeliveryError) -> float | None:
    """The seconds that a vendor asks for. A plugin may pass on anything, such as a header's text: that is no wish."""
    wish: object = problem.retry_after
    return float(wish) if isinstance(wish, int | float) and not math.isnan(wish) else None


def words(problem: BaseException) -> str:
    """An error as dead letters and logs show it. A plugin's own exceptions may quote anything, so only their type is told."""
    if isinstance(problem, EsplanadeError):
        return f"{type(problem).__name__}: {problem}"[:500]
    return f"PluginError: the plugin raised {type(problem).__name__}"
