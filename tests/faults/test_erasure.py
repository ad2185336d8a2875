"""``kill -9`` in the middle of an erasure: what was answered is gone, what was begun is carried through, nobody else is touched."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from esplanade import runtime

MANY, FIRST = 12, 3
CONNECTORS = {
    "hub": {"listen": "127.0.0.1:0"},
    "sources": {"shop": {"token": "a-token-of-the-shop-1"}},
    "connectors": {
        "cdp": {
            "plugin": "webhook",
            "twin": True,
            "settings": {
                "url": "https://cdp.example/hooks",
                "secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            },
            "triggers": {"*": {}},
        }
    },
}


def words(number):
    return [
        f"P-{number}-given@",
        f"p-{number}-given@",
        f"id-{number}-cdp",
        f"name-{number}-word",
        f"evidence-{number}-word",
        f"cart-{number}-word",
    ]


def left(folder, number):
    raw = b"".join(path.read_bytes() for path in folder.glob("esplanade.db*"))
    return [word for word in words(number) if word.encode() in raw]


async def erased_until_killed(folder, *, statement):
    """Whom a process has erased, and said so, before it was killed."""
    program = Path(__file__).with_name("erasing.py")
    arguments = (str(program), str(folder), str(MANY), str(FIRST), str(statement))
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    assert process.returncode == -signal.SIGKILL
    return [int(line) for line in told.splitlines()]


@pytest.mark.parametrize("statement", [1, 30, 60, 90, 120, 150, 180, 10_000])
async def test_an_erasure_outlives_a_kill(tmp_path, statement):
    (tmp_path / "connectors.yaml").write_text(json.dumps(CONNECTORS))
    done = await erased_until_killed(tmp_path, statement=statement)
    assert done[:FIRST] == list(range(FIRST))
    assert [left(tmp_path, number) for number in done] == [[] for _ in done]
    hub = await runtime.Hub.start(runtime.load(tmp_path / "connectors.yaml", {}), listen=False, deliver=False)
    try:
        begun = {erasure.person - 1 for erasure in await hub.store.read(lambda reader: reader.open_erasures())}
        assert begun <= {FIRST}
        async with asyncio.timeout(20):
            while await hub.store.read(lambda reader: reader.open_erasures()):
                await asyncio.sleep(0.01)
        for number in range(MANY):
            assert left(tmp_path, number) == ([] if number in {*done, *begun} else words(number))
        assert await hub.erase(f"p-{MANY - 1}-given@example.com") is not None
        assert left(tmp_path, MANY - 1) == []
    finally:
        await hub.stop()
