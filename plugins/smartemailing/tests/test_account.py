"""The account itself: the connection check, what there is to point at, and erasing a person."""

import json

import pytest

from esplanade import Choice, FieldInfo, PermanentError, PersonRef, Secret, TemporaryError
from esplanade.testing import Fault
from esplanade_smartemailing.settings import SmartEmailingAudience, SmartEmailingConsent, SmartEmailingTrigger

from .conftest import ADA, ASKED


class TestCheck:
    async def check(self, plugin):
        return await plugin.connector.check(plugin.ctx)

    async def test_all_is_well(self, open_plugin):
        async with open_plugin({"consents": {"newsletter": ASKED}}) as plugin:
            told = await self.check(plugin)
        assert (told.status, told.detail) == ("ok", "account 2")

    async def test_a_wrong_key_and_a_key_without_rights_are_told_apart(self, open_plugin, twin):
        async with open_plugin(api_key=Secret("wrong")) as plugin:
            assert (await self.check(plugin)).status == "bad-credentials"
        twin.habits.has_rights = False
        async with open_plugin() as plugin:
            assert (await self.check(plugin)).status == "no-permission"

    @pytest.mark.parametrize(
        "fault",
        [
            {"status": 503},
            {"action": "cut-before"},
            {"status": 404, "body": "<html>"},
            {"status": 200, "body": "<html>"},
            {"status": 200, "body": '{"status":"error","message":"Maintenance."}'},
        ],
    )
    async def test_a_vendor_that_is_down(self, plugin, twin, fault):
        twin.faults.append(Fault(match="check-credentials", **fault))
        assert (await self.check(plugin)).status == "vendor-down"

    @pytest.mark.parametrize(
        ("mapped", "words"),
        [
            ({"consents": {"n": SmartEmailingConsent(list=77)}}, "consents.n: SmartEmailing has no contact list 77"),
            ({"audiences": {"a": SmartEmailingAudience(list=77)}}, "audiences.a: SmartEmailing has no contact list 77"),
            ({"triggers": {"t": SmartEmailingTrigger(email_id=77)}}, "triggers.t: SmartEmailing has no e-mail 77"),
            ({"triggers": {"t": SmartEmailingTrigger(event="***")}}, "choose another name"),
        ],
    )
    async def test_what_is_mapped_and_not_there_is_named(self, open_plugin, mapped, words):
        async with open_plugin(mapped) as plugin:
            told = await self.check(plugin)
        assert told.status == "wrong-account"
        assert words in told.detail

    async def test_an_audience_on_the_list_of_a_consent_is_named(self, open_plugin):
        async with open_plugin({"audiences": {"vip": SmartEmailingAudience(list=7)}}) as plugin:
            told = await self.check(plugin)
        assert told.status == "wrong-account"
        assert "audiences.vip: contact list 7 is that of consents.newsletter" in told.detail
        assert "give the audience a list of its own" in told.detail

    async def test_so_is_one_that_has_its_list_by_name(self, open_plugin):
        async with open_plugin({"audiences": {"Newsletter": SmartEmailingAudience()}}) as plugin:
            told = await self.check(plugin)
        assert told.status == "wrong-account"
        assert "audiences.Newsletter: contact list 7 is that of consents.newsletter" in told.detail

    async def test_mails_need_a_sender(self, open_plugin):
        async with open_plugin({"consents": {}}, sender=None) as plugin:
            assert "give settings.sender" in (await self.check(plugin)).detail

    async def test_that_of_a_purpose_will_do(self, open_plugin):
        async with open_plugin(sender=None) as plugin:
            assert (await self.check(plugin)).status == "ok"

    async def test_what_is_put_right_is_seen_at_once(self, open_plugin, twin):
        async with open_plugin({"consents": {"n": SmartEmailingConsent(list=77)}}) as plugin:
            assert (await self.check(plugin)).status == "wrong-account"
            twin.account.add_list("New", 77)
            assert (await self.check(plugin)).status == "ok"
            del twin.account.lists[77]
            assert (await self.check(plugin)).status == "wrong-account"


class TestDiscover:
    async def test_it_names_all_that_can_be_pointed_at(self, plugin, twin):
        found = await plugin.connector.discover(plugin.ctx)
        fields = {each.name: each for each in found.fields}
        assert fields["emailaddress"] == FieldInfo(name="emailaddress", required=True, read_only=True)
        assert fields["birthday"] == FieldInfo(name="birthday", type="date")
        assert fields["hardbounced"] == FieldInfo(name="hardbounced", type="boolean", read_only=True)
        assert fields["created"] == FieldInfo(name="created", type="datetime", read_only=True)
        assert fields["interests"] == FieldInfo(name="interests", type="multi-select", options=["red", "blue", "green"])
        assert {
            name: fields[name].type for name in ("size", "points", "member_since", "wants_paper", "loyalty_tier")
        } == {
            "size": "select",
            "points": "number",
            "member_since": "datetime",
            "wants_paper": "boolean",
            "loyalty_tier": "text",
        }
        assert found.groups[0] == Choice(id="7", name="Newsletter", detail="contact list")
        assert found.purposes == [Choice(id="2", name="Newsletter", detail="consent")]
        assert found.mailings == [
            Choice(id="41", name="Confirm your address", detail="e-mail that asks to confirm"),
            Choice(id="71", name="Order confirmation", detail="e-mail"),
            Choice(id="72", name="Abandoned cart", detail="e-mail"),
        ]

    async def test_it_reads_page_after_page(self, open_plugin, twin):
        for at in range(7):
            twin.account.add_field(f"field {at}")
        async with open_plugin(page_size=3) as plugin:
            found = await plugin.connector.discover(plugin.ctx)
        assert {f"field {at}" for at in range(7)} <= {each.name for each in found.fields}

    async def test_a_page_that_is_shorter_than_asked_for_is_not_the_last_while_there_are_more(self, plugin, twin):
        rows = [{"id": number, "name": f"field {number}", "type": "text"} for number in (1, 2, 3)]
        for part in (rows[:2], rows[2:]):
            body = json.dumps({"status": "ok", "meta": {"total_count": "3"}, "data": part})
            twin.faults.append(Fault(match="GET .*customfields", status=200, body=body))
        found = await plugin.connector.discover(plugin.ctx)
        assert {"field 1", "field 2", "field 3"} <= {each.name for each in found.fields}

    async def test_of_two_fields_that_share_a_name_the_older_one_is_written(self, plugin, twin):
        twin.account.add_field("loyalty_tier")
        await plugin.profile(desired={"loyalty_tier": "gold"})
        assert twin.account.find(ADA).custom == {1: "gold"}

    async def test_a_field_without_a_name_is_not_believed(self, plugin, twin):
        twin.faults.append(Fault(match="GET .*customfields", status=200, body='{"data":[{"id":3,"name":null}]}'))
        with pytest.raises(TemporaryError, match="no id or no name"):
            await plugin.connector.discover(plugin.ctx)


class TestErase:
    @pytest.fixture
    def erase(self, plugin):
        async def erased(email=ADA, remote_id=None):
            return await plugin.connector.erase(PersonRef(person="p-1", email=email, remote_id=remote_id), plugin.ctx)

        return erased

    async def test_the_contact_goes_with_all_that_is_on_record(self, erase, plugin, twin):
        await plugin.consent("granted", desired={"town": "Brno"})
        await plugin.consent("granted", "eve@example.com")
        assert await erase()
        assert await plugin.fetch() is None
        assert [each.emailaddress for each in twin.account.contacts.values()] == ["eve@example.com"]
        assert len(twin.account.connections) == 1

    async def test_by_id_that_contact_is_meant_and_no_other(self, erase, sign_up, twin):
        known, other = sign_up("new@example.com"), sign_up()
        assert await erase(remote_id=known)
        assert list(map(str, twin.account.contacts)) == [other]
        assert not await erase(remote_id=known), "asked again, there is nobody, and whoever has the address now stays"
        assert list(map(str, twin.account.contacts)) == [other]

    async def test_who_is_not_there_is_not_erased(self, erase, sign_up, twin):
        assert not await erase()
        sign_up()
        twin.faults.append(Fault(match="DELETE", action="after", status=404))
        assert not await erase(), "somebody was faster"

    @pytest.mark.parametrize(("status", "kind"), [(503, TemporaryError), (422, PermanentError)])
    async def test_what_could_not_be_done_is_said(self, erase, sign_up, twin, status, kind):
        sign_up()
        twin.faults.append(Fault(match="DELETE", status=status))
        with pytest.raises(kind):
            await erase()
        assert twin.account.find(ADA) is not None


@pytest.mark.parametrize(
    "email", ["a/../b@example.com", "a?b=1&c@example.com", "o'neil+x%20@example.com", "ada#1@example.com"]
)
async def test_an_address_is_never_anything_but_an_address(open_plugin, sign_up, email, calls):
    known = sign_up(email)
    async with open_plugin(contact_read_mode="email") as plugin:
        assert (await plugin.fetch(email)).remote_id == known
    assert calls()[0].startswith(f"GET contacts/{email}?")
