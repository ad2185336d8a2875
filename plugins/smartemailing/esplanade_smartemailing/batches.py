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
TRIES = 2 * SINGLY
"""So many calls about parts of a call that was refused fit into it as well; finding one of 500 takes 19."""
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

    What was refused was not acted on. Whatever else goes wrong is the result of all in that part. Where more parts are refused
    than there is time for, the rest is put off.
    """
    results: list[Result] = []
    left, parts = TRIES, [items]
    while parts:
        part = parts.pop(0)
        if not left:
            results += [put_off()] * len(part)
            continue
        left -= 1
        try:
            results += await call(part)
        except PermanentError as refused:
            if len(part) == 1 or isinstance(refused, UnreadableAnswer):
                results += [refused] * len(part)
            else:
                half = len(part) // 2
                parts[:0] = [part[:half], part[half:]]
        except DeliveryError as problem:
            results += [problem] * len(part)
    return results
