"""A call, in a few words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from esplanade import BodyPath, InboundRequest, read_body


def call(body=b"", content_type=None, query="", method="POST"):
    headers = {} if content_type is None else {"content-type": content_type}
    raw = body.encode() if isinstance(body, str) else body
    at = datetime(2026, 1, 15, tzinfo=UTC)
    return InboundRequest(method=method, query=query, headers=headers, body=raw, received_at=at)


@pytest.fixture
def read():
    """Read a call."""

    def _read(body=b"", content_type=None, query="", form=None):
        return read_body(call(body, content_type, query), form)

    return _read


@pytest.fixture
def paths():
    return [BodyPath(path) for path in ("emailaddress", "email", "contact.email", "data[0].email")]
