"""Every body that docs/how-to/smartemailing.md has an operator paste: a scenario sends it, and what the page says becomes of it."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import pytest
from msgspec.structs import replace
from tests.integration.smartemailing.conftest import ADA, Follow, Page, World, read_yaml

from esplanade_smartemailing.twin_scenarios import FORM, SAMPLES, TEXT, XML, Event

PAGE = Page("smartemailing")
SALE = {"campaign": "Spring sale", "kind": "newsletter"}
ORDER = {"order_id": "A-19", "status": "shipped"}
CART = {"cart_id": "C-77", "url": "https://shop.example/cart"}
EXPECTED: dict[str, tuple[Event, str, str, dict[str, Any]]] = {
    "A campaign was opened": ("opened", "campaign_opened", "campaign-opened", SALE),
    "A link was clicked": ("clicked", "link_clicked", "link-clicked", {**SALE, "link": "https://shop.example/spring"}),
    "Somebody was added to a list": (
        "added-to-list",
        "added_to_list",
        "added-to-list",
        {"list_id": 7, "list": "Newsletter"},
    ),
    "A date in a field was reached": (
        "date-field",
        "date_field",
        "date-reached",
        {"field": "member_since", "date": "2026-01-15 00:00:00"},
    ),
    "The status of an order changed": (
        "order-status",
        "order_status_changed",
        "order-status-changed",
        {**ORDER, "total": "24.5", "currency": "EUR"},
    ),
    "A birthday": ("birthday", "birthday", "birthday", {"date": "1990-12-10 00:00:00"}),
    "A checkout was abandoned": (
        "abandoned-checkout",
        "checkout_abandoned",
        "checkout-abandoned",
        {**CART, "total": "24.5", "currency": "EUR"},
    ),
    "A reward was given": (
        "reward",
        "reward_given",
        "reward-given",
        {"reward": "Free shipping", "code": "THANKS-1"},
    ),
}
"""By heading: what happens, the event's word, the trigger at the CDP, and its data."""


@pytest.fixture
async def world(follow: Follow) -> World:
    """A hub on the page's connector, and Ada, whom SmartEmailing has."""
    world = await follow("smartemailing")
    ada = world.mailer.account.create(ADA)
    ada.values |= {"name": 'Ada "the" Countess', "cellphone": "+420 600 123 456", "birthday": "1990-12-10 00:00:00"}
    ada.custom[3] = "2026-01-15 00:00:00"
    return world


async def send(world: World, event: Event, body: str, content_type: str = "application/json", **other: str) -> None:
    """The scenario's webhook is called with a body of the page; ``other`` are its URL and its method."""
    webhook = replace(world.mailer.webhook(event, body=body, content_type=content_type), **other)
    world.mailer.fire(event, ADA, SAMPLES[event], webhook)
    await world.rest()


def test_there_is_a_body_for_each_event_of_the_guide() -> None:
    assert PAGE.bodies().keys() == EXPECTED.keys()
    assert {event for event, *_ in EXPECTED.values()} == SAMPLES.keys()


def test_the_block_that_is_explained_is_that_of_the_whole_connector() -> None:
    (shown,) = re.findall(r"^```\n( *webhook:\n.*?)^```", PAGE.text, re.DOTALL | re.MULTILINE)
    whole = read_yaml(PAGE.connectors())["connectors"]["smartemailing"]
    assert read_yaml(textwrap.dedent(shown))["webhook"] == whole["webhook"]
    assert list(whole["webhook"]["events"]) == [word for _, word, *_ in EXPECTED.values()]


@pytest.mark.parametrize("heading", EXPECTED)
async def test_a_body_as_it_is_pasted_becomes_the_trigger_that_the_page_says(world: World, heading: str) -> None:
    event, word, trigger, data = EXPECTED[heading]
    body = PAGE.bodies()[heading]
    assert f'"event": "{word}"' in body
    world.mailer.keep_requests = True
    await send(world, event, body)
    assert world.told() == [(trigger, data)]
    assert await world.calls() == [("done", None)]
    reads = [each.query for each in world.mailer.requests if each.path.endswith("/contacts")]
    assert reads == ["emailaddress=ada@example.com&expand=customfields"], "the contact is read before it counts"
    assert await world.field("firstname") == 'Ada "the" Countess', "and what SmartEmailing has is taken over"


@pytest.mark.parametrize("heading", EXPECTED)
async def test_the_event_may_stand_in_the_body_alone(world: World, heading: str) -> None:
    event, _, trigger, data = EXPECTED[heading]
    url = world.mailer.webhook(event).url
    await send(world, event, PAGE.bodies()[heading], url=re.sub(r"event_name=\w+&", "", url))
    assert world.told() == [(trigger, data)]


async def test_what_only_the_call_knows_becomes_a_field_and_a_repeat_counts_once(world: World) -> None:
    for heading, event in (("The status of an order changed", "order-status"), ("A reward was given", "reward")):
        for _ in range(2):
            await send(world, event, PAGE.bodies()[heading])  # type: ignore[arg-type]  # they are events
    assert await world.field("order_status") == "shipped"
    assert await world.field("last_reward") == "THANKS-1"
    assert [name for name, _ in world.told()] == ["order-status-changed", "reward-given"]
    assert world.cdp.people[ADA].fields["order_status"] == "shipped"


OTHERS: dict[str, tuple[str, Event, str, dict[str, Any]]] = {
    "form": (FORM, "order-status", "order-status-changed", ORDER),
    "xml": (XML, "abandoned-checkout", "checkout-abandoned", CART),
    "text": (
        TEXT,
        "opened",
        "campaign-opened",
        {**SALE, "kind": "autoresponder", "name": 'Ada "the" Countess', "phone": "+420 600 123 456"},
    ),
}


@pytest.mark.parametrize("form", OTHERS)
async def test_other_forms_are_read_as_well(world: World, form: str) -> None:
    content_type, event, trigger, data = OTHERS[form]
    (body,) = [each for each in PAGE.blocks(form) if "emailaddress" in each and not each.startswith("http")]
    await send(world, event, body.rstrip("\n"), content_type)
    assert world.told() == [(trigger, data)]


async def test_a_get_has_it_all_in_its_url(world: World) -> None:
    (shown,) = [each.strip() for each in PAGE.blocks("text") if "&emailaddress=" in each]
    said = shown.partition("?")[2].partition("k=SECRET")[2]
    await send(world, "clicked", "", method="GET", url=world.mailer.webhook("clicked").url + said)
    assert world.told() == [("link-clicked", {"link": "spring"})]


async def test_the_url_of_the_page_is_the_one_that_the_hub_asks_for(world: World) -> None:
    shown = next(each.strip() for each in PAGE.blocks("text") if "campaign_opened&k=" in each)
    ours = world.mailer.webhook("opened").url.replace("demo-secret-of-the-hooks", "SECRET")
    assert (
        re.sub(r"smartemailing/\w+", "smartemailing/KEY", ours.partition("/hooks/")[2]) == shown.partition("/hooks/")[2]
    )


@pytest.mark.parametrize("left_out", ["k=", "login"])
async def test_without_the_secret_or_the_password_it_is_refused(world: World, left_out: str) -> None:
    webhook = world.mailer.webhook("opened", body=PAGE.bodies()["A campaign was opened"])
    url, call = world.mailer.scenarios.call(webhook, world.mailer._contact(ADA), {})
    if left_out == "login":
        del call.headers["Authorization"]
    else:
        url = url.partition("&k=")[0]
    assert await world.mailer.send(call.body, call.headers, url=url) == 401
    assert world.told() == []


async def test_a_quotation_mark_in_a_name_breaks_json_and_the_event_counts_all_the_same(world: World) -> None:
    await send(world, "opened", '{"emailaddress": "{{df_emailaddress}}", "name": "{{df_name}}"}')
    assert world.told() == [("campaign-opened", {})]


async def test_a_plus_in_an_address_is_lost_in_a_form_and_nobody_is_told_anything(world: World) -> None:
    world.mailer.account.create("ada+news@example.com")
    (body,) = PAGE.blocks("form")
    webhook = world.mailer.webhook("order-status", body=body.strip(), content_type=FORM)
    world.mailer.fire("order-status", "ada+news@example.com", SAMPLES["order-status"], webhook)
    await world.rest()
    assert world.cdp.triggers == []
    ((state, _),) = await world.calls()
    assert state == "dead"


async def test_web_hooks_of_the_account_are_registered_and_read_beside_those_of_scenarios(world: World) -> None:
    registered = {each.event for each in world.mailer.hooks.hooks.values()}
    assert registered == {"new_contact", "updated_contact", "unsubscribed_contact"}
    ada = world.mailer.account.find(ADA)
    assert ada is not None
    with world.mailer.account.changing(ada):
        world.mailer.account.subscribe(ada, 7, "confirmed")
    await world.rest()
    assert world.cdp.people[ADA].consents == {"newsletter": "granted"}
    world.mailer.unsubscribe(ADA, 7)
    await world.rest()
    assert world.cdp.people[ADA].consents == {"newsletter": "denied"}
