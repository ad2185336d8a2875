"""A process that takes in people, erases some and says so of each, and then kills itself while it erases the next.

Where: in the middle of a statement of the database; which one, its last argument says.
"""

import asyncio
import itertools
import json
import os
import signal
import sys
from pathlib import Path

from esplanade import runtime
from esplanade.model import KINDS
from esplanade.observe.logging import configure


async def main(folder, many, first, statement):
    configure("error")
    hub = await runtime.Hub.start(runtime.load(Path(folder) / "connectors.yaml", {}), listen=False, deliver=False)
    for number in range(int(many)):
        who = {"email": f"P-{number}-given@example.com"}
        events = [
            ("profile", {**who, "id": f"id-{number}-cdp", "fields": {"name": f"name-{number}-word"}}),
            ("consent", {**who, "purpose": "n", "state": "granted", "evidence": {"ip": f"evidence-{number}-word"}}),
            ("trigger", {**who, "trigger": "cart", "data": {"cart": f"cart-{number}-word"}}),
        ]
        for kind, event in events:
            admission = hub.intake.admit("shop", kind, [json.dumps(event).encode()], may=KINDS)
            await hub.intake.accept(admission.entries)
    await hub.settled()
    for number in range(int(first)):
        await hub.erase(f"p-{number}-given@example.com")
        os.write(1, f"{number}\n".encode())
    steps = itertools.count(1)
    await hub.store._outside(
        lambda db: db.set_progress_handler(lambda: die() if next(steps) == int(statement) else None, 5)
    )
    await hub.erase(f"p-{first}-given@example.com")
    os.write(1, f"{first}\n".encode())
    die()


def die():
    os.kill(os.getpid(), signal.SIGKILL)


asyncio.run(main(*sys.argv[1:]))
