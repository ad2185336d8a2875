"""Running the checks against one plugin, and the tier that it reaches."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from esplanade.connector import Connector

from .catalogue import RULES, TIERS, Tier
from .check import CheckFailed, all_checks
from .quality import Quality
from .trial import Trial

LIMIT_S = 60.0
"""So long a check may take."""

Status = Literal["passed", "failed", "skipped", "missing"]


class Result(Struct, frozen=True, kw_only=True):
    """What became of one rule. ``detail`` says why it failed, or was left out."""

    id: str
    tier: Tier
    rule: str
    status: Status
    detail: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """What became of every rule that was looked at, and the tier that the plugin reaches by it."""

    plugin: str
    version: str
    tier: Tier | None
    results: list[Result]


async def run(
    name: str, plugin: type[Connector[Any]], quality: Quality, *, up_to: Tier = "platinum"
) -> AsyncIterator[Result]:
    """Try each rule of the tiers up to one, in the order of the catalogue. ``name`` is what ``plugin:`` says of it."""
    for rule in RULES.values():
        if TIERS.index(rule.tier) <= TIERS.index(up_to):
            status, detail = await _outcome(rule.id, name, plugin, quality)
            yield Result(id=rule.id, tier=rule.tier, rule=rule.words, status=status, detail=detail)


async def _outcome(id_: str, name: str, plugin: type[Connector[Any]], quality: Quality) -> tuple[Status, str]:
    if id_ in quality.skips:
        return "skipped", quality.skips[id_]
    if id_ not in all_checks():
        return "missing", "no check is written for it yet"
    try:
        await try_one(id_, name, plugin, quality)
    except CheckFailed as problem:
        return "failed", str(problem)
    except Exception as problem:  # noqa: BLE001 - the boundary: a plugin may raise anything
        return "failed", f"{type(problem).__name__}: {problem}"
    return "passed", ""


async def try_one(id_: str, name: str, plugin: type[Connector[Any]], quality: Quality) -> None:
    """Run the checks of one rule. Raises CheckFailed, or whatever else went wrong."""
    for each in all_checks()[id_]:
        folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="esplanade-conformance-")
        try:
            async with asyncio.timeout(LIMIT_S):
                await each(Trial(name, plugin, quality, Path(folder.name)))
        finally:
            await asyncio.to_thread(folder.cleanup)


def tier_of(results: Sequence[Result]) -> Tier | None:
    """The highest tier of which, and of those below which, every rule passed or does not apply; None: not even bronze."""
    reached: Tier | None = None
    for tier in TIERS:
        of_tier = [each for each in results if each.tier == tier]
        if not of_tier or any(each.status not in {"passed", "skipped"} for each in of_tier):
            break
        reached = tier
    return reached
