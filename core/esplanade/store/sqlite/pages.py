"""The free space within the pages of the SQLite file.

With ``secure_delete`` SQLite overwrites what is deleted, but when rows move from one page to another it leaves their copies in
the space that falls free. No statement reaches them, short of writing the whole file anew. Nothing reads that space either, so it
may be overwritten where it lies (https://www.sqlite.org/fileformat2.html#b_tree_pages).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

_HEADERS = {2: 12, 5: 12, 10: 8, 13: 8}
"""Bytes of a page's header by its first byte: interior and leaf pages of indexes and tables."""
_FIRST = 100
"""Bytes of the file's own header, on its first page."""


class Pages:
    """The pages of one file. The descriptor stays open as long as the store: closing any would drop SQLite's own locks."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._wal = path.with_name(path.name + "-wal")

    def close(self) -> None:
        """Let go of the file, after every connection to it is closed."""
        os.close(self._file)

    def soiled(self, first: int, count: int) -> list[int] | None:
        """Which of these pages, counted from 0, hold something in their free space. None: the file ends before them."""
        size = self._page_bytes()
        raw = os.pread(self._file, size * count, size * first)
        if not raw:
            return None
        found = []
        for index in range(len(raw) // size):
            page = raw[index * size : (index + 1) * size]
            start, end = _free(page, first + index)
            if any(page[start:end]):
                found.append(first + index)
        return found

    def clean(self, db: sqlite3.Connection, numbers: Iterable[int]) -> bool:
        """Overwrite the free space of these pages; False when the file cannot be reached past its WAL just now.

        For the writer's thread, outside a transaction. Nobody writes meanwhile, and none of the pages has a newer form in the
        WAL. Afterwards the connection reads them anew: it would write a soiled page back from its memory.
        """
        if not emptied(db):
            return False
        db.execute("BEGIN IMMEDIATE")
        try:
            if self._wal.exists() and self._wal.stat().st_size:
                return False
            size = self._page_bytes()
            for number in numbers:
                start, end = _free(os.pread(self._file, size, size * number), number)
                if end > start:
                    os.pwrite(self._file, bytes(end - start), size * number + start)
        finally:
            db.execute("COMMIT")
        db.execute("PRAGMA shrink_memory")
        return True

    def sync(self) -> None:
        """Take what was overwritten to the disk."""
        os.fsync(self._file)

    def _page_bytes(self) -> int:
        size = int.from_bytes(os.pread(self._file, 2, 16), "big")
        return 65_536 if size == 1 else size


def emptied(db: sqlite3.Connection) -> bool:
    """Bring everything from the WAL into the file and leave the WAL empty; False while a reader still needs it."""
    db.execute("PRAGMA busy_timeout = 0")  # a reader must not keep the writer
    try:
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        db.execute("PRAGMA busy_timeout = 5000")
    return not busy


def _free(page: bytes, number: int) -> tuple[int, int]:
    """The bytes between a page's cell pointers and its cells; none for what is no page of a b-tree."""
    at = _FIRST if number == 0 else 0
    header = _HEADERS.get(page[at]) if len(page) > _FIRST + 12 else None
    if header is None:
        return 0, 0
    cells, content = (int.from_bytes(page[at + place : at + place + 2], "big") for place in (3, 5))
    start, end = at + header + 2 * cells, content or 65_536
    return (start, end) if start <= end <= len(page) else (0, 0)
