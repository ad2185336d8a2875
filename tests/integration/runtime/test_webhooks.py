"""The hub's own webhooks at the vendors: when they are registered, when they are not, and what is done when that fails."""

import asyncio

import pytest
import structlog.testing

from esplanade import runtime
from esplanade.errors import (
    AuthenticationError,
    MissingMethodError,
    NoPublicUrl,
    PermanentError,
    PluginError,
    TemporaryError,
)
from esplanade.model import Webhooks

from .conftest import ONLY_PROFILES, SINGLE, profile, settled, state, told

PUBLIC = "https://hub.example"
REGISTERS = (
    SINGLE
    + """
    vendor = {"w-others": "https://others.example/hook"}
    wanted = ["update", "create"]

    async def ask(self, what, *words):
        Crm.calls.append((what, *words))
        for waiter in Crm.waiters:
            waiter.set()
        answer = Crm.answers.get("webhooks")
        result = answer(what) if answer is not None else None
        if hasattr(result, "__await__"):
            result = await result
        if isinstance(result, BaseException):
            raise result
        return result

    async def register_webhooks(self, url, ctx):
        nonsense = await self.ask("register", url)
        if nonsense is not None:
            return nonsense
        mine = await ctx.kv.get("mine") or []
        found = Webhooks()
        for name in dict.fromkeys([*Crm.wanted, *mine]):
            if name not in Crm.wanted:
                done = found.removed
                Crm.vendor.pop(f"w-{name}", None)
            elif f"w-{name}" not in Crm.vendor:
                done = found.made
            else:
                done = found.kept if Crm.vendor[f"w-{name}"] == url else found.mended
            done.append(name)
            if name in Crm.wanted:
                Crm.vendor[f"w-{name}"] = url
        await ctx.kv.set("mine", Crm.wanted)
        return found

    async def remove_webhooks(self, ctx):
        await self.ask("remove")
        mine = await ctx.kv.get("mine") or []
        await ctx.kv.set("mine", None)
        return Webhooks(removed=[name for name in mine if Crm.vendor.pop(f"w-{name}", None)])

    async def check(self, ctx):
        return CheckResult()
"""
)


class World:
    """A hub whose vendor keeps webhooks, and what that vendor was asked."""

    def __init__(self, place, clock):
        self.place = place
        self.clock = clock
        place.plugin(REGISTERS)
        place.write({"crm": ONLY_PROFILES})

    @property
    def crm(self):
        return self.place.script()

    @property
    def vendor(self):
        """By id, the URLs that it calls."""
        return self.crm.plugin.vendor

    @property
    def asked(self):
        """What it was asked about webhooks: ``register`` and ``remove``."""
        return [call[0] for call in self.crm.calls if call[0] in {"register", "remove"}]

    def answer(self, *results):
        """Let it answer these, one request after the other, and do what it is asked from then on."""
        left = list(results)
        self.crm.answers["webhooks"] = lambda _what: left.pop(0) if left else None

    async def start(self, *, public_url=PUBLIC, asked=1, listen=False, **connector):
        """Run a hub, and return once its vendor was asked that often since the test began."""
        connectors = {"crm": {**ONLY_PROFILES, **connector}}
        hub = await self.place.start(clock=self.clock, connectors=connectors, listen=listen, **given(public_url))
        await self.was_asked(hub, asked)
        return hub

    async def reload(self, hub, *, public_url=PUBLIC, asked, **connector):
        self.place.write({"crm": {**ONLY_PROFILES, **connector}}, **given(public_url))
        await hub.reload(self.place.load())
        await self.was_asked(hub, asked)

    async def was_asked(self, hub, times):
        """Return once the vendor was asked that often, and what came of it is done; once more it must not be asked."""
        async with asyncio.timeout(10):
            while len(self.asked) < times:
                await hub.store.read(lambda reader: None)
        for _ in range(5):  # a plugin and the hub ask the store on their way
            await hub.store.read(lambda reader: None)
            await hub.store.run(lambda unit: None)
        assert len(self.asked) == times

    async def later(self, hub, seconds, asked):
        """Let time pass; the vendor must be asked at the end of it, and not a second before."""
        await self.clock.advance(seconds - 1)
        await self.was_asked(hub, asked - 1)
        await self.clock.advance(1)
        await self.was_asked(hub, asked)


@pytest.fixture
def world(place, clock):
    return World(place, clock)


def given(public_url):
    return {} if public_url is None else {"public_url": public_url}


def address(hub, origin=PUBLIC):
    return f"{origin}/hooks/crm/{hub.hook_keys()['crm']}"


def others_and(**own):
    return {"w-others": "https://others.example/hook", **{f"w-{name}": url for name, url in own.items()}}


class TestRegistering:
    async def test_a_hub_that_starts_registers_what_is_missing_and_leaves_the_others_alone(self, world):
        with structlog.testing.capture_logs() as logs:
            hub = await world.start()
        assert world.vendor == others_and(update=address(hub), create=address(hub))
        (line,) = [each for each in logs if each["event"] == "webhooks_registered"]
        assert (line["connector"], line["made"], line["kept"]) == ("crm", ["update", "create"], [])
        assert hub.hook_keys()["crm"] not in str(logs)

    async def test_what_is_there_is_kept_mended_or_removed(self, world):
        hub = await world.start()
        assert await hub.webhooks("crm") == Webhooks(kept=["update", "create"])
        world.vendor["w-update"] = "https://elsewhere.example"
        world.crm.plugin.wanted = ["update"]
        assert await hub.webhooks("crm") == Webhooks(mended=["update"], removed=["create"])
        assert world.vendor == others_and(update=address(hub))

    async def test_a_second_start_finds_what_the_first_made(self, world):
        first = await world.start()
        before = dict(world.vendor)
        await first.stop()
        await world.start(asked=2)
        assert world.vendor == before

    async def test_a_vendor_that_does_not_answer_delays_neither_start_nor_stop_nor_what_is_due(self, world):
        never = asyncio.Event()
        world.crm.answers["webhooks"] = lambda _what: never.wait()
        async with asyncio.timeout(10):
            hub = await world.start()
            await profile(hub, "ada")
            await settled(hub)
            assert world.crm.to("ada") == [("profile", {"City": "Delft"})]
            with told() as alerts:
                await hub.stop()
        assert alerts == []

    async def test_they_are_looked_after_once_a_day_by_whoever_claims_the_slot(self, world):
        hub = await world.start()
        del world.vendor["w-update"]
        slot = hub._schedule.next_slot("crm", "webhooks")
        assert 0 < slot - world.clock.time() <= 86_400
        job = hub._schedule._jobs["crm", "webhooks"]
        assert await hub._schedule.tick(job, slot)
        await world.was_asked(hub, 2)
        assert world.vendor == others_and(update=address(hub), create=address(hub))
        assert not await hub._schedule.tick(job, slot)
        await world.was_asked(hub, 2)
        assert job.timing.next_after(slot) - slot == 86_400

    async def test_a_twin_is_given_the_address_on_which_the_hub_listens(self, world):
        twin = """
    @classmethod
    def twin(cls):
        from esplanade.testing import Twin

        class CrmTwin(Twin):
            name = "crm"

            def routes(self):
                return []

            def rewired(self, settings):
                return settings

        return CrmTwin
"""
        world.place.plugin(REGISTERS + twin)
        hub = await world.start(twin=True, listen=True)
        assert world.vendor["w-update"] == hub.connections["crm"].twin.hook_url == address(hub, hub.url)

    async def test_two_who_ask_at_once_are_heard_one_after_the_other(self, world):
        hub = await world.start()
        gate = asyncio.Event()
        world.crm.answers["webhooks"] = lambda _what: None if gate.is_set() else gate.wait()
        first, second = (asyncio.create_task(hub.webhooks("crm")) for _ in range(2))
        await world.was_asked(hub, 2)
        gate.set()
        with pytest.raises(PluginError, match="not bool"):  # what the gate gives
            await first
        assert await second == Webhooks(kept=["update", "create"])

    async def test_what_is_being_asked_is_left_to_end(self, world):
        gate = asyncio.Event()

        async def wait():
            await gate.wait()

        world.crm.answers["webhooks"] = lambda _what: wait()
        hub = await world.start()
        await hub.resume("crm")  # which begins anew, were nothing under way
        await world.was_asked(hub, 1)
        gate.set()
        await world.was_asked(hub, 1)
        assert world.vendor == others_and(update=address(hub), create=address(hub))

    async def test_a_vendor_on_this_machine_can_call_an_address_of_this_machine(self, world):
        near = "http://127.0.0.1:8600"
        here = "\n    def endpoint(self):\n        return Endpoint(base_url='http://127.0.0.1:9')\n"
        world.place.plugin(REGISTERS + here)
        hub = await world.start(public_url=near)
        assert world.vendor["w-create"] == address(hub, near)


class TestNotRegistering:
    @pytest.mark.parametrize(
        "public_url", [None, "http://127.0.0.1:8600", "http://localhost:8600", "http://[::1]:8600"]
    )
    async def test_a_hub_whose_address_nobody_has_said_or_can_reach_says_so_once(self, world, public_url):
        with structlog.testing.capture_logs() as logs:
            hub = await world.start(public_url=public_url, asked=0)
            await hub.resume("crm")
            await world.was_asked(hub, 0)
        (line,) = [each for each in logs if each["event"] == "webhooks_not_registered"]
        assert (line["log_level"], line["connector"]) == ("info", "crm")
        assert "hub.public_url" in line["reason"]
        assert "hub.public_url" in line["remedy"]
        assert "webhooks: manual" in line["remedy"]
        assert ("crm", "webhooks") not in hub._schedule._jobs

    async def test_without_an_address_an_operator_hears_what_is_missing_and_one_of_this_machine_is_tried(self, world):
        hub = await world.start(public_url=None, asked=0)
        with pytest.raises(NoPublicUrl, match=r"crm: .*set hub\.public_url"):
            await hub.webhooks("crm")
        near = "http://127.0.0.1:8600"
        await world.reload(hub, public_url=near, asked=0)
        assert await hub.webhooks("crm") == Webhooks(made=["update", "create"])
        assert world.vendor["w-create"] == address(hub, near)

    async def test_manual_leaves_it_to_the_operator(self, world):
        with structlog.testing.capture_logs() as logs:
            hub = await world.start(webhooks="manual", asked=0)
            await hub.resume("crm")
            await world.was_asked(hub, 0)
        assert not [each for each in logs if each["event"].startswith("webhooks")]
        assert ("crm", "webhooks") not in hub._schedule._jobs
        assert await hub.webhooks("crm") == Webhooks(made=["update", "create"])

    @pytest.mark.parametrize(
        ("body", "attributes", "why"),
        [
            (SINGLE, "", "the plugin ./crm.py has no register_webhooks"),
            (REGISTERS, "registers_webhooks = False", "the plugin ./crm.py registers none with these settings"),
        ],
    )
    async def test_a_plugin_that_registers_none_is_not_asked(self, world, body, attributes, why):
        world.place.plugin(body, attributes=attributes)
        hub = await world.start(asked=0)
        for remove in (False, True):
            with pytest.raises(MissingMethodError) as said:
                await hub.webhooks("crm", remove=remove)
            assert why in str(said.value)
            assert "`esplanade connectors`" in str(said.value)
        assert world.asked == []

    async def test_a_paused_connector_is_asked_only_once_it_resumes(self, world):
        first = await world.start()
        await first.pause("crm", "by hand")
        await first.stop()
        hub = await world.start(asked=1)
        await hub._schedule.tick(hub._schedule._jobs["crm", "webhooks"], world.clock.time() + 1)
        await world.was_asked(hub, 1)
        await hub.resume("crm")
        await world.was_asked(hub, 2)

    async def test_one_that_is_paused_while_it_waits_is_left_alone_until_it_resumes(self, world):
        world.answer(TemporaryError("down"))
        hub = await world.start()
        await hub.pause("crm", "by hand")
        await world.clock.advance(3600)
        await world.was_asked(hub, 1)
        await hub.resume("crm")
        await world.was_asked(hub, 2)
        assert "w-update" in world.vendor

    async def test_one_whose_credentials_are_taken_again_is_asked_by_itself(self, world):
        hub = await world.start()
        world.crm.answers["profile"] = lambda _event: AuthenticationError("expired")
        await profile(hub, "ada")
        await settled(hub)
        assert (await state(hub)).state == "auth"
        world.crm.answers.clear()
        await world.clock.advance(60)
        await world.was_asked(hub, 2)
        assert (await state(hub)).state == "ok"


class TestFailing:
    async def test_a_vendor_that_is_down_is_asked_from_a_minute_to_an_hour_apart_until_it_answers(self, world):
        with told() as alerts:
            world.answer(*[TemporaryError("down")] * 9)
            hub = await world.start()
            for asked, wait in enumerate([60, 120, 240, 480, 960, 1920, 3600, 3600, 3600], start=2):
                await world.later(hub, wait, asked)
        assert world.vendor == others_and(update=address(hub), create=address(hub))
        assert set(alerts) == {"webhooks:crm"}
        assert len(alerts) < 9
        await world.clock.advance(86_400)
        await world.was_asked(hub, 10)

    async def test_the_alert_is_news_again_once_it_has_worked(self, world):
        with told() as alerts:
            world.answer(TemporaryError("down"), TemporaryError("down"), None, TemporaryError("down"))
            hub = await world.start()
            await world.later(hub, 60, 2)
            assert await hub.webhooks("crm") == Webhooks(made=["update", "create"])
            await hub.resume("crm")
            await world.was_asked(hub, 4)
        assert alerts == ["webhooks:crm"] * 2

    async def test_the_wait_that_the_vendor_asks_for_is_kept(self, world):
        world.answer(TemporaryError("busy", retry_after=500))
        hub = await world.start()
        await world.later(hub, 500, 2)

    async def test_neither_log_nor_alert_tells_the_url_or_a_plugins_own_words(self, world):
        hub = await world.start()
        with structlog.testing.capture_logs() as logs:
            for error in (PermanentError(f"Url {address(hub)} is taken"), KeyError("ada@example.com")):
                world.answer(error)
                hub.alert.clear("webhooks:crm")
                await hub.resume("crm")
                await world.was_asked(hub, len(world.asked) + 1)
        alerts = [each["message"] for each in logs if each["event"] == "alert"]
        assert len(alerts) == 2
        assert "is taken" in alerts[0]
        assert "KeyError" in alerts[1]
        assert "`esplanade webhooks crm`" in alerts[0]
        assert hub.hook_keys()["crm"] not in str(logs)
        assert "ada@example.com" not in str(logs)

    async def test_who_asks_for_it_hears_what_went_wrong_and_no_alert_is_raised(self, world):
        hub = await world.start()
        with told() as alerts:
            world.answer(PermanentError("no more than 5 webhooks"), "done", 7)
            with pytest.raises(PermanentError, match="no more than 5"):
                await hub.webhooks("crm")
            with pytest.raises(PluginError, match=r"\./crm\.py must return Webhooks, not str"):
                await hub.webhooks("crm")
            with pytest.raises(PluginError, match="must return Webhooks, not int"):
                await hub.webhooks("crm")
        assert alerts == []

    async def test_a_plugin_that_hangs_ends_some_day_and_is_tried_again(self, world, monkeypatch):
        monkeypatch.setattr("esplanade.runtime.webhooks.LIMIT_S", 0.01)
        never = asyncio.Event()
        world.crm.answers["webhooks"] = lambda _what: never.wait()
        with structlog.testing.capture_logs() as logs:
            hub = await world.start()
            async with asyncio.timeout(10):
                while not [each for each in logs if each["event"] == "alert"]:
                    await hub.store.read(lambda reader: None)
        (alert,) = [each["message"] for each in logs if each["event"] == "alert"]
        assert "crm: its webhooks took longer than 0.01 s" in alert
        world.crm.answers.clear()
        monkeypatch.setattr("esplanade.runtime.webhooks.LIMIT_S", 60.0)
        await world.clock.advance(60)
        await world.was_asked(hub, 2)
        assert "w-update" in world.vendor


class TestReloading:
    async def test_another_public_url_mends_them(self, world):
        hub = await world.start()
        await world.reload(hub, public_url="https://moved.example/", asked=2)
        moved = address(hub, "https://moved.example")
        assert world.vendor == others_and(update=moved, create=moved)

    async def test_another_hook_key_mends_them(self, world):
        hub = await world.start()
        await world.reload(hub, hook_key="another-key-of-sixteen", asked=2)
        assert world.vendor["w-update"] == f"{PUBLIC}/hooks/crm/another-key-of-sixteen"

    async def test_what_did_not_change_is_not_asked_again(self, world):
        hub = await world.start()
        await world.reload(hub, asked=1)
        assert ("crm", "webhooks") in hub._schedule._jobs

    async def test_a_public_url_that_is_given_now_is_enough(self, world):
        hub = await world.start(public_url=None, asked=0)
        await world.reload(hub, asked=1)
        assert world.vendor["w-update"] == address(hub)

    async def test_manual_ends_what_was_tried(self, world):
        world.answer(TemporaryError("down"))
        hub = await world.start()
        await world.reload(hub, webhooks="manual", asked=1)
        await world.clock.advance(7200)
        await world.was_asked(hub, 1)

    async def test_a_registration_that_is_under_way_does_not_outlive_its_connection(self, world):
        never = asyncio.Event()
        world.crm.answers["webhooks"] = lambda _what: never.wait()
        hub = await world.start()
        world.crm.answers.clear()
        with told() as alerts:
            await world.reload(hub, public_url="https://moved.example", asked=2)
        assert world.vendor["w-update"] == address(hub, "https://moved.example")
        assert alerts == []


class TestRemoving:
    async def test_what_the_hub_made_is_removed_and_comes_back_with_the_next_start(self, world):
        hub = await world.start()
        assert await hub.webhooks("crm", remove=True) == Webhooks(removed=["update", "create"])
        assert world.vendor == others_and()
        assert await hub.webhooks("crm", remove=True) == Webhooks()
        await hub.stop()
        again = await world.start(asked=4)
        assert world.vendor == others_and(update=address(again), create=address(again))

    async def test_what_waits_to_be_tried_again_does_not_bring_it_back(self, world):
        world.answer(TemporaryError("down"))
        hub = await world.start()
        await hub.webhooks("crm", remove=True)
        await world.clock.advance(7200)
        await world.was_asked(hub, 2)
        assert world.vendor == others_and()

    async def test_a_disabled_connector_is_named(self, world):
        hub = await world.start(enabled=False, asked=0)
        with pytest.raises(PluginError, match="crm is disabled"):
            await hub.webhooks("crm")


@pytest.mark.parametrize("only", ["register_webhooks", "remove_webhooks"])
async def test_a_plugin_that_can_only_make_them_or_only_remove_them_is_refused(world, only):
    other = ({"register_webhooks", "remove_webhooks"} - {only}).pop()
    world.place.plugin(REGISTERS.replace(f"async def {other}", "async def something_else"))
    hub = await world.start(asked=0)
    assert "register_webhooks and remove_webhooks go together" in hub.failures["crm"]


def test_the_report_of_plugins_has_them(world):
    world.place.write({"crm": ONLY_PROFILES})
    (row,) = [each for each in runtime.plugin_report(world.place.load()) if each["name"] == "./crm.py"]
    assert row["methods"] == ["check", "register_webhooks", "remove_webhooks"]
