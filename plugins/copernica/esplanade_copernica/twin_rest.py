"""The REST calls of the twin, ``/v2`` to ``/v4``: databases, profiles, subprofiles and mail. Webhooks are in ``twin_hooks.py``.

Statuses and oddities are those of the vendor's REST v4 pages and of the behaviour notes of a client library. Nearly every
error is a 400 with ``{"error": {"message": ...}}``; a path or method that does not exist is an ``Invalid method``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from aiohttp import web

from .twin_account import Account, Record, Table, Unsubscribed, Unsubscribing
from .twin_answers import (
    body_of,
    collection_row,
    created,
    database_row,
    deleted,
    document_row,
    done,
    field_row,
    fields_of,
    filters_of,
    has_filter,
    ids_of,
    interest_row,
    interests_of,
    is_true,
    json_answer,
    listing,
    numbered_interests,
    object_of,
    page_of,
    publisher_unsubscribe_row,
    record_row,
    selected,
    template_row,
    unsubscribe_row,
)
from .twin_fields import Field, RefusedError, as_text, condition, local
from .twin_gate import Call, Gate, routes_of

CALLER = "rest"
FIELD_KEYS = (("name", ""), ("type", "text"), ("value", ""))
STYLES = {"draganddrop": "draganddrop", "html": "draganddrop", "ms": "ms", "publisher": "ms"}


class RestApi:
    """The vendor's API on one account."""

    def __init__(self, account: Account, gate: Gate) -> None:
        self.account = account
        self.gate = gate

    def routes(self) -> Sequence[web.RouteDef]:
        database, collection, profile, subprofile = (
            f"/{kind}/{{id}}" for kind in ("database", "collection", "profile", "subprofile")
        )
        below = f"{profile}/subprofiles/{{collection}}"
        calls: list[tuple[str, str, Call]] = [
            ("GET", "/identity", self._identity),
            ("GET", "/consumption", self._consumption),
            ("GET", "/databases", self._databases),
            ("GET", database, self._database),
            ("GET", f"{database}/fields", self._fields),
            ("POST", f"{database}/fields", self._create_field),
            ("GET", f"{database}/interests", self._interests),
            ("POST", f"{database}/interests", self._create_interest),
            ("GET", f"{database}/collections", self._collections),
            ("POST", f"{database}/collections", self._create_collection),
            ("GET", f"{database}/profiles", self._records),
            ("POST", f"{database}/profiles", self._create_profile),
            ("PUT", f"{database}/profiles", self._put_profiles),
            ("GET", f"{database}/profileids", self._all_ids),
            ("GET", f"{database}/unsubscribe", self._unsubscribing),
            ("PUT", f"{database}/unsubscribe", self._put_unsubscribing),
            ("GET", collection, self._collection),
            ("GET", f"{collection}/fields", self._fields),
            ("POST", f"{collection}/fields", self._create_field),
            ("GET", f"{collection}/subprofiles", self._records),
            ("GET", f"{collection}/subprofileids", self._ids),
            ("GET", profile, self._read),
            ("PUT", profile, self._put_record),
            ("DELETE", profile, self._delete),
            ("PUT", f"{profile}/fields", self._put_flat),
            ("PUT", f"{profile}/interests", self._put_interests),
            ("POST", f"{profile}/interests", self._post_interests),
            ("PUT", f"{profile}/unsubscribe", self._unsubscribe),
            ("GET", below, self._subprofiles),
            ("POST", below, self._create_subprofile),
            ("PUT", below, self._put_subprofiles),
            ("GET", subprofile, self._read),
            ("PUT", subprofile, self._put_record),
            ("DELETE", subprofile, self._delete),
            ("PUT", f"{subprofile}/fields", self._put_flat),
            ("GET", "/{style:draganddrop|ms}/templates", self._templates),
            ("GET", "/{style:html|publisher}/documents", self._documents),
            ("POST", "/{style:draganddrop|ms}/emailing", self._mail_template),
            ("POST", "/{style:html|publisher}/emailing", self._mail_document),
            ("GET", "/ms/unsubscribes", self._unsubscribes),
            ("GET", "/publisher/unsubscribes", self._publisher_unsubscribes),
        ]
        return routes_of(calls, self.gate)

    async def invalid(self, request: web.Request) -> web.Response:
        """Whatever is not a call of the vendor's."""
        raise RefusedError("Invalid method")

    # The account.

    async def _identity(self, request: web.Request) -> web.Response:
        said = {"name": "Shop NL", "description": "Production", "company": "Example BV"}
        return json_answer({"id": str(self.account.id), **said})

    async def _consumption(self, request: web.Request) -> web.Response:
        """Counters since ever; both days are asked for and not looked at further."""
        if not all(re.fullmatch(r"\d{4}-\d\d-\d\d", request.query.get(key, "")) for key in ("begin", "end")):
            raise RefusedError("Invalid data provided")
        none = dict.fromkeys(("texts", "fax", "webpages", "litmustests", "twofiftyoktests"), 0)
        return json_answer({"emails": len(self.account.mails), "apicalls": self.gate.calls, **none})

    # Databases, collections, fields.

    def _table(self, request: web.Request) -> Table:
        key = request.match_info["id"]
        return self.account.database(key) if _kind(request) == "database" else self.account.collection(key)

    async def _databases(self, request: web.Request) -> web.Response:
        tables = list(self.account.databases.values())
        return json_answer(listing(request, tables, lambda each: database_row(self.account, each)))

    async def _database(self, request: web.Request) -> web.Response:
        return json_answer(database_row(self.account, self._table(request)))

    async def _collection(self, request: web.Request) -> web.Response:
        return json_answer(collection_row(self._table(request)))

    async def _fields(self, request: web.Request) -> web.Response:
        return json_answer(listing(request, self._table(request).fields, field_row))

    async def _create_field(self, request: web.Request) -> web.Response:
        table, body = self._table(request), await object_of(request)
        flags = {key: bool(body[key]) for key in ("displayed", "ordered", "hidden", "index") if key in body}
        sizes = {key: int(as_text(body[key])) for key in ("length", "textlines") if as_text(body.get(key)).isdecimal()}
        name, kind, value = (as_text(body.get(key, missing)) for key, missing in FIELD_KEYS)
        made = self.account.add_field(table, name, kind, value, **flags, **sizes)
        return created(request, f"{table.kind}/{table.id}/field", made.id)

    async def _interests(self, request: web.Request) -> web.Response:
        shown = numbered_interests(self.account, self._table(request))
        return json_answer(listing(request, shown, interest_row))

    async def _create_interest(self, request: web.Request) -> web.Response:
        """A name that is in use, or none, is refused (inferred, as of fields)."""
        table, name = self._table(request), as_text((await object_of(request)).get("name")).strip()
        if not name or name in self.account.interests(table):
            raise RefusedError("Invalid data provided")
        table.interests.append(name)
        return created(request, "interest", len(self.account.interests(table)))

    async def _collections(self, request: web.Request) -> web.Response:
        number = self._table(request).id
        inside = [each for each in self.account.collections.values() if each.database == number]
        return json_answer(listing(request, inside, collection_row))

    async def _create_collection(self, request: web.Request) -> web.Response:
        number, body = self._table(request).id, await object_of(request)
        made = self.account.add_collection(number, as_text(body.get("name")), as_text(body.get("description")))
        return created(request, "collection", made.id)

    async def _unsubscribing(self, request: web.Request) -> web.Response:
        rule = self._table(request).unsubscribing
        return json_answer({"behavior": rule.behavior, "fields": rule.fields})

    async def _put_unsubscribing(self, request: web.Request) -> web.Response:
        table, body = self._table(request), await object_of(request)
        behavior = body.get("behavior", table.unsubscribing.behavior)
        if behavior not in {"nothing", "remove", "update"}:
            raise RefusedError("Invalid data provided")
        fields = {name: as_text(value) for name, value in fields_of(body).items()}
        table.unsubscribing = Unsubscribing(behavior=behavior, fields=fields or table.unsubscribing.fields)
        return done()

    # Profiles and subprofiles.

    def _record(self, request: web.Request) -> Record:
        key = request.match_info["id"]
        return self.account.profile(key) if _kind(request) == "profile" else self.account.subprofile(key)

    async def _records(self, request: web.Request) -> web.Response:
        return json_answer(page_of(request, self.account, self._table(request)))

    async def _ids(self, request: web.Request) -> web.Response:
        return json_answer(ids_of(request, selected(request, self.account, self._table(request))))

    async def _all_ids(self, request: web.Request) -> web.Response:
        """Of profiles: the page rest-get-database-profileids knows paging only, and no filter."""
        return json_answer(ids_of(request, self.account.records(self._table(request))))

    async def _create_profile(self, request: web.Request) -> web.Response:
        table, body = self._table(request), await object_of(request)
        return created(request, "profile", self._made(table, body).id)

    def _made(self, table: Table, body: dict[str, Any]) -> Record:
        interests = interests_of(body.get("interests", []))
        return self.account.create(table, fields_of(body), caller=CALLER, interests=interests)

    async def _put_profiles(self, request: web.Request) -> web.Response:
        """All matches are written to. With none and ``create=1`` one is made of the body alone, not of the filter."""
        table, body = self._table(request), await object_of(request)
        found = self._to_update(request, table)
        for each in found:
            self.account.change(each, fields_of(body), caller=CALLER, interests=interests_of(body.get("interests", [])))
        if found or not is_true(request, "create", missing=False):
            return done()
        made = self._made(table, body)
        return done() if is_true(request, "async", missing=False) else created(request, "profile", made.id)

    def _to_update(self, request: web.Request, table: Table, profile: int | None = None) -> list[Record]:
        if not has_filter(request):
            raise RefusedError("URL parameter fields is required")
        return selected(request, self.account, table, profile)

    async def _read(self, request: web.Request) -> web.Response:
        return json_answer(record_row(self._record(request)))

    async def _put_record(self, request: web.Request) -> web.Response:
        """A profile or, by analogy, a subprofile: the values are below ``fields``."""
        record, body = self._record(request), await object_of(request)
        interests = interests_of(body.get("interests", []))
        self.account.change(record, fields_of(body), caller=CALLER, interests=interests)
        return done()

    async def _put_flat(self, request: web.Request) -> web.Response:
        """Fields of a profile, or of a subprofile: the body is the map of values itself."""
        self.account.change(self._record(request), await object_of(request), caller=CALLER)
        return done()

    async def _delete(self, request: web.Request) -> web.Response:
        record = self._record(request)
        completely = as_text((await object_of(request)).get("completely")).lower() in {"1", "true"}
        self.account.remove(record, caller=CALLER, completely=completely)
        return deleted(record.kind, record.id)

    async def _put_interests(self, request: web.Request) -> web.Response:
        """Replaces all."""
        record, said = self._record(request), interests_of(await body_of(request))
        self.account.change(record, {}, caller=CALLER, interests={**dict.fromkeys(record.interests, False), **said})
        return done()

    async def _post_interests(self, request: web.Request) -> web.Response:
        """Merges. That the answer is 201 without ``X-Created`` is inferred."""
        record, said = self._record(request), interests_of(await body_of(request))
        self.account.change(record, {}, caller=CALLER, interests=said)
        return web.Response(status=201)

    async def _unsubscribe(self, request: web.Request) -> web.Response:
        self.account.unsubscribe(self._record(request), caller=CALLER)
        return done()

    def _below(self, request: web.Request) -> tuple[Record, Table]:
        profile = self.account.profile(request.match_info["id"])
        return profile, self.account.collection(request.match_info["collection"], profile.database)

    async def _subprofiles(self, request: web.Request) -> web.Response:
        profile, table = self._below(request)
        return json_answer(page_of(request, self.account, table, profile.id))

    async def _create_subprofile(self, request: web.Request) -> web.Response:
        profile, table = self._below(request)
        return created(request, "subprofile", self._made_below(profile, table, await object_of(request)).id)

    def _made_below(self, profile: Record, table: Table, values: dict[str, Any]) -> Record:
        if profile.removed is not None:
            raise RefusedError("Subprofile could not be created")
        return self.account.create(table, values, caller=CALLER, profile=profile.id)

    async def _put_subprofiles(self, request: web.Request) -> web.Response:
        """As of profiles, among those of one profile; the body is the map of values itself."""
        profile, table = self._below(request)
        found, values = self._to_update(request, table, profile.id), await object_of(request)
        for each in found:
            self.account.change(each, values, caller=CALLER)
        if found or not is_true(request, "create", missing=False):
            return done()
        return created(request, "subprofile", self._made_below(profile, table, values).id)

    # Mail.

    def _check_style(self, request: web.Request) -> None:
        if STYLES[request.match_info["style"]] != self.gate.habits.mail_path_style:
            raise RefusedError("Invalid method")

    def _shown(self, request: web.Request, kind: Literal["templates", "documents"]) -> list[Any]:
        known = (self.account.templates if kind == "templates" else self.account.documents).values()
        archived = request.query.get("archived")
        return [each for each in known if archived is None or each.archived == (archived in {"true", "1"})]

    async def _templates(self, request: web.Request) -> web.Response:
        self._check_style(request)
        return json_answer(listing(request, self._shown(request, "templates"), template_row))

    async def _documents(self, request: web.Request) -> web.Response:
        self._check_style(request)
        return json_answer(listing(request, self._shown(request, "documents"), document_row))

    async def _mail_template(self, request: web.Request) -> web.Response:
        return await self._mail(request, "template")

    async def _mail_document(self, request: web.Request) -> web.Response:
        return await self._mail(request, "document")

    async def _mail(self, request: web.Request, kind: str) -> web.Response:
        """``{target, targettype, template or document, settings}``; data of the mail itself cannot be passed."""
        self._check_style(request)
        body = await object_of(request)
        settings = body.get("settings", {})
        if not {"target", "targettype", kind} <= set(body) or not isinstance(settings, dict):
            raise RefusedError("Invalid data provided")
        number = self.account.mail(kind, body[kind], as_text(body["targettype"]), body["target"], settings)
        return created(request, f"{request.match_info['style']}/emailing", number)

    # Statistics.

    def _left(self, caller: str) -> list[Unsubscribed]:
        return [each for each in self.account.unsubscribes if (each.caller == "publisher") == (caller == "publisher")]

    async def _unsubscribes(self, request: web.Request) -> web.Response:
        """Between ``begintime`` and ``endtime``; with ``unique`` one a message."""
        begin, end = (request.query.get(key, missing) for key, missing in (("begintime", ""), ("endtime", "~")))
        found = [each for each in self._left("ms") if begin <= local(each.at) <= end]
        if is_true(request, "unique", missing=False):
            found = list({each.message: each for each in reversed(found)}.values())[::-1]
        return json_answer(listing(request, found, unsubscribe_row))

    async def _publisher_unsubscribes(self, request: web.Request) -> web.Response:
        """``fields[]`` looks at the field ``timestamp``."""
        read = (condition([Field(id=0, name="timestamp")], each) for each in filters_of(request))
        asked = [each for each in read if each is not None]
        found = [each for each in self._left("publisher") if all(one.holds(local(each.at)) for one in asked)]
        return json_answer(listing(request, found, publisher_unsubscribe_row))


def _kind(request: web.Request) -> str:
    """``database`` of ``/v4/database/31``."""
    return request.path.split("/")[2]
