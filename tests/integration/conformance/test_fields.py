"""What the checks of FD find in plugins that list too little, or lose what they are given."""

from tests.integration.conformance.catching import caught


async def test_a_plugin_that_reads_one_page_of_fields(tmp_path):
    body = """
async def discover(self, ctx):
    found = await super().discover(ctx)
    return msgspec.structs.replace(found, fields=found.fields[:100])
"""
    assert "discover() misses" in await caught("FD1", tmp_path, body)


async def test_a_plugin_that_lists_fields_in_any_order(tmp_path):
    body = """
turn = False

async def discover(self, ctx):
    self.turn = not self.turn
    found = await super().discover(ctx)
    return msgspec.structs.replace(found, fields=found.fields[::-1] if self.turn else found.fields)
"""
    assert "the order of the fields" in await caught("FD1", tmp_path, body)


async def test_a_plugin_that_knows_no_types(tmp_path):
    body = """
async def discover(self, ctx):
    found = await super().discover(ctx)
    return msgspec.structs.replace(found, fields=[msgspec.structs.replace(each, type="text") for each in found.fields])
"""
    assert "is of type text" in await caught("FD1", tmp_path, body)
    assert "a field beside one whose type was changed" in await caught("FD2", tmp_path, body)


async def test_a_plugin_that_always_lists_the_same_fields(tmp_path):
    body = """
kept = None

async def discover(self, ctx):
    self.kept = self.kept or await super().discover(ctx)
    return self.kept
"""
    assert "which was deleted at the vendor" in await caught("FD2", tmp_path, body)


async def test_a_plugin_that_takes_a_time_for_a_date(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    cut = {name: value[:10] if name == "last_order" and value else value for name, value in event.desired.items()}
    return await super().on_profile(msgspec.structs.replace(event, desired=cut), ctx)
"""
    assert "the field last_order (datetime)" in await caught("FD3", tmp_path, body)


async def test_a_plugin_that_clears_nothing(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    return await super().on_profile(msgspec.structs.replace(event, cleared=[]), ctx)
"""
    assert "after it was cleared" in await caught("FD3", tmp_path, body)
