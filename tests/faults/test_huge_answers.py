"""Answers without end, or far too large: nobody waits for them for long, nothing is repeated for their sake, little is kept."""

import gzip
import tracemalloc

import msgspec
import pytest
from tests.faults.conftest import all_done
from tests.faults.story import Said, tell
from tests.faults.vendor import Stream, running_vendor
from tests.integration.runtime.conftest import deliveries, delivery

MEGABYTE = 2**20
KEPT_BYTES = 2_048
"""More than this is not kept of what a vendor says about one delivery."""
PEAK_BYTES = 64 * MEGABYTE

SPACE, WORD = b" " * MEGABYTE, b"word " * (MEGABYTE // 5)
BOMB, ZIPPED = gzip.compress(bytes(200 * MEGABYTE)), {"Content-Encoding": "gzip"}
ACTED = {
    "hundreds of megabytes": Stream(piece=SPACE, pieces=300),
    "megabytes without end": Stream(piece=SPACE, pieces=None),
    "a bomb": Stream(piece=BOMB, pieces=1, headers=ZIPPED),
}
REFUSED = {
    "hundreds of megabytes": Stream(status=400, piece=WORD, pieces=300),
    "megabytes without end": Stream(status=400, piece=WORD, pieces=None),
    "a bomb": Stream(status=400, piece=BOMB, pieces=1, headers=ZIPPED),
    "a page": Stream(status=400, piece=b"<p>" + WORD, pieces=1),
    "one word": Stream(status=400, piece=b"x" * MEGABYTE, pieces=1),
}
ASKED = [
    Said(kind="profile", name="ada", seq=1),
    Said(kind="consent", name="bob", seq=1, purpose="newsletter", state="granted"),
    Said(kind="trigger", name="cyd", seq=1, trigger="order"),
]
OTHERS = [Said(kind="profile", name=f"p{number}", seq=1) for number in range(10)]


@pytest.fixture
async def vendor():
    async with running_vendor() as vendor:
        yield vendor


@pytest.fixture
def memory():
    """Gives the most memory that was in use since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


async def ask(place, vendor, answer):
    """Let a call of each kind meet an answer while the vendor is well to others; what became of those three."""
    hub = await place.start({"vendor": vendor}, timeout="10s")
    asked = {(said.kind, said.email) for said in ASKED}
    vendor.plan = lambda lines: answer if (lines[0].kind, lines[0].email) in asked else None
    await tell(hub, [*ASKED, *OTHERS])
    await all_done(hub)
    assert {line.email for line in vendor.account.acted("profile")} >= {said.email for said in OTHERS}
    found = [await delivery(hub, kind=said.kind, email_key=said.email) for said in ASKED]
    assert max([await kept_bytes(hub, each) for each in found]) < KEPT_BYTES
    return found


def acted_on(vendor):
    """Of each call that met the answer, whether the vendor acted."""
    return [line.acted for line in vendor.account.lines if line.fault]


async def kept_bytes(hub, delivery):
    attempts = await hub.store.read(lambda reader: reader.attempts(delivery.id))
    return len(delivery.last_error or "") + sum(len(msgspec.json.encode(attempt)) for attempt in attempts)


@pytest.mark.parametrize("answer", ACTED)
async def test_what_the_vendor_has_acted_on_is_not_repeated_for_its_answer(place, vendor, memory, answer):
    found = await ask(place, vendor, ACTED[answer])
    assert acted_on(vendor) == [True] * len(ASKED)
    assert {each.state for each in found} <= {"done", "dead"}
    assert memory() < PEAK_BYTES


@pytest.mark.parametrize("repeat", ["never", "check", "safe"])
async def test_triggers_of_a_batch_are_acted_on_once_whatever_their_answer(place, vendor, repeat):
    hub = await place.start({"vendor": vendor}, repeat=repeat, batch=True, timeout="2s")
    vendor.faults.append(Stream(match="triggers", piece=SPACE, pieces=300))
    triggers = [Said(kind="trigger", name=f"p{number}", seq=2, trigger="order") for number in range(8)]
    await tell(hub, [*OTHERS, *triggers])
    rows = await all_done(hub)
    assert sorted(line.trigger_id for line in vendor.account.acted("trigger")) == sorted(
        said.trigger_id for said in triggers
    )
    assert {row.state for row in rows if row.kind == "trigger"} <= {"done", "parked"}


@pytest.mark.parametrize("answer", REFUSED)
async def test_a_refusal_is_one_however_long_its_words_are(place, vendor, memory, answer):
    found = await ask(place, vendor, REFUSED[answer])
    assert acted_on(vendor) == [False] * len(ASKED)
    assert [(each.state, each.reason) for each in found] == [("dead", "rejected")] * len(ASKED)
    assert memory() < PEAK_BYTES


async def test_a_refusal_whose_words_drip_without_end_is_one_once_its_time_is_over(place, vendor):
    pace = {"rate": "40/s", "burst": 1, "concurrency": 16}
    hub = await place.start({"vendor": vendor}, timeout="1s", pace=pace, receives=["trigger"])
    vendor.faults.append(Stream(status=400, piece=b"x", pieces=None, every_s=0.02, times=None))
    await tell(hub, [Said(kind="trigger", name=f"p{number}", seq=1, trigger="order") for number in range(12)])
    rows = await all_done(hub)
    assert [(row.state, row.reason) for row in rows] == [("dead", "rejected")] * 12
    assert vendor.calls == 12


async def test_an_answer_that_drips_without_end_is_given_up_in_time_and_little_is_kept_of_it(place, vendor):
    drips = [Stream(pieces=None, every_s=0.02) for _ in range(20)]
    vendor.faults += drips
    hub = await place.start({"vendor": vendor}, repeat="safe", timeout="100ms")
    await tell(hub, [*ASKED, *OTHERS])
    rows = await all_done(hub)
    assert not any(drip.times for drip in drips)
    assert {row.state for row in rows} == {"done"}
    assert len(vendor.account.acted()) == len(rows) + len(drips)
    for found in await deliveries(hub):
        assert await kept_bytes(hub, found) < len(drips) * KEPT_BYTES
