"""What the checks of CF find in plugins whose settings say too little, ask too much, or tell secrets."""

import structlog
from tests.integration.conformance.catching import QUALITY, caught

from esplanade.conformance.logs import captured
from esplanade.observe.logging import configure

SETTINGS = """
class Settings(webpower.WebpowerSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    \"\"\"As webpower's, with one more.\"\"\"

    {field}
    \"\"\"{help}\"\"\"
"""


def settings(field, text="One more."):
    return SETTINGS.format(field=field, help=text)


def sample(**more):
    """The quality file's sample with further settings."""
    return {**QUALITY.sample, "settings": {**QUALITY.sample["settings"], **more}}


async def test_a_setting_without_help_or_example(tmp_path):
    said = await caught("CF1", tmp_path, settings("colour: str | None = None", ""))
    assert said.startswith("settings.colour has no description and no example")


async def test_a_default_that_the_reader_refuses(tmp_path):
    said = await caught("CF1", tmp_path, settings("colour: int = 'red'"))
    assert "settings.colour: expected a whole number" in said


async def test_a_secret_that_is_plain_text(tmp_path):
    assert "settings.api_key: sounds secret" in await caught("CF2", tmp_path, settings("api_key: str = 'x'"))


async def test_a_declaration_that_nothing_calls_for(tmp_path):
    said = await caught("CF2", tmp_path, "pass", declared={"CF2 settings.license": "it is no secret"})
    assert "declares settings.license to be no secret" in said


async def test_a_sample_without_the_secrets(tmp_path):
    body = """
class Settings(msgspec.Struct, frozen=True):
    api_key: Secret = Secret("")
"""
    said = await caught("CF2", tmp_path, body, sample={"settings": {}})
    assert said == "the sample gives no secret, so give it one of settings.api_key"


async def test_a_sample_that_is_refused(tmp_path):
    assert "the sample is refused" in await caught("CF3", tmp_path, "pass", sample=sample(page_length=0))


async def test_a_required_setting_whose_lack_is_named_nowhere(tmp_path):
    body = """
class Settings(webpower.WebpowerSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    colour: str = ""

    def __post_init__(self):
        super().__post_init__()
        if not self.colour:
            raise ValueError("something is missing")
"""
    said = await caught("CF3", tmp_path, body, sample=sample(colour="red"), required=[*QUALITY.required, "colour"])
    assert said.startswith("without settings.colour no error names it and its place")


async def test_a_new_requirement(tmp_path):
    body = settings("colour: str")
    assert "the older sample 1 is refused" in await caught(
        "CF4", tmp_path, body, sample=sample(colour="red"), older=[QUALITY.sample]
    )
    assert "colour: required, but not by the first version" in await caught(
        "CF4", tmp_path, body, sample=sample(colour="red")
    )


async def test_a_default_that_cannot_be_written_by_reference(tmp_path):
    body = """
class Settings(webpower.WebpowerSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    colour: str = "red"
    shade: str | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.shade is None and self.colour != "red":
            raise ValueError("colour: needs a shade")
"""
    said = await caught("CF4", tmp_path, body, sample=sample(colour="blue", shade="dark"))
    assert "settings.colour: needs a shade" in said


async def test_a_secret_in_an_error_of_the_plugin(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    raise PermanentError(f"no luck with {self.settings.client_secret.reveal()}")
"""
    said = await caught("CF5", tmp_path, body)
    assert said.startswith("the secret client_secret shows in the log, the store, /v1/connectors, /v1/deliveries")


async def test_a_secret_in_the_log(tmp_path):
    body = """
@hookimpl
async def on_inbound_webhook(self, event, ctx):
    ctx.log.debug("called", token=self.settings.callback_token.reveal())
    return await super().on_inbound_webhook(event, ctx)
"""
    assert "the secret callback_token shows in the log" in await caught("CF5", tmp_path, body)


async def test_an_account_that_cannot_be_told(tmp_path):
    body = """
class Settings(msgspec.Struct, frozen=True):
    base_url: Origin = Origin("https://crm.example")
    nonce: object = msgspec.field(default_factory=object)
"""
    said = await caught("CF6", tmp_path, body, sample={"settings": {}})
    assert "two connectors have the same account" in said


def test_what_was_configured_before_is_in_force_again(capsys):
    configure("error", as_json=True)
    before = structlog.get_config()
    with captured() as logs:
        structlog.get_logger("esplanade").debug("said", key="k")
    assert structlog.get_config() == before
    assert [each["key"] for each in logs.lines("said")] == ["k"]
    assert not capsys.readouterr().err
    structlog.reset_defaults()
    with captured():
        pass
    assert not structlog.is_configured()
