"""How long each thing is kept, over months of a hub's life."""

import json

import pytest

from esplanade import PermanentError
from esplanade.model import KINDS
from esplanade.records import Answered, Attempt, DeliveryFilter
from esplanade.runtime.hub import PRUNE_S
from esplanade.runtime.retention import prune

from .conftest import consent, deliveries, email, moved, profile, settled, trigger

DAY = 86_400.0


async def counted(hub, *tables):
    """How many rows there are; the store has no question for that, nor needs one."""
    return await hub.store.run(
        lambda unit: [unit.db.execute(f"SELECT count(*) FROM {each}").fetchone()[0] for each in tables]
    )


async def pruned(hub, clock, days):
    """Let days pass at once, and let what is past its time be deleted, as the hub does every ten minutes."""
    clock.set(clock.time() + days * DAY)
    await prune(hub.store, clock.time(), hub.config.hub.retention)


async def sent_with_ids(hub, name, number):
    """An event with an id of its own, under an Idempotency-Key."""
    raw = json.dumps({"email": email(name), "event_id": f"e-{number}", "fields": {"city": f"city-{number}"}}).encode()
    admission = hub.intake.admit("shop", "profile", [raw], may=KINDS)
    answer = Answered(source="shop", key=f"k-{number}", digest=b"d", status=202, answer=b"{}")
    await hub.intake.accept(admission.entries, answer)
    await settled(hub)


@pytest.mark.parametrize(
    ("retention", "payloads_until", "ids_until"), [("7d", 8, 31), ("30d", 31, 31), ("90d", 91, 91)]
)
async def test_payloads_are_kept_for_retention_and_ids_for_a_month_at_least(
    place, clock, retention, payloads_until, ids_until
):
    hub = await place.start(clock=clock, retention=retention)
    began = clock.time()
    for number in (1, 2):
        await sent_with_ids(hub, "ada", number)
        failed = Attempt(delivery=number, at=began, took_s=0.1, outcome="retried", error="down")
        await hub.store.run(lambda unit, failed=failed: unit.add_attempt(failed))
    seen = {"payloads": None, "ids": None}
    for day in range(1, 100):
        await pruned(hub, clock, 1)
        journal, events, answers, done, attempts = await counted(
            hub, "journal", "event_ids", "answers", "deliveries", "attempts"
        )
        assert (journal == 0) is (done == 0) is (attempts == 0)
        assert (events == 0) is (answers == 0)
        seen["payloads"] = seen["payloads"] or (day if journal == 0 else None)
        seen["ids"] = seen["ids"] or (day if events == 0 else None)
    assert seen == {"payloads": payloads_until, "ids": ids_until}
    assert clock.time() > began + 90 * DAY
    person = await hub.store.read(lambda reader: reader.person_by_email(email("ada")))
    assert person.fields["city"].value == "city-2"


async def test_a_repeat_within_a_month_is_told_however_short_the_retention_is(place, clock):
    hub = await place.start(clock=clock, retention="1d")
    await sent_with_ids(hub, "ada", 1)
    await pruned(hub, clock, 29)
    await sent_with_ids(hub, "ada", 1)
    assert await hub.store.read(lambda reader: reader.answered("shop", "k-1")) is not None
    person = await hub.store.read(lambda reader: reader.person_by_email(email("ada")))
    notes = await hub.store.read(lambda reader: reader.timeline(person.id))
    assert notes[-1].reason == "duplicate"


async def test_what_was_given_up_is_kept_until_it_is_replayed(place, clock):
    hub = await place.start(clock=clock, retention="7d")
    place.script().once("profile", PermanentError("no such list"))
    await profile(hub, "ada")
    await settled(hub)
    await pruned(hub, clock, 200)
    (dead,) = await deliveries(hub)
    assert dead.state == "dead"
    assert await counted(hub, "attempts") == [1]
    await hub.replay(DeliveryFilter(ids=[dead.id]), force=False)
    await settled(hub)
    await pruned(hub, clock, 8)
    assert await deliveries(hub) == []
    assert await counted(hub, "attempts") == [0]


async def test_guards_and_the_ledger_are_kept_for_ever_and_a_timeline_is_bounded(place, clock):
    hub = await place.start(clock=clock, retention="7d")
    await consent(hub, "ada", "granted", evidence={"form": "footer"})
    await trigger(hub, "ada", "t-1")
    await settled(hub)
    for month in range(12):
        for number in range(12):
            await profile(hub, "ada", city=f"city-{month}-{number}")
            await settled(hub)
        await pruned(hub, clock, 30)
    await trigger(hub, "ada", "t-1")
    await settled(hub)
    assert [what for kind, what in place.script().to("ada") if kind == "trigger"] == ["t-1"]
    assert await counted(hub, "ledger") == [1]
    (notes,) = await counted(hub, "timeline")
    assert notes < 100 + 20


async def test_a_great_deal_that_is_old_is_pruned_whole_and_a_little_at_a_time(place, clock):
    hub = await place.start(clock=clock, retention="7d")
    for number in range(450):
        await sent_with_ids(hub, f"p{number}", number)
    units = []
    run = hub.store.run

    async def counting(work, **more):
        result = await run(work, **more)
        units.append(result)
        return result

    hub.store.run = counting
    await pruned(hub, clock, 31)
    del hub.store.run
    assert await counted(hub, "journal", "event_ids", "answers", "deliveries", "attempts") == [0] * 5
    assert max(each for each in units if isinstance(each, int)) <= 600


async def test_the_hub_prunes_by_itself(place, clock):
    hub = await place.start(clock=clock, retention="7d")
    await sent_with_ids(hub, "ada", 1)
    clock.set(clock.time() + 31 * DAY)
    await moved(hub, clock, PRUNE_S)
    assert await counted(hub, "journal", "event_ids", "answers", "deliveries", "attempts") == [0] * 5
