"""What becomes of a name on its way to SparkLoop and back is no change to the hub."""

from __future__ import annotations

import pytest

from esplanade import PersonRef
from esplanade.sync.alike import alike
from esplanade_sparkloop.plugin import SparkLoopConnector


@pytest.mark.parametrize("name", ["Ada Byron", "  Ada Byron", "Ada Byron \n"])
async def test_the_name_that_sparkloop_shows_is_like_the_one_that_was_sent(api, name):
    await api.grant(name=name)
    report = await api.connector.fetch(PersonRef(person="p-1", email="ada@example.com"), api.ctx)
    assert report.fields["name"] == "Ada Byron"
    assert alike(report.fields["name"], name, SparkLoopConnector.alters)


async def test_a_name_in_another_case_is_a_change(api):
    await api.grant(name="Ada Byron")
    report = await api.connector.fetch(PersonRef(person="p-1", email="ada@example.com"), api.ctx)
    assert not alike(report.fields["name"], "ADA BYRON", SparkLoopConnector.alters)
