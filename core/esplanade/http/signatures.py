"""Signatures of webhooks, for plugins that send or receive them."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def same(a: str | bytes, b: str | bytes) -> bool:
    """Whether two secrets or signatures are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(_bytes(a), _bytes(b))


def hmac_hex(secret: str | bytes, body: bytes) -> str:
    """HMAC-SHA256 of a body in lower-case hexadecimal, as many vendors sign their webhooks."""
    return hmac.new(_bytes(secret), body, hashlib.sha256).hexdigest()


def sign_standard_webhook(secret: str, msg_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a Standard Webhooks message (https://www.standardwebhooks.com).

    ``secret`` is base64, with or without ``whsec_``; ``timestamp`` is in epoch seconds; ``body`` must be UTF-8, as
    sent. Raises ValueError when the secret or the body is none of that.
    """
    return {
        "webhook-id": msg_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": _signature(secret, msg_id, timestamp, body),
    }


def verify_standard_webhook(
    secrets: Iterable[str], headers: Mapping[str, str], body: bytes, now: float, tolerance_s: float = 300
) -> bool:
    """Whether a Standard Webhooks message was signed with one of ``secrets``, at most ``tolerance_s`` from ``now``.

    Header names may be of any case. Malformed headers are a no, never an error. Several secrets serve rotation.
    A replay within the tolerance is not noticed here: the hub knows events by their id.
    """
    given = {name.lower(): value for name, value in headers.items()}
    msg_id, stamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    signatures = given.get("webhook-signature", "").split()
    if not (msg_id and stamp.isascii() and stamp.isdigit() and len(stamp) <= 12 and signatures):
        return False
    if abs(now - int(stamp)) > tolerance_s:
        return False
    try:
        expected = [_signature(secret, msg_id, int(stamp), body) for secret in secrets]
    except ValueError:
        return False
    # No early exit: neither which secret nor which signature matched shows in the time.
    return any(same(each, one) for each in expected for one in signatures)


def _signature(secret: str, msg_id: str, timestamp: int, body: bytes) -> str:
    # The library's own verify asks the machine's clock; signing anew and comparing lets the hub's clock decide.
    try:
        signer = Webhook(secret)
        return signer.sign(msg_id, datetime.fromtimestamp(timestamp, tz=UTC), body.decode())
    except EmptyWebhookSecretError:
        raise ValueError("a webhook secret must not be empty") from None
    except (OverflowError, OSError):
        raise ValueError("a webhook's timestamp is out of range") from None


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
