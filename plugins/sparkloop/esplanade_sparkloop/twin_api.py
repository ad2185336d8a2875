"""The twin's API v2, as docs.sparkloop.app/api-v2 describes it."""

from __future__ import annotations

import functools
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from aiohttp import web

from .twin_account import Account, Hook, Member, Refused, is_near

if TYPE_CHECKING:
    from esplanade import Clock

Answer: TypeAlias = tuple[int, dict[str, Any]]
Call: TypeAlias = Callable[[web.Request], Awaitable[Answer]]

FLAGS = ("new_referral", "reward_unlocked", "new_partner_referral", "reward_redeemed")


class ApiV2:
    """The routes on one account. ``told`` is called with every subscriber who is new or changed."""

    def __init__(self, account: Account, key: str, clock: Clock, told: Callable[[Member], None]) -> None:
        self.account = account
        self.request_limit: int | None = None
        """Requests per rolling minute before the answer is 429; None: no limit. SparkLoop's own is 60."""
        self._key = key
        self._clock = clock
        self._told = told
        self._recent: deque[float] = deque()

    def routes(self) -> Sequence[web.RouteDef]:
        """Every route, behind the key."""
        campaign, one = "/v2/campaigns/{campaign}", "/v2/subscribers/{id}"
        table: list[tuple[str, str, Call]] = [
            ("GET", "/v2/campaigns", self.campaigns),
            ("GET", campaign, self.campaign),
            ("PUT", campaign, self.rename_campaign),
            ("POST", f"{campaign}/campaign_memberships", self.join),
            ("DELETE", f"{campaign}/campaign_memberships/{{membership}}", self.leave),
            ("GET", f"{campaign}/subscribers", self.campaign_subscribers),
            ("GET", f"{campaign}/subscribers/{{id}}", self.campaign_subscriber),
            ("GET", f"{campaign}/subscribers/{{id}}/referrals", self.referrals),
            ("GET", "/v2/subscribers", self.subscribers),
            ("POST", "/v2/subscribers", self.create),
            ("GET", one, self.subscriber),
            ("PUT", one, self.change),
            ("DELETE", one, self.erase),
            ("PUT", f"{one}/unsubscribe", self.unsubscribe),
            ("PUT", f"{one}/reject", self.reject),
            ("POST", f"{one}/events", self.event),
            ("GET", "/v2/webhooks", self.hooks),
            ("POST", "/v2/webhooks", self.add_hook),
            ("GET", "/v2/webhooks/{uuid}", self.hook),
            ("PUT", "/v2/webhooks/{uuid}", self.change_hook),
            ("DELETE", "/v2/webhooks/{uuid}", self.remove_hook),
        ]
        return [web.route(method, path, self._behind_key(call)) for method, path, call in table]

    def _behind_key(self, call: Call) -> Callable[[web.Request], Awaitable[web.Response]]:
        @functools.wraps(call)
        async def answer(request: web.Request) -> web.Response:
            try:
                self._admit(request)
                status, body = await call(request)
            except Refused as refused:
                status, body = refused.status, {"error": refused.text}
            return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")

        return answer

    def _admit(self, request: web.Request) -> None:
        given = request.headers.get("X-Api-Key")
        if not given:
            raise Refused(401, "API key is missing!")
        if given != self._key:
            raise Refused(401, "User not found!")
        if self.request_limit is None:
            return
        now = self._clock.monotonic()
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        if len(self._recent) >= self.request_limit:
            raise Refused(429, "Rate limit exceeded")
        self._recent.append(now)

    # Campaigns and their members.

    async def campaigns(self, request: web.Request) -> Answer:
        rows, meta = _page(request, [self._campaign_shown()], "campaigns")
        return 200, {"campaigns": rows, "meta": meta}

    async def campaign(self, request: web.Request) -> Answer:
        self._require_campaign(request)
        return 200, {"campaign": self._campaign_shown()}

    async def rename_campaign(self, request: web.Request) -> Answer:
        self._require_campaign(request)
        body = await _json(request)
        if not isinstance(body.get("name"), str) or not body["name"]:
            raise Refused(400, "Name can't be blank")
        self.account.campaign_name = body["name"]
        return 200, {"campaign": self._campaign_shown()}

    async def join(self, request: web.Request) -> Answer:
        self._require_campaign(request)
        identity = (await _json(request)).get("subscriber_uuid")
        member = self.account.find(str(identity))
        if member is None:
            raise Refused(400, "Subscriber not found!")
        membership = {
            "uuid": self.account.joined(member),
            "campaign_uuid": self.account.campaign,
            "subscriber_uuid": member.id,
            "created_at": _iso(self._clock.time()),
        }
        return 201, {"campaign_membership": membership}

    async def leave(self, request: web.Request) -> Answer:
        self._require_campaign(request)
        for member in self.account.members.values():
            if member.membership == request.match_info["membership"]:
                member.membership = None
                return 200, {}
        raise Refused(404, "Campaign membership not found!")

    async def campaign_subscribers(self, request: web.Request) -> Answer:
        self._require_campaign(request)
        return self._listed(request, [each for each in self.account.members.values() if each.membership])

    async def campaign_subscriber(self, request: web.Request) -> Answer:
        self._require_campaign(request)
        member = self.account.get(request.match_info["id"])
        if member.membership is None:
            raise Refused(404, "Subscriber not found!")
        return 200, {"subscriber": _shown(member)}

    async def referrals(self, request: web.Request) -> Answer:
        self._require_campaign(request)
        referrer = self.account.get(request.match_info["id"])
        return self._listed(
            request, [each for each in self.account.members.values() if each.referrer == referrer.referral_code]
        )

    # Subscribers.

    async def subscribers(self, request: web.Request) -> Answer:
        everybody = list(self.account.members.values())
        match request.query.get("type", "all"):
            case "all":
                chosen = everybody
            case "referrals":
                chosen = [each for each in everybody if each.referred]
            case "advocates":
                chosen = [each for each in everybody if each.tot_referrals]
            case _:
                raise Refused(400, "Type is not included in the list")
        return self._listed(request, chosen)

    async def create(self, request: web.Request) -> Answer:
        body = await _json(request)
        code = body.get("referrer_code")
        referrer = next((each for each in self.account.members.values() if code and each.referral_code == code), None)
        member = self.account.add(
            body.get("email", ""),
            _moment(body.get("created_at")) or self._clock.time(),
            name=_name(body.get("name", "")),
            first_name=_name(body.get("name", "")).partition(" ")[0],
            origin="api",
            country_code=_country(body.get("country_code")),
            utm_source=body.get("utm_source"),
            utm_campaign=body.get("utm_campaign"),
            referred=referrer is not None,
            referrer=referrer.referral_code if referrer else None,
        )
        self._told(member)
        return 201, {"subscriber": _shown(member)}

    async def subscriber(self, request: web.Request) -> Answer:
        return 200, {"subscriber": _shown(self.account.get(request.match_info["id"]))}

    async def change(self, request: web.Request) -> Answer:
        member = self.account.get(request.match_info["id"])
        body = await _json(request)
        if not set(body) & {"status", "name", "email"}:
            raise Refused(400, "You have to provide at least one attribute to update")
        if body.get("status", "confirmed") not in {"confirmed", "unsubscribed"}:
            raise Refused(400, "Status is not included in the list")
        before = (member.email, member.name, member.status)
        if "email" in body:
            self.account.rename(member, body["email"])
        if "name" in body:
            member.name = _name(body["name"])
            member.first_name = member.name.partition(" ")[0]
        if "status" in body:
            member.status = "active" if body["status"] == "confirmed" else "unsubscribed"
        if before != (member.email, member.name, member.status) and member.status == "active":
            self._told(member)
        return 200, {"subscriber": _shown(member)}

    async def erase(self, request: web.Request) -> Answer:
        member = self.account.get(request.match_info["id"])
        self.account.remove(member)
        return 200, {}

    async def unsubscribe(self, request: web.Request) -> Answer:
        member = self.account.get(request.match_info["id"])
        if member.status == "unsubscribed":
            raise Refused(409, "Subscriber is already unsubscribed")
        member.status = "unsubscribed"
        return 200, {"subscriber": _shown(member)}

    async def reject(self, request: web.Request) -> Answer:
        self.account.get(request.match_info["id"])
        raise Refused(409, "Referral is not pending")

    async def event(self, request: web.Request) -> Answer:
        member = self.account.get(request.match_info["id"])
        body = await _json(request)
        if body.get("campaign_uuid") != self.account.campaign:
            raise Refused(404, f"Campaign {body.get('campaign_uuid')} not found!")
        event = {
            "value": body.get("value", 0.0),
            "subscriber_uuid": member.id,
            "created_at": _iso(self._clock.time()),
        }
        return 201, {"event": event}

    # Webhooks.

    async def hooks(self, request: web.Request) -> Answer:
        rows, meta = _page(request, [msgspec.to_builtins(each) for each in reversed(self.account.hooks)], "webhooks")
        return 200, {"webhooks": rows, "meta": meta}

    async def add_hook(self, request: web.Request) -> Answer:
        body = await _json(request)
        url, events = _called(body.get("url")), dict.fromkeys(FLAGS, None) | _flags(body)
        hook = self.account.add_hook(url, events)
        return 201, {"webhook": msgspec.to_builtins(hook)}

    async def hook(self, request: web.Request) -> Answer:
        return 200, {"webhook": msgspec.to_builtins(self._hook(request))}

    async def change_hook(self, request: web.Request) -> Answer:
        hook, body = self._hook(request), await _json(request)
        hook.url = _called(body.get("url", hook.url))
        hook.events |= _flags(body)
        return 200, {"webhook": msgspec.to_builtins(hook)}

    async def remove_hook(self, request: web.Request) -> Answer:
        self.account.hooks.remove(self._hook(request))
        return 200, {}

    def _hook(self, request: web.Request) -> Hook:
        found = next((each for each in self.account.hooks if each.uuid == request.match_info["uuid"]), None)
        if found is None:
            raise Refused(404, "Webhook not found!")
        return found

    # Shapes.

    def _require_campaign(self, request: web.Request) -> None:
        if request.match_info["campaign"] != self.account.campaign:
            raise Refused(404, f"Campaign {request.match_info['campaign']} not found!")

    def _campaign_shown(self) -> dict[str, Any]:
        return {"uuid": self.account.campaign, "name": self.account.campaign_name}

    def _listed(self, request: web.Request, members: list[Member]) -> Answer:
        newest = sorted(members, key=lambda each: -each.created_at)
        rows, meta = _page(request, newest, "subscribers")
        return 200, {"subscribers": [_shown(each) for each in rows], "meta": meta}


def _page(request: web.Request, rows: list[Any], what: str) -> tuple[list[Any], dict[str, int]]:
    size, page = (_number(request, name, default) for name, default in (("per_page", 50), ("page", 1)))
    size = min(size, 200)
    meta = {
        "per_page": size,
        "page": page,
        "total_pages": max(1, -(-len(rows) // size)),
        f"total_{what}": len(rows),
    }
    return rows[(page - 1) * size : page * size], meta


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise Refused(400, f"{name} is not a number")
    return int(text)


def _shown(member: Member) -> dict[str, Any]:
    """A subscriber as API v2 gives it: other names than in webhooks, and no link, count or reward."""
    return {
        "uuid": member.id,
        "email": member.email,
        "name": member.name,
        "ref_code": member.referral_code,
        "referrer_code": member.referrer,
        "referred": member.referred,
        "referral_status": "verified",
        "ip_address": None,
        "user_agent": None,
        "origin": member.origin,
        "country_code": member.country_code,
        "cpa": None,
        "utm_source": member.utm_source,
        "utm_campaign": member.utm_campaign,
        "created_at": _iso(member.created_at),
    }


async def _json(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise Refused(400, "Content-Type must be application/json; charset=utf-8")
    try:
        body = msgspec.json.decode(await request.read())
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refused(400, "The body is not JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, "The body is not an object")
    return body


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(text: object) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise Refused(400, "Created at is invalid") from None
    if moment.tzinfo is None:
        raise Refused(400, "Created at is invalid")
    return moment.timestamp()


def _name(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused(400, "Name is invalid")
    return value


def _country(value: object) -> str | None:
    if value is not None and not re.fullmatch(r"[A-Z]{2}", str(value)):
        raise Refused(400, "Country code is invalid")
    return None if value is None else str(value)


def _called(url: object) -> str:
    """A URL that webhooks can go to. SparkLoop takes https only; the twin, for the sake of trials, also http near itself."""
    if not isinstance(url, str) or not (url.startswith("https://") or is_near(url)):
        raise Refused(400, "Url must start with https://")
    return url


def _flags(body: dict[str, Any]) -> dict[str, bool | None]:
    """The events that a body selects or leaves out, and only these."""
    found = {flag: body[flag] for flag in FLAGS if flag in body}
    for flag, value in found.items():
        if value is not None and not isinstance(value, bool):
            raise Refused(400, f"{flag} is not a boolean")
    return found
