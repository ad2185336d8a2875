"""From ``hub.store`` to an open store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from esplanade.errors import StoreError

from .port import Reader
from .sqlite.connection import FileLock, open_reader
from .sqlite.store import SqliteStore
from .sqlite.unit import SqliteReader


def sqlite_path(store: str, beside: Path) -> Path:
    """The file that ``sqlite:PATH`` means; a relative one lies in the folder ``beside``."""
    scheme, _, rest = store.partition(":")
    if scheme != "sqlite" or not rest:
        raise StoreError(f"hub.store is {store!r}; this version knows sqlite:PATH")
    return (beside / rest).resolve()


async def open_store(store: str, beside: Path, *, what: str) -> SqliteStore:
    """Open the store for writing. ``what`` says to others who holds it."""
    return await SqliteStore.open(sqlite_path(store, beside), what=what)


@contextmanager
def reading(store: str, beside: Path) -> Iterator[Reader]:
    """Read a store beside whoever writes it, without a hub of one's own."""
    db = open_reader(sqlite_path(store, beside))
    try:
        yield SqliteReader(db)
    finally:
        db.close()


def holder(store: str, beside: Path) -> dict[str, object] | None:
    """Who holds the store now, as they wrote it down; None when nobody does."""
    return FileLock(sqlite_path(store, beside)).holder()
