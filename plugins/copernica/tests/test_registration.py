"""The hub's own webhooks in the account: made, found, mended, removed; those of others are left alone."""

import json

import pytest

from esplanade import OutcomeUnknown, Webhooks
from esplanade.testing import Fault

URL = "https://hub.example.net/hooks/copernica/k3y"
DATABASE = [f"{trigger} of database 31" for trigger in ("create", "update", "delete", "unsubscribe")]


def shown(twin):
    return {
        each.trigger: (each.handler, each.callers, each.database, each.collection)
        for each in twin.webhooks
        if each.collection is None
    }


async def register(hub, url=URL):
    return await hub.connector.register_webhooks(url, hub.ctx)


async def test_they_are_made_once_and_the_hubs_own_writes_fire_none(hub, twin):
    assert await register(hub) == Webhooks(made=DATABASE)
    limited, free = (URL, ["ms", "publisher"], 31, None), (URL, [], 31, None)
    assert shown(twin) == {"create": limited, "update": limited, "delete": limited, "unsubscribe": free}
    assert await register(hub) == Webhooks(kept=DATABASE)
    assert len(twin.webhooks) == 4


async def test_one_that_somebody_deleted_is_made_again(hub, twin):
    await register(hub)
    gone = next(number for number, each in twin.hooks.webhooks.items() if each.trigger == "update")
    del twin.hooks.webhooks[gone]
    told = await register(hub)
    assert (told.made, len(told.kept), len(twin.webhooks)) == (["update of database 31"], 3, 4)


@pytest.mark.parametrize(("what", "to"), [("handler", "https://else.example/"), ("callers", []), ("trigger", "open")])
async def test_one_that_somebody_changed_is_mended(hub, twin, what, to):
    await register(hub)
    changed = next(each for each in twin.webhooks if each.trigger == "update")
    setattr(changed, what, to)
    told = await register(hub)
    assert (told.mended, told.made, len(twin.webhooks)) == (["update of database 31"], [], 4)
    assert shown(twin)["update"] == (URL, ["ms", "publisher"], 31, None)


async def test_another_url_mends_all_of_them(hub, twin):
    await register(hub)
    told = await register(hub, "https://new.example.net/hooks/copernica/k4y")
    assert told == Webhooks(mended=DATABASE)
    assert {each.handler for each in twin.webhooks} == {"https://new.example.net/hooks/copernica/k4y"}


async def test_those_of_others_are_never_touched(hub, twin):
    stranger = {"handler": "https://else.example/", "trigger": "update", "database": 31}
    await hub.ctx.http.post("/v4/webhooks", json=stranger)
    before = twin.webhooks[0]
    await register(hub)
    await register(hub, "https://new.example.net/k4y")
    told = await hub.connector.remove_webhooks(hub.ctx)
    assert sorted(told.removed) == sorted(DATABASE)
    assert twin.webhooks == [before]
    assert await hub.connector.remove_webhooks(hub.ctx) == Webhooks()


async def test_one_that_is_gone_already_was_not_removed(hub, twin):
    await register(hub)
    twin.hooks.webhooks.clear()
    assert await hub.connector.remove_webhooks(hub.ctx) == Webhooks()


async def test_what_is_no_longer_wanted_is_removed(open_hub, twin, hub):
    await register(hub)
    kept = await hub.ctx.kv.get("webhooks")
    async with open_hub(webhook_triggers=["update", "click"]) as other:
        await other.ctx.kv.set("webhooks", kept)
        told = await register(other)
    assert told.made == ["click of database 31"]
    assert sorted(told.removed) == sorted(each for each in DATABASE if not each.startswith("update"))
    assert shown(twin).keys() == {"update", "click"}
    assert shown(twin)["click"][1] == [], "a click comes from no caller that could be named"


async def test_values_in_the_collection_have_webhooks_of_their_own(open_hub, twin):
    async with open_hub({"fields": {"city": "SQ_profile.City"}}) as hub:
        told = await register(hub)
    number = twin.account.collection("SQ_profile").id
    assert told.made == [*DATABASE, f"create of collection {number}", f"update of collection {number}"]
    below = [each for each in twin.webhooks if each.collection is not None]
    assert {(each.trigger, each.collection, tuple(each.callers)) for each in below} == {
        ("create", number, ("ms", "publisher")),
        ("update", number, ("ms", "publisher")),
    }


async def test_the_numbers_of_another_account_are_not_used(hub, twin):
    await register(hub)
    await hub.ctx.kv.set("webhooks", ["4711", {"update of database 31": str(twin.webhooks[0].id)}])
    assert (await register(hub)).made == DATABASE, "in this account that number would be somebody else's"


async def test_each_number_is_kept_as_soon_as_it_is_known(hub, twin):
    twin.faults.append(Fault(match="POST /v4/webhooks", action="after", status=500, skip=2))
    with pytest.raises(OutcomeUnknown):
        await register(hub)
    told = await register(hub)
    assert (told.kept, told.made) == (DATABASE[:2], DATABASE[2:])


def test_without_webhooks_to_read_none_are_registered(open_hub, twin):
    from msgspec.structs import replace

    from esplanade_copernica.plugin import CopernicaConnector

    assert CopernicaConnector(twin.settings).registers_webhooks
    assert not CopernicaConnector(replace(twin.settings, inbound_mode="callback")).registers_webhooks


async def test_a_hub_registers_them_and_hears_of_people_but_not_of_itself(own_hub):
    hub, twin = own_hub
    registered = [each.callers for each in twin.webhooks if each.trigger == "update"]
    assert registered == [["ms", "publisher"]]
    body = {"email": "noor@example.net", "fields": {"city": "Delft"}}
    admission = hub.intake.admit("shop", "profile", [json.dumps(body).encode()], may={"profile"})
    await hub.intake.accept(admission.entries)
    await hub.settled()
    await twin.settled()
    assert twin.calls_made == 0, "the hub's own write"
    twin.edit_profile(twin.find("noor@example.net").id, {"Firstname": "Noor"})
    await twin.settled()
    await hub.settled()
    person = await hub.store.read(lambda reader: reader.person_by_email("noor@example.net"))
    assert (twin.calls_made, person.fields["name"].value) == (1, "Noor")
