"""What a stored webhook says, in whatever form and character set it came: as the core reads it, and as it may be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from esplanade.bodies import Body, Form, Tree, read_body
from esplanade.errors import PermanentError
from esplanade.model import InboundRequest

_MARKED: tuple[Form, ...] = ("json", "xml")
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_ALNUM = rb"(?:3\d|[46][1-9a-f]|[57][\da])"
_ESCAPED = re.compile(rb"\\u00" + _ALNUM)
_PERCENT = re.compile(rb"%" + _ALNUM)
_REFERENCE = re.compile(rb"&#(?:x0*" + _ALNUM + rb"|0*(?:4[89]|5[0-7]|6[5-9]|[78]\d|90|9[789]|1[01]\d|12[012]));")
_XML = re.compile(rb"\xa4body(?:\xc4.|\xc5.{1,2}|\xc6.{1,4})(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\s*<", re.DOTALL)
_GOES_ON = rb"(?:[a-z\d]|<!\[)"
_PARTED = (
    re.compile(rb"<(?:!(?!\[cdata\[)|\?(?!xml\s)|/[^<>]*+>" + _GOES_ON + rb")"),
    re.compile(rb"/>" + _GOES_ON),
    re.compile(rb"\]\]>" + _GOES_ON),
    re.compile(rb"<!\[(?<=[a-z\d]<!\[)"),
)
"""Where text goes on behind a comment, an instruction, an element or CDATA; CDATA that is all of an element parts nothing."""
_CHARSET = re.compile(
    rb"charset\s*+=\s*+[\"']?+(?!utf[-_]?(?:8|16|32)|(?:us-)?ascii|iso[-_]?8859|latin|windows|koi8|gb|big5|shift|euc)"
)


def may_hide(packed: bytes) -> bool:
    """Whether letters and digits in packed webhooks are perhaps not what they say, or parted by XML's markup.

    ``packed`` is in lower case and without NULs: so UTF-16 and UTF-32 are as plain as any other.
    """
    return (
        (b"\\u00" in packed and _ESCAPED.search(packed) is not None)
        or (b"%" in packed and _PERCENT.search(packed) is not None)
        or (b"&#" in packed and _REFERENCE.search(packed) is not None)
        or (b"<" in packed and _XML.search(packed) is not None and any(each.search(packed) for each in _PARTED))
        or (b"charset" in packed and _CHARSET.search(packed) is not None)
    )


def trees(webhook: Mapping[Any, Any]) -> Iterator[Tree]:
    """Everything that the body of a stored webhook is when it is read; nothing where it has none, or is no webhook."""
    request = _request(webhook)
    if request is None:
        return
    body = _read(request)
    if body is not None:
        yield body.tree
    if body is None or body.broken:  # its connector may know better than its header what it is
        for form in _MARKED:
            other = _read(request, form)
            yield None if other is None else other.tree
    if (text := _read(request, "text")) is not None:
        yield text.text


def spoken(webhook: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """A webhook with a body that is what it says, without what XML and character sets put around and into its words."""
    request = _request(webhook)
    if request is None:
        return webhook
    body = _read(request)
    if body is not None and body.form in {"json", "xml"} and not body.broken:
        return {**webhook, "body": body.tree}
    body = _read(request, "text")
    return webhook if body is None else {**webhook, "body": body.text}


def _request(webhook: Mapping[Any, Any]) -> InboundRequest | None:
    """A webhook's request without its query, which is found where it is."""
    body, headers = webhook.get("body"), webhook.get("headers", {})
    if "method" not in webhook or not isinstance(body, bytes) or not isinstance(headers, dict):
        return None
    return InboundRequest(method="POST", headers=headers, body=body, received_at=_NEVER)


def _read(request: InboundRequest, form: Form | None = None) -> Body | None:
    try:
        return read_body(request, form)
    except PermanentError:
        return None
