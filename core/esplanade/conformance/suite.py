"""The suite as tests of pytest, each with the id of its rule."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from esplanade import registry
from esplanade.connector import Connector

from .catalogue import RULES, TIERS, Tier
from .check import all_checks
from .quality import load_quality
from .run import try_one


def suite(plugin: type[Connector[Any]], *, up_to: Tier = "platinum") -> Callable[[str], Awaitable[None]]:
    """A test function for every rule up to a tier; those that do not apply are skipped with the plugin's reason."""
    import pytest

    quality = load_quality(plugin)
    name = _name_of(plugin)
    checks = all_checks()
    rules = [rule for rule in RULES.values() if TIERS.index(rule.tier) <= TIERS.index(up_to)]

    @pytest.mark.parametrize("rule", [each.id for each in rules if each.id in checks or each.id in quality.skips])
    async def test_conformance(rule: str) -> None:
        if rule in quality.skips:
            pytest.skip(quality.skips[rule])
        await try_one(rule, name, plugin, quality)

    return test_conformance


def _name_of(plugin: type[Connector[Any]]) -> str:
    """What ``plugin:`` of connectors.yaml says to get this class."""
    target = f"{plugin.__module__}:{plugin.__qualname__}"
    for each in registry.installed():
        if each.target == target:
            return each.name
    raise LookupError(f"{target} is no entry point of an installed distribution; install the plugin first")
