"""What an account at Copernica offers, and whether a connection to it is in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from esplanade import AuthenticationError, CheckResult, Choice, DeliveryError, Discovery, FieldInfo, PermanentError

from .client import LIST_LIMIT, Database, NotThereError, Row, as_id, listing
from .mapping import COLLECTION

if TYPE_CHECKING:
    from esplanade import Context

TYPES = {
    "integer": "integer",
    "float": "number",
    "date": "date",
    "empty_date": "date",
    "datetime": "datetime",
    "empty_datetime": "datetime",
    "select": "select",
}
"""Of the vendor's field types (fact 5); all others are text."""


async def check(database: Database, needed: set[str]) -> CheckResult:
    """Tell bad credentials, a wrong database, missing fields and a vendor that is down apart. ``needed``: fields by name."""
    settings = database.settings
    try:
        account = await database.identity()
        found = await database.read(f"/database/{settings.database_id}")
        names = {str(row.get("name", "")) for row in await database.fields()}
    except AuthenticationError as error:
        return CheckResult(status="no-permission" if _is_of_rights(error) else "bad-credentials", detail=str(error))
    except NotThereError:
        return CheckResult(
            status="wrong-account", detail=f"there is no database {settings.database_id} in this account"
        )
    except PermanentError as error:
        return CheckResult(status="wrong-account", detail=str(error))
    except DeliveryError as error:
        return CheckResult(status="vendor-down", detail=str(error))
    missing = sorted(needed - names)
    if missing:
        remedy = "make it in Copernica, or correct its name in connectors.yaml"
        detail = f"database {settings.database_id} has no field {', '.join(missing)}; {remedy}"
        return CheckResult(status="wrong-account", detail=detail)
    name = found.get("name") if isinstance(found, dict) else None
    return CheckResult(
        detail=f"account {as_id(account)}, database {settings.database_id}" + (f", {name}" if name else "")
    )


def _is_of_rights(error: AuthenticationError) -> bool:
    """Whether a call was refused although its token was just made (fact 12: 403 is of the token, or of rights)."""
    refused = error.exchange
    return refused is not None and refused.status == 403 and refused.path.startswith("/v")


async def discover(database: Database, ctx: Context) -> Discovery:
    """The databases, fields, collections and published mailings, each in a stable order."""
    databases = [_choice(row, "database") for row in await database.rows("/databases")]
    try:
        tables = await database.collections()
        fields = [_field(row, database.settings.email_field) for row in await database.fields()]
        fields += _with_those_to_be_made(await _profile_values(tables, database), ctx)
    except (NotThereError, PermanentError) as error:
        ctx.log.warning("the configured database cannot be read; these are there", error=str(error))
        return Discovery(groups=databases)
    collections = [_choice(row, "collection") for row in tables]
    interests = [
        Choice(id=str(row.get("name", "")), name=str(row.get("name", "")), detail="interest")
        for row in await database.rows(f"/database/{database.settings.database_id}/interests")
    ]
    mailings = [*await _templates(database), *await _documents(database)]
    ctx.log.debug("discovered", fields=len(fields), collections=len(collections), mailings=len(mailings))
    return Discovery(
        fields=sorted(fields, key=lambda each: each.name),
        groups=[*databases, *collections, *interests],
        mailings=mailings,
    )


async def _profile_values(tables: list[Row], database: Database) -> list[FieldInfo]:
    """The fields of the collection of profile values, as they are mapped: with its name and a dot before theirs."""
    full = database.settings.collection(COLLECTION)
    number = next((as_id(row) for row in tables if row.get("name") == full), None)
    rows = await database.rows(f"/collection/{number}/fields") if number is not None else []
    return [replace(_field(row, ""), name=f"{full}.{row.get('name', '')}") for row in rows]


def _with_those_to_be_made(fields: list[FieldInfo], ctx: Context) -> list[FieldInfo]:
    """The fields of the collection, and those that the hub will make there when it first needs them."""
    names = {each.name for each in fields}
    return fields + [
        FieldInfo(name=name) for name in dict.fromkeys(ctx.fields.values()) if "." in name and name not in names
    ]


async def _templates(database: Database) -> list[Choice]:
    rows = await _mailings(database, "/draganddrop/templates")
    return [_choice(row, "template") for row in rows if not _is_archived(row)]


async def _documents(database: Database) -> list[Choice]:
    rows = await _mailings(database, "/html/documents")
    return [_choice(row, "document") for row in rows if not _is_archived(row)]


async def _mailings(database: Database, path: str) -> list[Row]:
    found: list[Row] = []
    while True:
        answer = await database.mailing_call("GET", f"{path}?start={len(found)}&limit={LIST_LIMIT}")
        page = listing(answer.json())
        found += page.rows
        if len(page.rows) < LIST_LIMIT:
            return sorted(found, key=lambda row: as_id(row) or 0)


def _is_archived(row: Row) -> bool:
    return row.get("archived") not in {None, False, "", "0", "false"}


def _field(row: Row, email_field: str) -> FieldInfo:
    kind, name = str(row.get("type", "")), str(row.get("name", ""))
    choices = (
        [line.rstrip("*").strip() for line in str(row.get("value") or "").splitlines()] if kind == "select" else []
    )
    return FieldInfo(
        name=name,
        type=TYPES.get(kind, "text"),
        options=[choice for choice in choices if choice],
        required=name == email_field,
        read_only=name == email_field,
        max_length=_length(row.get("length")),
    )


def _length(given: Any) -> int | None:
    text = str(given) if isinstance(given, int | str) and not isinstance(given, bool) else ""
    return int(text) or None if text.isascii() and text.isdigit() else None


def _choice(row: Row, what: str) -> Choice:
    notes = [what, *(str(row[key]) for key in ("subject", "description") if row.get(key))]
    return Choice(
        id=str(as_id(row) or ""), name=str(row.get("name") or row.get("subject") or ""), detail=", ".join(notes)
    )
