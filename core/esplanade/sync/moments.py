"""When two texts are the same date or time, in ISO 8601 or in a form that a vendor is known to give them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from msgspec import Struct

from esplanade.model import Alters, ValueType

_ISO = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII | re.IGNORECASE
)
_DIGIT = re.compile(r"[0-9]")
_LONGEST = 64
_MIDNIGHT = time()
_NO_RULES = (Alters(),)


class Reading(Struct, frozen=True):
    """One way to read a text as a date or time."""

    at: datetime
    """With the zone that the text names, if any."""
    form: str | None
    """The vendor's form that it has, which may show less than the moment; None for ISO 8601."""
    local: datetime
    """The same at the vendor's clock on the wall, without a zone."""


def same_moment(one: str, other: str, alters: Mapping[ValueType, Alters]) -> bool | None:
    """Whether two texts are the same date or time to a vendor; None when they are not both one."""
    if len(one) > _LONGEST or len(other) > _LONGEST or not (_DIGIT.search(one) and _DIGIT.search(other)):
        return None
    days, times = alters.get("date"), alters.get("datetime")
    both = False
    for rules in [each for each in (days, times) if each is not None] or _NO_RULES:
        firsts = list(_readings(one, rules))
        seconds = list(_readings(other, rules)) if firsts else []
        for first in firsts:
            for second in seconds:
                both = True
                by_day = rules.only_date and (rules is times or _is_day(first) or _is_day(second))
                if _agree(first, second) or (by_day and _same_day(first, second)):
                    return True
    return False if both else None


def _readings(text: str, rules: Alters) -> Iterator[Reading]:
    if _ISO.fullmatch(text):
        found = _read(text, None, rules)
        if found is not None:
            yield found
    for form in rules.formats:
        found = _read(text, form, rules)
        if found is not None:
            yield found


def _read(text: str, form: str | None, rules: Alters) -> Reading | None:
    try:
        at = _iso(text) if form is None else datetime.strptime(text, form)  # noqa: DTZ007 - few forms name a zone
    except (ValueError, OverflowError):
        return None
    return Reading(at, form, _local(at, rules.timezone))


def _iso(text: str) -> datetime:
    return datetime.fromisoformat(text.upper())


def _local(at: datetime, zone: str) -> datetime:
    try:
        return at.replace(tzinfo=None) if at.tzinfo is None else at.astimezone(_zone(zone)).replace(tzinfo=None)
    except OverflowError:  # within a day of the first or the last year
        return at.replace(tzinfo=None)


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _agree(one: Reading, other: Reading) -> bool:
    if one.at.tzinfo is not None and other.at.tzinfo is not None:
        if one.at == other.at:
            return True
    elif one.local == other.local:
        return True
    return any(_shown(one, form) == _shown(other, form) for form in (one.form, other.form) if form is not None)


def _shown(reading: Reading, form: str) -> str:
    return reading.local.strftime(form)


def _same_day(one: Reading, other: Reading) -> bool:
    """Whether the day is the same at the vendor, or as it was written, for one that just cuts off the time."""
    return one.local.date() == other.local.date() or one.at.date() == other.at.date()


def _is_day(reading: Reading) -> bool:
    return _MIDNIGHT in {reading.at.time(), reading.local.time()}
