"""Where the hub's time goes while a row is measured: ``python -m tests.bench.profile [ROW]``, as ``make profile`` runs it.

py-spy watches the hub from outside and takes its stack many times a second, so what is watched is the hub as operators run it. Only
time is counted in which a thread holds the interpreter, or waits for it.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import uvloop
from msgspec.structs import replace
from tests.bench.house import House
from tests.bench.rows import QUICK, ROWS

from esplanade.observe.logging import configure

SHOWN = 25
SAMPLES_PER_S = 250


def table(stacks: Iterable[str]) -> list[str]:
    """The functions in which most time is spent, by thread: their share alone, and with all that they call.

    ``stacks`` are lines such as ``thread 0x1;outer (file.py:3);inner (file.py:9) 17``.
    """
    own, whole, threads = Counter[tuple[str, str]](), Counter[tuple[str, str]](), Counter[str]()
    for line in stacks:
        path, _, many = line.strip().rpartition(" ")
        thread, *frames = path.split(";")
        names = [_name(frame) for frame in frames]
        if not names or any("importlib" in name for name in names):
            continue  # the start
        thread = _thread(thread)
        threads[thread] += int(many)
        own[thread, names[-1]] += int(many)
        whole.update(dict.fromkeys(((thread, name) for name in names), int(many)))
    every = sum(threads.values())
    lines = [f"{threads[thread] / every:6.1%} {thread}" for thread in sorted(threads, key=lambda each: -threads[each])]
    lines.append(f"\n{'alone':>6} {'all':>6}")
    for (thread, name), many in own.most_common(SHOWN):
        lines.append(f"{many / every:6.1%} {whole[thread, name] / every:6.1%} {thread:12} {name}")
    return lines


def _name(frame: str) -> str:
    """``inner (package/file.py:9)`` without its line."""
    function, _, place = frame.partition(" (")
    return f"{function} ({place.rpartition(':')[0] or place.rstrip(')')})"


def _thread(text: str) -> str:
    return "event loop" if "MainThread" in text else text.strip('"').partition(":")[2].strip(' "') or text


async def profile(row: str) -> list[str]:
    """Measure a row with py-spy beside the hub."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "stacks"
        House.under = [
            "py-spy", "record", "--format", "raw", "--threads", "--gil", "--rate", str(SAMPLES_PER_S),
            "--output", str(found), "--",
        ]  # fmt: skip
        for each in await ROWS[row](replace(QUICK, backlog=20_000, requests=10_000, bulk_people=40_000, rounds=1)):
            sys.stdout.write(f"{each.what}: {each.measured}\n")
        return table(found.read_text("utf-8").splitlines())


if __name__ == "__main__":
    configure("error", as_json=True)
    (wanted,) = sys.argv[1:] or ["backlog"]
    if wanted not in ROWS:
        sys.exit(f"no such row: {wanted}; there are {', '.join(ROWS)}")
    for line in uvloop.run(profile(wanted)):
        sys.stdout.write(f"{line}\n")
