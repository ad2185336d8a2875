"""What the lack of an answer means: from what broke, and how far the call had come, to the error that says what to do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import aiohttp

from esplanade.errors import DeliveryError, EgressRefused, OutcomeUnknown, PermanentError, TemporaryError

from .wire import TooLarge

if TYPE_CHECKING:
    from .wire import Request


def failure_for(error: Exception, request: Request, *, timeout_s: float, max_bytes: int) -> DeliveryError:
    """The error for a request that ended without a whole answer: in doubt once it was sent and may not be repeated."""
    host = request.url.host
    if isinstance(error, TooLarge):
        return PermanentError(f"{host} answered with more than {max_bytes} bytes, which is more than is read")
    if request.sent:
        message = f"{host}: {_reason(error, timeout_s)}"
        return TemporaryError(message) if request.repeatable else OutcomeUnknown(message)
    if request.refused is not None and not request.tried:
        return EgressRefused(
            f"egress-refused: {host} {request.refused}; if this connector shall call it, "
            "add its address range to hub.egress.allow"
        )
    if isinstance(error, aiohttp.InvalidURL):
        return EgressRefused(f"egress-refused: {host} is not a canonical address, so hub.egress.allow cannot hold")
    if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
        return PermanentError(f"the request to {host} cannot be built: {type(error).__name__}")
    return TemporaryError(f"{host} cannot be reached: {_reason(error, timeout_s)}")


def _reason(error: Exception, timeout_s: float) -> str:
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
