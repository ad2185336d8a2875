"""Who does the writing: the hub that runs, else one of the command's own. Commands do not notice which."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from .operator import OperationError, Operator

if TYPE_CHECKING:
    from esplanade.config import Config

    from .session import Session


def running_hub(config: Config) -> dict[str, Any] | None:
    """Who holds the store, with ``url`` when it answers requests; None when nobody does."""
    from esplanade.store.locate import holder

    return holder(config.hub.store, config.path.parent)


def running_url(config: Config) -> str | None:
    """Where the running hub answers; None when none runs, or it takes no requests."""
    url = (running_hub(config) or {}).get("url")
    return url if isinstance(url, str) else None


@asynccontextmanager
async def operator(session: Session) -> AsyncIterator[Operator]:
    """Whoever does the writing: the running hub, or a quiet hub of one's own that ends with the block."""
    config = session.config
    held = running_hub(config)
    if held is not None:
        from .client import RunningHub

        url = held.get("url")
        if not isinstance(url, str):
            what = f"process {held.get('pid', 'unknown')} ({held.get('what', 'esplanade')})"
            raise OperationError(f"the store is in use by {what}, which takes no requests; wait until it has ended")
        async with RunningHub.at(url, config) as hub:
            yield hub
        return
    from .own import own_hub

    async with own_hub(session.loaded) as own:
        yield own
