"""``kill -9`` of the hub, again and again, while a shop speaks to it and its vendor is not quite well: every promise is kept."""

import asyncio
import os
from itertools import accumulate
from random import Random

import pytest
from tests.e2e.processes import at_rest, free_port, start_hub, until
from tests.faults.crashing import furnish
from tests.faults.invariants import promises_are_kept, rows_of
from tests.faults.shop import Shop
from tests.faults.story import story
from tests.faults.trial import FLAVOURS, given_up, sent_without_consent
from tests.faults.vendor import BROKEN, CUT, SLOW, Chance, running_vendor

from esplanade.store.locate import reading

LONG = os.environ.get("ESPLANADE_PROFILE") == "long"
KILLS = 25 if LONG else 5  # of each flavour
PEOPLE = 24
ILLS = [(BROKEN, 0.05), (CUT, 0.05), (SLOW, 0.3)]


@pytest.mark.parametrize("flavour", FLAVOURS if LONG else list(FLAVOURS)[:1])
async def test_every_promise_outlives_one_kill_after_the_other(tmp_path, flavour):
    rng, ill = Random(f"{flavour} {KILLS}"), Chance(1, ILLS)
    kills = list(accumulate(rng.randrange(200) for _ in range(KILLS)))  # each when so many events were taken
    said = [each for wave in story(1, PEOPLE, kills[-1] // PEOPLE + 10) for each in wave]
    shop, port = Shop(said), free_port()
    async with running_vendor(lambda lines: ill(lines)) as vendor:
        config = furnish(tmp_path, vendor, port=port, timeout="1s", **FLAVOURS[flavour])
        for taken in kills:
            hub = await start_hub(config, port)
            telling = asyncio.create_task(shop.tell(hub.url))
            await shop.has_told(taken)
            await hub.kill()
            await telling
        hub = await start_hub(config, port)
        await shop.tell(hub.url)
        await until(lambda: at_rest(hub))
        assert await hub.stop() == 0
    rows, repeat = await asyncio.to_thread(rows_in, tmp_path), FLAVOURS[flavour]["repeat"]
    assert shop.done
    promises_are_kept(said, vendor.account, rows, repeat=repeat)
    assert list(sent_without_consent(said, vendor.account)) == []
    assert {why for _, why in given_up(rows)} <= ({"outcome-unknown"} if repeat == "never" else set())


def rows_in(folder):
    with reading("sqlite:hub.db", folder) as reader:
        return rows_of(reader)
