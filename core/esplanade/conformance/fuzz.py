"""Calls that were genuine once, spoiled at random: the same ones for the same seed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any
from urllib.parse import urlencode

from esplanade.testing import Call

Spoiling = Callable[[Call, Random], Call]

ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1.5e308,
    10**40,
    -(2**63) - 1,
    "",
    " ",
    "\x00",
    "\ud800",
    "\u202e\u0000💥",
    "@",
    "a@b",
    "a" * 20_000,
    "2026-02-30T25:61:61Z",
    "NaN",
    [],
    {},
    [None],
    {"": None},
    [[[[]]]],
    {"email": {"email": []}},
]
KINDS = [
    "",
    "text/plain",
    "application/json; charset=utf-16",
    "application/json; charset=no-such",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/xml",
    ";;;",
]
QUERIES = [
    "%",
    "%zz",
    "%00=%ff",
    "a=%ed%a0%80",
    "&&&==&;",
    "=" * 500,
    "a[0][b]=1&a=2&a=3",
    "token=%00",
    "topic=" + "x" * 2_000,
]
NUMBERS = [b"9" * 400, b"-1", b"1e999", b"0.1", b"NaN", b"-0", b"1" + b"0" * 20]


def spoiled(call: Call, rng: Random) -> Call:
    """A call with one to three things wrong."""
    for spoil in rng.choices(SPOILINGS, k=rng.choice((1, 1, 2, 3))):
        call = spoil(call, rng)
    return call


def spoiled_calls(calls: list[Call], many: int, seed: int) -> Iterator[Call]:
    """So many spoiled calls, of each genuine one in turn."""
    rng = Random(seed)
    for number in range(many):
        yield spoiled(calls[number % len(calls)], rng)


def _with(call: Call, **changes: Any) -> Call:
    said = {"method": call.method, "headers": call.headers, "body": call.body, "query": call.query}
    return Call(**{**said, **changes})


def _cut(call: Call, rng: Random) -> Call:
    return _with(call, body=call.body[: rng.randrange(len(call.body) + 1)])


def _flip(call: Call, rng: Random) -> Call:
    body = bytearray(call.body)
    for _ in range(rng.randint(1, 8) if body else 0):
        body[rng.randrange(len(body))] = rng.randrange(256)
    return _with(call, body=bytes(body))


def _insert(call: Call, rng: Random) -> Call:
    what = rng.choice(
        [b"\x00", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\r\n\r\n", b"{", b"]", b'"', b"\\", b"\\ud800", b","]
    )
    at = rng.randrange(len(call.body) + 1)
    return _with(call, body=call.body[:at] + what + call.body[at:])


def _twice(call: Call, rng: Random) -> Call:
    start = rng.randrange(len(call.body) + 1)
    part = call.body[start : rng.randrange(start, len(call.body) + 1)]
    return _with(call, body=call.body[:start] + part + call.body[start:])


def _number(call: Call, rng: Random) -> Call:
    instead = rng.choice(NUMBERS)
    return _with(call, body=re.sub(rb"\b\d+\b", lambda _: instead, call.body, count=rng.choice((0, 1))))


def _deep(call: Call, rng: Random) -> Call:
    many = rng.choice((40, 2_000, 60_000))
    return _with(call, body=rng.choice([b"[", b'{"a":']) * many + call.body)


def _wrapped(call: Call, rng: Random) -> Call:
    opening, closing = rng.choice(
        [(b"[", b"]"), (b'{"data":', b"}"), (b'"', b'"'), (b"\xef\xbb\xbf", b""), (b" " * 99, b"\n")]
    )
    return _with(call, body=opening + call.body + closing)


def _key_twice(call: Call, rng: Random) -> Call:
    odd = json.dumps(rng.choice(ODD)).encode()
    return _with(
        call, body=re.sub(rb'^\s*\{\s*("[^"]*")', rb"{\1:" + odd.replace(b"\\", rb"\\") + rb",\1", call.body, count=1)
    )


def _odd_value(call: Call, rng: Random) -> Call:
    """One value, somewhere in the body, is another."""
    try:
        said = json.loads(call.body)
    except (ValueError, RecursionError):
        return _odd_form(call, rng)
    return _with(call, body=_json(_altered(said, rng)))


def _odd_form(call: Call, rng: Random) -> Call:
    """Of a form, or a query, one value is another."""
    odd = urlencode({"x": str(rng.choice(ODD)).encode("utf-8", "replace")})[2:]
    text = call.body.decode("latin-1") if call.body else call.query
    parts = text.split("&")
    at = rng.randrange(len(parts))
    parts[at] = f"{parts[at].partition('=')[0]}={odd}"
    spoiled_text = "&".join(parts)
    return _with(call, body=spoiled_text.encode("latin-1")) if call.body else _with(call, query=spoiled_text)


def _altered(value: Any, rng: Random) -> Any:
    match value:
        case dict() if value and rng.random() < 0.9:
            key = rng.choice(list(value))
            if rng.random() < 0.15:
                return {name: each for name, each in value.items() if name != key}
            return {**value, key: _altered(value[key], rng)}
        case list() if value and rng.random() < 0.9:
            at = rng.randrange(len(value))
            return [*value[:at], _altered(value[at], rng), *value[at + 1 :]]
        case _:
            return rng.choice(ODD)


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()  # a lone surrogate


def _kind(call: Call, rng: Random) -> Call:
    headers = {name: value for name, value in call.headers.items() if name.lower() != "content-type"}
    kind = rng.choice(KINDS)
    return _with(call, headers={**headers, **({"Content-Type": kind} if kind else {})})


def _header(call: Call, rng: Random) -> Call:
    if not call.headers:
        return call
    name = rng.choice(list(call.headers))
    odd = rng.choice(
        ["", "x", "=", "sha256=", "9" * 400, "\xff\xfe", "v1,", 'keyId="', "a" * 5_000, "@example.net", ",,,"]
    )
    return _with(call, headers={**call.headers, name: odd})


def _query(call: Call, rng: Random) -> Call:
    odd = rng.choice(QUERIES)
    return _with(call, query=rng.choice([odd, f"{call.query}&{odd}"]))


def _empty(call: Call, rng: Random) -> Call:
    return _with(call, body=b"")


def _random(call: Call, rng: Random) -> Call:
    return _with(call, body=rng.randbytes(rng.choice((1, 30, 3_000))))


def _method(call: Call, rng: Random) -> Call:
    return _with(call, method=rng.choice(["GET", "POST", "PUT", "DELETE", "PATCH"]))


SPOILINGS: list[Spoiling] = [
    _cut,
    _flip,
    _insert,
    _twice,
    _number,
    _deep,
    _wrapped,
    _key_twice,
    *[_odd_value] * 6,
    _kind,
    _header,
    _query,
    _empty,
    _random,
    _method,
]
