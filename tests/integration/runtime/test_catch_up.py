"""A connector that was disabled is told what it has missed, once it is enabled again."""

import asyncio
import threading

import pytest
import structlog.testing

from esplanade import runtime
from esplanade.runtime import catch_up

from .conftest import SINGLE, consent, deliveries, email, person_of, profile, remote_of, send, settled

BESIDE = {"plugin": "./erp.py", "triggers": {}}
ON = {"crm": {}, "erp": BESIDE}
OFF = {"crm": {"enabled": False}, "erp": BESIDE}
GONE = {"erp": BESIDE}
MARK = "catch-up"


class Reloaded:
    """The file is read again while the hub runs."""

    async def change(self, place, hub, connectors):
        place.write(connectors)
        await hub.reload(place.load())
        return hub


class Restarted:
    """The hub is stopped, and started on the changed file."""

    async def change(self, place, hub, connectors):
        await hub.stop()
        return await place.start(connectors=connectors)


@pytest.fixture(params=[Reloaded, Restarted])
def way(request):
    return request.param()


@pytest.fixture
async def running(place):
    place.plugin(name="erp.py")
    return await place.start(connectors=ON)


@pytest.fixture
def crm(place, running):
    return place.script()


async def held(hub, *names, **fields):
    """Let the vendors hold these people, with a granted newsletter."""
    for name in names:
        await profile(hub, name, **fields)
        await consent(hub, name)
    await settled(hub)


async def mark(hub, connector="crm"):
    return await hub.store.run(lambda unit: unit.cursor(connector, MARK))


async def renamed(hub, name, before):
    await send(hub, "profile", {"email": name, "previous_email": email(before)})


async def deny(hub, name):
    await consent(hub, name, "denied")


@pytest.mark.parametrize("meanwhile", [OFF, GONE], ids=["disabled", "taken out of the file"])
async def test_an_opt_out_reaches_the_vendor_that_missed_it(place, running, crm, way, meanwhile):
    await held(running, "ada", "bob")
    crm.calls.clear()
    hub = await way.change(place, running, meanwhile)
    await deny(hub, "ada")
    await settled(hub)
    assert crm.calls == []
    hub = await way.change(place, hub, ON)
    await settled(hub)
    assert crm.calls == [("ada", "consent", "newsletter denied")]
    assert (await remote_of(hub, "ada")).consents == {"newsletter": "denied"}


async def test_opt_outs_go_first_and_the_rest_gives_way_to_live_changes(place, running, crm, way):
    await held(running, "ada", "bob")
    hub = await way.change(place, running, OFF)
    await profile(hub, "ada", city="Gouda")
    await deny(hub, "bob")
    await settled(hub)
    await hub.pause("crm", "look first")
    hub = await way.change(place, hub, ON)
    await settled(hub)
    waiting = await deliveries(hub, connector="crm", states=["pending"])
    assert [(each.kind, each.urgency) for each in waiting] == [("profile", 3), ("consent", 0)]
    crm.calls.clear()
    await hub.resume("crm")
    await settled(hub)
    assert crm.calls[0] == ("bob", "consent", "newsletter denied")
    assert crm.to("ada") == [("profile", {"City": "Gouda"})]


async def test_so_do_a_changed_profile_an_audience_and_another_grant(place, running, crm, way):
    await held(running, "ada", city="Delft", name="Ada")
    crm.events.clear()
    hub = await way.change(place, running, OFF)
    await send(hub, "profile", {"email": "ada", "fields": {"city": None}, "audiences": {"vip": True}})
    await consent(hub, "ada", purpose="service")
    await settled(hub)
    hub = await way.change(place, hub, ON)
    await settled(hub)
    told, granted = crm.events
    assert (told.changed, told.cleared, list(told.audiences.add)) == ({}, ["City"], ["vip"])
    assert (granted.purpose, granted.state) == ("service", "granted")


async def test_a_contact_that_goes_along_is_renamed(place, crm, running, way):
    place.plugin(SINGLE, attributes='address_change = "rename"')
    hub = await Reloaded().change(place, running, ON)
    crm = place.script()
    await held(hub, "ada")
    crm.events.clear()
    hub = await way.change(place, hub, OFF)
    await renamed(hub, "ada.new", "ada")
    await settled(hub)
    hub = await way.change(place, hub, ON)
    await settled(hub)
    (told,) = crm.events
    assert (told.previous_email, told.email) == (email("ada"), email("ada.new"))
    assert (await remote_of(hub, "ada.new")).email == email("ada.new")


async def test_one_that_cannot_leaves_every_list_and_a_new_one_is_told_all(place, running, crm, way):
    place.plugin(SINGLE, attributes='address_change = "new-contact"')
    hub = await Reloaded().change(place, running, ON)
    crm = place.script()
    await held(hub, "ada")
    crm.calls.clear()
    hub = await way.change(place, hub, OFF)
    await renamed(hub, "ada.new", "ada")
    await settled(hub)
    hub = await way.change(place, hub, ON)
    await settled(hub)
    assert {what for kind, what in crm.to("ada") if kind == "consent"} == {"newsletter denied", "service denied"}
    assert crm.to("ada.new") == [("profile", {"City": "Delft"}), ("consent", "newsletter granted")]


async def test_where_only_consents_are_told_the_new_address_is_as_well(place, running, crm, way):
    consents_only = {**ON, "crm": {"receives": ["consent"]}}
    hub = await Reloaded().change(place, running, consents_only)
    await consent(hub, "ada")
    await settled(hub)
    crm.calls.clear()
    hub = await way.change(place, hub, OFF)
    await renamed(hub, "ada.new", "ada")
    await settled(hub)
    hub = await way.change(place, hub, consents_only)
    await settled(hub)
    assert ("consent", "newsletter denied") in crm.to("ada")
    assert crm.to("ada.new") == [("consent", "newsletter granted")]


async def test_a_contact_of_somebody_who_was_merged_leaves_every_list(place, running, crm, way):
    await held(running, "ada", "bob")
    crm.events.clear()
    hub = await way.change(place, running, OFF)
    await renamed(hub, "ada", "bob")
    await settled(hub)
    hub = await way.change(place, hub, ON)
    await settled(hub)
    told = [each for each in crm.events if each.email == email("bob")]
    assert {(each.purpose, each.state) for each in told} == {("newsletter", "denied"), ("service", "denied")}
    assert "denied" not in {getattr(each, "state", "") for each in crm.events if each.email == email("ada")}


async def test_nothing_is_queued_or_noted_for_those_who_are_as_the_vendor_holds_them(place, running, crm, way):
    await held(running, "ada")
    crm.calls.clear()
    person = await person_of(running, "ada")
    before = await running.store.run(lambda unit: unit.timeline(person.id))
    many = len(await deliveries(running))
    hub = await way.change(place, running, OFF)
    assert await mark(hub) == "0"
    hub = await way.change(place, hub, ON)
    await settled(hub)
    assert crm.calls == []
    assert len(await deliveries(hub)) == many
    assert await hub.store.run(lambda unit: unit.timeline(person.id)) == before
    assert await mark(hub) is None


async def test_who_came_meanwhile_is_told_with_their_next_change(place, running, crm, way):
    hub = await way.change(place, running, OFF)
    await held(hub, "eve")
    hub = await way.change(place, hub, ON)
    await settled(hub)
    assert crm.calls == []
    await profile(hub, "eve", city="Gouda")
    await settled(hub)
    assert crm.to("eve") == [("profile", {"City": "Gouda"})]


async def test_others_are_left_alone(place, running, way):
    await held(running, "ada")
    erp = place.script("./erp.py")
    hub = await way.change(place, running, OFF)
    await deny(hub, "ada")
    await settled(hub)
    erp.calls.clear()
    hub = await way.change(place, hub, ON)
    await settled(hub)
    assert erp.calls == []


async def test_a_note_and_a_line_in_the_log_say_so(place, running, way):
    await held(running, "ada", "bob")
    hub = await way.change(place, running, OFF)
    await deny(hub, "ada")
    await settled(hub)
    with structlog.testing.capture_logs() as logs:
        hub = await way.change(place, hub, ON)
        await settled(hub)
    (line,) = [each for each in logs if each["event"] == "caught_up"]
    assert (line["connector"], line["compared"], line["differ"]) == ("crm", 2, 1)
    person = await person_of(hub, "ada")
    *_, note, sent = await hub.store.run(lambda unit: unit.timeline(person.id))
    assert (note.what, note.connector) == ("accepted", "crm")
    assert "enabled again" in note.detail
    assert (sent.what, sent.event_id) == ("sent", note.event_id)


class Halfway:
    """Holds the comparing at one person until it is let go, and counts who was compared."""

    def __init__(self, monkeypatch, at):
        self.compared = []
        self.reached = asyncio.Event()
        self._at = at
        self._gate = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._tell = catch_up.tell_difference
        monkeypatch.setattr(catch_up, "tell_difference", self)
        monkeypatch.setattr(catch_up, "CHUNK", 1)

    def __call__(self, unit, person, *rest):
        self.compared.append(person.email)
        if len(self.compared) == self._at:
            self._loop.call_soon_threadsafe(self.reached.set)
            assert self._gate.wait(10)
        return self._tell(unit, person, *rest)

    def let_go(self):
        self._gate.set()


NAMES = [f"p{number}" for number in range(6)]


async def all_denied_while_off(place, hub):
    await held(hub, *NAMES)
    hub = await Reloaded().change(place, hub, OFF)
    for name in NAMES:
        await deny(hub, name)
    await settled(hub)
    return hub


async def test_a_lane_that_rests_is_woken(place, clock, monkeypatch):
    place.plugin(name="erp.py")
    hub = await all_denied_while_off(place, await place.start(connectors=ON, clock=clock))
    crm = place.script()
    crm.calls.clear()
    late = []
    with monkeypatch.context() as patched:
        patched.setattr(hub._catch_up, "begin", late.extend)
        await Reloaded().change(place, hub, ON)
    await hub.connections["crm"].outbound.quiet()
    hub._catch_up.begin(late)
    await crm.called(len(NAMES))
    assert sorted(name for name, *_ in crm.calls) == NAMES


async def test_killed_in_the_middle_it_goes_on_where_it_was(place, running, crm, monkeypatch):
    hub = await all_denied_while_off(place, running)
    await hub.pause("crm", "look first")
    halfway = Halfway(monkeypatch, at=3)
    hub = await Reloaded().change(place, hub, ON)
    await halfway.reached.wait()
    stopping = asyncio.create_task(hub.stop())
    await asyncio.sleep(0)
    for task in hub._catch_up._running:
        task.cancel()
    halfway.let_go()
    await stopping
    assert halfway.compared == [email(name) for name in NAMES[:3]]
    hub = await place.start(connectors=ON)
    await settled(hub)
    assert halfway.compared == [email(name) for name in NAMES]
    crm.calls.clear()
    await hub.resume("crm")
    await settled(hub)
    assert sorted(crm.calls) == [(name, "consent", "newsletter denied") for name in NAMES]
    assert await mark(hub) is None


async def test_disabled_in_the_middle_it_begins_anew(place, running, crm, monkeypatch):
    hub = await all_denied_while_off(place, running)
    await hub.pause("crm", "look first")
    halfway = Halfway(monkeypatch, at=3)
    hub = await Reloaded().change(place, hub, ON)
    await halfway.reached.wait()
    place.write(OFF)
    reloading = asyncio.create_task(hub.reload(place.load()))
    await asyncio.sleep(0)
    halfway.let_go()
    await reloading
    assert len(halfway.compared) < len(NAMES)
    assert await mark(hub) == "0"
    await consent(hub, NAMES[0], purpose="service")
    await settled(hub)
    hub = await Reloaded().change(place, hub, ON)
    await hub.resume("crm")
    await settled(hub)
    assert ("consent", "service granted") in crm.to(NAMES[0])
    assert ("consent", "newsletter denied") in crm.to(NAMES[5])


async def test_one_who_cannot_be_compared_is_named_and_the_others_are_told(place, running, crm, monkeypatch):
    hub = await all_denied_while_off(place, running)
    tell = catch_up.tell_difference

    def fail_at_first(unit, person, *rest):
        differs = tell(unit, person, *rest)
        if person.email == email(NAMES[0]):
            raise ValueError(person.email)
        return differs

    monkeypatch.setattr(catch_up, "tell_difference", fail_at_first)
    crm.calls.clear()
    first = await person_of(hub, NAMES[0])
    with structlog.testing.capture_logs() as logs:
        hub = await Reloaded().change(place, hub, ON)
        await settled(hub)
    assert [each["error"] for each in logs if each["event"] == "catch_up_failed"] == [f"{first.name}: ValueError"]
    assert sorted(name for name, *_ in crm.calls) == NAMES[1:]


async def test_a_connector_whose_plugin_fails_is_told_once_it_loads(place, running, way):
    await held(running, "ada")
    hub = await way.change(place, running, OFF)
    await deny(hub, "ada")
    await settled(hub)
    sound = (place.path / "crm.py").read_text()
    (place.path / "crm.py").write_text("import nothing_of_this_name")
    hub = await way.change(place, hub, ON)
    await settled(hub)
    assert "crm" in hub.failures
    assert await mark(hub) == "0"
    (place.path / "crm.py").write_text(sound)
    hub = await way.change(place, hub, ON)
    await settled(hub)
    assert place.script().calls[-1] == ("ada", "consent", "newsletter denied")


async def test_what_a_command_folds_while_it_is_disabled_counts_too(place, running, crm):
    await held(running, "ada")
    await running.stop()
    place.write(OFF)
    command = await runtime.Hub.start(place.load(), listen=False, deliver=False)
    place.hubs.append(command)
    await deny(command, "ada")
    await settled(command)
    await command.stop()
    crm.calls.clear()
    hub = await place.start(connectors=ON)
    await settled(hub)
    assert crm.calls == [("ada", "consent", "newsletter denied")]
