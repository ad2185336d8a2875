"""A SparkLoop account in memory: its incoming webhook, its API v2, and the webhooks that it sends.

Bodies are those of the SparkLoop guide. What it leaves open is decided as the real one is known or likely to behave,
and written down in the README under "The twin".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from esplanade import Clock, Origin, Secret
from esplanade.testing import Fault, Furnishing, Twin

from .settings import SparkLoopSettings
from .twin_account import CAMPAIGN, Account, Member, Refused, is_near
from .twin_api import ApiV2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .twin_side import SparkLoopSide


class SignUp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The subscriber of a ``subscribe``."""

    email: str
    id: int | str | UnsetType = UNSET
    first_name: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    created_at: int | UnsetType = UNSET


class Edit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The subscriber of an ``update``."""

    email: str
    previous_email: str
    first_name: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    updated_at: int | UnsetType = UNSET


class OptOut(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The subscriber of an ``unsubscribe``."""

    email: str


class Subscribe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="subscribe"):
    """Somebody signed up."""

    subscriber: SignUp


class Update(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="update"):
    """Somebody has another address or name."""

    subscriber: Edit


class Unsubscribe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="unsubscribe"):
    """Somebody opted out."""

    subscriber: OptOut


class Referral(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the door ``/__twin__/refer`` takes."""

    referrer: str
    email: str
    name: str | None = None


class Unlocking(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the door ``/__twin__/reward`` takes."""

    email: str
    reward_id: str
    name: str
    referrals: int
    coupon_code: str | None = None


class SparkLoopTwin(Twin[SparkLoopSettings]):
    """One SparkLoop account. It generates ids, codes and links from the address alone, so two runs give the same."""

    name: ClassVar[str] = "sparkloop"

    def __init__(
        self, settings: SparkLoopSettings, *, clock: Clock | None = None, faults: Iterable[Fault] = ()
    ) -> None:
        super().__init__(settings, clock=clock, faults=faults)
        self.account = Account(settings.campaign_uuid)
        self.api = ApiV2(self.account, settings.api_key.reveal(), self.clock, self.tell)
        self.received: list[dict[str, Any]] = []
        """Every body that the incoming webhook took, in order."""

    @classmethod
    def demo_settings(cls) -> SparkLoopSettings:
        """Incoming webhook with a made-up secret path; the API takes ``demo-key``."""
        return SparkLoopSettings(
            outbound_mode="incoming_webhook",
            incoming_webhook_url=Secret("https://sparkloop.example/incoming/demo-4c1f9a27"),
            api_key=Secret("demo-key"),
            campaign_uuid=CAMPAIGN,
            webhook_token=Secret("tok_demo"),
        )

    def routes(self) -> Sequence[web.RouteDef]:
        """The incoming webhook at the path of its URL, the API, and two doors that SparkLoop does not have."""
        incoming = self.settings.incoming_webhook_url.reveal()
        path = urlsplit(incoming).path or "/"
        return [
            *([web.post(path, self._incoming)] if incoming else []),
            *self.api.routes(),
            web.post("/__twin__/refer", self._post_refer),
            web.post("/__twin__/reward", self._post_reward),
        ]

    def rewired(self, settings: SparkLoopSettings) -> SparkLoopSettings:
        """The same settings with this twin's origin in both URLs; the secret path stays."""
        incoming = settings.incoming_webhook_url.reveal()
        if incoming:
            parts, here = urlsplit(incoming), urlsplit(self.origin)
            incoming = parts._replace(scheme=here.scheme, netloc=here.netloc).geturl()
        return msgspec.structs.replace(settings, base_url=Origin(self.origin), incoming_webhook_url=Secret(incoming))

    def credentials(self) -> dict[str, Any]:
        """The settings that reach this account."""
        wired = self.rewired(self.settings)
        return {
            "outbound_mode": wired.mode,
            "incoming_webhook_url": wired.incoming_webhook_url.reveal(),
            "api_key": wired.api_key.reveal(),
            "campaign_uuid": self.account.campaign,
            "webhook_token": wired.webhook_token.reveal(),
        }

    def side(self, furnishing: Furnishing) -> SparkLoopSide:
        from .twin_side import SparkLoopSide

        return SparkLoopSide(self, furnishing)

    def snapshot(self) -> dict[str, Any]:
        """Subscribers by address, what the incoming webhook took, and the webhooks that were registered by API."""
        return {
            "subscribers": self.account.snapshot(),
            "received": list(self.received),
            "webhooks": [msgspec.to_builtins(each) for each in self.account.hooks],
        }

    # What happens at SparkLoop.

    def refer(self, referrer_email: str, new_email: str, name: str | None = None) -> Member:
        """A friend signs up by somebody's link: a subscriber more, a referral more, and two webhooks in this order."""
        referrer = self.account.get(referrer_email)
        member = self.account.add(
            new_email,
            self.clock.time(),
            name=name or "",
            first_name=(name or "").partition(" ")[0],
            referred=True,
            referrer=referrer.referral_code,
        )
        referrer.tot_referrals += 1
        told = {
            "type": "new_referral",
            "campaign_id": self.account.campaign,
            "subscriber": self.account.webhook_person(member, created_at=True),
            "referrer": self.account.webhook_person(referrer, created_at=True),
        }
        self._announce(self._synced(member), told)
        return member

    def unlock_reward(
        self, email: str, reward_id: str, name: str, referrals: int, coupon_code: str | None = None
    ) -> Member:
        """Somebody reaches a milestone."""
        member = self.account.get(email)
        member.last_reward = reward_id
        member.coupon = coupon_code or member.coupon
        told: dict[str, Any] = {
            "type": "reward_unlocked",
            "campaign_id": self.account.campaign,
            "subscriber": self.account.webhook_person(member, created_at=True),
            "reward": {"id": reward_id, "name": name, "referrals": referrals, "recurring": False},
        }
        if coupon_code is not None:
            # Newer than the guide: docs.sparkloop.app/webhooks.
            told |= {"referrals": member.tot_referrals, "coupon_code": coupon_code}
        self._announce(told)
        return member

    def reset_campaign(self) -> None:
        """Everybody starts at 0 again, and SparkLoop says so of each."""
        for member in self.account.members.values():
            member.tot_referrals = 0
            self.tell(member)

    def _synced(self, member: Member) -> dict[str, Any]:
        person = self.account.webhook_person(member, created_at=False)
        return {"type": "sync_subscriber", "campaign_id": self.account.campaign, "subscriber": person}

    def tell(self, member: Member) -> None:
        """Send ``sync_subscriber``: SparkLoop has made or changed somebody."""
        self._announce(self._synced(member))

    def _announce(self, *bodies: dict[str, Any]) -> None:
        """Send webhooks in the background, to each URL once, each only after the one before was taken there.

        ``hook_url`` is the webhook that somebody made in the dashboard, with all events selected. Of those that were registered
        by API only the ones on this machine or its network are called: a twin talks to nobody else.
        """
        registered = {hook.url for hook in self.account.hooks if is_near(hook.url)}
        for url in sorted(registered | ({self.hook_url} if self.hook_url else set())):
            heard = [body for body in bodies if url == self.hook_url or self.account.hears(url, body["type"])]
            told = [msgspec.json.encode(body) for body in heard]
            if self.outbox is not None:  # kept back, so none waits for another
                for body in told:
                    self.emit(body, self._headers(), url=url)
                continue
            task = asyncio.get_running_loop().create_task(self._in_turn(url, told))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _in_turn(self, url: str, bodies: list[bytes]) -> None:
        for body in bodies:
            await self._emit_until_taken("POST", body, self._headers(), url=url)

    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", "SparkLoop-Token": self.settings.webhook_token.reveal()}

    # The incoming webhook.

    async def _incoming(self, request: web.Request) -> web.Response:
        if request.query_string != urlsplit(self.settings.incoming_webhook_url.reveal()).query:
            return _answer(404, "Not found")
        if request.content_type != "application/json":
            return _answer(400, "Content-Type must be application/json")
        raw = await request.read()
        try:
            notice = msgspec.json.decode(raw, type=Subscribe | Update | Unsubscribe)
        except msgspec.ValidationError as error:
            return _answer(422, str(error))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return _answer(400, "The body is not JSON")
        try:
            self._take(notice)
        except Refused as refused:
            return _answer(422, refused.text)
        self.received.append(msgspec.json.decode(raw))
        return web.json_response({})

    def _take(self, notice: Subscribe | Update | Unsubscribe) -> None:
        match notice:
            case Subscribe(subscriber=person):
                self._subscribe(person)
            case Update(subscriber=person):
                self._update(person)
            case Unsubscribe(subscriber=person):
                member = self.account.find(person.email)
                if member is not None:
                    member.status = "unsubscribed"

    def _subscribe(self, person: SignUp) -> None:
        member = self.account.members.get(person.email.lower())
        if member is None:
            created_at = self.clock.time() if person.created_at is UNSET else person.created_at
            member = self.account.add(person.email, created_at)
            before = None
        else:
            before = (member.first_name, member.name, member.status)
        member.status = "active"
        member.esp_id = member.esp_id if person.id is UNSET else person.id
        _rename(member, person)
        if before != (member.first_name, member.name, member.status):
            self.tell(member)

    def _update(self, person: Edit) -> None:
        member = self.account.members.get(person.previous_email.lower())
        if member is None:
            raise Refused(422, "Subscriber not found!")
        before = (member.email, member.first_name, member.name)
        self.account.rename(member, person.email)
        _rename(member, person)
        if before != (member.email, member.first_name, member.name):
            self.tell(member)

    # Doors that SparkLoop does not have.

    async def _post_refer(self, request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=Referral)
            member = self.refer(asked.referrer, asked.email, name=asked.name)
        except msgspec.DecodeError as error:
            return _answer(400, str(error))
        except Refused as refused:
            return _answer(refused.status, refused.text)
        return web.json_response(self.account.webhook_person(member, created_at=True))

    async def _post_reward(self, request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=Unlocking)
            member = self.unlock_reward(asked.email, asked.reward_id, asked.name, asked.referrals, asked.coupon_code)
        except msgspec.DecodeError as error:
            return _answer(400, str(error))
        except Refused as refused:
            return _answer(refused.status, refused.text)
        return web.json_response(self.account.webhook_person(member, created_at=True))


def _rename(member: Member, person: SignUp | Edit) -> None:
    if person.first_name is not UNSET:
        member.first_name = person.first_name
    if person.name is not UNSET:
        member.name = person.name


def _answer(status: int, text: str) -> web.Response:
    return web.json_response({"error": text}, status=status)
