"""What the checks of SE2 and SE3 find in plugins that take for granted what vendors and callers send."""

import pytest
from tests.integration.conformance.catching import caught

from esplanade.conformance.checks import hostile
from esplanade.conformance.fuzz import spoiled_calls
from esplanade.testing import Call

READS = """
async def {what}:
    answer = await ctx.http.get(self.settings.path("contacts"))
    {how}
    return {instead}
"""


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("check(self, ctx)", "CheckResult()"),
        ("discover(self, ctx)", "Discovery()"),
        ("pull(self, cursor, ctx)", "Page(reports=[])"),
        ("fetch(self, person, ctx)", "None"),
    ],
)
async def test_a_plugin_that_takes_an_answer_to_be_as_it_should(what, instead, tmp_path):
    body = READS.format(what=what, how='answer.json()["result"][0]["id"].bit_length()', instead=instead)
    said = await caught("SE2", tmp_path, body)
    assert said.startswith(f"{what.partition('(')[0]} of a vendor that answered with")
    assert "the plugin raised" in said


async def test_a_plugin_that_waits_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(hostile, "LIMIT_S", 1.5)
    body = """
async def check(self, ctx):
    while True:
        try:
            await ctx.http.get(self.settings.path("campaigns"))
            return CheckResult()
        except DeliveryError:
            pass
"""
    assert "check of a vendor that answered with 1 GB did not end within" in await caught("SE2", tmp_path, body)


async def test_a_plugin_that_believes_an_empty_page(tmp_path):
    body = """
async def pull(self, cursor, ctx):
    answer = await ctx.http.get(self.settings.path("contacts"))
    rows = answer.body.count(b'"email": "')
    return Page(reports=[], covers=[] if rows else list(ctx.consents))
"""
    assert "what the hub knows, after it asked" in await caught("SE2", tmp_path, body)


async def test_a_plugin_that_reads_ids_with_closed_eyes(tmp_path):
    body = """
@hookimpl
async def on_profile(self, event, ctx):
    outcome = await super().on_profile(event, ctx)
    path = self.settings.path("contact", id=int(outcome.remote_id))
    answer = await ctx.http.put(path, json={"email": event.email})
    return Outcome(remote_id=str(answer.json()["id"].bit_length() and outcome.remote_id))
"""
    said = await caught("SE2", tmp_path, body)
    assert "a changed profile that the vendor answered with" in said
    assert "ended in an error that is none of errors.py" in said


@pytest.mark.parametrize(
    "how",
    [
        "msgspec.json.decode(event.body)",
        "event.body.decode()",
        "dict(pair.split('=') for pair in event.query.split('&'))",
    ],
)
async def test_a_plugin_that_reads_a_call_as_if_it_were_well_formed(how, tmp_path):
    body = f"""
@hookimpl
async def on_inbound_webhook(self, event, ctx):
    if event.body or event.query:
        {how}
    return []
"""
    assert "which is none of errors.py" in await caught("SE3", tmp_path, body)


async def test_a_plugin_whose_verify_stumbles(tmp_path):
    body = """
async def verify(self, request, ctx):
    return int(request.headers["content-type"].count("json")) >= 0
"""
    assert "verify, given spoiled call" in await caught("SE3", tmp_path, body)


async def test_a_plugin_that_reports_what_is_none(tmp_path):
    body = """
@hookimpl
async def on_inbound_webhook(self, event, ctx):
    return [Report(email="a@example.net", fields={"city": event.body})]
"""
    assert "gave a Report that is none" in await caught("SE3", tmp_path, body)


def test_the_same_seed_spoils_the_same():
    calls = [Call(body=b'{"id": 7, "email": "a@example.net"}'), Call(method="GET", query="a=1&b=2")]
    first, second = (list(spoiled_calls(calls, 300, 7)) for _ in range(2))
    assert first == second
    assert first != list(spoiled_calls(calls, 300, 8))
    assert len({(each.method, each.body, each.query, str(each.headers)) for each in first}) > 200
