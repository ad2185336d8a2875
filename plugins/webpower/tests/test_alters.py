"""What Webpower does to values on their way is no change to the hub."""

from __future__ import annotations

import pytest

from esplanade.sync.alike import alike
from esplanade_webpower.mapping import MAX_VALUE
from esplanade_webpower.plugin import WebpowerConnector


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [
        ("city", True, "true"),
        ("city", 12.0, "12"),
        ("city", 12.5, "12.5"),
        ("city", ["sale", "news"], "sale,news"),
        ("city", "", None),
        ("age", 7, "7"),
        ("notes", "x" * (MAX_VALUE + 1), "x" * MAX_VALUE),
    ],
)
async def test_what_a_pull_shows_of_a_value_is_like_what_was_sent(open_hub, twin, name, value, held):
    twin.account.add_field("age", "integer")
    twin.account.add_field("notes", length=100_000)
    async with open_hub(mapped={"fields": {name: name}}) as hub:
        await hub.profile(desired={name: value})
        (report,), _ = await hub.pull()
    assert report.fields == {name: held}
    assert alike(report.fields[name], value, WebpowerConnector.alters)


async def test_what_a_shorter_field_cuts_is_not_like_what_was_sent(open_hub, twin):
    twin.account.add_field("tier", length=4)
    async with open_hub(mapped={"fields": {"tier": "tier"}}) as hub:
        await hub.profile(desired={"tier": "golden"})
        (report,), _ = await hub.pull()
    assert report.fields == {"tier": "gold"}
    assert not alike(report.fields["tier"], "golden", WebpowerConnector.alters)
