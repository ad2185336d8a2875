"""The fold itself: behind the journal, entry by entry, whatever is in it."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import msgspec
import pytest

from esplanade.errors import StoreError
from esplanade.ingest.accept import ROOM
from esplanade.ingest.entries import fold_together
from esplanade.ingest.fold import Step
from esplanade.ingest.shapes import WebhookIn
from esplanade.records import FOLD_LANE, Entry


def entry(name, kind="profile", origin="shop", body=None, **more):
    packed = body if isinstance(body, bytes) else msgspec.msgpack.encode(body or {"email": f"{name}@example.com"})
    return Entry(kind=kind, origin=origin, id=name, at=1_000.0, body=packed, **more)


async def test_an_entry_that_cannot_be_folded_is_parked_and_the_cursor_moves_on(house):
    hub = await house(webpower={})
    bad = entry("bad", body=b"\xc1 is no msgpack", dedupe=True)
    await hub.append(entry("ada"), bad, entry("eve"))
    assert await hub.person("eve@example.com") is not None
    assert await hub.store.read(lambda reader: reader.backlog()) == 0
    (parked,) = await hub.queue(FOLD_LANE)
    assert (parked.kind, parked.state, parked.reason, parked.event_id) == ("fold", "parked", "fold-failed", "bad")
    assert msgspec.msgpack.decode(parked.payload, type=Entry) == bad
    (line,) = hub.log.lines
    assert line[1]["error"] == "profile bad from shop: DecodeError"


async def test_a_parked_entry_may_be_folded_again_under_its_event_id(house):
    hub = await house(webpower={})
    await hub.append(entry("e-1", body=b"\xc1", dedupe=True))
    await hub.append(entry("e-1", body={"email": "ada@example.com"}, dedupe=True))
    assert await hub.person() is not None


async def test_what_an_entry_did_before_it_failed_is_undone(house):
    hub = await house(webpower={})
    await hub.append(entry("bad", "report", "webpower", {"email": "ada@example.com", "fields": {"first_name": {}}}))
    assert [(each.lane, each.reason) for each in await hub.queue("webpower")] == [("webpower:in", "fold-failed")]
    assert await hub.person() is None


async def test_an_entry_of_a_connector_that_is_gone_waits_for_it(house):
    hub = await house(webpower={})
    await hub.append(
        entry("r-1", "report", "gone"),
        entry("h-1", "happening", "gone", {"name": "opened", "email": "ada@example.com", "trigger_id": "x"}),
    )
    assert [each.event_id for each in await hub.queue("gone")] == ["r-1", "h-1"]
    assert all("connector gone is not in connectors.yaml" in line[1]["error"] for line in hub.log.lines)


async def test_a_webhook_becomes_work_of_its_connector_s_inbound_lane(house):
    hub = await house(webpower={})
    await hub.append(hub.intake.entry_for_webhook("webpower", WebhookIn(method="POST", body=b"x")))
    (work,) = await hub.queue("webpower:in")
    assert (work.kind, work.person, work.state) == ("webhook", None, "pending")
    assert msgspec.msgpack.decode(work.payload, type=WebhookIn).body == b"x"
    assert "webpower:in" in hub.lanes


async def test_a_long_journal_is_folded_to_its_end(house):
    hub = await house(webpower={})
    await hub.append(*(entry(f"p{number}") for number in range(500)))
    assert hub.fold.done == 500
    assert hub.intake.unfolded == 0
    assert await hub.store.read(lambda reader: reader.counts(2_000.0)["webpower"].due) == 500


async def test_what_an_earlier_run_left_is_folded_first(house, tmp_path):
    hub = await house(webpower={})
    await hub.store.run(lambda unit: unit.append([entry("ada")]))
    await hub.profile("eve@example.com")
    assert (await hub.person("ada@example.com")).id < (await hub.person("eve@example.com")).id


async def test_it_goes_on_while_the_event_loop_has_no_turn_for_it(house, monkeypatch):
    """Else each step waits for a busy event loop, and an opt-out for all that was imported before it."""
    hub = await house(webpower={})
    folded, all_folded = [], threading.Event()

    def fold_and_count(unit, world, part, *arguments, **more):
        done, problems = fold_together(unit, world, part, *arguments, **more)
        folded.append(done)
        if sum(folded) == 500:
            all_folded.set()
        return done, problems

    monkeypatch.setattr("esplanade.ingest.fold.fold_together", fold_and_count)
    entries = [entry(f"e-{number}") for number in range(500)]
    hub.store._writer.run(
        lambda unit: unit.append(entries), durable=True
    )  # not awaited: the loop gets no turn from here on
    assert all_folded.wait(10)
    assert len(folded) > 1
    assert hub.fold.done == 0
    await hub.fold.caught_up()
    assert hub.fold.done == 500


async def test_many_who_wait_for_it_take_no_word_of_it_from_each_other(house):
    hub = await house(webpower={})

    async def run(work, *, durable=True, real=hub.store.run):
        found = await real(work, durable=durable)
        if found is True:  # it is behind: the one who asked has not begun to wait when the others ask, too
            hub.fold._heed(Step(), None)
            await asyncio.gather(*(real(lambda unit: None) for _ in range(3)))
        return found

    hub.fold._store = SimpleNamespace(run=run)
    hub.intake.added(300)
    await hub.store.run(lambda unit: unit.append([entry(f"p{number}") for number in range(300)]))
    async with asyncio.timeout(10):
        await asyncio.gather(*(hub.fold.caught_up() for _ in range(5)))
    assert hub.fold.done == 300


async def test_whoever_waits_for_it_hears_that_what_was_left_is_erased(house, monkeypatch):
    hub = await house(webpower={})
    monkeypatch.setattr(hub.store._writer._turns, "wait_s", lambda now: 60.0)  # a crowd goes first
    hub.intake.added(1)
    await hub.store.run(lambda unit: unit.append([entry("ada")]))
    waiting = asyncio.create_task(hub.fold.caught_up())
    while not hub.fold._moved._waiters:
        await asyncio.sleep(0)
    await hub.store.run(lambda unit: unit.move_cursor(unit.journal_end()))
    hub.fold.dropped(1)
    async with asyncio.timeout(10):
        await waiting
    assert hub.intake.unfolded == 0


async def test_whoever_waits_for_it_hears_that_the_store_has_failed(house, monkeypatch):
    hub = await house(webpower={})
    monkeypatch.setattr(hub.store._writer._turns, "wait_s", lambda now: 60.0)
    await hub.store.run(lambda unit: unit.append([entry("ada")]))
    waiting = asyncio.create_task(hub.fold.caught_up())
    while not hub.fold._moved._waiters:
        await asyncio.sleep(0)
    await hub.store._outside(lambda db: db.close())
    with pytest.raises(StoreError):
        await hub.store.run(lambda unit: None)
    with pytest.raises(StoreError, match="can no longer be written"):
        async with asyncio.timeout(10):
            await waiting


async def test_what_it_cannot_do_is_told_and_done_later(house, monkeypatch):
    hub = await house(webpower={})
    broken = iter([True])

    def fold_or_fail(*arguments, **more):
        if next(broken, False):
            raise RuntimeError("ada@example.com")
        return fold_together(*arguments, **more)

    monkeypatch.setattr("esplanade.ingest.fold.fold_together", fold_or_fail)
    monkeypatch.setattr("esplanade.store.sqlite.turns.REST_S", 0.01)
    await hub.append(entry("ada"))
    assert hub.log.lines == [("fold_failed", {"error": "RuntimeError"})]
    assert await hub.person() is not None


def test_imports_and_pulls_leave_an_opt_out_little_to_queue_behind():
    assert ROOM <= 1000
