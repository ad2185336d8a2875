"""What the checks of CO find in plugins that take consent lightly."""

import pytest
from tests.integration.conformance.catching import caught

GRANTS_ALL = """
@hookimpl
async def on_profile(self, event, ctx):
    outcome = await super().on_profile(event, ctx)
    for target in ctx.consents.values():
        await self._campaign(ctx).join(int(outcome.remote_id), [target.group])
    return outcome
"""
DEAF = "async def pull(self, cursor, ctx):\n    return Page(reports=[])"


async def test_a_plugin_that_keeps_opt_outs_to_itself(tmp_path):
    body = """
@hookimpl
async def on_consent(self, event, ctx):
    return Outcome() if event.state == "denied" else await super().on_consent(event, ctx)
"""
    assert "an opt-out did not reach the vendor" in await caught("CO1", tmp_path, body)
    assert "an opt-out did not reach the vendor" in await caught("CO3", tmp_path, body)


async def test_a_plugin_that_hears_nothing(tmp_path):
    assert "in the hub after a sign-up at the vendor" in await caught("CO1", tmp_path, DEAF)
    assert "although the person confirmed it" in await caught("CO2", tmp_path, f"can_fetch = False\n{DEAF}")


async def test_a_plugin_that_takes_every_member_for_a_confirmation(tmp_path):
    body = """
async def pull(self, cursor, ctx):
    page = await super().pull(cursor, ctx)
    reports = [msgspec.structs.replace(each, confirmed=True, at=ctx.clock.time() and None) for each in page.reports]
    return msgspec.structs.replace(page, reports=[msgspec.structs.replace(each, consents={
        purpose: "granted" for purpose in each.consents}) for each in reports])
"""
    assert "after a complaint" in await caught("CO1", tmp_path, body)


async def test_a_plugin_without_complaints_must_say_why(tmp_path):
    body = """
@classmethod
def twin(cls):
    from esplanade.testing import VendorSide
    from esplanade_webpower.twin import WebpowerTwin
    from esplanade_webpower.twin_side import WebpowerSide

    class Mute(WebpowerSide):
        complain = VendorSide.complain

    class MuteTwin(WebpowerTwin):
        def side(self, furnishing):
            return Mute(self, furnishing)

    return MuteTwin
"""
    assert "has no complain()" in await caught("CO1", tmp_path, body)


async def test_a_plugin_that_grants_without_asking(tmp_path):
    body = """
@hookimpl
async def on_consent(self, event, ctx):
    if event.state == "pending":
        event = msgspec.structs.replace(event, state="granted")
    return await super().on_consent(event, ctx)
"""
    assert "how often the person was asked" in await caught("CO2", tmp_path, body)


async def test_a_plugin_that_asks_and_asks_again(tmp_path):
    body = """
@hookimpl
async def on_consent(self, event, ctx):
    try:
        return await super().on_consent(event, ctx)
    except OutcomeUnknown as problem:
        raise TemporaryError(str(problem)) from None
"""
    assert "when the answer was lost (after): expected once, found 2" in await caught("CO2", tmp_path, body)


async def test_a_plugin_that_throws_purposes_together(tmp_path):
    body = """
async def pull(self, cursor, ctx):
    page = await super().pull(cursor, ctx)
    return msgspec.structs.replace(page, reports=[msgspec.structs.replace(each, consents=dict.fromkeys(
        ctx.consents, next(iter(each.consents.values())))) if each.consents else each for each in page.reports])
"""
    assert "in the hub after" in await caught("CO4", tmp_path, body)


@pytest.mark.parametrize("rule", ["CO4", "CO5"])
async def test_a_plugin_that_puts_everybody_on_every_list(tmp_path, rule):
    assert "granted" in await caught(rule, tmp_path, GRANTS_ALL)
