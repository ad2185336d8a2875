"""Numbered SQL migrations, ``sql/<dialect>/NNNN_name.sql``, each applied once and in order."""

from __future__ import annotations

import re
from importlib import resources

from msgspec import Struct

from esplanade.errors import StoreError


class Migration(Struct, frozen=True, kw_only=True):
    """One step of the schema."""

    number: int
    name: str
    sql: str


def migrations(dialect: str) -> list[Migration]:
    """All migrations of a dialect, in order. Raises StoreError when their numbers have a gap."""
    found = []
    for entry in resources.files(__package__).joinpath("sql", dialect).iterdir():
        numbered = re.fullmatch(r"(\d{4})_(\w+)\.sql", entry.name)
        if numbered:
            found.append(Migration(number=int(numbered[1]), name=numbered[2], sql=entry.read_text("utf-8")))
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise StoreError(f"the migrations of {dialect} are not numbered 1, 2, 3 …: this installation is damaged")
    return found


def due(dialect: str, current: int) -> list[Migration]:
    """The migrations that a schema at ``current`` still needs. Raises StoreError when it is newer than this program."""
    all_of_them = migrations(dialect)
    if current > len(all_of_them):
        raise StoreError(
            f"the store was written by a newer Esplanade (schema {current}, this one knows {len(all_of_them)}); "
            "install that version again, or restore a backup"
        )
    return all_of_them[current:]
