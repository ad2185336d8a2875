"""A vendor's answer, read within limits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .wire import TRANSPORT_ERRORS

if TYPE_CHECKING:
    import aiohttp

    from .sweep import Limit

_ERROR_BODY_BYTES = 64 * 1024


async def body(answer: aiohttp.ClientResponse, limit: Limit, *, wanted: bool, max_bytes: int) -> bytes:
    """The body, after decompression; one that is longer than may be is left where it has become so.

    Of an unwanted answer, as much as can be had: its status counts without. Raises what aiohttp raises of a wanted one.
    """
    most = max_bytes if wanted else _ERROR_BODY_BYTES
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := await answer.content.readany():
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                answer.close()
                break
    except TRANSPORT_ERRORS:
        answer.close()
        if wanted:
            raise
    except asyncio.CancelledError:
        answer.close()
        if wanted or not limit.forgive():
            raise
    finally:
        await left(answer)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def left(answer: aiohttp.ClientResponse) -> None:
    """Done with an answer, read or not: its connection goes back to the pool if it can, and nothing more is written."""
    answer.release()
    await answer.wait_for_close()


def headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """An answer's headers under lower-case names, as text that JSON can hold."""
    found = answer.headers
    plain = {name.lower(): value for name, value in found.items() if value.isascii()}
    if len(plain) == len(found):
        return plain
    told: dict[str, str] = {}
    for name, value in found.items():
        key, clean = name.lower(), value.encode("utf-8", "replace").decode("utf-8", "replace")
        told[key] = f"{told[key]}, {clean}" if key in told else clean
    return told
