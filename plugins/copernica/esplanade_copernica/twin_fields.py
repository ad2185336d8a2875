"""Fields, values and filters of the twin: what Copernica makes of a value, and which records a filter finds. Pure.

Facts are of section 5 of the vendor's documentation (rest-fields, rest-fields-parameter) and of the behaviour notes of a
client library; what is only inferred says so.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

ZONE = ZoneInfo("Europe/Amsterdam")
DATES = ("date", "empty_date", "datetime", "empty_datetime")
TEXTS = ("text", "email", "phone", "phone_fax", "phone_gsm", "select", "big", "foreign_key")
FIELD_TYPES = frozenset(("integer", "float", *DATES, *TEXTS))
_NUMBER = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d:\d\d))?")
_CONDITION = re.compile(r"([^=<>!~]+)(==|!=|<>|<=|>=|=~|!~|<|>)(.*)", re.DOTALL)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


class RefusedError(Exception):
    """The vendor's no: the words of its ``error.message``, nearly always with status 400."""

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        self.message = message
        super().__init__(message)


class Field(Struct, kw_only=True):
    """A field of a database or of a collection. ``value`` is the default; of a select, its choices, one a line."""

    id: int
    name: str
    type: str = "text"
    value: str = ""
    displayed: bool = True
    ordered: bool = False
    length: int = 255
    textlines: int = 1
    hidden: bool = False
    index: bool = False

    def choices(self) -> list[str]:
        """The choices of a select, without the star of the default."""
        return [line.removesuffix("*") for line in self.value.splitlines()]

    def default(self) -> str:
        """What a new record holds: of a select the starred choice, of a date without one its empty value."""
        if self.type == "select":
            return next((line.removesuffix("*") for line in self.value.splitlines() if line.endswith("*")), "")
        return stored(self, self.value)


def local(seconds: float) -> str:
    """A time as the vendor writes it: local, without zone."""
    return datetime.fromtimestamp(int(seconds), ZONE).strftime("%Y-%m-%d %H:%M:%S")


def http_date(seconds: float) -> str:
    """A time as a ``Date`` header has it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def as_text(value: Any) -> str:
    """A value of a body as text: true is 1; false, null, lists and objects are empty."""
    if isinstance(value, bool):
        return "1" if value else ""
    return str(value) if isinstance(value, str | int | float) else ""


def stored(field: Field, value: Any) -> str:
    """What the field holds once ``value`` was written to it.

    Text and addresses are neither trimmed nor checked; that a text is cut at the field's length is inferred. Numbers that are
    none become 0; a choice that is not in the list becomes empty; dates other than ``YYYY-MM-DD`` with or without
    ``HH:MM:SS`` become empty or zeros, by type.
    """
    text = as_text(value)
    match field.type:
        case "integer" | "float":
            return _number(text, field.type)
        case "select":
            return text if text in field.choices() else ""
        case "date" | "empty_date" | "datetime" | "empty_datetime":
            return _moment(text, field.type)
        case "text":
            return text[: field.length]
        case _:
            return text


def _number(text: str, kind: str) -> str:
    found = _NUMBER.match(text)
    number = float(found[1]) if found else 0.0
    return str(int(number)) if kind == "integer" or number == int(number) else str(number)


def _moment(text: str, kind: str) -> str:
    has_time = kind.endswith("datetime")
    found = _MOMENT.fullmatch(text)
    try:
        moment = datetime.fromisoformat(f"{found[1]} {found[2] or '00:00:00'}" if found else "")
    except ValueError:
        zeros = "0000-00-00 00:00:00" if has_time else "0000-00-00"
        return "" if kind.startswith("empty") else zeros
    return moment.strftime("%Y-%m-%d %H:%M:%S" if has_time else "%Y-%m-%d")


def named(fields: list[Field], name: str) -> Field | None:
    """A field by name, without regard to case."""
    return next((each for each in fields if each.name.lower() == name.lower()), None)


def written(fields: list[Field], values: dict[str, Any]) -> dict[str, str]:
    """What a body's values come to: unknown names left out, of two spellings of one field the later."""
    known = ((named(fields, name), value) for name, value in values.items())
    return {field.name: stored(field, value) for field, value in known if field is not None}


class Condition(Struct, frozen=True, kw_only=True):
    """One ``fields[]``: a field or pseudo field, a comparison, a value."""

    field: str
    """The field's name as the database spells it, or ``id``, ``code``, ``modified``."""
    pseudo: bool
    numeric: bool
    comparison: str
    value: str

    def holds(self, text: str) -> bool:
        """Whether a record that has ``text`` there is found. Texts are compared without regard to case (inferred)."""
        if self.comparison in {"=~", "!~"}:
            pattern = re.escape(self.value).replace("%", ".*").replace("_", ".")
            found = re.fullmatch(pattern, text, re.IGNORECASE | re.DOTALL) is not None
            return found == (self.comparison == "=~")
        compare = _COMPARE[self.comparison]
        if self.numeric:
            return compare(float(_number(text, "float")), float(_number(self.value, "float")))
        return compare(text.lower(), self.value.lower())

    def of_number(self) -> Callable[[float], bool] | None:
        """The same for what is a number already; None where it asks for a pattern."""
        compare = _COMPARE.get(self.comparison)
        wanted = float(_number(self.value, "float"))
        return None if compare is None else lambda number: bool(compare(number, wanted))


def condition(fields: list[Field], text: str) -> Condition | None:
    """Read one ``fields[]``. None where it is empty or its field unknown: the vendor passes over those, and finds everything.

    A field of the database comes before the pseudo field of the same name. Spaces around the comparison belong to the
    field or to the value.
    """
    parts = _CONDITION.fullmatch(text)
    if parts is None:
        return None
    name, comparison, value = parts.groups()
    field = named(fields, name)
    if field is not None:
        numeric = field.type in {"integer", "float"}
        return Condition(field=field.name, pseudo=False, numeric=numeric, comparison=comparison, value=value)
    if name in {"id", "code", "modified"}:
        return Condition(field=name, pseudo=True, numeric=name == "id", comparison=comparison, value=value)
    return None
