"""What the checks of OB find in plugins that talk too much."""

import pytest
from tests.integration.conformance.catching import caught

TALKS = """
@hookimpl
async def on_profile(self, event, ctx):
    ctx.log.debug("profile", {what})
    return await super().on_profile(event, ctx)
"""


@pytest.mark.parametrize("what", ["to=event.email", "of=list(event.desired.values())", "at=event.email.split('@')"])
async def test_a_plugin_that_logs_whom_it_writes(what, tmp_path):
    assert "the log holds" in await caught("OB1", tmp_path, TALKS.format(what=what))


async def test_a_plugin_that_quotes_its_vendor(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    try:
        return await super().on_profile(event, ctx)
    except PermanentError:
        raise PermanentError(f"cannot write {event.desired}") from None
"""
    assert "the log holds" in await caught("OB1", tmp_path, body)


async def test_a_plugin_that_tells_of_every_failure(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    try:
        return await super().on_profile(event, ctx)
    except (TemporaryError, OutcomeUnknown):
        ctx.log.warning("the vendor is down")
        raise
"""
    assert "what an operator reads in the log while it answers 503" in await caught("OB2", tmp_path, body)
