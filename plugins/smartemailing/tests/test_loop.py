"""A whole hub and a SmartEmailing account with every web-hook on: each thing is said once, and the rest is silence."""

import asyncio
import json

import pytest
import structlog

from esplanade import runtime
from esplanade.records import DeliveryFilter
from esplanade.testing import Fault

from .conftest import ADA

PROOF = {"method": "double", "evidence": {"form": "footer"}}
QUESTION = {"email_id": 41, "from": "news@shop.example", "sender_name": "Shop", "reply_to": "help@shop.example"}
CONNECTOR = {
    "plugin": "smartemailing",
    "settings": {
        "username": "demo@shop.example",
        "api_key": "demo-key-of-smartemailing",
        "webhook_shared_secret": "demo-secret-of-webhooks",
        "basic_auth": {"login": "hub", "password": "demo-password-of-webhooks"},
        "sender": {name: text for name, text in QUESTION.items() if name != "email_id"},
        "webhook_events": ["new_contact", "updated_contact", "unsubscribed_contact", "delivery_status", "sent_email"],
    },
    "fields": {"city": "town", "name": "name", "born": "birthday", "tier": "loyalty_tier", "interests": "interests"},
    "consents": {"newsletter": {"list": 7, "purpose": 2, "double_opt_in": QUESTION}, "service": {"list": 9}},
    "audiences": {"vip": {"list": 12}},
    "triggers": {"order": {"email_id": 71}},
    "twin": True,
}


@pytest.fixture
def quiet():
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield
    structlog.reset_defaults()


@pytest.fixture
async def whole(tmp_path, quiet):
    content = {
        "hub": {"listen": "127.0.0.1:0", "store": "sqlite:hub.db", "egress": {"allow": ["127.0.0.0/8"]}},
        "sources": {"shop": {"token": "a-token-of-the-shop-1"}},
        "connectors": {"esp": CONNECTOR},
    }
    (tmp_path / "connectors.yaml").write_text(json.dumps(content))
    started = await runtime.Hub.start(runtime.load(tmp_path / "connectors.yaml", {}))
    yield Whole(started)
    await started.stop()


class Whole:
    """A hub, its twin, and what a shop and people do."""

    def __init__(self, hub):
        self.hub, self.twin = hub, hub.connections["esp"].twin
        self.twin.keep_requests = True

    async def says(self, kind, *bodies):
        items = [json.dumps(each).encode() for each in bodies]
        admission = self.hub.intake.admit("shop", kind, items, may={kind}, backfill=False, imported=False)
        assert not admission.rejected
        await self.hub.intake.accept(admission.entries)

    async def at_rest(self):
        """Return once neither side has anything more to say to the other."""
        async with asyncio.timeout(20):
            while True:
                before = self.twin.request_count
                await self.hub.settled()
                await self.twin.settled()
                await self.hub.settled()
                if self.twin.request_count == before:
                    return

    async def person(self, email=ADA):
        return await self.hub.store.read(lambda reader: reader.person_by_email(email))

    async def heard(self):
        """How many calls of the vendor the hub has read."""
        wanted = DeliveryFilter(connector="esp", kind="webhook", states=["done"])
        return len(await self.hub.store.read(lambda reader: reader.deliveries(wanted)))

    def writes(self):
        """The contacts written since the last time, in each import."""
        made = [each for each in self.twin.requests if each.method == "POST" and each.path.endswith("/import")]
        self.twin.requests.clear()
        return [len(json.loads(each.body)["data"]) for each in made]

    def status(self, email=ADA, number=7):
        held = self.twin.account.find(email).lists.get(number)
        return None if held is None else held.status


@pytest.fixture
async def ready(whole):
    """With its web-hooks registered."""
    await whole.hub.webhooks("esp")
    assert len(whole.twin.hooks.hooks) == 5
    whole.twin.requests.clear()
    return whole


async def test_each_thing_is_written_once_heard_back_and_then_there_is_silence(ready):
    fields = {"city": "Brno", "name": " Ada ", "born": "1990-12-10", "interests": ["red"], "tier": "gold"}
    await ready.says("profile", {"email": ADA, "fields": fields, "audiences": {"vip": True}})
    await ready.at_rest()
    await ready.says("consent", {"email": ADA, "purpose": "newsletter", "state": "granted", **PROOF})
    await ready.says("trigger", {"email": ADA, "trigger": "order", "trigger_id": "A-19", "data": {"order": 19}})
    await ready.at_rest()
    assert (ready.status(), ready.status(number=12)) == ("confirmed", "confirmed")
    assert len(ready.twin.account.mails) == 1
    assert sum(ready.writes()) == 2, "one for the profile, one for the consent"
    assert await ready.heard() >= 2
    for _ in range(2):
        await ready.hub.pull("esp")
        await ready.at_rest()
        assert ready.writes() == []


async def test_an_opt_out_there_is_everybodys(ready):
    await ready.says("consent", {"email": ADA, "purpose": "newsletter", "state": "granted", **PROOF})
    await ready.says("consent", {"email": ADA, "purpose": "service", "state": "granted", **PROOF})
    await ready.at_rest()
    ready.twin.unsubscribe(ADA, 7)
    await ready.at_rest()
    person = await ready.person()
    assert {name: each.state for name, each in person.consents.items()} == {
        "newsletter": "denied",
        "service": "granted",
    }
    assert (ready.status(), ready.status(number=9)) == ("unsubscribed", "confirmed")
    ready.writes()
    await ready.hub.pull("esp")
    await ready.at_rest()
    assert ready.writes() == []


async def test_somebody_comes_back_by_their_own_word_only(ready):
    await ready.says("consent", {"email": ADA, "purpose": "newsletter", "state": "granted", **PROOF})
    await ready.at_rest()
    ready.twin.unsubscribe(ADA, 7)
    await ready.at_rest()
    await ready.says("profile", {"email": ADA, "fields": {"city": "Brno"}})
    await ready.at_rest()
    assert ready.status() == "unsubscribed"
    await ready.says("consent", {"email": ADA, "purpose": "newsletter", "state": "granted", **PROOF})
    await ready.at_rest()
    assert ready.status() == "confirmed"


async def test_a_question_is_asked_once_and_answered_by_the_click(ready):
    await ready.says("consent", {"email": ADA, "purpose": "newsletter", "state": "granted"})
    await ready.at_rest()
    await ready.hub.pull("esp")
    await ready.at_rest()
    assert [email for email, _ in ready.twin.account.asked] == [ADA]
    assert ready.twin.account.find(ADA) is None or ready.status() is None
    ready.twin.click_confirmation(ADA)
    await ready.at_rest()
    person = await ready.person()
    assert (person.consents["newsletter"].state, ready.status()) == ("granted", "confirmed")
    ready.writes()
    await ready.hub.pull("esp")
    await ready.at_rest()
    assert ready.writes() == []
    assert len(ready.twin.account.asked) == 1


@pytest.mark.parametrize("action", ["cut-after", "after"])
async def test_a_question_whose_answer_was_lost_is_not_asked_again(ready, action):
    await ready.says("profile", {"email": ADA, "fields": {"city": "Brno"}})
    await ready.at_rest()
    ready.twin.faults.append(Fault(match="POST .*import", action=action, status=502))
    await ready.says("consent", {"email": ADA, "purpose": "newsletter", "state": "granted"})
    await ready.at_rest()
    await ready.hub.pull("esp")
    await ready.at_rest()
    assert [email for email, _ in ready.twin.account.asked] == [ADA]
    assert ready.status() is None
    ready.twin.click_confirmation(ADA)
    await ready.at_rest()
    assert (await ready.person()).consents["newsletter"].state == "granted"


async def test_a_mail_whose_answer_was_lost_is_not_sent_again(ready):
    await ready.says("profile", {"email": ADA, "fields": {"city": "Brno"}})
    await ready.at_rest()
    ready.twin.faults.append(Fault(match="POST .*send", action="cut-after"))
    await ready.says("trigger", {"email": ADA, "trigger": "order", "trigger_id": "A-19", "data": {}})
    await ready.at_rest()
    assert len(ready.twin.account.mails) == 1


async def test_a_changed_address_leaves_one_subscribed_contact(ready):
    await ready.says("profile", {"email": ADA, "id": "c-1", "fields": {"city": "Brno"}})
    await ready.says("consent", {"email": ADA, "purpose": "newsletter", "state": "granted", **PROOF})
    await ready.at_rest()
    await ready.says("profile", {"email": "new@example.com", "id": "c-1", "fields": {"city": "Ulm"}})
    await ready.at_rest()
    (contact,) = ready.twin.account.contacts.values()
    assert (contact.emailaddress, contact.values["town"]) == ("new@example.com", "Ulm")
    assert ready.status("new@example.com") == "confirmed"


async def test_a_changed_address_that_another_contact_has_leaves_one_subscribed_contact(ready):
    await ready.says("profile", {"email": ADA, "id": "c-1", "fields": {"city": "Brno"}})
    await ready.says("consent", {"email": ADA, "purpose": "newsletter", "state": "granted", **PROOF})
    await ready.at_rest()
    with ready.twin.account.changing(other := ready.twin.account.create("new@example.com"), is_new=True):
        ready.twin.account.subscribe(other, 9, "unsubscribed")
    await ready.says("profile", {"email": "new@example.com", "id": "c-1", "fields": {"city": "Ulm"}})
    await ready.at_rest()
    subscribed = [
        each.emailaddress
        for each in ready.twin.account.contacts.values()
        if any(held.status == "confirmed" for held in each.lists.values())
    ]
    assert subscribed == ["new@example.com"]
    assert ready.status("new@example.com", 9) == "unsubscribed"
    assert ready.twin.account.find("new@example.com").values["town"] == "Ulm"


async def test_whoever_opts_out_there_while_the_hub_imports_stays_out(ready):
    people = [f"p{at}@example.com" for at in range(120)]
    await ready.says("profile", *({"email": each, "fields": {"city": "Brno"}} for each in people))
    granted = [{"email": each, "purpose": "newsletter", "state": "granted", **PROOF} for each in people]
    await ready.says("consent", *granted)
    await ready.at_rest()
    for city in ("Ulm", "Linz"):
        await ready.says("profile", *({"email": each, "fields": {"city": city}} for each in people))
        for each in people[: 10 if city == "Ulm" else 20]:
            ready.twin.unsubscribe(each, 7)
        await ready.at_rest()
    states = [(await ready.person(each)).consents["newsletter"].state for each in people]
    assert states == ["denied"] * 20 + ["granted"] * 100
    assert [ready.status(each) for each in people] == ["unsubscribed"] * 20 + ["confirmed"] * 100
    ready.writes()
    await ready.hub.pull("esp")
    await ready.at_rest()
    assert ready.writes() == []


async def test_somebody_who_signs_up_there_becomes_known_and_is_not_written_back(ready):
    with ready.twin.account.changing(contact := ready.twin.account.create("eve@example.com"), is_new=True):
        contact.values["town"] = "Gouda"
        ready.twin.account.subscribe(contact, 7, "confirmed")
    await ready.at_rest()
    person = await ready.person("eve@example.com")
    assert (person.fields["city"].value, person.consents["newsletter"].state) == ("Gouda", "granted")
    assert ready.writes() == []


@pytest.mark.parametrize("headers", [{"Retry-After": "0"}, {}])
async def test_a_later_grant_outweighs_the_opt_out_even_where_its_first_import_failed(ready, headers):
    granted = {"email": ADA, "purpose": "newsletter", "state": "granted", **PROOF}
    await ready.says("consent", granted)
    await ready.at_rest()
    ready.twin.unsubscribe(ADA, 7)
    await ready.at_rest()
    assert (await ready.person()).consents["newsletter"].state == "denied"
    ready.twin.faults.append(Fault(match="POST .*import", status=503, headers=headers))
    ready.writes()
    await ready.says("consent", granted)
    async with asyncio.timeout(10):
        while sum("/import" in each.path for each in ready.twin.requests) < 2:
            await asyncio.sleep(0.01)
    await ready.at_rest()
    assert ready.status() == "confirmed"
    await ready.hub.pull("esp")
    await ready.at_rest()
    assert (ready.status(), (await ready.person()).consents["newsletter"].state) == ("confirmed", "granted")
