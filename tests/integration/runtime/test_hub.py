"""A hub's life: starting after a crash, changing its configuration while it runs, and stopping."""

import asyncio
import os
import signal

import aiohttp
import pytest

from esplanade.errors import EsplanadeError, OutcomeUnknown, StoreError, StoreLocked
from esplanade.runtime import Hub, serve

from .conftest import (
    ONLY_PROFILES,
    SINGLE,
    consent,
    deliveries,
    delivery,
    folded,
    moved,
    person_of,
    profile,
    reasons,
    remote_of,
    send,
    settled,
    trigger,
)

AT_ONCE = {"drain_timeout": "0s"}
"""A hub that stops without waiting leaves its store as a crash does: what was claimed stays claimed."""


async def crash_during(place, crm, hub):
    """Stop a hub in the middle of its calls."""
    await hub.stop()
    crm.calls.clear()
    crm.answers.clear()


class TestAfterACrash:
    async def test_state_that_was_under_way_is_sent_again_whatever_the_vendor_is_thought_to_hold(self, place):
        hub, crm = await place.start(**AT_ONCE), place.script()
        await profile(hub, "ada", city="Delft", name="Ada")
        await settled(hub)
        crm.hold("all")
        await profile(hub, "ada", city="Breda")
        await crm.called(2)
        await profile(hub, "ada", city="Delft")  # as the vendor held it before: it may or may not have taken Breda
        await folded(hub)
        await crash_during(place, crm, hub)
        hub = await place.start()
        await settled(hub)
        assert crm.calls == [("ada", "profile", {"City": "Delft", "Name": "Ada"})]
        assert not (await remote_of(hub, "ada")).unknown

    async def test_a_consent_that_was_under_way_is_said_again(self, place):
        hub, crm = await place.start(**AT_ONCE), place.script()
        crm.hold("consent")
        await consent(hub, "ada", "denied")
        await crm.called(1)
        await crash_during(place, crm, hub)
        hub = await place.start()
        await settled(hub)
        assert ("ada", "consent", "newsletter denied") in crm.calls

    async def test_a_trigger_that_was_under_way_is_parked_for_a_person_to_decide(self, place):
        hub, crm = await place.start(**AT_ONCE), place.script()
        crm.hold("trigger")
        await trigger(hub, "ada", "t-1")
        await crm.called(2)
        await crash_during(place, crm, hub)
        hub = await place.start()
        await settled(hub)
        assert crm.calls == []
        (found,) = await deliveries(hub, kind="trigger")
        assert (found.state, found.reason) == ("parked", "outcome-unknown")
        assert "stopped while" in found.last_error

    async def test_a_trigger_that_may_be_repeated_is_repeated(self, place):
        place.plugin(attributes='trigger_repeat = "safe"')
        hub, crm = await place.start(**AT_ONCE), place.script()
        crm.hold("trigger")
        await trigger(hub, "ada", "t-1")
        await crm.called(2)
        await crash_during(place, crm, hub)
        hub = await place.start()
        await settled(hub)
        assert crm.calls == [("ada", "trigger", "t-1")]

    async def test_what_was_accepted_and_not_folded_is_folded(self, place):
        place.write()
        quiet = await Hub.start(place.load(), listen=False, deliver=False)
        await quiet.store.run(lambda unit: None)
        await profile(quiet, "ada")
        await quiet.stop()
        hub, crm = await place.start(), place.script()
        await settled(hub)
        assert crm.calls == [("ada", "profile", {"City": "Delft"})]

    async def test_nothing_waits_for_those_that_were_under_way_but_their_own_people(self, place):
        hub, crm = await place.start(**AT_ONCE), place.script()
        gate = crm.hold(("ada", "profile"))
        await profile(hub, "ada")
        await crm.called(1)
        await consent(hub, "ada")
        await folded(hub)
        await crash_during(place, crm, hub)
        hub = await place.start()
        await settled(hub)
        assert [call[1] for call in crm.calls] == ["profile", "consent"]
        gate.set()


class TestStopping:
    async def test_what_is_under_way_is_settled_and_nothing_more_is_begun(self, place):
        hub, crm = await place.start(connectors={"crm": {"pace": {"concurrency": 1}}}), place.script()
        gate = crm.hold("all")
        await profile(hub, "ada")
        await profile(hub, "bob")
        await crm.called(1)
        await folded(hub)
        stopping = asyncio.create_task(hub.stop())
        await asyncio.sleep(0)
        gate.set()
        await stopping
        again = await place.start()
        await settled(again)
        assert crm.to("ada") == [("profile", {"City": "Delft"})]

    async def test_a_call_that_does_not_end_keeps_nobody_longer_than_drain_timeout(self, place):
        hub, crm = await place.start(drain_timeout="50ms"), place.script()
        crm.hold("all")
        await profile(hub, "ada")
        await crm.called(1)
        before = asyncio.all_tasks()
        async with asyncio.timeout(5):
            await hub.stop()
        assert [task for task in before if "lane" in task.get_name() and not task.done()] == []
        assert place.hubs[0].connections == {}

    async def test_a_call_that_is_overdue_is_cancelled_while_the_hub_waits_for_it(self, place):
        hub, crm = await place.start(connectors={"crm": {"timeout": "10ms"}}, drain_timeout="10s"), place.script()
        crm.hold("all")
        await profile(hub, "ada")
        await crm.called(1)
        async with asyncio.timeout(5):
            await hub.stop()
        crm.answers.clear()
        hub = await place.start(write=False)
        found = await delivery(hub)
        assert found.last_error is None or "within 0.01 s" in found.last_error
        assert found.attempts >= 1

    async def test_stopping_twice_is_no_error_and_the_store_is_free(self, place):
        hub = await place.start()
        with pytest.raises(StoreLocked, match=str(os.getpid())):
            await Hub.start(place.load(), listen=False)
        await hub.stop()
        await hub.stop()
        await place.start()

    async def test_a_hub_that_cannot_listen_leaves_nothing_behind(self, place):
        first = await place.start(listen=True)
        port = first.url.rpartition(":")[2]
        place.write(listen=f"127.0.0.1:{port}", store="sqlite:other.db")
        with pytest.raises(StoreError, match="another hub"):
            await Hub.start(place.load())
        place.write(store="sqlite:other.db")
        await place.start(write=False)


class TestSettled:
    async def test_it_returns_only_once_everything_accepted_is_delivered(self, place):
        hub, crm = await place.start(), place.script()
        gate = crm.hold(("ada", "profile"))
        await profile(hub, "ada")
        await profile(hub, "bob")
        waiting = asyncio.create_task(hub.settled())
        await crm.called(2)
        for _ in range(5):
            await hub.store.run(lambda unit: None)
        assert not waiting.done()
        gate.set()
        await waiting
        assert {each.state for each in await deliveries(hub)} == {"done"}

    async def test_it_waits_for_what_follows_from_what_is_delivered(self, place):
        place.plugin(SINGLE, "erp.py")
        connectors = {"crm": {}, "erp": {**ONLY_PROFILES, "plugin": "./erp.py"}}
        hub, crm, erp = await place.start(connectors=connectors), place.script(), place.script("./erp.py")
        crm.hold("all").set()
        slow = erp.hold("all")
        await profile(hub, "ada")
        waiting = asyncio.create_task(hub.settled())
        await erp.called(1)
        assert not waiting.done()
        slow.set()
        await waiting

    async def test_a_retry_in_an_hour_is_not_waited_for(self, place):
        hub, crm = await place.start(), place.script()
        crm.once("all", OutcomeUnknown("cut", retry_after=3600))
        await profile(hub, "ada")
        await settled(hub)
        assert (await delivery(hub)).state == "pending"

    async def test_many_at_once_are_all_waited_for(self, place):
        hub, crm = await place.start(), place.script()
        await asyncio.gather(*[profile(hub, f"p{number}") for number in range(200)])
        await asyncio.gather(*[settled(hub) for _ in range(3)])
        assert len(crm.calls) == 200


TWO = {"crm": ONLY_PROFILES, "erp": {**ONLY_PROFILES, "plugin": "./erp.py"}}


class TestReloading:
    async def two(self, place, **more):
        place.plugin(name="erp.py")
        hub = await place.start(connectors=TWO, **more)
        return hub, place.script(), place.script("./erp.py")

    async def reload(self, place, hub, connectors, **more):
        place.write(connectors, **more)
        await hub.reload(place.load())

    async def test_a_connector_that_did_not_change_goes_on_undisturbed(self, place):
        hub, crm, _ = await self.two(place)
        gate = crm.hold("all")
        await profile(hub, "ada")
        await crm.called(1)
        before = hub.connections["crm"]
        await self.reload(place, hub, {**TWO, "erp": {**TWO["erp"], "fields": {"city": "Town"}}})
        assert hub.connections["crm"] is before
        gate.set()
        await settled(hub)
        assert len(crm.calls) == 1

    async def test_one_that_changed_drains_and_goes_on_with_what_is_new(self, place):
        hub, crm, erp = await self.two(place)
        gate = erp.hold("all")
        await profile(hub, "ada")
        await erp.called(1)
        before = hub.connections["erp"]
        changed = {**TWO, "erp": {**TWO["erp"], "fields": {"city": "Town"}}}
        place.write(changed)
        reloading = asyncio.create_task(hub.reload(place.load()))
        await asyncio.sleep(0)
        gate.set()
        await reloading
        assert hub.connections["erp"] is not before
        await profile(hub, "bob")
        await settled(hub)
        assert erp.to("bob") == [("profile", {"Town": "Delft"})]
        assert crm.to("bob") == [("profile", {"City": "Delft"})]
        assert len(erp.to("ada")) == 1

    async def test_one_whose_call_does_not_end_is_rebuilt_all_the_same(self, place):
        hub, _, erp = await self.two(place, drain_timeout="50ms")
        erp.hold("all")
        await profile(hub, "ada")
        await erp.called(1)
        erp.answers.clear()
        changed = {**TWO, "erp": {**TWO["erp"], "fields": {"city": "Town"}}}
        await self.reload(place, hub, changed, drain_timeout="50ms")
        assert hub.failures == {}
        await settled(hub)
        assert erp.to("ada")[1:] == [("profile", {"Town": "Delft"})]

    async def test_a_plugin_whose_file_was_edited_is_rebuilt(self, place):
        hub, _, _ = await self.two(place)
        before = hub.connections["crm"]
        place.plugin(SINGLE + "\n    edited = True\n")
        await self.reload(place, hub, TWO)
        assert hub.connections["crm"] is not before
        crm = place.script()
        await profile(hub, "ada")
        await settled(hub)
        assert len(crm.calls) == 1

    async def test_a_connector_that_is_added_gets_what_comes_from_then_on(self, place):
        hub, crm = await place.start(connectors={"crm": ONLY_PROFILES}), place.script()
        place.plugin(name="erp.py")
        await self.reload(place, hub, TWO)
        await profile(hub, "ada")
        await settled(hub)
        assert len(crm.calls) == len(place.script("./erp.py").calls) == 1

    async def test_one_that_is_disabled_stops_and_keeps_its_work(self, place):
        hub, crm, erp = await self.two(place)
        await hub.pause("erp", "wait")
        await profile(hub, "ada")
        await settled(hub)
        await self.reload(place, hub, {**TWO, "erp": {**TWO["erp"], "enabled": False}})
        assert list(hub.connections) == ["crm"]
        await self.reload(place, hub, TWO)
        await hub.resume("erp")
        await settled(hub)
        assert erp.to("ada") == [("profile", {"City": "Delft"})]
        assert len(crm.calls) == 1

    async def test_work_of_a_kind_that_it_no_longer_receives_is_not_sent(self, place):
        hub, crm = await place.start(), place.script()
        await hub.pause("crm", "wait")
        await trigger(hub, "ada", "t-1")
        await settled(hub)
        await self.reload(place, hub, {"crm": {"receives": ["profile", "consent"]}})
        await hub.resume("crm")
        await settled(hub)
        assert [call[1] for call in crm.calls] == ["profile"]
        assert "not-mapped" in await reasons(hub, "ada")

    @pytest.mark.parametrize("change", [{"listen": "127.0.0.1:1"}, {"store": "sqlite:other.db"}])
    async def test_where_it_listens_and_stores_cannot_change(self, place, change):
        hub, crm = await place.start(), place.script()
        place.write(None, **change)
        with pytest.raises(EsplanadeError, match="restart"):
            await hub.reload(place.load())
        await profile(hub, "ada")
        await settled(hub)
        assert len(crm.calls) == 1

    async def test_vendor_fields_that_can_only_be_read_are_known_before_the_first_call(self, place):
        hub = await place.start(connectors={"crm": {"enabled": False}})
        place.plugin(attributes='read_only_fields = frozenset({"City"})')
        await self.reload(place, hub, {"crm": {}})
        await profile(hub, "ada", city="Delft", name="Ada")
        await settled(hub)
        assert place.script().calls == [("ada", "profile", {"Name": "Ada"})]

    async def test_hub_wide_settings_reach_the_connectors(self, place):
        hub, _, _ = await self.two(place)
        before = hub.connections["crm"]
        await self.reload(place, hub, TWO, language="nl")
        assert hub.connections["crm"] is not before
        assert hub.connections["crm"].ctx.language == "nl"


class TestServing:
    async def test_sighup_reads_the_file_anew_and_sigterm_drains(self, place):
        hub, crm = await place.start(connectors={"crm": {"enabled": False}}, listen=True), place.script()
        serving = asyncio.create_task(serve(hub))
        await asyncio.sleep(0)
        place.write()
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(10):
            while "crm" not in hub.world.connectors:
                await hub.store.run(lambda unit: None)
        await profile(hub, "ada")
        await crm.called(1)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await serving
        assert not hub.ready
        assert len(crm.calls) == 1

    async def test_a_file_that_is_wrong_changes_nothing(self, place):
        hub, crm = await place.start(), place.script()
        serving = asyncio.create_task(serve(hub))
        await asyncio.sleep(0)
        loaded = hub.loaded
        (place.path / "connectors.yaml").write_text("connectors: {crm: {plugin: ./crm.py, feilds: {}}}")
        os.kill(os.getpid(), signal.SIGHUP)
        await profile(hub, "ada")
        await crm.called(1)
        assert hub.loaded is loaded
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await serving


class TestAlerts:
    async def test_they_go_to_the_webhook_and_the_command_that_the_file_names(self, place, tmp_path):
        heard = asyncio.Queue()

        async def hear(request):
            await heard.put(await request.json())
            return aiohttp.web.Response()

        app = aiohttp.web.Application()
        app.router.add_post("/alerts", hear)
        runner = aiohttp.web.AppRunner(app)
        await runner.setup()
        site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        alerts = [
            {"webhook": f"http://127.0.0.1:{port}/alerts"},
            {"command": ["sh", "-c", f"cat > {tmp_path}/alert.json"]},
        ]
        hub = await place.start(alerts=alerts, egress={"allow": ["127.0.0.0/8"]})
        hub.alert("paused:crm", "crm is paused")
        hub.alert("paused:crm", "crm is paused")
        async with asyncio.timeout(5):
            told = await heard.get()
        await hub.stop()
        await runner.cleanup()
        assert (told["alert"], told["message"]) == ("paused:crm", "crm is paused")
        assert '"paused:crm"' in (tmp_path / "alert.json").read_text()
        assert heard.empty()

    async def test_the_same_alert_is_news_again_after_an_hour_or_once_it_was_settled(self, place, clock):
        import structlog.testing

        hub = await place.start(clock=clock)
        with structlog.testing.capture_logs() as logs:
            hub.alert("guard", "1")
            hub.alert("guard", "2")
            clock.set(clock.time() + 3600)
            hub.alert("guard", "3")
            hub.alert.clear("guard")
            hub.alert("guard", "4")
        assert [each["message"] for each in logs if each["event"] == "alert"] == ["1", "3", "4"]


class TestWhatTheHubSaysOfItself:
    async def test_hook_keys_are_derived_and_the_same_after_a_restart(self, place):
        connectors = {
            "crm": ONLY_PROFILES,
            "erp": {**ONLY_PROFILES, "hook_key": "k" * 32, "settings": {"account": "b"}},
        }
        hub = await place.start(connectors=connectors)
        keys = dict(hub.hook_keys())
        assert keys["erp"] == "k" * 32
        assert len(keys["crm"]) == 32
        await hub.stop()
        again = await place.start(write=False)
        assert dict(again.hook_keys()) == keys

    async def test_a_message_that_cannot_be_folded_is_kept_and_folded_on_replay(self, place):
        from esplanade.records import DeliveryFilter, Entry

        hub, crm = await place.start(), place.script()
        await hub.intake.accept([Entry(kind="report", origin="gone", id="e-1", at=1.0, body=b"\x80")])
        await profile(hub, "ada")
        await settled(hub)
        (found,) = await deliveries(hub, kind="fold")
        assert (found.state, found.reason) == ("parked", "fold-failed")
        assert len(crm.calls) == 1
        assert await hub.replay(DeliveryFilter(ids=[found.id]), force=False) == 1
        await settled(hub)
        assert [each.state for each in await deliveries(hub, kind="fold")] == ["done", "parked"]

    async def test_housekeeping_forgets_what_is_older_than_its_retention(self, place, clock):
        hub, crm = await place.start(clock=clock, retention="1d"), place.script()
        await profile(hub, "ada")
        await settled(hub)
        clock.set(clock.time() + 86_400 + 1)
        await moved(hub, clock, 600)
        await hub.store.run(lambda unit: None)
        assert await deliveries(hub) == []
        assert (await person_of(hub, "ada")).fields["city"].value == "Delft"
        assert len(crm.calls) == 1


async def test_nothing_of_a_person_without_an_address_is_sent_until_there_is_one(place):
    hub, crm = await place.start(), place.script()
    raw = b'{"id": "u-1", "fields": {"city": "Delft"}}'
    await hub.intake.accept(hub.intake.admit("shop", "profile", [raw], may=("profile",)).entries)
    await settled(hub)
    assert crm.calls == []
    await send(hub, "profile", {"email": "ada", "id": "u-1"})
    await settled(hub)
    assert crm.calls == [("ada", "profile", {"City": "Delft"})]


async def test_a_hub_whose_store_has_failed_says_so_and_lets_go_of_it_when_it_stops(place):
    hub = await place.start(**AT_ONCE)
    assert hub.ready
    await hub.store._outside(lambda db: db.close())
    with pytest.raises(StoreError):
        await hub.store.run(lambda unit: unit.set_meta("k", "v"))
    async with asyncio.timeout(10):
        while hub.ready:
            await asyncio.sleep(0)
        await hub.stop()
    again = await place.start()  # nobody holds the store any more
    assert again.ready
