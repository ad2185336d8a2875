"""``/metrics``: what CONTRACT section 5 names, from a hub that runs, without a word about anybody."""

from __future__ import annotations

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.runtime.conftest import ALL, Place, email, profile, send, settled, trigger

from esplanade import PermanentError, TemporaryError
from esplanade.testing.clock import FakeClock

SHOP = {"Authorization": "Bearer a-token-of-the-shop-1"}


@pytest.fixture
async def place(tmp_path):
    opened = Place(tmp_path)
    yield opened
    await opened.close()


async def scraped(hub, accept="text/plain"):
    """Every sample by its name and labels."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{hub.url}/metrics", headers={"Accept": accept}) as answer,
    ):
        assert answer.status == 200
        text = await answer.text()
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation for family in families)
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }, text


async def test_what_was_accepted_delivered_and_refused_is_counted(place):
    hub, crm = await place.start(listen=True), place.script()
    crm.once(("bob", "profile"), PermanentError("no"))
    crm.once(("eve", "profile"), TemporaryError("down"))
    async with aiohttp.ClientSession(headers=SHOP) as session:
        for name in ("ada", "bob", "eve"):
            body = {"email": email(name), "fields": {"city": "Delft"}}
            async with session.post(f"{hub.url}/v1/profiles", json=body) as answer:
                assert answer.status == 202
    await trigger(hub, "ada", "t-1")
    await trigger(hub, "ada", "t-2", expires_at=1)
    await settled(hub)
    found, _ = await scraped(hub)

    def counted(name, **labels):
        return found.get((name, *sorted(labels.items())), 0)

    assert counted("esplanade_events_accepted_total", source="shop", kind="profile") == 3
    assert counted("esplanade_events_accepted_total", source="shop", kind="trigger") == 2

    def ended(kind, outcome):
        return counted("esplanade_deliveries_total", connector="crm", kind=kind, outcome=outcome)

    assert ended("profile", "rejected") == 1
    assert ended("profile", "retried") == 1
    assert ended("profile", "delivered") >= 1
    assert ended("trigger", "delivered") == 1
    assert ended("trigger", "expired") == 1
    assert counted("esplanade_delivery_seconds_count", connector="crm", kind="profile") == 3
    assert counted("esplanade_commit_seconds_count") > 3
    assert counted("esplanade_build_info", version="0.1.0") == 1
    assert counted("esplanade_queue", connector="crm", state="dead") == 1
    assert counted("esplanade_queue", connector="crm", state="scheduled") == 1
    assert counted("esplanade_breaker_state", connector="crm") == 0


async def test_what_waits_is_shown_with_its_age(place):
    clock = FakeClock()
    hub = await place.start(clock=clock, listen=True)
    await hub.pause("crm", "by hand")
    await profile(hub, "ada")
    await settled(hub)
    clock.set(clock.time() + 90)
    found, _ = await scraped(hub)
    assert found["esplanade_lag_seconds", ("connector", "crm"), ("urgency", "live")] == 90
    assert found["esplanade_lag_seconds", ("connector", "crm"), ("urgency", "opt-out")] == 0
    assert found["esplanade_queue", ("connector", "crm"), ("state", "due")] == 1


async def test_echoes_and_webhooks_are_counted_by_connector(place):
    place.plugin(
        """
    @hookimpl
    async def on_profile(self, event, ctx):
        return Outcome()
    async def verify(self, request, ctx):
        return request.body != b"forged"
    @hookimpl
    async def on_inbound_webhook(self, event, ctx):
        return [Report(email="ada@example.com", fields={"CITY": "Delft"})]
"""
    )
    hub = await place.start(listen=True, connectors={"crm": {**ALL, "fields": {"city": "CITY"}}})
    await profile(hub, "ada")
    await settled(hub)
    url = hub.connectors()[0].hook_url
    async with aiohttp.ClientSession() as session:
        for body, status in ((b"{}", 200), (b"{}", 200), (b"forged", 401)):
            async with session.post(url, data=body) as answer:
                assert answer.status == status
    await settled(hub)
    found, _ = await scraped(hub)
    assert found["esplanade_echoes_total", ("connector", "crm")] == 2
    assert found["esplanade_webhooks_total", ("connector", "crm"), ("result", "accepted")] == 2
    assert found["esplanade_webhooks_total", ("connector", "crm"), ("result", "refused")] == 1
    assert found["esplanade_deliveries_total", ("connector", "crm"), ("kind", "webhook"), ("outcome", "delivered")] == 2


async def test_no_label_holds_anything_personal(place):
    hub = await place.start(listen=True)
    await send(hub, "profile", {"email": "ada", "id": "u-1", "fields": {"city": "Delft"}})
    await trigger(hub, "ada", "t-personal")
    await settled(hub)
    _, text = await scraped(hub)
    for word in ("ada", "example.com", "u-1", "Delft", "t-personal"):
        assert word not in text


async def test_the_newer_format_is_given_to_whoever_asks_for_it(place):
    hub = await place.start(listen=True)
    _, text = await scraped(hub, "application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
