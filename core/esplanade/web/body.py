"""Reading bodies within limits: sizes count after inflating, and nothing is held that goes past them."""

import json
import re
import zlib
from collections.abc import Sequence

import aiohttp
import msgspec
from aiohttp import hdrs, web
from msgspec import Raw

from .problems import Problem, too_large

MAX_BYTES = 10 * 1024 * 1024
MAX_ITEMS = 10_000

_JSON = "application/json"
_NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})
_AS_MOST_SAY: dict[str | None, bool] = {None: False, _JSON: False, **dict.fromkeys(_NDJSON, True)}
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_MAX_GZIP_MEMBERS = 1_000
_MANY_COMMAS = 20 * MAX_ITEMS
_BLANK_LINES = re.compile(rb"\n\s+")
_raws = msgspec.json.Decoder(list[Raw])
_scan = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\r\n]*")


def is_ndjson(request: web.Request) -> bool:
    """Whether the body has one item a line. Raises Problem 415 for what is neither that nor JSON."""
    given = request.headers.get(hdrs.CONTENT_TYPE)
    known = _AS_MOST_SAY.get(given)
    if known is not None:
        return known
    assert given is not None  # which is known
    essence, _, rest = given.partition(";")
    essence = essence.strip().lower()
    charset = request.charset if "charset" in rest.lower() else None
    if charset is not None and charset.lower() not in _CHARSETS:
        raise Problem(415, "JSON is UTF-8 here; encode the body so and leave the charset out")
    if essence in _NDJSON:
        return True
    if essence == _JSON or (essence.startswith("application/") and essence.endswith("+json")):
        return False
    raise Problem(
        415, "send application/json or application/x-ndjson", headers={"Accept-Post": f"{_JSON}, application/x-ndjson"}
    )


def body_at_hand(request: web.Request) -> bytes | None:
    """The body, when all of it has come already and nothing has to be done to it; None: ``read_body`` has to."""
    content = request.content
    if (
        content.is_eof()
        and content.total_bytes <= MAX_BYTES
        and content.exception() is None
        and hdrs.CONTENT_ENCODING not in request.headers
    ):
        return content.read_nowait()
    return None


async def read_body(request: web.Request, max_bytes: int = MAX_BYTES) -> bytes:
    """The body, inflated when it is gzip. Raises Problem 400, 413, 415."""
    match request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower():
        case "" | "identity":
            return await read_raw(request, max_bytes)
        case "gzip" | "x-gzip":
            inflater = Inflater(max_bytes)
        case _:
            raise Problem(
                415, "send the body as it is or with Content-Encoding: gzip", headers={"Accept-Encoding": "gzip"}
            )
    _refuse_declared(request, max_bytes)
    while not request.content.at_eof():
        inflater.feed(await _next_chunk(request))
    return inflater.finish()


async def read_raw(request: web.Request, max_bytes: int) -> bytes:
    """The body as it came over the wire. Raises Problem 400, 413."""
    _refuse_declared(request, max_bytes)
    chunks: list[bytes] = []
    size = 0
    while not request.content.at_eof():
        chunk = await _next_chunk(request)
        size += len(chunk)
        if size > max_bytes:
            raise too_large(f"a body may hold {max_bytes} bytes")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def split_items(body: bytes, *, ndjson: bool) -> Sequence[bytes | Raw]:
    """The items of a body: lines, an array's, or the one object. Raises Problem 400, 413."""
    if ndjson:
        lines = _BLANK_LINES.sub(b"\n", body.strip()).split(b"\n", MAX_ITEMS) if body.strip() else []
        return _few(lines)
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return [body]
    if body.count(b",") > _MANY_COMMAS and _holds_too_many(body):
        raise _too_many()
    try:
        return _few(_raws.decode(body))
    except RecursionError as why:
        raise Problem(400, "nested too deeply to be read") from why
    except ValueError as why:
        raise Problem(400, f"not JSON: {why}") from why


class Inflater:
    """Inflates gzip piece by piece and stops at the limit, whatever the piece promises."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes
        self._max_bytes = max_bytes
        self._taken = 0
        self._members = 0
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._parts: list[bytes] = []

    def feed(self, chunk: bytes) -> None:
        """Take a piece. Raises Problem 400 when it is not gzip, 413 when it holds too much."""
        self._taken += len(chunk)
        if self._taken > self._max_bytes:
            raise too_large(f"a body may hold {self._max_bytes} bytes")
        while chunk:
            if self._stream.eof:
                self._next_member()
            try:
                part = self._stream.decompress(chunk, self._left + 1)
            except zlib.error as why:
                raise Problem(400, "the body says it is gzip and is not") from why
            self._left -= len(part)
            if self._left < 0:
                raise too_large(f"a body may hold {self._max_bytes} bytes after inflating")
            if part:
                self._parts.append(part)
            chunk = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail

    def finish(self) -> bytes:
        """Everything, once the body has ended. Raises Problem 400 when it ended too early."""
        if not self._stream.eof:
            raise Problem(400, "the gzip body is cut off")
        return b"".join(self._parts)

    def _next_member(self) -> None:
        self._members += 1
        if self._members > _MAX_GZIP_MEMBERS:
            raise Problem(400, "the gzip body has too many parts")
        self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)


async def _next_chunk(request: web.Request) -> bytes:
    try:
        return await request.content.readany()
    except (web.RequestPayloadError, aiohttp.ClientError, ConnectionError) as why:
        raise Problem(400, "the body is cut off or not well formed") from why


def _refuse_declared(request: web.Request, max_bytes: int) -> None:
    if (request.content_length or 0) > max_bytes:
        raise too_large(f"a body may hold {max_bytes} bytes")


def _few(items: Sequence[bytes | Raw]) -> Sequence[bytes | Raw]:
    if len(items) > MAX_ITEMS:
        raise _too_many()
    return items


def _too_many() -> Problem:
    return too_large(f"a request may hold {MAX_ITEMS} items; send them in several")


def _holds_too_many(body: bytes) -> bool:
    """Count an array's items without holding them; what cannot be read is judged elsewhere."""
    text = body.decode(errors="replace")
    at = text.index("[")
    try:
        for _ in range(MAX_ITEMS + 1):
            _, end = _scan(text, _SPACE.match(text, at + 1).end())  # type: ignore[union-attr]  # it matches nothing too
            at = _SPACE.match(text, end).end()  # type: ignore[union-attr]
            if text[at : at + 1] != ",":
                return False
    except (ValueError, RecursionError):
        return False
    return True
