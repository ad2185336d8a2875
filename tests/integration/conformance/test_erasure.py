"""What the checks of ER find in plugins that bring people back."""

import pytest
from tests.integration.conformance.catching import caught


async def test_a_plugin_that_tells_of_people_under_other_names(tmp_path):
    body = """
async def pull(self, cursor, ctx):
    page = await super().pull(cursor, ctx)
    return msgspec.structs.replace(page, reports=[msgspec.structs.replace(
        each, email=each.email.replace("noor", "noor+1"), remote_id=None) for each in page.reports])
"""
    assert "contacts that the hub knows after a pull spoke of them" in await caught("ER1", tmp_path, body)


ERASES = """
async def erase(self, person, ctx):
    campaign = self._campaign(ctx)
    row = {"id": person.remote_id} if person.remote_id else await campaign.find(person.email)
    if row is None:
        return False
    answer = await ctx.http.delete(campaign.settings.path("contact", id=int(row["id"])), allow=(404,))
    return answer.status != 404
"""


async def test_a_plugin_that_erases_keeps_the_rule(tmp_path):
    with pytest.raises(AssertionError, match="ER1 found nothing"):
        await caught("ER1", tmp_path, ERASES)


async def test_one_that_says_so_and_erases_nothing(tmp_path):
    body = """
async def erase(self, person, ctx):
    return True
"""
    assert "expected 'erased', found 'failed'" in await caught("ER1", tmp_path, body)


async def test_one_whose_own_reading_hides_that_it_erases_nothing(tmp_path):
    body = """
can_fetch = False

async def erase(self, person, ctx):
    return True
"""
    assert "whether the vendor's contact is gone" in await caught("ER1", tmp_path, body)


async def test_one_that_never_finds_anybody(tmp_path):
    body = """
can_fetch = False

async def erase(self, person, ctx):
    return False
"""
    assert "expected 'erased', found 'not-found'" in await caught("ER1", tmp_path, body)


async def test_one_that_erases_somebody_else_too(tmp_path):
    body = (
        ERASES.replace("async def erase(", "async def erase_one(")
        + """
async def erase(self, person, ctx):
    await self.erase_one(msgspec.structs.replace(person, email="pim@example.net", remote_id=None), ctx)
    return await self.erase_one(person, ctx)
"""
    )
    assert "the vendor has no contact for pim@example.net" in await caught("ER1", tmp_path, body)


async def test_one_that_says_true_to_whoever_is_not_there(tmp_path):
    body = ERASES.replace("return False", "return True").replace("return answer.status != 404", "return True")
    assert "when it is asked for once more" in await caught("ER1", tmp_path, body)


async def test_one_that_takes_a_vendor_that_is_down_for_one_that_has_nobody(tmp_path):
    body = (
        ERASES.replace("async def erase(", "async def erase_one(")
        + """
async def erase(self, person, ctx):
    try:
        return await self.erase_one(person, ctx)
    except DeliveryError:
        return False

async def fetch(self, person, ctx):
    try:
        return await super().fetch(person, ctx)
    except DeliveryError:
        return None
"""
    )
    assert "while the vendor answers 503: expected 'failed'" in await caught("ER1", tmp_path, body)
