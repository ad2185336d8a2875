"""Writing rows by the dozen: one step of SQLite for up to 64 of them.

Every step lets go of the interpreter's lock, and a thread that lets go of it while another is busy gets it back late. So what
counts beside a busy event loop is how many steps there are, hardly how much each of them does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

_AT_ONCE = (64, 16, 4, 1)
"""Few sizes, so that every statement stays prepared."""


class Many:
    """A statement for any number of rows: ``head`` VALUES (…), (…) ``tail``."""

    def __init__(self, head: str, columns: int, tail: str = "") -> None:
        row = f"({', '.join('?' * columns)})"
        self._statements = [(size, f"{head} VALUES {', '.join([row] * size)} {tail}") for size in _AT_ONCE]

    def write(self, db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """Write them in order; the row id of the last one."""
        at, last = 0, 0
        for size, statement in self._statements:
            while len(rows) - at >= size:
                values = tuple(chain.from_iterable(rows[at : at + size]))
                last = db.execute(statement, values).lastrowid or 0
                at += size
        return last
