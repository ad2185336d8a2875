"""What Webpower sends: MailPro webhooks with a signature, and the older callbacks of its own triggers with a token.

Signature and headers after the vendor's article "Integration - Webhooks"; topics beyond ``contact.created`` are not
documented, so what they mean is configured.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from esplanade import Context, Happening, Inbound, InboundRequest, PermanentError, Report
from esplanade.http import hmac_hex, same

from .client import as_id
from .mapping import fields_of

if TYPE_CHECKING:
    from .settings import TopicMeaning, WebpowerSettings

NOT_FIELDS = {"token", "topic", "event", "email", "contact_id", "campaign_id", "license", "at"}


def verify(request: InboundRequest, settings: WebpowerSettings) -> bool:
    """Whether a request carries the subscriber's signature for this licence and campaign, or the callbacks' token."""
    signature = request.headers.get("x-mailpro-signature")
    if signature is not None:
        return _is_signed(request, signature, settings) and _is_ours(request, settings)
    if not settings.callback_token:
        return False
    try:
        said = payload(request)
    except PermanentError:
        return False
    return same(str(said.get("token", "")), settings.callback_token.reveal()) and _is_our_campaign(said, settings)


def read(request: InboundRequest, settings: WebpowerSettings, ctx: Context) -> list[Inbound]:
    """What a verified request reports. Raises PermanentError when it cannot be understood."""
    said = payload(request)
    topic = request.headers.get("x-mailpro-topic") or said.get("topic") or said.get("event") or ""
    meaning = meaning_of(str(topic), settings)
    if meaning is None:
        ctx.log.info("webhook of an unknown topic, see webhook_topics", topic=_printable(str(topic)))
        return []
    return _said(meaning, str(topic), said, request, ctx)


def meaning_of(topic: str, settings: WebpowerSettings) -> TopicMeaning | None:
    """What a topic means here; None when nobody has said."""
    return settings.webhook_topics.get(topic, "contact" if topic == "contact.created" else None)


def payload(request: InboundRequest) -> dict[str, Any]:
    """The request's words: its JSON object or form and its query. Raises PermanentError.

    Of a signed request its body only, because the signature does not cover the query.
    """
    query: dict[str, Any] = dict(parse_qsl(request.query, keep_blank_values=True, errors="replace"))
    if "x-mailpro-signature" in request.headers:
        query = {}
    elif not request.body:
        return query
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        form = request.body.decode("utf-8", "replace")
        return query | dict(parse_qsl(form, keep_blank_values=True, errors="replace"))
    try:
        body = msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise PermanentError("the webhook's body is not JSON") from None
    if not isinstance(body, dict):
        raise PermanentError("the webhook's body is not a JSON object")
    return query | body


def _said(
    meaning: TopicMeaning, topic: str, said: dict[str, Any], request: InboundRequest, ctx: Context
) -> list[Inbound]:
    if meaning == "ignore":
        return []
    email = said.get("email")
    email = email if isinstance(email, str) and "@" in email else None
    remote_id = as_id(said.get("contact_id"))
    contact = str(remote_id) if remote_id is not None else None
    if email is None and (contact is None or meaning == "happening"):
        raise PermanentError(f"the webhook {_printable(topic)} names nobody: it has no email")
    match meaning:
        case "contact":
            fields = fields_of(_as_contact(said), set(ctx.fields.values()))
            # Creation says nothing about consent: the vendor sends this before any double opt-in click.
            return [Report(email=email, remote_id=contact, fields=fields, event_id=_event_id(topic, request))]
        case "unsubscribed":
            # Without an event id: an opt-out that repeats does no harm, one taken for a repeat would.
            return [Report(email=email, remote_id=contact, consents=dict.fromkeys(ctx.consents, "denied"))]
        case "deleted":
            return [Report(email=email, remote_id=contact, deleted=True, event_id=_event_id(topic, request))]
        case "happening":
            data = {key: value for key, value in said.items() if key not in {"token", "email"}}
            return [Happening(name=topic, email=email or "", data=data, event_id=_event_id(topic, request))]


def _as_contact(said: dict[str, Any]) -> dict[str, Any]:
    """Callbacks carry a contact's variables flat; webhooks carry them as ``fields``."""
    if isinstance(said.get("fields"), list):
        return said
    flat = [{"field": name, "value": value} for name, value in said.items() if name not in NOT_FIELDS]
    return {"fields": flat, **{name: said[name] for name in ("email", "mobile_nr", "lang") if name in said}}


def _is_signed(request: InboundRequest, signature: str, settings: WebpowerSettings) -> bool:
    if not settings.webhook_secret:
        return False
    given = signature.strip().lower().removeprefix("sha256=")
    return same(given, hmac_hex(settings.webhook_secret.reveal(), request.body))


def _is_ours(request: InboundRequest, settings: WebpowerSettings) -> bool:
    licence = request.headers.get("x-mailpro-license", "")
    if settings.license and licence.strip().lower() != settings.license.lower():
        return False
    try:
        return _is_our_campaign(payload(request), settings)
    except PermanentError:
        return True  # ours by its signature; what it says is for whoever reads it


def _is_our_campaign(said: dict[str, Any], settings: WebpowerSettings) -> bool:
    return "campaign_id" not in said or as_id(said["campaign_id"]) == settings.campaign_id


def _event_id(topic: str, request: InboundRequest) -> str:
    """The same for a repeat on the same day: the vendor sends neither an id nor a time."""
    words = f"{topic}\n{request.query}\n".encode("utf-8", "surrogatepass") + request.body
    return f"{request.received_at:%Y-%m-%d}:{hashlib.sha256(words).hexdigest()}"


def _printable(topic: str) -> str:
    """A topic fit for a log: somebody else wrote it."""
    return "".join(each for each in topic[:60] if each.isalnum() or each in "._-")
