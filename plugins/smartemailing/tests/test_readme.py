"""The README tells the truth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from esplanade import Secret, runtime
from esplanade.config.kinds import keys_of
from esplanade_smartemailing.settings import (
    BUILT_IN,
    CONTACT_ID_PATHS,
    EMAIL_PATHS,
    BasicAuth,
    DoubleOptIn,
    SmartEmailingAudience,
    SmartEmailingSettings,
    SmartEmailingTrigger,
    WebhookEvent,
)
from esplanade_smartemailing.twin import SmartEmailingTwin
from esplanade_smartemailing.twin_scenarios import SAMPLES
from esplanade_smartemailing.values import READ_ONLY

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
OWN = {
    *SmartEmailingSettings.__struct_fields__,
    *(key.name for kind in (DoubleOptIn, BasicAuth) for key in keys_of(kind)),
    "list", "purpose", "double_opt_in", "event", "email_id",
}  # fmt: skip
PAYLOAD = {
    "trigger", "trigger_id", "language", "product_set", "products",
    "id", "name", "price", "currency", "quantity", "url", "image_url",
}  # fmt: skip


def section(title: str) -> str:
    _, _, after = README.partition(f"\n## {title}\n")
    return after.partition("\n## ")[0]


@pytest.mark.parametrize("name", sorted({*OWN, *PAYLOAD, *BUILT_IN, *READ_ONLY, *get_args(WebhookEvent), *SAMPLES}))
def test_it_names_every_setting_every_key_of_a_contact_and_every_event(name: str) -> None:
    assert f"`{name}`" in README


def test_it_lists_every_setting_once_and_no_other() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", section("Settings"), re.MULTILINE)
    assert listed == list(SmartEmailingSettings.__struct_fields__)


def test_it_tells_the_defaults() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) ?\|", section("Settings"), re.MULTILINE))
    plain = SmartEmailingSettings(username="demo@shop.example", api_key=Secret("key"))
    for name, shown in rows.items():
        default = getattr(plain, name)
        match default:
            case _ if name in {"username", "api_key"}:
                assert shown == ""
            case bool():
                assert shown == f"`{str(default).lower()}`"
            case int():
                assert shown == str(default)
            case list():
                assert shown == ", ".join(f"`{each}`" for each in default)
            case "" | None:
                assert shown in {"none", "empty"}
            case dict() | Secret():
                assert (shown, bool(default)) == ("none", False)
            case _:
                assert shown == f"`{default}`"
    assert [*EMAIL_PATHS] == plain.webhook_email_paths
    assert [*CONTACT_ID_PATHS] == plain.webhook_contact_id_paths


def test_its_example_is_valid(tmp_path: Path) -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "connectors.yaml").write_text(text)
    connector = runtime.load(tmp_path / "connectors.yaml", {}).config.connectors["smartemailing"]
    assert connector.settings.sender is not None
    asks = {purpose: each.asks_to_confirm() for purpose, each in connector.consents.items()}
    assert asks == {"newsletter": True, "service": False}
    assert connector.audiences == {"vip": SmartEmailingAudience(list=12), "churn-risk": SmartEmailingAudience()}
    triggers = [each for each in connector.triggers.values() if isinstance(each, SmartEmailingTrigger)]
    assert [each.event or each.email_id for each in triggers] == ["abandoned-cart", 71]
    assert {each.requires for each in connector.triggers.values()} <= connector.consents.keys()


def test_the_doors_of_the_twin_are_those_that_it_has() -> None:
    routes = SmartEmailingTwin(SmartEmailingTwin.demo_settings()).routes()
    doors = {each.path for each in routes if each.path.startswith("/__twin__/")}
    assert set(re.findall(r"/__twin__/\w+", README)) == doors


def test_what_it_has_a_remedy_for_is_what_is_said() -> None:
    folders = [Path(__file__).parents[1] / "esplanade_smartemailing", Path(__file__).parents[3] / "core" / "esplanade"]
    source = " ".join(path.read_text("utf-8") for folder in folders for path in folder.rglob("*.py"))
    said = re.sub(r"(?<!{)\{[^{}]*\}(?!})", "…", re.sub(r'"\s*f?"', "", " ".join(source.split())))
    words = re.findall(r"(?<!\*)\*([^*|]+)\*(?!\*)", section("Troubleshooting"))
    assert len(words) > 12
    parts = [part.strip() for each in words for part in each.replace("such as …", "").split("…")]
    assert [part for part in parts if part not in said] == []
