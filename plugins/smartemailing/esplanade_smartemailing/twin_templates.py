"""Templates of e-mails and of scenarios' webhooks: dynamic fields and template scripts (sections 7 and 8b). Pure.

Known are ``{{df_name}}`` and script blocks such as ``{% if df_gender == 'M' %}``, ``{% elseif %}``, ``{% else %}``;
``{% for each in event.products %}``, and ``{{df_name|json}}`` for a value with its quotation marks, are the twin's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import msgspec

Escaping = Literal["none", "json", "form", "xml", "url"]
_TOKEN = re.compile(r"\{\{(.*?)\}\}|\{%(.*?)%\}", re.DOTALL)
_PATH = re.compile(r"[^.\[\]]+")
_ESCAPES: dict[str, Callable[[str], str]] = {
    "none": str,
    "json": lambda text: msgspec.json.encode(text).decode()[1:-1],
    "form": quote_plus,
    "xml": lambda text: escape(text, {'"': "&quot;"}),
    "url": lambda text: quote(text, safe=""),
}
Node = tuple[str, Any]


class TemplateError(ValueError):
    """A template that cannot be read: a block without its end, or an end without its block."""


def render(template: str, values: Mapping[str, Any], escaping: Escaping = "none") -> str:
    """A template with its values filled in; what there is no value for is empty."""
    nodes, left = _block(iter(_tokens(template)))
    if left:
        raise TemplateError(f"{{% {left} %}} ends no block")
    return _text(nodes, values, _ESCAPES[escaping])


def form_of(words: Mapping[str, str], content_type: str) -> str:
    """A template of a body that carries these words, each a template itself, in one of the content types of the guide."""
    if content_type.endswith("json"):
        return "{" + ",".join(f'"{key}":"{word}"' for key, word in words.items()) + "}"
    if content_type.endswith("x-www-form-urlencoded"):
        return "&".join(f"{key}={word}" for key, word in words.items())
    if content_type.endswith("xml"):
        inside = "".join(f"<{key}>{word}</{key}>" for key, word in words.items())
        return f'<?xml version="1.0" encoding="utf-8"?><webhook>{inside}</webhook>'
    return "\n".join(f"{key}: {word}" for key, word in words.items())


def escaping_of(content_type: str) -> Escaping:
    """What makes a value fit for a content type."""
    if content_type.endswith("json"):
        return "json"
    if content_type.endswith("x-www-form-urlencoded"):
        return "form"
    return "xml" if content_type.endswith("xml") else "none"


# Reading.


def _tokens(template: str) -> Iterator[Node]:
    at = 0
    for found in _TOKEN.finditer(template):
        yield "text", template[at : found.start()]
        yield ("value", found[1].strip()) if found[1] is not None else ("block", found[2].strip())
        at = found.end()
    yield "text", template[at:]


def _block(tokens: Iterator[Node]) -> tuple[list[Node], str]:
    """Nodes up to a block word that belongs to an outer block; empty where the template ends."""
    nodes: list[Node] = []
    for kind, said in tokens:
        if kind != "block":
            nodes.append((kind, said))
            continue
        word, _, rest = said.partition(" ")
        if word == "if":
            nodes.append(("if", _branches(tokens, rest)))
        elif word == "for":
            name, _, path = rest.partition(" in ")
            inside, left = _block(tokens)
            if left != "endfor":
                raise TemplateError(f"{{% for {rest} %}} has no endfor")
            nodes.append(("for", (name.strip(), path.strip(), inside)))
        elif word in {"elseif", "else", "endif", "endfor"}:
            return nodes, said
        else:
            raise TemplateError(f"{{% {said} %}} is no block")
    return nodes, ""


def _branches(tokens: Iterator[Node], condition: str) -> list[tuple[str, list[Node]]]:
    branches = []
    while True:
        inside, left = _block(tokens)
        branches.append((condition, inside))
        word, _, rest = left.partition(" ")
        if word == "endif":
            return branches
        if word not in {"elseif", "else"}:
            raise TemplateError(f"{{% if {condition} %}} has no endif")
        condition = rest if word == "elseif" else "true"


# Filling in.


def _text(nodes: list[Node], values: Mapping[str, Any], escape_: Callable[[str], str]) -> str:
    return "".join(_piece(kind, said, values, escape_) for kind, said in nodes)


def _piece(kind: str, said: Any, values: Mapping[str, Any], escape_: Callable[[str], str]) -> str:
    if kind == "text":
        return str(said)
    if kind == "value":
        path, _, filter_ = said.partition("|")
        value = look_up(path.strip(), values)
        return msgspec.json.encode(value).decode() if filter_.strip() == "json" else escape_(shown(value))
    if kind == "for":
        name, path, inside = said
        found = look_up(path, values)
        items = found if isinstance(found, list) else []
        return "".join(
            _text(inside, {**values, name: each, "loop": {"first": at == 0, "last": at == len(items) - 1}}, escape_)
            for at, each in enumerate(items)
        )
    inside = next((nodes for condition, nodes in said if _holds(condition, values)), [])
    return _text(inside, values, escape_)


def _holds(condition: str, values: Mapping[str, Any]) -> bool:
    for sign, wanted in (("==", True), ("!=", False)):
        left, found, right = condition.partition(sign)
        if found:
            return (_operand(left.strip(), values) == _operand(right.strip(), values)) is wanted
    is_not = condition.startswith("not ")
    value = True if condition == "true" else look_up(condition.removeprefix("not ").strip(), values)
    return bool(value) is not is_not


def _operand(text: str, values: Mapping[str, Any]) -> str:
    return text[1:-1] if text[:1] in {"'", '"'} else shown(look_up(text, values)) if not text.isdecimal() else text


def look_up(path: str, values: Any) -> Any:
    """What a path such as ``event.products[0].name`` leads to; None where it leads nowhere."""
    for part in _PATH.findall(path):
        if isinstance(values, list) and part.isdecimal():
            values = values[int(part)] if int(part) < len(values) else None
        else:
            values = values.get(part) if isinstance(values, Mapping) else None
    return values


def shown(value: Any) -> str:
    """A value as a template prints it: nothing for null and false, 1 for true, JSON for what holds more than one."""
    if value is None or value is False:
        return ""
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    return "1" if value is True else str(value)
