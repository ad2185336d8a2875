"""A system that stands beside the one that is tried and tells the hub whatever it is told, with its texts in another form."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
from aiohttp import web
from msgspec import Struct

from esplanade import (
    AudienceTarget,
    Connector,
    ConsentEvent,
    ConsentTarget,
    Context,
    Endpoint,
    Inbound,
    InboundRequest,
    Manifest,
    Origin,
    Outcome,
    ProfileEvent,
    Report,
    hookimpl,
)
from esplanade.testing import Furnishing, Twin


class MirrorSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What it makes of a text."""

    form: Literal["upper", "lower"] = "upper"
    base_url: Origin = Origin("https://mirror.invalid")


class MirrorTwin(Twin[MirrorSettings]):
    """The system itself: it calls the hub about everything that it is told, once ``tell`` says that its time has come."""

    name: ClassVar[str] = "mirror"

    def __init__(self, settings: MirrorSettings, **more: Any) -> None:
        super().__init__(settings, **more)
        self.untold: list[bytes] = []

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/told", self._told)]

    def rewired(self, settings: MirrorSettings) -> MirrorSettings:
        return msgspec.structs.replace(settings, base_url=Origin(self.origin))

    def furnish(self, furnishing: Furnishing) -> None:
        """Nothing has to be there."""

    async def _told(self, request: web.Request) -> web.Response:
        said = await request.json()
        said["fields"] = {name: self._formed(value) for name, value in said.get("fields", {}).items()}
        self.untold.append(msgspec.json.encode(said))
        return web.Response(status=204)

    def tell(self) -> None:
        """Call the hub about what it was told since the last time."""
        for body in self.untold:
            self.emit(body, {"Content-Type": "application/json"})
        self.untold.clear()

    def _formed(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return value.upper() if self.settings.form == "upper" else value.lower()


class Mirror(Connector[MirrorSettings]):
    """Takes every field under the hub's own name, and knows neither clock nor look-up."""

    manifest = Manifest(
        title="Mirror", vendor_api="1", owner="The Esplanade authors", homepage="https://mirror.invalid"
    )
    Settings = MirrorSettings
    Consent = ConsentTarget
    Audience = AudienceTarget
    all_fields = True

    def endpoint(self) -> Endpoint:
        return Endpoint(base_url=self.settings.base_url)

    @classmethod
    def twin(cls) -> type[MirrorTwin]:
        return MirrorTwin

    @hookimpl
    async def on_profile(self, event: ProfileEvent[Any], ctx: Context) -> Outcome:
        """All of it goes there, and comes back."""
        await ctx.http.post("/told", json={"email": event.email, "fields": event.desired}, repeatable=True)
        return Outcome()

    @hookimpl
    async def on_consent(self, event: ConsentEvent[Any], ctx: Context) -> Outcome:
        """The same."""
        await ctx.http.post(
            "/told", json={"email": event.email, "consents": {event.purpose: event.state}}, repeatable=True
        )
        return Outcome()

    @hookimpl
    async def on_inbound_webhook(self, event: InboundRequest, ctx: Context) -> list[Inbound]:
        """What it says it holds."""
        return [msgspec.json.decode(event.body, type=Report)]
