"""What is measured, row by row: each beside its limit, in the same run."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from statistics import median

import aiohttp
import msgspec
from msgspec import Struct
from tests.bench import importing, pulling
from tests.bench.house import House, cpu_s, fsync_s, house, process
from tests.bench.load import WORKERS, event, rate


class Row(Struct, frozen=True, kw_only=True):
    """One line of the table. ``reach`` and ``stretch`` are what the ratio, or the figure, is to be."""

    what: str
    measured: str
    ratio: float
    of: str
    reach: str
    stretch: str


class Sizes(Struct, frozen=True, kw_only=True):
    """How much each row does."""

    requests: int = 6_000
    bulk: int = 30_000
    backlog: int = 6_000
    slow: int = 3_000
    bulk_people: int = 20_000
    latency_s: float = 8.0
    pending: int = 1_000_000
    fanned: int = 3_000
    saturating: int = 100_000
    opt_outs: int = 60
    pulled: int = 100_000
    imported: int = 100_000
    rounds: int = 3


QUICK = Sizes(
    requests=2_000, bulk=5_000, backlog=2_000, slow=1_000, bulk_people=5_000, latency_s=2.0, pending=30_000,
    fanned=1_000, saturating=3_000, opt_outs=15, pulled=5_000, imported=5_000, rounds=1,
)  # fmt: skip


async def bare_server(requests: int) -> tuple[float, float]:
    """The limit of ingest: requests a second of a bare aiohttp server, and its CPU time for each in seconds."""
    async with process("tests.bench.processes") as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/v1/profiles"

        async def one(number: int) -> None:
            async with session.post(url, data=event(number)) as answer:
                await answer.read()

        await rate(one, requests // 4)
        before = await _own_cpu(port)
        speed = await rate(one, requests)
        return speed, (await _own_cpu(port) - before) / requests


async def bare_client(vendor: str, requests: int) -> float:
    """The limit of delivery: calls a second of a bare aiohttp client with 64 workers."""
    async with aiohttp.ClientSession() as session:
        body = msgspec.json.encode({"key": "k", "fields": msgspec.json.decode(event(7))["fields"]})

        async def one(_: int) -> None:
            async with session.put(f"{vendor}/people", data=body) as answer:
                await answer.read()

        await rate(one, requests // 4)
        return await rate(one, requests)


async def ingest(sizes: Sizes) -> list[Row]:
    """One profile a request: accepted on disk, folded behind; the connector is paused."""
    ratios, lags, speeds, costs = [], [], [], []
    for _ in range(sizes.rounds):
        bare, bare_cpu = await bare_server(sizes.requests)
        async with house() as home:
            await home.start()
            await home.order(home.names[0], "pause")
            await home.singles(sizes.requests // 4, first=1_000_000)
            await home.until_queued(sizes.requests // 4)
            before = home.cpu_s()
            speed = await home.singles(sizes.requests)
            ended = time.monotonic()
            await home.until_queued(sizes.requests // 4 + sizes.requests)
            lags.append(time.monotonic() - ended)
            costs.append((home.cpu_s() - before) / sizes.requests / bare_cpu)
        ratios.append(speed / bare)
        speeds.append(speed)
    measured = f"{median(speeds):,.0f}/s, fold {median(lags):.1f} s behind at the end, {median(costs):.1f} x bare's CPU"
    what = "ingest, one profile a POST, on disk before 202"
    return [Row(what=what, measured=measured, ratio=median(ratios), of="bare", reach="0.75", stretch="0.95")]


async def ingest_bulk(sizes: Sizes) -> list[Row]:
    """500 profiles a request: until all of them are folded and fanned out to one connector, which is paused."""
    speeds, bares = [], []
    for _ in range(sizes.rounds):
        bare, _ = await bare_server(sizes.requests)
        bares.append(bare)
        bodies = [
            b"[" + b",".join(event(start + at) for at in range(500)) + b"]" for start in range(0, sizes.bulk, 500)
        ]
        async with house() as home:
            await home.start()
            await home.order(home.names[0], "pause")
            began = time.monotonic()
            for body in bodies:
                await home.post("profiles", body)
            accepted = time.monotonic() - began
            await home.until_queued(sizes.bulk)
            speeds.append(sizes.bulk / (time.monotonic() - began))
    measured = f"{median(speeds):,.0f} profiles/s (accepted: {sizes.bulk / accepted:,.0f}/s)"
    return [
        Row(
            what="ingest, 500 a POST, folded and fanned out to 1 connector",
            measured=measured,
            ratio=median(speed / bare for speed, bare in zip(speeds, bares, strict=True)),
            of="bare",
            reach="2.36",
            stretch="3.77",
        )
    ]


async def backlog(sizes: Sizes) -> list[Row]:
    """A stored backlog, and a vendor that answers at once."""
    ratios, speeds = [], []
    for _ in range(sizes.rounds):
        async with house() as home:
            await home.fill(sizes.backlog)
            client = await bare_client(home.vendors[0], sizes.requests)
            speed = await _delivered(home, sizes.backlog)
            client = (client + await bare_client(home.vendors[0], sizes.requests)) / 2
        ratios.append(speed / client)
        speeds.append(speed)
    what = "deliver a stored backlog, vendor answers at once"
    return [
        Row(
            what=what,
            measured=f"{median(speeds):,.0f}/s",
            ratio=median(ratios),
            of="client",
            reach="0.65",
            stretch="0.8",
        )
    ]


async def slow_vendor(sizes: Sizes) -> list[Row]:
    """The same, and a vendor that takes 50 ms."""
    async with house(delay_s=0.05) as home:
        await home.fill(sizes.slow)
        speed = await _delivered(home, sizes.slow)
    ideal = WORKERS / 0.05
    what = "the same, vendor takes 50 ms"
    return [
        Row(
            what=what,
            measured=f"{speed:,.0f}/s",
            ratio=speed / ideal,
            of="the ideal 1,280/s",
            reach="0.93",
            stretch="0.97",
        )
    ]


async def closed_loop(sizes: Sizes) -> list[Row]:
    """Both at once: from the POST to the vendor, as fast as 64 workers send; and the time it takes at 30 % of that."""
    ratios, costs, speeds = [], [], []
    for _ in range(sizes.rounds):
        bare, bare_cpu = await bare_server(sizes.requests)
        async with house() as home:
            await home.start()
            await home.singles(sizes.requests // 4, first=1_000_000)
            await home.until_delivered(sizes.requests // 4)
            await home.reset()
            before, began = home.cpu_s(), time.monotonic()
            await home.singles(sizes.requests)
            (said,) = await home.until_delivered(sizes.requests)
            speed = sizes.requests / (said["last"] - began)
            costs.append((home.cpu_s() - before) / sizes.requests / bare_cpu)
            await home.reset(arrivals=True)
            latencies = await _latencies(home, 0.3 * speed, sizes.latency_s)
            probe = fsync_s(home.folder)
        ratios.append(speed / bare)
        speeds.append(speed)
    p50, p99 = (latencies[int(len(latencies) * share)] * 1e3 for share in (0.5, 0.99))
    disk = f"fsync p50 {probe[len(probe) // 2] * 1e3:.1f}, p99 {probe[int(len(probe) * 0.99)] * 1e3:.1f} ms"
    return [
        Row(
            what="both at once: POST to vendor, closed loop",
            measured=f"{median(speeds):,.0f}/s",
            ratio=median(ratios),
            of="bare",
            reach="0.35",
            stretch="0.5",
        ),
        Row(
            what="  CPU of one event", measured="", ratio=median(costs), of="bare's CPU", reach="<= 3.3", stretch="2.8"
        ),
        Row(what="  POST to vendor at 30 % load, p50", measured=disk, ratio=p50, of="ms", reach="<= 4", stretch="2"),
        Row(what="  POST to vendor at 30 % load, p99", measured=disk, ratio=p99, of="ms", reach="<= 25", stretch="12"),
    ]


async def bulk_vendor(sizes: Sizes) -> list[Row]:
    """A vendor that takes 500 people a call."""
    async with house(bulk=True, pace="{concurrency: 4}") as home:
        await home.fill(sizes.bulk_people)
        bare, _ = await bare_server(sizes.requests)
        speed = await _delivered(home, sizes.bulk_people)
    return [
        Row(
            what="bulk vendor, 500 people a call",
            measured=f"{speed:,.0f} people/s",
            ratio=speed / bare,
            of="bare",
            reach="1.89",
            stretch="4.72",
        )
    ]


async def pending(sizes: Sizes) -> list[Row]:
    """A million deliveries that wait: memory, the pace at the end, and the time to the first call after a start."""
    async with house() as home:
        await home.start()
        idle = home.resident_bytes()
        await home.stop()
        home.empty()
        await home.fill(sizes.pending)
        began = time.monotonic()
        await home.start()
        most, marks, tenth = 0, dict[int, float](), sizes.pending // 10
        while True:
            said = await home.said(home.vendors[0])
            most = max(most, home.resident_bytes())
            marks.setdefault(said["people"] // tenth, time.monotonic())
            if said["people"] >= sizes.pending:
                break
            await asyncio.sleep(0.02)
        first = said["first"] - began
    pace = (marks[1] - said["first"]) / (said["last"] - marks[9])
    many = f"{sizes.pending:,} pending"
    return [
        Row(
            what=f"{many}: memory above idle",
            measured="",
            ratio=(most - idle) / 1e6,
            of="MB",
            reach="< 150",
            stretch="40",
        ),
        Row(what="  last tenth", measured="", ratio=pace, of="of the first", reach="0.85", stretch="0.95"),
        Row(what="  restart to first delivery", measured="", ratio=first, of="s", reach="< 2", stretch="1"),
    ]


async def fan_out(sizes: Sizes) -> list[Row]:
    """The deliveries a second with four connectors, and with one."""
    ratios = []
    for _ in range(sizes.rounds):
        async with house() as home:
            await home.fill(sizes.fanned * 4)
            one = await _delivered(home, sizes.fanned * 4)
        async with house(vendors=4, pace="{concurrency: 16}") as home:
            await home.fill(sizes.fanned)
            four = await _delivered(home, sizes.fanned)
        ratios.append(four / one)
    return [
        Row(
            what="fan-out to 4 connectors",
            measured=f"{four:,.0f} deliveries/s",
            ratio=median(ratios),
            of="with 1",
            reach="0.7",
            stretch="0.9",
        )
    ]


async def opt_out(sizes: Sizes) -> list[Row]:
    """An opt-out, while a back-fill uses all that the vendor allows: from its POST until the vendor hears of it."""
    slot_s, delay_s = 0.02, 0.05
    async with house(delay_s=delay_s, pace="{rate: 50/s, burst: 1, concurrency: 4}") as home:
        await home.fill(sizes.saturating)
        await home.start()
        for number in range(sizes.opt_outs):
            body = {"email": f"opt.{number}@load.example", "purpose": "newsletter", "state": "denied"}
            await home.post("consents", msgspec.json.encode({**body, "state": "granted"}))
        await home.until_delivered(200)
        await home.reset(arrivals=True)
        posted: dict[str, float] = {}
        chance = random.Random(1)
        for number in range(sizes.opt_outs):
            email = f"opt.{number}@load.example"
            posted[f"{email} denied"] = time.monotonic()
            await home.post(
                "consents", msgspec.json.encode({"email": email, "purpose": "newsletter", "state": "denied"})
            )
            await asyncio.sleep(chance.uniform(0.05, 0.2))
        await asyncio.sleep(1)
        arrivals = (await home.said(home.vendors[0]))["arrivals"]
    took = sorted(arrivals[key] - at for key, at in posted.items())
    limit = delay_s + 2 * slot_s
    return [
        Row(
            what=f"opt-out p99 while a back-fill of {sizes.saturating:,} saturates the quota",
            measured=f"p50 {took[len(took) // 2] * 1e3:.0f} ms, p99 {took[int(len(took) * 0.99)] * 1e3:.0f} ms",
            ratio=took[int(len(took) * 0.99)] / limit,
            of="vendor latency + two pace slots",
            reach="<= 1",
            stretch=f"{(delay_s + slot_s) / limit:.2f}",
        )
    ]


async def pull(sizes: Sizes) -> list[Row]:
    """Everybody whom a Copernica holds: first when all of them are new, then when nothing is."""
    found = await pulling.measure(sizes.pulled)
    assert (found.first["read"], found.second["changed"]) == (sizes.pulled, 0), found
    speeds = [f"{sizes.pulled / took:,.0f} profiles/s" for took in (found.first_s, found.second_s)]
    many = f"{sizes.pulled:,} profiles"
    return [
        Row(
            what=f"pull of {many}, all of them new, until they are folded",
            measured=f"{speeds[0]}, {found.resident_mb:.0f} MB",
            ratio=found.bare_s / found.first_s,
            of="bare client",
            reach="none set",
            stretch="",
        ),
        Row(
            what="  the next pull, nothing new",
            measured=speeds[1],
            ratio=found.bare_s / found.second_s,
            of="bare client",
            reach="none set",
            stretch="",
        ),
    ]


async def imports(sizes: Sizes) -> list[Row]:
    """Everybody's fields and a grant into SmartEmailing at the vendor's own limits, by its clock."""
    found = await importing.measure(sizes.imported)
    assert (found.lost, found.refused) == (0, 0), found
    return [
        Row(
            what=f"import of {sizes.imported:,} people, each with a grant, where the vendor takes 4 requests a second",
            measured=f"{found.requests} requests, {found.vendor_s:.0f} s by the vendor's clock, {found.machine_s:.0f} s here",
            ratio=found.vendor_s / found.ideal_s,
            of="so many requests at that rate",
            reach="<= 1",
            stretch="",
        )
    ]


ROWS: dict[str, Callable[[Sizes], Awaitable[list[Row]]]] = {
    "ingest": ingest,
    "ingest-bulk": ingest_bulk,
    "backlog": backlog,
    "slow-vendor": slow_vendor,
    "closed-loop": closed_loop,
    "bulk-vendor": bulk_vendor,
    "fan-out": fan_out,
    "opt-out": opt_out,
    "pending": pending,
    "pull": pull,
    "import": imports,
}


async def _delivered(home: House, many: int) -> float:
    """Start the hub on its backlog; deliveries a second, of all vendors together, from the first that came to the last."""
    await home.reset()
    await home.start()
    said = await home.until_delivered(many)
    await home.stop()
    took = max(each["last"] for each in said) - min(each["first"] for each in said)
    return sum(each["people"] for each in said) / took


async def _latencies(home: House, per_s: float, seconds: float) -> list[float]:
    """Send at a steady rate; how long each event took from its sending to the vendor, sorted."""
    sent: dict[str, float] = {}
    tasks: set[asyncio.Task[None]] = set()
    began = time.monotonic()
    for number in range(int(per_s * seconds)):
        wait = began + number / per_s - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        sent[f"person.{5_000_000 + number}@load.example"] = time.monotonic()
        task = asyncio.create_task(home.post("profiles", event(5_000_000 + number)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    (said,) = await home.until_delivered(len(sent))
    return sorted(said["arrivals"][key] - at for key, at in sent.items())


async def _own_cpu(port: int) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/pid") as answer:
        return cpu_s(int(await answer.text()))
