"""The README tells the truth."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from esplanade import Secret
from esplanade_sparkloop import mapping, webhooks
from esplanade_sparkloop.settings import FieldNames, SparkLoopSettings

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("name", [*SparkLoopSettings.__struct_fields__, *FieldNames.__struct_fields__])
def test_it_names_every_setting(name):
    assert f"`{name}`" in README


def test_it_names_every_field_and_happening():
    settings = SparkLoopSettings(api_key=Secret("k"), send_country_code=True)
    for each in mapping.fields_of(settings):
        assert f"`{each.name}`" in README
    for kind in webhooks.HAPPENED:
        assert f"`{kind.replace('_', '-')}`" in README


def test_its_example_is_valid():
    [text] = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    connector = YAML(typ="safe").load(text)["connectors"]["sparkloop"]
    secret = {"api_key", "webhook_token"}
    given = {name: Secret(value) if name in secret else value for name, value in connector["settings"].items()}
    settings = SparkLoopSettings(**given)
    assert set(connector["fields"].values()) <= {each.name for each in mapping.fields_of(settings)}
    assert len(connector["consents"]) == 1
