"""The daily synchronisation of the Webpower guide: addresses and consent both ways, and a second pull that sends nothing."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from esplanade import runtime

CONFIG = """
hub: {listen: "127.0.0.1:0", store: "sqlite:hub.db"}
sources: {shop: {token: dev}}
connectors:
  webpower:
    plugin: webpower
    twin: true
    settings: {license: demo, client_id: demo, client_secret: demo, campaign_id: 42, page_length: 7}
    fields: {firstname: firstname, city: city}
    consents: {newsletter: {group: 135, opt_in: double}, service: {group: 136}}
    schedule: {pull: "0 3 * * *", pending_check: 15m}
  cdp:
    plugin: webhook
    twin: true
    source: shop
    settings: {url: "https://cdp.example/hooks", secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}
    consents: {newsletter: {}, service: {}}
"""


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[runtime.Hub]:
    config = tmp_path / "connectors.yaml"
    config.write_text(CONFIG)
    hub = await runtime.Hub.start(runtime.load(config, os.environ))
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


def add_at_the_vendor(hub: runtime.Hub, email: str, *groups: int, **fields: str) -> None:
    account = twin(hub, "webpower").account
    custom = [{"field": name, "value": value} for name, value in fields.items()]
    account.join(account.create({"email": email, "custom": custom}), list(groups))


async def test_addresses_and_consent_come_home_once_and_a_second_pull_sends_nothing(hub: runtime.Hub) -> None:
    await shop(
        hub, "profiles", *({"email": f"shop{n}@example.com", "fields": {"firstname": f"S{n}"}} for n in range(20))
    )
    for number in range(20):
        add_at_the_vendor(hub, f"vendor{number}@example.com", *([135] if number % 2 else [136]), firstname=f"V{number}")
    first = await hub.pull("webpower")
    await hub.settled()
    assert first.changed >= 20
    people = twin(hub, "cdp").snapshot()["people"]
    for number in range(20):
        told = people[f"vendor{number}@example.com"]
        assert told["fields"] == {"firstname": f"V{number}"}
        assert told["consents"] == {"newsletter" if number % 2 else "service": "granted"}
    assert not any(email.startswith("shop") for email in people), "the CDP is not told what it said itself"

    calls = twin(hub, "cdp").request_count
    writes = _writes(hub)
    second = await hub.pull("webpower")
    await hub.settled()
    assert second.changed == 0
    assert twin(hub, "cdp").request_count == calls
    assert _writes(hub) == writes


async def test_an_opt_out_at_the_vendor_reaches_the_cdp_and_no_later_import_undoes_it(hub: runtime.Hub) -> None:
    proof = {"method": "double", "evidence": {"form": "footer"}}
    ada = {"email": "ada@example.com", "purpose": "newsletter"}
    await shop(hub, "consents", {**ada, "state": "granted", **proof})
    assert _groups(hub, "ada@example.com") == [135]
    account = twin(hub, "webpower").account
    account.leave(account.find("ada@example.com"), 135)
    await hub.pull("webpower")
    await hub.settled()
    assert twin(hub, "cdp").snapshot()["people"]["ada@example.com"]["consents"] == {"newsletter": "denied"}

    await shop(hub, "profiles", {"email": "ada@example.com", "consents": {"newsletter": "granted"}})
    await shop(hub, "consents", {**ada, "state": "granted", **proof, "at": "2020-01-01T00:00:00Z"})
    assert _groups(hub, "ada@example.com") == []
    await shop(hub, "consents", {**ada, "state": "granted", **proof})
    assert _groups(hub, "ada@example.com") == [135]


async def test_a_double_opt_in_counts_only_after_the_click(hub: runtime.Hub) -> None:
    await shop(hub, "consents", {"email": "bo@example.com", "purpose": "newsletter", "state": "granted"})
    snapshot = twin(hub, "webpower").snapshot()
    assert [each["email"] for each in snapshot["pending"]] == ["bo@example.com"]
    assert snapshot["contacts"]["bo@example.com"]["groups"] == []
    await shop(hub, "consents", {"email": "bo@example.com", "purpose": "newsletter", "state": "granted"})
    assert len(twin(hub, "webpower").snapshot()["pending"]) == 1

    await hub.connections["webpower"].puller.reread_pending()  # type: ignore[union-attr]  # webpower has one
    await hub.settled()
    assert await _standing(hub, "bo@example.com") == "pending"
    assert twin(hub, "webpower").click_confirmation("bo@example.com")
    await hub.connections["webpower"].puller.reread_pending()  # type: ignore[union-attr]
    await hub.settled()
    assert await _standing(hub, "bo@example.com") == "granted"


def _writes(hub: runtime.Hub) -> list[Any]:
    snapshot = twin(hub, "webpower").snapshot()
    return [snapshot["contacts"], snapshot["groups"], snapshot["pending"]]


def _groups(hub: runtime.Hub, email: str) -> list[int]:
    return list(twin(hub, "webpower").snapshot()["contacts"][email]["groups"])


async def _standing(hub: runtime.Hub, email: str) -> str:
    person = await hub.store.read(lambda reader: reader.person_by_email(email))
    assert person is not None
    return person.consents["newsletter"].state


async def test_nobody_is_asked_about_for_ever(tmp_path: Path) -> None:
    config = tmp_path / "connectors.yaml"
    config.write_text(CONFIG.replace('store: "sqlite:hub.db"', 'store: "sqlite:hub.db", pending_expiry: 1ms'))
    hub = await runtime.Hub.start(runtime.load(config, os.environ))
    try:
        await shop(hub, "consents", {"email": "bo@example.com", "purpose": "newsletter", "state": "granted"})
        asked = twin(hub, "webpower").request_count
        assert await hub.connections["webpower"].puller.reread_pending() == 0  # type: ignore[union-attr]  # it has one
        assert twin(hub, "webpower").request_count == asked
    finally:
        await hub.stop()
