"""A process that accepts events for as long as it lives, and prints the id of each one that was acknowledged."""

import asyncio
import itertools
import os
import sys
from pathlib import Path

from esplanade.records import Entry
from esplanade.store.locate import open_store


async def main(url, folder):
    store = await open_store(url, Path(folder), what="accepting.py")
    numbers = itertools.count()

    async def send():
        for number in numbers:
            name = f"e-{os.getpid()}-{number}"
            await store.accept([Entry(kind="profile", origin="shop", id=name, at=1.0, body=b"x" * (number % 3_000))])
            os.write(1, f"{name}\n".encode())

    await asyncio.gather(*(send() for _ in range(8)))


asyncio.run(main(*sys.argv[1:]))
