"""Running until told to stop: SIGTERM and SIGINT drain, SIGHUP reads connectors.yaml anew."""

from __future__ import annotations

import asyncio
import os
import signal

from esplanade.errors import EsplanadeError

from .hub import Hub
from .load import load


async def serve(hub: Hub) -> None:
    """Return once the hub was asked to stop and has drained."""
    loop = asyncio.get_running_loop()
    stop, reload = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    try:
        while not stop.is_set():
            waits = [loop.create_task(event.wait()) for event in (stop, reload)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if reload.is_set() and not stop.is_set():
                reload.clear()
                await _reload(hub)
        hub.log.info("draining")
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
        await hub.stop()


async def _reload(hub: Hub) -> None:
    try:
        loaded = await asyncio.get_running_loop().run_in_executor(None, load, hub.config.path, dict(os.environ))
        await hub.reload(loaded)
    except EsplanadeError as problem:
        hub.log.error("not_reloaded", error=str(problem))
    else:
        hub.log.info("reloaded")
