"""The log of attempts: what was sent and said, as far as it may be told, and never more than so much."""

import asyncio
import json
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web
from tests.integration.http.conftest import running_vendor
from tests.integration.runtime.conftest import ONLY_PROFILES, delivery, folded, profile

from esplanade.store.sqlite.work import ATTEMPTS_KEPT
from esplanade.views import one_delivery_view

PLUGIN = """
from msgspec import Struct

from esplanade import *
from esplanade import hookimpl


class CrmSettings(Struct, frozen=True):
    url: str


class Crm(Connector[CrmSettings]):
    manifest = Manifest(title="Crm", vendor_api="1", owner="me", homepage="https://crm.example")
    Settings = CrmSettings

    def endpoint(self):
        return Endpoint(base_url=self.settings.url, auth=HeaderAuth(name="X-Key", value="a-key-that-is-secret"))

    @hookimpl
    async def on_profile(self, event, ctx):
"""
POST = """
        await ctx.http.post(f"/contacts/{event.email}", json={"email": event.email, **event.desired})
        return Outcome()
"""
READ = """
        answer = await ctx.http.post("/contacts", json={"email": event.email})
        return Outcome(remote_id=answer.json()["id"])
"""
WRAPPED = """
        try:
            await ctx.http.post("/contacts", json={"email": event.email})
        except DeliveryError:
            raise PermanentError("the vendor has no such list")
"""
MADE_UP = """
        problem = PermanentError("no")
        problem.exchange = {made_up}
        raise problem
"""


@pytest.fixture
async def vendor():
    async with running_vendor() as running:
        yield running


@pytest.fixture
async def hub_of(place, vendor):
    @asynccontextmanager
    async def started(body=POST, retry=None):
        (place.path / "crm.py").write_text(PLUGIN + body)
        crm = {
            **ONLY_PROFILES,
            "settings": {"url": vendor.origin},
            "retry": {"base": "1ms", "cap": "1ms", **(retry or {})},
            "breaker": {"failures": 1_000_000},
        }
        yield await place.start(connectors={"crm": crm}, egress={"allow": ["127.0.0.0/8"]})

    return started


def answers(vendor, *statuses, body=""):
    """Answer these, one after the other, and the last one from then on."""
    left = list(statuses)

    async def handler(_request):
        return web.Response(status=left.pop(0) if len(left) > 1 else left[0], text=body)

    vendor.handler = handler


async def log_of(hub):
    """The log of the only delivery, as operators see it."""
    found = await delivery(hub)
    view = await hub.store.read(lambda reader: one_delivery_view(reader, f"d-{found.id}", now=hub.clock.time()))
    return view["log"]


async def ended(hub):
    """Return once the only delivery is done or dead, whatever its retries wait for."""
    await folded(hub)
    async with asyncio.timeout(10):
        while (await delivery(hub)).state not in {"done", "dead"}:
            await hub.store.run(lambda unit: None)


async def test_each_attempt_tells_what_was_sent_and_what_the_vendor_said(hub_of, vendor):
    answers(vendor, 425, 429, 200, body="wait a moment, ada@example.com, or write to a-key-that-is-secret")
    async with hub_of() as hub:
        await profile(hub, "ada", city="Delft", name="Ada")
        await ended(hub)
        log = await log_of(hub)
    assert [each["outcome"] for each in log] == ["retried", "waits", "delivered"]
    early, busy, done = log
    assert (early["exchange"]["method"], early["exchange"]["path"]) == ("POST", "/contacts/{email}")
    assert (early["exchange"]["status"], busy["exchange"]["status"]) == (425, 429)
    assert json.loads(early["exchange"]["sent"]) == {"email": "text", "City": "text", "Name": "text"}
    assert early["exchange"]["answered"] == "wait a moment, [email], or write to [secret]"
    assert early["error"].startswith("TemporaryError: ")
    assert (done["error"], done["exchange"]) == (None, None)
    assert [each["at"] for each in log] == sorted(each["at"] for each in log)
    assert "ada@example.com" not in json.dumps(log)


async def test_of_many_attempts_the_last_are_kept(hub_of, vendor):
    answers(vendor, *[408] * ATTEMPTS_KEPT, *[425] * 5, 400, body="no")
    async with hub_of() as hub:
        await profile(hub, "ada")
        await ended(hub)
        log = await log_of(hub)
        assert (await delivery(hub)).attempts == ATTEMPTS_KEPT + 6
    statuses = [each["exchange"]["status"] for each in log]
    assert statuses == [*[408] * (ATTEMPTS_KEPT - 6), *[425] * 5, 400]


HUGE = "x@example.com " * 1_000_000


@pytest.mark.parametrize(("status", "calls"), [(400, 1), (503, 2)])
async def test_of_a_huge_refusal_little_is_kept_and_it_counts_like_any_other(hub_of, vendor, status, calls):
    answers(vendor, status, 200, body=HUGE)
    async with hub_of() as hub:
        await profile(hub, "ada")
        await ended(hub)
        first, *_ = await log_of(hub)
        assert (await delivery(hub)).state == ("dead" if status == 400 else "done")
    assert first["exchange"]["status"] == status
    assert 0 < len(first["exchange"]["answered"]) <= 300
    assert len(json.dumps(first)) < 2_000
    assert len(vendor.requests) == calls


async def test_a_huge_answer_of_a_vendor_that_has_acted_repeats_nothing(hub_of, vendor):
    answers(vendor, 200, body=HUGE)
    async with hub_of() as hub:
        await profile(hub, "ada")
        await ended(hub)
        (done,) = await log_of(hub)
    assert done["outcome"] == "delivered"
    assert len(vendor.requests) == 1


async def test_one_that_the_plugin_wants_to_read_is_kept_for_a_human_and_repeats_nothing_either(hub_of, vendor):
    answers(vendor, 200, body=HUGE)
    async with hub_of(READ) as hub:
        await profile(hub, "ada")
        await ended(hub)
        (unread,) = await log_of(hub)
    assert unread["error"] == "UnreadableAnswer: the vendor answered 200 with more than is read"
    assert len(vendor.requests) == 1


async def test_an_answer_that_does_not_come_is_told_without_one(hub_of, vendor):
    async def hang_up(request):
        request.transport.close()
        await asyncio.Event().wait()

    vendor.handler = hang_up
    async with hub_of(retry={"window": "1s", "min_attempts": 1}) as hub:
        await profile(hub, "ada")
        await folded(hub)
        async with asyncio.timeout(10):
            while not await log_of(hub):
                await hub.store.run(lambda unit: None)
        cut, *_ = await log_of(hub)
        assert (cut["outcome"], cut["exchange"]["status"], cut["exchange"]["answered"]) == ("retried", None, "")
        assert cut["error"] == "OutcomeUnknown: 127.0.0.1: the connection was cut"
        answers(vendor, 200)
        await ended(hub)


async def test_an_error_that_a_plugin_makes_of_another_tells_of_the_same_exchange(hub_of, vendor):
    answers(vendor, 404, body="unknown list 7")
    async with hub_of(WRAPPED) as hub:
        await profile(hub, "ada")
        await ended(hub)
        (refused,) = await log_of(hub)
    assert refused["error"] == "PermanentError: the vendor has no such list"
    assert (refused["exchange"]["status"], refused["exchange"]["answered"]) == (404, "unknown list 7")


@pytest.mark.parametrize("made_up", ["'a text'", "object()", "{'method': 1}", "Outcome(reason='x' * 100_000)"])
async def test_an_exchange_that_is_none_is_not_kept_and_costs_nothing(hub_of, made_up):
    async with hub_of(MADE_UP.format(made_up=made_up)) as hub:
        await profile(hub, "ada")
        await ended(hub)
        (refused,) = await log_of(hub)
        assert (await delivery(hub)).reason == "rejected"
    assert (refused["outcome"], refused["exchange"]) == ("rejected", None)


async def test_an_exchange_survives_the_store_as_it_was(hub_of, vendor):
    answers(vendor, 422, body='{"error": "no such field \\u00e9"}')
    async with hub_of() as hub:
        await profile(hub, "ada")
        await ended(hub)
        found = await delivery(hub)
        (attempt,) = await hub.store.read(lambda reader: reader.attempts(found.id))
        (shown,) = await log_of(hub)
    assert msgspec.to_builtins(attempt.exchange) == shown["exchange"]
    assert shown["exchange"]["answered"] == '{"error":"no such field é"}'
