"""``kill -9`` at any moment loses nothing that was acknowledged."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from pathlib import Path

ROUNDS = 4


async def test_whatever_was_acknowledged_outlives_a_kill(backend):
    rng = random.Random(4)
    acknowledged = set()
    for _ in range(ROUNDS):
        acknowledged |= await _accept_until_killed(backend, after=rng.randrange(1, 600))
        store = await backend.open()
        found = [entry.id for _, entry in await store.run(lambda unit: list(unit.next_entries(1_000_000)))]
        assert acknowledged <= set(found)
        assert len(found) == len(set(found)) == await store.read(lambda reader: reader.backlog())
        await store.close()


async def _accept_until_killed(backend, *, after):
    program = Path(__file__).with_name("accepting.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), backend.url, str(backend.folder), stdout=asyncio.subprocess.PIPE
    )
    told = [await process.stdout.readline() for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    told += (await process.stdout.read()).splitlines(keepends=True)
    assert await process.wait() == -signal.SIGKILL
    return {line.decode().strip() for line in told if line.endswith(b"\n")}
