"""Errors as problems (RFC 9457): type, title, status, detail, and nothing of our insides."""

from typing import Any

import msgspec
from aiohttp import web

from esplanade.errors import StorageFull, StoreError

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_S = 5
HEADERS = {"X-Content-Type-Options": "nosniff", "Server": "esplanade"}
"""What every answer carries."""
API_HEADERS = {**HEADERS, "Cache-Control": "no-store"}
"""What every answer under ``/v1/`` carries."""

_KNOWN = {
    400: ("malformed", "The request cannot be read"),
    401: ("unauthorized", "A valid token is needed"),
    403: ("forbidden", "Not allowed"),
    404: ("not-found", "There is nothing here"),
    405: ("method-not-allowed", "This method does not go here"),
    409: ("conflict", "Not now"),
    413: ("too-large", "The request is too large"),
    415: ("unsupported-media-type", "This kind of body is not understood"),
    417: ("expectation-failed", "This expectation cannot be met"),
    422: ("not-acceptable", "Nothing in it could be accepted"),
    500: ("internal", "The hub failed"),
    501: ("not-implemented", "The hub does not do this"),
    502: ("vendor-failed", "The vendor failed"),
    503: ("busy", "Try again later"),
    504: ("timeout", "It took too long"),
}


class Problem(Exception):
    """An answer that says what is wrong and what to do. ``kind`` is its type; further keys go into its body."""

    def __init__(
        self, status: int, detail: str, *, kind: str | None = None, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        known, title = _KNOWN.get(status, ("error", "The request failed"))
        self.status = status
        self.headers = headers or {}
        self.content = {"type": kind or known, "title": title, "status": status, "detail": detail, **more}

    @property
    def body(self) -> bytes:
        """The problem as JSON."""
        return msgspec.json.encode(self.content)

    def response(self) -> web.Response:
        """The answer to send."""
        answer = web.Response(status=self.status, body=self.body, content_type=PROBLEM_JSON, headers=self.headers)
        if self.status == 413:
            answer.force_close()  # what is left of the body is not worth reading
        return answer


def too_large(detail: str) -> Problem:
    """More than a request may hold."""
    return Problem(413, detail)


def busy(detail: str) -> Problem:
    """503 with the time to come back."""
    return Problem(503, detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def of_store(error: StoreError) -> Problem:
    """The store took nothing."""
    if isinstance(error, StorageFull):
        return Problem(
            503,
            "the disk is full and nothing was accepted; send it again once there is room",
            kind="storage-full",
            headers={"Retry-After": "60"},
        )
    return busy("the store failed and nothing was accepted; send it again")


def of_http(error: web.HTTPException) -> Problem:
    """What the HTTP library found wrong: no such route, not this method."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Problem(405, f"this address takes {allowed}", headers={"Allow": allowed})
        case web.HTTPNotFound():
            return Problem(404, "no such address; see the HTTP API's reference")
        case _:
            return Problem(error.status, error.reason)
