"""What the checks of DL5 find in plugins that call their vendor past the session that they are given."""

import pytest
from tests.integration.conformance.catching import QUALITY, WebpowerConnector, caught

from esplanade.conformance import CheckFailed
from esplanade.conformance.checks import pacing
from esplanade.conformance.trial import Trial

OWN_CALLS = """
@hookimpl
async def on_profile(self, event, ctx):
    import aiohttp
    async with aiohttp.ClientSession() as session:
        for _ in range(12):
            async with session.get(self.settings.origin):
                pass
    return await super().on_profile(event, ctx)
"""


async def test_a_plugin_with_a_session_of_its_own(tmp_path):
    assert "calls were made within 1 s; pace allows 8" in await caught("DL5", tmp_path, OWN_CALLS)


async def test_a_hub_that_does_not_count_the_days_calls(tmp_path, monkeypatch):
    monkeypatch.setattr(pacing, "DAILY", 3)
    real = pacing._paced
    monkeypatch.setattr(pacing, "_paced", lambda trial, clock, pace: real(trial, clock, {"daily": 9}))
    with pytest.raises(CheckFailed, match="calls were made on a day that has 3"):
        await pacing.the_days_budget_is_kept(Trial("webpower", WebpowerConnector, QUALITY, tmp_path))


async def test_a_hub_that_makes_too_many_calls_at_once(tmp_path, monkeypatch):
    real = pacing._paced
    monkeypatch.setattr(pacing, "_paced", lambda trial, clock, pace: real(trial, clock, {**pace, "concurrency": 3}))
    with pytest.raises(CheckFailed, match="3 calls were under way at once; pace allows 2"):
        await pacing.no_more_are_made_at_once(Trial("webpower", WebpowerConnector, QUALITY, tmp_path))
