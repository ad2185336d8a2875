"""What the checks of PR and ID find in plugins that take one person for two, or two for one."""

from tests.integration.conformance.catching import caught


async def test_a_plugin_that_cuts_off_tags(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    return await super().on_profile(msgspec.structs.replace(event, email=event.email.replace("+shop", "")), ctx)

@hookimpl
async def on_consent(self, event, ctx):
    return await super().on_consent(msgspec.structs.replace(event, email=event.email.replace("+shop", "")), ctx)
"""
    assert "of which one has a plus tag" in await caught("PR4", tmp_path, body)


async def test_a_plugin_that_gives_a_wrong_id(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    return msgspec.structs.replace(await super().on_profile(event, ctx), remote_id="1")

@hookimpl
async def on_consent(self, event, ctx):
    return msgspec.structs.replace(await super().on_consent(event, ctx), remote_id="1")
"""
    assert "the vendor's id of a contact, as the hub keeps it" in await caught("ID1", tmp_path, body)


async def test_a_plugin_that_says_that_it_renames_and_does_not(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    event = msgspec.structs.replace(event, previous_email=None, remote_id=None)
    return msgspec.structs.replace(await super().on_profile(event, ctx), remote_id=None)
"""
    assert "address_change: rename" in await caught("ID1", tmp_path, body)
    assert "change of address" in await caught("ID2", tmp_path, body)


async def test_a_plugin_that_deletes_whoever_has_the_address(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    if event.previous_email and (row := await self._campaign(ctx).find(event.email)):
        await ctx.http.delete(self.settings.path("contact", id=int(row["id"])))
    return await super().on_profile(event, ctx)
"""
    assert "what the vendor held at an address that it had already" in await caught("ID3", tmp_path, body)
