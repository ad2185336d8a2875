"""The collections and fields that the hub keeps in the database: found by name, and made where they are missing (fact 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esplanade import PermanentError

from .client import Database, Row, as_id

if TYPE_CHECKING:
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
        self._fields_at = float("-inf")
        self._made: dict[str, set[str]] = {}
        self._numbers: dict[str, str] = {}

    async def fields(self, names: set[str], database: Database, ctx: Context) -> dict[str, str]:
        """The types of the database's fields, by name, when these are among them.

        Raises PermanentError naming those that are not: a filter on such a field would match every profile (fact 5).
        """
        now = ctx.clock.monotonic()
        if now > self._fields_at + CHECKED_FOR_S or not names <= self._types.keys():
            self._types = {str(row.get("name", "")): str(row.get("type", "")) for row in await database.fields()}
            self._fields_at = now
        missing = sorted(names - self._types.keys())
        if missing:
            raise PermanentError(
                f"database {database.settings.database} has no field {', '.join(missing)}, spelled exactly so; "
                "make it in Copernica, or correct its name in connectors.yaml"
            )
        return self._types

    async def collection(self, name: str, fields: dict[str, Row], database: Database) -> str:
        """The name of a collection that has these fields, made as far as it is missing."""
        full = database.settings.collection(name)
        if self._made.get(full, set()) >= fields.keys():
            return full
        number = await self._find(full, database)
        there = {str(row.get("name", "")).lower() for row in await database.rows(f"/collection/{number}/fields")}
        for field, kind in fields.items():
            if field.lower() not in there:
                await database.create(f"/collection/{number}/fields", {"name": field, **kind})
        self._made[full] = self._made.get(full, set()) | fields.keys()
        return full

    async def number(self, name: str, database: Database) -> str | None:
        """The vendor's number of a collection that is there; asked for once."""
        full = database.settings.collection(name)
        if full not in self._numbers:
            row = next((row for row in await database.collections() if row.get("name") == full), None)
            if row is None or as_id(row) is None:
                return None
            self._numbers[full] = str(as_id(row))
        return self._numbers[full]

    async def known(self, name: str, database: Database) -> str | None:
        """The name of a collection that is there; None where it was never made."""
        full = database.settings.collection(name)
        return full if full in self._made or full in {row.get("name") for row in await database.collections()} else None

    async def _find(self, name: str, database: Database) -> int:
        row = next((row for row in await database.collections() if row.get("name") == name), None)
        number = as_id(row) if row is not None else None
        if number is None:
            path = f"/database/{database.settings.database}/collections"
            number = int(await database.create(path, {"name": name, "description": "Kept by Esplanade"}))
        return number


def product_fields(layout: str, most: int) -> dict[str, Row]:
    """The fields of the triggers collection that hold products."""
    if layout == "flat":
        return {f"p{number}_{name}": TEXT for number in range(1, most + 1) for name in PRODUCT_FIELDS}
    return {"products": BIG} if layout == "json" else {}
