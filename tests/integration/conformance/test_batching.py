"""What the checks of DL4 find in plugins with bulk calls: one that is right, and some that are not."""

import asyncio
from pathlib import Path

import pytest
from tests.integration.conformance.bulk import QUALITY

from esplanade.conformance import CheckFailed, checks
from esplanade.conformance.run import try_one
from esplanade.registry import find

assert checks

WRONG = """
from tests.integration.conformance.bulk import *
from tests.integration.conformance import bulk
from esplanade import hookimpl


class Wrong(bulk.Bulk):
"""


async def tried(rule: str, folder: Path, body: str = "pass") -> None:
    path = folder / "wrong.py"
    path.write_text(WRONG + "\n".join(f"    {line}" for line in body.strip("\n").split("\n")) + "\n")
    await try_one(rule, str(path), await asyncio.to_thread(find, str(path), folder), QUALITY)


@pytest.mark.parametrize("rule", ["DL1", "DL2", "DL3", "DL4", "DL5", "DL6"])
async def test_a_plugin_with_bulk_calls_passes(rule, tmp_path):
    await tried(rule, tmp_path)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "async def send(self, *given):\n    return (await super().send(*given))[::-1]",
            "the hub takes",
        ),
        ("def read(self, answer):\n    return bulk.Outcome(remote_id='1')", "the hub takes"),
        ("batch_items = 1", "so they carry one each"),
        ("batch_items = bulk.ITEMS + 1", "calls that the vendor did not take"),
        ("batch_bytes = 2 * bulk.BYTES", "calls that the vendor did not take"),
    ],
)
async def test_a_plugin_that_gets_bulk_calls_wrong(body, words, tmp_path):
    with pytest.raises(CheckFailed, match=words):
        await tried("DL4", tmp_path, body)
