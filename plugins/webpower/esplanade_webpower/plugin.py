"""The Webpower connector: what the hub says, in the words of one Webpower (Spotler MailPro) campaign."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, assert_never

from esplanade import (
    Alters,
    CheckResult,
    Connector,
    ConsentEvent,
    Context,
    Discovery,
    Endpoint,
    Inbound,
    InboundRequest,
    Manifest,
    OAuth2ClientCredentials,
    Outcome,
    Page,
    PersonRef,
    ProfileEvent,
    Report,
    TriggerEvent,
    hookimpl,
)

from . import webhooks
from .client import Campaign
from .contacts import Who, save
from .groups import Groups
from .mapping import MAX_VALUE, acknowledged
from .optin import Consents
from .settings import WebpowerAudience, WebpowerConsent, WebpowerSettings, WebpowerTrigger

if TYPE_CHECKING:
    from esplanade.testing import Twin


class WebpowerConnector(Connector[WebpowerSettings]):
    """One campaign of one Webpower licence."""

    manifest = Manifest(
        title="Webpower (Spotler MailPro)",
        vendor_api="MailPro REST, as publicly known in 2025",
        owner="The Esplanade authors",
        homepage="https://mailpro.spotler.help",
    )
    Settings = WebpowerSettings
    Consent = WebpowerConsent
    Audience = WebpowerAudience
    Trigger = WebpowerTrigger

    read_only_fields = frozenset({"email", "id"})
    # A field's own length is the campaign's affair; what it cuts shows as drift.
    alters = MappingProxyType({"text": Alters(max_length=MAX_VALUE)})
    address_change = "rename"
    trigger_repeat = "never"

    def __init__(self, settings: WebpowerSettings) -> None:
        super().__init__(settings)
        self._groups = Groups(settings)

    def endpoint(self) -> Endpoint:
        settings = self.settings
        return Endpoint(
            base_url=settings.origin,
            auth=OAuth2ClientCredentials(
                token_url=settings.token_url,
                client_id=settings.client_id,
                client_secret=settings.client_secret.reveal(),
                scope="rest",
            ),
            headers={"Accept": "application/json"},
        )

    @classmethod
    def twin(cls) -> type[Twin[Any]]:
        from .twin import WebpowerTwin

        return WebpowerTwin

    # Hooks.

    @hookimpl
    async def on_profile(self, event: ProfileEvent[WebpowerAudience], ctx: Context) -> Outcome:
        """The Contacts call, then the Contact Groups calls."""
        campaign = self._campaign(ctx)
        fields = {**event.desired, **dict.fromkeys(event.cleared)}
        who = Who(email=event.email, remote_id=event.remote_id, previous_email=event.previous_email)
        saved = await save(who, fields, campaign, ctx)
        if saved.replaced is not None:
            await self._groups.move(saved.replaced, saved.id, event, campaign, ctx)
        await self._groups.join(saved.id, event.audiences.add, campaign, ctx)
        for name, target in event.audiences.remove.items():
            group = await self._groups.find(name, target, campaign, ctx)
            if group is not None:
                await self._groups.leave(saved.id, group, campaign, ctx)
        return Outcome(remote_id=str(saved.id), acknowledged=acknowledged(fields))

    @hookimpl
    async def on_consent(self, event: ConsentEvent[WebpowerConsent], ctx: Context) -> Outcome:
        """Into the consent group, out of it, or the vendor's own question."""
        consents = Consents(self._campaign(ctx), self._groups, ctx)
        match event.state:
            case "granted":
                return await consents.grant(event)
            case "pending":
                return await consents.ask(event)
            case "denied":
                return await consents.refuse(event)
            case _ as never:
                assert_never(never)

    @hookimpl
    async def on_trigger(self, event: TriggerEvent[WebpowerTrigger], ctx: Context) -> Outcome:
        """The trigger's mailing to this one contact."""
        from .triggers import Mailer

        return await Mailer(self._campaign(ctx), ctx).send(event)

    @hookimpl
    async def on_inbound_webhook(self, event: InboundRequest, ctx: Context) -> list[Inbound]:
        """MailPro webhooks and the callbacks of Webpower's own triggers."""
        return webhooks.read(event, self.settings, ctx)

    # Methods.

    async def verify(self, request: InboundRequest, ctx: Context) -> bool:
        return webhooks.verify(request, self.settings)

    async def check(self, ctx: Context) -> CheckResult:
        from . import discovery

        return await discovery.check(self._campaign(ctx))

    async def discover(self, ctx: Context) -> Discovery:
        from . import discovery

        return await discovery.discover(self._campaign(ctx), ctx)

    async def pull(self, cursor: str | None, ctx: Context) -> Page:
        from .pull import Pull

        return await Pull(self._campaign(ctx), ctx).page(cursor)

    async def fetch(self, person: PersonRef, ctx: Context) -> Report | None:
        from .pull import Pull

        return await Pull(self._campaign(ctx), ctx).person(person, self._groups)

    def _campaign(self, ctx: Context) -> Campaign:
        return Campaign(self.settings, ctx.http)
