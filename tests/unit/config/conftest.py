"""A made-up vendor, and ways to read a few lines of connectors.yaml."""

from __future__ import annotations

from textwrap import dedent
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct, field

from esplanade import AudienceTarget, ConsentTarget, Origin, Secret, TriggerTarget
from esplanade.config import PluginTypes, build, read
from esplanade.errors import ConfigError


class AcmeRegion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where Acme keeps the account."""

    code: Literal["eu", "us"] = "eu"
    """The region's code."""
    zone: int | str | None = None
    """The zone in it."""


class AcmeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Acme account."""

    account: str
    """The account's name."""
    api_key: Secret
    """The key from Acme's console."""
    base_url: Origin = Origin("https://api.acme.example")
    """Acme's origin."""
    incoming_webhook_url: Secret = Secret("")
    """A URL that is a password."""
    list_id: int | str = 1
    """The main list."""
    page_size: Annotated[int, Meta(ge=1, le=500)] = 100
    """Rows a page."""
    share: float = 0.5
    """A number."""
    strict: bool = True
    """A switch."""
    mode: Literal["merge", "full"] = "merge"
    """How to write."""
    tags: list[str] = field(default_factory=list)
    """Words."""
    extra: dict[str, object] = field(default_factory=dict)
    """Anything."""
    region: AcmeRegion = field(default_factory=AcmeRegion)
    """Where."""
    code: Annotated[str, Meta(pattern=r"^[A-Z]{2}$", examples=["NL"])] | None = None
    """Two capitals."""

    def __post_init__(self) -> None:
        if self.account == "forbidden":
            raise ValueError("account: this one is closed; use another")


class AcmeConsent(ConsentTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An Acme list."""

    group: int
    opt_in: Literal["single", "double"] = "single"

    def asks_to_confirm(self) -> bool:
        return self.opt_in == "double"


class AcmeAudience(AudienceTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An Acme segment."""

    group: int | None = None


class AcmeTrigger(TriggerTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An Acme mailing."""

    mailing: int


class SmallSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vendor that takes consents only and needs no key."""

    url: str = "https://small.example/in"


TYPES: dict[str, PluginTypes | str] = {
    "acme": PluginTypes(
        settings=AcmeSettings,
        consent=AcmeConsent,
        audience=AcmeAudience,
        trigger=AcmeTrigger,
        receives=["profile", "consent", "trigger"],
        methods=["check", "pull", "fetch"],
    ),
    "small": PluginTypes(settings=SmallSettings, consent=ConsentTarget, receives=["consent"], all_fields=True),
    "gone": "no plugin called gone is installed",
}


@pytest.fixture
def types():
    return dict(TYPES)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Build a Config from text; ``${…}`` finds what is given by keyword."""
    monkeypatch.chdir(tmp_path)

    def _load(text: str, **environ: str) -> Any:
        path = tmp_path / "connectors.yaml"
        path.write_text(dedent(text), "utf-8")
        return build(read(path.relative_to(tmp_path), environ), TYPES)

    return _load


@pytest.fixture
def problems(load):
    """The problems of a text, without the file's name; an empty list when there are none."""

    def _problems(text: str, **environ: str) -> list[str]:
        try:
            load(text, **environ)
        except ConfigError as error:
            return [line.removeprefix("connectors.yaml:") for line in error.problems]
        return []

    return _problems


@pytest.fixture
def acme(load):
    """The settings of one Acme connector, from lines of YAML."""

    def _acme(lines: str = "", **environ: str) -> Any:
        text = "connectors:\n  acme:\n    settings:\n      account: a\n      api_key: k\n"
        text += "".join(f"      {line}\n" for line in dedent(lines).strip().splitlines())
        return load(text, **environ).connectors["acme"].settings

    return _acme


@pytest.fixture
def acme_problems(acme):
    """The problems of one Acme connector's settings."""

    def _acme_problems(lines: str, **environ: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            acme(lines, **environ)
        return [line.partition("settings.")[2] for line in caught.value.problems]

    return _acme_problems
