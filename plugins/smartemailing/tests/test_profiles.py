"""Profiles: audiences, changed addresses, contacts that turn out to be others. Nobody stays subscribed twice."""

import asyncio

import pytest

from esplanade import Outcome, PermanentError, RateLimited, TemporaryError
from esplanade.testing import Fault
from esplanade_smartemailing.settings import SmartEmailingAudience

from .conftest import ADA, AUDIENCES

OLD = "old@example.com"


class TestAudiences:
    async def test_a_list_is_joined_and_left(self, plugin, sign_up, statuses):
        known = sign_up(lists={9: "confirmed"})
        await plugin.profile(remote_id=known, add={"vip": AUDIENCES["vip"]})
        assert statuses() == {9: "confirmed", 12: "confirmed"}
        await plugin.profile(remote_id=known, remove={"vip": AUDIENCES["vip"]})
        assert statuses() == {9: "confirmed"}

    async def test_whoever_left_it_by_themselves_stays_out(self, plugin, sign_up, statuses):
        known = sign_up(lists={12: "unsubscribed"})
        await plugin.profile(remote_id=known, add={"vip": AUDIENCES["vip"]})
        await plugin.profile(remote_id=known, remove={"vip": AUDIENCES["vip"]})
        assert statuses() == {12: "unsubscribed"}

    async def test_one_without_a_number_is_made_once_and_found_again(self, plugin, twin, statuses, sent):
        people = [
            plugin.a_profile(f"p{at}@example.com", add={"churn-risk": AUDIENCES["churn-risk"]}) for at in range(3)
        ]
        assert all(isinstance(each, Outcome) for each in await plugin.profiles(*people))
        (made,) = [number for number, each in twin.account.lists.items() if each.name == "churn-risk"]
        assert statuses("p2@example.com") == {made: "confirmed"}
        (body,) = sent("contactlists")
        assert body == {
            "name": "churn-risk",
            "sendername": "Shop",
            "senderemail": "news@shop.example",
            "replyto": "help@shop.example",
        }

    async def test_a_lost_answer_of_its_making_makes_no_second_one(self, plugin, twin, clock):
        twin.faults.append(Fault(match="POST .*contactlists", action="cut-after"))
        add = {"churn-risk": AUDIENCES["churn-risk"]}
        (lost,) = await plugin.profiles(plugin.a_profile(add=add))
        assert isinstance(lost, Exception)
        await plugin.profile(add=add)
        assert [each.name for each in twin.account.lists.values()].count("churn-risk") == 1

    async def test_leaving_one_that_was_never_made_is_nothing(self, plugin, twin, statuses):
        await plugin.profile(remove={"churn-risk": AUDIENCES["churn-risk"]})
        assert (statuses(), len(twin.account.lists)) == ({}, 3)

    async def test_one_that_was_deleted_there_is_made_anew(self, plugin, twin, clock, statuses):
        add = {"churn-risk": AUDIENCES["churn-risk"]}
        await plugin.profile(add=add)
        del twin.account.lists[13]
        twin.account.find(ADA).lists.clear()
        twin.account.add_list("Other", 14)
        await clock.advance(61)
        with pytest.raises(PermanentError):
            await plugin.profile(add=add)
        await plugin.profile(add=add)
        assert {twin.account.lists[number].name for number in statuses()} == {"churn-risk"}

    async def test_one_is_made_with_the_sender_of_a_purpose_where_the_settings_name_none(self, open_plugin, sent):
        async with open_plugin(sender=None) as plugin:
            await plugin.profile(add={"churn-risk": AUDIENCES["churn-risk"]})
        (body,) = sent("contactlists")
        assert (body["senderemail"], body["sendername"], body["replyto"]) == (
            "news@shop.example",
            "Shop",
            "help@shop.example",
        )

    async def test_one_that_cannot_be_made_is_tried_once_for_all_and_again_a_minute_later(
        self, plugin, twin, calls, clock
    ):
        twin.faults.append(Fault(match="POST .*contactlists", status=422, times=2))
        add = {"churn-risk": AUDIENCES["churn-risk"]}
        events = [plugin.a_profile(f"p{at}@example.com", add=add) for at in range(30)]
        results = await plugin.profiles(*events, plugin.a_profile(changed={"town": "Brno"}))
        *refused, other = results
        assert all(isinstance(each, PermanentError) for each in refused)
        assert isinstance(other, Outcome)
        assert sum("POST contactlists" in call for call in calls()) == 1
        await clock.advance(61)
        await plugin.profiles(*events)
        assert sum("POST contactlists" in call for call in calls()) == 1

    async def test_it_is_made_once_by_however_many_calls_at_once(self, plugin, twin):
        add = {"churn-risk": AUDIENCES["churn-risk"]}
        await asyncio.gather(*(plugin.profile(f"p{at}@example.com", add=add) for at in range(4)))
        assert [each.name for each in twin.account.lists.values()].count("churn-risk") == 1

    @pytest.mark.parametrize(
        ("name", "target"), [("vip", SmartEmailingAudience(list=7)), ("Newsletter", AUDIENCES["churn-risk"])]
    )
    async def test_the_list_of_a_purpose_is_none(self, plugin, statuses, name, target):
        with pytest.raises(PermanentError, match=rf"audiences\.{name}: contact list 7 is that of consents\.newsletter"):
            await plugin.profile(add={name: target})
        assert statuses() is None

    async def test_without_a_sender_none_can_be_made(self, open_plugin, twin):
        async with open_plugin({"consents": {}}, sender=None) as plugin:
            with pytest.raises(PermanentError, match=r"audiences\.churn-risk: .* give settings\.sender"):
                await plugin.profile(add={"churn-risk": AUDIENCES["churn-risk"]})

    async def test_a_number_that_is_wrong_is_named_before_anything_is_sent(self, plugin, calls):
        with pytest.raises(PermanentError, match=r"audiences\.vip: SmartEmailing has no contact list 77"):
            await plugin.profile(add={"vip": SmartEmailingAudience(list=77)})
        assert not any("import" in call for call in calls())

    async def test_an_answer_without_its_number_is_not_believed(self, plugin, twin):
        twin.faults.append(Fault(match="POST .*contactlists", status=201, body='{"status":"created"}'))
        with pytest.raises(TemporaryError, match="without saying its id"):
            await plugin.profile(add={"churn-risk": AUDIENCES["churn-risk"]})


class TestAnotherAddress:
    async def renamed(self, plugin, known, **parts):
        return await plugin.profile(remote_id=known, previous_email=OLD, **parts)

    async def test_the_contact_goes_along_with_all_that_it_has(self, plugin, sign_up, twin, statuses):
        known = sign_up(OLD, town="Brno", lists={7: "confirmed", 9: "unsubscribed"})
        for _ in range(2):
            assert await self.renamed(plugin, known, changed={"name": "Ada"}) == Outcome(remote_id=known)
        assert (statuses(OLD), statuses()) == (None, {7: "confirmed", 9: "unsubscribed"})
        assert twin.account.find(ADA).values == {"town": "Brno", "name": "Ada"}

    async def test_written_otherwise_it_is_no_other(self, plugin, sign_up, calls):
        known = sign_up()
        await plugin.profile("Ada@Example.com", remote_id=known, previous_email=ADA, changed={"name": "Ada"})
        assert calls() == ["POST import"]

    @pytest.mark.parametrize("habit", ["reads", "always"])
    async def test_a_contact_that_has_it_takes_over_lists_and_opt_outs(self, plugin, sign_up, twin, statuses, habit):
        twin.habits.errors_in_200 = habit
        known = sign_up(OLD, lists={7: "confirmed", 9: "unsubscribed", 12: "confirmed"})
        other = sign_up(lists={12: "unsubscribed", 9: "confirmed"}, company="theirs")
        outcome = await self.renamed(plugin, known, desired={"name": "Ada", "town": "Brno"}, changed={"name": "Ada"})
        assert outcome.remote_id == other
        assert statuses() == {7: "confirmed", 9: "unsubscribed", 12: "unsubscribed"}, "no opt-out of either is lost"
        assert statuses(OLD) == {9: "unsubscribed"}
        assert twin.account.find(ADA).values == {"name": "Ada", "town": "Brno", "company": "theirs"}

    async def test_of_many_whose_new_address_has_a_contact_each_call_gets_some_done(self, plugin, sign_up, statuses):
        waiting = [
            plugin.a_profile(
                f"new{at}@example.com",
                remote_id=sign_up(f"old{at}@example.com", lists={7: "confirmed"}),
                previous_email=f"old{at}@example.com",
                person=f"p-{at}",
            )
            for at in range(45)
        ]
        for each in waiting:
            sign_up(each.email)
        rounds = 0
        while waiting:
            results = await plugin.profiles(*waiting)
            waiting = [each for each, result in zip(waiting, results, strict=True) if isinstance(result, RateLimited)]
            rounds += 1
            assert rounds <= 3
        assert all(statuses(f"new{at}@example.com") == {7: "confirmed"} for at in range(45))
        assert all(statuses(f"old{at}@example.com") == {} for at in range(45))

    @pytest.mark.parametrize("lists", [{}, {7: "unsubscribed"}])
    async def test_the_blacklist_goes_along(self, plugin, sign_up, twin, lists):
        known = sign_up(OLD, blacklisted=1, lists=lists)
        sign_up(lists={9: "confirmed"})
        await self.renamed(plugin, known)
        contact = twin.account.find(ADA)
        assert (contact.blacklisted, contact.lists[9].status) == (1, "unsubscribed")

    async def test_what_was_said_now_counts_over_what_is_taken_along(self, plugin, sign_up, statuses):
        known = sign_up(OLD, lists={12: "confirmed"})
        sign_up()
        await self.renamed(plugin, known, remove={"vip": AUDIENCES["vip"]})
        assert (statuses(), statuses(OLD)) == ({}, {})

    @pytest.mark.parametrize("skip", [0, 1, 2, 3])
    async def test_what_fails_on_the_way_is_done_again_and_no_list_is_lost(self, plugin, sign_up, twin, statuses, skip):
        known = sign_up(OLD, lists={7: "confirmed"})
        sign_up()
        twin.faults.append(Fault(match="POST .*import", status=503, skip=skip))
        (first,) = await plugin.profiles(plugin.a_profile(remote_id=known, previous_email=OLD))
        assert isinstance(first, TemporaryError)
        await self.renamed(plugin, known)
        assert (statuses(OLD), statuses()) == ({}, {7: "confirmed"})

    async def test_a_lost_answer_of_the_change_is_no_trouble(self, plugin, sign_up, twin, statuses):
        known = sign_up(OLD, lists={7: "confirmed"})
        twin.faults.append(Fault(match="change-emailaddress", action="cut-after"))
        (first,) = await plugin.profiles(plugin.a_profile(remote_id=known, previous_email=OLD))
        assert isinstance(first, TemporaryError)
        assert await self.renamed(plugin, known) == Outcome(remote_id=known)
        assert (statuses(OLD), statuses()) == (None, {7: "confirmed"})

    async def test_an_old_one_that_is_gone_is_made_anew_whole(self, plugin, twin):
        outcome = await self.renamed(plugin, "4711", desired={"town": "Brno"}, changed={})
        assert outcome.remote_id == str(twin.account.find(ADA).id)
        assert twin.account.find(ADA).values == {"town": "Brno"}

    async def test_an_address_that_is_not_taken_moves_nobody(self, plugin, sign_up, twin, statuses):
        known = sign_up(OLD, lists={7: "confirmed"})
        with pytest.raises(PermanentError, match="is not valid email address") as why:
            await plugin.profile("no..good@example.com", remote_id=known, previous_email=OLD)
        assert "no.." not in str(why.value)
        assert statuses(OLD) == {7: "confirmed"}

    async def test_of_more_than_there_is_time_for_the_rest_comes_next(self, plugin, sign_up):
        people = []
        for at in range(25):
            known = sign_up(f"old{at}@example.com")
            people.append(
                plugin.a_profile(f"new{at}@example.com", remote_id=known, previous_email=f"old{at}@example.com")
            )
        results = await plugin.profiles(*people)
        assert [type(each) for each in results] == [Outcome] * 20 + [RateLimited] * 5


class TestAContactThatIsAnotherByNow:
    async def test_one_that_was_deleted_meanwhile_is_made_anew_whole(self, plugin, sign_up, twin):
        known = sign_up(town="Brno", lists={7: "confirmed"})
        twin.account.forget(twin.account.find(ADA))
        desired = {"name": "Ada", "town": "Brno", "company": None}
        outcome = await plugin.profile(remote_id=known, desired=desired, changed={"name": "Ada"}, cleared=["company"])
        assert outcome.remote_id != known
        assert twin.account.find(ADA).values == {"name": "Ada", "town": "Brno"}

    async def test_one_whose_address_was_changed_there_leaves_its_lists(self, plugin, sign_up, twin, statuses):
        known = sign_up(lists={7: "confirmed", 9: "unsubscribed", 12: "confirmed"})
        twin.account.rename(ADA, "theirs@example.com")
        desired = {"town": "Brno", "name": "Ada"}
        await plugin.profile(
            remote_id=known, desired=desired, changed={"name": "Ada"}, remove={"vip": AUDIENCES["vip"]}
        )
        assert statuses("theirs@example.com") == {9: "unsubscribed"}
        assert statuses() == {7: "confirmed", 9: "unsubscribed"}
        assert twin.account.find(ADA).values == desired

    async def test_one_that_only_leaves_an_audience_leaves_it_wherever_it_is(self, plugin, sign_up, statuses):
        """So the hub takes a former contact off its lists; what else that one has must not come back to the old address."""
        known = sign_up("theirs@example.com", lists={7: "confirmed", 12: "confirmed"})
        outcome = await plugin.profile(
            remote_id=known, desired={"town": "Brno"}, changed={}, remove={"vip": AUDIENCES["vip"]}
        )
        assert outcome.remote_id == known
        assert statuses("theirs@example.com") == {7: "confirmed"}
        assert not statuses()

    async def test_one_that_is_gone_leaves_nothing(self, plugin, twin, statuses):
        await plugin.profile(remote_id="4711", desired={"town": "Brno"}, changed={}, remove={"vip": AUDIENCES["vip"]})
        assert not statuses()
        assert [each.values for each in twin.account.contacts.values()] == [{}], "none of the person's fields"

    async def test_of_too_many_the_rest_comes_next(self, plugin):
        people = [plugin.a_profile(f"p{at}@example.com", remote_id=str(100 + at)) for at in range(25)]
        results = await plugin.profiles(*people)
        assert [type(each) for each in results] == [Outcome] * 20 + [RateLimited] * 5

    async def test_what_cannot_be_read_is_told_of(self, plugin, twin):
        twin.faults.append(Fault(match="GET .*contacts", status=503))
        with pytest.raises(TemporaryError):
            await plugin.profile(remote_id="4711")


async def test_what_the_vendor_holds_in_its_own_form_is_acknowledged(plugin, twin):
    desired = {"birthday": "1990-12-10T08:30:00Z", "name": "Ada", "interests": "red"}
    outcome = await plugin.profile(desired=desired)
    assert outcome.acknowledged == {"birthday": "1990-12-10", "interests": ["red"]}
