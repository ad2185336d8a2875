"""The Markdown reference of connectors.yaml, derived from the same types that ``build`` reads with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from .build import TARGETS, connector_keys, target_type
from .kinds import Key, Kind, is_secret, is_struct, keys_of, literal, members, named, origin_of, summary, unwrap
from .model import Hub, PluginTypes, Source
from .schema import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_HEAD: Final = """# connectors.yaml: every key

This page is generated from the code that reads the file. The file is YAML 1.2 without anchors, aliases, merge keys and
tags. Unknown and duplicate keys are errors; `esplanade check` lists every problem in one run.

In values, but not in keys, this is put in:

| written | gives |
|---|---|
| `${NAME}` | the environment variable; an error when it is not set |
| `${NAME:-default}` | the default when the variable is not set or empty |
| `${NAME:?message}` | an error with that message when the variable is not set or empty |
| `${file:/path}` | the text of a file, without the newline at its end |
| `$$` | a dollar sign |

Inside `{ }` and `[ ]` put `${…}` in quotes. What is put in is converted to the key's type.
"""
_WORDS: Final = """Durations are a number and a unit: `500ms`, `20s`, `15m`, `6h`, `30d`.
Rates are `5/s`, `300/m`, `1000/h`. Shares are `2%`.
"""


def reference(types: Mapping[str, PluginTypes | str]) -> str:
    """Every key of the file with its type, default and help; plugins that could not be loaded are left out."""
    pages = [_HEAD, _WORDS]
    pages += _section("`hub`", summary(Hub), keys_of(Hub))
    pages += _section("`sources.NAME`", summary(Source), keys_of(Source))
    pages += _section("`connectors.NAME`", "One account at one vendor.", connector_keys(None))
    for name, known in sorted(types.items()):
        if isinstance(known, PluginTypes):
            pages += _plugin(name, known)
    return "\n".join(pages)


def _plugin(name: str, known: PluginTypes) -> list[str]:
    able = ", ".join(known.receives) or "nothing"
    pulled = "it can be pulled" if "pull" in known.methods else "it cannot be pulled"
    fields = "every hub field under its own name" if known.all_fields else "no fields"
    intro = f"Receives {able}; {pulled}. Without `fields` it gets {fields}.\n"
    pages = [f"## Plugin `{name}`\n", intro]
    pages += _section("`settings`", summary(known.settings), keys_of(known.settings), level=3)
    for section in TARGETS:
        target = target_type(known, section)
        if target is None:
            pages.append(f"### `{section}.NAME`\n\nThis plugin has none.\n")
        else:
            pages += _section(f"`{section}.NAME`", summary(target), keys_of(target), level=3)
    return pages


def _section(title: str, text: str, keys: Iterable[Key], *, level: int = 2) -> list[str]:
    rows = [row for key in keys for row in _rows(key, "")]
    head = f"{'#' * level} {title}\n" + (f"\n{text}\n" if text else "")
    if not rows:
        return [head, "No keys; write `{}`.\n"]
    table = "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])
    return [head, table + "\n"]


def _rows(key: Key, before: str) -> list[str]:
    """A key's row; the keys of a Struct in it follow, under its name."""
    name = before + key.name
    inner = _inner_struct(key.kind)
    if inner is None:
        return [_row(name, named(key.kind), _default(key), key.help)]
    struct, mark = inner
    own = keys_of(struct)
    said = key.help or summary(struct)
    rows = [_row(name, named(key.kind), "required" if key.required else "", said)]
    if not before.count(".") > 2 and own and struct not in TARGETS.values():
        rows += [row for each in own for row in _rows(_with_default(each, key), f"{name}{mark}.")]
    return rows


def _with_default(each: Key, outer: Key) -> Key:
    """A key whose default its surroundings set."""
    if isinstance(outer.default, Struct):
        return msgspec.structs.replace(each, required=False, default=getattr(outer.default, each.attribute))
    return each


def _inner_struct(kind: Kind) -> tuple[type[Struct], str] | None:
    """The Struct that a key holds: itself, in a list, or by name."""
    for each in members(kind):
        bare, _ = unwrap(each)
        if is_struct(bare):
            return bare, ""
        for argument in getattr(bare, "__args__", ()):
            if is_struct(argument):
                return argument, "[]" if origin_of(bare) is list else ".NAME"
    return None


def _row(name: str, kind: str, default: str, text: str) -> str:
    return f"| `{name}` | {_cell(kind)} | {default} | {_cell(text)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`").replace("<", "&lt;")


def _default(key: Key) -> str:
    if key.required:
        return "required"
    value: Any = key.default
    if value is None or (is_secret(key.kind) and not value) or value == "":
        return ""
    if isinstance(value, list | dict | tuple | set | frozenset):
        shown = msgspec.json.encode(plain(value)).decode() if value else ""
    else:
        shown = literal(value)
    return f"`{shown}`".replace("|", "\\|") if shown else ""
