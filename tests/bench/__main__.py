"""Everything beside its limit. Prints one table; the ratios are what counts, the rates are this machine's.

``python -m tests.bench [--quick] [ROW …]``; without rows, all of them, and what one event costs in each part.
"""

from __future__ import annotations

import os
import platform
import sys

import uvloop
from tests.bench import accept, client, fold
from tests.bench.rows import QUICK, ROWS, Sizes

from esplanade.observe.logging import configure


def line(*cells: object) -> str:
    """A line of the table, as the docs have it."""
    return f"| {' | '.join(map(str, cells))} |"


async def bench(names: list[str], sizes: Sizes) -> None:
    """Measure rows in turn, and print each when it is known."""
    sys.stdout.write(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores\n\n")
    sys.stdout.write(f"{line('work', 'ratio', 'of', 'reach', 'stretch', 'measured')}\n{line(*['---'] * 6)}\n")
    for name in names:
        for row in await ROWS[name](sizes):
            cells = line(row.what, f"{row.ratio:.2f}", row.of, row.reach, row.stretch, row.measured)
            sys.stdout.write(f"{cells}\n")
            sys.stdout.flush()


async def parts() -> None:
    """What one event costs before its answer and behind it."""
    sys.stdout.write("\nbefore the answer, CPU time:\n")
    for words in accept.table(await accept.measure()):
        sys.stdout.write(f"{words}\n")
    sys.stdout.write("\nbehind the answer, on the writer's thread:\n")
    for words in fold.table(fold.measure()):
        sys.stdout.write(f"{words}\n")


if __name__ == "__main__":
    configure("error", as_json=True)
    wanted = [each for each in sys.argv[1:] if each != "--quick"]
    unknown = [each for each in wanted if each not in ROWS]
    if unknown:
        sys.exit(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    uvloop.run(bench(wanted or list(ROWS), QUICK if "--quick" in sys.argv else Sizes()))
    if not wanted:
        uvloop.run(parts())
        sys.stdout.write("\na call to a vendor, CPU time:\n")
        for words in client.table(client.measure()):
            sys.stdout.write(f"{words}\n")
