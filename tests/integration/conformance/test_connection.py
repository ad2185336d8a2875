"""What the checks of CN and SE find in plugins that reach their vendor in ways of their own."""

from tests.integration.conformance.catching import QUALITY, caught


async def test_a_check_that_is_content_with_everything(tmp_path):
    body = "async def check(self, ctx):\n    return CheckResult()"
    assert "the check, while the vendor answers 401" in await caught("CN1", tmp_path, body)


async def test_a_check_that_calls_everything_bad_credentials(tmp_path):
    body = """
async def check(self, ctx):
    found = await super().check(ctx)
    return found if found.status == "ok" else CheckResult(status="bad-credentials", detail="no luck")
"""
    said = await caught("CN1", tmp_path, body)
    assert "answers 403: expected 'no-permission', found 'bad-credentials'" in said


async def test_a_check_that_does_not_look_at_the_account(tmp_path):
    body = """
async def check(self, ctx):
    found = await super().check(ctx)
    return CheckResult() if found.status == "wrong-account" else found
"""
    assert "the check with campaign_id of another account" in await caught("CN1", tmp_path, body)


async def test_a_check_that_says_no_word(tmp_path):
    body = """
async def check(self, ctx):
    return msgspec.structs.replace(await super().check(ctx), detail="")
"""
    assert "no word of what to do about it" in await caught("CN1", tmp_path, body)


async def test_a_plugin_that_takes_refused_credentials_for_a_refused_value(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    try:
        return await super().on_profile(event, ctx)
    except AuthenticationError as problem:
        raise PermanentError(str(problem)) from None

@hookimpl
async def on_consent(self, event, ctx):
    try:
        return await super().on_consent(event, ctx)
    except AuthenticationError as problem:
        raise PermanentError(str(problem)) from None
"""
    assert "what was given up: expected [], found ['rejected'" in await caught("CN2", tmp_path, body)


async def test_a_plugin_with_a_client_of_its_own(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    import http.client

    return await super().on_profile(event, ctx)
"""
    said = await caught("CN3", tmp_path, body)
    assert "uses http.client" in said
    assert "wrong.py:" in said


async def test_a_library_that_may_be_used_must_be_used(tmp_path):
    declared = {"CN3 dns.resolver": "signature keys are in the vendor's DNS"}
    assert "declares dns.resolver" in await caught("CN3", tmp_path, "pass", declared=declared)


async def test_a_host_that_the_settings_do_not_lead_to(tmp_path):
    body = """
def endpoint(self):
    return msgspec.structs.replace(super().endpoint(), origins=["https://elsewhere.example"])
"""
    assert "names https://elsewhere.example" in await caught("CN3", tmp_path, body)


async def test_a_connection_past_the_session(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    import asyncio

    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        connect = getattr(asyncio, "open" + "_connection")
        _, writer = await connect("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.close()
    return await super().on_profile(event, ctx)
"""
    assert "connections past the session, to 127.0.0.1:" in await caught("CN3", tmp_path, body)


async def test_a_redirect_that_counts_as_success(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    await ctx.http.post("/anything", json={}, allow=(302, 401, 404))
    return Outcome()
"""
    assert "what counts as delivered" in await caught("CN3", tmp_path, body)


async def test_a_plugin_that_holds_on_to_its_calls(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    import asyncio

    while True:
        try:
            return await super().on_profile(event, ctx)
        except asyncio.CancelledError:
            await asyncio.sleep(3600)

@hookimpl
async def on_consent(self, event, ctx):
    return await Wrong.on_profile(self, ProfileEvent(
        delivery_id="d", person="p", email=event.email, desired={"city": "Delft"}, at=event.at), ctx)
"""
    assert "tasks are left after the hub has stopped" in await caught("CN4", tmp_path, body)


async def test_a_task_that_outlives_the_hub(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    import asyncio

    self.left = asyncio.get_running_loop().create_task(asyncio.Event().wait())
    return await super().on_profile(event, ctx)
"""
    assert "tasks are left after the hub has stopped" in await caught("CN4", tmp_path, body)


async def test_a_url_that_nobody_judges(tmp_path):
    body = """
class Settings(webpower.WebpowerSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    images_url: str = "https://images.example"
"""
    assert "settings.images_url: https://0.0.0.0/in is not refused" in await caught("SE1", tmp_path, body)


async def test_a_plugin_that_cannot_be_pointed_elsewhere(tmp_path):
    body = """
class Settings(msgspec.Struct, frozen=True):
    key: str = "k"
"""
    assert "no setting leads to another address" in await caught(
        "SE1", tmp_path, body, sample={**QUALITY.sample, "settings": {}}
    )
