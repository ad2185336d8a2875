"""What the checks of TR find in plugins that send too much, too often, or too little."""

from tests.integration.conformance.catching import caught

SAYS_NOTHING = """
@hookimpl
async def on_trigger(self, event, ctx):
    try:
        return await super().on_trigger(event, ctx)
    except PermanentError:
        raise PermanentError("an error occurred") from None
"""


async def test_a_plugin_that_offers_drafts(tmp_path):
    body = """
async def discover(self, ctx):
    rows = await self._campaign(ctx).every(self.settings.path("mailings"))
    return Discovery(mailings=[Choice(id=str(row["id"]), name=row["name"]) for row in rows])
"""
    assert "mailings that are no longer offered" in await caught("TR1", tmp_path, body)


async def test_a_plugin_that_keeps_the_vendors_reasons_to_itself(tmp_path):
    assert "names neither the mailing nor the trigger" in await caught("TR1", tmp_path, SAYS_NOTHING)


async def test_a_plugin_that_sends_again_on_a_guess(tmp_path):
    body = """
@hookimpl
async def on_trigger(self, event, ctx):
    try:
        return await super().on_trigger(event, ctx)
    except OutcomeUnknown as problem:
        raise TemporaryError(str(problem)) from None
"""
    assert "one trigger became 2 mails when the vendor answered with 500" in await caught("TR2", tmp_path, body)


async def test_a_plugin_that_says_that_its_vendor_tells_repeats_apart(tmp_path):
    assert "one trigger became 2 mails" in await caught("TR2", tmp_path, 'trigger_repeat = "safe"')


async def test_a_plugin_that_leaves_products_out(tmp_path):
    body = """
@hookimpl
async def on_trigger(self, event, ctx):
    return await super().on_trigger(msgspec.structs.replace(event, products=None), ctx)
"""
    assert "the title of a product is not among" in await caught("TR3", tmp_path, body)


async def test_a_plugin_that_knows_one_language(tmp_path):
    body = """
@hookimpl
async def on_trigger(self, event, ctx):
    return await super().on_trigger(msgspec.structs.replace(event, language="en"), ctx)
"""
    assert "the language of a mail, where it is that of the event" in await caught("TR3", tmp_path, body)


async def test_a_plugin_that_sends_more_than_fits(tmp_path):
    body = """
@hookimpl
async def on_trigger(self, event, ctx):
    items = event.products.items if event.products else []
    return await super().on_trigger(msgspec.structs.replace(event, data={
        "everything": msgspec.json.encode(items).decode()}), ctx)
"""
    assert "mails of one trigger, which is dead" in await caught("TR3", tmp_path, body)
