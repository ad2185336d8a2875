"""What goes over the wire between a client and the twin: bodies as they come in, rows and envelopes as they go out.

Shapes are those of the vendor's pages rest-paging and rest-get-*: ids and values are strings, numbers of an envelope are
numbers, flags are booleans, and times are local without zone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from aiohttp import web

from .twin_account import Account, Record, Table, Template, Unsubscribed, value_of
from .twin_fields import Field, RefusedError, condition, local, named

MAX_PAGE = 1000
DEFAULT_PAGE = 100
_KEY = re.compile(r"[^\[\]]+|\[[^\[\]]*\]")


async def body_of(request: web.Request) -> Any:
    """The body, JSON or form by its Content-Type; none at all is an empty object. 400 for anything else."""
    raw = await request.read()
    if not raw:
        return {}
    if request.content_type == "application/x-www-form-urlencoded":
        return nested((key, str(value)) for key, value in (await request.post()).items())
    try:
        if request.content_type == "application/json":
            return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    raise RefusedError("Invalid data provided")


async def object_of(request: web.Request) -> dict[str, Any]:
    """The body as an object; 400 for a list or a single value."""
    body = await body_of(request)
    if not isinstance(body, dict):
        raise RefusedError("Invalid data provided")
    return body


def nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Bracket notation read back: ``fields[Email]=a`` and ``interests[]=x`` as a map and a list."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        name, *path = (part.strip("[]") for part in _KEY.findall(key) or [key])
        if not path:
            found[name] = value
            continue
        inner = found.setdefault(name, {} if path[0] else [])
        if isinstance(inner, dict) and path[0]:
            inner[path[0]] = value
        elif isinstance(inner, list) and not path[0]:
            inner.append(value)
        else:
            raise RefusedError("Invalid data provided")
    return found


def fields_of(body: dict[str, Any]) -> dict[str, Any]:
    """``fields`` of a body; nothing where they are missing, for other keys are passed over."""
    fields = body.get("fields", {})
    if not isinstance(fields, dict):
        raise RefusedError("Invalid data provided")
    return fields


def interests_of(said: Any) -> dict[str, bool]:
    """Interests as a list of names, or as ``{name: 1 or 0}``."""
    if isinstance(said, dict):
        return {name: str(has) in {"1", "True"} for name, has in said.items()}
    if isinstance(said, list) and all(isinstance(name, str) for name in said):
        return dict.fromkeys(said, True)
    raise RefusedError("Invalid data provided")


# Answers.


def json_answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def refusal(message: str, status: int = 400) -> web.Response:
    return json_answer({"error": {"message": message}}, status)


def created(request: web.Request, kind: str, number: int) -> web.Response:
    """201 without body; the new id and its URL are in the headers."""
    headers = {
        "X-Created": str(number),
        "X-location": f"{request.url.origin()}/{request.match_info['version']}/{kind}/{number}",
    }
    return web.Response(status=201, headers=headers)


def deleted(kind: str, number: int) -> web.Response:
    """204; what was deleted is in a header, such as ``profile 50411``."""
    return web.Response(status=204, headers={"X-deleted": f"{kind} {number}"})


def done() -> web.Response:
    return web.Response(status=204)


def as_version_2(method: str, answer: web.Response) -> web.Response:
    """The same answer with the status of version 2: 200 where nothing is told, 303 after a PUT that made something."""
    if answer.status == 204:
        return web.Response(status=200, headers=answer.headers)
    if answer.status == 201 and method == "PUT":
        return web.Response(status=303, headers={**answer.headers, "Location": answer.headers["X-location"]})
    return answer


# Rows.


def field_row(field: Field) -> dict[str, Any]:
    row = msgspec.to_builtins(field)
    number, length, lines = str(row.pop("id")), str(field.length), str(field.textlines)
    return {"ID": number, **row, "length": length, "textlines": lines}


def collection_row(table: Table) -> dict[str, Any]:
    return {
        "ID": str(table.id),
        "name": table.name,
        "description": table.description,
        "database": str(table.database),
        "fields": envelope(table.fields, field_row),
        "intentions": {"email": False, "sms": False, "fax": False, "pdf": False},
    }


def database_row(account: Account, table: Table) -> dict[str, Any]:
    """A database with its lists, which are cut at 100 each as any page is."""
    inside = [each for each in account.collections.values() if each.database == table.id]
    return {
        "ID": str(table.id),
        "name": table.name,
        "description": table.description,
        "archived": False,
        "fields": envelope(table.fields, field_row),
        "interests": envelope(numbered_interests(account, table), interest_row),
        "collections": envelope(inside, collection_row),
    }


def numbered_interests(account: Account, table: Table) -> list[tuple[int, str]]:
    """A database's interests with the numbers under which they are shown."""
    return list(enumerate(account.interests(table), 1))


def interest_row(interest: tuple[int, str]) -> dict[str, Any]:
    return {"ID": str(interest[0]), "name": interest[1], "group": ""}


def record_row(record: Record, *, data_only: bool = False) -> dict[str, Any]:
    """A profile or subprofile. A removed one has no fields, and says in ``removed`` when that was."""
    row: dict[str, Any] = {"ID": str(record.id), "fields": record.fields}
    if record.collection is None:
        row |= {"interests": record.interests}
    else:
        row |= {"collection": str(record.collection), "profile": str(record.profile)}
    row["modified"] = local(record.modified)
    if data_only:
        return row
    removed: str | bool = False if record.removed is None else local(record.removed)
    home = {"database": str(record.database)} if record.collection is None else {}
    return {**row, **home, "secret": record.secret, "created": local(record.created), "removed": removed}


def template_row(template: Template) -> dict[str, Any]:
    row = {"id": str(template.id), "name": template.name, "subject": template.subject, "archived": template.archived}
    return {**row, "from_address": {"name": "Shop", "email": "shop@example.net"}, "type": "json", "directory": ""}


def document_row(document: Template) -> dict[str, Any]:
    row = {"id": str(document.id), "template": "1", "name": document.name, "subject": document.subject}
    return {**row, "from_address": {"name": "Shop", "email": "shop@example.net"}, "archived": document.archived}


def unsubscribe_row(left: Unsubscribed) -> dict[str, Any]:
    """Of the Marketing Suite's statistics: they name the message (``destination``), and no profile."""
    row = {"ID": str(left.id), "mailing": str(left.mailing), "timestamp": local(left.at)}
    return {**row, "destination": str(left.message), "source": "link"}


def publisher_unsubscribe_row(left: Unsubscribed) -> dict[str, Any]:
    """Of the Publisher's statistics."""
    row = {"ID": str(left.id), "timestamp": local(left.at), "source": "link", "success": True}
    sent = {"emailing": str(left.mailing), "destination": str(left.message)}
    return {**row, **sent, "profile": str(left.profile), "subprofile": None}


# Pages.


def envelope(
    items: Sequence[Any], row: Callable[[Any], Any], start: int = 0, limit: int = DEFAULT_PAGE, *, counted: bool = True
) -> dict[str, Any]:
    """One page of a list."""
    shown = items[start : start + limit]
    total = {"total": len(items)} if counted else {}
    return {"start": start, "limit": limit, "count": len(shown), "data": [row(each) for each in shown], **total}


def listing(request: web.Request, items: Sequence[Any], row: Callable[[Any], Any]) -> dict[str, Any]:
    """The page that the query asks for: ``start``, ``limit`` (100, at most 1000), ``total=false`` for no count."""
    start, limit = _number(request, "start", 0), _number(request, "limit", DEFAULT_PAGE)
    return envelope(items, row, start, min(limit, MAX_PAGE), counted=is_true(request, "total", missing=True))


def ids_of(request: web.Request, records: Sequence[Record]) -> list[str]:
    """A page of ids: a plain array of strings, without an envelope."""
    page: list[str] = listing(request, records, lambda each: str(each.id))["data"]
    return page


def page_of(request: web.Request, account: Account, table: Table, profile: int | None = None) -> dict[str, Any]:
    """A page of records: filtered by ``fields[]``, in the order asked for; ``nextid`` only where that is by id."""
    found = selected(request, account, table, profile)
    name = request.query.get("orderby", "id")
    field = named(table.fields, name)
    if field is not None:
        found.sort(key=lambda each: value_of(each, field.name, pseudo=False))
    elif name == "modified":
        found.sort(key=lambda each: each.modified)
    descending = request.query.get("order", "asc").lower() in {"desc", "descending"}
    if descending:
        found.reverse()
    data_only = is_true(request, "dataonly", missing=False)
    page = listing(request, found, lambda each: record_row(each, data_only=data_only))
    if field is None and name != "modified" and not descending and page["data"]:
        page["nextid"] = int(page["data"][-1]["ID"]) + 1
    return page


def selected(request: web.Request, account: Account, table: Table, profile: int | None = None) -> list[Record]:
    """The records that ``fields[]`` finds, by id. Empty and unknown ones are passed over: without others, all are found."""
    read = (condition(table.fields, each) for each in filters_of(request))
    return account.matching(account.records(table, profile), [each for each in read if each is not None])


def filters_of(request: web.Request) -> list[str]:
    """What ``fields[]`` says, as it was sent."""
    return [value for key, value in request.query.items() if _is_filter(key)]


def has_filter(request: web.Request) -> bool:
    return bool(filters_of(request))


def is_true(request: web.Request, key: str, *, missing: bool) -> bool:
    return request.query[key].lower() in {"true", "1"} if key in request.query else missing


def _is_filter(key: str) -> bool:
    return key == "fields" or (key.startswith("fields[") and key.endswith("]"))


def _number(request: web.Request, key: str, missing: int) -> int:
    text = request.query.get(key, "")
    return int(text) if text.isdecimal() else missing
