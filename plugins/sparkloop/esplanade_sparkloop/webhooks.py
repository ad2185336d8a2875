"""What SparkLoop sends to the hub: its token, and its events read strictly where they matter and leniently elsewhere.

Shapes are those of the SparkLoop guide and docs.sparkloop.app/webhooks. Keys that are not read are ignored, because
SparkLoop adds some from time to time.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from esplanade import Happening, InboundRequest, PermanentError
from esplanade.http import same

if TYPE_CHECKING:
    from .settings import SparkLoopSettings

TOKEN_HEADER = "sparkloop-token"  # noqa: S105 - the name of a header

SYNCED = frozenset({"sync_subscriber", "new_referral", "reward_unlocked", "reward_redeemed"})
"""Events that say what SparkLoop holds for a person."""
HAPPENED = frozenset(
    {
        "new_referral",
        "reward_unlocked",
        "reward_redeemed",
        "new_partner_pending_referral",
        "new_partner_referral",
        "partner_referral_rejected",
        "new_offer_lead",
    }
)
"""Events that are a happening of their own, named after the event with dashes."""

Count = Annotated[int, Meta(ge=0, le=2**31)]


class Subscriber(Struct, frozen=True, kw_only=True):
    """A person in a webhook. ``created_at``, when there, is the time of the sign-up, not of the event."""

    email: str | None = None
    id: str | None = None
    first_name: str | None = None
    name: str | None = None
    referral_code: str | None = None
    referral_link: str | None = None
    referred: bool | None = None
    tot_referrals: Count | None = None
    last_reward: str | UnsetType | None = UNSET
    next_reward: int | float | None = None

    @property
    def address(self) -> str:
        """The e-mail address without blanks around it."""
        return (self.email or "").strip()


class Reward(Struct, frozen=True, kw_only=True):
    """A reward in a webhook; ``referrals`` is how many it takes."""

    id: str | None = None
    name: str | None = None
    referrals: Count | None = None
    recurring: bool | None = None


class Notice(Struct, frozen=True, kw_only=True):
    """One webhook, read."""

    type: str
    digest: str
    """The event's identity: SparkLoop gives none, so it is a hash of what tells two events apart."""
    campaign_id: str | None = None
    campaign: Any = None
    subscriber: Subscriber | None = None
    referrer: Subscriber | None = None
    lead: Subscriber | None = None
    reward: Reward | None = None
    partner: Any = None
    """Shaped as partner programmes please; only an id and a name are looked for."""
    referrals: Count | None = None
    coupon_code: str | None = None
    reward_variant_name: str | None = None
    reward_variant_sku: str | None = None
    offer_id: str | int | None = None
    referral_status: str | None = None

    @property
    def people(self) -> list[Subscriber]:
        """Whose state it tells: the subscriber and, of a new referral, the referrer too."""
        return [person for person in (self.subscriber, self.referrer) if person is not None]

    @property
    def plain_type(self) -> str:
        """The event's name if it looks like one, fit for logs."""
        return self.type if re.fullmatch(r"[a-z][a-z_]{0,59}", self.type) else "not a name"

    def event_id_for(self, person: Subscriber) -> str:
        """One id per person of one event."""
        return f"{self.digest}-{'referrer' if person is self.referrer else 'subscriber'}"

    def reward_of(self, person: Subscriber, *, known: bool) -> str | UnsetType | None:
        """The last reward that this event tells of a person.

        Redeeming is not winning: an old reward may be redeemed after a newer one was won, so ``reward.id`` of a
        ``reward_redeemed`` counts only while no reward is ``known``.
        """
        if person is self.subscriber and self.reward is not None and self.reward.id and not person.last_reward:
            won = self.type == "reward_unlocked" or (self.type == "reward_redeemed" and not known)
            if won:
                return self.reward.id
        return person.last_reward or (None if person.last_reward is None else UNSET)

    def coupon_of(self, person: Subscriber) -> str | UnsetType:
        """The coupon that this event tells of a person; a reward without one takes back no earlier coupon."""
        return self.coupon_code if self.coupon_code and person is self.subscriber else UNSET


def genuine(request: InboundRequest, settings: SparkLoopSettings) -> bool:
    """Whether the request carries the account's token, compared in constant time."""
    expected = settings.webhook_token.reveal()
    given = request.headers.get(TOKEN_HEADER)
    if given is None or not expected:
        return not settings.require_token
    return same(given, expected)


def read(body: bytes) -> Notice:
    """Read one webhook. Raises PermanentError naming the path of what is wrong, and never a value."""
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise PermanentError("$: not JSON; SparkLoop's webhooks are") from None
    if not isinstance(raw, dict):
        raise PermanentError("$: expected an object with type and subscriber")
    nested = raw.get("data")
    payload: dict[str, Any] = {**raw, **nested} if isinstance(nested, dict) else raw
    kind = payload.get("type") or payload.get("event")
    if not isinstance(kind, str):
        raise PermanentError("$.type: expected the event's name")
    if kind not in SYNCED | HAPPENED:
        return Notice(type=kind, digest=_digest(kind, payload, body))
    try:
        notice = msgspec.convert({**payload, "type": kind, "digest": _digest(kind, payload, body)}, Notice)
    except (msgspec.ValidationError, RecursionError) as error:
        raise PermanentError(f"{_path(error)}: {error}") from None
    if kind in SYNCED:
        _whole(notice)
    return notice


def _whole(notice: Notice) -> None:
    if notice.subscriber is None:
        raise PermanentError("$.subscriber: missing")
    if notice.type == "new_referral" and notice.referrer is None:
        raise PermanentError("$.referrer: missing")
    for place, person in (("subscriber", notice.subscriber), ("referrer", notice.referrer)):
        if person is None:
            continue
        if not person.address and not person.id:
            raise PermanentError(f"$.{place}.email: missing, and no id either")
        if person.address and not is_address(person.address):
            raise PermanentError(f"$.{place}.email: not an e-mail address")


def is_address(text: str) -> bool:
    """Whether a text can be an address at all; the hub judges the rest."""
    local, at, host = text.rpartition("@")
    return bool(local and at and host) and len(text) <= 320 and not re.search(r"[\s\x00-\x1f\x7f]", text)


def _path(error: BaseException) -> str:
    found = re.search(r"at `(\$[^`]*)`", str(error))
    return found[1] if found else "$"


def _within(value: Any, *keys: str) -> str | int | None:
    found = [value.get(key) for key in keys] if isinstance(value, dict) else []
    return next((each for each in found if isinstance(each, str | int)), None)


def _digest(kind: str, payload: dict[str, Any], body: bytes) -> str:
    """What tells two events apart: type, campaign, person, reward, count and the raw body."""

    def within(name: str, key: str) -> str:
        inner = payload.get(name)
        return str(inner.get(key)) if isinstance(inner, dict) else ""

    parts = [
        kind,
        str(payload.get("campaign_id")),
        within("subscriber", "id"),
        within("reward", "id"),
        within("subscriber", "tot_referrals"),
    ]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace") + b"\0" + body).hexdigest()[:32]


def happening(notice: Notice) -> Happening | None:
    """What the event is to whoever maps it under ``triggers``: the referrer's, for a new referral.

    ``data`` holds ids, counts and names of rewards: no name or address, and of anybody else only the id.
    """
    whom = notice.referrer if notice.type == "new_referral" else notice.subscriber or notice.lead
    if notice.type not in HAPPENED or whom is None or not is_address(whom.address):
        return None
    reward = notice.reward or Reward()
    data: dict[str, object] = {
        "campaign_id": notice.campaign_id or _within(notice.campaign, "id", "uuid"),
        "subscriber_id": whom.id,
        "referred_subscriber_id": notice.subscriber.id if notice.subscriber and whom is notice.referrer else None,
        "referral_code": whom.referral_code,
        "referral_link": whom.referral_link,
        "tot_referrals": whom.tot_referrals,
        "next_reward": whom.next_reward,
        "referrals": notice.referrals,
        "coupon_code": notice.coupon_code,
        "reward_id": reward.id,
        "reward_name": reward.name,
        "reward_referrals": reward.referrals,
        "reward_recurring": reward.recurring,
        "reward_variant_name": notice.reward_variant_name,
        "reward_variant_sku": notice.reward_variant_sku,
        "offer_id": notice.offer_id,
        "partner_id": _within(notice.partner, "id", "uuid"),
        "partner_name": _within(notice.partner, "name"),
        "referral_status": notice.referral_status,
    }
    return Happening(
        name=notice.type.replace("_", "-"),
        email=whom.address,
        data={key: value for key, value in data.items() if value is not None},
        event_id=f"{notice.digest}-happening",
    )
