"""The hub's own webhook at SparkLoop: made, found again, mended, removed (docs.sparkloop.app/api-v2/endpoints/webhooks).

One webhook carries all events that can be switched on by API. Ours is the one whose id is kept in the connector's store; where
that knows none, the first whose URL is exactly the hub's, for nobody else knows it. All others are left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from msgspec import Struct, field

from esplanade import Context, PermanentError, Response, Webhooks

from .client import refusal
from .mapping import PAGE_SIZE, PageMeta

if TYPE_CHECKING:
    from .settings import SparkLoopSettings

EVENTS = ("new_referral", "reward_unlocked", "new_partner_referral", "reward_redeemed")
"""All that can be switched on by API; ``webhooks.py`` reads every one of them."""
BY_HAND = "select Subscriber Created or Updated in SparkLoop's dashboard, which cannot be done by API"
KEPT = "webhook"
"""Under this key the connector's store has the id of our webhook."""
MOST_PAGES = 50


class Hook(Struct, frozen=True, kw_only=True):
    """A webhook as API v2 gives it; an event that is not selected may be null."""

    uuid: str
    url: str | None = None
    events: dict[str, bool | None] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """What an operator calls it."""
        return f"webhook {self.uuid} ({', '.join(EVENTS)})"


class Registration:
    """The calls about webhooks. They need the API's key, whichever way subscribers are sent."""

    def __init__(self, ctx: Context, settings: SparkLoopSettings) -> None:
        self._ctx = ctx
        # On the incoming webhook the session has another base and no key.
        apart = settings.mode == "incoming_webhook"
        self._base = f"{settings.base_url.rstrip('/')}/v2/webhooks" if apart else "/v2/webhooks"
        self._headers = {"X-Api-Key": settings.api_key.reveal()} if apart else {}

    async def register(self, url: str) -> Webhooks:
        """See to it that SparkLoop calls ``url``. Raises PermanentError where it does not take it."""
        wanted = {"url": url, **dict.fromkeys(EVENTS, True)}
        ours = self._ours(await self._all(), await self._ctx.kv.get(KEPT), url)
        if ours is None:
            # Not repeatable: where the outcome is unknown, the next registration finds it by its URL.
            made = _hook(await self._call("POST", self._base, json=wanted, url=url))
            await self._ctx.kv.set(KEPT, made.uuid)
            return Webhooks(made=[f"{made.words}; {BY_HAND}"])
        await self._ctx.kv.set(KEPT, ours.uuid)
        if ours.url == url and all(ours.events.get(event) for event in EVENTS):
            return Webhooks(kept=[ours.words])
        await self._call("PUT", self._one(ours.uuid), json=wanted, url=url)
        return Webhooks(mended=[ours.words])

    async def remove(self) -> Webhooks:
        """Remove our webhook, if we know of one."""
        uuid = await self._ctx.kv.get(KEPT)
        if uuid is None:
            return Webhooks()
        answer = await self._request("DELETE", self._one(uuid), allow=(404,))
        await self._ctx.kv.set(KEPT, None)
        return Webhooks() if answer.status == 404 else Webhooks(removed=[Hook(uuid=uuid).words])

    def _ours(self, hooks: list[Hook], kept: object, url: str) -> Hook | None:
        by_id = [each for each in hooks if each.uuid == kept]
        return next(iter(by_id + [each for each in hooks if each.url == url]), None)

    async def _all(self) -> list[Hook]:
        found: dict[str, Hook] = {}
        for page in range(1, MOST_PAGES + 1):
            rows, meta = _page(await self._request("GET", self._base, params={"page": page, "per_page": PAGE_SIZE}))
            new = [row for row in rows if row.uuid not in found]
            found |= {row.uuid: row for row in new}
            if not new or (page >= meta.total_pages if meta.total_pages is not None else len(rows) < PAGE_SIZE):
                break
        return list(found.values())

    def _one(self, uuid: str) -> str:
        return f"{self._base}/{quote(uuid, safe='')}"

    async def _call(self, method: str, path: str, *, json: dict[str, Any], url: str) -> Response:
        answer = await self._request(method, path, json=json, allow=(400, 422))
        if answer.status in {400, 422}:
            if not url.startswith("https://"):
                raise PermanentError(
                    "SparkLoop calls https URLs only: set hub.public_url to one that begins with https://"
                )
            # SparkLoop may quote the URL, whose last part is secret.
            raise PermanentError(str(refusal(answer)).replace(url.rpartition("/")[2], "***"))
        return answer

    async def _request(self, method: str, path: str, **more: Any) -> Response:
        return await self._ctx.http.request(method, path, headers=self._headers, **more)


def _hook(answer: Response) -> Hook:
    """The webhook of an answer, with or without its envelope."""
    body = answer.json()
    found: Hook = _convert(body.get("webhook", body) if isinstance(body, dict) else body, Hook)
    return found


def _page(answer: Response) -> tuple[list[Hook], PageMeta]:
    body = answer.json()
    rows = body.get("webhooks") if isinstance(body, dict) else body
    meta = body.get("meta") or {} if isinstance(body, dict) else {}
    return _convert(rows, list[Hook]), _convert(meta, PageMeta)


def _convert(value: Any, shape: Any) -> Any:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise PermanentError(f"SparkLoop answered something else than webhooks: {error}") from None
