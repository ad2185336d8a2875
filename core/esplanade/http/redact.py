"""Taking personal data and secrets out of text that goes to logs, errors and dead letters."""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

# Every repetition that is followed by something else is bounded, so that hostile text costs linear time.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(https?://)[^\s/@?#\"'<>]{1,256}@"), r"\1"),
    (re.compile(r"(https?://[^\s?\"'<>]{1,2048})\?[^\s\"'<>]*"), r"\1?[query]"),
    (re.compile(r"whsec_[\w+/=-]+"), "[secret]"),
    (re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,4}"), "[secret]"),
    (re.compile(r"\b((?i:bearer|basic))\s+(?=\S{0,64}[A-Z0-9=])[\w.~+/=-]{6,}"), r"\1 [secret]"),
    (
        re.compile(
            r"(?i)((?:access_|refresh_|id_|auth_)?token|(?:client_?)?secret|api[_-]?key|passw(?:or)?d|pwd|signature)"
            r"(\\?[\"']?\s{0,8}[:=]\s{0,8}\\?[\"']?)(?![\s\"'])[^\s\"'&,;<>}\\]+"
        ),
        r"\1\2[secret]",
    ),
    (
        re.compile(r"(?i)[\w.!#$%&'*+/=?^`{|}~-]{1,320}(?:@|%40|\\u0040)(?:xn--)?[\w.%-]{1,255}"),
        "[email]",
    ),
    (re.compile(rf"(?<![\w-])(?!{_UUID}(?![\w-]))(?=[\w+=-]{{0,512}}\d)[A-Za-z0-9+_=-]{{32,}}"), "[secret]"),
    (
        re.compile(
            r"(?<![\w-])(?=[\w+-]{0,64}[a-z])(?=[\w+-]{0,64}[A-Z])(?=[\w+-]{0,64}\d)"
            rf"(?!{_UUID}(?![\w-]))[A-Za-z0-9+_-]{{20,}}={{0,2}}"
        ),
        "[secret]",
    ),
    (re.compile(r"(?<![\w.])\(?(?:\+|00?(?=[1-9]))\d[\d ()./-]{5,20}\d(?!\w)"), "[phone]"),
    (re.compile(r"(?<![\w.+-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])"), "[phone]"),
    (re.compile(r"(?<![\w.-])\d{9,15}(?![\w.-]*\w)"), "[number]"),
)


def redact(text: str) -> str:
    """Text without e-mail addresses, tokens, long secrets, phone-like numbers and query strings of URLs.

    UUIDs stay, because a vendor's support asks for them.
    """
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text


class Redactor:
    """``redact`` that besides knows some secrets by heart, as they are and as they look inside a URL or JSON."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._fixed = [each for each in secrets if len(each) >= 4]
        # Tokens come and go for months; an answer can only quote the last few.
        self._recent: deque[str] = deque(maxlen=4)
        self._known = self._compiled()

    def remember(self, secret: str) -> None:
        """Know one more secret, such as a token just fetched, at the cost of the fourth last."""
        self._recent.append(secret)
        self._known = self._compiled()

    def __call__(self, text: str) -> str:
        """The text without the known secrets and without what ``redact`` removes."""
        return redact(self._known.sub("[secret]", text) if self._known else text)

    def _compiled(self) -> re.Pattern[str] | None:
        forms = {
            form
            for secret in (*self._fixed, *self._recent)
            for form in (secret, quote(secret, safe=""), quote_plus(secret), secret.replace("/", "\\/"))
            if form
        }
        if not forms:
            return None
        return re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))


@lru_cache(maxsize=2048)
def path_template(path: str) -> str:
    """A URL's path fit for logs: segments that look like an address or an id are masked.

    ``/v1/contacts/ada%40example.com/lists/7`` becomes ``/v1/contacts/{email}/lists/7``.
    """
    return "/".join(_segment(each) for each in path.partition("?")[0].split("/"))


def _segment(text: str) -> str:
    if "@" in text or "%40" in text:
        return "{email}"
    if len(text) >= 9 and any(each.isdigit() for each in text):
        return "{id}"
    return text if len(text) <= 64 else "{id}"
