"""Between a plugin's call and aiohttp: bodies and headers out and in, and the name of what broke."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import msgspec

from esplanade.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Mapping

TRANSPORT_ERRORS = (aiohttp.ClientError, OSError, ValueError, RuntimeError, EOFError)
"""What aiohttp raises for a broken exchange, besides its timeouts and cancellation."""


def encoded(json: Any, data: bytes | str | Mapping[str, str] | None) -> tuple[bytes | None, dict[str, str]]:
    """The bytes of a request body and its Content-Type header; a mapping becomes a form."""
    if json is not None:
        return msgspec.json.encode(json), {"Content-Type": "application/json"}
    match data:
        case None:
            return None, {}
        case bytes():
            return data, {"Content-Type": "application/octet-stream"}
        case str():
            return data.encode(), {"Content-Type": "text/plain; charset=utf-8"}
        case _:
            return urlencode(data).encode(), {"Content-Type": "application/x-www-form-urlencoded"}


def merged(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """Our headers, except where theirs say otherwise."""
    names = {name.lower() for name in theirs}
    return {**{name: value for name, value in ours.items() if name.lower() not in names}, **theirs}


def require_clean(headers: Mapping[str, str]) -> None:
    """Refuse values that would end the header and begin another; secrets from files often end in a line break."""
    for name, value in headers.items():
        if any(each in "\r\n\0" for each in value):
            raise PermanentError(f"the header {name} holds a line break; check where its value comes from")


def lowered(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """An answer's headers under lower-case names, as text that JSON can hold."""
    headers: dict[str, str] = {}
    for name, value in answer.headers.items():
        clean = value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8", "replace")
        key = name.lower()
        headers[key] = f"{headers[key]}, {clean}" if key in headers else clean
    return headers


def reason(error: Exception, timeout_s: float) -> str:
    """What broke, in words; never the exception's own, which may quote the URL and the request's headers."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return "its TLS certificate is not valid for it"
        case aiohttp.ClientConnectorSSLError():
            return "TLS could not be established"
        case aiohttp.ClientConnectorDNSError():
            return "its name does not resolve"
        case TimeoutError():
            return f"no answer within {timeout_s:g} s"
        case aiohttp.ClientConnectorError():
            return os.strerror(error.errno).lower() if error.errno else "no connection"
        case aiohttp.ClientPayloadError():
            return "its answer was cut short or wrongly encoded"
        case aiohttp.ClientResponseError():
            return "its answer is not valid HTTP"
        case aiohttp.ClientConnectionError() | OSError():
            return "the connection was cut"
        case _:
            return f"the exchange failed ({type(error).__name__})"
