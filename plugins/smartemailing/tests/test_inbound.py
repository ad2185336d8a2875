"""Calls of the vendor: whoever they name is read again before anything is believed, save for the echo of a large import."""

from datetime import timedelta
from typing import get_args

import pytest

from esplanade import Happening, PermanentError, Report, TemporaryError
from esplanade.testing import Fault
from esplanade_smartemailing.echoes import AWAITED_S, LARGE
from esplanade_smartemailing.twin_habits import BodyShape

from .conftest import ADA, NOW

EVE = "eve@example.com"


@pytest.fixture
def tell(plugin, twin):
    """Have the plugin read what a web-hook says of a contact."""

    async def told(event="updated_contact", email=ADA):
        call = twin.hooks.call(event, twin.account.find(email))
        headers = {name.lower(): each for name, each in call.headers.items()}
        return await plugin.hears(call.body, f"event_name={event}", headers)

    return told


def reads(calls):
    return [call for call in calls() if call.startswith("GET contacts?")]


@pytest.mark.parametrize("shape", get_args(BodyShape))
@pytest.mark.parametrize("event", ["new_contact", "updated_contact", "unsubscribed_contact", "delivery_status"])
async def test_a_change_is_what_the_contact_holds_now(tell, sign_up, twin, shape, event):
    twin.habits.hook_body = shape
    known = sign_up(town="Brno", lists={7: "unsubscribed", 12: "confirmed"}, hardbounced=1)
    (told,) = await tell(event)
    assert (told.email, told.remote_id, told.deleted) == (ADA, known, False)
    assert (told.fields["town"], told.fields["hardbounced"]) == ("Brno", True)
    assert told.consents == {"newsletter": "denied", "service": "absent"}
    assert told.audiences["vip"]


async def test_several_contacts_are_each_read(plugin, sign_up, twin):
    for email in (ADA, EVE):
        sign_up(email)
    body = {"data": [{"emailaddress": email} for email in (ADA, EVE, "gone@example.com")]}
    told = await plugin.hears(body, "event_name=updated_contact")
    assert [(each.email, each.deleted) for each in told] == [(ADA, False), (EVE, False), ("gone@example.com", True)]


async def test_a_forged_address_is_told_as_not_there(plugin):
    body = {"event": "new_contact", "emailaddress": "forged@example.com", "name": "Mallory", "status": "confirmed"}
    assert await plugin.hears(body) == [Report(email="forged@example.com", deleted=True, read_at=NOW)]
    assert await plugin.hears({"contact_id": 4711}) == [Report(remote_id="4711", deleted=True, read_at=NOW)]


async def test_a_forged_opt_out_is_not_believed(plugin, sign_up):
    sign_up(lists={7: "confirmed"})
    (told,) = await plugin.hears({"emailaddress": ADA, "status": "unsubscribed"}, "event_name=unsubscribed_contact")
    assert told.consents["newsletter"] == "granted"


async def test_an_id_beside_an_address_may_be_another_things(plugin, sign_up):
    other = sign_up(EVE)
    known = sign_up()
    (told,) = await plugin.hears({"id": other, "emailaddress": ADA})
    assert told.remote_id == known


async def test_a_bare_id_is_nobodys_where_the_address_is_not_there(plugin, sign_up):
    other = sign_up(EVE)
    assert await plugin.hears({"id": other, "emailaddress": ADA}) == [Report(email=ADA, deleted=True, read_at=NOW)]


async def test_beside_an_address_an_id_that_leads_nowhere_is_not_told(plugin):
    told = await plugin.hears({"contact_id": 4711, "emailaddress": ADA})
    assert told == [Report(email=ADA, deleted=True, read_at=NOW)]


async def test_whose_address_was_changed_meanwhile_is_found_by_id(plugin, sign_up):
    known = sign_up("new@example.com")
    (told,) = await plugin.hears({"contact_id": known, "emailaddress": ADA})
    assert told.email == "new@example.com"


class TestWhatHappened:
    async def test_it_is_told_beside_what_the_contact_holds(self, plugin, sign_up):
        sign_up(lists={7: "confirmed"})
        body = {"event": "link_clicked", "emailaddress": ADA, "url": "https://shop.example/p/1"}
        report, happening = await plugin.hears(body)
        assert report.consents["newsletter"] == "granted"
        assert happening == Happening(name="link_clicked", email=ADA, data={"url": "https://shop.example/p/1"})

    async def test_to_somebody_who_is_not_there_nothing_did(self, plugin):
        assert await plugin.hears({"event": "link_clicked", "emailaddress": ADA}) == [
            Report(email=ADA, deleted=True, read_at=NOW)
        ]

    async def test_of_several_nobody_is_told_the_others_address(self, plugin, sign_up):
        for email in (ADA, EVE):
            sign_up(email)
        body = {"event": "opened", "n": 7, "data": [{"emailaddress": ADA}, {"emailaddress": EVE}]}
        happened = [each for each in await plugin.hears(body) if isinstance(each, Happening)]
        assert [(each.email, each.data) for each in happened] == [(ADA, {"n": 7}), (EVE, {"n": 7})]

    async def test_a_newsletter_begins_for_nobody(self, plugin, capsys):
        assert await plugin.hears({"id": 9}, "event_name=newsletter_sending_started") == []
        assert "newsletter_sending_started" in capsys.readouterr().out

    async def test_a_scenario_says_it_in_the_recommended_body(self, plugin, sign_up, twin, hub):
        sign_up(name="Ada")
        twin.fire("clicked", ADA)
        _, query, headers, body = await hub.next()
        report, happening = await plugin.hears(body, query, {name.lower(): each for name, each in headers.items()})
        assert (report.email, happening.email, happening.name) == (ADA, ADA, "link_clicked")


async def test_a_vendor_that_is_down_is_asked_again_later(tell, sign_up, twin):
    sign_up()
    twin.faults.append(Fault(match="GET .*contacts", status=503))
    with pytest.raises(TemporaryError):
        await tell()


async def test_a_call_that_names_nobody_is_kept_for_a_person(plugin):
    with pytest.raises(PermanentError, match="webhook_email_paths"):
        await plugin.hears({"hello": "world"})


class TestCallsThatWaited:
    """Of several about one contact, those that came before it was read say nothing more."""

    CHANGED = "event_name=updated_contact"

    async def test_need_no_reading_of_their_own(self, plugin, sign_up, calls, clock):
        sign_up()
        await clock.advance(10)
        assert len(await plugin.hears({"emailaddress": ADA}, self.CHANGED)) == 1
        calls()
        assert await plugin.hears({"emailaddress": ADA}, self.CHANGED, came_at=NOW + timedelta(seconds=5)) == []
        assert await plugin.hears({"emailaddress": ADA}, self.CHANGED, came_at=NOW - timedelta(seconds=5)) == []
        assert reads(calls) == []

    @pytest.mark.parametrize("seconds", [10, 11])
    async def test_one_that_came_as_it_was_read_or_later_has_it_read_again(self, plugin, sign_up, clock, seconds):
        sign_up()
        await clock.advance(10)
        for at in (0, seconds):
            came_at = NOW + timedelta(seconds=at)
            assert len(await plugin.hears({"emailaddress": ADA}, self.CHANGED, came_at=came_at)) == 1

    async def test_one_that_is_read_once_more_is_not_covered_by_its_own_reading(self, plugin, sign_up, clock):
        sign_up()
        await clock.advance(10)
        for _ in range(2):
            assert len(await plugin.hears({"emailaddress": ADA}, self.CHANGED)) == 1

    async def test_an_opt_out_is_read_all_the_same(self, plugin, sign_up, clock):
        sign_up()
        await clock.advance(10)
        await plugin.hears({"emailaddress": ADA}, self.CHANGED)
        came_at = NOW + timedelta(seconds=5)
        assert len(await plugin.hears({"emailaddress": ADA}, "event_name=unsubscribed_contact", came_at=came_at)) == 1

    async def test_one_of_several_that_cannot_be_read_leaves_the_others(self, plugin, sign_up, twin):
        sign_up()
        sign_up(EVE)
        twin.faults.append(Fault(match="GET .*contacts", status=422))
        told = await plugin.hears([{"emailaddress": ADA}, {"emailaddress": EVE}], self.CHANGED)
        assert [each.email for each in told] == [EVE]

    async def test_one_alone_that_cannot_be_read_is_refused(self, plugin, sign_up, twin):
        sign_up()
        twin.faults.append(Fault(match="GET .*contacts", status=422))
        with pytest.raises(PermanentError, match="with 422"):
            await plugin.hears({"emailaddress": ADA}, self.CHANGED)

    async def test_of_a_call_that_came_to_nothing_nobody_counts_as_read(self, plugin, sign_up, twin, clock):
        sign_up()
        sign_up(EVE)
        await clock.advance(10)
        twin.faults.append(Fault(match="GET .*contacts", status=503, skip=1))
        with pytest.raises(TemporaryError):
            await plugin.hears([{"emailaddress": ADA}, {"emailaddress": EVE}], self.CHANGED)
        (told,) = await plugin.hears({"emailaddress": ADA}, self.CHANGED, came_at=NOW + timedelta(seconds=5))
        assert told.email == ADA

    async def test_what_happened_is_told_of_each(self, plugin, sign_up, clock):
        sign_up()
        await clock.advance(10)
        for at in range(2):
            came_at = NOW + timedelta(seconds=at)
            assert len(await plugin.hears({"emailaddress": ADA, "event": "clicked"}, came_at=came_at)) == 2


class TestTheEchoOfAnImport:
    async def imported(self, plugin, count=LARGE):
        events = [plugin.a_profile(f"P{at}@example.com", desired={"town": "Brno"}) for at in range(count)]
        return await plugin.profiles(*events)

    @pytest.mark.parametrize("shape", ["flat", "id"])
    async def test_a_large_one_is_not_read_back_one_by_one(self, plugin, tell, twin, calls, shape):
        twin.habits.hook_body = shape
        await self.imported(plugin)
        calls()
        for at in range(LARGE):
            assert await tell("new_contact", f"p{at}@example.com") == []
        assert reads(calls) == []

    async def test_a_small_one_is(self, plugin, tell):
        await self.imported(plugin, LARGE - 1)
        for at in range(LARGE - 1):
            assert len(await tell("new_contact", f"p{at}@example.com")) == 1

    async def test_each_is_awaited_once_so_that_the_next_change_is_heard(self, plugin, tell, twin):
        await self.imported(plugin)
        await tell("new_contact", "p0@example.com")
        twin.account.find("p0@example.com").values["town"] = "Ulm"
        (told,) = await tell("updated_contact", "p0@example.com")
        assert told.fields["town"] == "Ulm"

    async def test_an_opt_out_is_always_heard(self, plugin, tell, twin):
        await self.imported(plugin)
        twin.account.subscribe(twin.account.find("p0@example.com"), 7, "unsubscribed")
        (told,) = await tell("unsubscribed_contact", "p0@example.com")
        assert told.consents["newsletter"] == "denied"

    async def test_where_opt_outs_come_as_a_mere_change_every_change_is_heard(self, open_plugin, twin):
        async with open_plugin(webhook_events=["updated_contact"]) as plugin:
            await self.imported(plugin)
            twin.account.subscribe(twin.account.find("p0@example.com"), 7, "unsubscribed")
            (told,) = await plugin.hears({"emailaddress": "p0@example.com"}, "event_name=updated_contact")
        assert told.consents["newsletter"] == "denied"

    async def test_so_is_what_no_import_sets_off(self, plugin, tell):
        await self.imported(plugin)
        assert len(await tell("delivery_status", "p0@example.com")) == 1
        assert len(await tell("sent_email", "p0@example.com")) == 2

    async def test_after_a_while_none_is_awaited_any_more(self, plugin, tell, clock):
        await self.imported(plugin)
        await clock.advance(AWAITED_S + 1)
        assert len(await tell("updated_contact", "p0@example.com")) == 1
        await self.imported(plugin)
        assert await tell("updated_contact", "p0@example.com") == []
        assert len(await tell("updated_contact", "p0@example.com")) == 1

    async def test_of_two_imports_the_later_one_is_awaited_for_longer(self, plugin, tell, clock):
        await self.imported(plugin)
        await clock.advance(AWAITED_S - 1)
        await self.imported(plugin)
        await clock.advance(2)
        assert await tell("updated_contact", "p0@example.com") == []
        assert len(await tell("updated_contact", "p0@example.com")) == 1

    @pytest.mark.parametrize(
        "fault", [{"status": 422}, {"status": 429}, {"status": 413}], ids=["refused", "too-many", "too-large"]
    )
    async def test_of_one_that_was_refused_nothing_is_awaited(self, plugin, sign_up, tell, twin, fault):
        sign_up("p0@example.com")
        twin.faults.append(Fault(match="POST .*import", times=None, **fault))
        await self.imported(plugin)
        assert len(await tell("updated_contact", "p0@example.com")) == 1
