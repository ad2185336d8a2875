"""What the connectors do from time to time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from esplanade.delivery.pull import Puller
from esplanade.schedule import Job, Timing

from .connection import Connection, asked
from .webhooks import Registering

WEBHOOKS_DAILY = "17 4 * * *"
"""When webhooks are looked after, so that one that somebody removed at the vendor is missed for a day at most."""


def jobs(
    connections: Iterable[Connection],
    zone: str,
    *,
    pull: Callable[[str], Awaitable[object]],
    registering: Registering,
) -> list[Job]:
    """The jobs of connectors that run: pulls, the re-reading of pending people, and the care for webhooks."""
    found = []
    for connection in connections:
        name, schedule = connection.config.name, connection.config.schedule
        if schedule.pull is not None and "pull" in connection.methods:
            timing = Timing(schedule.pull, zone)
            found.append(Job(connector=name, name="pull", timing=timing, action=partial(pull, name)))
        if schedule.pending_check is not None and "fetch" in connection.methods and connection.puller is not None:
            timing = Timing(f"{schedule.pending_check:f}s", zone)
            action = partial(_reread_pending, connection.puller)
            found.append(Job(connector=name, name="pending_check", timing=timing, action=action))
        if registering.is_kept(connection):
            timing = Timing(WEBHOOKS_DAILY, zone)
            found.append(Job(connector=name, name="webhooks", timing=timing, action=partial(_begin, registering, name)))
    return found


async def _reread_pending(puller: Puller) -> None:
    await asked(puller.reread_pending())


async def _begin(registering: Registering, name: str) -> None:
    registering.begin(name)
