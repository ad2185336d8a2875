"""``open_context``: what a plugin's author tries the plugin with."""

import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from esplanade import Connector, Context, Endpoint, PermanentError, TriggerTarget
from esplanade.testing import FakeClock, Twin, open_context


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    url: str


class Acme(Connector[Settings]):
    def endpoint(self):
        return Endpoint(base_url=self.settings.url)


class AcmeTwin(Twin[Settings]):
    name = "acme"

    def routes(self):
        async def hello(request):
            return web.json_response({"hello": "you"})

        return [web.get("/hello", hello)]


@pytest.fixture
async def twin():
    twin = AcmeTwin(Settings(url=""))
    await twin.start()
    yield twin
    await twin.stop()


@pytest.fixture
def connector(twin):
    return Acme(Settings(url=twin.origin))


async def test_a_plugin_reaches_its_twin_without_more_ado(connector):
    async with open_context(connector) as ctx:
        assert isinstance(ctx, Context)
        assert (await ctx.http.get("/hello")).json() == {"hello": "you"}


async def test_only_its_own_origin_and_the_exempted_may_be_called(connector):
    async with open_context(connector, exempt=["http://127.0.0.1:1"]) as ctx:
        with pytest.raises(PermanentError, match="egress-refused"):
            await ctx.http.get("http://127.0.0.1:1/")


async def test_the_context_holds_what_it_was_given(connector):
    clock = FakeClock()
    target = TriggerTarget(requires="newsletter")
    async with open_context(
        connector, fields={"name": "NAAM"}, triggers={"cart": target}, clock=clock, language="nl"
    ) as ctx:
        assert ctx.fields == {"name": "NAAM"}
        assert ctx.triggers == {"cart": target}
        assert ctx.clock is clock
        assert (ctx.language, ctx.consents, ctx.audiences) == ("nl", {}, {})


async def test_the_store_keeps_what_json_can_hold_and_forgets_none(connector):
    async with open_context(connector) as ctx:
        await ctx.kv.set("cursor", {"at": (1, 2)})
        assert await ctx.kv.get("cursor") == {"at": [1, 2]}
        await ctx.kv.set("cursor", None)
        assert await ctx.kv.get("cursor") is None
        with pytest.raises(TypeError):
            await ctx.kv.set("cursor", object())


async def test_log_lines_name_the_connector(connector):
    with capture_logs() as logs:
        async with open_context(connector) as ctx:
            ctx.log.info("hello")
    assert logs[-1]["connector"] == "test"


async def test_the_session_is_closed_at_the_end_even_of_a_failing_test(connector):
    async def fail():
        async with open_context(connector) as ctx:
            await ctx.http.get("/hello")
            raise RuntimeError(ctx)

    with pytest.raises(RuntimeError) as raised:
        await fail()
    with pytest.raises(Exception, match="closed"):
        await raised.value.args[0].http.get("/hello")
