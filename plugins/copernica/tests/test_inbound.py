"""What Copernica sends, from its own signed request to what the hub is told: webhooks and callbacks, profiles and subprofiles."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
from aiohttp import web

from esplanade import InboundRequest, Report, TemporaryError

from .conftest import BELOW


class Door:
    """Where the vendor calls: keeps the requests as the hub would hand them to the plugin."""

    def __init__(self, clock):
        self.clock, self.requests, self.came = clock, [], asyncio.Condition()

    async def take(self, request):
        path, _, query = request.raw_path.partition("?")
        headers = {name.lower(): value for name, value in request.headers.items()}
        async with self.came:
            self.requests.append(
                InboundRequest(
                    method=request.method,
                    path=path,
                    query=query,
                    headers=headers,
                    body=await request.read(),
                    received_at=datetime.fromtimestamp(self.clock.time(), UTC),
                )
            )
            self.came.notify_all()
        return web.Response()

    async def next(self):
        async with asyncio.timeout(10), self.came:
            await self.came.wait_for(lambda: self.requests)
            return self.requests.pop(0)


@pytest.fixture
async def door(twin, clock):
    app, door = web.Application(), Door(clock)
    app.router.add_post("/hooks/copernica/{key}", door.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    twin.hook_url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/copernica/k3y"
    yield door
    await runner.cleanup()


async def told(hub, door):
    """What the next call comes to, once it was verified."""
    request = await door.next()
    assert await hub.connector.verify(request, hub.ctx)
    return await hub.connector.on_inbound_webhook(request, hub.ctx)


async def register(hub, twin, trigger, **more):
    body = {"handler": twin.hook_url, "trigger": trigger, "callers": ["ms", "publisher"], "database": 31, **more}
    return (await hub.ctx.http.post("/v4/webhooks", json=body)).headers["x-created"]


class TestWebhooks:
    async def test_a_new_profile_a_change_and_a_deletion_are_told(self, hub, twin, door):
        for trigger in ("create", "update", "delete"):
            await register(hub, twin, trigger)
        profile = twin.sign_up("noor@example.net", {"City": "Delft", "Newsletter": "yes"})
        (report,) = await told(hub, door)
        assert (report.email, report.remote_id, report.fields["City"]) == ("noor@example.net", str(profile), "Delft")
        assert report.consents == {"newsletter": "granted"}
        twin.edit_profile(profile, {"Newsletter": "no"})
        (report,) = await told(hub, door)
        assert report.consents == {"newsletter": "denied"}
        twin.remove_profile(profile)
        (report,) = await told(hub, door)
        assert (report.remote_id, report.deleted) == (str(profile), True)

    async def test_an_unsubscribe_carries_no_address_so_the_profile_is_read(self, hub, twin, door):
        profile = twin.sign_up("noor@example.net", {"Newsletter": "yes"})
        await register(hub, twin, "unsubscribe")
        twin.unsubscribe(profile, mailing=912)
        (report,) = await told(hub, door)
        assert (report.email, report.consents) == ("noor@example.net", {"newsletter": "denied"})

    async def test_the_hub_s_own_writes_are_left_out_by_their_caller(self, hub, twin, door):
        await register(hub, twin, "create")
        await register(hub, twin, "update")
        await hub.profile(desired={"City": "Delft"})
        twin.edit_profile(twin.find("noor@example.net").id, {"City": "Breda"})
        (report,) = await told(hub, door)
        assert report.fields["City"] == "Breda"
        await twin.settled()
        assert door.requests == []

    async def test_values_of_the_profile_collection_are_told_too(self, open_hub, twin, door):
        async with open_hub({"fields": BELOW}) as hub:
            await hub.profile(desired={"SQ_profile.City": "Delft"})
            profile = twin.find("noor@example.net").id
            (row,) = twin.below(profile, "SQ_profile")
            assert (row.fields["City"], twin.find("noor@example.net").fields["City"]) == ("Delft", "")
            await register(hub, twin, "update", database=None, collection=row.collection)
            twin.edit_subprofile(row.id, {"City": "Breda"})
            (report,) = await told(hub, door)
            assert (report.email, report.fields) == ("noor@example.net", {"SQ_profile.City": "Breda"})
            await register(hub, twin, "update")
            twin.edit_profile(profile, {"City": "Gouda", "Firstname": "Noor", "Newsletter": "no"})
            (report,) = await told(hub, door)
            assert (report.fields, report.consents) == ({"Firstname": "Noor"}, {"newsletter": "denied"})


class TestCallbacks:
    @pytest.mark.parametrize("shape", ["A", "B", "C"])
    async def test_each_shape_is_read(self, hub, twin, door, shape):
        profile = twin.sign_up("noor@example.net", {"City": "Delft", "Newsletter": "yes"})
        twin.hooks.add_callback(twin.hook_url, database=31, action="all", triggers=["publisher"], shape=shape)
        twin.edit_profile(profile, {"Newsletter": "no"}, caller="publisher")
        found = await told(hub, door)
        if shape == "C":  # it names nobody but by the address among its values
            assert all(isinstance(each, Report) for each in found)
        else:
            assert found[0].consents == {"newsletter": "denied"}

    async def test_with_all_triggers_on_the_hub_hears_its_own_writes_as_they_were_sent(self, hub, twin, door):
        """The set-up that loops elsewhere: the core then recognises them as its own."""
        twin.hooks.add_callback(twin.hook_url, database=31, action="all", shape="A")
        await hub.profile(desired={"City": "Delft"})
        (report,) = await told(hub, door)
        assert (report.email, report.fields["City"]) == ("noor@example.net", "Delft")


class TestBareNumbers:
    """The oldest shape names what changed plainly ``id``, whether it is a profile or a subprofile."""

    @pytest.fixture
    async def below(self, open_hub, twin, door):
        """A hub that reads subprofiles, and what tells of them."""
        async with open_hub({"fields": BELOW}) as hub:
            await hub.profile(desired={"SQ_profile.City": "Delft"})
            (row,) = twin.below(twin.find("noor@example.net").id, "SQ_profile")
            twin.hooks.add_callback(twin.hook_url, database=31, collection=row.collection, shape="A")
            yield hub, row

    def number_below(self, twin, profile, number=None):
        """A collection of friends, with a subprofile that has a profile's number."""
        table = twin.account.add_collection(31, "Friends")
        twin.account.add_field(table, "Email")
        row = twin.account.subprofiles.pop(twin.add_subprofile(profile, "Friends", {}))
        row.id = number or profile
        twin.account.subprofiles[row.id] = row
        return table

    async def test_a_subprofile_is_looked_up_for_its_profile_and_that_for_its_address(self, below, twin, door):
        hub, row = below
        twin.edit_subprofile(row.id, {"City": "Breda"})
        (report,) = await told(hub, door)
        assert (report.email, report.remote_id) == ("noor@example.net", str(row.profile))
        assert report.fields == {"SQ_profile.City": "Breda"}

    async def test_where_no_subprofile_is_read_nothing_is_asked(self, hub, below, twin, door, calls):
        _, row = below
        twin.edit_subprofile(row.id, {"City": "Breda"})
        request = await door.next()
        calls()
        assert await hub.connector.on_inbound_webhook(request, hub.ctx) == []
        assert calls() == []

    async def test_one_of_another_collection_is_left_out(self, below, twin, door):
        hub, row = below
        table = twin.account.add_collection(31, "Orders")
        twin.account.add_field(table, "Number")
        twin.hooks.add_callback(twin.hook_url, database=31, collection=table.id, shape="A")
        twin.add_subprofile(row.profile, "Orders", {"Number": "7"})
        assert await told(hub, door) == []

    async def test_one_that_is_deleted_is_nobody_s_deletion(self, below, twin, door, calls):
        hub, row = below
        twin.remove_subprofile(row.id)
        assert await told(hub, door) == []

    async def test_a_subprofile_with_an_address_of_its_own_is_not_taken_for_a_profile(self, hub, twin, door):
        """Its number may be that of somebody else's profile."""
        parent = twin.sign_up("noor@example.net", {})
        table = self.number_below(twin, parent)
        twin.hooks.add_callback(twin.hook_url, database=31, collection=table.id, shape="A")
        twin.edit_subprofile(parent, {"Email": "friend@example.net"})
        assert await told(hub, door) == []
        twin.remove_subprofile(parent)
        assert await told(hub, door) == []

    @pytest.mark.parametrize("action", ["update", "delete"])
    async def test_a_profile_whose_call_leaves_out_the_interests_is_still_one(self, hub, twin, door, action):
        profile = twin.sign_up("noor@example.net", {})
        self.number_below(twin, twin.sign_up("eve@example.net", {}), number=profile)
        said = {"id": str(profile), "action": action, "fields": {"Email": "noor@example.net", "City": "Breda"}}
        if action == "delete":
            twin.remove_profile(profile)
        twin.deliver(json.dumps(said).encode(), "application/json")
        (report,) = await told(hub, door)
        assert (report.remote_id, report.deleted) == (str(profile), action == "delete")


class TestMailEvents:
    @pytest.mark.parametrize("kind", ["click", "open", "delivery", "bounce", "failure"])
    async def test_each_is_a_happening_of_its_name(self, hub, twin, door, kind):
        profile = twin.sign_up("noor@example.net", {})
        await register(hub, twin, kind)
        twin.mail_event(kind, profile, mailing=318, tags=["sale"])
        (happening,) = await told(hub, door)
        assert (happening.name, happening.email) == (kind, "noor@example.net")
        assert happening.data["mailing"] == "318"
        assert happening.data["tags"] == ["sale"]
        assert not {"ip", "useragent", "mime"} & happening.data.keys()


class TestVerifying:
    async def call(self, twin, door):
        twin.hooks.add_callback(twin.hook_url, database=31, action="all", shape="A")
        twin.sign_up("noor@example.net", {})
        return await door.next()

    async def test_the_account_is_asked_for_once(self, hub, twin, door, calls):
        request = await self.call(twin, door)
        calls()
        assert await hub.connector.verify(request, hub.ctx)
        assert await hub.connector.verify(request, hub.ctx)
        assert calls() == ["GET /identity"]

    @pytest.mark.parametrize(("mode", "passes"), [("require", False), ("log", True), ("off", True)])
    async def test_a_wrong_signature_is_refused_let_in_or_not_looked_at(self, open_hub, twin, door, mode, passes):
        request = await self.call(twin, door)
        forged = InboundRequest(
            method="POST",
            path=request.path,
            headers=request.headers,
            body=request.body + b" ",
            received_at=request.received_at,
        )
        async with open_hub(signature_mode=mode) as hub:
            assert await hub.connector.verify(forged, hub.ctx) is passes
            assert await hub.connector.verify(request, hub.ctx)
        assert (len(twin.dns.queries) > 0) is (mode != "off")

    async def test_a_key_that_changes_is_asked_for_again(self, hub, twin, door, clock):
        assert await hub.connector.verify(await self.call(twin, door), hub.ctx)
        twin.rotate_key()
        await clock.advance(60)
        twin.edit_profile(twin.find("noor@example.net").id, {"City": "Breda"})
        assert await hub.connector.verify(await door.next(), hub.ctx)

    async def test_a_key_of_the_settings_needs_no_dns(self, open_hub, twin, door):
        request = await self.call(twin, door)
        key = twin.dns.texts["one._domainkey.copernica.com"].rpartition("p=")[2]
        twin.dns.broken = True
        async with open_hub(signature_keys={"one._domainkey.copernica.com": key}) as hub:
            assert await hub.connector.verify(request, hub.ctx)
        assert twin.dns.queries == []

    async def test_while_the_keys_cannot_be_asked_for_nobody_can_tell(self, hub, twin, door):
        request = await self.call(twin, door)
        twin.dns.broken = True
        with pytest.raises(TemporaryError):
            await hub.connector.verify(request, hub.ctx)
