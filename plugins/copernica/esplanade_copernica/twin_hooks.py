"""Who is told of what happens: the webhooks (Marketing Suite) and callback URLs (Publisher) that the account registered.

Webhooks: ``POST /v4/webhooks``, ``GET/PUT/DELETE /v4/webhook/$id``; there is no list. Callbacks: the ``/v1`` calls, where
the API token is a query parameter. Section 10.1 and 11 of the vendor's pages webhooks, callbacks and rest-post-webhooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from aiohttp import web
from msgspec import Struct, field

from .twin_account import Account, Event
from .twin_answers import created, deleted, done, json_answer, listing, object_of
from .twin_fields import RefusedError, as_text
from .twin_gate import Call, Gate, routes_of

TRIGGERS = frozenset(("create", "update", "delete", "unsubscribe", "click", "delivery", "open", "bounce", "failure"))
CHANGES = ("create", "update", "delete")
CALLBACK_TRIGGERS = ("publisher", "rest", "soap", "click", "open", "failure", "bounce", "import", "copy")
"""What may be told to fire a callback. Anything else that happens, such as a form or the Marketing Suite, always does."""

Shape = Literal["A", "B", "C"]


class Webhook(Struct, kw_only=True):
    """One webhook; an empty ``callers`` means all."""

    id: int
    handler: str
    trigger: str
    callers: list[str] = field(default_factory=list)
    database: int | None = None
    collection: int | None = None

    def hears(self, event: Event) -> bool:
        """One of a database hears of its profiles, one of a collection of its subprofiles, one of neither of all."""
        record = event.record
        if self.trigger != event.type or (self.callers and event.caller not in self.callers):
            return False
        if self.collection is not None:
            return record.collection == self.collection
        return self.database is None or (record.collection is None and record.database == self.database)


class Callback(Struct, kw_only=True):
    """One callback URL, of a database or of a collection. ``shape`` is which of the three known bodies it sends."""

    id: int
    url: str
    method: str = "JSON"
    action: str = "all"
    expression: str = ""
    database: int
    collection: int | None = None
    triggers: list[str] = field(default_factory=lambda: list(CALLBACK_TRIGGERS))
    shape: Shape = "A"

    def hears(self, event: Event) -> bool:
        """The JavaScript condition is kept and not run."""
        here = (event.record.database, event.record.collection) == (self.database, self.collection)
        selected = event.caller in self.triggers or event.caller not in CALLBACK_TRIGGERS
        return here and selected and event.type in CHANGES and self.action in {"all", event.type}


class Hooks:
    """The registered webhooks and callbacks, and the calls that manage them."""

    def __init__(self, account: Account, gate: Gate) -> None:
        self.account = account
        self.gate = gate
        self.webhooks: dict[int, Webhook] = {}
        self.callbacks: dict[int, Callback] = {}
        self.json_shape: Shape = "A"
        """The body of callbacks of method JSON that are made from now on: A, or B; those of method XML send C."""
        self._last_id = 1893

    def routes(self) -> Sequence[web.RouteDef]:
        webhooks: list[tuple[str, str, Call]] = [
            ("POST", "/webhooks", self._create),
            ("GET", "/webhook/{id}", self._read),
            ("PUT", "/webhook/{id}", self._update),
            ("DELETE", "/webhook/{id}", self._delete),
        ]
        callbacks: list[tuple[str, str, Call]] = [
            ("GET", "/{kind:database|collection}/{id}/callbacks", self._callbacks),
            ("POST", "/{kind:database|collection}/{id}/callbacks", self._create_callback),
            ("GET", "/callback/{id}", self._read_callback),
            ("POST", "/callback/{id}", self._update_callback),
        ]
        return [*routes_of(webhooks, self.gate), *routes_of(callbacks, self.gate, "v1")]

    def add_callback(
        self,
        url: str,
        *,
        database: int,
        collection: int | None = None,
        method: str = "JSON",
        action: str = "all",
        expression: str = "",
        triggers: Sequence[str] = CALLBACK_TRIGGERS,
        shape: Shape | None = None,
    ) -> Callback:
        """Make a callback URL, as people do in Publisher; only they can say what triggers it."""
        is_known = method.upper() in {"JSON", "XML"} and action in {"create", "update", "delete", "all"}
        if not url.startswith(("http://", "https://")) or not is_known:
            raise RefusedError("Invalid data provided")
        self._last_id += 1
        made = Callback(
            id=self._last_id,
            url=url,
            method=method.upper(),
            action=action,
            expression=expression,
            database=database,
            collection=collection,
            triggers=list(triggers),
            shape=shape or ("C" if method.upper() == "XML" else self.json_shape),
        )
        self.callbacks[made.id] = made
        return made

    # Webhooks.

    def add(
        self,
        handler: str,
        trigger: str,
        callers: Sequence[str] = (),
        *,
        database: int | None = None,
        collection: int | None = None,
    ) -> Webhook:
        """Make a webhook."""
        self._last_id += 1
        made = Webhook(
            id=self._last_id,
            handler=handler,
            trigger=trigger,
            callers=list(callers),
            database=database,
            collection=collection,
        )
        self.webhooks[made.id] = made
        return made

    def _webhook(self, request: web.Request) -> Webhook:
        found = self.webhooks.get(_number(request))
        if found is None:
            raise RefusedError("No entity with supplied ID")
        return found

    async def _create(self, request: web.Request) -> web.Response:
        body = await object_of(request)
        handler, trigger, callers = _said(body, {"handler": "", "trigger": "", "callers": []})
        database, collection = (as_text(body.get(key)) or None for key in ("database", "collection"))
        made = self.add(
            handler,
            trigger,
            callers,
            database=self.account.database(database).id if database else None,
            collection=self.account.collection(collection).id if collection else None,
        )
        return created(request, "webhook", made.id)

    async def _read(self, request: web.Request) -> web.Response:
        hook = self._webhook(request)
        said = {"handler": hook.handler, "trigger": hook.trigger, "callers": hook.callers}
        return json_answer({"ID": str(hook.id), **said})

    async def _update(self, request: web.Request) -> web.Response:
        hook = self._webhook(request)
        now = {"handler": hook.handler, "trigger": hook.trigger, "callers": hook.callers}
        hook.handler, hook.trigger, hook.callers = _said(await object_of(request), now)
        return done()

    async def _delete(self, request: web.Request) -> web.Response:
        hook = self._webhook(request)
        del self.webhooks[hook.id]
        return deleted("webhook", hook.id)

    # Callbacks.

    def _place(self, request: web.Request) -> tuple[int, int | None]:
        if request.match_info["kind"] == "database":
            return self.account.database(request.match_info["id"]).id, None
        table = self.account.collection(request.match_info["id"])
        return table.database or 0, table.id

    def _callback(self, request: web.Request) -> Callback:
        found = self.callbacks.get(_number(request))
        if found is None:
            raise RefusedError("No entity with supplied ID")
        return found

    async def _callbacks(self, request: web.Request) -> web.Response:
        place = self._place(request)
        here = [each for each in self.callbacks.values() if (each.database, each.collection) == place]
        return json_answer(listing(request, here, _callback_row))

    async def _create_callback(self, request: web.Request) -> web.Response:
        (database, collection), body = self._place(request), await object_of(request)
        given: dict[str, Any] = {key: as_text(body[key]) for key in ("method", "expression", "action") if key in body}
        made = self.add_callback(as_text(body.get("url")), database=database, collection=collection, **given)
        return created(request, "callback", made.id)

    async def _read_callback(self, request: web.Request) -> web.Response:
        return json_answer(_callback_row(self._callback(request)))

    async def _update_callback(self, request: web.Request) -> web.Response:
        callback = self._callback(request)
        for key, value in (await object_of(request)).items():
            if key in {"url", "method", "expression", "action"}:
                setattr(callback, key, as_text(value))
        return json_answer(_callback_row(callback))


def _callback_row(callback: Callback) -> dict[str, Any]:
    place = {"database": str(callback.database), "collection": str(callback.collection or "")}
    said = {
        "url": callback.url,
        "expression": callback.expression,
        "method": callback.method,
        "action": callback.action,
    }
    return {"ID": str(callback.id), **said, **place}


def _said(body: dict[str, Any], missing: dict[str, Any]) -> tuple[str, str, list[str]]:
    """Handler, trigger and callers of a body, as a webhook takes them."""
    handler, trigger, callers = (body.get(key, missing[key]) for key in ("handler", "trigger", "callers"))
    is_url = isinstance(handler, str) and handler.startswith(("http://", "https://"))
    is_list = isinstance(callers, list) and all(isinstance(each, str) for each in callers)
    if not is_url or not is_list or trigger not in TRIGGERS:
        raise RefusedError("Invalid data provided")
    return str(handler), str(trigger), list(callers)


def _number(request: web.Request) -> int:
    text = request.match_info["id"]
    return int(text) if text.isdecimal() else 0
