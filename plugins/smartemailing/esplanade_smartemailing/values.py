"""Between the hub's values and those of a SmartEmailing contact. Pure: no I/O, no clock.

A contact's own keys are texts; a custom field takes a text, or ids of options where its type has some (section 5).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from esplanade import PermanentError, as_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esplanade import Value

    from .settings import SmartEmailingSettings

LOCAL = "%Y-%m-%d %H:%M:%S"
"""How the vendor writes a time (section 1)."""
DATES = ("nameday", "birthday")
"""A contact's own keys that hold a date."""
SEEN = ("blacklisted", "softbounced", "hardbounced", "is_confirmed")
"""Flags of a contact that can be read, 0 or 1 (section 5)."""
SEEN_TIMES = ("created", "updated", "last_opened", "last_clicked")
READ_ONLY = ("emailaddress", "id", "guid", "domain", "realname", *SEEN, *SEEN_TIMES)
"""A contact's keys that no import sets."""
WITH_OPTIONS = ("checkbox", "radio", "select")
"""Types of custom fields whose values are options (section 4)."""
MAX_BYTES = 64 * 1024
"""The most that one custom field holds (section 5)."""
_MOST_DIGITS = 400
_YES, _NO = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})


class CustomField(Struct, frozen=True, kw_only=True):
    """A custom field of the account."""

    id: int
    name: str
    type: str
    options: dict[str, int] = field(default_factory=dict)
    """Ids by name, in the vendor's order."""


# To the vendor.


def own(name: str, value: Value, settings: SmartEmailingSettings) -> str | None:
    """A contact's own key as an import takes it. Raises PermanentError where it cannot be said so."""
    if value is None or value == "" or value == []:
        return None if name == "gender" else cleared(settings)  # it is M, F or null, and never empty
    if name in DATES:
        return _written(_moment(name, value, settings.esp_timezone))[:10] + " 00:00:00"
    text = _text(value)
    match name:
        case "gender":
            letter = text.strip().upper()
            if letter not in {"M", "F"}:
                raise PermanentError("gender: SmartEmailing knows M and F; clear the field for anybody else")
            return letter
        case "language":
            return text.strip().replace("-", "_")
        case _:
            return text


def custom(field: CustomField, value: Value, settings: SmartEmailingSettings) -> dict[str, Any]:
    """A custom field as an import takes it. Raises PermanentError where it cannot be said so."""
    if field.type in WITH_OPTIONS:
        return {"id": field.id, "options": _options(field, value)}
    if value is None or value == "" or value == []:
        return {"id": field.id, "value": cleared(settings)}
    match field.type:
        case "date":
            text = _written(_moment(field.name, value, settings.esp_timezone))
        case "bool":
            text = _flag(field.name, value)
        case "numeric":
            text = _plain_number(field.name, value)
        case _:
            text = _text(value)
    if len(text.encode()) > MAX_BYTES:
        raise PermanentError(f"{field.name}: a custom field holds 64 KB at most; shorten the value, or do not map it")
    return {"id": field.id, "value": text}


def cleared(settings: SmartEmailingSettings) -> str | None:
    """What is written to empty a field."""
    return "" if settings.clear_value == "empty" else None


def local(moment: datetime, zone: str) -> str:
    """A moment as the vendor writes it."""
    return _written(moment.astimezone(ZoneInfo(zone)))


def _written(moment: datetime) -> str:
    """With four digits of the year, which strftime does not see to."""
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="seconds")


def _text(value: Value) -> str:
    return as_text(value, true="1", false="0", separator=", ")


def _flag(name: str, value: Value) -> str:
    word = _text(value).strip().lower()
    if word in _YES or word in _NO:
        return "1" if word in _YES else "0"
    raise PermanentError(
        f"{name}: takes yes or no, such as true and false; correct the value, or the field it is mapped to"
    )


def _plain_number(name: str, value: Value) -> str:
    """Digits with at most a point, never an exponent."""
    text = _text(value).strip()
    if re.fullmatch(r"-?\d+(\.\d+)?", text, re.ASCII):
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS:
        raise PermanentError(f"{name}: takes a number such as 24.5; correct the value, or the field it is mapped to")
    return format(number, "f")


def _moment(name: str, value: Value, zone: str) -> datetime:
    """A date or time on the vendor's clock."""
    try:
        moment = datetime.fromisoformat(_text(value).strip())
    except ValueError:
        raise PermanentError(
            f"{name}: takes a date such as 1990-12-10, or a time such as 2026-01-15T10:00:00Z"
        ) from None
    try:
        return moment if moment.tzinfo is None else moment.astimezone(ZoneInfo(zone))
    except OverflowError:
        raise PermanentError(f"{name}: the date is out of range; correct the value") from None


def _options(field: CustomField, value: Value) -> list[int]:
    """The ids of the options that a value names: a list, one name, or several with commas between."""
    if value is None or value == "":
        return []
    wanted: Iterable[Any] = value if isinstance(value, list) else [value]
    found: list[int] = []
    for each in wanted:
        text = _text(each).strip()
        names = [text] if _option(field, text) is not None else [part.strip() for part in text.split(",")]
        found += [_require_option(field, name) for name in names if name]
    if field.type != "checkbox" and len(set(found)) > 1:
        raise PermanentError(f"{field.name}: takes one option, and the value names several; map it to a checkbox field")
    return list(dict.fromkeys(found))


def _option(field: CustomField, name: str) -> int | None:
    """The id of an option: the one that is called so to the letter, else one whose name differs in case."""
    alike = {each.strip().lower(): number for each, number in reversed(field.options.items())}
    return field.options.get(name, alike.get(name.lower()))


def _require_option(field: CustomField, name: str) -> int:
    number = _option(field, name)
    if number is None:
        raise PermanentError(
            f"{field.name}: SmartEmailing has no such option there, only {', '.join(field.options) or 'none at all'}; "
            "add it there, or send one of these"
        )
    return number


# From the vendor.


def shown_own(name: str, held: object, zone: str) -> Value:
    """A contact's own key as the hub takes it; None where it is empty."""
    if held is None or held == "":
        return None
    if name in SEEN:
        return str(held) not in {"0", "False"}
    if name in SEEN_TIMES:
        return _shown_moment(str(held), zone)
    if name in DATES:
        return str(held)[:10]
    return held if isinstance(held, str | int | float) else None


def knows(field: CustomField, held: list[dict[str, Any]]) -> bool:
    """Whether all options that a contact has of a custom field are known; one may have been added since they were read."""
    known = set(map(str, field.options.values()))
    return field.type not in WITH_OPTIONS or all(str(each.get("customfield_options_id")) in known for each in held)


def shown_custom(field: CustomField, held: list[dict[str, Any]], zone: str) -> Value:
    """A custom field as the hub takes it, from the rows that a contact has of it: one, or one for each option."""
    if field.type in WITH_OPTIONS:
        chosen = {str(each.get("customfield_options_id")) for each in held}
        names = [name for name, number in field.options.items() if str(number) in chosen]
        if field.type == "checkbox":
            return list(names) or None
        return names[0] if names else None
    text = next((str(each["value"]) for each in held if each.get("value") not in {None, ""}), None)
    if text is None:
        return None
    match field.type:
        case "date":
            return _shown_moment(text, zone)
        case "bool":
            return text.strip().lower() in _YES
        case "numeric":
            return _number(text)
        case _:
            return text


def _shown_moment(text: str, zone: str) -> str:
    """A local time as a moment in UTC, a midnight as a date; whatever else the vendor shows, as it is."""
    try:
        moment = datetime.strptime(text, LOCAL)  # noqa: DTZ007 - its zone is the setting's
    except ValueError:
        return text
    if moment.time() == time():
        return moment.date().isoformat()
    # of an hour that comes twice, the second
    return moment.replace(tzinfo=ZoneInfo(zone), fold=1).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _number(text: str) -> Value:
    if re.fullmatch(r"[+-]?\d{1,15}", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"[+-]?\d{1,15}\.\d{1,15}", text, re.ASCII):
        return float(text)
    return text
