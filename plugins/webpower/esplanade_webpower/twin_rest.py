"""The REST calls of the twin: those that are known of the vendor, and the errors that it answers."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
from aiohttp import web
from msgspec import Struct

from .twin_account import Account, Contact, RefusedError

if TYPE_CHECKING:
    from .settings import WebpowerSettings

REST = "/admin/api/index.php/rest"
MAX_PAGE = 1000
TOKEN_LIFE_S = 3600

Call = Callable[[web.Request], Awaitable[Any]]


class Licence(Struct, kw_only=True):
    """How this licence behaves where the vendor does not say."""

    has_rights: bool = True
    """Whether the credentials' client grants allow anything."""
    is_active: bool = True
    """Whether the campaign is."""
    lists_group_contacts: bool = True
    group_body: str = "array"
    """The one body that adding to groups takes: array, object or objects."""
    removal: str = "path"
    """The one way out of a group: path, body, or none."""


class RestApi:
    """The vendor's API on one account. ``announce`` is told of each contact that comes to be."""

    def __init__(
        self, account: Account, licence: Licence, settings: WebpowerSettings, announce: Callable[[Contact], None]
    ) -> None:
        self.account = account
        self.licence = licence
        self.settings = settings
        self._announce = announce
        self.tokens: dict[str, float] = {}

    def routes(self) -> Sequence[web.RouteDef]:
        rest, mine = f"{REST}", f"{REST}/{{cid:\\d+}}"
        contact = f"{mine}/contact/{{id:\\d+}}"
        calls: list[tuple[str, str, Call]] = [
            ("GET", f"{rest}/campaign", self._campaigns),
            ("GET", f"{rest}/campaign/{{cid:\\d+}}", self._campaign),
            ("GET", f"{mine}/contact", self._contacts),
            ("POST", f"{mine}/contact", self._create),
            ("POST", f"{mine}/contact/subscribe", self._subscribe),
            ("POST", f"{mine}/contact/unsubscribe", self._unsubscribe_address),
            ("POST", f"{mine}/contact/sendSingleMail", self._send_single_mail),
            ("POST", f"{mine}/contacts/send", self._bulk),
            ("PUT", f"{mine}/contacts/group/{{from:\\d+}}/to/{{to:\\d+}}", self._move_group),
            ("GET", contact, self._read),
            ("PUT", contact, self._update),
            ("DELETE", contact, self._delete),
            ("POST", f"{contact}/unsubscribe", self._unsubscribe_contact),
            ("GET", f"{contact}/group", self._groups_of),
            ("POST", f"{contact}/group", self._join),
            ("DELETE", f"{contact}/group", self._leave_by_body),
            ("DELETE", f"{contact}/group/{{gid:\\d+}}", self._leave_by_path),
            ("GET", f"{mine}/group", self._groups),
            ("POST", f"{mine}/group", self._create_group),
            ("GET", f"{mine}/group/{{gid:\\d+}}", self._group),
            ("PUT", f"{mine}/group/{{gid:\\d+}}", self._update_group),
            ("GET", f"{mine}/group/{{gid:\\d+}}/contact", self._members),
            ("GET", f"{mine}/field", self._fields),
            ("POST", f"{mine}/field", self._create_field),
            ("GET", f"{mine}/mailing", self._mailings),
            ("POST", f"{mine}/mailing", self._create_mailing),
            ("POST", f"{mine}/mailing/{{mailing:\\d+}}/sendSingle", self._send_single),
        ]
        return [
            web.post("/admin/oauth2/token.php", self._token),
            *(web.route(method, path, self._guarded(call)) for method, path, call in calls),
        ]

    def _guarded(self, call: Call) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                self._authorise(request)
                answer = await call(request)
            except RefusedError as error:
                return _json({"error": error.message, "status": error.status}, error.status)
            return web.Response(status=204) if answer is None else _json(answer, 200)

        return handle

    def _authorise(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or self.tokens.get(token, 0.0) <= self.account.now():
            raise RefusedError(401, "The access token provided is invalid or has expired")
        if not self.licence.has_rights:
            raise RefusedError(403, "You are not allowed to use this resource")
        cid = request.match_info.get("cid")
        if cid is not None and int(cid) != self.settings.campaign_id:
            raise RefusedError(404, "Campaign not found")
        if cid is not None and not self.licence.is_active and not request.path.startswith(f"{REST}/campaign/"):
            raise RefusedError(403, "Campaign is not active")

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.post() if request.content_type == "application/x-www-form-urlencoded" else {}
        if form.get("grant_type") != "client_credentials":
            return _json({"error": "unsupported_grant_type", "error_description": "Grant type is not supported"}, 400)
        expected = (self.settings.client_id, self.settings.client_secret.reveal())
        if (form.get("client_id"), form.get("client_secret")) != expected:
            return _json({"error": "invalid_client", "error_description": "The client credentials are invalid"}, 401)
        if form.get("scope", "rest") != "rest":
            return _json({"error": "invalid_scope", "error_description": "The scope requested is invalid"}, 400)
        token = f"tok-{secrets.token_hex(8)}"
        self.tokens[token] = self.account.now() + TOKEN_LIFE_S
        return _json(
            {"access_token": token, "expires_in": TOKEN_LIFE_S, "token_type": "bearer", "scope": "rest"},
            200,
        )

    # Campaigns.

    def _the_campaign(self) -> dict[str, Any]:
        return {"id": self.settings.campaign_id, "name": "Demo", "is_active": self.licence.is_active}

    async def _campaigns(self, request: web.Request) -> Any:
        return _listing(request, [self._the_campaign()])

    async def _campaign(self, request: web.Request) -> Any:
        return self._the_campaign()

    # Contacts.

    def _contact(self, request: web.Request) -> Contact:
        return self.account.contact(int(request.match_info["id"]))

    async def _contacts(self, request: web.Request) -> Any:
        pattern = _decoded(request.query.get("match", "{}").encode(), 400)
        known = {"email", "mobile_nr", "lang", *self.account.fields}
        if not isinstance(pattern, dict) or not all(isinstance(value, str) for value in pattern.values()):
            raise RefusedError(400, "match: expected a JSON object of texts")
        if set(pattern) - known:
            raise RefusedError(422, f"match: unknown fields {', '.join(sorted(set(pattern) - known))}")
        return _listing(request, list(self.account.matching(pattern)), self.account.row)

    async def _read(self, request: web.Request) -> Any:
        return self.account.row(self._contact(request))

    async def _create(self, request: web.Request) -> Any:
        contact = self.account.create(await _body(request))
        self._announce(contact)
        return {"id": contact.id}

    async def _update(self, request: web.Request) -> Any:
        contact = self._contact(request)
        self.account.update(contact, await _body(request))
        return {"id": contact.id}

    async def _delete(self, request: web.Request) -> None:
        self.account.remove(self._contact(request))

    async def _subscribe(self, request: web.Request) -> Any:
        body = await _body(request)
        said = body.get("contact")
        if not isinstance(said, dict):
            raise RefusedError(422, "contact: is missing")
        groups = body.get("groups", [])
        if not isinstance(groups, list) or set(groups) - set(self.account.groups):
            raise RefusedError(422, "groups: expected an array of ids of groups")
        contact = self.account.find(str(said.get("email", "")))
        if contact is None:
            contact = self.account.create(said)
            self._announce(contact)
        else:
            self.account.update(contact, said)
        self.account.ask(contact, groups)
        return {"status": "pending"}

    async def _unsubscribe_contact(self, request: web.Request) -> None:
        self.account.unsubscribe(self._contact(request), set())

    async def _unsubscribe_address(self, request: web.Request) -> None:
        said = (await _body(request)).get("contact")
        contact = self.account.find(str(said.get("email", ""))) if isinstance(said, dict) else None
        if contact is None:
            raise RefusedError(404, "Contact not found")
        self.account.unsubscribe(contact, set())

    # Groups.

    def _the_group(self, request: web.Request, key: str = "gid") -> int:
        number = int(request.match_info[key])
        if number not in self.account.groups:
            raise RefusedError(404, f"Group {number} not found")
        return number

    async def _groups_of(self, request: web.Request) -> Any:
        groups = sorted(self._contact(request).groups)
        return [msgspec.to_builtins(self.account.groups[number]) for number in groups]

    async def _join(self, request: web.Request) -> Any:
        contact = self._contact(request)
        body = _decoded(await request.read(), 400)
        shapes: dict[str, Any] = {
            "array": body,
            "object": body.get("groups") if isinstance(body, dict) else None,
            "objects": [each.get("id") for each in body if isinstance(each, dict)] if isinstance(body, list) else None,
        }
        groups = shapes[self.licence.group_body]
        if not isinstance(groups, list) or not groups or not all(type(each) is int for each in groups):
            raise RefusedError(422, "expected the ids of groups")
        self.account.join(contact, groups)
        return sorted(contact.groups)

    async def _leave_by_path(self, request: web.Request) -> None:
        if self.licence.removal != "path":
            raise RefusedError(405, "Method not allowed")
        self.account.leave(self._contact(request), self._the_group(request))

    async def _leave_by_body(self, request: web.Request) -> None:
        if self.licence.removal != "body":
            raise RefusedError(405, "Method not allowed")
        contact, groups = self._contact(request), _decoded(await request.read(), 400)
        if not isinstance(groups, list) or not groups:
            raise RefusedError(422, "expected the ids of groups")
        for number in groups:
            self.account.leave(contact, number)

    async def _groups(self, request: web.Request) -> Any:
        return _listing(request, list(self.account.groups.values()), msgspec.to_builtins)

    async def _group(self, request: web.Request) -> Any:
        return msgspec.to_builtins(self.account.groups[self._the_group(request)])

    async def _create_group(self, request: web.Request) -> Any:
        body = await _body(request, {"name", "is_test", "is_active", "remarks"})
        group = self.account.add_group(str(body.get("name", "")))
        group.remarks = str(body.get("remarks", ""))
        return {"id": group.id}

    async def _update_group(self, request: web.Request) -> Any:
        group = self.account.groups[self._the_group(request)]
        if group.is_system:
            raise RefusedError(403, f"Group {group.id} belongs to the system")
        body = await _body(request, {"name", "is_test", "is_active", "remarks"})
        self.account.groups[group.id] = msgspec.structs.replace(group, **body)
        return {"id": group.id}

    async def _members(self, request: web.Request) -> Any:
        if not self.licence.lists_group_contacts:
            raise RefusedError(404, "Not found")
        number = self._the_group(request)
        contacts = sorted(self.account.contacts.values(), key=lambda each: each.id)
        return _listing(request, [each for each in contacts if number in each.groups], self.account.row)

    async def _move_group(self, request: web.Request) -> None:
        old, new = self._the_group(request, "from"), self._the_group(request, "to")
        for contact in self.account.contacts.values():
            if old in contact.groups:
                contact.groups = (contact.groups - {old}) | {new}

    # Fields and mailings.

    async def _fields(self, request: web.Request) -> Any:
        return _listing(request, list(self.account.fields.values()), msgspec.to_builtins)

    async def _create_field(self, request: web.Request) -> Any:
        body = await _body(request, {"name", "description", "type", "length", "default", "required"})
        name = body.get("name")
        if not isinstance(name, str) or not 1 <= len(name) <= 255 or name in self.account.fields:
            raise RefusedError(422, "name: 1 to 255 characters, not yet in use")
        made = self.account.add_field(name, str(body.get("type", "varchar")), int(body.get("length", 255)))
        made.description, made.required = body.get("description", []), bool(body.get("required"))
        return {"id": made.id}

    async def _mailings(self, request: web.Request) -> Any:
        newest_first = sorted(self.account.mailings.values(), key=lambda each: -each.id)
        return _listing(request, newest_first, msgspec.to_builtins)

    async def _create_mailing(self, request: web.Request) -> Any:
        body = await _body(request)
        name = body.get("name")
        if not isinstance(name, str) or not 1 <= len(name) <= 80:
            raise RefusedError(422, "name: 1 to 80 characters")
        made = self.account.add_mailing(max(self.account.mailings) + 1, name, published=False)
        made.subject, made.lang = str(body.get("subject", "")), str(body.get("lang", "nl"))
        return {"id": made.id}

    # Sends.

    async def _send_single(self, request: web.Request) -> Any:
        body = await _body(request, {"contactId", "attachments", "extraContactData"})
        number = body.get("contactId")
        if type(number) is not int:
            raise RefusedError(422, "contactId: expected an integer")
        contact = self.account.contact(number)
        self.account.mail(int(request.match_info["mailing"]), contact, body.get("extraContactData", []))
        return {"status": "OK"}

    async def _send_single_mail(self, request: web.Request) -> Any:
        keys = {"mailingId", "attachments", "contact", "overrideDuplicateAndSend", "extraContactData"}
        body = await _body(request, keys)
        said = body.get("contact")
        if not isinstance(said, dict) or type(body.get("mailingId")) is not int:
            raise RefusedError(422, "mailingId and contact are required")
        contact = self.account.find(str(said.get("email", "")))
        if contact is not None and not body.get("overrideDuplicateAndSend"):
            raise RefusedError(409, "Contact already exists")
        if contact is None:
            contact = self.account.create(said)
            self._announce(contact)
        else:
            self.account.update(contact, said)
        self.account.mail(body["mailingId"], contact, body.get("extraContactData", []))
        return {"status": "OK", "id": contact.id}

    async def _bulk(self, request: web.Request) -> Any:
        body = await _body(request, {"mailingId", "groups", "overwrite", "addDuplicateToGroup", "contacts"})
        return [self._bulk_one(each, body) for each in body.get("contacts", [])]

    def _bulk_one(self, said: Any, body: dict[str, Any]) -> dict[str, Any]:
        try:
            contact = self.account.find(str(said.get("email", "")))
            known = contact is not None
            if contact is None:
                contact = self.account.create(said)
            elif body.get("overwrite"):
                self.account.update(contact, said)
            if body.get("groups") and (not known or body.get("addDuplicateToGroup")):
                self.account.join(contact, body["groups"])
            self.account.mail(int(body.get("mailingId", 0)), contact, [])
        except (RefusedError, AttributeError) as error:
            return {"status": "ERROR", "message": str(error)}
        return {"status": "DUPLICATE" if known else "OK", "id": contact.id}


def _json(body: Any, status: int) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def _decoded(raw: bytes, status: int) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RefusedError(status, "Invalid JSON") from None


async def _body(request: web.Request, keys: set[str] | None = None) -> dict[str, Any]:
    """The JSON object of a request, with no other keys than those that are known."""
    body = _decoded(await request.read(), 400)
    if request.content_type != "application/json" or not isinstance(body, dict):
        raise RefusedError(400, "Expected a JSON object")
    if keys is not None and set(body) - keys:
        raise RefusedError(422, f"unknown keys: {', '.join(sorted(set(body) - keys))}")
    return body


def _listing(request: web.Request, items: list[Any], row: Callable[[Any], Any] = lambda each: each) -> dict[str, Any]:
    """The list envelope. ``next`` is a path of the host with the whole query, and null on the last page."""
    try:
        page, length = int(request.query.get("page", "1")), int(request.query.get("pagelength", "100"))
    except ValueError:
        raise RefusedError(400, "page and pagelength: expected numbers") from None
    if page < 1 or not 1 <= length <= MAX_PAGE:
        raise RefusedError(422, f"page from 1, pagelength from 1 to {MAX_PAGE}")
    shown = items[(page - 1) * length : page * length]
    following = {**request.query, "page": str(page + 1), "pagelength": str(length)}
    more = page * length < len(items)
    return {
        "totalRecords": len(items),
        "next": f"{request.path}?{urlencode(following)}" if more else None,
        "result": [row(each) for each in shown],
    }
