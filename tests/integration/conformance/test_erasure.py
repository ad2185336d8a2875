"""What the checks of ER find in plugins that bring people back."""

from tests.integration.conformance.catching import caught


async def test_a_plugin_that_tells_of_people_under_other_names(tmp_path):
    body = """
async def pull(self, cursor, ctx):
    page = await super().pull(cursor, ctx)
    return msgspec.structs.replace(page, reports=[msgspec.structs.replace(
        each, email=each.email.replace("noor", "noor+1"), remote_id=None) for each in page.reports])
"""
    assert "contacts that the hub knows after a pull spoke of them" in await caught("ER1", tmp_path, body)
