"""What the checks of LP find in plugins that take their own words for news, or news for their own words."""

import pytest
from tests.integration.conformance.catching import caught

REPORTED = """
number = 0

def told(self, page, change):
    return msgspec.structs.replace(page, reports=[msgspec.structs.replace(each, fields={
        name: change(value) if isinstance(value, str) else value for name, value in each.fields.items()
    }) for each in page.reports])
"""


async def test_a_plugin_that_does_not_say_what_its_vendor_makes_of_texts(tmp_path):
    body = """
async def pull(self, cursor, ctx):
    return self.told(await super().pull(cursor, ctx), str.upper)
"""
    assert "changes that a pull found in the hub's own writes" in await caught("LP1", tmp_path, REPORTED + body)


@pytest.mark.parametrize("rule", ["LP2", "LP3"])
async def test_a_plugin_that_is_blind_to_changes(tmp_path, rule):
    body = """
async def pull(self, cursor, ctx):
    page = await super().pull(cursor, ctx)
    return msgspec.structs.replace(page, reports=[msgspec.structs.replace(each, fields={}) for each in page.reports])
"""
    assert "in the hub" in await caught(rule, tmp_path, body)


async def test_a_plugin_that_marks_what_was_cut(tmp_path):
    body = """
async def pull(self, cursor, ctx):
    return self.told(await super().pull(cursor, ctx), lambda text: text if len(text) < 255 else f"{text}...")
"""
    assert "what the hub holds 60 s later" in await caught("LP3", tmp_path, REPORTED + body)


async def test_a_plugin_that_says_something_else_each_time(tmp_path):
    body = """
async def pull(self, cursor, ctx):
    self.number += 1
    return self.told(await super().pull(cursor, ctx), lambda text: f"{text[:5]}{self.number}")
"""
    said = await caught("LP4", tmp_path, REPORTED + body)
    assert "writes" in said or "went round" in said
