"""Opening the SQLite file: pragmas, migrations, and the lock that keeps a second hub out."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from pathlib import Path

from esplanade.errors import StoreError, StoreLocked
from esplanade.store import migrate

from .ledger import link_all

BEYOND_SQL = {2: link_all}
"""By migration: what its SQL cannot do, done in its transaction."""


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes, with the schema brought up to date. Raises StoreError."""
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    except sqlite3.OperationalError as problem:
        raise StoreError(
            f"cannot open the store {path}: {problem}; does its folder exist, and may it be written?"
        ) from None
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA cache_size = -32000")
        db.execute("PRAGMA secure_delete = ON")
        _migrate(db)
        _write_anew(db)
    except sqlite3.DatabaseError as problem:
        db.close()
        raise StoreError(f"the store {path} cannot be used: {problem}") from None
    except StoreError:
        db.close()
        raise
    return db


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads, beside whoever writes. Raises StoreError when there is no store yet."""
    if not path.exists():
        raise StoreError(f"there is no store at {path} yet; `esplanade run` makes it")
    try:
        db = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
    except sqlite3.DatabaseError as problem:
        raise StoreError(f"the store {path} cannot be opened: {problem}; may this user read it?") from None
    try:
        db.execute("PRAGMA query_only = ON")
        db.execute("SELECT count(*) FROM meta").fetchone()
    except sqlite3.DatabaseError as problem:
        db.close()
        raise StoreError(f"the store {path} cannot be read: {problem}") from None
    return db


class FileLock:
    """Says who holds the store, in a file beside it that the operating system unlocks when its holder dies."""

    def __init__(self, store: Path) -> None:
        self.path = store.with_name(store.name + ".lock")
        self._file: int | None = None

    def take(self, store: Path, holder: dict[str, object]) -> None:
        """Hold the lock, or raise StoreLocked naming who does."""
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as problem:
            raise StoreError(f"cannot lock the store {store}: {problem.strerror}") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            who = self.holder() or {}
            raise StoreLocked(
                str(store), f"process {who.get('pid', 'unknown')} ({who.get('what', 'esplanade')})"
            ) from None
        self._file = file
        self.describe(holder)

    def describe(self, holder: dict[str, object]) -> None:
        """Write down who holds it: ``pid``, ``what``, and ``url`` where it answers."""
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps(holder).encode(), 0)

    def holder(self) -> dict[str, object] | None:
        """Who holds the lock now, as they wrote it down; None when nobody does."""
        try:
            file = os.open(self.path, os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            try:
                return dict(json.loads(os.pread(file, 4096, 0) or b"{}"))
            except ValueError:
                return {}
        else:
            return None
        finally:
            os.close(file)

    def release(self) -> None:
        """Let go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _migrate(db: sqlite3.Connection) -> None:
    (current,) = db.execute("PRAGMA user_version").fetchone()
    for migration in migrate.due("sqlite", current):
        db.executescript(f"BEGIN IMMEDIATE;\n{migration.sql}\nPRAGMA user_version = {migration.number};")
        if migration.number in BEYOND_SQL:
            BEYOND_SQL[migration.number](db)
        db.execute("COMMIT")


def _write_anew(db: sqlite3.Connection) -> None:
    """Once, after the migration that asks for it: an erased person must not live on in what was deleted before."""
    if db.execute("SELECT 1 FROM meta WHERE key = 'rewrite_due'").fetchone() is None:
        return
    try:
        db.execute("VACUUM")
    except sqlite3.OperationalError:  # no room for a second copy just now: tried again at the next start
        return
    db.execute("DELETE FROM meta WHERE key = 'rewrite_due'")
