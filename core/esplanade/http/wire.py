"""Between a plugin's call and aiohttp: one request, its body and its headers."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from esplanade.errors import PermanentError

from .ssrf import Call

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
# aiohttp warns about raw bytes beyond this size and wants a file-like body.
_LARGE_BODY_BYTES = 1024 * 1024


class TooLarge(Exception):
    """The answer is longer than the session reads."""


TRANSPORT_ERRORS = (aiohttp.ClientError, OSError, ValueError, RuntimeError, EOFError, TooLarge)
"""What ends an exchange without a whole answer, besides cancellation."""


class Request(Call, kw_only=True):
    """One request, ready to go out, and what has become of it."""

    method: str
    url: URL
    text: str
    """The URL as text."""
    headers: Mapping[str, str] | None
    """Besides those that every request carries."""
    body: bytes | None
    kind: str
    """The type of the body."""
    content: Any
    """What the body was made of."""
    allow: tuple[int, ...] = ()
    repeatable: bool
    trusted: bool
    """Whether the credentials may go along."""
    reads: bool
    """Whether the answer is what the call is for, rather than what it does."""
    began: float
    """On the loop's monotonic clock."""
    status: int | None = None
    """What the vendor answered, once the head of its answer is there."""

    def __repr__(self) -> str:
        return f"Request({self.method}, ***)"


def encoded(json: Any, data: bytes | str | Mapping[str, str] | None) -> tuple[bytes | None, str]:
    """The bytes of a request body and their type; a mapping becomes a form."""
    if json is not None:
        return msgspec.json.encode(json), JSON
    match data:
        case None:
            return None, ""
        case bytes():
            return data, "application/octet-stream"
        case str():
            return data.encode(), "text/plain; charset=utf-8"
        case _:
            return urlencode(data).encode(), FORM


def payload(request: Request) -> aiohttp.Payload | None:
    """The body as aiohttp sends it, once; its type goes along unless a header names another."""
    body = request.body
    if body is None:
        return None
    if len(body) > _LARGE_BODY_BYTES:
        return aiohttp.BytesIOPayload(io.BytesIO(body), content_type=request.kind)
    return aiohttp.BytesPayload(body, content_type=request.kind)


def distinct(*layers: Mapping[str, str]) -> dict[str, str]:
    """Headers of which a later one replaces an earlier one of the same name, in any case."""
    kept = {name.lower(): (name, value) for layer in layers for name, value in layer.items()}
    return dict(kept.values())


def require_clean(headers: Mapping[str, str]) -> None:
    """Refuse values that would end the header and begin another; secrets from files often end in a line break."""
    for name, value in headers.items():
        if any(each in "\r\n\0" for each in value):
            raise PermanentError(f"the header {name} holds a line break; check where its value comes from")
