"""What the checks of DL8 find in plugins that lose their patience, or forget what they were told of it."""

from tests.integration.conformance.catching import caught


async def test_a_plugin_that_gives_up_within_a_day(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    try:
        return await super().on_profile(event, ctx)
    except TemporaryError as problem:
        raise PermanentError(str(problem)) from None
"""
    assert "a changed profile from a day of maintenance did not reach the vendor" in await caught("DL8", tmp_path, body)


async def test_a_plugin_whose_opt_outs_wait_longest(tmp_path):
    body = """
@hookimpl
async def on_consent(self, event, ctx):
    try:
        return await super().on_consent(event, ctx)
    except TemporaryError as problem:
        if event.state != "denied":
            raise
        raise TemporaryError(str(problem), retry_after=7_200) from None
"""
    assert "what was told before all opt-outs, after the maintenance" in await caught("DL8", tmp_path, body)
