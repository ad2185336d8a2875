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
    Webhooks,
    hookimpl,
)

from . import audiences
from .client import TOKEN_IN_HEADER, Database, as_id
from .consent import Consents
from .layout import Layout
from .mapping import COLLECTION, places
from .profiles import Who, erase, keep_values, save
from .settings import CopernicaAudience, CopernicaConsent, CopernicaSettings, CopernicaTrigger
from .values import LOCAL, acknowledged, as_fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esplanade import Value
    from esplanade.testing import Twin

    from .pull import Pull
    from .registration import Registration
    from .signature import Verifier

ACCOUNT = "account"
"""Key of the account's id, and of what tells the API token that it was asked with from others."""


class CopernicaConnector(Connector[CopernicaSettings]):
    """One database of one Copernica account."""

    manifest = Manifest(
        title="Copernica",
        vendor_api="REST v4 (v2 and v3 too), as publicly known in August 2024",
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
        self.registers_webhooks = settings.inbound_mode != "callback"
        self._layout = Layout()
        self._verifier: Verifier | None = None

    def endpoint(self) -> Endpoint:
        settings, auth = self.settings, None
        if settings.api_version >= TOKEN_IN_HEADER:
            auth = TokenExchange(token_url=settings.auth_url, form={"access_token": settings.api_token.reveal()})
        return Endpoint(base_url=settings.base_url, auth=auth, headers={"Accept": "application/json"})

    @classmethod
    def twin(cls) -> type[Twin[Any]]:
        from .twin import CopernicaTwin

        return CopernicaTwin

    # Hooks.

    @hookimpl
    async def on_profile(self, event: ProfileEvent[CopernicaAudience], ctx: Context) -> Outcome:
        """The profile's fields, then the list of its audiences."""
        settings, database = self.settings, self._database(ctx)
        values: dict[str, Value] = {**event.desired, **dict.fromkeys(event.cleared)}
        where = places(values, settings).checked()
        types = await self._layout.fields({settings.email_field, *where.profile}, database, ctx)
        own = as_fields({name: values[name] for name in where.profile}, types, settings.timezone)
        extra = await self._customer_id(event, database, ctx)
        who = Who(email=event.email, remote_id=event.remote_id, previous_email=event.previous_email)
        saved = await save(who, {**own, **extra}, database, ctx)
        profile = saved.id
        below: dict[str, str] = {}
        if where.collection.keys() & {*event.changed, *event.cleared} or profile != event.remote_id:
            inner = {name: values[dotted] for dotted, name in where.collection.items()}
            held = await keep_values(profile, inner, self._layout, database)
            below = {dotted: held[name] for dotted, name in where.collection.items()}
        await audiences.change(profile, event.audiences, self._layout, database, ctx)
        untold = self._untold(own, ctx) if saved.made else {}
        told = acknowledged(values, {**own, **below}, types) or {}
        return Outcome(remote_id=profile, acknowledged={**untold, **told} or None)

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
        from .whose import whose

        settings, database = self.settings, self._database(ctx)
        call = decode(event, settings)
        where = places(ctx.fields.values(), settings)
        if settings.inbound_mode in {"both", call.origin}:
            call = await whose(call, database, reads_subprofiles=bool(where.collection))
        collection = None
        if call.of_subprofile and where.collection:
            collection = await self._layout.number(COLLECTION, database)
        email: str | None = None
        if webhooks.needs_reading(call, settings, where, collection=collection) and call.profile is not None:
            row = await database.profile(call.profile)
            email = database.address(row) or None if row is not None else None
        return webhooks.read(call, settings, where, ctx, email=email, collection=collection)

    def _untold(self, told: Iterable[str], ctx: Context) -> dict[str, Value]:
        """What a new profile holds in the mapped fields that it was made without."""
        names = set(places(ctx.fields.values(), self.settings).profile).difference(told)
        return {name: value for name, value in self._layout.defaults(sorted(names)).items() if value is not None}

    # Methods.

    async def verify(self, request: InboundRequest, ctx: Context) -> bool:
        """Whether a call carries the vendor's signature for this account. Raises TemporaryError while that cannot be told."""
        if self.settings.signature_mode == "off":
            return True
        why_not = await self._signatures(ctx).why_not(request, account_id=await self._account(ctx))
        if why_not is not None:
            ctx.log.warning(
                "webhook is not signed as it should be", why=why_not, refused=self.settings.signature_mode == "require"
            )
        return why_not is None or self.settings.signature_mode == "log"

    async def was_sent(self, event: TriggerEvent[Any], ctx: Context) -> bool:
        from .triggers import Mailer

        return await Mailer(self._database(ctx), self._layout, ctx).was_sent(event)

    async def check(self, ctx: Context) -> CheckResult:
        from . import discovery

        where = places(ctx.fields.values(), self.settings)
        if where.why_not is not None:
            return CheckResult(status="wrong-account", detail=where.why_not)
        consents = {target.field for target in ctx.consents.values() if isinstance(target, CopernicaConsent)}
        return await discovery.check(self._database(ctx), {self.settings.email_field, *where.profile, *consents})

    async def discover(self, ctx: Context) -> Discovery:
        from . import discovery

        return await discovery.discover(self._database(ctx), ctx)

    async def pull(self, cursor: str | None, ctx: Context) -> Page:
        return await self._pull(ctx).page(cursor)

    async def fetch(self, person: PersonRef, ctx: Context) -> Report | None:
        return await self._pull(ctx).person(person)

    async def erase(self, person: PersonRef, ctx: Context) -> bool:
        return await erase(Who(email=person.email, remote_id=person.remote_id), self._database(ctx))

    async def register_webhooks(self, url: str, ctx: Context) -> Webhooks:
        return await (await self._registration(ctx)).register(url)

    async def remove_webhooks(self, ctx: Context) -> Webhooks:
        return await (await self._registration(ctx)).remove()

    async def _registration(self, ctx: Context) -> Registration:
        from .registration import Registration

        return Registration(self._database(ctx), self._layout, await self._account(ctx), ctx)

    def _database(self, ctx: Context) -> Database:
        return Database(self.settings, ctx.http)

    async def _customer_id(
        self, event: ProfileEvent[CopernicaAudience], database: Database, ctx: Context
    ) -> dict[str, str]:
        """The customer's id in the CDP, where there is one and a field is kept for it. The first one makes the field."""
        name = self.settings.customer_id_field
        if name is None or event.cdp_id is None or not await self._layout.made_field(name, database, ctx):
            return {}
        return {name: event.cdp_id}

    def _signatures(self, ctx: Context) -> Verifier:
        """What checks signatures, with the keys and signatures that it remembers: one for this connector."""
        if self._verifier is None:
            from .keys import Keys
            from .signature import Verifier

            settings = self.settings
            keys = Keys(ctx.clock, known=settings.signature_keys, dns_server=settings.dns_server)
            self._verifier = Verifier(settings, keys)
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

    def _pull(self, ctx: Context) -> Pull:
        from .pull import Pull

        return Pull(self._database(ctx), self._layout, ctx)
