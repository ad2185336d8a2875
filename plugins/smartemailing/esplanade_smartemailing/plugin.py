"""The SmartEmailing connector: what the hub says, in the words of one SmartEmailing account."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from esplanade import (
    Alters,
    CheckResult,
    Connector,
    ConsentEvent,
    Context,
    Discovery,
    Endpoint,
    Happening,
    HeaderAuth,
    Inbound,
    InboundRequest,
    Manifest,
    Outcome,
    Page,
    PersonRef,
    ProfileEvent,
    Report,
    TriggerEvent,
    Webhooks,
    hookimpl,
)

from . import webhooks
from .client import Account, RefusedError, as_id, basic
from .consents import Consents
from .echoes import EXPECTED, Echoes, Reads, Recent
from .layout import Layout
from .profiles import Profiles
from .settings import SmartEmailingAudience, SmartEmailingConsent, SmartEmailingSettings, SmartEmailingTrigger
from .values import LOCAL, READ_ONLY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esplanade.testing import Twin

    from .pull import Pull


class SmartEmailingConnector(Connector[SmartEmailingSettings]):
    """One SmartEmailing account."""

    manifest = Manifest(
        title="SmartEmailing",
        vendor_api="API v3, as publicly known in July 2026",
        owner="The Esplanade authors",
        homepage="https://app.smartemailing.cz/docs/api/v3/index.html",
    )
    Settings = SmartEmailingSettings
    Consent = SmartEmailingConsent
    Audience = SmartEmailingAudience
    Trigger = SmartEmailingTrigger

    read_only_fields = frozenset(READ_ONLY)
    address_change = "rename"
    trigger_repeat = "never"

    def __init__(self, settings: SmartEmailingSettings) -> None:
        super().__init__(settings)
        self.batch_items = settings.import_batch
        dates = Alters(formats=[LOCAL], timezone=settings.esp_timezone)
        self.alters = MappingProxyType({"date": dates, "datetime": dates})
        self._layout = Layout()
        self._echoes = Echoes()
        self._reads = Reads()
        self._recent = Recent()

    def endpoint(self) -> Endpoint:
        settings = self.settings
        auth = HeaderAuth(name="Authorization", value=basic(settings.username, settings.api_key.reveal()))
        return Endpoint(base_url=settings.base_url, auth=auth, headers={"Accept": "application/json"})

    @classmethod
    def twin(cls) -> type[Twin[Any]]:
        from .twin import SmartEmailingTwin

        return SmartEmailingTwin

    # Hooks.

    @hookimpl
    async def on_profile_batch(
        self, events: Sequence[ProfileEvent[SmartEmailingAudience]], ctx: Context
    ) -> list[Outcome | Exception]:
        """One import for all of them; a changed address is changed first."""
        return await Profiles(self._account(ctx), self._layout, ctx, self._echoes, self._recent).write(events)

    @hookimpl
    async def on_consent_batch(
        self, events: Sequence[ConsentEvent[SmartEmailingConsent]], ctx: Context
    ) -> list[Outcome | Exception]:
        """One import for all that have equal flags."""
        return await Consents(self._account(ctx), self._layout, ctx, self._echoes, self._recent).write(events)

    @hookimpl
    async def on_trigger_batch(
        self, events: Sequence[TriggerEvent[SmartEmailingTrigger]], ctx: Context
    ) -> list[Outcome | Exception]:
        """Events for scenarios in one call, transactional mails in as few as the vendor takes."""
        from .triggers import Mailer

        return await Mailer(self._account(ctx), self._layout, ctx).send(events)

    @hookimpl
    async def on_inbound_webhook(self, event: InboundRequest, ctx: Context) -> list[Inbound]:
        """Web-hooks of the account and of scenarios: whoever they name is read before anything is believed."""
        call = webhooks.read(event, self.settings)
        if not call.people:
            ctx.log.info("call is about no contact", type=call.event)
        said: list[Inbound] = []
        read: list[tuple[str, float]] = []
        came_at = event.received_at.timestamp()
        for person in call.people:
            name = person.email or person.contact or ""
            if self._is_echo(call.event, name, ctx):
                ctx.log.debug("call that an import of ours set off", type=call.event)
                continue
            if call.event in EXPECTED and self._reads.covers(name, came_at):
                ctx.log.debug("contact was read since this call came", type=call.event)
                continue
            began_at = ctx.clock.time()
            try:
                report = await self._read(person, ctx)
            except RefusedError as refused:
                if len(call.people) == 1:
                    raise
                ctx.log.warning("one of several in a call cannot be read", type=call.event, error=str(refused))
                continue
            read.append((name, began_at))
            said.append(report)
            if not call.is_change and not report.deleted and report.email is not None:
                said.append(Happening(name=call.event, email=report.email, data=call.data))
        for name, began_at in read:
            self._reads.note(name, began_at, came_at)
        return said

    def _is_echo(self, event: str, name: str, ctx: Context) -> bool:
        """Whether an import of ours set a call off; not to be told where opt-outs come as nothing but a change."""
        if "unsubscribed_contact" not in self.settings.webhook_events:
            return False
        return self._echoes.is_one(event, name, ctx.clock)

    async def _read(self, person: webhooks.Named, ctx: Context) -> Report:
        """What the vendor holds of whom a call names, now."""
        account, pull, read_at = self._account(ctx), self._pull(ctx), datetime.fromtimestamp(ctx.clock.time(), UTC)
        row = await account.find(person.email) if person.email is not None else None
        if row is None and person.contact is not None:  # after the address, beside which it may be no contact's id
            row = await account.read(person.contact)
        if row is None:
            # beside an address it may be the id of something else
            known = person.contact if person.email is None else None
            return Report(email=person.email, remote_id=known, deleted=True, read_at=read_at)
        return replace(await pull.report(row), read_at=read_at)

    # Methods.

    async def verify(self, request: InboundRequest, ctx: Context) -> bool:
        """Whether a call carries the secret and the credentials that the settings ask for."""
        why_not = webhooks.why_not(request, self.settings)
        if why_not is not None:
            ctx.log.warning("webhook is refused", why=why_not)
        return why_not is None

    async def check(self, ctx: Context) -> CheckResult:
        from . import discovery

        return await discovery.check(self._account(ctx), ctx)

    async def discover(self, ctx: Context) -> Discovery:
        from . import discovery

        return await discovery.discover(self._account(ctx))

    async def pull(self, cursor: str | None, ctx: Context) -> Page:
        return await self._pull(ctx).page(cursor)

    async def fetch(self, person: PersonRef, ctx: Context) -> Report | None:
        return await self._pull(ctx).person(person)

    async def erase(self, person: PersonRef, ctx: Context) -> bool:
        """Whether there was a contact, which is forgotten with all that the vendor keeps of it (section 5)."""
        account, known = self._account(ctx), person.remote_id
        row = await account.find(person.email) if known is None else await account.read(known)
        number = None if row is None else as_id(row)
        return number is not None and await account.forget(number)

    async def register_webhooks(self, url: str, ctx: Context) -> Webhooks:
        from .registration import Registration

        return await Registration(self._account(ctx), ctx).register(url)

    async def remove_webhooks(self, ctx: Context) -> Webhooks:
        from .registration import Registration

        return await Registration(self._account(ctx), ctx).remove()

    def _account(self, ctx: Context) -> Account:
        return Account(self.settings, ctx.http)

    def _pull(self, ctx: Context) -> Pull:
        from .pull import Pull

        return Pull(self._account(ctx), self._layout, ctx)
