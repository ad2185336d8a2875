"""The JSON Schema of connectors.yaml, for editors, derived from the same types that ``build`` reads with."""

from __future__ import annotations

import types
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from .build import SECTIONS, TARGETS, connector_keys, target_type
from .kinds import (
    LISTS,
    Key,
    Kind,
    examples,
    is_parsed,
    is_secret,
    is_struct,
    keys_of,
    label,
    literal,
    members,
    origin_of,
    summary,
    unwrap,
)
from .model import NAME_PATTERN, Hub, PluginTypes, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Schema = dict[str, Any]

INTERPOLATED: Final[Schema] = {"type": "string", "pattern": r"\$\{.+\}"}
_TYPES: Final[dict[Any, Schema]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    types.NoneType: {"type": "null"},
    Path: {"type": "string"},
}


def load_schema(types: Mapping[str, PluginTypes | str]) -> Schema:
    """The JSON Schema (draft 2020-12) of the whole file; plugins that could not be loaded have no part in it."""
    writer = _Writer()
    connector = {
        "type": "object",
        "description": "One account at one vendor.",
        "properties": {key.name: writer.key(_open_key(key)) for key in connector_keys(None)},
        "additionalProperties": False,
    }
    loaded = {name: known for name, known in sorted(types.items()) if isinstance(known, PluginTypes)}
    named: Schema = {}
    rules: list[Schema] = []
    for name, known in loaded.items():
        writer.definitions[f"plugin.{name}"] = writer.plugin(known)
        part = {"$ref": f"#/$defs/plugin.{name}"}
        says = {"properties": {"plugin": {"const": name}}, "required": ["plugin"]}
        rules.append({"if": says, "then": part})
        unsaid = {"if": {"not": {"required": ["plugin"]}}, "then": part}
        named[name] = {"allOf": [{"$ref": "#/$defs/connector"}, unsaid]}
    if rules:
        connector["allOf"] = rules
    writer.definitions["connector"] = connector
    properties: Schema = {
        "hub": writer.kind(Hub),
        "sources": _named_entries(writer.kind(Source), {}),
        "connectors": _named_entries({"$ref": "#/$defs/connector"}, named),
    }
    for name, text in SECTIONS.items():
        properties[name]["description"] = text
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Esplanade's connectors.yaml",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": dict(sorted(writer.definitions.items())),
    }


def _open_key(key: Key) -> Key:
    """A key that plugins fill in takes any keys as far as the core is concerned."""
    return msgspec.structs.replace(key, kind=dict[str, Any]) if key.name in {"settings", *TARGETS} else key


def _named_entries(each: Schema, named: Schema) -> Schema:
    entries: Schema = {"type": "object", "propertyNames": {"pattern": NAME_PATTERN}, "additionalProperties": each}
    return {**entries, "properties": named} if named else entries


class _Writer:
    """Writes types as schemas, each Struct once under ``$defs``."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        self._names: dict[type[Struct], str] = {}

    def plugin(self, known: PluginTypes) -> Schema:
        """What a connector of this plugin has beyond the core's keys."""
        properties: Schema = {"settings": self.kind(known.settings, vendor=True)}
        if known.receives:
            properties["receives"] = {"items": {"enum": list(known.receives)}}
        for section in TARGETS:
            target = target_type(known, section)
            none: Schema = {"maxProperties": 0}
            properties[section] = none if target is None else {"additionalProperties": self.kind(target, vendor=True)}
        part: Schema = {"properties": properties}
        if any(key.required for key in keys_of(known.settings)):
            part["required"] = ["settings"]
        return part

    def key(self, key: Key, *, vendor: bool = False) -> Schema:
        """One property, with its label, its help, its default and examples where its type does not give them."""
        schema = {"title": label(key.name), **self.kind(key.kind, vendor=vendor or key.vendor)}
        if key.help:
            schema["description"] = key.help.replace("``", "`")
        if shown := examples(key):
            schema["examples"] = shown
        if not key.required and key.default is not None and not is_secret(key.kind):
            default = plain(key.default)
            if default is not None:
                schema["default"] = default
        return schema

    def kind(self, kind: Kind, *, vendor: bool = False) -> Schema:
        """Any type, with ``${…}`` allowed wherever it is not text already."""
        bare, metas = unwrap(kind)
        options = members(bare)
        schemas = [_constrained(self._one(unwrap(each)[0], vendor=vendor), unwrap(each)[1]) for each in options]
        flat = _flattened([_constrained(schema, metas) for schema in schemas])
        if not any(_takes_interpolation(schema) for schema in flat) and any(_is_scalar(schema) for schema in flat):
            flat.append(INTERPOLATED)
        return flat[0] if len(flat) == 1 else {"anyOf": flat}

    def _one(self, kind: Kind, *, vendor: bool) -> Schema:
        if is_struct(kind):
            return self._struct(kind, vendor=vendor)
        if is_parsed(kind):
            return _parsed(kind)
        origin = origin_of(kind)
        args = get_args(kind)
        if origin is Literal:
            return {"enum": list(args)}
        if origin in LISTS:
            return {"type": "array", "items": self.kind(args[0], vendor=vendor)} if args else {"type": "array"}
        if origin is dict:
            values = self.kind(args[1], vendor=vendor) if args else {}
            return {"type": "object", "additionalProperties": values or True}
        if kind is str and vendor:
            return {"type": ["string", "number"]}
        if isinstance(kind, type) and issubclass(kind, Enum):
            return {"enum": [str(member.value) for member in kind]}
        return dict(_TYPES.get(kind, {}))

    def _struct(self, struct: type[Struct], *, vendor: bool) -> Schema:
        name = self._names.get(struct, struct.__name__)
        if name in self.definitions and struct not in self._names:
            name = f"{struct.__module__.partition('.')[0]}.{name}"
        if struct not in self._names:
            self._names[struct] = name
            self.definitions[name] = {}  # holds the place, should the Struct contain itself
            keys = keys_of(struct)
            schema: Schema = {"type": "object"}
            if text := summary(struct):
                schema["description"] = text.replace("``", "`")
            schema["properties"] = {key.name: self.key(key, vendor=vendor) for key in keys}
            if required := [key.name for key in keys if key.required]:
                schema["required"] = required
            schema["additionalProperties"] = False
            self.definitions[name] = schema
        return {"$ref": f"#/$defs/{name}"}


def plain(value: Any) -> Any:
    """A default as JSON; None where there is nothing worth showing."""
    match value:
        case bool() | None:
            return value
        case Struct():
            return None
        case list() | tuple() | set() | frozenset():
            return [plain(each) for each in value]
        case dict():
            return {str(name): plain(each) for name, each in value.items()}
        case int() | float() if type(value) in {int, float}:
            return value
    return literal(value).strip('"') if value != "" else ""


def _parsed(kind: Any) -> Schema:
    pattern = getattr(kind, "pattern", "")
    if not pattern:
        return {"type": ["string", "number"]}
    return {"anyOf": [{"type": "string", "pattern": pattern, "examples": [kind.example]}, INTERPOLATED]}


def _constrained(schema: Schema, metas: Iterable[Meta]) -> Schema:
    names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    size = {"array": "Items", "object": "Properties"}.get(str(schema.get("type")), "Length")
    names |= {"multiple_of": "multipleOf", "pattern": "pattern", "min_length": f"min{size}", "max_length": f"max{size}"}
    limits = {
        word: getattr(meta, attribute)
        for meta in metas
        for attribute, word in names.items()
        if getattr(meta, attribute) is not None
    }
    return {**schema, **limits} if schema.get("type") != "null" else schema


def _flattened(schemas: list[Schema]) -> list[Schema]:
    """The alternatives, those of an alternative among them, each once."""
    flat: list[Schema] = []
    for schema in schemas:
        inner = schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
        flat += [each for each in inner if each not in flat]
    return flat


def _kinds(schema: Schema) -> set[str]:
    said = schema.get("type", [])
    return {said} if isinstance(said, str) else set(said)


def _takes_interpolation(schema: Schema) -> bool:
    """Whether any text at all passes, or ``${…}`` was already allowed."""
    free = "string" in _kinds(schema) and "pattern" not in schema and "enum" not in schema
    return not schema or schema == INTERPOLATED or free


def _is_scalar(schema: Schema) -> bool:
    return "enum" in schema or bool(_kinds(schema) & {"string", "integer", "number", "boolean"})


def as_json(schema: Schema) -> bytes:
    """The schema as the text of ``connectors.schema.json``."""
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"
