"""A vendor's words without the values that it was sent, which it may quote when it says what is wrong with them."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import msgspec

from .shape import DEEPEST, decoded, fields_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SHORTEST = 3
"""Shorter values, such as a language or a choice, say nothing of anybody, and stand in too many words."""
_TELLING = 100_000
"""Smaller numbers say nothing of anybody."""
_LOOKED_AT = 20_000
INSTEAD = "[value]"


def without_values(words: str, content: Any, more: Iterable[str] = ()) -> str:
    """The words with each text of a body, and each of ``more``, replaced where it stands in them as a whole.

    ``content`` is what the plugin handed over, as for ``shape``. Addresses are left: they are known without this.
    """
    lower = words.lower()
    found = {form for value in _texts(content, more) for form in _forms(value) if form.lower() in lower}
    if not found:
        return words
    longest_first = sorted(found, key=lambda each: (-len(each), each))
    known = "|".join(re.escape(each) for each in longest_first)
    return re.sub(rf"(?<![\w@])(?:{known})(?![\w@])", INSTEAD, words, flags=re.IGNORECASE)


def _texts(content: Any, more: Iterable[str]) -> Iterator[str]:
    if isinstance(content, (bytes, str, msgspec.Raw)):
        content = decoded(content)
    left = _LOOKED_AT
    for value in (*more, *_scalars(content, 0)):
        left -= 1
        if left < 0:
            return
        for part in value.split() if "@" in value else [value.strip()]:
            if len(part) >= SHORTEST and "@" not in part:
                yield part


def _scalars(value: Any, depth: int) -> Iterator[str]:
    fields = fields_of(value)
    if depth > DEEPEST:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and abs(value) >= _TELLING:
        yield str(value)
    elif fields is not None:
        for _, each in fields:
            yield from _scalars(each, depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from _scalars(each, depth + 1)


def _forms(value: str) -> set[str]:
    """A value as it is, and as it looks inside JSON, within JSON that is a text of JSON, and inside a URL."""
    inner = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    return {
        value,
        *inner,
        *(json.dumps(each, ensure_ascii=False)[1:-1] for each in inner),
        html.escape(value),
        quote(value),
        quote_plus(value),
    }
