"""What the SmartEmailing guide promises beside its use cases, through a whole hub."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace
from tests.integration.smartemailing.conftest import ADA, Follow, Page, World

from esplanade_smartemailing.twin_scenarios import Next, SendEmail

PAGE = Page("smartemailing")


@pytest.fixture
async def world(follow: Follow) -> World:
    world = await follow("smartemailing")
    world.mailer.account.create(ADA).values["name"] = "Ada"
    return world


def events(world: World) -> list[list[str]]:
    """The addresses of each call that fired events."""
    calls = [each for each in world.mailer.requests if each.path.endswith("/trigger-event")]
    return [[event["emailaddress"] for event in msgspec.json.decode(each.body)] for each in calls]


async def test_events_are_fired_in_bulk(world: World) -> None:
    people = [f"p{number}@example.com" for number in range(120)]
    granted = {"purpose": "newsletter", "state": "granted", "evidence": {"form": "footer"}}
    await world.send("consent", *({"email": email, **granted} for email in people))
    world.mailer.keep_requests = True
    await world.send(
        "trigger", *({"email": email, "trigger": "abandoned-cart", "trigger_id": f"C-{email}"} for email in people)
    )
    found = events(world)
    assert sorted(email for call in found for email in call) == sorted(people)
    assert len(found) < 12
    assert {each["name"] for each in world.mailer.sends.events} == {"abandoned-cart"}


async def test_one_trigger_may_be_followed_by_others_and_each_may_call_back(world: World) -> None:
    scenarios = world.mailer.scenarios
    scenarios.scenarios.clear()
    scenarios.add("abandoned-cart", SendEmail(email_id=72), Next(event="abandoned-checkout"), Next(event="reward"))
    bodies = PAGE.bodies()
    scenarios.add(
        "abandoned-checkout", world.mailer.webhook("abandoned-checkout", body=bodies["A checkout was abandoned"])
    )
    scenarios.add("reward", world.mailer.webhook("reward", body=bodies["A reward was given"]))
    await world.send("consent", {"email": ADA, "purpose": "newsletter", "state": "granted", "evidence": {"form": "x"}})
    cart = {"cart_id": "C-77", "total": 24.5, "currency": "EUR", "url": "https://shop.example/cart", "code": "BACK-1"}
    await world.send("trigger", {"email": ADA, "trigger": "abandoned-cart", "trigger_id": "C-77", "data": cart})
    assert [each["email_id"] for each in world.mails()] == [72]
    told = dict(world.told())
    assert told["checkout-abandoned"]["cart_id"] == "C-77"
    assert told["reward-given"]["code"] == "BACK-1"


async def test_url_method_headers_and_message_may_be_anything(world: World) -> None:
    webhook = world.mailer.webhook(
        "opened", body='{"who": {"mail": "Ada <{{df_emailaddress}}>"}, "campaign": "Spring"}'
    )
    odd = replace(
        webhook,
        method="PUT",
        url=f"{webhook.url}&contact={{{{df_name}}}}",
        content_type="application/vnd.shop+json; charset=utf-8",
        headers={"X-Shop": "nl", "X-Name": "{{df_name}}"},
    )
    world.mailer.fire("opened", ADA, {}, odd)
    await world.rest()
    assert world.told() == [("campaign-opened", {"who": {"mail": "Ada <ada@example.com>"}, "campaign": "Spring"})]


async def test_whatever_else_begins_a_scenario_is_told_by_the_name_that_it_gives(world: World) -> None:
    webhook = world.mailer.webhook("opened", body='{"emailaddress": "{{df_emailaddress}}", "form": "footer"}')
    for name in ("web_form_filled", "autoresponder_sent", "many_clicks", "fixed_date"):
        world.mailer.fire("opened", ADA, {}, replace(webhook, url=webhook.url.replace("campaign_opened", name)))
        await world.rest()
    assert [name for name, _ in world.told()] == ["web_form_filled", "autoresponder_sent", "many_clicks", "fixed_date"]
    assert world.told()[0][1] == {"form": "footer"}


async def test_an_email_is_sent_at_once_by_its_number(world: World) -> None:
    await world.send("consent", {"email": ADA, "purpose": "service", "state": "granted", "evidence": {"form": "x"}})
    order = {"trigger": "order-confirmation", "trigger_id": "A-19", "data": {"order_id": "A-19"}}
    await world.send("trigger", {"email": ADA, **order})
    (mail,) = world.mails()
    assert (mail["email_id"], mail["kind"]) == (71, "transactional_email")


async def test_username_and_api_key_are_what_it_takes(world: World) -> None:
    assert (await world.hub.check("smartemailing")).status == "ok"
    world.mailer.gate.api_key = "another"
    assert (await world.hub.check("smartemailing")).status == "bad-credentials"


async def test_the_commands_of_the_page_find_what_it_says(world: World) -> None:
    await world.do("2. Look up the numbers")
    await world.run("esplanade", "webhooks", "smartemailing")
    await world.run("esplanade", "pull", "smartemailing")
    await world.run("esplanade", "explain", ADA, "smartemailing")


async def test_a_call_that_was_captured_can_be_tried(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    body = PAGE.bodies()["The status of an order changed"].replace("{{df_emailaddress}}", ADA)
    body = body.replace("{{event.order_id}}", "A-19").replace("{{event.status}}", "shipped")
    (world.folder / "call.txt").write_text(body)
    await world.run("esplanade", "webhook", "try", "call.txt")
    shown = " ".join(capsys.readouterr().out.split())
    assert "rule order_status_changed" in shown
    assert "field order_status shipped" in shown


async def test_a_scenario_gets_the_payload_that_the_page_shows(world: World) -> None:
    shown = msgspec.json.decode(PAGE.blocks("json")[0])
    lamp = {"id": "SKU-1", "title": "Lamp", "price": 24.5, "currency": "EUR", "quantity": 1}
    where = {"url": "https://shop.example/p/1", "image_url": "https://shop.example/i/1.jpg"}
    cart = {"email": ADA, "trigger": "abandoned-cart", "trigger_id": "C-77", "data": {"cart_id": "C-77"}}
    await world.send("consent", {"email": ADA, "purpose": "newsletter", "state": "granted", "evidence": {"form": "x"}})
    await world.send("trigger", {**cart, "products": {"set": "cart", "items": [{**lamp, **where}]}})
    (event,) = world.mailer.sends.events
    assert event["payload"] == shown
