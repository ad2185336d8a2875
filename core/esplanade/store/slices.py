"""An erasure carried through, slice by slice, so that nobody else waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .erasures import Erasure, Traces
from .port import Reader, Store, Unit


async def carry_through(store: Store, erasure: Erasure, *, dropped: Callable[[int], None] = lambda _: None) -> Erasure:
    """Erase from the store, in slices that leave the writer to others; what was done before a kill is not done again.

    The vendors are left to the caller. ``dropped`` hears of journal entries that will not be folded any more.
    """
    while erasure.stage not in {"files", "vendors"}:
        traces = await store.read(_look(erasure))
        erasure, unfolded = await store.run(_remove(erasure, traces), durable=False)
        dropped(unfolded)
        await asyncio.sleep(0)
    if erasure.stage == "vendors":
        return erasure
    await store.scrub()
    return await store.run(lambda unit: unit.end_erasure(erasure, vendors_asked=False))


def _look(erasure: Erasure) -> Callable[[Reader], Traces]:
    return lambda reader: reader.traces(erasure)


def _remove(erasure: Erasure, traces: Traces) -> Callable[[Unit], tuple[Erasure, int]]:
    return lambda unit: unit.erase(erasure, traces)
