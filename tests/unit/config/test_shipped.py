"""The file, the schema and the page that this repository ships, with the plugins that it ships."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from esplanade.config import as_json, build, load_schema, read, reference
from esplanade.registry.find import types_of

ROOT = Path(__file__).parents[3]
CLASSES = {
    "copernica": ("esplanade_copernica.plugin", "CopernicaConnector"),
    "smartemailing": ("esplanade_smartemailing.plugin", "SmartEmailingConnector"),
    "sparkloop": ("esplanade_sparkloop.plugin", "SparkLoopConnector"),
    "webhook": ("esplanade_webhook.plugin", "WebhookConnector"),
    "webpower": ("esplanade_webpower.plugin", "WebpowerConnector"),
}


@pytest.fixture(scope="module")
def shipped():
    return {name: types_of(getattr(import_module(module), cls)) for name, (module, cls) in CLASSES.items()}


def test_connectors_yaml_is_valid_with_nothing_set(shipped):
    config = build(read(ROOT / "connectors.yaml", {}), shipped)
    assert list(config.connectors) == ["webpower", "smartemailing", "sparkloop", "cdp"]
    assert all(each.twin and each.settings is not None for each in config.connectors.values())
    assert config.connectors["cdp"].all_fields
    assert [line.partition(" ")[2].partition(":")[0] for line in config.warnings] == ["sources.shop.token"]


def test_the_schema_is_that_of_the_code(shipped):
    assert (ROOT / "connectors.schema.json").read_bytes() == as_json(load_schema(shipped)), "run tests/regenerate.py"


def test_the_reference_is_that_of_the_code(shipped):
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text("utf-8")
    assert page == reference(shipped), "run tests/regenerate.py"


def test_the_shipped_file_passes_the_shipped_schema(shipped):
    """Read by another YAML parser, as an editor would."""
    from ruamel.yaml import YAML

    from .test_schema import valid

    schema = load_schema(shipped)
    assert valid(YAML(typ="safe", pure=True).load(ROOT / "connectors.yaml"), schema, schema)
