"""What the twin's SparkLoop account holds: subscribers, campaign, webhooks, and how it words them."""

from __future__ import annotations

import hashlib
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct, field

CAMPAIGN = "MFdemo000001"
SITE = "https://mywebsite.com"


class Refused(Exception):
    """The account refuses, with the status and the text of its answer."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text
        super().__init__(text)


class Member(Struct, kw_only=True):
    """One subscriber."""

    id: str
    email: str
    referral_code: str
    created_at: float
    first_name: str = ""
    name: str = ""
    status: str = "active"
    referred: bool = False
    referrer: str | None = None
    tot_referrals: int = 0
    last_reward: str | None = None
    coupon: str | None = None
    esp_id: int | str | None = None
    origin: str = "signup"
    country_code: str | None = None
    utm_source: str | None = None
    utm_campaign: str | None = None
    membership: str | None = None

    @property
    def referral_link(self) -> str:
        """The link that the person shares."""
        return f"{SITE}?rh_ref={self.referral_code}"


class Hook(Struct, kw_only=True):
    """One webhook that was registered by API."""

    uuid: str
    url: str
    events: dict[str, bool | None] = field(default_factory=dict)


class Account:
    """Subscribers by address, whatever its case, in the order in which they came."""

    def __init__(self, campaign: str | None) -> None:
        self.campaign = campaign or CAMPAIGN
        self.campaign_name = "Refer a friend"
        self.milestone = 3
        """Every how many referrals there is a reward; only ``next_reward`` follows from it."""
        self.members: dict[str, Member] = {}
        self._ids: dict[str, Member] = {}
        self.hooks: list[Hook] = []
        self._hooks_made = 0

    def find(self, identity: str) -> Member | None:
        """By address or by SparkLoop's id."""
        return self.members.get(identity.lower()) or self._ids.get(identity)

    def get(self, identity: str) -> Member:
        """The same, refusing with 404 when there is none."""
        found = self.find(identity)
        if found is None:
            raise Refused(404, "Subscriber not found!")
        return found

    def add(self, email: str, now: float, **values: Any) -> Member:
        """A new subscriber. Id and code follow from the address; one that was renamed away keeps them."""
        require_address(email)
        if email.lower() in self.members:
            raise Refused(400, "Email has already been taken")
        salt = ""
        while f"sub_{_hex('id', email + salt)}" in self._ids:
            salt += "+"
        member = Member(
            id=f"sub_{_hex('id', email + salt)}",
            email=email,
            referral_code=_hex("code", email + salt),
            created_at=now,
            **values,
        )
        self.members[email.lower()] = self._ids[member.id] = member
        return member

    def remove(self, member: Member) -> None:
        """Forget a subscriber."""
        del self.members[member.email.lower()]
        del self._ids[member.id]

    def rename(self, member: Member, email: str) -> bool:
        """Give a subscriber another address; whether it is another one."""
        require_address(email)
        if email == member.email:
            return False
        if self.members.get(email.lower(), member) is not member:
            raise Refused(400, "Email has already been taken")
        del self.members[member.email.lower()]
        member.email = email
        self.members[email.lower()] = member
        return True

    def joined(self, member: Member) -> str:
        """The id of the subscriber's membership in the campaign, refusing when it is there already."""
        if member.membership is not None:
            raise Refused(400, "Subscriber has already been added to the campaign")
        member.membership = f"cm_{_hex('membership', member.id)}"
        return member.membership

    def add_hook(self, url: str, events: dict[str, bool | None]) -> Hook:
        """Register a webhook."""
        self._hooks_made += 1
        hook = Hook(uuid=f"wh_{self._hooks_made:08d}", url=url, events=events)
        self.hooks.append(hook)
        return hook

    def hears(self, url: str, event: str) -> bool:
        """Whether an event is sent to a URL that was registered by API."""
        return any(hook.url == url and hook.events.get(event) for hook in self.hooks)

    # The account's words.

    def webhook_person(self, member: Member, *, created_at: bool) -> dict[str, Any]:
        """A person as SparkLoop's webhooks tell of them, in the guide's order."""
        person: dict[str, Any] = {
            "id": member.id,
            "first_name": member.first_name,
            "name": member.name,
            "email": member.email,
            "referral_code": member.referral_code,
            "referral_link": member.referral_link,
            "referred": member.referred,
            "tot_referrals": member.tot_referrals,
            "last_reward": member.last_reward,
            "next_reward": self.milestone - member.tot_referrals % self.milestone,
        }
        return {**person, "created_at": int(member.created_at)} if created_at else person

    def snapshot(self) -> dict[str, Any]:
        """Every subscriber by address, sorted."""
        return {
            member.email: {
                "id": member.id,
                "first_name": member.first_name,
                "name": member.name,
                "status": member.status,
                "referral_code": member.referral_code,
                "referral_link": member.referral_link,
                "referred": member.referred,
                "tot_referrals": member.tot_referrals,
                "last_reward": member.last_reward,
                "coupon": member.coupon,
                "member": member.membership is not None,
            }
            for _, member in sorted(self.members.items())
        }


def is_near(url: str) -> bool:
    """Whether a URL is http to this machine or its network, where SparkLoop itself could not call."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme == "http" and (host == "localhost" or not ip_address(host).is_global)
    except ValueError:
        return False


def require_address(email: object) -> None:
    """Refuse what cannot be an address, as SparkLoop does."""
    if not email:
        raise Refused(400, "You have to provide at least an email")
    local, at, host = str(email).rpartition("@") if isinstance(email, str) else ("", "", "")
    if not (local and at and "." in host) or any(each.isspace() for each in str(email)):
        raise Refused(400, "Email is invalid")


def _hex(what: str, text: str) -> str:
    return hashlib.sha256(f"{what}:{text.lower()}".encode()).hexdigest()[:8]
