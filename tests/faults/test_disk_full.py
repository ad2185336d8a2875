"""A disk that is full: nothing is half accepted, what is under way is neither lost nor done twice, and with room all goes on."""

import asyncio
import contextlib
import functools
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs
from tests.e2e.processes import free_port, get, until
from tests.faults.conftest import all_done
from tests.faults.invariants import promises_are_kept, rows_of
from tests.faults.story import Said, story, tell
from tests.faults.vendor import HUB, connector, plugin, running_vendor
from tests.integration.runtime.conftest import folded

from esplanade.model import KINDS
from esplanade.store.locate import reading

SHOP = {"Authorization": "Bearer a-token-of-the-shop-1"}
MANY = 20
TRIES = 10
"""How often a request is sent before it counts as one for which there is no room."""


@pytest.fixture
def quiet():
    """What is logged is looked at here."""
    return


class Disk:
    """The disk under a hub's store, which can be filled and emptied."""

    def __init__(self, hub):
        self.hub = hub

    async def fill(self):
        """Leave no page in the file that anything new could be written to."""

        def filled(db):
            db.execute("CREATE TABLE IF NOT EXISTS ballast (bytes BLOB)")
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            (spare,) = db.execute("PRAGMA freelist_count").fetchone()
            (size,) = db.execute("PRAGMA page_size").fetchone()
            for _ in range(spare):
                db.execute("INSERT INTO ballast VALUES (zeroblob(?))", (size - 100,))
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            db.execute(f"PRAGMA max_page_count = {pages}")

        await self.hub.store._outside(filled)

    async def empty(self):
        await self.hub.store._outside(lambda db: db.execute("PRAGMA max_page_count = 1073741823").fetchone())


async def post(url, said, key=None):
    """Send events of one kind in one request; the status and the answer."""
    headers = {**SHOP, **({"Idempotency-Key": key} if key else {})}
    body = [each.body() for each in said]
    path = f"{url}/v1/{said[0].kind}s"
    async with aiohttp.ClientSession(headers=headers) as session, session.post(path, json=body) as answer:
        return answer.status, await answer.json(content_type=None), answer.headers


async def logged(logs, event):
    """Return once something was logged since."""
    async with asyncio.timeout(10):
        while not any(line["event"] == event for line in logs):
            await asyncio.sleep(0.01)


async def calls_ended(hub):
    """Return once every call has ended, though what came of some is not written down."""
    calls = hub.connections["vendor"].outbound._calls
    async with asyncio.timeout(10):
        while calls.running or not calls.finished:
            await asyncio.sleep(0.01)


def again(line):
    """What a call that repeats another has in common with it."""
    return line.kind, line.email, line.seq, line.purpose, line.trigger_id


def profiles(number, people=500):
    return [Said(kind="profile", name=f"p{each}", seq=number) for each in range(people)]


def triggers(number, people=MANY):
    return [Said(kind="trigger", name=f"p{each}", seq=number, trigger="order") for each in range(people)]


async def test_a_request_is_refused_whole_and_taken_once_there_is_room(place):
    async with running_vendor() as vendor:
        hub = await place.start({"vendor": vendor}, listen=True)
        disk = Disk(hub)
        assert (await post(hub.url, triggers(1), "k-1"))[0] == 202
        await all_done(hub)
        await disk.fill()
        for said, key in ((profiles(2), "k-2"), (triggers(3, 500), None), (profiles(2), "k-2")):
            status, answer, headers = await post(hub.url, said, key)
            assert (status, answer["type"]) == (503, "storage-full")
            assert int(headers["Retry-After"]) > 0
        await disk.empty()
        assert await hub.store.read(lambda reader: reader.backlog()) == 0
        people = await hub.store.run(lambda unit: [unit.person(number) for number in range(1, MANY + 2)])
        assert [person is None for person in people] == [False] * MANY + [True]
        status, answer, _ = await post(hub.url, profiles(2), "k-2")
        assert (status, answer["accepted"]) == (202, 500)
        rows = await all_done(hub)
        promises_are_kept([*triggers(1), *profiles(2)], vendor.account, rows, repeat="never")
        assert len(rows) == MANY + MANY + 500  # each with the profile that the first trigger made, or that came first


@pytest.mark.parametrize("repeat", ["never", "check", "safe"])
async def test_calls_that_end_while_it_is_full_are_written_down_once_there_is_room(place, clock, repeat):
    async with running_vendor() as vendor:
        hub = await place.start({"vendor": vendor}, repeat=repeat, clock=clock, timeout="10m")
        said = [each for wave in story(1, MANY, 10) for each in wave]
        vendor.open.clear()
        await tell(hub, said)
        await folded(hub)
        await vendor.heard(lambda _: vendor.calls == 16)
        await Disk(hub).fill()
        with capture_logs() as logs:
            vendor.open.set()
            await logged(logs, "lane_store_failed")
        await calls_ended(hub)
        acted = len(vendor.account.acted())
        assert 0 < acted < len(said)
        for _ in range(3):  # it tries again, and cannot
            with capture_logs() as logs:
                await clock.advance(1.0)
                await logged(logs, "lane_store_failed")
        assert len(vendor.account.acted()) == acted
        await Disk(hub).empty()
        await clock.advance(1.0)
        rows = await all_done(hub)
        promises_are_kept(said, vendor.account, rows, repeat=repeat)
        assert {row.state for row in rows} == {"done"}
        assert (
            len(vendor.account.lines)
            == len(vendor.account.acted())
            == len({again(line) for line in vendor.account.lines})
        )


# A real one.


def unshared(*command):
    return ["unshare", "--user", "--map-root-user", "--mount", *command]


@functools.cache
def may_mount():
    """Whether this user may give a process a disk of its own."""
    if shutil.which("unshare") is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        mount = unshared("mount", "-t", "tmpfs", "tmpfs", folder)
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0


@contextlib.asynccontextmanager
async def hub_on_a_small_disk(folder, vendor):
    """A hub in a process of its own; gives its URL and what frees its disk. In the end its store lies in ``folder``."""
    port = free_port()
    (folder / "vendor.py").write_text(plugin())
    content = {
        "hub": {**HUB, "listen": f"127.0.0.1:{port}"},
        "sources": {"shop": {"token": "a-token-of-the-shop-1"}},
        "connectors": {"vendor": connector(vendor.origin)},
    }
    (folder / "connectors.yaml").write_text(json.dumps(content))
    program = Path(__file__).with_name("small_disk.py")
    command = unshared(sys.executable, str(program), str(folder), "16m", str(11 * 2**20))
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )

    async def free():
        process.stdin.write(b"free\n")
        assert await process.stdout.readline() == b"freed\n"

    url = f"http://127.0.0.1:{port}"

    async def ready():
        assert process.returncode is None
        return (await get(f"{url}/readyz"))[0] == 200

    try:
        await until(ready)
        yield url, free
    finally:
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 20) == 0


@pytest.mark.skipif("not may_mount()", reason="this user may not mount a disk of its own (unshare --user --mount)")
async def test_a_real_disk_that_runs_full_loses_nothing_that_was_taken_and_takes_nothing_by_halves(tmp_path):
    async with running_vendor() as vendor:
        said, left = [], requests()
        async with hub_on_a_small_disk(tmp_path, vendor) as (url, free):
            refused = await send_until_it_is_full(url, left, said)
            await free()
            for request in [refused, *itertools.islice(left, 30)]:
                assert (await post(url, request))[0] == 202
                said += request
            await until(lambda: is_idle(url))
        rows = await asyncio.to_thread(read_rows, tmp_path)
        promises_are_kept(said, vendor.account, rows, repeat="never")


async def send_until_it_is_full(url, left, said):
    """Add to ``said`` what was taken; returns the request that was refused however often it was sent."""
    for request in left:
        for _ in range(TRIES):
            status, answer, _ = await post(url, request)
            if status == 202:
                break
            assert (status, answer["type"]) == (503, "storage-full")
        else:
            return request
        said += request
    raise AssertionError("the disk never ran full")


def requests():
    """A long story as a shop sends it: the events of one kind of each wave in one request."""
    for wave in story(1, people=100, events=2_000):
        for kind in KINDS:
            yield [said for said in wave if said.kind == kind]


async def is_idle(url):
    status, body = await get(f"{url}/v1/connectors")
    queue = body["connectors"][0]["queue"]
    return status == 200 and not queue["due"] + queue["scheduled"] + queue["in_flight"]


def read_rows(folder):
    with reading("sqlite:hub.db", folder) as reader:
        return rows_of(reader)
