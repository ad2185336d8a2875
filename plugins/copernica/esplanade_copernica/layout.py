"""The collections and fields that the hub keeps in the database: found by name, and made where they are missing (fact 7)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esplanade import PermanentError

from .client import Database, Row, as_id
from .values import default_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esplanade import Context

TEXT: Row = {"type": "text", "length": 255}
BIG: Row = {"type": "big"}
AUDIENCES: dict[str, Row] = {"audiences": BIG, "updated": {"type": "datetime"}}
"""The one subprofile of a profile in ``SQ_audiences``: its audiences as ``,12,87,``, so that a selection can ask for ``,12,``."""
TRIGGERS: dict[str, Row] = {
    "trigger_id": {**TEXT, "index": True},
    "trigger": TEXT,
    "created_at": {"type": "datetime"},
    "language": TEXT,
    "product_set": TEXT,
    "product_count": {"type": "integer"},
    "mailing": TEXT,
    "data": BIG,
}
PRODUCTS: dict[str, Row] = {"trigger_id": {**TEXT, "index": True}, "position": {"type": "integer"}}
PRODUCT_FIELDS = ("id", "title", "url", "image", "price", "currency", "quantity", "language")
CHECKED_FOR_S = 86_400.0
"""How long the database's fields are taken to be as they were."""


class Layout:
    """What the database looks like, as far as this process has seen it. One for all calls of a connector."""

    def __init__(self) -> None:
        self._types: dict[str, str] = {}
        self._defaults: dict[str, str | None] = {}
        self._fields_at = float("-inf")
        self._refused: set[str] = set()
        self._made: dict[str, dict[str, str]] = {}
        self._numbers: dict[str, str] = {}
        self._interests: set[str] = set()
        self._making = asyncio.Lock()

    async def fields(self, names: set[str], database: Database, ctx: Context) -> dict[str, str]:
        """The types of the database's fields, by name, when these are among them.

        Raises PermanentError naming those that are not: a filter on such a field would match every profile (fact 5).
        """
        await self._look(names, database, ctx)
        missing = sorted(names - self._types.keys())
        if missing:
            raise PermanentError(
                f"database {database.settings.database_id} has no field {', '.join(missing)}, spelled exactly so; "
                "make it in Copernica, or correct its name in connectors.yaml"
            )
        return self._types

    async def made_field(self, name: str, database: Database, ctx: Context) -> bool:
        """Whether the database has a text field, which is made where it is missing.

        False where Copernica refuses to make it: that is told once a day, and a write need not fail for it.
        """
        if self._has(name):
            return True
        async with self._making:
            await self._look({name}, database, ctx)
            if self._has(name) or name in self._refused:
                return self._has(name)
            try:
                await database.create(f"/database/{database.settings.database_id}/fields", {"name": name, **TEXT})
            except PermanentError as error:
                self._refused.add(name)
                ctx.log.warning("field cannot be made, so it is left out", field=name, error=str(error))
                return False
            self._types[name] = str(TEXT["type"])
            return True

    async def collection(self, name: str, fields: Mapping[str, Row], database: Database) -> str:
        """The name of a collection that has these fields, made as far as it is missing."""
        full = database.settings.collection(name)
        if self._made.get(full, {}).keys() >= fields.keys():
            return full
        async with self._making:  # of two that make one at once, Copernica would refuse the other
            number = await self._found_or_made(full, database)
            rows = await database.rows(f"/collection/{number}/fields")
            types = {str(row.get("name", "")).lower(): str(row.get("type", "")) for row in rows}
            for field, kind in fields.items():
                if field.lower() not in types:
                    await database.create(f"/collection/{number}/fields", {"name": field, **kind})
                    types[field.lower()] = str(kind["type"])
            self._made.setdefault(full, {}).update({field: types[field.lower()] for field in fields})
        return full

    async def interests(self, names: set[str], database: Database) -> None:
        """See to it that the database has these interests."""
        if names <= self._interests:
            return
        path = f"/database/{database.settings.database_id}/interests"
        async with self._making:
            self._interests = {str(row.get("name", "")) for row in await database.rows(path)}
            for name in sorted(names - self._interests):
                await database.create(path, {"name": name})
                self._interests.add(name)

    def defaults(self, names: Iterable[str]) -> dict[str, str | None]:
        """What these fields hold in a new profile that was made without them, as far as ``fields`` was asked for them."""
        return {name: self._defaults[name] for name in names if name in self._defaults}

    def types_in(self, full: str) -> dict[str, str]:
        """The types of a collection's fields, as far as ``collection`` was asked for them."""
        return self._made.get(full, {})

    async def number(self, name: str, database: Database) -> str | None:
        """The vendor's number of a collection that is there; asked for until it is."""
        full = database.settings.collection(name)
        if full not in self._numbers:
            row = next((row for row in await database.collections() if row.get("name") == full), None)
            if row is None or as_id(row) is None:
                return None
            self._numbers[full] = str(as_id(row))
        return self._numbers[full]

    async def known(self, name: str, database: Database) -> str | None:
        """The name of a collection that is there; None where it was never made."""
        return database.settings.collection(name) if await self.number(name, database) is not None else None

    async def _look(self, names: set[str], database: Database, ctx: Context) -> None:
        """Ask for the database's fields once a day, and when one of these is not among them."""
        now = ctx.clock.monotonic()
        if now > self._fields_at + CHECKED_FOR_S:
            self._refused.clear()
        elif names <= self._types.keys() | self._refused:
            return
        rows = await database.fields()
        self._types = {str(row.get("name", "")): str(row.get("type", "")) for row in rows}
        self._defaults = {str(row.get("name", "")): default_of(row) for row in rows}
        self._fields_at = now

    def _has(self, name: str) -> bool:
        """Whether the database has a field; a value is written to it however its name is spelled (fact 5)."""
        return name.lower() in {each.lower() for each in self._types}

    async def _found_or_made(self, full: str, database: Database) -> str:
        row = next((row for row in await database.collections() if row.get("name") == full), None)
        number = as_id(row) if row is not None else None
        if number is not None:
            return str(number)
        path = f"/database/{database.settings.database_id}/collections"
        return await database.create(path, {"name": full, "description": "Kept by Esplanade"})


def product_fields(layout: str, most: int) -> dict[str, Row]:
    """The fields of the triggers collection that hold products."""
    if layout == "flat":
        return {f"p{number}_{name}": TEXT for number in range(1, most + 1) for name in PRODUCT_FIELDS}
    return {"products": BIG} if layout == "json" else {}
