"""What follows from how a hook ended, as a value."""

from __future__ import annotations

import math
from random import Random
from typing import ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Struct

from esplanade.config.model import Retry
from esplanade.connector import TriggerRepeat
from esplanade.errors import (
    AuthenticationError,
    DeliveryError,
    EgressRefused,
    EndpointGone,
    EsplanadeError,
    PermanentError,
    RateLimited,
    TemporaryError,
    UnreadableAnswer,
)
from esplanade.model import Exchange, Outcome
from esplanade.records import Delivery

from . import backoff

_encode = msgspec.json.Encoder().encode
_exchange = msgspec.json.Decoder(Exchange).decode

EXCHANGE_BYTES = 8_192
"""What is kept of one exchange at most; those that the session tells of are far shorter."""
CAUSES_LOOKED_AT = 8


class Done(Struct, frozen=True, kw_only=True):
    """The vendor acknowledged, or there was nothing to do."""

    word: ClassVar[str] = "done"
    outcome: Outcome


class RetryAt(Struct, frozen=True, kw_only=True):
    """Try again then. ``unknown``: the call may have been acted on, so that nobody knows what the vendor holds."""

    word: ClassVar[str] = "retried"
    at: float
    error: str
    unknown: bool = False


class Wait(Struct, frozen=True, kw_only=True):
    """The vendor, or the connector's own pace, asks for patience: the lane waits until then, and nothing was tried."""

    word: ClassVar[str] = "waits"
    error: str
    at: float | None = None
    """None: nobody says how long; the lane waits longer each time."""


class Reject(Struct, frozen=True, kw_only=True):
    """A dead letter, kept and replayable."""

    word: ClassVar[str] = "rejected"
    reason: Literal["rejected", "gave-up", "egress-refused"]
    error: str


class Park(Struct, frozen=True, kw_only=True):
    """Kept for a person to decide on."""

    word: ClassVar[str] = "parked"
    reason: Literal["outcome-unknown"]
    error: str


class Pause(Struct, frozen=True, kw_only=True):
    """The connector stops; this delivery waits with the others."""

    word: ClassVar[str] = "paused"
    state: Literal["auth", "gone"]
    error: str


class Withdrawn(Struct, frozen=True, kw_only=True):
    """It was claimed and not called after all: it waits as before, and nothing was tried."""

    word: ClassVar[str] = "withdrawn"


Verdict: TypeAlias = Done | RetryAt | Wait | Reject | Park | Pause | Withdrawn


def verdict_on(
    result: Outcome | Exception,
    delivery: Delivery,
    *,
    now: float,
    retry: Retry,
    rng: Random,
    repeat: TriggerRepeat,
    look_up_after_s: float = 0.0,
    asks: bool = False,
) -> Verdict:
    """What follows for one delivery. ``repeat`` says what may be done with a trigger whose outcome is unknown.

    ``look_up_after_s``: how long to wait at least before the vendor is asked whether it has acted. ``asks``: it makes the vendor
    ask the person to confirm, and that mail, too, nobody gets twice.
    """
    if isinstance(result, Outcome):
        return Done(outcome=result)
    error = words(result)
    mail = asks or delivery.kind == "trigger"
    repeat = "never" if asks else repeat
    acted = mail and isinstance(result, UnreadableAnswer)  # no refusal, though repeating it is of no use
    plain = None if acted else _plain(result, error, now)
    if plain is not None:
        return plain
    unknown = not isinstance(result, TemporaryError)  # an error that is none of ours says not how far the plugin came
    if mail and unknown and (repeat == "never" or (acted and repeat == "safe")):
        return Park(reason="outcome-unknown", error=error)
    if backoff.is_spent(delivery.attempts, delivery.first_at, now, retry):
        return Reject(reason="gave-up", error=error)
    wait = backoff.delay(delivery.attempts, retry, rng, asked_for=_asked_for(result))
    if mail and unknown and repeat == "check":
        wait = max(wait, look_up_after_s)
    return RetryAt(at=now + wait, error=error, unknown=unknown)


def _plain(result: Exception, error: str, now: float) -> Verdict | None:
    """What follows from an error that leaves nothing to weigh; None for the others."""
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
        case _:
            return None


def exchange_of(result: Outcome | Exception) -> Exchange | None:
    """The request that an error tells of, or that the error told of from which the plugin made its own."""
    problem: BaseException | None = result if isinstance(result, Exception) else None
    for _ in range(CAUSES_LOOKED_AT):
        if problem is None:
            return None
        if isinstance(problem, DeliveryError) and problem.exchange is not None:
            return _sound(problem.exchange)
        problem = problem.__cause__ or problem.__context__
    return None


def _sound(exchange: object) -> Exchange | None:
    """An exchange that can be stored; None for what a plugin made up that is none, or too long to keep."""
    try:
        kept = _encode(exchange)
        return _exchange(kept) if len(kept) <= EXCHANGE_BYTES else None
    except (msgspec.MsgspecError, TypeError, OverflowError, RecursionError):
        return None


def _asked_for(problem: Exception) -> float | None:
    """The seconds that a vendor asks for. A plugin may pass on anything, such as a header's text: that is no wish."""
    wish: object = problem.retry_after if isinstance(problem, DeliveryError) else None
    if isinstance(wish, int):
        return float(min(max(wish, 0), 10**9))
    return wish if isinstance(wish, float) and not math.isnan(wish) else None


def words(problem: BaseException) -> str:
    """An error as dead letters and logs show it. A plugin's own exceptions may quote anything, so only their type is told."""
    if isinstance(problem, EsplanadeError):
        told = f"{type(problem).__name__}: {problem}"[:500]
        return told.encode("utf-8", "replace").decode()  # a lone surrogate can be kept nowhere
    return f"PluginError: the plugin raised {type(problem).__name__}"
