"""One truth per person, at the real plugins and their twins: what one system learns all hold, and nothing is undone by accident."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from esplanade import runtime

# Two Webpower campaigns, a referral programme and a CDP that sends nothing: every one of them may learn from every other.
CONFIG = """
hub: {listen: "127.0.0.1:0", store: "sqlite:hub.db"}
sources: {shop: {token: dev}}
connectors:
  nl:
    plugin: webpower
    twin: true
    settings: {license: demo, client_id: demo, client_secret: demo, campaign_id: 42, page_length: 50}
    fields: {firstname: firstname, city: city}
    consents: {newsletter: {group: 135}, service: {group: 136}}
    audiences: {vip: {group: 140}}
  de:
    plugin: webpower
    twin: true
    settings: {license: other, client_id: demo, client_secret: demo, campaign_id: 43, page_length: 50}
    fields: {firstname: firstname, city: city}
    consents: {newsletter: {group: 135}, service: {group: 136}}
    audiences: {vip: {group: 140}}
  sparkloop:
    plugin: sparkloop
    twin: true
    settings: {outbound_mode: incoming_webhook, incoming_webhook_url: "https://sparkloop.example/in/demo", webhook_token: tok_demo}
    requires: newsletter
    fields: {firstname: first_name}
    consents: {newsletter: {}}
  cdp:
    plugin: webhook
    twin: true
    settings: {url: "https://cdp.example/hooks", secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}
    consents: {newsletter: {}, service: {}}
"""

OTHERS = ("de", "sparkloop", "cdp")
PROOF = {"method": "double", "evidence": {"form": "footer"}}


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[runtime.Hub]:
    config = tmp_path / "connectors.yaml"
    config.write_text(CONFIG)
    hub = await runtime.Hub.start(runtime.load(config, os.environ))
    for connection in hub.connections.values():
        connection.twin.keep_requests = True  # type: ignore[union-attr]  # each has one
    try:
        yield hub
    finally:
        await hub.stop()


def twin(hub: runtime.Hub, name: str) -> Any:
    return hub.connections[name].twin


async def shop(hub: runtime.Hub, kind: str, *events: dict[str, Any]) -> None:
    headers = {"Authorization": "Bearer dev"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{hub.url}/v1/{kind}", json=events) as answer,
    ):
        assert answer.status == 202, await answer.text()
    await hub.settled()


async def pull(hub: runtime.Hub, name: str) -> int:
    changed = (await hub.pull(name)).changed
    await hub.settled()
    return changed


async def subscribe(hub: runtime.Hub, *emails: str) -> None:
    await shop(hub, "profiles", *({"email": email, "fields": {"firstname": email[:3]}} for email in emails))
    grants = [{"email": email, "purpose": "newsletter", "state": "granted", **PROOF} for email in emails]
    await shop(hub, "consents", *grants)


def calls(hub: runtime.Hub) -> dict[str, int]:
    """How many calls that write each vendor has had."""
    return {name: _writes(hub, name) for name in ("nl", *OTHERS)}


def _writes(hub: runtime.Hub, name: str) -> int:
    return sum(1 for each in twin(hub, name).requests if each.method != "GET" and "oauth" not in each.path)


def members(hub: runtime.Hub, name: str, group: int) -> set[str]:
    contacts = twin(hub, name).snapshot()["contacts"]
    return {email for email, contact in contacts.items() if group in contact["groups"]}


def everywhere(*emails: str) -> dict[str, set[str]]:
    return {name: set(emails) for name in ("nl", *OTHERS)}


def subscribed(hub: runtime.Hub) -> dict[str, set[str]]:
    """The addresses that each vendor would mail the newsletter to, or count as subscribers."""
    spark = twin(hub, "sparkloop").snapshot()["subscribers"]
    people = twin(hub, "cdp").snapshot()["people"]
    return {
        "nl": members(hub, "nl", 135),
        "de": members(hub, "de", 135),
        "sparkloop": {email for email, one in spark.items() if one["status"] == "active"},
        "cdp": {email for email, one in people.items() if one["consents"].get("newsletter") == "granted"},
    }


def edit(hub: runtime.Hub, name: str, email: str, **fields: str) -> None:
    """Somebody edits a contact by hand, at the vendor."""
    account = twin(hub, name).account
    custom = [{"field": field, "value": value} for field, value in fields.items()]
    account.update(account.find(email), {"custom": custom})


async def test_a_pull_of_unchanged_people_sends_nothing_and_one_changed_field_is_one_call_to_each_other(
    hub: runtime.Hub,
) -> None:
    emails = [f"p{number:03}@example.com" for number in range(60)]
    await subscribe(hub, *emails)
    await pull(hub, "nl")
    before = calls(hub)
    assert await pull(hub, "nl") == 0
    assert calls(hub) == before

    edit(hub, "nl", "p007@example.com", firstname="Ada")
    assert await pull(hub, "nl") == 1
    assert calls(hub) == {**before, **{name: before[name] + 1 for name in OTHERS}}
    assert twin(hub, "de").snapshot()["contacts"]["p007@example.com"]["fields"]["firstname"] == "Ada"


async def test_an_opt_out_at_one_vendor_reaches_all_and_nothing_said_by_accident_undoes_it(hub: runtime.Hub) -> None:
    await subscribe(hub, "ada@example.com", "bob@example.com")
    assert subscribed(hub) == everywhere("ada@example.com", "bob@example.com")
    account = twin(hub, "de").account
    account.leave(account.find("ada@example.com"), 135)
    await pull(hub, "de")
    left = everywhere("bob@example.com")
    assert subscribed(hub) == left

    ada = {"email": "ada@example.com", "purpose": "newsletter", "state": "granted"}
    await shop(hub, "profiles", {"email": "ada@example.com", "consents": {"newsletter": "granted"}})
    await shop(hub, "consents", ada)
    await shop(hub, "consents", {**ada, **PROOF, "at": "2020-01-01T00:00:00Z"})
    rows = [b'{"email": "ada@example.com", "consents": {"newsletter": "granted"}}']
    admission = hub.intake.admit("shop", "profile", rows, may={"profile", "consent"}, backfill=True, imported=True)
    await hub.intake.accept(admission.entries)
    account.join(account.find("ada@example.com"), [135])  # somebody uploads an old list at the vendor
    for name in ("nl", "de"):
        await pull(hub, name)
    await hub.settled()
    assert subscribed(hub) == left

    await shop(hub, "consents", {**ada, **PROOF})
    assert subscribed(hub) == everywhere("ada@example.com", "bob@example.com")


async def test_a_changed_address_leaves_one_subscribed_contact_everywhere(hub: runtime.Hub) -> None:
    await subscribe(hub, "a@old.example", "bob@example.com")
    await shop(hub, "profiles", {"email": "ada@example.com", "previous_email": "a@old.example"})
    assert subscribed(hub) == everywhere("ada@example.com", "bob@example.com")


async def test_two_people_who_are_one_leave_one_subscribed_contact_everywhere(hub: runtime.Hub) -> None:
    await subscribe(hub, "ada@work.example", "ada@home.example", "bob@example.com")
    await shop(hub, "profiles", {"email": "ada@home.example", "audiences": {"vip": True}})
    await shop(hub, "profiles", {"email": "ada@work.example", "id": "u-1"})
    await shop(hub, "profiles", {"email": "ada@home.example", "id": "u-1", "fields": {"city": "Delft"}})
    assert subscribed(hub) == everywhere("ada@home.example", "bob@example.com")
    for name in ("nl", "de"):
        assert members(hub, name, 140) == {"ada@home.example"}
        assert twin(hub, name).snapshot()["contacts"]["ada@home.example"]["fields"]["city"] == "Delft"
        before = calls(hub)
        await pull(hub, name)
        assert calls(hub) == before, "what the pull finds of the former contact is no news"


async def test_one_who_opted_out_under_either_address_is_opted_out_once_both_are_one(hub: runtime.Hub) -> None:
    await subscribe(hub, "ada@work.example", "ada@home.example")
    await shop(hub, "consents", {"email": "ada@home.example", "purpose": "newsletter", "state": "denied"})
    await shop(hub, "profiles", {"email": "ada@work.example", "previous_email": "ada@home.example"})
    assert subscribed(hub) == everywhere()


async def test_foreign_members_of_a_list_survive_everything_that_the_hub_does(hub: runtime.Hub) -> None:
    account = twin(hub, "nl").account
    for email in ("guest@example.com", "ada@example.com"):
        account.join(account.create({"email": email}), [140])
    await subscribe(hub, "ada@example.com", "bob@example.com")
    await shop(
        hub, "profiles", *({"email": f"{name}@example.com", "audiences": {"vip": True}} for name in ("ada", "bob"))
    )
    assert members(hub, "nl", 140) == {"guest@example.com", "ada@example.com", "bob@example.com"}
    await pull(hub, "nl")
    await shop(
        hub, "profiles", *({"email": f"{name}@example.com", "audiences": {"vip": False}} for name in ("ada", "bob"))
    )
    await shop(hub, "profiles", {"email": "ada@new.example", "previous_email": "ada@example.com"})
    await pull(hub, "nl")
    assert "guest@example.com" in members(hub, "nl", 140)
    assert "bob@example.com" not in members(hub, "nl", 140)
