"""Between the hub's values and those of Copernica's fields. Pure: no I/O, no clock.

Everything comes back as text, whatever it was sent as (fact 5), so values leave as text too, and what was sent and what is read
later are the same. Times carry no zone and are local (fact 5).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from esplanade import as_text

from .client import Row, field_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esplanade import State, Value

    from .settings import CopernicaConsent

LOCAL = "%Y-%m-%d %H:%M:%S"
DATES = {"date", "empty_date", "datetime", "empty_datetime"}
NUMBERS = {"integer", "float"}
EMPTY_DATES = {"0000-00-00", "0000-00-00 00:00:00"}
"""What an unset or unreadable date looks like (fact 5)."""


def text_of(value: object) -> str:
    """Any JSON value as a field takes it."""
    return as_text(value, true="1", false="0")


def as_fields(values: Mapping[str, Value], types: Mapping[str, str], zone: str) -> dict[str, str]:
    """The body of a write: each value as a field of its type takes it. ``types`` are the vendor's, by field."""
    return {name: stored(value, types.get(name, ""), zone) for name, value in values.items()}


def stored(value: Value, kind: str, zone: str) -> str:
    """A value as a field takes it: a date that the vendor could not read would be lost there (fact 5)."""
    text = text_of(value)
    if kind not in DATES or not isinstance(value, str):
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    if moment.tzinfo is not None:
        moment = moment.astimezone(ZoneInfo(zone))
    return moment.strftime(LOCAL if kind.endswith("datetime") else "%Y-%m-%d")


def acknowledged(
    sent: Mapping[str, Value], written: Mapping[str, str], types: Mapping[str, str]
) -> dict[str, Value] | None:
    """Where Copernica holds a value, of those that were written, in another form than the hub sent it; None when nowhere.

    A number cannot be empty there: it is 0 (fact 5).
    """
    held: dict[str, Value] = {
        name: text or ("0" if types.get(name) in NUMBERS else None) for name, text in written.items()
    }
    return {name: value for name, value in held.items() if value != sent[name]} or None


def default_of(field: Row) -> str | None:
    """What a field holds in a profile that was made without it; None where that is nothing (fact 5)."""
    value, kind = str(field.get("value") or ""), field.get("type")
    if kind == "select":
        return next((line.removesuffix("*") for line in value.splitlines() if line.endswith("*")), None)
    if kind in NUMBERS:
        return value or "0"
    return value if value and value not in EMPTY_DATES else None


def shown(row: Row, names: Iterable[str]) -> dict[str, Value]:
    """The wanted fields that a row shows; an empty one, or a date that was never set, is None."""
    found: dict[str, Value] = {}
    for name in names:
        value = field_of(row, name)
        if value is not None:
            found[name] = None if value == "" or value in EMPTY_DATES else value
    return found


def local(moment: datetime, zone: str) -> str:
    """A moment as the vendor writes it."""
    return moment.astimezone(ZoneInfo(zone)).strftime(LOCAL)


def moment_of(text: object, zone: str) -> datetime | None:
    """The moment that a local time of the vendor means; of an hour that comes twice, the second. None: it is none."""
    if not isinstance(text, str):
        return None
    try:
        naive = datetime.strptime(text, LOCAL)  # noqa: DTZ007 - its zone is the setting's
    except ValueError:
        return None
    return naive.replace(tzinfo=ZoneInfo(zone), fold=1).astimezone(UTC)


def state_of(text: str | None, target: CopernicaConsent) -> State | None:
    """What a consent field says: granted, denied or pending; None where it says nothing (fact 9.4)."""
    said = (text or "").strip().lower()
    states: list[tuple[str | None, State]] = [
        (target.denied, "denied"),
        (target.granted, "granted"),
        (target.pending, "pending"),
    ]
    for value, state in states:
        if value is not None and said == value.strip().lower() and said != target.unknown.strip().lower():
            return state
    return None
