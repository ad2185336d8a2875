"""The README tells the truth."""

import re
from pathlib import Path

import msgspec
import pytest
from ruamel.yaml import YAML

from esplanade import Secret
from esplanade_copernica.layout import TRIGGERS
from esplanade_copernica.settings import CopernicaAudience, CopernicaConsent, CopernicaSettings, CopernicaTrigger

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
OWN = {
    *CopernicaSettings.__struct_fields__,
    "field", "granted", "denied", "unknown", "pending", "opt_in", "confirmation", "id", "interest", "route", "template", "document",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(OWN | TRIGGERS.keys()))
def test_it_names_every_setting_and_every_field_of_a_row(name):
    assert f"`{name}`" in README


def test_it_lists_every_setting_once_and_no_other():
    _, _, after = README.partition("## Settings\n")
    listed = re.findall(r"^\| `(\w+)` \|", after.partition("\n## ")[0], re.MULTILINE)
    assert sorted(listed) == sorted(CopernicaSettings.__struct_fields__)


def test_its_example_is_valid():
    [text] = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    connector = YAML(typ="safe").load(text)["connectors"]["copernica"]
    given = {name: Secret(value) if name == "api_token" else value for name, value in connector["settings"].items()}
    assert CopernicaSettings(**given).database_id == 31
    consents, audiences, triggers = (
        {
            name: msgspec.convert(each, kind, strict=False, dec_hook=lambda type_, value: type_.parse(value))
            for name, each in connector[part].items()
        }
        for part, kind in (
            ("consents", CopernicaConsent),
            ("audiences", CopernicaAudience),
            ("triggers", CopernicaTrigger),
        )
    )
    assert {purpose: each.opt_in for purpose, each in consents.items()} == {"newsletter": "double", "service": "single"}
    assert {name: each.id for name, each in audiences.items()} == {"vip": 12, "churn-risk": None}
    assert {each.route for each in triggers.values()} == {"subprofile", "mailing"}
    assert {each.requires for each in triggers.values()} <= consents.keys()
