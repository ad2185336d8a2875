"""What the checks of IN find in plugins that are too trusting, or lose what vendors tell."""

import pytest
from tests.integration.conformance.catching import caught


@pytest.mark.parametrize("rule", ["IN1", "IN2"])
async def test_a_plugin_that_believes_whatever_comes(rule, tmp_path):
    assert "a forged call" in await caught(rule, tmp_path, "async def verify(self, request, ctx):\n    return True")


async def test_a_plugin_that_believes_nothing(tmp_path):
    said = await caught("IN1", tmp_path, "async def verify(self, request, ctx):\n    return False")
    assert said.startswith("the answer to a genuine call")


async def test_a_plugin_whose_events_have_no_identity(tmp_path):
    body = """
@hookimpl
async def on_inbound_webhook(self, event, ctx):
    said = webpower.webhooks.read(event, self.settings, ctx)
    return [msgspec.structs.replace(each, event_id=str(id(event))) for each in said]
"""
    assert "after a call was sent twice" in await caught("IN1", tmp_path, body)


async def test_a_forgery_that_is_not_tried_is_missed(tmp_path):
    said = await caught("IN1", tmp_path, "pass", declared={})
    assert "VendorSide.forgeries lacks old timestamp" in said


async def test_a_plugin_that_never_hears_of_what_came_in_the_wrong_order(tmp_path):
    body = "async def pull(self, cursor, ctx):\n    return Page(reports=[])"
    assert "in the hub went back to an earlier value" in await caught("IN3", tmp_path, body)


async def test_a_plugin_that_opts_in_whoever_is_told_of_late(tmp_path):
    body = """
@hookimpl
async def on_inbound_webhook(self, event, ctx):
    said = webpower.webhooks.read(event, self.settings, ctx)
    more = {"consents": dict.fromkeys(ctx.consents, "granted"), "event_id": None, "confirmed": True}
    return [msgspec.structs.replace(each, **more) if isinstance(each, Report) else each for each in said]

async def pull(self, cursor, ctx):
    return Page(reports=[])
"""
    assert "was undone in the hub" in await caught("IN3", tmp_path, body)


async def test_a_plugin_that_stumbles_over_what_it_does_not_know(tmp_path):
    body = """
@hookimpl
async def on_inbound_webhook(self, event, ctx):
    topic = event.headers.get("x-mailpro-topic", "clicked")
    {"contact.created": 1, "clicked": 2}[topic]
    return webpower.webhooks.read(event, self.settings, ctx)
"""
    assert "a call of an unknown kind is pending: PluginError" in await caught("IN4", tmp_path, body)


async def test_a_plugin_that_cannot_read_a_form(tmp_path):
    body = """
@hookimpl
async def on_inbound_webhook(self, event, ctx):
    if "form" in event.headers.get("content-type", ""):
        raise PermanentError("the webhook's body is not JSON")
    return webpower.webhooks.read(event, self.settings, ctx)
"""
    assert "what became of a genuine call (callback as a form)" in await caught("IN4", tmp_path, body)
