"""The hub itself."""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
from typing import TYPE_CHECKING

from esplanade.cli.operator import OperationError
from esplanade.cli.output import talk
from esplanade.cli.ports import listener
from esplanade.cli.session import Session, command, warn
from esplanade.errors import StoreError

INTERRUPTED = 130

if TYPE_CHECKING:
    from esplanade.runtime import Hub


@command("run", "run the hub")
def run(session: Session) -> int:
    """Run the hub: API, webhooks, delivery, schedule. SIGTERM drains, SIGHUP reads the file again."""
    warn(session)
    return session.run(_run(session), level="info")


async def _run(session: Session) -> int:
    from esplanade.runtime import Hub, serve

    try:
        hub = await Hub.start(session.loaded)
    except StoreError as problem:
        who = listener(session.config.hub.port) if _is_busy(problem.__context__) else None
        raise OperationError(f"{problem} It is held by {who}." if who else str(problem)) from None
    _settle_memory()
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        signal.raise_signal(signal.SIGTERM)

    try:
        serving = asyncio.create_task(serve(hub))
        await asyncio.sleep(0)  # its handlers of signals are set now
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
        _announce(session, hub)
        await serving
    finally:
        await hub.stop()  # when a signal came before there were handlers
    return INTERRUPTED if interrupted else 0


def _settle_memory() -> None:
    """Look for cycles seldom, and never among what stays: the hub makes hardly any, and looking took a sixth of its time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _is_busy(problem: BaseException | None) -> bool:
    return isinstance(problem, OSError) and problem.errno == errno.EADDRINUSE


def _announce(session: Session, hub: Hub) -> None:
    talk(f"esplanade answers at {hub.url}")
    for one in hub.connectors():
        state = one.failure or (
            "disabled" if not one.enabled else "twin" if session.config.connectors[one.name].twin else "live"
        )
        talk(
            f"  {one.name} ({one.plugin} {one.version}, {state})"
            + (f" hears at {one.hook_url.rpartition('/')[0]}/…" if one.hook_url else "")  # its end is a secret
        )
