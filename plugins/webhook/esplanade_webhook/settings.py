"""What connectors.yaml says under ``settings:`` of a webhook."""

import base64
import binascii
import re
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct, field

from esplanade import Origin, Secret

_OURS = frozenset({"content-length", "content-type", "host", "webhook-id", "webhook-signature", "webhook-timestamp"})


class WebhookSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One receiver of signed events."""

    url: str
    """Where the events are posted, such as ``https://cdp.example/hooks/esplanade``. It may have a query."""
    secret: Secret
    """The key that signs: ``whsec_`` and the base64 form of 24 to 64 random bytes."""
    secrets: list[Secret] = field(default_factory=list)
    """Further keys that sign too, so that the receiver can change to another one without a gap."""
    format: Literal["canonical", "cloudevents"] = "canonical"
    """The envelope of an event: ours, or CloudEvents 1.0 in structured mode."""
    headers: dict[str, Secret] = field(default_factory=dict)
    """Further headers of every request, such as ``Authorization``."""
    base_url: Origin | None = None
    """Takes the place of the origin of ``url``."""

    def __post_init__(self) -> None:
        """Raise ValueError with the remedy when a value cannot work."""
        _check_url(self.url)
        for secret in self.keys:
            _check_secret(secret)
        for name, value in self.headers.items():
            _check_header(name, value)

    @property
    def keys(self) -> list[Secret]:
        """Every key that signs, the main one first."""
        return [self.secret, *self.secrets]

    @property
    def origin(self) -> str:
        """Where requests go, without their path."""
        parts = urlsplit(self.url)
        return self.base_url or f"{parts.scheme}://{parts.netloc}"

    @property
    def path(self) -> str:
        """The path of ``url`` with its query."""
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        odd = "@" in parts.netloc or re.search(r"[\s#\\]", url)
    except ValueError:
        whole, odd = False, None
    if not whole or odd:
        raise ValueError("url: expected one such as https://cdp.example/hooks/esplanade, without user name or fragment")


def _check_secret(secret: Secret) -> None:
    text = secret.reveal()
    encoded = text.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError(
            "secret: expected whsec_ and the base64 form of 24 to 64 bytes; make one with: "
            'echo "whsec_$(openssl rand -base64 32)"'
        )


def _check_header(name: str, value: Secret) -> None:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not re.fullmatch(r"[ -~]*", value.reveal()):
        raise ValueError(f"headers: {name!r} or its value has a character that no header may have; take it out")
    if name.lower() in _OURS:
        raise ValueError(f"headers: {name} is set by this plugin itself; take it out")
