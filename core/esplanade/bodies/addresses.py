"""E-mail addresses in what somebody wrote. Whether one is valid to the last letter is judged where people are told apart."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .paths import Tree

MAX_ADDRESS = 254
_NOT = r"\s\x00-\x1f\x7f\ufffd@<>\"(),;:\\\[\]"  # no address has these without quotation marks around them
_HOST = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_DOMAIN = rf"{_HOST}(?:\.{_HOST}){{1,20}}"
_WHOLE = re.compile(rf"[^{_NOT}]{{1,64}}@{_DOMAIN}")
# Where text surrounds it, signs that an address hardly has but that stand beside one in URLs, templates and tables end it too.
# Not so where a letter stands before it, as in o'brien@…: the rest of an address is another one.
# Words are looked at only where they begin, so the time is that of one reading however the text is made.
_EDGE = rf"{_NOT}=&?/|{{}}`'*"
_WITHIN = re.compile(rf"(?<![^{_EDGE}])(?<!@)(?<!\w['`*{{|}}])[^{_EDGE}]{{1,64}}+@{_DOMAIN}(?![\w@-])")
_NAMED = re.compile(r"<([^<>]*)>\s*$")


def address_in(value: Tree) -> str | None:
    """The address that a value is: without blanks, ``mailto:`` and the name of ``Ada <ada@…>``; None where it is none."""
    if not isinstance(value, str) or "@" not in value or len(value) > 4 * MAX_ADDRESS:
        return None
    text = value.strip()
    if named := _NAMED.search(text):
        text = named[1].strip()
    if text[:7].lower() == "mailto:":
        text = text[7:].partition("?")[0].strip()
    return text if len(text) <= MAX_ADDRESS and _WHOLE.fullmatch(text) else None


def addresses_in(tree: Tree) -> list[str]:
    """Every address anywhere in a tree, in keys too, each once whatever its case."""
    found: dict[str, str] = {}
    for text in _texts(tree):
        if whole := address_in(text):
            found.setdefault(whole.lower(), whole)
            continue
        for each in _WITHIN.findall(text) if "@" in text else ():
            if len(each) <= MAX_ADDRESS:
                found.setdefault(each.lower(), each)
    return list(found.values())


def _texts(tree: Tree) -> Iterator[str]:
    match tree:
        case str():
            yield tree
        case list():
            for each in tree:
                yield from _texts(each)
        case dict():
            for key, each in tree.items():
                yield key
                yield from _texts(each)
