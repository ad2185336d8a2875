"""Words of connectors.yaml that are more than text: durations, rates, shares, secrets, origins.

Each is a class with ``parse``, which takes what the file says and raises ValueError with the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar
from urllib.parse import urlsplit

from msgspec import Struct

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Duration(float):
    """A length of time in seconds, written ``20s``, ``15m``, ``6h``, ``30d`` or ``500ms``."""

    pattern: ClassVar[str] = r"^\d+(\.\d+)?(ms|s|m|h|d)$"
    example: ClassVar[str] = "15m"

    @classmethod
    def parse(cls, text: object) -> Duration:
        """Read a duration; a bare number is refused, because nobody can tell its unit."""
        found = re.match(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$", str(text))
        if not found:
            raise ValueError("expected a duration with its unit, such as 20s, 15m, 6h or 30d")
        return cls(float(found[1]) * _UNITS[found[2]])


class Rate(float):
    """Calls per second, written ``5/s``, ``300/m`` or ``1000/h``."""

    pattern: ClassVar[str] = r"^\d+(\.\d+)?/(s|m|h)$"
    example: ClassVar[str] = "5/s"

    @classmethod
    def parse(cls, text: object) -> Rate:
        """Read a rate; it must be above zero."""
        found = re.match(r"^(\d+(?:\.\d+)?)/(s|m|h)$", str(text))
        if not found or float(found[1]) == 0:
            raise ValueError("expected a rate above zero with its unit, such as 5/s or 300/m")
        return cls(float(found[1]) / _UNITS[found[2]])


class Percent(float):
    """A share between 0 and 1, written ``2%``."""

    pattern: ClassVar[str] = r"^\d+(\.\d+)?%$"
    example: ClassVar[str] = "2%"

    @classmethod
    def parse(cls, text: object) -> Percent:
        """Read a percentage between 0% and 100%."""
        found = re.match(r"^(\d+(?:\.\d+)?)%$", str(text))
        if not found or float(found[1]) > 100:
            raise ValueError("expected a percentage between 0% and 100%, such as 2%")
        return cls(float(found[1]) / 100)


class Secret:
    """Text that never prints: its repr and str are stars. ``reveal`` gives the text to whoever needs it."""

    __slots__ = ("_text",)
    pattern: ClassVar[str] = ""
    example: ClassVar[str] = "${NAME_OF_VARIABLE}"

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def parse(cls, text: object) -> Secret:
        """Take any text or number as it was written."""
        return cls(str(text))

    def reveal(self) -> str:
        """The text itself, for the one place that sends or compares it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def secrets_in(settings: object) -> set[str]:
    """The text of every secret anywhere in settings; empty ones are none."""
    match settings:
        case Secret():
            return {settings.reveal()} if settings else set()
        case Struct():
            return {each for name in settings.__struct_fields__ for each in secrets_in(getattr(settings, name))}
        case list() | tuple():
            return {each for one in settings for each in secrets_in(one)}
        case dict():
            return {each for one in settings.values() for each in secrets_in(one)}
    return set()


LONG_SECRET = 8
"""From so many characters on, text that holds a secret does so by no coincidence."""


def tells_secret(text: str, secrets: Iterable[str]) -> bool:
    """Whether a text is one of these secrets, or holds a long one."""
    return any(text == each or (len(each) >= LONG_SECRET and each in text) for each in secrets)


class Origin(str):
    """A vendor's base URL: http or https, with a host, no user, query or fragment, no slash at the end."""

    __slots__ = ()
    pattern: ClassVar[str] = r"^https?://[^/?#@]+(/[^?#]*)?$"
    example: ClassVar[str] = "https://api.vendor.example"

    @classmethod
    def parse(cls, text: object) -> Origin:
        """Read a URL; whether its host may be reached is judged with ``hub.egress``."""
        raw = str(text).rstrip("/")
        try:
            parts = urlsplit(raw)
            port_ok = parts.port is None or parts.port > 0
        except ValueError:
            parts, port_ok = urlsplit(""), False
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or not port_ok:
            raise ValueError("expected a URL such as https://api.vendor.example, without user name, query or fragment")
        if parts.query or parts.fragment:
            raise ValueError("expected a URL without query or fragment")
        return cls(raw)
