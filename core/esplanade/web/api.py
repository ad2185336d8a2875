"""Events in: ``POST /v1/profiles``, ``/v1/consents``, ``/v1/triggers``. Answered once they are on disk."""

from collections.abc import Awaitable, Collection, Sequence
from functools import partial
from hashlib import blake2b

import msgspec
from aiohttp import web
from msgspec import Raw, Struct
from multidict import CIMultiDict, istr

from esplanade.ingest.accept import Admission, Rejected
from esplanade.model import Kind
from esplanade.records import Answered

from .access import Doors
from .body import body_at_hand, is_ndjson, read_body, split_items
from .port import HubPort
from .problems import API_HEADERS, PROBLEM_JSON, Problem, busy

ROUTES: dict[str, Kind] = {"/v1/profiles": "profile", "/v1/consents": "consent", "/v1/triggers": "trigger"}
_KEY = istr("Idempotency-Key")
_MAX_KEY = 255
_JSON_ANSWER = CIMultiDict({**API_HEADERS, "Content-Type": "application/json"})
_PROBLEM_ANSWER = CIMultiDict({**API_HEADERS, "Content-Type": PROBLEM_JSON})
_encode = msgspec.json.Encoder().encode


class Sender(Struct, frozen=True, kw_only=True):
    """On whose behalf events are taken, and how."""

    source: str
    kind: Kind
    may: Collection[Kind]
    backfill: bool = False
    """Behind everything live, and only as fast as the fold keeps up."""
    imported: bool = False


class Accepted(Struct, kw_only=True):
    """The answer to an accept."""

    accepted: int
    ids: list[str]
    rejected: list[Rejected]


class Events:
    """The routes that sources send to, and the way of a request through them."""

    def __init__(self, hub: HubPort, doors: Doors) -> None:
        self._hub = hub
        self._doors = doors
        self._running: set[tuple[str, str]] = set()

    def routes(self) -> list[web.RouteDef]:
        """What to serve."""
        return [web.post(path, partial(self._post, kind)) for path, kind in ROUTES.items()]

    def _post(self, kind: Kind, request: web.Request) -> Awaitable[web.Response]:
        name, source = self._doors.source(request)
        if kind not in source.may:
            raise Problem(403, f"this source may not send {kind} events; add `{kind}` to its `may` in connectors.yaml")
        return self.take(request, Sender(source=name, kind=kind, may=source.may))

    def take(self, request: web.Request, sender: Sender) -> Awaitable[web.Response]:
        """Read, judge, commit, answer. Raises Problem, or its awaitable does."""
        ndjson = is_ndjson(request)
        if not sender.backfill and self._hub.intake.full():
            raise busy("events come in faster than they are handled; slow down and send this again")
        key = _idempotency_key(request)
        if key is not None:
            return self._keyed(request, sender, key, ndjson=ndjson)
        body = body_at_hand(request)
        if body is None:
            return self._late(request, sender, ndjson=ndjson)
        return self._fresh(sender, split_items(body, ndjson=ndjson))

    async def _late(self, request: web.Request, sender: Sender, *, ndjson: bool) -> web.Response:
        return await self._fresh(sender, split_items(await read_body(request), ndjson=ndjson))

    async def _keyed(self, request: web.Request, sender: Sender, key: str, *, ndjson: bool) -> web.Response:
        running = (sender.source, key)
        if running in self._running:
            raise Problem(409, "a request with this Idempotency-Key is still running", headers={"Retry-After": "1"})
        self._running.add(running)
        try:
            return await self._once(sender, key, await read_body(request), ndjson=ndjson)
        finally:
            self._running.discard(running)

    async def _once(self, sender: Sender, key: str, body: bytes, *, ndjson: bool) -> web.Response:
        digest = blake2b(b"%s\0%d\0" % (sender.kind.encode(), ndjson) + body, digest_size=32).digest()
        earlier = await self._hub.store.read(lambda reader: reader.answered(sender.source, key))
        if earlier is None:
            unanswered = Answered(source=sender.source, key=key, digest=digest, status=0, answer=b"")
            return await self._fresh(sender, split_items(body, ndjson=ndjson), unanswered)
        if earlier.digest != digest:
            raise Problem(
                422, "this Idempotency-Key came with another body before; use a new key", kind="idempotency-key-reused"
            )
        return _answer(earlier.status, earlier.answer, replayed=True)

    async def _fresh(self, sender: Sender, items: Sequence[bytes | Raw], key: Answered | None = None) -> web.Response:
        intake = self._hub.intake
        admission = await intake.admit_all(
            sender.source, sender.kind, items, may=sender.may, backfill=sender.backfill, imported=sender.imported
        )
        status, answer = _answer_to(admission, len(items))
        if sender.backfill:
            await intake.wait_for_room()
        if admission.entries or key is not None:
            answered = key and msgspec.structs.replace(key, status=status, answer=answer)
            await intake.accept(admission.entries, answered)
        return _answer(status, answer)


def _answer_to(admission: Admission, items: int) -> tuple[int, bytes]:
    """Status and body. Raises Problem 400 when not one item was JSON."""
    rejected = admission.rejected
    if admission.entries or not items:
        ids = admission.ids
        return 202, _encode(Accepted(accepted=len(ids), ids=ids, rejected=rejected))
    if admission.malformed == items:
        raise Problem(400, rejected[0].error)
    refused = Problem(422, "not one item was acceptable; `rejected` says why", accepted=0, ids=[], rejected=rejected)
    return 422, refused.body


def _answer(status: int, answer: bytes, *, replayed: bool = False) -> web.Response:
    response = web.Response(status=status, body=answer, headers=_JSON_ANSWER if status < 400 else _PROBLEM_ANSWER)
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _idempotency_key(request: web.Request) -> str | None:
    given = request.headers.get(_KEY)
    if given is None:
        return None
    key = given.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not (0 < len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
        raise Problem(400, f"an Idempotency-Key is 1 to {_MAX_KEY} printable ASCII characters")
    return key
