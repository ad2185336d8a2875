"""The calls to SparkLoop: API v2 (docs.sparkloop.app/api-v2) and the incoming webhook (the SparkLoop guide)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from esplanade import AuthenticationError, DeliveryError, Http, PermanentError, Response, TemporaryError
from esplanade.http import redact, without_values

from .mapping import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class IncomingWebhook:
    """The account's own URL. All that is known of its answers is that 2xx means taken."""

    def __init__(self, http: Http, url: str) -> None:
        self._http = http
        self._url = url

    async def send(self, body: Mapping[str, Any]) -> bool:
        """Send one event; False when SparkLoop refuses what it says. Sending it twice does no harm."""
        try:
            answer = await self._http.post(self._url, json=body, allow=(404, 422), repeatable=True)
        except DeliveryError as error:
            raise _nameless(error) from None
        if answer.status == 404:
            # The URL is the credential: a wrong one must park the queue, not bury it item by item.
            raise AuthenticationError(
                "SparkLoop does not know settings.incoming_webhook_url; copy it again from its Integrations page"
            )
        return answer.status != 422


def _nameless(error: DeliveryError) -> DeliveryError:
    """The same error without the URL's path, which is the credential."""
    message = re.sub(r" to POST /\S*", " to the incoming webhook", str(error))
    nameless = type(error)(message, retry_after=error.retry_after)
    nameless.exchange = error.exchange
    return nameless


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Api:
    """API v2. People are named by their ids: SparkLoop's own where it is known, then addresses."""

    def __init__(self, http: Http, campaign: str | None) -> None:
        self._http = http
        self._campaign = campaign

    async def change(self, ids: Sequence[str], body: Mapping[str, Any]) -> Response | None:
        """Change the first of ``ids`` that exists; None when none does. A 400 is returned: "taken" has a remedy."""
        for each in ids:
            answer = await self._http.put(_subscriber(each), json=body, allow=(400, 404))
            if answer.status != 404:
                return answer
        return None

    async def create(self, body: Mapping[str, Any]) -> Response | None:
        """Create a subscriber; None when there already is one with this address."""
        # Doing it twice is answered with "taken", so it may be repeated.
        answer = await self._http.request("POST", "/v2/subscribers", json=body, allow=(400,), repeatable=True)
        if answer.status != 400:
            return answer
        if is_taken(answer):
            return None
        raise refusal(answer, body)

    async def unsubscribe(self, ids: Sequence[str]) -> None:
        """Opt somebody out. Somebody unknown (404) or already out (409) is out."""
        for each in ids:
            answer = await self._http.put(f"{_subscriber(each)}/unsubscribe", allow=(404, 409))
            if answer.status != 404:
                return

    async def join(self, subscriber: str) -> None:
        """See to it that a subscriber is in the campaign."""
        if self._campaign is None:
            return
        path = f"/v2/campaigns/{quote(self._campaign, safe='')}"
        answer = await self._http.request(
            "POST",
            f"{path}/campaign_memberships",
            json={"subscriber_uuid": subscriber},
            allow=(400, 404),
            repeatable=True,
        )
        if answer.status == 404:
            # One wrong setting, so it parks the queue instead of burying it item by item.
            raise AuthenticationError("SparkLoop does not know settings.campaign_uuid; `esplanade discover` lists it")
        if answer.status == 400 and not is_taken(answer):
            # Its texts are not promised, so the campaign itself is asked before the person is given up.
            there = await self._http.get(f"{path}/subscribers/{quote(subscriber, safe='')}", allow=(400, 404))
            if there.status in {400, 404}:
                raise refusal(answer)

    async def find(self, ids: Sequence[str]) -> Response | None:
        """The first of ``ids`` that exists; None when none does."""
        for each in ids:
            answer = await self._http.get(_subscriber(each), allow=(404,))
            if answer.status != 404:
                return answer
        return None

    async def page(self, number: int) -> Response:
        """One page of all subscribers, newest first."""
        return await self._http.get("/v2/subscribers", params={"type": "all", "page": number, "per_page": PAGE_SIZE})

    async def campaigns(self) -> Response:
        """The referral campaigns; an account has one at most. 401, 403 and 404 are returned."""
        return await self._http.get("/v2/campaigns", params={"per_page": PAGE_SIZE}, allow=(401, 403, 404))

    async def campaign(self, uuid: str) -> Response:
        """One campaign. 401, 403 and 404 are returned."""
        return await self._http.get(f"/v2/campaigns/{quote(uuid, safe='')}", allow=(401, 403, 404))

    async def anybody(self) -> Response:
        """One subscriber: what can be asked of an account without a campaign. 401, 403 and 404 are returned."""
        return await self._http.get("/v2/subscribers", params={"per_page": 1}, allow=(401, 403, 404))


def _subscriber(identity: str) -> str:
    return f"/v2/subscribers/{quote(identity, safe='')}"


def is_taken(answer: Response) -> bool:
    """Whether a 400 says that it is so already. Its texts vary, so they are read loosely."""
    return bool(re.search(r"taken|already|exist", answer.text(), re.IGNORECASE))


def refusal(answer: Response, sent: Mapping[str, Any] | None = None) -> PermanentError:
    """What SparkLoop said when it refused, without any address in it and without what it was ``sent``."""
    try:
        said = str(answer.json()["error"])
    except (PermanentError, KeyError, TypeError):
        said = "no reason given"
    return PermanentError(f"SparkLoop answered {answer.status}: {redact(without_values(said, sent))[:200]}")


def vanished() -> TemporaryError:
    """SparkLoop said that an address is taken, yet knows nobody by it."""
    return TemporaryError("SparkLoop calls the address taken, but does not find it; it may still be storing it")
