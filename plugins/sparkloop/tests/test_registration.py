"""The hub's webhook at SparkLoop is made, found, mended and removed, and no other is touched."""

import asyncio

import msgspec
import pytest

from esplanade import (
    AuthenticationError,
    OutcomeUnknown,
    PermanentError,
    Secret,
    TemporaryError,
    Webhooks,
    runtime,
)
from esplanade.testing import Fault
from esplanade_sparkloop import webhooks
from esplanade_sparkloop.plugin import SparkLoopConnector
from esplanade_sparkloop.registration import EVENTS
from esplanade_sparkloop.settings import SparkLoopSettings
from esplanade_sparkloop.twin_api import FLAGS

URL = "https://hub.example/hooks/sparkloop/0123456789abcdef0123456789abcdef"
OTHERS = "https://others.example/hook"
ALL = dict.fromkeys(EVENTS, True)


@pytest.fixture(params=["api_v2", "incoming_webhook"])
async def account(bench, request):
    """An account in which somebody else has a webhook too; both ways of sending register alike."""
    bench = await bench(outbound_mode=request.param)
    bench.twin.account.add_hook(OTHERS, {"new_referral": True})
    return bench


async def register(account, url=URL):
    return await account.connector.register_webhooks(url, account.ctx)


async def remove(account):
    return await account.connector.remove_webhooks(account.ctx)


def held(account):
    """By URL, what each webhook of the account tells of."""
    return {each.url: {name for name, on in each.events.items() if on} for each in account.twin.account.hooks}


def changes(account):
    return [(method, path) for method, path, _ in account.sent if method != "GET"]


def words(found):
    return {name: len(getattr(found, name)) for name in Webhooks.__struct_fields__ if getattr(found, name)}


async def test_it_is_made_for_every_event_that_the_plugin_reads_and_the_api_can_switch_on(account):
    found = await register(account)
    assert words(found) == {"made": 1}
    assert held(account) == {OTHERS: {"new_referral"}, URL: set(FLAGS)}
    assert set(EVENTS) == (webhooks.SYNCED | webhooks.HAPPENED) & set(FLAGS)
    assert "Subscriber Created or Updated" in found.made[0]
    assert "0123456789abcdef" not in str(found)


async def test_registering_twice_changes_nothing(account):
    await register(account)
    before = msgspec.to_builtins(account.twin.account.hooks)
    assert words(await register(account)) == {"kept": 1}
    assert msgspec.to_builtins(account.twin.account.hooks) == before
    assert changes(account) == [("POST", "/v2/webhooks")]


async def test_a_new_url_and_events_that_somebody_switched_off_are_mended(account):
    await register(account, "https://old.example/hooks/sparkloop/abc")
    assert words(await register(account)) == {"mended": 1}
    account.twin.account.hooks[-1].events["reward_unlocked"] = None
    assert words(await register(account)) == {"mended": 1}
    assert held(account) == {OTHERS: {"new_referral"}, URL: set(FLAGS)}


async def test_one_that_somebody_deleted_is_made_again(account):
    await register(account)
    account.twin.account.hooks.pop()
    assert words(await register(account)) == {"made": 1}
    assert held(account) == {OTHERS: {"new_referral"}, URL: set(FLAGS)}


async def test_one_that_was_made_by_hand_with_this_very_url_becomes_ours(account):
    account.twin.account.add_hook(URL, {"sync_subscriber": True, **ALL})
    assert words(await register(account)) == {"kept": 1}
    assert words(await register(account, f"{URL}0")) == {"mended": 1}
    assert held(account) == {OTHERS: {"new_referral"}, f"{URL}0": {"sync_subscriber", *FLAGS}}
    assert words(await remove(account)) == {"removed": 1}
    assert held(account) == {OTHERS: {"new_referral"}}


async def test_it_is_found_behind_many_others(account):
    await register(account)
    for number in range(450):
        account.twin.account.add_hook(f"{OTHERS}/{number}", {})
    await account.ctx.kv.set("webhook", None)
    assert words(await register(account)) == {"kept": 1}


async def test_what_was_made_is_removed_and_nothing_else(account):
    await register(account)
    assert words(await remove(account)) == {"removed": 1}
    assert held(account) == {OTHERS: {"new_referral"}}
    assert words(await remove(account)) == {}
    await register(account)
    account.twin.account.hooks.pop()
    assert words(await remove(account)) == {}
    assert held(account) == {OTHERS: {"new_referral"}}


async def test_when_the_answer_is_lost_the_next_time_finds_what_was_made(account):
    account.twin.faults.append(Fault(match="^POST /v2/webhooks", action="after", status=502))
    with pytest.raises(OutcomeUnknown):
        await register(account)
    assert words(await register(account)) == {"kept": 1}
    assert held(account) == {OTHERS: {"new_referral"}, URL: set(FLAGS)}


async def test_http_is_refused_with_the_remedy(account):
    for url in ("http://hub.example/hooks/x", "http://192.0.3.1/hooks/x"):
        with pytest.raises(PermanentError, match=r"hub\.public_url.*https://"):
            await register(account, url)
    assert held(account) == {OTHERS: {"new_referral"}}


@pytest.mark.parametrize("url", [URL, "https://hub.example/hooks/sparkloop/my-own-key"])
async def test_a_refusal_does_not_tell_the_key(account, url):
    quoted = msgspec.json.encode({"error": f"{url} is a duplicate"}).decode()
    account.twin.faults.append(Fault(match="^POST /v2/webhooks", status=400, body=quoted))
    with pytest.raises(PermanentError, match="is a duplicate") as refused:
        await register(account, url)
    assert url.rpartition("/")[2] not in str(refused.value)


@pytest.mark.parametrize("call", [register, remove])
@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationError), (429, TemporaryError), (422, PermanentError)]
)
async def test_what_the_vendor_answers_is_what_is_raised(account, call, status, error):
    await register(account)
    account.twin.faults.append(Fault(match="/v2/webhooks", status=status))
    with pytest.raises(error):
        await call(account)
    assert words(await call(account)) == ({"kept": 1} if call is register else {"removed": 1})


@pytest.mark.parametrize("body", ['{"webhooks": [{"url": 7}]}', '{"webhooks": 1}', "7", "<html>"])
async def test_an_answer_that_is_none_is_named(account, body):
    account.twin.faults.append(Fault(match="^GET /v2/webhooks", status=200, body=body))
    with pytest.raises(PermanentError, match=r"something else than webhooks|not JSON"):
        await register(account)


async def test_the_key_goes_to_the_api_alone():
    both = SparkLoopSettings(
        outbound_mode="incoming_webhook",
        incoming_webhook_url=Secret("https://sparkloop.example/incoming/x"),
        api_key=Secret("k-of-the-api"),
    )
    connector = SparkLoopConnector(both)
    assert connector.registers_webhooks
    assert connector.endpoint().origins == ["https://api.sparkloop.app"]
    assert connector.endpoint().auth is None
    assert "k-of-the-api" not in str(connector.endpoint().headers)


def test_without_a_key_nothing_can_be_registered(settings):
    connector = SparkLoopConnector(settings)
    assert not connector.registers_webhooks
    assert connector.endpoint().origins == []
    assert SparkLoopConnector(SparkLoopSettings(api_key=Secret("k"))).registers_webhooks


# What the twin makes of it.


async def test_the_twin_tells_of_what_is_switched_on_and_of_nothing_else(api, inbox):
    await register(api, inbox.url)
    await api.grant("ada@example.com")
    api.twin.refer("ada@example.com", "bo@example.com")
    api.twin.unlock_reward("ada@example.com", "reward_1", "Mug", 1)
    await api.twin.settled()
    assert [each["type"] for each in inbox.bodies] == ["new_referral", "reward_unlocked"]
    assert inbox.got[0][0]["SparkLoop-Token"] == "tok_demo"


async def test_a_url_that_is_registered_and_selected_in_the_dashboard_too_is_told_once(api, inbox):
    api.twin.hook_url = inbox.url
    await register(api, inbox.url)
    api.twin.account.add_hook(inbox.url, ALL)
    await api.grant("ada@example.com")
    api.twin.refer("ada@example.com", "bo@example.com")
    await api.twin.settled()
    kinds = [each["type"] for each in inbox.bodies]
    assert sorted(kinds) == ["new_referral", "sync_subscriber", "sync_subscriber"]


async def test_the_twin_calls_nobody_outside(api):
    await register(api)
    await api.grant("ada@example.com")
    api.twin.refer("ada@example.com", "bo@example.com")
    await api.twin.settled()  # it would try for ever


async def test_the_account_shows_what_is_registered(api):
    await register(api)
    [shown] = api.twin.snapshot()["webhooks"]
    assert (shown["url"], shown["events"]) == (URL, ALL)


# With a hub around it.

CONNECTORS = """
hub: {listen: "127.0.0.1:0", store: "sqlite:hub.db"}
connectors:
  sparkloop:
    twin: true
    settings: {api_key: demo-key, webhook_token: tok_demo}
    fields: {rh_totref: RH_TOTREF}
    consents: {newsletter: {}}
"""


async def test_a_hub_registers_at_its_twin_and_hears_everything_once(tmp_path):
    (tmp_path / "connectors.yaml").write_text(CONNECTORS)
    hub = await runtime.Hub.start(runtime.load(tmp_path / "connectors.yaml", {}))
    try:
        twin = hub.connections["sparkloop"].twin
        async with asyncio.timeout(10):
            while not twin.account.hooks:
                await hub.store.read(lambda reader: None)
        [hook] = twin.account.hooks
        assert hook.url == twin.hook_url
        assert words(await hub.webhooks("sparkloop")) == {"kept": 1}
        twin.account.add("ada@example.com", 0.0)
        twin.refer("ada@example.com", "bo@example.com")
        twin.unlock_reward("ada@example.com", "reward_1", "Mug", 1)
        await twin.settled()
        await hub.settled()
        reader = hub.store.read(
            lambda reader: [reader.person_by_email(f"{name}@example.com") for name in ("ada", "bo")]
        )
        ada, bo = await reader
        assert (ada.fields["rh_totref"].value, bo.fields["rh_totref"].value) == (1, 0)
        told, _ = hub.metrics.exposition([], "text/plain")
        [heard] = [line for line in told.decode().splitlines() if line.startswith("esplanade_webhooks_total{")]
        assert heard.endswith('result="accepted"} 3.0')
    finally:
        await hub.stop()
