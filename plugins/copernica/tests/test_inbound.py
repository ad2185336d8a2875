"""What Copernica sends, from its own signed request to what the hub is told: webhooks and callbacks, profiles and subprofiles."""

import asyncio
from datetime import UTC, datetime

import pytest
from aiohttp import web

from esplanade import InboundRequest, Report, TemporaryError


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
        async with open_hub(fields_in="collection") as hub:
            await hub.profile(desired={"City": "Delft"})
            profile = twin.find("noor@example.net").id
            (row,) = twin.below(profile, "SQ_profile")
            assert (row.fields["City"], twin.find("noor@example.net").fields["City"]) == ("Delft", "")
            await register(hub, twin, "update", database=None, collection=row.collection)
            twin.edit_subprofile(row.id, {"City": "Breda"})
            (report,) = await told(hub, door)
            assert (report.email, report.fields["City"]) == ("noor@example.net", "Breda")
            await register(hub, twin, "update")
            twin.edit_profile(profile, {"City": "Gouda", "Newsletter": "no"})
            (report,) = await told(hub, door)
            assert (report.fields, report.consents) == ({}, {"newsletter": "denied"})  # the fields do not live there


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
        async with open_hub(signature=mode) as hub:
            assert await hub.connector.verify(forged, hub.ctx) is passes
            assert await hub.connector.verify(request, hub.ctx)
        assert (len(twin.dns.queries) > 0) is (mode != "off")

    async def test_a_key_that_changes_is_asked_for_again(self, hub, twin, door, clock):
        assert await hub.connector.verify(await self.call(twin, door), hub.ctx)
        twin.rotate_key()
        await clock.advance(60)
        twin.edit_profile(twin.find("noor@example.net").id, {"City": "Breda"})
        assert await hub.connector.verify(await door.next(), hub.ctx)

    async def test_while_the_keys_cannot_be_asked_for_nobody_can_tell(self, hub, twin, door):
        request = await self.call(twin, door)
        twin.dns.broken = True
        with pytest.raises(TemporaryError):
            await hub.connector.verify(request, hub.ctx)
