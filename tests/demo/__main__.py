"""`make demo`: starts the hub of connectors.yaml with all vendors' twins, plays a day through it, and checks every twin."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from rich.console import Console
from rich.table import Table
from tests.demo.story import ROOT, Story
from tests.demo.verify import checked, differences

from esplanade import runtime
from esplanade.observe.logging import configure


async def demo(console: Console) -> int:
    """Play the story and print what came of it; 0 when every twin holds exactly what it should."""
    with tempfile.TemporaryDirectory(prefix="esplanade-demo-") as folder:
        config = Path(folder) / "connectors.yaml"
        text = (ROOT / "connectors.yaml").read_text("utf-8")
        config.write_text(text.replace("listen: 127.0.0.1:8600", "listen: 127.0.0.1:0"), "utf-8")
        hub = await runtime.Hub.start(runtime.load(config, os.environ))
        try:
            return await _play(hub, config, console)
        finally:
            await hub.stop()


async def _play(hub: runtime.Hub, config: Path, console: Console) -> int:
    console.print(f"the hub of connectors.yaml runs on {hub.url}, with a twin in each vendor's place")
    began = time.monotonic()
    token = hub.config.sources["shop"].token.reveal()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        story = Story(hub, config, session, lambda what: console.print(f"{time.monotonic() - began:6.1f} s  {what}"))
        await story.play()
    took = time.monotonic() - began
    twins = [hub.connections[name].twin for name in ("webpower", "smartemailing", "sparkloop", "cdp")]
    snapshots = [twin.snapshot() for twin in twins if twin is not None]
    found = differences(story.expected, *snapshots)
    compared = checked(story.expected, snapshots[2])
    await _table(hub, console, found, compared)
    calls = sum(connection.twin.request_count for connection in hub.connections.values() if connection.twin)
    console.print(
        f"{len(story.expected.people)} people, {story.sent} live events, {calls} calls to vendors in {took:.1f} s"
    )
    for name, sentences in found.items():
        for sentence in sentences[:10]:
            console.print(f"[red]{name}: {sentence}")
    wrong = sum(map(len, found.values()))
    console.print(
        "[red]the twins do not hold what they should" if wrong else "[green]every twin holds exactly what it should"
    )
    return 1 if wrong else 0


async def _table(hub: runtime.Hub, console: Console, found: dict[str, list[str]], compared: dict[str, int]) -> None:
    outcomes = await hub.store.read(lambda reader: reader.outcomes())
    counts = await hub.store.read(lambda reader: reader.counts(hub.clock.time()))
    took = await hub.store.read(lambda reader: reader.durations())
    table = Table(title="per connector")
    for column in (
        "connector",
        "sent",
        "unchanged",
        "no consent",
        "echoes stopped",
        "retried",
        "dead",
        "p50 ms",
        "p99 ms",
        "values compared",
        "differences",
    ):
        table.add_column(column, justify="left" if column == "connector" else "right")
    for name in hub.connections:
        held = {(what, reason): times for (connector, what, reason), times in outcomes.items() if connector == name}
        spans = sorted(took.get(name, [])) or [0.0]
        centiles = statistics.quantiles(spans, n=100) if len(spans) > 1 else spans * 99
        table.add_row(
            name,
            str(held.get(("sent", ""), 0)),
            str(held.get(("not-sent", "unchanged"), 0)),
            str(held.get(("not-sent", "no-consent"), 0)),
            str(held.get(("reported", "echo"), 0)),
            str(held.get(("failed", "retried"), 0)),
            str(counts[name].dead if name in counts else 0),
            f"{centiles[49] * 1000:.1f}",
            f"{centiles[98] * 1000:.1f}",
            str(compared[name]),
            str(len(found[name])),
        )
    console.print(table)


def main() -> int:
    """Run on uvloop where it is installed."""
    configure("error", as_json=False)
    console = Console(width=max(Console().width, 150))
    try:
        import uvloop

        return uvloop.run(demo(console))
    except ImportError:
        return asyncio.run(demo(console))
    except AssertionError as broken:
        console.print(f"[red]{broken}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
