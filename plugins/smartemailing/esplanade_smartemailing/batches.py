"""Calls for many, of which each has its own result."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

from esplanade import DeliveryError, Outcome, PermanentError, RateLimited, UnreadableAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

T = TypeVar("T")

Result: TypeAlias = Outcome | Exception

SINGLY = 20
"""So many calls about one contact each, such as a change of address, fit into the time of one call of the hub's."""
_SOON_S = 0.1


def put_off() -> RateLimited:
    """What becomes of somebody whose turn did not come: they go with the next call."""
    return RateLimited(
        "more contacts needed a call of their own than fit into one; this one is next", retry_after=_SOON_S
    )


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in their order, so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


async def in_halves(items: Sequence[T], call: Callable[[Sequence[T]], Awaitable[list[Result]]]) -> list[Result]:
    """A result for each item of one call; halved where the vendor refuses it as a whole, until the culprit is found.

    What was refused was not acted on. Whatever else goes wrong is everybody's result.
    """
    try:
        return await call(items)
    except PermanentError as refused:
        if len(items) == 1 or isinstance(refused, UnreadableAnswer):
            return [refused] * len(items)
    except DeliveryError as problem:
        return [problem] * len(items)
    half = len(items) // 2
    return await in_halves(items[:half], call) + await in_halves(items[half:], call)
