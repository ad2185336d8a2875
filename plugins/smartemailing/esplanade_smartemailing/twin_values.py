"""Values as the twin takes and shows them: addresses, times, a contact's own keys, custom fields. Pure.

What the vendor takes is told in section 5 of the fact sheet; what it makes of the rest is not published, so the twin refuses it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")

SIMPLE = ("text", "textarea", "date", "bool", "numeric")
"""Types of custom fields that hold one value (section 4; bool and numeric are the newer ones)."""
COMPOSITE = ("checkbox", "radio", "select")
"""Types of custom fields whose values are ids of options (section 4)."""
MAX_VALUE_BYTES = 64 * 1024
"""The most that one custom field holds (section 5)."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_LOCAL_PART = re.compile(r"[\w+'-]+(\.[\w+'-]+)*")
_DOMAIN = re.compile(r"[^@\s.]+(\.[^@\s.]+)+")
_LANGUAGE = re.compile(r"[a-z]{2}_[A-Z]{2}")


class RefusedError(Exception):
    """The vendor's no: a status (422 where a value is not valid, section 9) and the words of its ``message``."""

    def __init__(self, message: str, status: int = 422) -> None:
        self.message = message
        self.status = status
        super().__init__(message)


def read_as(kind: type[T], body: Any) -> T:
    """A body, or a part of it, as a Struct; types must be right to the letter, and no other keys may stand in it."""
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as why:
        raise RefusedError(str(why)) from None


# Addresses and times.


def is_address(text: str) -> bool:
    """Whether the vendor takes a text as an e-mail address. It is stricter than most: no dots at the ends or in a row, and before
    the @ no signs but these: ``. _ + - '``."""
    local, _, domain = text.rpartition("@")
    return len(text) <= 254 and bool(_LOCAL_PART.fullmatch(local) and _DOMAIN.fullmatch(domain))


def address_of(text: str) -> str:
    """An address that is valid, or 422 with the vendor's own words (sections 9 and 10)."""
    if not is_address(text):
        raise RefusedError(f"Emailaddress {text} is not valid email address.")
    return text


def local(at: float, zone: tzinfo) -> str:
    """A time as the vendor shows it: its own local one, without saying so (section 1)."""
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


def instant(text: str, key: str, zone: tzinfo) -> float:
    """A time as the vendor reads it; 422 unless it is ``YYYY-MM-DD HH:MM:SS``."""
    try:
        if _TIME.fullmatch(text):
            return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=zone).timestamp()
    except ValueError:
        pass
    raise RefusedError(f"Value of {key} must be in format YYYY-MM-DD HH:MM:SS.")


# A contact's own keys.


def built_in(key: str, value: Any) -> str | None:
    """What a contact's own key holds once ``value`` is written to it; None and the empty text are left as they are."""
    if value is None or value == "":
        return None if value is None else ""
    if not isinstance(value, str):
        raise RefusedError(f"Value of {key} must be a string.")
    if key == "gender" and value not in {"M", "F"}:
        raise RefusedError("Value of gender must be M, F or null.")
    if key == "language" and not _LANGUAGE.fullmatch(value):
        raise RefusedError("Value of language must be a locale such as cs_CZ.")
    if key in {"nameday", "birthday"}:
        instant(value, key, UTC)
        return value[:10]  # the time of day is lost, as the samples of read contacts show
    return value


def derived(name: str, wanted: Mapping[str, bool]) -> dict[str, str]:
    """Nameday, gender and salutation that the vendor works out from a first name (section 5). The rules are the twin's own."""
    is_woman = name.endswith(("a", "e", "á", "ie"))
    day = sum(name.encode()) % 28 + 1
    found = {"nameday": f"2012-{day % 12 + 1:02}-{day:02}", "gender": "F" if is_woman else "M", "salution": f"{name}!"}
    return {key: value for key, value in found.items() if wanted[key]}


# Custom fields.


def simple(kind: str, field: int, value: Any) -> str:
    """The value of a custom field that holds one: a string, "0" for a false one, dates with their time (section 5)."""
    if not isinstance(value, str):
        raise RefusedError(f"Value of customfield {field} must be a string.")
    if len(value.encode()) > MAX_VALUE_BYTES:
        raise RefusedError(f"Value of customfield {field} is larger than 64 KB.")
    if value == "":
        return value
    if kind == "date":
        instant(value, f"customfield {field}", UTC)
    if kind == "bool" and value not in {"0", "1"}:
        raise RefusedError(f"Value of customfield {field} must be 0 or 1.")
    if kind == "numeric" and not re.fullmatch(r"-?\d+(\.\d+)?", value):
        raise RefusedError(f"Value of customfield {field} must be a number.")
    return value


def composite(kind: str, field: int, options: Any, known: Sequence[int]) -> list[int]:
    """The chosen options of a custom field, by their ids; only a checkbox holds several."""
    if not isinstance(options, list) or not all(type(each) is int for each in options):
        raise RefusedError(f"Options of customfield {field} must be an array of ids.")
    unknown = [each for each in options if each not in known]
    if unknown:
        raise RefusedError(f"Customfield {field} has no option {unknown[0]}.")
    if kind != "checkbox" and len(options) > 1:
        raise RefusedError(f"Customfield {field} takes one option.")
    return list(dict.fromkeys(options))
