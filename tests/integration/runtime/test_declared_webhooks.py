"""Webhooks that connectors.yaml says how to read, over a real loopback: the vendor is read again before anything is believed."""

import asyncio
import json
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from esplanade.records import DeliveryFilter

from .conftest import SINGLE, consent, deliveries, email, person_of, profile, remote_of, settled

FETCHES = (
    SINGLE
    + """
    async def verify(self, request, ctx):
        return "k=let-me-in" in request.query

    async def fetch(self, person, ctx):
        answer = await ctx.http.get("/contacts", params={"email": person.email}, allow=(404,))
        if answer.status == 404:
            return None
        held = answer.json()
        return Report(email=held["email"], remote_id=held["id"], fields=held["fields"], consents=held["consents"])

    def endpoint(self):
        return Endpoint(base_url=self.settings.base_url)
"""
)
READS = """
    read = []

    @hookimpl
    async def on_inbound_webhook(self, event, ctx):
        Crm.read.append(event.body.decode())
        return []
"""
SETTINGS = '    secret: Secret = Secret("")\n    base_url: str = ""\n'
CRM = {
    "fields": {"city": "City"},
    "consents": {"newsletter": {}},
    "audiences": {},
    "triggers": {},
    "webhook": {
        "events": {
            "link_clicked": {"trigger": "clicked"},
            "left_by_phone": {"consents": {"newsletter": "denied"}},
            "came_back": {"consents": {"newsletter": "granted"}},
            "order_status_changed": {
                "trigger": "order-status",
                "fields": {"order_status": "status"},
                "event_id": ["order_id", "status"],
            },
        }
    },
}
ERP = {
    "plugin": "./erp.py",
    "fields": {"city": "City", "order_status": "OrderStatus"},
    "consents": {"newsletter": {}},
    "audiences": {},
    "triggers": {"clicked": {}, "order-status": {}},
}


class Vendor:
    """Contacts by address, and a server that shows them."""

    def __init__(self):
        self.contacts = {}
        self.asked = []
        app = web.Application()
        app.router.add_get("/contacts", self._contact)
        self.server = TestServer(app)

    def has(self, name, *, city="Delft", newsletter="granted"):
        address = email(name)
        self.contacts[address] = {
            "id": f"c-{name}",
            "email": address,
            "fields": {"City": city},
            "consents": {"newsletter": newsletter},
        }

    async def _contact(self, request):
        address = request.query["email"]
        self.asked.append(address)
        found = self.contacts.get(address.lower())
        return web.json_response(found) if found else web.Response(status=404)


class Shop:
    """A running hub with the vendor whose scenarios call it, and another connector that hears what comes of that."""

    def __init__(self, place, vendor):
        self.place = place
        self.vendor = vendor
        self.hub = None

    async def start(self, *, reads=True, **crm):
        self.place.plugin(FETCHES + (READS if reads else ""))
        source = (self.place.path / "crm.py").read_text().replace('    account: str = "a"\n', SETTINGS)
        (self.place.path / "crm.py").write_text(source)
        self.place.plugin(name="erp.py")
        settings = {"base_url": str(self.vendor.server.make_url("")).rstrip("/"), "secret": "let-me-in"}
        connectors = {"crm": {**CRM, "settings": settings, **crm}, "erp": ERP}
        self.hub = await self.place.start(connectors=connectors, listen=True, egress={"allow": ["127.0.0.0/8"]})
        return self.hub

    async def call(self, body=None, *, method="POST", query="", headers=None):
        """A call as the vendor makes it, and whatever follows from it."""
        url = f"{self.hub.connectors()[0].hook_url}?k=let-me-in{query}"
        data = json.dumps(body) if isinstance(body, dict) else body
        async with (
            aiohttp.ClientSession() as client,
            client.request(method, url, data=data, headers=headers) as answer,
        ):
            assert answer.status == 200
        await settled(self.hub)

    async def kept(self):
        """How each call ended: its state and its last error."""
        return [(each.state, each.last_error) for each in await deliveries(self.hub, kind="webhook")]

    @property
    def told(self):
        """What the other connector was told."""
        return self.place.script("./erp.py").calls

    @property
    def events(self):
        return self.place.script("./erp.py").events

    async def standing(self, name):
        return (await person_of(self.hub, name)).consents["newsletter"].state


@pytest.fixture
async def shop(place):
    vendor = Vendor()
    await vendor.server.start_server()
    yield Shop(place, vendor)
    await place.close()
    await vendor.server.close()


WORDS = {
    "event": "link_clicked",
    "emailaddress": email("ada"),
    "link": "https://shop.example/a?b=c",
    "name": "Žofie & Ko",
}
XML = (
    '<?xml version="1.0" encoding="utf-8"?><webhook event="link_clicked"><emailaddress>ada@example.com</emailaddress>'
    "<link>https://shop.example/a?b=c</link><name>Žofie &amp; Ko</name></webhook>"
)
CALLS = {
    "json": ("application/json", json.dumps(WORDS)),
    "form": ("application/x-www-form-urlencoded", urlencode(WORDS)),
    "xml": ("text/xml", XML),
    "text": ("text/plain; charset=utf-8", "".join(f"{key}: {word}\n" for key, word in WORDS.items())),
    "nothing": ("", json.dumps(WORDS)),
    "another": ("application/json; charset=windows-1250", json.dumps(WORDS, ensure_ascii=False).encode("cp1250")),
}


@pytest.mark.parametrize("kind", CALLS)
async def test_each_content_type_becomes_the_trigger_with_what_the_body_says(shop, kind):
    await shop.start()
    shop.vendor.has("ada")
    content_type, body = CALLS[kind]
    headers = {"Content-Type": content_type} if content_type else None
    await shop.call(body, headers=headers)
    assert await shop.kept() == [("done", None)]
    (event,) = [each for each in shop.events if hasattr(each, "trigger")]
    assert (event.trigger, event.email) == ("clicked", "ada@example.com")
    assert event.data == {"link": "https://shop.example/a?b=c", "name": "Žofie & Ko"}


async def test_a_get_says_it_all_in_its_query_and_the_secret_in_it_is_no_data(shop):
    await shop.start()
    shop.vendor.has("ada")
    await shop.call(method="GET", query="&event_name=link_clicked&email=ada%40example.com&link=x")
    (event,) = [each for each in shop.events if hasattr(each, "trigger")]
    assert event.data == {"link": "x"}


async def test_the_contact_is_read_again_and_its_own_words_count_not_those_of_the_body(shop):
    await shop.start()
    shop.vendor.has("ada", city="Delft")
    await shop.call({"event": "link_clicked", "email": "ADA@example.com", "City": "Nowhere", "city": "Nowhere"})
    assert shop.vendor.asked == ["ADA@example.com"]
    person = await person_of(shop.hub, "ada")
    assert person.fields["city"].value == "Delft"
    assert await shop.standing("ada") == "granted"
    assert (await remote_of(shop.hub, "ada")).remote_id == "c-ada"


async def test_an_address_that_the_vendor_does_not_have_is_believed_for_nothing_and_can_be_read_again_later(shop):
    await shop.start()
    await shop.call({"event": "left_by_phone", "email": email("eve")})
    ((state, error),) = await shop.kept()
    assert state == "dead"
    assert "the vendor has no contact with the address in the webhook" in error
    assert email("eve") not in error
    assert await person_of(shop.hub, "eve") is None
    assert shop.told == []
    shop.vendor.has("eve")
    assert await shop.hub.replay(DeliveryFilter(connector="crm", kind="webhook"), force=False) == 1
    await settled(shop.hub)
    assert await shop.standing("eve") == "denied"


async def test_a_vendor_that_answers_with_somebody_else_is_not_believed(shop):
    await shop.start()
    shop.vendor.has("ada")
    shop.vendor.contacts[email("eve")] = shop.vendor.contacts[email("ada")]
    await shop.call({"event": "left_by_phone", "email": email("eve")})
    ((state, error),) = await shop.kept()
    assert (state, "another address" in error) == ("dead", True)
    assert await person_of(shop.hub, "ada") is None


async def test_an_opt_out_counts_although_the_vendor_shows_a_grant_and_the_vendor_is_told(shop):
    hub = await shop.start()
    shop.vendor.has("ada", newsletter="granted")
    await consent(hub, "ada", "granted")
    await settled(hub)
    await shop.call({"event": "left_by_phone", "email": email("ada")})
    assert await shop.standing("ada") == "denied"
    assert shop.place.script().to("ada")[-1] == ("consent", "newsletter denied")
    assert ("ada", "consent", "newsletter denied") in shop.told
    assert (await remote_of(hub, "ada")).consents["newsletter"] == "denied"


async def test_an_opt_out_that_the_vendor_shows_already_is_not_told_to_it(shop):
    await shop.start()
    shop.vendor.has("ada", newsletter="denied")
    await shop.call({"event": "left_by_phone", "email": email("ada")})
    assert await shop.standing("ada") == "denied"
    assert shop.place.script().calls == []


async def test_a_grant_counts_over_an_opt_out_only_where_the_vendor_shows_it(shop):
    hub = await shop.start()
    shop.vendor.has("ada", newsletter="denied")
    await consent(hub, "ada", "denied")
    await settled(hub)
    await shop.call({"event": "came_back", "email": email("ada")})
    assert await shop.standing("ada") == "denied"
    shop.vendor.has("ada", newsletter="granted")
    await shop.call({"event": "came_back", "email": email("ada")})
    assert await shop.standing("ada") == "granted"
    rows = await hub.store.run(lambda unit: unit.ledger(unit.person_by_email(email("ada")).id, "newsletter"))
    assert (rows[-1].method, rows[-1].evidence["webhook_event"]) == ("double", "came_back")


async def test_a_grant_lifts_no_opt_out_of_which_the_vendor_has_not_heard_yet(shop):
    hub = await shop.start()
    shop.vendor.has("ada", newsletter="granted")
    await consent(hub, "ada", "granted")
    await settled(hub)
    await hub.pause("crm", "by hand")
    await consent(hub, "ada", "denied")
    async with asyncio.timeout(5):
        while ("ada", "consent", "newsletter denied") not in shop.told:
            await asyncio.sleep(0.01)
    await shop.call({"event": "came_back", "email": email("ada")})
    assert await shop.standing("ada") == "denied"
    assert [what for _, kind, what in shop.told if kind == "consent"][-1] == "newsletter denied"


async def test_an_opt_out_that_comes_again_counts_again_whatever_its_event_id(shop):
    rule = {"consents": {"newsletter": "denied"}, "trigger": "clicked", "event_id": "contact_id"}
    hub = await shop.start(webhook={"events": {"left": rule}})
    shop.vendor.has("ada", newsletter="granted")
    for form in ("first", "second"):
        await consent(hub, "ada", "granted", evidence={"form": form})
        await settled(hub)
        assert await shop.standing("ada") == "granted"
        await shop.call({"event": "left", "email": email("ada"), "contact_id": 7})
        assert await shop.standing("ada") == "denied"
    assert len([each for each in shop.events if hasattr(each, "trigger")]) == 1


async def test_without_a_rule_that_says_so_the_vendors_grant_lifts_no_opt_out(shop):
    hub = await shop.start()
    shop.vendor.has("ada", newsletter="granted")
    await consent(hub, "ada", "denied")
    await settled(hub)
    await shop.call({"event": "link_clicked", "email": email("ada")})
    assert await shop.standing("ada") == "denied"


async def test_a_field_is_taken_from_the_body_and_told_to_the_others(shop):
    hub = await shop.start()
    shop.vendor.has("ada")
    await shop.call({"event": "order_status_changed", "email": email("ada"), "order_id": "A-19", "status": "shipped"})
    assert (await person_of(hub, "ada")).fields["order_status"].value == "shipped"
    assert ("ada", "profile", {"City": "Delft", "OrderStatus": "shipped"}) in shop.told
    assert "order_status" not in (await remote_of(hub, "ada")).fields


async def test_a_field_that_the_shop_has_said_since_the_call_came_is_not_undone_by_reading_it_late(shop):
    hub = await shop.start()
    order = {"event": "order_status_changed", "email": email("ada"), "order_id": "A-19"}
    await shop.call({**order, "status": "shipped"})  # kept, for there is no such contact yet
    await profile(hub, "ada", order_status="delivered")
    await settled(hub)
    shop.vendor.has("ada")
    await hub.replay(DeliveryFilter(connector="crm", kind="webhook"), force=False)
    await settled(hub)
    assert (await person_of(hub, "ada")).fields["order_status"].value == "delivered"


async def test_a_repeat_counts_once_by_its_event_id_and_another_status_counts_again(shop):
    await shop.start()
    shop.vendor.has("ada")
    shop.vendor.has("bob")
    order = {"event": "order_status_changed", "email": email("ada"), "order_id": "A-19"}
    await shop.call({**order, "status": "paid"})
    await shop.call({**order, "status": "paid"})
    await shop.call({**order, "status": "shipped"})
    await shop.call({**order, "status": "shipped", "email": email("bob")})
    triggers = [(each.email, each.data["status"]) for each in shop.events if hasattr(each, "trigger")]
    assert triggers == [(email("ada"), "paid"), (email("ada"), "shipped"), (email("bob"), "shipped")]


async def test_a_call_that_lacks_a_part_of_its_event_id_is_an_event_of_its_own(shop):
    await shop.start()
    shop.vendor.has("ada")
    for _ in range(2):
        await shop.call({"event": "order_status_changed", "email": email("ada"), "status": "paid"})
    assert len([each for each in shop.events if hasattr(each, "trigger")]) == 2


async def test_an_event_without_a_rule_is_the_plugins(shop):
    await shop.start()
    await shop.call('{"event": "new_contact"}')
    assert shop.place.script().plugin.read == ['{"event": "new_contact"}']
    assert shop.vendor.asked == []


async def test_a_body_that_is_not_what_the_block_says_is_the_plugins_too(shop):
    await shop.start(webhook={**CRM["webhook"], "content_type": "xml"})
    await shop.call('{"event": "new_contact"}')
    assert shop.place.script().plugin.read == ['{"event": "new_contact"}']


async def test_an_event_without_a_rule_or_a_plugin_that_reads_it_is_kept_and_says_why(shop):
    await shop.start(reads=False)
    await shop.call({"event": "secret_party", "email": email("ada")})
    ((state, error),) = await shop.kept()
    assert state == "dead"
    assert "at event or event_name" in error
    assert "link_clicked" in error
    assert "secret_party" not in error


async def test_an_event_is_known_in_any_case_and_by_the_query(shop):
    await shop.start()
    shop.vendor.has("ada")
    await shop.call({"contact": {"email": f"Ada <{email('ada')}>"}}, query="&event_name=LEFT_BY_PHONE")
    assert await shop.standing("ada") == "denied"


async def test_json_that_a_value_has_broken_still_says_whom_it_is_about(shop):
    await shop.start()
    shop.vendor.has("ada")
    await shop.call(
        '{"event":"left_by_phone","emailaddress":"ada@example.com","name":"Ada "the" Countess"}',
        query="&event_name=left_by_phone",
    )
    assert await shop.standing("ada") == "denied"


async def test_several_addresses_and_no_path_are_kept_for_somebody_to_name_one(shop):
    await shop.start()
    await shop.call({"event": "left_by_phone", "from": email("ada"), "to": email("bob")})
    ((state, error),) = await shop.kept()
    assert (state, "name its path" in error) == ("dead", True)


async def test_what_sends_leaves_out_is_not_taken_over(shop):
    hub = await shop.start(sends=["profile"])
    shop.vendor.has("ada")
    await shop.call({"event": "left_by_phone", "email": email("ada")})
    await shop.call({"event": "link_clicked", "email": email("ada")})
    assert (await person_of(hub, "ada")).consents == {}
    assert not [each for each in shop.events if hasattr(each, "trigger")]


async def test_one_that_is_not_the_vendors_is_refused_as_ever(shop):
    hub = await shop.start()
    async with (
        aiohttp.ClientSession() as client,
        client.post(hub.connectors()[0].hook_url, json={"event": "left_by_phone", "email": email("ada")}) as answer,
    ):
        assert answer.status == 401
    assert await shop.kept() == []


async def test_two_vendors_whose_scenarios_set_off_each_other_go_quiet(shop):
    """Each scenario calls the hub when the hub has triggered it, and its rule triggers the other's."""
    webhook = {"events": {"rung": {"trigger": "ring"}}}
    shop.vendor.has("ada")
    settings = {"base_url": str(shop.vendor.server.make_url("")).rstrip("/"), "secret": "let-me-in"}
    shop.place.plugin(FETCHES)
    source = (shop.place.path / "crm.py").read_text().replace('    account: str = "a"\n', SETTINGS)
    for name in ("crm", "erp"):
        (shop.place.path / f"{name}.py").write_text(source)
    one = {**CRM, "settings": settings, "webhook": webhook, "triggers": {"ring": {"fanout": True}}}
    connectors = {"crm": one, "erp": {**one, "plugin": "./erp.py"}}
    hub = shop.hub = await shop.place.start(
        connectors=connectors, listen=True, egress={"allow": ["127.0.0.0/8"]}, max_hops=3
    )
    urls = {each.name: f"{each.hook_url}?k=let-me-in&event=rung&email=ada%40example.com" for each in hub.connectors()}
    called = ["crm"]
    async with aiohttp.ClientSession() as client:
        for calls in range(12):
            if not called:
                break
            before = {name: len(shop.place.script(f"./{name}.py").calls) for name in urls}
            async with client.get(f"{urls[called.pop()]}&n={calls}") as answer:
                assert answer.status == 200
            await settled(hub)
            for name, many in before.items():
                new = shop.place.script(f"./{name}.py").calls[many:]
                called += [name for _, kind, _ in new if kind == "trigger"]
    assert not called
    assert calls == 4
    parked = [(each.lane, each.kind, each.reason) for each in await deliveries(hub, states=["parked"])]
    assert parked == [("crm", "trigger", "loop")]
