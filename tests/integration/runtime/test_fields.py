"""A field that the vendor no longer has, or that is of another type: told of once, left alone, and written once it is back."""

import structlog.testing

from esplanade.errors import PermanentError, TemporaryError

from .conftest import SINGLE, deliveries, moved, profile, remote_of, settled

DISCOVERS = (
    SINGLE
    + """
    there = {"City": "text", "Name": "text"}
    trouble = None
    asked = 0

    async def check(self, ctx):
        return CheckResult(detail="an account")

    async def discover(self, ctx):
        Crm.asked += 1
        if Crm.trouble is not None:
            raise Crm.trouble
        return Discovery(fields=[FieldInfo(name=name, type=kind) for name, kind in Crm.there.items()])
"""
)
HOUR_S = 3600.0


def sent(crm):
    return [what for _, kind, what in crm.calls if kind == "profile"]


async def started(place, clock, **more):
    place.plugin(DISCOVERS)
    hub = await place.start(clock=clock, **more)
    crm = place.script()
    await profile(hub, "ada", city="Delft", name="Ada")
    await profile(hub, "bob", city="Breda", name="Bob")
    await settled(hub)
    await moved(hub, clock, HOUR_S)
    crm.calls.clear()
    return hub, crm


def alerts(logs):
    return [each["key"] for each in logs if each["event"] == "alert"]


async def test_it_is_told_of_once_and_the_others_are_sent(place, clock):
    hub, crm = await started(place, clock)
    del crm.plugin.there["City"]
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await moved(hub, clock, HOUR_S)
    assert alerts(logs) == ["field:crm:City"]
    assert "the vendor no longer has the field City, to which city is mapped" in str(logs)
    await profile(hub, "ada", city="Gouda", name="Ada L.")
    await settled(hub)
    assert sent(crm) == [{"Name": "Ada L."}]
    found = await hub.check("crm")
    assert (found.status, found.detail) == ("wrong-fields", "the vendor has no field City; an account")


async def test_once_it_is_back_everybody_has_it_there_again(place, clock):
    hub, crm = await started(place, clock)
    kind = crm.plugin.there.pop("City")
    await moved(hub, clock, HOUR_S)
    await profile(hub, "ada", city="Gouda")
    await settled(hub)
    crm.plugin.there["City"] = kind
    await moved(hub, clock, HOUR_S)
    assert sorted(sent(crm), key=str) == [{"City": "Breda"}, {"City": "Gouda"}]
    assert (await remote_of(hub, "ada")).fields == {"City": "Gouda", "Name": "Ada"}
    assert (await hub.check("crm")).status == "ok"


async def test_what_was_refused_for_its_sake_is_sent_without_it(place, clock):
    hub, crm = await started(place, clock)
    crm.answers["profile"] = lambda event: PermanentError("no such field: City") if "City" in event.changed else None
    del crm.plugin.there["City"]
    await profile(hub, "ada", city="Gouda", name="Ada L.")
    await settled(hub)
    assert [each.reason for each in await deliveries(hub, states=["dead"])] == ["rejected"]
    crm.answers.clear()
    await moved(hub, clock, HOUR_S)
    assert sent(crm)[-1] == {"Name": "Ada L."}
    assert await deliveries(hub, states=["dead"]) == []


async def test_another_type_is_parked_until_somebody_says_that_it_is_right(place, clock):
    hub, crm = await started(place, clock)
    crm.plugin.there["City"] = "number"
    with structlog.testing.capture_logs() as logs:
        await moved(hub, clock, HOUR_S)
    assert alerts(logs) == ["field:crm:City"]
    assert "`esplanade resume crm`" in str(logs)
    await profile(hub, "ada", city="Gouda")
    await settled(hub)
    assert sent(crm) == []
    assert "another type than before has the field City" in (await hub.check("crm")).detail
    await hub.resume("crm")
    await settled(hub)
    assert sorted(sent(crm), key=str) == [{"City": "Breda"}, {"City": "Gouda"}]
    await moved(hub, clock, HOUR_S)
    assert (await hub.check("crm")).status == "ok"


async def test_it_is_remembered_through_a_restart(place, clock):
    hub, crm = await started(place, clock)
    del crm.plugin.there["City"]
    await moved(hub, clock, HOUR_S)
    await hub.stop()
    again = await place.start(clock=clock, write=False)
    with structlog.testing.capture_logs() as logs:
        await profile(again, "ada", city="Gouda", name="Ada L.")
        await settled(again)
        await moved(again, clock, HOUR_S)
    assert sent(crm) == [{"Name": "Ada L."}]
    assert alerts(logs) == []


async def test_a_vendor_that_cannot_be_asked_or_lists_nothing_changes_nothing(place, clock):
    hub, crm = await started(place, clock)
    crm.plugin.trouble = TemporaryError("down")
    await moved(hub, clock, HOUR_S)
    assert (await hub.check("crm")).status == "ok"
    crm.plugin.trouble = None
    crm.plugin.there.clear()
    with structlog.testing.capture_logs() as logs:
        await moved(hub, clock, HOUR_S)
    await profile(hub, "ada", city="Gouda")
    await settled(hub)
    assert sent(crm) == [{"City": "Gouda"}]
    assert alerts(logs) == []


async def test_a_field_that_never_was_there_is_sent_and_the_check_says_so(place, clock):
    fields = {"crm": {"fields": {"city": "City", "name": "Naem"}}}
    hub, crm = await started(place, clock, connectors=fields)
    await profile(hub, "ada", name="Ada L.")
    await settled(hub)
    assert sent(crm) == [{"Naem": "Ada L."}]
    assert (await hub.check("crm")).detail == "the vendor has no field Naem; an account"


async def test_a_connector_that_is_paused_is_not_asked(place, clock):
    hub, crm = await started(place, clock)
    await hub.pause("crm", "by hand")
    before = crm.plugin.asked
    await moved(hub, clock, HOUR_S)
    assert crm.plugin.asked == before
