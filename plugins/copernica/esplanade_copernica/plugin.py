"""The Copernica connector: what the hub says, in the words of one database of one Copernica account."""

from __future__ import annotations

import hashlib
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
    Outcome,
    Page,
    PersonRef,
    ProfileEvent,
    Report,
    TokenExchange,
    TriggerEvent,
    hookimpl,
)

from . import audiences
from .client import Database, as_id
from .consent import Consents
from .layout import BIG, Layout
from .profiles import Who, save
from .settings import CopernicaAudience, CopernicaConsent, CopernicaSettings, CopernicaTrigger
from .values import LOCAL, acknowledged, as_fields

if TYPE_CHECKING:
    from esplanade.testing import Twin

    from .pull import Pull
    from .signature import Verifier

ACCOUNT = "account"
"""Key of the account's id, and of what tells the API token that it was asked with from others."""


class CopernicaConnector(Connector[CopernicaSettings]):
    """One database of one Copernica account."""

    manifest = Manifest(
        title="Copernica",
        vendor_api="REST v4, as publicly known in August 2024",
        owner="The Esplanade authors",
        homepage="https://www.copernica.com/en/documentation",
    )
    Settings = CopernicaSettings
    Consent = CopernicaConsent
    Audience = CopernicaAudience
    Trigger = CopernicaTrigger

    address_change = "rename"
    trigger_repeat = "check"

    def __init__(self, settings: CopernicaSettings) -> None:
        super().__init__(settings)
        self.read_only_fields = frozenset({settings.email_field})
        dates = Alters(formats=[LOCAL, "%Y-%m-%d"], timezone=settings.timezone)
        self.alters = MappingProxyType({"date": dates, "datetime": dates})
        self._layout = Layout()
        self._verifier: Verifier | None = None

    def endpoint(self) -> Endpoint:
        settings = self.settings
        return Endpoint(
            base_url=settings.base_url,
            auth=TokenExchange(token_url=settings.auth_url, form={"access_token": settings.api_token.reveal()}),
            headers={"Accept": "application/json"},
        )

    @classmethod
    def twin(cls) -> type[Twin[Any]]:
        from .twin import CopernicaTwin

        return CopernicaTwin

    # Hooks.

    @hookimpl
    async def on_profile(self, event: ProfileEvent[CopernicaAudience], ctx: Context) -> Outcome:
        """The profile's fields, then the list of its audiences."""
        settings, database = self.settings, self._database(ctx)
        values = {**event.desired, **dict.fromkeys(event.cleared)}
        extra = self._customer_id(event)
        mapped = () if settings.fields_in == "collection" else values
        types = await self._layout.fields({settings.email_field, *mapped, *extra}, database, ctx)
        written = as_fields(values, types, settings.timezone)
        who = Who(email=event.email, remote_id=event.remote_id, previous_email=event.previous_email)
        beside = settings.fields_in == "collection"
        profile = await save(who, extra if beside else {**written, **extra}, database, ctx)
        if beside and written:
            collection = await self._layout.collection("profile", dict.fromkeys(written, BIG), database)
            await database.keep_one(profile, collection, written)
        await audiences.change(profile, event.audiences, self._layout, database, ctx)
        return Outcome(remote_id=profile, acknowledged=acknowledged(values, written))

    @hookimpl
    async def on_consent(self, event: ConsentEvent[CopernicaConsent], ctx: Context) -> Outcome:
        """The purpose's field."""
        consents = Consents(self._database(ctx), self._layout, ctx)
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
    async def on_trigger(self, event: TriggerEvent[CopernicaTrigger], ctx: Context) -> Outcome:
        """A row in the triggers collection, and a mailing to it where the trigger asks for one."""
        from .triggers import Mailer

        return await Mailer(self._database(ctx), self._layout, ctx).send(event)

    @hookimpl
    async def on_inbound_webhook(self, event: InboundRequest, ctx: Context) -> list[Inbound]:
        """Webhooks of the Marketing Suite and callbacks of the Publisher; who is only named by id is read."""
        from . import webhooks
        from .calls import decode

        call = decode(event, self.settings)
        collection = await self._profile_collection(ctx) if call.of_subprofile else None
        email: str | None = None
        if webhooks.needs_reading(call, self.settings, collection=collection) and call.profile is not None:
            row = await self._database(ctx).profile(call.profile)
            email = self._database(ctx).address(row) or None if row is not None else None
        return webhooks.read(call, self.settings, ctx, email=email, collection=collection)

    # Methods.

    async def verify(self, request: InboundRequest, ctx: Context) -> bool:
        """Whether a call carries the vendor's signature for this account. Raises TemporaryError while that cannot be told."""
        if self.settings.signature == "off":
            return True
        why_not = await self._signatures(ctx).why_not(request, account_id=await self._account(ctx))
        if why_not is not None:
            ctx.log.warning(
                "webhook is not signed as it should be", why=why_not, refused=self.settings.signature == "require"
            )
        return why_not is None or self.settings.signature == "log"

    async def was_sent(self, event: TriggerEvent[Any], ctx: Context) -> bool:
        from .triggers import Mailer

        return await Mailer(self._database(ctx), self._layout, ctx).was_sent(event)

    async def check(self, ctx: Context) -> CheckResult:
        from . import discovery

        settings = self.settings
        needed = {settings.email_field, *([settings.customer_id_field] if settings.customer_id_field else [])}
        needed |= set(ctx.fields.values()) if settings.fields_in == "profile" else set()
        needed |= {target.field for target in ctx.consents.values() if isinstance(target, CopernicaConsent)}
        return await discovery.check(self._database(ctx), needed)

    async def discover(self, ctx: Context) -> Discovery:
        from . import discovery

        return await discovery.discover(self._database(ctx), ctx)

    async def pull(self, cursor: str | None, ctx: Context) -> Page:
        return await self._pull(ctx).page(cursor)

    async def fetch(self, person: PersonRef, ctx: Context) -> Report | None:
        return await self._pull(ctx).person(person)

    def _database(self, ctx: Context) -> Database:
        return Database(self.settings, ctx.http)

    def _customer_id(self, event: ProfileEvent[CopernicaAudience]) -> dict[str, str]:
        """The customer's id in the CDP, where a field is kept for it and there is one."""
        name = self.settings.customer_id_field
        return {} if name is None or event.cdp_id is None else {name: event.cdp_id}

    def _signatures(self, ctx: Context) -> Verifier:
        """What checks signatures, with the keys and signatures that it remembers: one for this connector."""
        if self._verifier is None:
            from .keys import Keys
            from .signature import Verifier

            self._verifier = Verifier(self.settings, Keys(ctx.clock, nameserver=self.settings.nameserver))
        return self._verifier

    async def _account(self, ctx: Context) -> str:
        """The account's id, asked for once."""
        settings = self.settings
        token = hashlib.sha256(f"{settings.base_url} {settings.api_token.reveal()}".encode()).hexdigest()[:16]
        known = await ctx.kv.get(ACCOUNT)
        if not (isinstance(known, list) and known[0] == token):  # with another key it may be another account
            known = [token, str(as_id(await self._database(ctx).identity()))]
            await ctx.kv.set(ACCOUNT, known)
        return str(known[1])

    async def _profile_collection(self, ctx: Context) -> str | None:
        """The number of the collection of profile values, which calls about subprofiles carry; None where there is none."""
        if self.settings.fields_in == "profile":
            return None
        return await self._layout.number("profile", self._database(ctx))

    def _pull(self, ctx: Context) -> Pull:
        from .pull import Pull

        return Pull(self._database(ctx), self._layout, ctx)
