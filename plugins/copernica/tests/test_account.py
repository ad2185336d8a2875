"""The connection itself: what is wrong with it, and what the account offers."""

import pytest

from esplanade import Secret
from esplanade.testing import Fault, Furnishing
from esplanade_copernica.settings import CopernicaSettings, CopernicaTrigger


class TestCheck:
    async def test_an_account_in_order(self, hub):
        result = await hub.connector.check(hub.ctx)
        assert (result.status, result.detail) == ("ok", "account 771, database 31, Relations")

    async def test_a_key_that_is_refused(self, open_hub):
        async with open_hub(api_token=Secret("wrong")) as hub:
            result = await hub.connector.check(hub.ctx)
        assert result.status == "bad-credentials"
        assert "check the API key" in result.detail

    async def test_a_database_that_is_not_there(self, open_hub):
        async with open_hub(database_id=7) as hub:
            result = await hub.connector.check(hub.ctx)
        assert result.status == "wrong-account"
        assert "No database with supplied ID" in result.detail

    @pytest.mark.parametrize(
        "changes",
        [{"email_field": "E-mail"}, {"mapped": {"fields": {"x": "E-mail", "y": "SQ_profile.Y"}}}],
        ids=["email", "mapped"],
    )
    async def test_a_field_that_is_not_there_is_named(self, open_hub, changes):
        async with open_hub(**changes) as hub:
            result = await hub.connector.check(hub.ctx)
        assert result.status == "wrong-account"
        assert "has no field E-mail" in result.detail

    async def test_a_vendor_that_is_down(self, hub, twin):
        twin.faults.append(Fault(status=503, times=None))
        assert (await hub.connector.check(hub.ctx)).status == "vendor-down"


async def test_a_token_is_fetched_once_and_once_more_when_it_is_refused(hub, twin):
    await hub.profile()
    await hub.profile()
    assert twin.request_count == len(twin.requests)
    asked = [each for each in twin.requests if each.path == "/authenticate"]
    assert len(asked) == 1
    twin.revoke_tokens()
    await hub.profile()
    assert len([each for each in twin.requests if each.path == "/authenticate"]) == 2


async def test_what_the_account_offers_is_in_stable_order(hub, twin):
    twin.furnish(Furnishing(triggers={"cart": CopernicaTrigger(route="mailing", template=77)}))
    found = await hub.connector.discover(hub.ctx)
    kinds = {field.name: field.type for field in found.fields}
    assert kinds["Email"] == "text"
    assert (kinds["Points"], kinds["Birthdate"], kinds["Newsletter"]) == ("integer", "date", "select")
    assert next(field.options for field in found.fields if field.name == "Newsletter") == ["yes", "no"]
    assert [field.name for field in found.fields] == sorted(kinds)
    assert ("31", "Relations") in [(each.id, each.name) for each in found.groups]
    assert "77" in [each.id for each in found.mailings]
    assert await hub.connector.discover(hub.ctx) == found


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"api_token": Secret("")}, "api_token: is empty"),
        ({"database_id": 0}, "database_id: expected the number"),
        ({"email_field": "E=mail"}, "email_field: 'E=mail' is no field name"),
        ({"collection_prefix": "SQ-"}, "collection_prefix: Copernica takes letters and underscores only"),
        ({"page_size": 1001}, "page_size: expected 1 to 1000"),
        ({"products": 0}, "products: expected 1 to 50"),
        ({"max_age_s": 5}, "max_age_s: expected 60"),
        ({"webhook_callers": ["ms", "a b"]}, "webhook_callers: 'a b' is no word"),
        ({"signature_keys": {"a b": ""}}, "signature_keys: 'a b' is no key id"),
        ({"signature_keys": {"one": "AAAA"}}, "signature_keys: what stands at one is no RSA public key"),
    ],
)
def test_settings_that_cannot_be_right_say_why(settings, words):
    with pytest.raises(ValueError, match="^" + words):
        CopernicaSettings(**{"api_token": Secret("k"), "database_id": 31, **settings})
