"""What the checks of AU find in plugins that clear out too much, or never get anybody in."""

from tests.integration.conformance.catching import caught


async def test_a_plugin_that_makes_a_group_for_each_person(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    await ctx.kv.set("group:churn-risk", None)
    self._groups._by_name = lambda *_: ctx.kv.get("nothing")
    return await super().on_profile(event, ctx)
"""
    assert "audience" in await caught("AU1", tmp_path, body)


async def test_a_plugin_that_makes_the_vendor_hold_the_hubs_members_and_no_others(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    if event.audiences.remove:
        campaign = self._campaign(ctx)
        for name, target in event.audiences.remove.items():
            group = await self._groups.find(name, target, campaign, ctx)
            for row in await campaign.every(self.settings.rest(self.settings.group_contacts_path, gid=group)):
                await self._groups.leave(row["id"], group, campaign, ctx)
    return await super().on_profile(event, ctx)
"""
    assert "audiences of somebody" in await caught("AU1", tmp_path, body)


async def test_a_plugin_that_forgets_who_left(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    kept = AudienceChange(add=event.audiences.add)
    return await super().on_profile(msgspec.structs.replace(event, audiences=kept), ctx)
"""
    assert "is still in it" in await caught("AU1", tmp_path, body)
    assert "when everybody left it at once" in await caught("AU2", tmp_path, body)


async def test_a_plugin_that_reports_an_opt_out_of_everybody_it_does_not_see(tmp_path):
    body = """
async def pull(self, cursor, ctx):
    page = await super().pull(cursor, ctx)
    return msgspec.structs.replace(page, reports=[msgspec.structs.replace(each, consents={
        **dict.fromkeys(ctx.consents, "denied"), **each.consents}) for each in page.reports])
"""
    assert "in the hub when nobody was listed for it any more" in await caught("AU2", tmp_path, body)
