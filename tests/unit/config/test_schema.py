"""The JSON Schema says what ``build`` does, as far as a schema can."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from esplanade.config import as_json, load_schema
from esplanade.config.kinds import label

KINDS = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list}


def valid(value: Any, schema: Any, root: Any) -> bool:
    """Judge a value by the words of JSON Schema that ours uses."""
    if isinstance(schema, bool):
        return schema
    return all(_holds(word, said, value, schema, root) for word, said in schema.items())


def _holds(word: str, said: Any, value: Any, schema: Any, root: Any) -> bool:
    mapping = value if isinstance(value, dict) else {}
    match word:
        case "$ref":
            return valid(value, root["$defs"][said.removeprefix("#/$defs/")], root)
        case "type":
            return any(_is(value, each) for each in ([said] if isinstance(said, str) else said))
        case "enum":
            return value in said
        case "const":
            return value == said
        case "anyOf":
            return any(valid(value, each, root) for each in said)
        case "allOf":
            return all(valid(value, each, root) for each in said)
        case "not":
            return not valid(value, said, root)
        case "if":
            return not valid(value, said, root) or valid(value, schema["then"], root)
        case "properties":
            return all(valid(mapping[name], each, root) for name, each in said.items() if name in mapping)
        case "additionalProperties":
            others = [name for name in mapping if name not in schema.get("properties", {})]
            return all(valid(mapping[name], said, root) for name in others)
        case "propertyNames":
            return all(valid(name, said, root) for name in mapping)
        case "required":
            return not isinstance(value, dict) or all(name in value for name in said)
        case "items":
            return not isinstance(value, list) or all(valid(each, said, root) for each in value)
        case "pattern":
            return not isinstance(value, str) or re.search(said, value) is not None
        case "minimum":
            return isinstance(value, str) or value >= said
        case "maximum":
            return isinstance(value, str) or value <= said
        case "maxProperties":
            return len(mapping) <= said
        case "then" | "description" | "default" | "examples" | "title" | "$schema" | "$defs":
            return True
    raise AssertionError(f"the schema uses {word}, which this test does not know")


def _is(value: Any, kind: str) -> bool:
    if kind == "null":
        return value is None
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


@pytest.fixture
def accepts(types):
    schema = load_schema(types)
    return lambda value: valid(value, schema, schema)


def acme(**more: Any) -> Any:
    return {"connectors": {"acme": {"settings": {"account": "a", "api_key": "k", **more.pop("settings", {})}, **more}}}


@pytest.mark.parametrize(
    "value",
    [
        {},
        acme(),
        acme(settings={"page_size": "${SIZE}", "strict": "${ON:-true}", "mode": "${MODE}", "share": 1, "code": None}),
        acme(settings={"code": "${CODE}"}),
        acme(settings={"code": "NL"}),
        acme(settings={"account": 135, "list_id": "0135", "tags": [1, "b"], "extra": {"a": 1}, "region": {"zone": 3}}),
        acme(consents={"n": {"group": 1, "opt_in": "double", "regrant": "never"}}, timeout="${T:-30s}"),
        acme(triggers={"*": {"mailing": 1, "expires": "6h"}}, conflict={"a": "hub"}, pace={"rate": "5/s", "burst": 1}),
        {"connectors": {"b": {"plugin": "small"}, "small": {"settings": {"url": "x"}}, "gone": {"settings": {"a": 1}}}},
        {"connectors": {"c": {"plugin": "./c.py", "settings": {"any": 1}, "triggers": {"t": {"any": 1}}}}},
        {"hub": {"guard": {"max_removals": "2%"}, "alerts": [{"command": ["a"]}]}, "sources": {"s": {"token": "t"}}},
    ],
)  # fmt: skip
def test_what_is_valid_passes(accepts, value):
    assert accepts(value)


@pytest.mark.parametrize(
    "value",
    [
        {"hubb": {}},
        {"hub": {"max_hops": 0}},
        {"hub": {"max_hops": "4"}},
        {"hub": {"guard": {"max_removals": 2}}},
        {"sources": {"s": {}}},
        {"sources": {"S": {"token": "t"}}},
        {"connectors": {"acme": {}}},
        {"connectors": {"acme": {"settings": {"account": "a"}}}},
        {"connectors": {"x": {"plugin": "acme", "settings": {}}}},
        acme(settings={"page_size": 501}),
        acme(settings={"mode": "replace"}),
        acme(settings={"region": {"zon": 1}}),
        acme(settings={"code": "abc"}),
        acme(consents={"n": {"gruop": 1}}),
        acme(timeout=30),
        acme(receives=["profil"]),
        acme(setings={}),
        {"connectors": {"small": {"receives": ["profile"]}}},
        {"connectors": {"small": {"audiences": {"a": {}}}}},
    ],
)
def test_what_is_wrong_does_not(accepts, value):
    assert not accepts(value)


def test_docstrings_of_fields_are_its_descriptions(types):
    properties = load_schema(types)["$defs"]["AcmeSettings"]["properties"]
    assert properties["page_size"] == {
        "title": "Page size",
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": 500}, {"type": "string", "pattern": r"\$\{.+\}"}],
        "description": "Rows a page.",
        "default": 100,
    }


def test_keys_have_labels_that_a_form_can_show():
    assert label("client_id") == "Client ID"
    assert label("base_url") == "Base URL"
    assert label("api_key") == "API key"


def test_examples_are_those_of_the_type_and_of_secrets_a_reference(types):
    properties = load_schema(types)["$defs"]["AcmeSettings"]["properties"]
    assert properties["code"]["examples"] == ["NL"]
    assert properties["api_key"]["examples"] == ["${API_KEY}"]
    assert "examples" not in properties["page_size"]


def test_defaults_are_written_as_in_the_file(types):
    definitions = load_schema(types)["$defs"]
    assert definitions["Hub"]["properties"]["pending_expiry"]["default"] == "30d"
    assert definitions["Guard"]["properties"]["max_removals"]["default"] == "2%"
    assert "default" not in definitions["Hub"]["properties"]["admin_token"]


def test_every_key_of_the_core_has_a_description(types):
    schema = load_schema(types)
    definitions = [
        schema["$defs"][name] for name in ("Hub", "Source", "Pace", "Retry", "Schedule", "Guard", "connector")
    ]
    bare = [name for each in definitions for name, key in each["properties"].items() if not key.get("description")]
    assert bare == []


def test_two_plugins_may_call_their_settings_the_same(types):
    from esplanade.config import PluginTypes

    one, two = (msgspec.defstruct("Settings", [(name, int)], frozen=True, kw_only=True) for name in ("a", "b"))
    schema = load_schema({"one": PluginTypes(settings=one), "two": PluginTypes(settings=two)})
    assert valid({"connectors": {"one": {"settings": {"a": 1}}, "two": {"settings": {"b": 1}}}}, schema, schema)
    assert not valid({"connectors": {"two": {"settings": {"a": 1}}}}, schema, schema)


def test_it_is_written_as_stable_json(types):
    text = as_json(load_schema(types))
    assert text == as_json(load_schema(dict(reversed(types.items()))))
    assert msgspec.json.decode(text)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
