"""What the twin answers: the envelope (section 1), pages with select, sort and filter (section 3), and the rows in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from .settings import API, BUILT_IN, MAX_BATCH
from .twin_account import Account
from .twin_habits import Habits
from .twin_records import Connection, Contact, ContactList, CustomField, Email, Option, Purpose
from .twin_values import RefusedError

PAGING = frozenset({"limit", "offset", "select", "sort", "expand"})
CONTACT_KEYS = ("id", "blacklisted", "emailaddress", "realname", *BUILT_IN)
"""Properties by which contacts can be selected, sorted and filtered; ``created`` and ``updated`` are none of them (section 3)."""


class Columns(Struct, frozen=True, kw_only=True):
    """What a collection can be asked for."""

    select: Sequence[str]
    sort: Sequence[str] = ()
    filter: Sequence[str] = ()
    expand: Sequence[str] = ()
    more: Sequence[str] = ()
    """Further query parameters, which the call itself reads."""


CONTACTS = Columns(select=CONTACT_KEYS, sort=CONTACT_KEYS, filter=CONTACT_KEYS, expand=("customfields",))
LIST_KEYS = ("id", "name", "category", "publicname", "sendername", "senderemail", "replyto", "signature", "segment_id")
LISTS = Columns(select=LIST_KEYS, sort=LIST_KEYS, filter=LIST_KEYS)
FIELD_KEYS = ("id", "name", "type")
FIELDS = Columns(select=FIELD_KEYS, sort=FIELD_KEYS, filter=FIELD_KEYS, expand=("customfield_options",))
OPTION_KEYS = ("id", "customfield_id", "order", "name")
OPTIONS = Columns(select=OPTION_KEYS, sort=OPTION_KEYS, filter=OPTION_KEYS)
VALUE_KEYS = ("id", "contact_id", "customfield_id", "value", "customfield_options_id")
VALUES = Columns(select=VALUE_KEYS, sort=VALUE_KEYS, filter=VALUE_KEYS)
PURPOSE_KEYS = ("id", "created_at", "lawful_basis", "name", "notes")
PURPOSES = Columns(select=(*PURPOSE_KEYS, "duration"), sort=PURPOSE_KEYS, filter=PURPOSE_KEYS)
CONNECTION_KEYS = ("id", "created_at", "contact_id", "valid_from", "valid_to", "purpose_id")
CONNECTIONS = Columns(select=(*CONNECTION_KEYS, "details"), sort=CONNECTION_KEYS, filter=(*CONNECTION_KEYS, "details"))
EMAIL_KEYS = ("id", "name", "title", "created", "template")
EMAILS = Columns(select=(*EMAIL_KEYS, "htmlbody", "textbody"), sort=EMAIL_KEYS, filter=EMAIL_KEYS)


# The envelope.


def answer(said: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(said), content_type="application/json", headers=dict(headers or {})
    )


def ok(data: Any = None, **more: Any) -> web.Response:
    """200; ``meta`` is an empty array where the answer is no collection."""
    return answer({"status": "ok", "meta": [], **more, **({} if data is None else {"data": data})})


def created(data: Any = None, *, meta: Any = (), **more: Any) -> web.Response:
    """201."""
    return answer({"status": "created", "meta": meta, **more, **({} if data is None else {"data": data})}, 201)


def deleted() -> web.Response:
    """204, with an empty body."""
    return web.Response(status=204)


def refusal(message: str, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    return answer({"status": "error", "meta": [], "message": message}, status, headers)


# Pages.


def page(
    request: web.Request, habits: Habits, columns: Columns, items: Sequence[Any], row: Callable[[Any], dict[str, Any]]
) -> web.Response:
    """One page of a collection: at most 500 rows, from a row offset on. What is asked amiss is refused with 422 (inferred)."""
    query = request.query
    unknown = set(query) - PAGING - {*columns.filter, *columns.more}
    if unknown and not habits.ignores_unknown_parameters:
        raise RefusedError(f"Parameter {min(unknown)} is not allowed.")
    filters = {key: text for key, text in query.items() if key in columns.filter}
    sorts = [key for key in query.get("sort", "").split(",") if key]
    _check("sort", [key.removeprefix("-") for key in sorts], columns.sort)
    _check("expand", [key for key in query.get("expand", "").split(",") if key], columns.expand)
    if sorts == ["id"] and not filters:  # so that reading page by page costs no more than it must
        sorts, items = [], sorted(items, key=lambda each: each["id"] if isinstance(each, dict) else each.id)
    if filters or sorts:
        rows = [each for each in map(row, items) if all(_equals(each[key], text) for key, text in filters.items())]
        for key in reversed(sorts):
            name = key.removeprefix("-")
            rows.sort(key=lambda each: _sortable(each[name]), reverse=key.startswith("-"))
        total, shown = len(rows), _slice(request, rows)
    else:
        total, shown = len(items), [row(each) for each in _slice(request, items)]
    offset, limit = _number(request, "offset", 0), _number(request, "limit", MAX_BATCH)
    meta = {"total_count": total, "displayed_count": len(shown), "offset": offset, "limit": limit}
    return answer({"status": "ok", "meta": meta, "data": [chosen(request, columns, each) for each in shown]})


def chosen(request: web.Request, columns: Columns, row: dict[str, Any]) -> dict[str, Any]:
    """The properties of a row that ``select`` names; all of them without it."""
    wanted = [key for key in request.query.get("select", "").split(",") if key]
    _check("select", wanted, columns.select)
    return {key: row[key] for key in wanted} if wanted else row


def _slice(request: web.Request, items: Sequence[Any]) -> Sequence[Any]:
    offset, limit = _number(request, "offset", 0), _number(request, "limit", MAX_BATCH)
    if not 1 <= limit <= MAX_BATCH:
        raise RefusedError(f"Limit must be between 1 and {MAX_BATCH}.")
    return items[offset : offset + limit]


def _number(request: web.Request, key: str, missing: int) -> int:
    text = request.query.get(key, str(missing))
    if not text.isdecimal():
        raise RefusedError(f"Parameter {key} must be a number.")
    return int(text)


def _check(key: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise RefusedError(f"Value {name} is not allowed in {key}.")


def _equals(value: Any, text: str) -> bool:
    if isinstance(value, bool):
        return text in ({"1", "true"} if value else {"0", "false", ""})
    return ("" if value is None else str(value)).lower() == text.lower()


def _sortable(value: Any) -> tuple[bool, float, str]:
    """Nothing comes first, then numbers, then words."""
    if isinstance(value, int | float):
        return True, float(value), ""
    return value is not None, 0.0, "" if value is None else str(value)


# Rows.


def contact_row(account: Account, contact: Contact, origin: str, *, expanded: bool) -> dict[str, Any]:
    """A contact with its lists, and with a link to its custom fields or, expanded, with these (section 5)."""
    number, values = contact.id, contact.values
    name = " ".join(values[key] for key in ("name", "surname") if key in values)
    row: dict[str, Any] = {"id": number, "guid": contact.guid, "emailaddress": contact.emailaddress}
    row |= {key: values.get(key) for key in BUILT_IN}
    row |= {"realname": name or None, "domain": contact.emailaddress.rpartition("@")[2]}
    row |= {"salutionsurname": None, "salutiongender": None, "affilid": None, "preferredDeliveryTime": None}
    row |= {key: getattr(contact, key) for key in ("blacklisted", "softbounced", "hardbounced", "is_confirmed")}
    row |= {key: account.shown(getattr(contact, key)) for key in ("created", "updated", "last_opened", "last_clicked")}
    if expanded:
        row["customfields"] = custom_rows(account, contact)
    else:
        row["customfields_url"] = f"{origin}{API}/contact-customfields?contact_id={number}"
    row["contactlists"] = [
        {
            "id": each.id,
            "contactlist_id": key,
            "contact_id": number,
            "status": each.status,
            "added": account.shown(each.added),
            "updated": account.shown(each.updated),
            "score_opens": None,
            "score_clicks": None,
        }
        for key, each in contact.lists.items()
    ]
    return row


def custom_rows(account: Account, contact: Contact) -> list[dict[str, Any]]:
    """What a contact holds in custom fields: one row each, and one for each chosen option."""
    rows = []
    for number, held in contact.custom.items():
        about: dict[str, Any] = {
            "id": account.row_id(contact, number),
            "contact_id": contact.id,
            "customfield_id": number,
        }
        if isinstance(held, list):
            rows += [{**about, "customfield_options_id": each, "value": None} for each in held]
        else:
            rows.append({**about, "customfield_options_id": None, "value": held})
    return rows


def list_row(account: Account, held: ContactList) -> dict[str, Any]:
    row: dict[str, Any] = {**msgspec.to_builtins(held), "created": account.shown(held.created)}
    rates = {"clickRate": None, "openRate": None, "hidden": 0, "alertIn": 0, "alertOut": 0, "notes": None}
    return {**row, **rates, "trackedDefaultFields": "a:0:{}"}


def field_row(account: Account, held: CustomField, origin: str, *, expanded: bool) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(held)
    if expanded:
        return {**row, "customfield_options": [option_row(each) for each in account.options_of(held.id)]}
    return {**row, "customfield_options_url": f"{origin}{API}/customfield-options?customfield_id={held.id}"}


def option_row(held: Option) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(held)
    return row


def purpose_row(account: Account, held: Purpose) -> dict[str, Any]:
    return {**msgspec.to_builtins(held), "created_at": account.shown(held.created_at)}


def connection_row(account: Account, held: Connection) -> dict[str, Any]:
    times = {key: account.shown(getattr(held, key)) for key in ("created_at", "valid_from", "valid_to")}
    return {**msgspec.to_builtins(held), **times}


def email_row(account: Account, held: Email) -> dict[str, Any]:
    row: dict[str, Any] = {**msgspec.to_builtins(held), "created": account.shown(held.created)}
    return {**row, "attachments": [], "footer_id": None, "structure": None}
