"""What a vendor's answer means: from status and headers to the error that says what to do next. Pure functions."""

from __future__ import annotations

import html
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import msgspec

from esplanade.errors import (
    LONGEST_WAIT_S,
    AuthenticationError,
    DeliveryError,
    EndpointGone,
    OutcomeUnknown,
    PermanentError,
    RateLimited,
    TemporaryError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXCERPT_CHARS = 300
_LOOKED_AT_CHARS = 4_096

_NUMBER = re.compile(r"\d{1,20}(\.\d{1,9})?")
_TAG = re.compile(r"(?is)<(script|style)\b.{0,4096}?</\1>|<[^<>]{0,512}>")
_LAST_WORD = re.compile(r"[^\s\"',;<>]{0,512}$")


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """How many seconds the vendor asks to wait, between 0 and 24 h; None when it does not say so readably.

    Header names are lower case, ``now`` is in epoch seconds. ``Retry-After`` holds seconds or a date
    (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3). The reset headers hold seconds from now, or an epoch in
    seconds or milliseconds.
    """
    wait = _seconds_or_date(headers.get("retry-after", ""), now)
    if wait is None:
        for name in ("ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"):
            wait = _seconds_or_epoch(headers.get(name, ""), now)
            if wait is not None:
                break
    return wait


def _seconds_or_date(text: str, now: float) -> float | None:
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return _clamped(float(text))
    try:
        return _clamped(parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _seconds_or_epoch(text: str, now: float) -> float | None:
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    if value > 1e11:
        value /= 1000
    return _clamped(value - now if value > 1e9 else value)


def _clamped(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_WAIT_S)


def excerpt(body: bytes, hide: Callable[[str], str]) -> str:
    """The vendor's words as a person may read them: one line, without markup, redacted, at most 300 characters."""
    text = body.decode("utf-8", "replace")
    try:
        # JSON may hide an address behind \u0040; written anew it is plain.
        text = msgspec.json.encode(msgspec.json.decode(body)).decode("utf-8", "replace")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        if text.lstrip()[:1] == "<":
            text = html.unescape(_TAG.sub(" ", text[: 8 * _LOOKED_AT_CHARS]))
    if len(text) > _LOOKED_AT_CHARS:
        # Half an address at the cut would not be recognised as one.
        text = _LAST_WORD.sub("", text[:_LOOKED_AT_CHARS])
    text = " ".join(hide(text).split())
    printable = "".join(each if each.isprintable() else " " for each in text)
    return printable if len(printable) <= EXCERPT_CHARS else printable[: EXCERPT_CHARS - 1] + "…"


def error_for(
    status: int, headers: Mapping[str, str], *, what: str, words: str, repeatable: bool, now: float
) -> DeliveryError | None:
    """The error that an answer means, None for success.

    ``what`` names the exchange (``api.vendor.example answered 429 to POST /v1/mail``); ``words`` is an ``excerpt``.
    """
    if 200 <= status < 300:
        return None
    message = f"{what}: {words}" if words else what
    wait = retry_after_s(headers, now) if status >= 400 else None
    match status:
        case 429:
            return RateLimited(message, retry_after=wait)
        case 503 if _seconds_or_date(headers.get("retry-after", ""), now) is not None:
            return RateLimited(message, retry_after=wait)
        case 401 | 403:
            return AuthenticationError(message)
        case 410:
            return EndpointGone(message)
        case 408 | 425:
            return TemporaryError(message, retry_after=wait)
        case _ if 300 <= status < 400:
            return PermanentError(f"{what}, a redirect; redirects are not followed, so correct the address")
        case _ if 400 <= status < 500:
            return PermanentError(message)
        case _:
            return TemporaryError(message, retry_after=wait) if repeatable else OutcomeUnknown(message)
