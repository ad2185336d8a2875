"""What the checks of SY find in pulls that stumble, forget or make things up."""

from tests.integration.conformance.catching import caught


async def test_a_plugin_that_begins_anew_each_time(tmp_path):
    body = """
first = True

async def pull(self, cursor, ctx):
    cursor = None if self.first else cursor
    self.first = False
    return await super().pull(cursor, ctx)
"""
    assert "a pull read before and after it was broken off" in await caught("SY1", tmp_path, body)


async def test_a_plugin_that_stumbles_over_a_cursor(tmp_path):
    body = """
async def pull(self, cursor, ctx):
    return await super().pull(None if cursor is None else msgspec.json.encode(msgspec.json.decode(cursor)).decode(), ctx)
"""
    assert "raised DecodeError" in await caught("SY1", tmp_path, body)


async def test_a_plugin_whose_pull_never_ends(tmp_path):
    body = """
async def pull(self, cursor, ctx):
    page = await super().pull(None, ctx)
    return msgspec.structs.replace(page, cursor=f"{cursor}1")
"""
    assert "has more than" in await caught("SY1", tmp_path, body)


async def test_a_plugin_that_pages_by_number_alone(tmp_path):
    body = """
async def pull(self, cursor, ctx):
    path, number = self.settings.path("contacts"), int(cursor or 1)
    rows = (await ctx.http.get(path, params={"page": number, "pagelength": 100})).json()["result"]
    reports = [Report(email=row["email"], remote_id=str(row["id"])) for row in rows]
    return Page(reports=reports, cursor=str(number + 1) if len(rows) == 100 else None)
"""
    assert "because others were deleted meanwhile" in await caught("SY2", tmp_path, body)


async def test_a_plugin_whose_reports_differ_each_time(tmp_path):
    body = """
number = 0

async def pull(self, cursor, ctx):
    self.number += 1
    page = await super().pull(cursor, ctx)
    return msgspec.structs.replace(page, reports=[
        msgspec.structs.replace(each, event_id=str(self.number)) for each in page.reports])
"""
    assert "two pulls of an account that did not change differ" in await caught("SY2", tmp_path, body)


async def test_a_plugin_that_notices_no_deletion_must_say_so(tmp_path):
    body = "async def pull(self, cursor, ctx):\n    return msgspec.structs.replace(await super().pull(cursor, ctx), covers=[])"
    assert "was deleted at the vendor, and the hub goes on" in await caught("SY3", tmp_path, body)


async def test_a_declaration_that_is_no_longer_true(tmp_path):
    said = await caught("SY3", tmp_path, "pass", declared={"SY3 deletions": "the vendor tells nobody of them"})
    assert "take that away" in said
