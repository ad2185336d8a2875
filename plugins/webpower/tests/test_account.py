"""The connection check and what an account offers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from esplanade import PermanentError, Secret
from esplanade.testing import Fault, Furnishing, open_context
from esplanade_webpower.plugin import WebpowerConnector
from esplanade_webpower.settings import PublishedFilter, WebpowerSettings
from esplanade_webpower.twin import WebpowerTwin


async def test_a_good_account(hub):
    result = await hub.connector.check(hub.ctx)
    assert (result.status, result.detail) == ("ok", "campaign 42, Demo")


async def test_bad_credentials(open_hub):
    async with open_hub(client_secret=Secret("canary-wrong-secret")) as hub:
        result = await hub.connector.check(hub.ctx)
    assert result.status == "bad-credentials"
    assert "client credentials are invalid" in result.detail
    assert "canary" not in result.detail


async def test_missing_rights(hub, twin):
    twin.licence.has_rights = False
    result = await hub.connector.check(hub.ctx)
    assert result.status == "no-permission"
    assert "grants" in result.detail


async def test_missing_rights_on_the_campaign_alone(hub, twin):
    twin.faults.append(Fault(match="campaign/42", status=403, body='{"error": "no"}'))
    assert (await hub.connector.check(hub.ctx)).status == "no-permission"


async def test_a_campaign_that_is_not_there(open_hub):
    async with open_hub(campaign_id=43) as hub:
        result = await hub.connector.check(hub.ctx)
    assert (result.status, result.detail) == ("wrong-account", "there is no campaign 43")


async def test_a_campaign_that_is_not_active(hub, twin):
    twin.licence.is_active = False
    result = await hub.connector.check(hub.ctx)
    assert (result.status, result.detail) == ("wrong-account", "campaign 42 is not active in Webpower")


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault(match="rest/campaign", status=404, body="<html>not found</html>"), "wrong-account"),
        (Fault(match="rest/campaign", status=302, headers={"Location": "https://elsewhere.example/"}), "wrong-account"),
        (Fault(match="rest/campaign", status=200, body="<html>maintenance</html>"), "vendor-down"),
        (Fault(match="rest/campaign", status=502, body="<html>Bad gateway</html>"), "vendor-down"),
        (Fault(match="token", status=503), "vendor-down"),
        (Fault(match="rest/campaign", status=429), "vendor-down"),
    ],
)
async def test_a_vendor_in_trouble(hub, twin, fault, status):
    twin.faults.append(fault)
    assert (await hub.connector.check(hub.ctx)).status == status


async def test_a_vendor_that_is_down(twin):
    settings = twin.rewired(twin.settings)
    await twin.stop()
    connector = WebpowerConnector(settings)
    async with open_context(connector) as ctx:
        assert (await connector.check(ctx)).status == "vendor-down"


# Discovery.


async def test_fields_groups_and_published_mailings_are_offered_in_a_stable_order(hub, twin):
    found = await hub.connector.discover(hub.ctx)
    assert [each.name for each in found.fields[:4]] == ["email", "mobile_nr", "lang", "RH_CODE"]
    assert found.fields[0].read_only
    assert {each.name: each.type for each in found.fields}["birthdate"] == "date"
    assert [each.id for each in found.groups] == ["60", "61", "62", "63", "135", "136", "140"]
    assert found.groups[0].detail == "system, never written to"
    assert [(each.id, each.name) for each in found.mailings] == [("318", "Abandoned cart"), ("319", "Order shipped")]
    assert await hub.connector.discover(hub.ctx) == found


async def test_discovery_reads_every_page(open_hub, twin):
    for number in range(25):
        twin.account.add_group(f"group {number:02}")
    async with open_hub(page_length=10) as hub:
        found = await hub.connector.discover(hub.ctx)
    assert len(found.groups) == len(twin.account.groups)


async def test_what_counts_as_published_can_be_said(open_hub):
    async with open_hub(published_filter=PublishedFilter(property="name", values=["Draft"])) as hub:
        found = await hub.connector.discover(hub.ctx)
    assert [each.id for each in found.mailings] == ["320"]
    async with open_hub(published_filter=PublishedFilter(property="published", values=[True])) as hub:
        assert [each.id for each in (await hub.connector.discover(hub.ctx)).mailings] == ["318", "319"]


async def test_a_field_is_described_with_type_label_length_and_options(hub, twin):
    rows = [
        {"id": 2, "name": "tier", "type": "select", "options": ["a", "b"], "required": True, "description": "Tier"},
        {
            "id": 1,
            "name": "age",
            "type": "integer",
            "length": "3",
            "description": [{"lang": "nl", "description": "Leeftijd"}],
        },
        {"id": 3, "type": "varchar"},
    ]
    twin.faults.append(Fault(match="/42/field", status=200, body=json.dumps({"result": rows})))
    age, tier = (await hub.connector.discover(hub.ctx)).fields[3:]
    assert (age.type, age.label, age.max_length) == ("integer", "Leeftijd", 3)
    assert (tier.type, tier.label, tier.options, tier.required) == ("select", "Tier", ["a", "b"], True)


async def test_a_page_length_that_is_refused_is_lowered(open_hub, twin):
    async with open_hub(page_length=5000) as hub:
        assert len((await hub.connector.discover(hub.ctx)).groups) == 7


async def test_the_next_page_may_be_absolute_on_the_same_host_only(hub, twin):
    def page(following: str) -> Fault:
        body = json.dumps({"totalRecords": 9, "next": following, "result": []})
        return Fault(match="GET .*/42/field", status=200, body=body)

    twin.faults.append(page(f"{twin.origin}/admin/api/index.php/rest/42/field?page=2"))
    assert (await hub.connector.discover(hub.ctx)).fields
    for elsewhere in ("https://evil.example/x", "//evil.example/x", "ftp:x"):
        twin.faults.append(page(elsewhere))
        with pytest.raises(PermanentError, match="continues"):
            await hub.connector.discover(hub.ctx)


async def test_a_list_whose_pages_go_in_circles_ends(hub, twin):
    body = json.dumps({"totalRecords": 9, "next": "/admin/api/index.php/rest/42/field?page=2", "result": []})
    twin.faults.append(Fault(match="GET .*/42/field", status=200, body=body, times=None))
    with pytest.raises(PermanentError, match="names itself"):
        await hub.connector.discover(hub.ctx)


async def test_paths_can_be_corrected(open_hub, twin):
    with pytest.raises(PermanentError, match="path_overrides"):
        async with open_hub(path_overrides={"mailings": "/{cid}/newsletters"}) as hub:
            await hub.connector.discover(hub.ctx)


# Settings.

GOOD = {"license": "demo", "client_id": "demo", "client_secret": Secret("demo"), "campaign_id": 42}


def test_the_smallest_settings():
    settings = WebpowerSettings(**GOOD)
    assert settings.origin == "https://demo.webpower.eu"
    assert settings.token_url == "https://demo.webpower.eu/admin/oauth2/token.php"
    assert settings.path("contact", id=7) == "/admin/api/index.php/rest/42/contact/7"
    assert WebpowerConnector(settings).endpoint().base_url == settings.origin


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"license": None}, "license: give"),
        ({"license": "demo.webpower.eu"}, "license: expected"),
        ({"client_id": ""}, "client_id: is empty"),
        ({"client_secret": Secret("")}, "client_secret: is empty"),
        ({"campaign_id": 0}, "campaign_id: expected"),
        ({"page_length": 0}, "page_length: expected"),
        ({"path_overrides": {"contcts": "/x"}}, "path_overrides: unknown call 'contcts'"),
        ({"path_overrides": {"contact": "/{cid}/contact"}}, "must hold {id}"),
        ({"path_overrides": {"contact": "https://evil.example/{id}"}}, "begins with one slash"),
        ({"path_overrides": {"contact": "//evil.example/{id}"}}, "begins with one slash"),
        ({"group_contacts_path": "/{cid}/group/contact"}, "group_contacts_path: .* must hold {gid}"),
        ({"group_remove": []}, "group_remove: name at least one"),
        ({"group_remove": ["DELETE"]}, "group_remove: 'DELETE' is not"),
        ({"group_remove": ["DELETE /{cid}/contact/{id}/group"]}, "must name"),
        ({"group_remove": ["DELETE /{cid}/contact/{id}/group [{gid}"]}, "not JSON"),
        ({"group_remove": ["PUT /{cid}/contacts/group/{gid}/to/{id}"]}, "moves everybody"),
        ({"unsubscribe_mode": "field"}, "unsubscribe_field: mode 'field' needs"),
        ({"unsubscribe_mode": "field", "unsubscribe_field": "x", "unsubscribe_value": ""}, "unsubscribe_value"),
        ({"default_lang": "Dutch"}, "default_lang: expected two"),
        ({"credit_error_words": [""]}, "credit_error_words: an empty word"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(wrong, message):
    with pytest.raises(ValueError, match=message):
        WebpowerSettings(**{**GOOD, **wrong})


def test_the_readme_names_every_setting():
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    missing = [name for name in WebpowerSettings.__struct_fields__ if f"`{name}`" not in readme]
    assert missing == []


def test_the_plugin_names_its_twin_only_when_asked():
    assert WebpowerConnector.twin() is WebpowerTwin


def test_secrets_are_never_printed():
    canary = "canary-4f1c"
    settings = WebpowerSettings(
        **{**GOOD, "client_secret": Secret(canary), "webhook_secret": Secret(canary), "callback_token": Secret(canary)}
    )
    assert canary not in f"{settings!r} {settings} {WebpowerConnector(settings)!r}"


async def test_no_call_logs_a_secret_or_an_address(open_hub, twin, capsys):
    async with open_hub() as hub:
        await hub.profile(add={"vip": hub.ctx.audiences["vip"]})
        await hub.consent("pending", purpose="newsletter")
        await hub.trigger()
        await hub.pull()
    logged = "".join(capsys.readouterr())
    for token in (*twin.rest.tokens, "noor@", "demo-webhook-secret"):
        assert token not in logged


def test_the_twin_is_furnished_with_what_the_configuration_points_at(twin, hub):
    ctx = hub.ctx
    twin.furnish(
        Furnishing(fields=["tier", "email"], consents=ctx.consents, audiences=ctx.audiences, triggers=ctx.triggers)
    )
    assert "tier" in twin.account.fields
    assert "email" not in twin.account.fields
    assert twin.account.double == {135}
