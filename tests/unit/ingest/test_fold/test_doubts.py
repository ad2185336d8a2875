"""People whom a vendor no longer lists, while a human is asked: what ends the doubt, and what does not."""

from __future__ import annotations

import msgspec
import pytest

from esplanade.ingest import doubt
from esplanade.ingest.shapes import ReportIn
from esplanade.records import Entry
from esplanade.sync.consent import granted

FORM = {"form": "footer"}
YEAR = 365 * 86_400.0


@pytest.fixture
async def doubted(house):
    """Granted, told to both vendors, and no longer listed by webpower since five seconds ago."""
    opened = await house()
    await opened.consent("granted", evidence=FORM)
    await opened.settle()
    await misses(opened, "webpower")
    return opened


async def misses(house, connector):
    person, now = await house.person(), house.clock.time()
    body = ReportIn(email=person.email, consents={"newsletter": "absent"}, pulled=True, read_at=now)
    absence = Entry(
        kind="report", origin=connector, id=f"absent-{connector}", at=now, body=msgspec.msgpack.encode(body)
    )
    await house.store.run(lambda unit: doubt.raise_(unit, person.id, "newsletter", absence, now))
    await house.passes(5)


async def is_granted(house):
    return granted(await house.person(), "newsletter")


async def held(house):
    return [msgspec.msgpack.decode(each.payload, type=Entry).origin for each in await house.queue(None, "parked")]


async def test_whoever_is_in_doubt_has_granted_nothing(doubted):
    assert not await is_granted(doubted)
    assert await held(doubted) == ["webpower"]


async def test_the_vendor_that_lists_them_again_ends_the_doubt(doubted):
    await doubted.reports("webpower", consents={"newsletter": "granted"}, pulled=True)
    assert await is_granted(doubted)
    assert await held(doubted) == []


async def test_another_vendor_that_repeats_what_the_hub_told_it_does_not(doubted):
    await doubted.reports("sparkloop", consents={"newsletter": "granted"}, pulled=True)
    assert not await is_granted(doubted)
    assert await held(doubted) == ["webpower"]


async def test_what_the_vendor_said_before_does_not(doubted):
    await doubted.reports("webpower", consents={"newsletter": "granted"}, at=doubted.clock.time() - 3_600)
    assert not await is_granted(doubted)


async def test_a_proven_grant_ends_it_if_it_was_said_since(doubted):
    await doubted.consent("granted", evidence=FORM, at=doubted.clock.time() - YEAR)
    assert not await is_granted(doubted)
    await doubted.consent("granted", evidence={"form": "checkout"})
    assert await is_granted(doubted)


async def test_an_opt_out_that_an_older_grant_outlives_does_not(doubted):
    await doubted.consent("denied", at=doubted.clock.time() - YEAR)
    assert not await is_granted(doubted)


async def test_an_opt_out_leaves_nothing_to_decide(doubted):
    await doubted.consent("denied")
    assert await held(doubted) == []


async def test_where_two_vendors_miss_them_both_must_list_them_again(doubted):
    await misses(doubted, "sparkloop")
    assert await held(doubted) == ["webpower", "sparkloop"]
    await doubted.reports("webpower", consents={"newsletter": "granted"}, pulled=True)
    assert not await is_granted(doubted)
    assert await held(doubted) == ["sparkloop"]
    await doubted.reports("sparkloop", consents={"newsletter": "granted"}, pulled=True)
    assert await is_granted(doubted)


async def test_two_who_are_one_keep_the_doubts_of_both(house):
    opened = await house()
    for email in ("ada@example.com", "lovelace@example.com"):
        await opened.consent("granted", email=email, evidence=FORM)
    await opened.settle()
    await misses(opened, "webpower")
    other = await opened.person("lovelace@example.com")
    other.doubted = {"newsletter": {"sparkloop": opened.clock.time()}}
    await opened.store.run(lambda unit: unit.save_person(other))
    await opened.profile("ada@example.com", previous_email="lovelace@example.com")
    assert sorted((await opened.person()).doubted["newsletter"]) == ["sparkloop", "webpower"]


async def test_a_proven_grant_is_told_to_the_vendor_that_no_longer_lists_them(doubted):
    await doubted.passes(60)
    await doubted.consent("granted", evidence={"form": "footer"})
    assert await is_granted(doubted)
    (event,) = await doubted.deliver("webpower")
    assert (event.purpose, event.state) == ("newsletter", "granted")


async def test_the_question_is_found_by_the_vendor_that_raises_it(doubted):
    (waiting,) = await doubted.queue("webpower", "parked")
    assert (waiting.kind, waiting.subject, waiting.reason) == ("fold", "newsletter", "guard")
    assert await doubted.queue("sparkloop", "parked") == []
