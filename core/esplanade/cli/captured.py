"""A webhook as somebody has captured it: a raw HTTP message, or its body alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from esplanade.model import InboundRequest

from .operator import OperationError

MAX_BYTES = 1024 * 1024
"""As much as the hub takes of one webhook."""
_REQUEST = re.compile(rb"(GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) (\S+)(?: HTTP/[\d.]+)?[ \t]*\r?\n")
_HEADER = re.compile(rb"([!#$%&'*+\-.^`|~\w]+):[ \t]*(.*?)[ \t]*\r?(?:\n|\Z)")
_END = re.compile(rb"\r?(?:\n|\Z)")


def captured(raw: bytes) -> InboundRequest:
    """The request in a file. Lines may end with LF or CRLF; a file that begins with no request line is a body that was posted.

    Raises OperationError naming the line that is no header, or for what no hub would take.
    """
    found = _REQUEST.match(raw)
    if found is None:
        return _request("POST", "", {}, raw)
    headers: dict[str, str] = {}
    at, line = found.end(), 2
    while (end := _END.match(raw, at)) is None:
        header = _HEADER.match(raw, at)
        if header is None:
            raise OperationError(
                f"line {line} of the captured request is no header; write `Name: value`, and an empty line before the body"
            )
        headers[header[1].decode("ascii", "replace").lower()] = header[2].decode("latin-1")
        at, line = header.end(), line + 1
    return _request(found[1].decode(), found[2].decode("latin-1"), headers, raw[end.end() :])


def _request(method: str, target: str, headers: dict[str, str], body: bytes) -> InboundRequest:
    if len(body) > MAX_BYTES:
        raise OperationError(f"the body has more than {MAX_BYTES} bytes, which the hub would answer with 413")
    path, _, query = target.partition("#")[0].partition("?")
    return InboundRequest(
        method=method, path=path, query=query, headers=headers, body=body, received_at=datetime.now(UTC)
    )
