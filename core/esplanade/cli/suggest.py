"""Which hub field a vendor's field is probably meant for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


def suggestions(fields: Iterable[Mapping[str, Any]], mapped: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Hub field to vendor field, for vendor fields that can be written and are not ``mapped`` yet.

    ``known`` are the hub fields without a place at this vendor. Each is suggested once at most; the vendor's label counts
    as much as its name.
    """
    taken = set(mapped)
    free = {_bare(name): name for name in known}
    found: dict[str, str] = {}
    for field in fields:
        if field["name"] in taken or field.get("read_only"):
            continue
        words = [_bare(field["name"]), _bare(field.get("label") or "")]
        near = next((match for word in words if word for match in get_close_matches(word, free, n=1, cutoff=0.8)), None)
        if near is not None:
            found[free.pop(near)] = field["name"]
    return found


def _bare(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())
