"""Account web-hooks, which are registered through the API, and what they send (section 8a).

What is known: one web-hook is for one event; it may carry HTTP Basic; ``last_response_code`` and ``errors_in_row`` count what came
of it. The body is not published, so its shape is a habit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET, Struct, UnsetType

from esplanade.testing import Call

from .settings import WebhookEvent
from .twin_answers import Columns, answer, deleted, ok, page
from .twin_scenarios import FORM, JSON, basic
from .twin_values import RefusedError, read_as

if TYPE_CHECKING:
    from aiohttp import web

    from .twin_account import Account
    from .twin_gate import Gate, Route
    from .twin_habits import BodyShape
    from .twin_records import Contact

EVENTS: tuple[str, ...] = get_args(WebhookEvent)
HOOK_KEYS = (
    "id",
    "url",
    "method",
    "event",
    "active",
    "timeout",
    "last_response_code",
    "last_call_time",
    "errors_in_row",
)
HOOKS = Columns(select=HOOK_KEYS, sort=HOOK_KEYS, filter=HOOK_KEYS)


class BasicAuth(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Credentials that a web-hook carries."""

    login: str
    password: str


class NewHook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that registers a web-hook."""

    target_url: str
    event: str
    basic_auth: BasicAuth | None = None


class ChangedHook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that changes one, should there be such a call."""

    target_url: str | UnsetType = UNSET
    event: str | UnsetType = UNSET
    active: bool | UnsetType = UNSET
    basic_auth: BasicAuth | UnsetType | None = UNSET


class Hook(Struct, kw_only=True):
    """A registered web-hook."""

    id: int
    url: str
    event: str
    active: bool = True
    timeout: int = 30
    last_response_code: int | None = None
    last_call_time: float | None = None
    errors_in_row: int = 0
    auth: BasicAuth | None = None


class HookApi:
    """The registered web-hooks, and the calls that manage them. ``send`` makes a call to a URL."""

    def __init__(self, account: Account, gate: Gate, send: Callable[[Hook, Call], None]) -> None:
        self.account = account
        self.gate = gate
        self.hooks: dict[int, Hook] = {}
        self._send = send

    def calls(self) -> Sequence[Route]:
        one = r"web-hooks/{id:\d+}"
        single = [("GET", one, self._read), ("PUT", one, self._change)]
        return [
            ("GET", "web-hooks", self._list),
            ("POST", "web-hooks", self._create),
            ("DELETE", one, self._delete),
            *single,
        ]

    # What happens.

    def tell(self, event: str, contact: Contact) -> None:
        """Call every active web-hook of an event."""
        for hook in self.hooks.values():
            if hook.active and hook.event == event:
                self._send(hook, self.call(event, contact, hook.auth))

    def call(self, event: str, contact: Contact, auth: BasicAuth | None = None) -> Call:
        """What a web-hook sends of a contact."""
        shape = self.gate.habits.hook_body
        said = {"contact_id": contact.id, "emailaddress": contact.emailaddress}
        headers = {"Content-Type": FORM if shape == "form" else JSON}
        if auth is not None:
            headers["Authorization"] = basic(auth.login, auth.password)
        body = _body(shape, event, said)
        return Call(headers=headers, body=urlencode(body).encode() if shape == "form" else msgspec.json.encode(body))

    def answered(self, hook: Hook, status: int | None) -> None:
        """Count what came of a call; None where nothing did."""
        hook.last_response_code, hook.last_call_time = status, self.account.now()
        hook.errors_in_row = 0 if status is not None and 200 <= status < 300 else hook.errors_in_row + 1
        most = self.gate.habits.disables_after
        if most is not None and hook.errors_in_row >= most:
            hook.active = False

    # The calls.

    def add(self, url: str, event: str, auth: BasicAuth | None = None) -> Hook:
        """Register a web-hook, even where there is one like it."""
        if not url.startswith(("http://", "https://")):
            raise RefusedError("Target URL is not valid.")
        if event not in {*EVENTS, *self.gate.habits.more_hook_events}:
            raise RefusedError(f"Event {event} is not allowed.")
        made = Hook(id=max(self.hooks, default=0) + 1, url=url, event=event, auth=auth)
        self.hooks[made.id] = made
        return made

    async def _create(self, request: web.Request) -> web.Response:
        """The id stands at the top level, and ``meta`` is an empty object for once."""
        said = read_as(NewHook, await self.gate.body(request))
        made = self.add(said.target_url, said.event, said.basic_auth)
        return answer({"id": made.id, "status": "created", "meta": {}}, 201)

    async def _list(self, request: web.Request) -> web.Response:
        return page(request, self.gate.habits, HOOKS, list(self.hooks.values()), self._row)

    def _row(self, hook: Hook) -> dict[str, Any]:
        """A web-hook as it is listed; whether it carries credentials is not shown."""
        row = {key: getattr(hook, key) for key in HOOK_KEYS if key != "method"}
        return {**row, "method": "POST", "last_call_time": self.account.shown(hook.last_call_time)}

    def _hook(self, request: web.Request) -> Hook:
        found = self.hooks.get(int(request.match_info["id"]))
        if found is None:
            raise RefusedError("Web-hook does not exist.", 404)
        return found

    async def _delete(self, request: web.Request) -> web.Response:
        del self.hooks[self._hook(request).id]
        return deleted()

    async def _read(self, request: web.Request) -> web.Response:
        self._check_single()
        return ok(self._row(self._hook(request)))

    async def _change(self, request: web.Request) -> web.Response:
        self._check_single()
        hook, said = self._hook(request), read_as(ChangedHook, await self.gate.body(request))
        url = hook.url if isinstance(said.target_url, UnsetType) else said.target_url
        event = hook.event if isinstance(said.event, UnsetType) else said.event
        made = self.add(url, event, hook.auth if isinstance(said.basic_auth, UnsetType) else said.basic_auth)
        del self.hooks[made.id]
        made.id, made.active = hook.id, hook.active if isinstance(said.active, UnsetType) else said.active
        self.hooks[hook.id] = made
        return ok(self._row(made))

    def _check_single(self) -> None:
        if not self.gate.habits.single_web_hooks:
            raise RefusedError("Method not allowed.", 405)


def _body(shape: BodyShape, event: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """One of the bodies that ``webhook_email_paths`` and ``webhook_contact_id_paths`` reckon with."""
    match shape:
        case "flat" | "form":
            return {"event": event, **said}
        case "contact":
            return {"event": event, "contact": {"id": said["contact_id"], "emailaddress": said["emailaddress"]}}
        case "data":
            return {"event": event, "data": dict(said)}
        case "list":
            return {"event": event, "data": [dict(said)]}
        case "id":
            return {"event": event, "contact_id": said["contact_id"]}
