"""What the checks of DL find in plugins that misread answers, repeat what they must not, or lose their place."""

from tests.integration.conformance.catching import caught

REPEATS = """
@hookimpl
async def on_trigger(self, event, ctx):
    async def send(call, body, **parts):
        return await ctx.http.post(campaign.settings.path(call, **parts), json=body, repeatable=True)
    campaign = self._campaign(ctx)
    campaign.send = send
    from esplanade_webpower.triggers import Mailer
    return await Mailer(campaign, ctx).send(event)
"""


async def test_a_plugin_that_reads_an_answer_without_a_look_at_it(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    path = self.settings.path("contact", id=int(event.remote_id)) if event.remote_id else self.settings.path("contacts")
    send = ctx.http.put if event.remote_id else ctx.http.post
    said = webpower.webhooks._as_contact(dict(event.desired))
    answer = await send(path, json={"email": event.email, "custom": said["fields"]})
    return Outcome(remote_id=str(answer.json()["id"]))
"""
    assert "a changed profile that the vendor answered with" in await caught("DL1", tmp_path, body)


async def test_a_plugin_that_takes_a_failure_for_success(tmp_path):
    body = """
@hookimpl
async def on_consent(self, event, ctx):
    try:
        return await super().on_consent(event, ctx)
    except TemporaryError:
        return Outcome()
"""
    assert "the vendor does not hold it, although it is well again" in await caught("DL1", tmp_path, body)


async def test_a_plugin_that_takes_a_passing_failure_for_a_refusal(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    try:
        return await super().on_profile(event, ctx)
    except TemporaryError as problem:
        raise PermanentError(str(problem)) from None
"""
    assert "was given up, although that may pass" in await caught("DL1", tmp_path, body)


async def test_a_plugin_that_forgets_when_it_may_come_back(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    try:
        return await super().on_profile(event, ctx)
    except RateLimited:
        raise TemporaryError("busy") from None
"""
    assert "calls before the time that the vendor named for a changed profile" in await caught("DL2", tmp_path, body)


async def test_a_plugin_that_does_not_heed_that_the_endpoint_is_gone(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    try:
        return await super().on_profile(event, ctx)
    except EndpointGone:
        raise PermanentError("gone") from None
"""
    assert "a changed profile that the vendor answered with 410" in await caught("DL2", tmp_path, body)


async def test_a_plugin_that_writes_into_the_void(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    if event.remote_id is None:
        return await super().on_profile(event, ctx)
    from esplanade_webpower.mapping import contact_body
    path = self.settings.path("contact", id=int(event.remote_id))
    await ctx.http.put(path, json=contact_body(event.email, event.desired), allow=(404,))
    return Outcome()
"""
    assert "of somebody whose contact was deleted counts as delivered" in await caught("DL2", tmp_path, body)


async def test_a_plugin_that_repeats_mails(tmp_path):
    said = await caught("DL3", tmp_path, REPEATS)
    assert "what became of a trigger that the vendor acted on and answered with a cut" in said


async def test_a_plugin_that_promises_more_than_its_vendor_keeps(tmp_path):
    said = await caught("DL3", tmp_path, 'trigger_repeat = "safe"')
    assert "mails after a trigger that the vendor acted on" in said
    assert "expected 1, found 2" in said


async def test_a_plugin_that_keeps_an_old_value_for_later(tmp_path):
    body = """
_last = {}

@hookimpl
async def on_profile(self, event, ctx):
    before = self._last.get(event.person)
    self._last[event.person] = event
    outcome = await super().on_profile(event, ctx)
    if before is not None:
        await super().on_profile(before, ctx)
    return outcome
"""
    assert "the order in which changes of one field were sent" in await caught("DL6", tmp_path, body)
