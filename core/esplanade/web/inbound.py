"""Vendors' webhooks, ``ANY /hooks/{connector}/{key}``: on disk before the vendor hears 200, and read only later."""

from urllib.parse import unquote, unquote_plus

from aiohttp import web

from esplanade.clock import as_datetime
from esplanade.config.model import Webhook
from esplanade.http.signatures import same
from esplanade.ingest.shapes import WebhookIn
from esplanade.model import InboundRequest
from esplanade.values import LONG_SECRET, secrets_in, tells_secret

from .body import read_raw
from .port import HubPort
from .problems import Problem, busy

MAX_WEBHOOK_BYTES = 1024 * 1024
DISABLED_RETRY_AFTER_S = 300
_NO_KEY = "there is no such hook"
_DISABLED = "this connector is disabled and nothing was accepted; send this again once it is enabled"
_LOOKS = frozenset({"test", "ping", "challenge"})
"""Parameters of a GET by which vendors try whether a URL is there: it says nothing that could be lost."""
_NEVER_KEPT = frozenset({"cookie", "connection", "expect", "te", "transfer-encoding", "upgrade", "keep-alive"})


class Hooks:
    """The route that vendors call."""

    def __init__(self, hub: HubPort) -> None:
        self._hub = hub

    def routes(self) -> list[web.RouteDef]:
        """What to serve."""
        return [web.route("*", "/hooks/{connector}/{key}", self._take)]

    async def _take(self, request: web.Request) -> web.Response:
        connector = request.match_info["connector"]
        self._require_key(connector, request.match_info["key"])
        path, _, query = _text(request.raw_path).partition("?")
        if request.method == "OPTIONS":
            return _allowed(request)
        if request.method == "HEAD" or (request.method == "GET" and not query):
            return web.Response()
        if self._hub.intake.full():
            raise busy("webhooks come in faster than they are handled; send this again")
        received_at = self._hub.clock.time()
        inbound = InboundRequest(
            method=request.method,
            path=path,
            query=query,
            headers=_headers(request),
            body=await read_raw(request, MAX_WEBHOOK_BYTES),
            received_at=as_datetime(received_at),
        )
        verified = await self._hub.verify(connector, inbound)
        if verified is not False:
            await self._keep(connector, inbound, verified=verified is True)
            self._hub.metrics.webhook(connector, "accepted" if verified else "unverified")
        elif not (request.method == "GET" and _is_look(query)):
            self._hub.metrics.webhook(connector, "refused")
            raise Problem(401, "the signature or token is not this connector's; compare both sides' settings")
        return web.Response()

    def _require_key(self, connector: str, key: str) -> None:
        """Raises Problem 404, in the same time whether the connector or the key is wrong; 503 while it is disabled.

        A vendor that hears 404 may give the URL up for ever, and a connector that is enabled again must hear it.
        """
        known = self._hub.hook_keys().get(connector, "")
        matches = same(_bytes(key), known.encode() or b"\0")
        config = self._hub.config.connectors.get(connector)
        if not (matches and known and config is not None):
            raise Problem(404, _NO_KEY)
        if not config.enabled:
            raise Problem(503, _DISABLED, headers={"Retry-After": str(DISABLED_RETRY_AFTER_S)})

    async def _keep(self, connector: str, inbound: InboundRequest, *, verified: bool) -> None:
        webhook = WebhookIn(
            method=inbound.method,
            path="" if verified else inbound.path,
            query=self._without_secrets(connector, inbound.query) if verified else inbound.query,
            headers=_worth_keeping(inbound.headers) if verified else inbound.headers,
            body=inbound.body,
            verified=verified,
        )
        await self._hub.intake.accept([self._hub.intake.entry_for_webhook(connector, webhook)])

    def _without_secrets(self, connector: str, query: str) -> str:
        """The query without the parameters that tell a secret of the connector's, once they have done their work.

        A short secret may be a word like any other: a parameter by which the call is read is kept although it is the same.
        """
        config = self._hub.config.connectors.get(connector)
        secrets = secrets_in(config.settings) if config is not None and query else set()
        if config is None or not secrets:
            return query
        webhook = config.webhook or Webhook(events={})
        rules = webhook.events.values()
        paths = [
            webhook.event,
            webhook.email,
            *(rule.event_id for rule in rules),
            *(list(rule.fields.values()) for rule in rules),
        ]
        needed = {str(path).lower() for each in paths for path in (each if isinstance(each, list) else [each])}
        return "&".join(each for each in query.split("&") if not _tells(each, secrets, needed))


def _tells(parameter: str, secrets: set[str], needed: set[str]) -> bool:
    name, _, value = parameter.partition("=")
    short = () if unquote_plus(name).lower() in needed else secrets
    readings = {value, unquote(value), unquote_plus(value), unquote(name)}
    long = {each for each in secrets if len(each) >= LONG_SECRET}
    return any(tells_secret(each, {*long, *short}) for each in readings)


def _is_look(query: str) -> bool:
    return all(each.partition("=")[0].lower() in _LOOKS for each in query.split("&"))


def _allowed(request: web.Request) -> web.Response:
    """What CloudEvents' webhook validation asks before it sends (cloudevents/spec http-webhook.md, section 4)."""
    headers = {"Allow": "POST, GET, HEAD, OPTIONS"}
    origin = request.headers.get("WebHook-Request-Origin")
    if origin is not None:
        headers["WebHook-Allowed-Origin"] = origin
    return web.Response(headers=headers)


def _headers(request: web.Request) -> dict[str, str]:
    """All headers but those of the connection and cookies; names in lower case, repeated ones joined."""
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        lower = name.lower()
        if lower not in _NEVER_KEPT:
            found[lower] = f"{found[lower]}, {_text(value)}" if lower in found else _text(value)
    return found


def _worth_keeping(headers: dict[str, str]) -> dict[str, str]:
    """Without credentials, once they have done their work."""
    return {name: value for name, value in headers.items() if "authorization" not in name and "token" not in name}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(raw: str) -> str:
    """Text without the lone surrogates by which the HTTP library marks bytes that are not UTF-8."""
    return raw if raw.isascii() else _bytes(raw).decode("utf-8", "replace")
