"""Imports: what is sent is exactly what the vendor wants, and everybody learns what became of them."""

import pytest

from esplanade import AuthenticationError, Outcome, PermanentError, RateLimited, TemporaryError, UnreadableAnswer
from esplanade.testing import Fault

from .conftest import ADA, AUDIENCES

SETTINGS = {
    "update": True,
    "add_namedays": False,
    "add_genders": False,
    "add_salutions": False,
    "preserve_unsubscribed": True,
    "skip_invalid_emails": False,
}


def many(plugin, count, **parts):
    return [plugin.a_profile(f"P{at}@example.com", desired={"town": f"Town {at}"}, **parts) for at in range(count)]


def spoilt(plugin, count, *bad):
    """So many people, of whom some have an address that the vendor does not take."""
    people = many(plugin, count)
    for at in bad:
        people[at] = plugin.a_profile(f"no..{at}@example.com", desired={"town": "Ulm"})
    return people


class TestTheRequest:
    async def test_it_says_every_setting_and_of_a_contact_what_is_known(self, plugin, sent):
        desired = {"name": "Ada", "birthday": "1990-12-10", "points": 7, "interests": ["red"], "wants_paper": False}
        await plugin.profile(desired=desired, add={"vip": AUDIENCES["vip"]})
        (body,) = sent()
        assert body == {
            "settings": SETTINGS,
            "data": [
                {
                    "emailaddress": ADA,
                    "name": "Ada",
                    "birthday": "1990-12-10 00:00:00",
                    "customfields": [{"id": 2, "value": "7"}, {"id": 5, "options": [1]}, {"id": 4, "value": "0"}],
                    "contactlists": [{"id": 12, "status": "confirmed"}],
                }
            ],
        }

    async def test_of_somebody_known_only_what_differs_is_written(self, plugin, sign_up, twin, sent):
        known = sign_up(town="Brno", company="theirs", lists={9: "confirmed"})
        parts = {"desired": {"name": "Ada", "town": None, "company": "ours"}, "changed": {"name": "Ada"}}
        outcome = await plugin.profile(remote_id=known, cleared=["town"], **parts)
        assert outcome == Outcome(remote_id=known)
        assert [body["data"] for body in sent()] == [[{"emailaddress": ADA, "name": "Ada", "town": ""}]]
        held = twin.account.find(ADA)
        assert held.values == {"name": "Ada", "company": "theirs"}
        assert held.lists[9].status == "confirmed"

    async def test_the_vendor_works_things_out_only_where_it_is_told_to(self, open_plugin, twin):
        async with open_plugin(add_genders=True) as plugin:
            await plugin.profile(desired={"name": "Ada"})
        assert twin.account.find(ADA).values == {"name": "Ada", "gender": "F"}

    async def test_more_than_500_go_in_several(self, plugin, twin, sent):
        results = await plugin.profiles(*many(plugin, 501))
        assert [len(body["data"]) for body in sent()] == [500, 1]
        assert len({each.remote_id for each in results}) == len(twin.account.contacts) == 501


async def test_ids_come_to_whom_they_belong_whatever_their_order_and_case(plugin, twin):
    results = await plugin.profiles(*many(plugin, 7))
    for at, result in enumerate(results):
        assert result.remote_id == str(twin.account.find(f"p{at}@example.com").id)
        assert twin.account.contacts[int(result.remote_id)].values == {"town": f"Town {at}"}


class TestAddressesThatAreNotTaken:
    async def test_whoever_is_skipped_is_asked_about_alone_and_told_in_the_vendors_words(self, plugin, twin, sent):
        results = await plugin.profiles(*spoilt(plugin, 500, 321))
        refused = results.pop(321)
        assert isinstance(refused, PermanentError)
        assert "is not valid email address" in str(refused)
        assert "no.." not in str(refused), "nor may it be quoted"
        assert all(isinstance(each, Outcome) for each in results)
        assert [(len(body["data"]), body["settings"]["skip_invalid_emails"]) for body in sent()] == [
            (500, True),
            (1, False),
        ]

    async def test_without_skipping_the_culprit_is_found_by_halves(self, open_plugin, twin, sent):
        async with open_plugin(skip_invalid_emails=False) as plugin:
            results = await plugin.profiles(*spoilt(plugin, 500, 321))
        assert [at for at, each in enumerate(results) if isinstance(each, Exception)] == [321]
        assert len(twin.account.contacts) == 499
        assert len(sent()) <= 19

    @pytest.mark.parametrize("skip", [True, False])
    async def test_of_too_many_some_are_put_off_and_none_is_lost(self, open_plugin, twin, sent, skip):
        async with open_plugin(skip_invalid_emails=skip) as plugin:
            waiting = dict(enumerate(spoilt(plugin, 200, *range(0, 200, 2))))
            settled = {}
            for _ in range(100):
                results = await plugin.profiles(*waiting.values())
                assert len(sent()) <= 41, "a call of the hub's has its time"
                settled |= {
                    at: each for at, each in zip(waiting, results, strict=True) if not isinstance(each, RateLimited)
                }
                before, waiting = len(waiting), {at: each for at, each in waiting.items() if at not in settled}
                assert len(waiting) < before
                if not waiting:
                    break
        assert all(isinstance(settled[at], PermanentError if at % 2 == 0 else Outcome) for at in range(200))
        assert len(twin.account.contacts) == 100

    async def test_the_refusal_may_hide_in_a_200(self, plugin, twin):
        twin.habits.errors_in_200 = "always"
        results = await plugin.profiles(*spoilt(plugin, 3, 1))
        assert [type(each).__name__ for each in results] == ["Outcome", "RefusedError", "Outcome"]


class TestRefusals:
    @pytest.mark.parametrize("habit", ["reads", "always"])
    async def test_a_value_that_one_has_wrong_is_theirs_alone(self, plugin, twin, habit):
        twin.habits.errors_in_200 = habit
        people = many(plugin, 8)
        people[5] = plugin.a_profile("eve@example.com", desired={"language": "Elvish"})
        results = await plugin.profiles(*people)
        assert "Value of language must be a locale" in str(results[5])
        assert [at for at, each in enumerate(results) if isinstance(each, Exception)] == [5]

    async def test_what_is_too_large_goes_in_smaller_parts(self, plugin, twin):
        twin.habits.max_request_bytes = 2_000
        results = await plugin.profiles(*many(plugin, 100))
        assert all(isinstance(each, Outcome) for each in results)

    async def test_values_that_cannot_be_written_are_found_before_anything_is_sent(self, plugin, twin, sent):
        people = [*many(plugin, 2), plugin.a_profile("eve@example.com", desired={"points": "many", "town": "Ulm"})]
        results = await plugin.profiles(*people)
        assert "points: takes a number" in str(results[2])
        assert [len(body["data"]) for body in sent()] == [2]

    async def test_a_field_that_the_account_does_not_have_is_nobodys_else_trouble(self, plugin, sent):
        people = [*many(plugin, 2), plugin.a_profile("eve@example.com", desired={"lost": "x"})]
        results = await plugin.profiles(*people)
        assert "SmartEmailing has no custom field lost" in str(results[2])
        assert [len(body["data"]) for body in sent()] == [2]

    async def test_a_field_that_was_deleted_there_is_known_to_be_gone_a_minute_later(self, plugin, twin, clock, sent):
        people = [plugin.a_profile(f"p{at}@example.com", desired={"loyalty_tier": "gold"}) for at in range(200)]
        await plugin.profiles(*people[:1])
        twin.account.remove_field(1)
        await clock.advance(61)
        sent()
        results = await plugin.profiles(*people)
        assert len(sent()) <= 40
        assert {type(each).__name__ for each in results} == {"RefusedError", "RateLimited"}
        results = await plugin.profiles(*people)
        assert all("SmartEmailing has no custom field loyalty_tier" in str(each) for each in results)
        assert sent() == []

    async def test_an_option_that_was_added_there_is_found(self, plugin, twin, clock):
        await plugin.profile(desired={"interests": ["red"]})
        twin.account.add_option(twin.account.fields[5], "purple", 3)
        await clock.advance(61)
        await plugin.profile(desired={"interests": ["red", "purple"]})
        assert (await plugin.fetch()).fields["interests"] == ["red", "purple"]


class TestAnswersThatAreNone:
    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (Fault(match="POST .*import", status=503), TemporaryError),
            (Fault(match="POST .*import", action="cut-after"), TemporaryError),
            (Fault(match="POST .*import", status=429, headers={"Retry-After": "7"}), RateLimited),
            (Fault(match="POST .*import", status=401), AuthenticationError),
            (Fault(match="POST .*import", action="after", status=200, body='{"status":"ok"}'), UnreadableAnswer),
            (Fault(match="POST .*import", action="after", status=200, body="<html>"), UnreadableAnswer),
            (Fault(match="POST .*import", action="after", status=201, body="[]"), UnreadableAnswer),
            (Fault(match="GET .*customfields", status=500), TemporaryError),
            (Fault(match="GET .*customfields", status=200, body='{"data":[{"id":0}]}'), TemporaryError),
            (Fault(match="GET .*customfields", status=200, body='{"data":7}'), TemporaryError),
        ],
    )
    async def test_everybody_has_the_same_and_it_may_be_repeated(self, plugin, twin, fault, kind):
        twin.faults.append(fault)
        people = [plugin.a_profile(f"p{at}@example.com", desired={"loyalty_tier": "gold"}) for at in range(3)]
        assert {type(each) for each in await plugin.profiles(*people)} == {kind}
        assert all(isinstance(each, Outcome) for each in await plugin.profiles(*people))
        assert len(twin.account.contacts) == 3

    async def test_a_contact_that_was_taken_and_not_stored_is_told_of(self, plugin, twin):
        body = '{"status":"created","contacts_map":[]}'
        twin.faults.append(Fault(match="POST .*import", status=201, body=body))
        with pytest.raises(PermanentError, match="did not store it"):
            await plugin.profile(desired={"town": "Brno"})

    @pytest.mark.parametrize(
        "words", ["null", "7", '"<b>nothing</b>"', '"Account demo-key-of-smartemailing is unknown"']
    )
    async def test_a_refusal_has_whatever_words_it_has_but_no_secret(self, plugin, twin, words):
        body = f'{{"status":"error","message":{words}}}'
        twin.faults.append(Fault(match="POST .*import", status=422, body=body))
        with pytest.raises(PermanentError, match="SmartEmailing refused POST import with 422") as why:
            await plugin.profile(desired={"town": "Brno"})
        assert "demo-key" not in str(why.value)

    @pytest.mark.parametrize("body", ["<html>no</html>", "[]"])
    async def test_a_proxy_may_refuse(self, plugin, twin, body):
        twin.faults.append(Fault(match="POST .*import", status=413, body=body))
        with pytest.raises(PermanentError, match="with 413: no words"):
            await plugin.profile(desired={"town": "Brno"})
