"""The SparkLoop connector: tells SparkLoop of sign-ups, changes and opt-outs, and reads back what it makes of them.

In SparkLoop's words the hub plays the ESP. It has one subscription and no lists, so exactly one purpose maps to it.
"""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

import msgspec
from msgspec import Struct

from esplanade import (
    Alters,
    AuthenticationError,
    CheckResult,
    Choice,
    Connector,
    ConsentEvent,
    ConsentTarget,
    Context,
    Discovery,
    Endpoint,
    HeaderAuth,
    Inbound,
    InboundRequest,
    Manifest,
    Outcome,
    OutcomeUnknown,
    Page,
    PermanentError,
    PersonRef,
    ProfileEvent,
    Report,
    TemporaryError,
    Value,
    Webhooks,
    hookimpl,
)

from . import mapping, order, webhooks
from .client import Api, IncomingWebhook, is_taken, origin_of, refusal, vanished
from .registration import Registration
from .settings import FieldNames, SparkLoopSettings

if TYPE_CHECKING:
    from esplanade.testing import Twin


class Subscription(ConsentTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Says that this purpose is the SparkLoop subscription: ``newsletter: {}``. Exactly one purpose may."""


class SparkLoopConnector(Connector[SparkLoopSettings]):
    """One SparkLoop account."""

    manifest = Manifest(
        title="SparkLoop",
        vendor_api="API v2; custom integration guide 5850916",
        owner="The Esplanade authors",
        homepage="https://help.sparkloop.app/en/articles/5850916-custom-integration",
    )
    Settings: ClassVar[type[Struct]] = SparkLoopSettings
    Consent = Subscription
    read_only_fields = frozenset(FieldNames().all())
    alters = MappingProxyType({"text": Alters(trim=True)})  # mapping.py sends and reports names without outer blanks
    address_change = "rename"

    def __init__(self, settings: SparkLoopSettings) -> None:
        super().__init__(settings)
        # An operator may have renamed them, so they are this instance's own.
        self.read_only_fields = frozenset(settings.field_names.all())
        self.can_fetch = settings.mode != "incoming_webhook"
        self.registers_webhooks = bool(settings.api_key)
        self._judging: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def endpoint(self) -> Endpoint:
        """The API with its key, or the origin of the incoming webhook, whose URL is all the credential there is."""
        headers = {name: value.reveal() for name, value in self.settings.extra_headers.items()}
        if self.settings.mode == "incoming_webhook":
            url = self.settings.incoming_webhook_url.reveal()
            api = [str(self.settings.base_url)] if self.registers_webhooks else []
            return Endpoint(base_url=origin_of(url), headers=headers, origins=api, log_paths=False)
        key = HeaderAuth(name="X-Api-Key", value=self.settings.api_key.reveal())
        return Endpoint(base_url=self.settings.base_url, auth=key, headers=headers)

    @classmethod
    def twin(cls) -> type[Twin[Any]] | None:
        """A SparkLoop account in memory."""
        from .twin import SparkLoopTwin

        return SparkLoopTwin

    # What happens in the hub.

    @hookimpl
    async def on_consent(self, event: ConsentEvent[Subscription], ctx: Context) -> Outcome:
        """Subscribe after a grant, unsubscribe after a denial; of somebody undecided SparkLoop hears nothing."""
        _one_purpose(ctx)
        if event.state == "pending":
            return Outcome(status="unchanged", reason="no-consent")
        if event.state == "denied":
            await self._unsubscribe(event, ctx)
            return Outcome()
        if self.settings.mode == "incoming_webhook":
            await self._tell(mapping.subscribe(event), ctx)
            return Outcome(acknowledged=_told(event))
        body = mapping.created(event, self.settings)
        remote_id = await self._subscribe(body, event.remote_id, ctx)
        return Outcome(remote_id=remote_id, acknowledged=_told(event))

    @hookimpl
    async def on_profile(self, event: ProfileEvent[Any], ctx: Context) -> Outcome:
        """Pass on a new address or name of a subscriber. The RH_ fields are SparkLoop's own and never sent."""
        purpose = _one_purpose(ctx)
        held = None if purpose is None else event.held.get(purpose)
        moved = event.previous_email if event.previous_email != event.email else None
        if held != "granted":
            return Outcome(status="unchanged", reason="no-consent")
        touched = set(event.changed) | set(event.cleared)
        named = touched & mapping.SENT_ON_UPDATE and mapping.names(event.desired, event.cleared)
        if not moved and not named:
            return Outcome(status="unchanged", reason="not-mapped" if touched else "unchanged")
        if self.settings.mode == "incoming_webhook":
            await self._update(event, moved, ctx)
            return Outcome()
        return Outcome(remote_id=await self._change(event, moved, ctx))

    @hookimpl
    async def on_inbound_webhook(self, event: InboundRequest, ctx: Context) -> list[Inbound]:
        """Report what SparkLoop generated: links, counts, rewards. It says nothing of consent."""
        notice = webhooks.read(event.body)
        if notice.type not in webhooks.SYNCED | webhooks.HAPPENED:
            ctx.log.info("sparkloop.webhook-not-known", type=notice.plain_type)
            return []
        found: list[Inbound] = []
        if notice.type in webhooks.SYNCED:
            mapped = frozenset(ctx.fields.values())
            for person in notice.people:
                weight = await self._weigh(notice, person, event, ctx)
                found.append(mapping.reported(person, notice, weight, self.settings, mapped))
        happened = webhooks.happening(notice)
        return found if happened is None else [*found, happened]

    # What the core or an operator asks.

    async def verify(self, request: InboundRequest, ctx: Context) -> bool:
        """Whether the webhook carries the account's token."""
        return webhooks.genuine(request, self.settings)

    async def check(self, ctx: Context) -> CheckResult:
        """Whether SparkLoop takes the key and knows the campaign; an incoming webhook cannot be asked."""
        try:
            _one_purpose(ctx)
        except PermanentError as error:
            return CheckResult(status="wrong-account", detail=str(error))
        if self.settings.mode == "incoming_webhook":
            return CheckResult(
                detail="An incoming webhook cannot be asked anything: only a real event proves its URL." + self._deaf()
            )
        try:
            return await self._check_api(Api(ctx.http, self.settings.campaign_uuid))
        except (TemporaryError, OutcomeUnknown) as error:
            return CheckResult(status="vendor-down", detail=f"SparkLoop cannot be reached: {error}")

    async def discover(self, ctx: Context) -> Discovery:
        """The fields that can be mapped, and the referral campaigns as groups."""
        groups: list[Choice] = []
        if self.settings.mode == "api_v2":
            answer = await Api(ctx.http, None).campaigns()
            if answer.status in {401, 403}:
                raise AuthenticationError(f"SparkLoop refuses settings.api_key ({answer.status})")
            groups = mapping.api_campaigns(answer.json()) if answer.status == 200 else []
        return Discovery(fields=mapping.fields_of(self.settings), groups=groups)

    async def pull(self, cursor: str | None, ctx: Context) -> Page:
        """One page of subscribers, newest first. Later edits carry no date, so everybody is read every time."""
        if self.settings.mode == "incoming_webhook":
            return Page(reports=[])
        place = mapping.Place.read(cursor)
        rows, meta = mapping.api_page((await Api(ctx.http, None).page(place.page)).json())
        mapped = frozenset(ctx.fields.values())
        reports = [mapping.api_report(row, self.settings, mapped, ctx.consents) for row in rows]
        return Page(reports=reports, cursor=place.after(len(rows), meta))

    async def fetch(self, person: PersonRef, ctx: Context) -> Report | None:
        """What SparkLoop holds for one person; an incoming webhook cannot be asked, so that report is empty."""
        if self.settings.mode == "incoming_webhook":
            return Report(email=person.email, remote_id=person.remote_id)
        answer = await Api(ctx.http, None).find(_ids(person.remote_id, person.email))
        if answer is None:
            return None
        row = mapping.api_subscriber(answer.json())
        return mapping.api_report(row, self.settings, frozenset(ctx.fields.values()), ctx.consents)

    async def register_webhooks(self, url: str, ctx: Context) -> Webhooks:
        """One webhook for all that the API can switch on. Needs ``api_key``."""
        return await Registration(ctx, self.settings).register(url)

    async def remove_webhooks(self, ctx: Context) -> Webhooks:
        """Remove the webhook that ``register_webhooks`` made or took over."""
        return await Registration(ctx, self.settings).remove()

    # By incoming webhook.

    async def _tell(self, body: dict[str, Any], ctx: Context) -> None:
        if not await IncomingWebhook(ctx.http, self.settings.incoming_webhook_url.reveal()).send(body):
            raise PermanentError(f"SparkLoop answered 422: it does not take this {body['type']}")

    async def _update(self, event: ProfileEvent[Any], moved: str | None, ctx: Context) -> None:
        incoming = IncomingWebhook(ctx.http, self.settings.incoming_webhook_url.reveal())
        if await incoming.send(mapping.update(event)):
            return
        # It knows nobody by the old address, or somebody else by the new one. Either way the account is right once
        # the old one is off and the new one on.
        if moved:
            await incoming.send(mapping.unsubscribe(moved))
        subscriber = {"email": event.email, **mapping.names(event.desired)}
        await self._tell({"type": "subscribe", "subscriber": subscriber}, ctx)

    # By API.

    async def _unsubscribe(self, event: ConsentEvent[Subscription], ctx: Context) -> None:
        if self.settings.mode == "incoming_webhook":
            await self._tell(mapping.unsubscribe(event.email), ctx)
        else:
            await Api(ctx.http, None).unsubscribe(_ids(event.remote_id, event.email))

    async def _subscribe(self, body: dict[str, Any], remote_id: str | None, ctx: Context) -> str | None:
        api = Api(ctx.http, self.settings.campaign_uuid if self.settings.ensure_membership else None)
        email = body["email"]
        confirmed = {"status": "confirmed", **{key: body[key] for key in ("name",) if key in body}}
        answer = await api.change(_ids(remote_id, email), confirmed)
        if answer is None:
            answer = await api.create(body) or await api.change([email], confirmed)
        if answer is None:
            raise vanished()
        if answer.status == 400:
            raise refusal(answer, body)
        uuid = mapping.uuid_of(answer)
        # Every time and not only after creating: a crash in between must not leave somebody outside the campaign.
        await api.join(uuid or email)
        return uuid

    async def _change(self, event: ProfileEvent[Any], moved: str | None, ctx: Context) -> str | None:
        api = Api(ctx.http, None)
        name = mapping.api_name(event.desired, event.cleared)
        ids = _ids(event.remote_id, moved or event.email)
        answer = await api.change(ids, {**({"email": event.email} if moved else {}), **name})
        if answer is not None and answer.status != 400:
            return mapping.uuid_of(answer)
        if answer is not None:
            if not moved or not is_taken(answer):
                raise refusal(answer, name)
            # Somebody else has the new address there: that one is the person now, and the old one must be off the list.
            await api.unsubscribe(ids)
        return await self._subscribe({"email": event.email, **name}, None, ctx)

    async def _check_api(self, api: Api) -> CheckResult:
        campaign = self.settings.campaign_uuid
        answer = await (api.campaigns() if campaign is None else api.campaign(campaign))
        if answer.status == 404 and campaign is None:
            answer = await api.anybody()
        if answer.status == 401:
            return CheckResult(status="bad-credentials", detail="SparkLoop refuses settings.api_key")
        if answer.status == 403:
            return CheckResult(status="no-permission", detail="settings.api_key may not read campaigns")
        if answer.status == 404:
            return CheckResult(
                status="wrong-account",
                detail="settings.campaign_uuid is not a campaign of the account that api_key belongs to",
            )
        return CheckResult(detail="SparkLoop takes the key." + self._deaf())

    def _deaf(self) -> str:
        if self.settings.webhook_token or not self.settings.require_token:
            return ""
        return " settings.webhook_token is missing, so every webhook of SparkLoop is refused."

    # By webhook.

    async def _weigh(
        self, notice: webhooks.Notice, person: webhooks.Subscriber, event: InboundRequest, ctx: Context
    ) -> order.Weight:
        """Judge a webhook against what was seen of the person; ``order.py`` says how and why."""
        key = f"seen:{person.id or notice.digest}"
        async with self._judging.setdefault(key, asyncio.Lock()):
            seen = order.remembered(await ctx.kv.get(key)) if person.id else None
            weight = order.weigh(
                seen,
                total=person.tot_referrals,
                reward=notice.reward_of(person, known=seen is not None and seen.reward >= 0),
                coupon=notice.coupon_of(person),
                event=notice.digest,
                at=event.received_at.timestamp(),
            )
            if person.id and weight.seen != seen:
                await ctx.kv.set(key, msgspec.to_builtins(weight.seen))
        return weight


def _one_purpose(ctx: Context) -> str | None:
    if len(ctx.consents) > 1:
        raise PermanentError(
            f"connectors.{ctx.connector}.consents: SparkLoop has one subscription, but "
            f"{len(ctx.consents)} purposes are mapped to it; keep the one that the referral programme is for"
        )
    return next(iter(ctx.consents), None)


def _ids(remote_id: str | None, *addresses: str) -> list[str]:
    return [each for each in (remote_id, *addresses) if each]


def _told(event: ConsentEvent[Subscription]) -> dict[str, Value] | None:
    """The names that go along with a subscription, so that they are not sent once more as an update."""
    return {name: value for name, value in event.desired.items() if name in mapping.SENT_ON_UPDATE} or None
