"""A connector that was disabled is told what it has missed, once it is enabled again."""

import pytest
import structlog.testing

from esplanade.model import PermanentError
from esplanade.runtime import catch_up

from .conftest import ALL, SINGLE, consent, deliveries, email, folded, person_of, profile, remote_of, send, settled

BESIDE = {"plugin": "./erp.py"}
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


async def test_killed_in_the_middle_it_goes_on_where_it_was(place, running, crm, monkeypatch):
    monkeypatch.setattr(catch_up, "CHUNK", 1)
    names = [f"p{number}" for number in range(6)]
    await held(running, *names)
    hub = await Reloaded().change(place, running, OFF)
    for name in names:
        await deny(hub, name)
    await settled(hub)
    await hub.pause("crm", "look first")
    compared = []
    tell = catch_up.tell_difference

    def stop_after_two(unit, person, *rest):
        if len(compared) == 2:
            raise KilledHere
        compared.append(person.id)
        return tell(unit, person, *rest)

    class KilledHere(BaseException):
        """What no code expects, as a kill."""

    monkeypatch.setattr(catch_up, "tell_difference", stop_after_two)
    await hub.stop()
    hub = await place.start(connectors=ON)
    with pytest.raises(KilledHere):
        await hub.catch_up_died
