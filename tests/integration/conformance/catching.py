"""Plugins that do something wrong on purpose, and what the suite says of them."""

import asyncio
from pathlib import Path

import msgspec

from esplanade.conformance import CheckFailed, checks, load_quality
from esplanade.conformance.run import try_one
from esplanade.registry import find
from esplanade_webpower.plugin import WebpowerConnector

assert checks  # it registers them
QUALITY = load_quality(WebpowerConnector)

HEAD = """
import msgspec
from esplanade import *
from esplanade import hookimpl
from esplanade_webpower import plugin as webpower


class Wrong(webpower.WebpowerConnector):
"""


def plugin(folder: Path, body: str) -> str:
    """Write a plugin that is webpower's but for this body of its class; what ``plugin:`` says to get it."""
    path = folder / "wrong.py"
    path.write_text(HEAD + "\n".join(f"    {line}" if line else "" for line in body.strip("\n").split("\n")) + "\n")
    return str(path)


async def caught(rule: str, folder: Path, body: str, **quality: object) -> str:
    """What the checks of a rule say of such a plugin; fails when they find nothing. ``quality``: keys of its quality file."""
    reference = plugin(folder, body)
    made = await asyncio.to_thread(find, reference, folder)
    try:
        await try_one(rule, reference, made, msgspec.structs.replace(QUALITY, **quality))
    except CheckFailed as problem:
        return str(problem)
    raise AssertionError(f"{rule} found nothing")
