"""Scripted misbehaviour of a vendor: which requests go wrong, how, and how often."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct, field

Action: TypeAlias = Literal["before", "after", "cut-before", "cut-after", "hang", "hang-after", "pass"]


class Fault(Struct, kw_only=True, forbid_unknown_fields=True):
    """One thing that goes wrong. The first fault with turns left whose ``match`` is found in ``METHOD /path?query`` applies.

    ``before``: the vendor answers ``status`` and does nothing. ``after``: it acts, then answers ``status`` all the same, unless
    that is a success and it refuses. ``cut-before`` and ``cut-after`` close the connection instead; ``hang`` never answers,
    before acting; ``hang-after`` acts and never answers. ``delay_s`` waits first and, with ``pass``, is all that happens.
    """

    match: str = ""
    action: Action = "before"
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    echo: bool = False
    """Whether the body quotes the request with its headers, as a vendor does who debugs in public."""
    delay_s: float = 0.0
    times: int | None = 1
    """How many requests it hits; None for all from now on."""
    skip: int = 0
    """How many matching requests pass unharmed first."""

    def hits(self, line: str) -> bool:
        """Whether this fault applies to a request, using up one of its turns if so."""
        if self.times == 0 or not re.search(self.match, line):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


def load_faults(path: Path) -> list[Fault]:
    """Read a list of faults from a JSON file. Raises msgspec.ValidationError naming the place of a mistake."""
    return msgspec.json.decode(path.read_bytes(), type=list[Fault])
