"""Cron expressions as operators write them, in the words that APScheduler reads."""

from __future__ import annotations

import re

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAY = rf"[0-7]|{'|'.join(_DAYS)}"


def named_weekdays(expression: str) -> str:
    """Cron counts weekdays from Sunday, APScheduler from Monday: the days' names, one by one, mean the same to both."""
    *rest, weekdays = expression.lower().split()
    if weekdays == "*":
        return expression
    days: set[int] = set()
    for part in weekdays.split(","):
        found = re.fullmatch(rf"(?:\*|({_DAY})(?:-({_DAY}))?)(?:/(\d+))?", part)
        if found is None:
            return expression  # none of cron's: APScheduler says so
        first, last, step = found.groups()
        begin = _day(first) if first else 0
        end = _day(last) if last else (6 if step or not first else begin)
        end += 7 * (end < begin)  # 5-0 and fri-sun go on over the end of the week
        days.update(day % 7 for day in range(begin, end + 1, max(int(step or 1), 1)))
    return " ".join([*rest, ",".join(_DAYS[day] for day in sorted(days))])


def _day(word: str) -> int:
    return int(word) if word.isdigit() else _DAYS.index(word)
