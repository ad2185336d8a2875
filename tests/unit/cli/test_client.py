"""The hub's HTTP API as the command line uses it, against a server that answers as told."""

import pytest
from aiohttp import web

from esplanade.cli.client import RunningHub, _reachable
from esplanade.cli.operator import OperationError, Wanted, batches, moment
from esplanade.config.model import Config, Hub, Source
from esplanade.model import Webhooks
from esplanade.values import Secret

CONFIG = {"hub": Hub(admin_token=Secret("admin")), "sources": {"shop": Source(token=Secret("shop"))}, "connectors": {}}


@pytest.fixture
async def hub(aiohttp_server, tmp_path):
    """A hub whose answers are popped from ``answers``; ``asked`` has the requests."""

    async def answer(request):
        asked.append((request.method, request.path, request.headers.get("Authorization"), await request.text()))
        status, headers, body = answers.pop(0)
        return web.json_response(body, status=status, headers=headers)

    app = web.Application()
    asked, answers = [], []
    app.router.add_route("*", "/{rest:.*}", answer)
    server = await aiohttp_server(app)
    async with RunningHub.at(str(server.make_url("")), Config(path=tmp_path / "c.yaml", **CONFIG)) as running:
        running.asked, running.answers = asked, answers
        yield running


async def test_an_import_comes_back_when_the_hub_is_behind(hub):
    hub.answers += [(503, {"Retry-After": "0"}, {}), (202, {}, {"accepted": 2, "ids": ["a", "b"], "rejected": []})]
    taken = await hub.take_people([b'{"email":"a"}', b'{"email":"b"}'])
    assert taken.accepted == 2
    assert hub.asked == [("POST", "/v1/import", "Bearer admin", '{"email":"a"}\n{"email":"b"}')] * 2


async def test_a_full_disk_is_not_waited_for(hub):
    hub.answers += [(503, {"Retry-After": "60"}, {"type": "storage-full", "detail": "the disk is full"})]
    with pytest.raises(OperationError, match="the disk is full"):
        await hub.take_people([b"{}"])


async def test_events_are_sent_with_the_token_of_their_source(hub):
    hub.answers += [(422, {}, {"accepted": 0, "ids": [], "rejected": [{"index": 0, "path": "$.email", "error": "no"}]})]
    taken = await hub.send("shop", "trigger", [b"{}"])
    assert taken.rejected[0].path == "$.email"
    assert hub.asked[0][:3] == ("POST", "/v1/triggers", "Bearer shop")


async def test_a_redirect_is_not_followed_with_the_token(hub):
    hub.answers += [(307, {"Location": "https://elsewhere.example/"}, {})]
    with pytest.raises(OperationError, match="answered 307"):
        await hub.pause("crm")


async def test_a_hub_without_the_route_cannot_be_asked_for_a_check(hub):
    hub.answers += [(404, {}, {}), (200, {}, {"status": "ok"})]
    assert await hub.check("crm") is None
    assert await hub.check("crm") == {"status": "ok"}


async def test_a_plugin_that_cannot_says_so_in_its_own_words(hub):
    why = "crm cannot be discovered: the plugin crm has no discover"
    hub.answers += [(409, {}, {"type": "not-supported", "detail": why})] * 2
    with pytest.raises(OperationError) as said:
        await hub.discover("crm")
    assert str(said.value) == why
    assert await hub.check("crm") is None


async def test_webhooks_are_registered_by_post_and_removed_by_delete(hub):
    hub.answers += [(200, {}, {"made": ["update"]}), (200, {}, {"removed": ["update"]})]
    assert await hub.webhooks("crm", remove=False) == Webhooks(made=["update"])
    assert await hub.webhooks("crm", remove=True) == Webhooks(removed=["update"])
    assert [(method, path) for method, path, _, _ in hub.asked] == [
        ("POST", "/v1/connectors/crm/webhooks"),
        ("DELETE", "/v1/connectors/crm/webhooks"),
    ]


async def test_a_hub_that_does_not_answer_is_named(tmp_path):
    async with RunningHub.at("http://127.0.0.1:1", Config(path=tmp_path, **CONFIG)) as hub:
        with pytest.raises(OperationError, match=r"the hub at http://127\.0\.0\.1:1 does not answer"):
            await hub.resume("crm")


async def test_replay_says_only_what_was_chosen(hub):
    hub.answers += [(200, {}, {"replayed": 3})]
    assert await hub.replay(Wanted(ids=["d-1"], reason="rejected"), force=True) == 3
    assert hub.asked[0][3] == '{"ids":["d-1"],"reason":"rejected","force":true}'


def test_a_hub_on_every_address_is_asked_on_loopback():
    assert _reachable("http://0.0.0.0:8600") == "http://127.0.0.1:8600"
    assert _reachable("http://[::]:8600") == "http://[::1]:8600"


def test_batches_hold_few_items_and_few_bytes():
    assert [len(batch) for batch in batches(range(1_001), lambda _: 1)] == [500, 500, 1]
    assert [len(batch) for batch in batches(range(3), lambda _: 3_000_000)] == [1, 1, 1]
    assert list(batches([], len)) == []


def test_moments_have_a_zone_or_are_ago():
    assert moment("2026-01-15T10:00:00+01:00").isoformat() == "2026-01-15T10:00:00+01:00"
    assert moment("2h") < moment("1h")
    for wrong in ("2026-01-15", "2026-01-15T10:00:00", "soon"):
        with pytest.raises(ValueError, match="with its zone"):
            moment(wrong)
