"""Calling a plugin's hooks: for one event or for many, with an answer for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from esplanade.context import Context
from esplanade.errors import DeliveryError, EgressRefused, PermanentError, PluginError, RateLimited, UnreadableAnswer
from esplanade.model import Outcome

_encode = msgspec.msgpack.Encoder().encode
_outcome = msgspec.msgpack.Decoder(Outcome).decode

Hook: TypeAlias = Callable[[Any, Context], Awaitable[Any]]
Result: TypeAlias = Outcome | Exception
SENT = Outcome()

_KINDS = ("profile", "consent", "trigger")

NEVER_AT_ONCE = 50
"""At most so many triggers that must never be repeated share a call: that many are in doubt when it is cut."""


class Dispatch:
    """The outbound hooks of one connector, bound once."""

    def __init__(
        self,
        hooks: dict[str, Hook],
        ctx: Context,
        *,
        was_sent: Callable[[Any, Context], Awaitable[bool]] | None,
        batch_items: int,
        batch_bytes: int,
        triggers_at_once: int,
    ) -> None:
        self.max_bytes = batch_bytes
        """How much the events of one call may weigh, as JSON."""
        self._ctx = ctx
        self._single = {kind: hook for kind in _KINDS if (hook := hooks.get(f"on_{kind}")) is not None}
        self._batch = {kind: hook for kind in _KINDS if (hook := hooks.get(f"on_{kind}_batch")) is not None}
        self._was_sent = was_sent
        self._narrow: dict[str, int] = {}
        self._at_once = {
            kind: min(batch_items, triggers_at_once) if kind == "trigger" else batch_items for kind in _KINDS
        }

    def at_once(self, kind: str, *, unsure: bool = False) -> int:
        """How many events of a kind one call may carry; ``unsure``: of those that may have been sent already."""
        if unsure and kind == "trigger" and self._was_sent is not None:
            return 1  # its look-up must end within the time of one call, too
        return min(self._at_once[kind], self._narrow.get(kind, self._at_once[kind])) if kind in self._batch else 1

    async def call(self, kind: str, events: Sequence[Any]) -> list[Result]:
        """Make one call; a result for each event. Never raises but for cancellation."""
        hook = self._single.get(kind)
        if hook is not None:
            return [await self._one(hook, kind, event) for event in events]
        halved: list[int] = []
        results = await self._many(self._batch[kind], kind, events, halved)
        if halved and any(isinstance(each, RateLimited) for each in results):
            self._narrow[kind] = max(len(events) // 2, 1)  # its halves could not be tried now: they come by themselves
        elif not halved and kind in self._narrow:
            self._narrow[kind] *= 2
            if self._narrow[kind] >= self._at_once[kind]:
                del self._narrow[kind]
        return results

    async def look_up(self, event: Any) -> Result | None:
        """Whether a trigger whose outcome is unknown was sent: then it is delivered. None: it was not."""
        assert self._was_sent is not None
        try:
            sent: object = await self._was_sent(event, self._ctx)
        except Exception as problem:  # noqa: BLE001 - whatever a plugin raises becomes a verdict
            return problem
        except SystemExit:  # asyncio would let it end the hub
            return PluginError("the plugin raised SystemExit")
        if not isinstance(sent, bool):  # None is no word on it, and no reason to send it once more
            return PluginError(f"was_sent must return True or False, not {type(sent).__name__}")
        return SENT if sent else None

    async def _one(self, hook: Hook, kind: str, event: Any) -> Result:
        try:
            return _sound(await hook(event, self._ctx), kind)
        except Exception as problem:  # noqa: BLE001 - whatever a plugin raises becomes a verdict
            return problem
        except SystemExit:  # asyncio would let it end the hub
            return PluginError("the plugin raised SystemExit")

    async def _many(self, hook: Hook, kind: str, events: Sequence[Any], halved: list[int]) -> list[Result]:
        """A batch; halved until the culprit is found, where the vendor refused it as a whole."""
        whole: Exception
        try:
            answers = await hook(events, self._ctx)
            if not isinstance(answers, list) or len(answers) != len(events):
                raise PluginError(f"on_{kind}_batch must return a list with one outcome or error per event")
            return [each if isinstance(each, Exception) else _sound_or_error(each, kind) for each in answers]
        except Exception as problem:  # noqa: BLE001 - whatever a plugin raises becomes a verdict
            whole = problem
        except SystemExit:  # asyncio would let it end the hub
            whole = PluginError("the plugin raised SystemExit")
        if len(events) == 1 or not _may_halve(whole, kind):
            return [whole] * len(events)
        halved.append(len(events))
        half = len(events) // 2
        first = await self._many(hook, kind, events[:half], halved)
        return first + await self._many(hook, kind, events[half:], halved)


def _may_halve(problem: Exception, kind: str) -> bool:
    """Whether the rest of a batch may do better alone: what was refused was not acted on; state may be sent twice."""
    if isinstance(problem, PermanentError) and not isinstance(problem, UnreadableAnswer):
        return not isinstance(problem, EgressRefused)
    return kind != "trigger" and (isinstance(problem, UnreadableAnswer) or not isinstance(problem, DeliveryError))


def _sound_or_error(result: object, kind: str) -> Result:
    try:
        return _sound(result, kind)
    except PluginError as problem:
        return problem


def _sound(result: object, kind: str) -> Outcome:
    """An Outcome that can be written into the base and read again. Raises PluginError."""
    if not isinstance(result, Outcome):
        raise PluginError(f"on_{kind} must return an Outcome, not {type(result).__name__}")
    try:
        return _outcome(_encode(result))
    except (msgspec.MsgspecError, TypeError, OverflowError) as problem:
        raise PluginError(f"on_{kind} returned an Outcome that is none: {problem}") from None
