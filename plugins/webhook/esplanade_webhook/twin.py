"""The receiver's twin: takes Standard Webhooks to the letter and holds what the events say of each person."""

import hashlib
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec import Meta, Struct, field

from esplanade import Secret, Value
from esplanade.http import verify_standard_webhook
from esplanade.testing import Twin

from .settings import WebhookSettings

KEPT_EVENTS = 10_000
Moment: TypeAlias = Annotated[datetime, Meta(tz=True)]


class ProfileUpdated(Struct, forbid_unknown_fields=True):
    """The data of ``profile.updated``. A field that is null was cleared."""

    email: str
    fields: dict[str, Value] = field(default_factory=dict)
    person: str | None = None
    id: str | None = None
    previous_email: str | None = None


class AudienceChanged(Struct, forbid_unknown_fields=True):
    """The data of ``audience.changed``."""

    email: str
    audiences: dict[str, bool]


class ConsentChanged(Struct, forbid_unknown_fields=True):
    """The data of ``consent.changed``."""

    email: str
    purpose: str
    state: Literal["granted", "denied"]
    at: Moment
    method: str | None = None


class Triggered(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The data of ``trigger``."""

    email: str
    trigger: str
    trigger_id: str
    language: str
    data: dict[str, Any]
    products: dict[str, Any] | None = None
    expires_at: Moment | None = None


Data: TypeAlias = ProfileUpdated | AudienceChanged | ConsentChanged | Triggered
TYPES: dict[str, type[Data]] = {
    "profile.updated": ProfileUpdated,
    "audience.changed": AudienceChanged,
    "consent.changed": ConsentChanged,
    "trigger": Triggered,
}


class Known(Struct):
    """What the receiver holds of one person."""

    fields: dict[str, Value] = field(default_factory=dict)
    consents: dict[str, str] = field(default_factory=dict)
    audiences: dict[str, bool] = field(default_factory=dict)


class Received(Struct, frozen=True):
    """One event, as it came in the first time."""

    id: str
    type: str
    timestamp: Moment
    data: dict[str, Any]
    content_type: str


class WebhookTwin(Twin[WebhookSettings]):
    """One receiver. Answers 401 to a bad signature, 400 to what is no event, 409 to an id with another body."""

    name: ClassVar[str] = "webhook"

    def __init__(self, settings: WebhookSettings, **more: Any) -> None:
        super().__init__(settings, **more)
        self.people: dict[str, Known] = {}
        self.triggers: list[Triggered] = []
        self.events: deque[Received] = deque(maxlen=KEPT_EVENTS)
        self.duplicates = 0
        self._seen: dict[str, bytes] = {}

    @classmethod
    def demo_settings(cls) -> WebhookSettings:
        return WebhookSettings(
            url="https://cdp.example/hooks/esplanade",
            secret=Secret("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
        )

    def routes(self) -> Sequence[web.RouteDef]:
        path = urlsplit(self.settings.path).path
        return [web.post(path, self._take), web.head(path, self._probe)]

    def rewired(self, settings: WebhookSettings) -> WebhookSettings:
        return msgspec.structs.replace(settings, url=self.origin + settings.path, base_url=None)

    def credentials(self) -> dict[str, Any]:
        return {"url": self.origin + self.settings.path, "secret": self.settings.secret.reveal()}

    def snapshot(self) -> dict[str, Any]:
        people = {email: msgspec.to_builtins(known, order="sorted") for email, known in sorted(self.people.items())}
        return {
            "people": people,
            "triggers": msgspec.to_builtins(self.triggers),
            "events": len(self._seen),
            "duplicates": self.duplicates,
        }

    async def _probe(self, request: web.Request) -> web.Response:
        return web.Response(status=204 if self._genuine(request, b"") else 401)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not self._genuine(request, body):
            return web.Response(status=401, text="the signature or its time is not right")
        message_id, digest = request.headers["webhook-id"], hashlib.sha256(body).digest()
        if message_id in self._seen:
            if self._seen[message_id] != digest:
                return web.Response(status=409, text="this webhook-id came before with another body")
            self.duplicates += 1
            return web.Response(status=204)
        try:
            received = _read(message_id, request.content_type, body)
            data = msgspec.convert(received.data, TYPES[received.type])
        except (msgspec.MsgspecError, KeyError) as error:
            return web.Response(status=400, text=f"no canonical event: {error}")
        self._seen[message_id] = digest
        self.events.append(received)
        self._fold(data)
        return web.Response(status=204)

    def _genuine(self, request: web.Request, body: bytes) -> bool:
        keys = [key.reveal() for key in self.settings.keys]
        return verify_standard_webhook(keys, request.headers, body, self.clock.time())

    def _fold(self, data: Data) -> None:
        match data:
            case ProfileUpdated():
                self._rename(data)
                known = self._known(data.email)
                for name, value in data.fields.items():
                    if value is None:
                        known.fields.pop(name, None)
                    else:
                        known.fields[name] = value
            case AudienceChanged():
                self._known(data.email).audiences |= data.audiences
            case ConsentChanged():
                self._known(data.email).consents[data.purpose] = data.state
            case Triggered():
                self.triggers.append(data)

    def _rename(self, data: ProfileUpdated) -> None:
        former = self.people.pop(data.previous_email or "", None)
        if former is None:
            return
        known = self._known(data.email)
        known.fields = former.fields | known.fields
        known.audiences = former.audiences | known.audiences
        known.consents = former.consents | known.consents

    def _known(self, email: str) -> Known:
        return self.people.setdefault(email, Known())


def _read(message_id: str, content_type: str, body: bytes) -> Received:
    """The event in either envelope. Raises MsgspecError or KeyError when it is none."""
    event = msgspec.json.decode(body, type=dict[str, Any])
    if content_type == "application/cloudevents+json":
        if event["specversion"] != "1.0" or event["id"] != message_id or not event["source"]:
            raise KeyError("specversion, id or source")
        event = {"timestamp": event["time"], "type": event["type"], "data": event["data"]}
    elif content_type != "application/json":
        raise KeyError(f"content type {content_type}")
    return msgspec.convert(event | {"id": message_id, "content_type": content_type}, Received)
