"""Consent: an opt-out reaches everybody and outlasts everything but the person's own word; a grant goes no further than it says."""

import pytest

from esplanade import ConsentTarget, Outcome, PermanentError, RateLimited, TemporaryError
from esplanade.testing import Fault
from esplanade_smartemailing.echoes import RECENT_S
from esplanade_smartemailing.settings import SmartEmailingConsent

from .conftest import ADA, ASKED, CONSENTS, FIELDS

DENIED = {"newsletter": "denied", "service": "denied"}


def flags(bodies):
    """Of each import who was in it, and whether opt-outs were preserved."""
    return [
        ([each["emailaddress"] for each in body["data"]], body["settings"]["preserve_unsubscribed"]) for body in bodies
    ]


def purposes(twin, email=ADA):
    return [each.purpose_id for each in twin.account.connections_of(twin.account.find(email))]


class TestGrant:
    async def test_somebody_new_begins_with_all_that_is_mapped(self, plugin, twin, sent):
        desired = {"town": "Brno", "loyalty_tier": "gold", "birthday": "1990-12-10T08:30:00Z"}
        outcome = await plugin.consent("granted", desired=desired)
        held = {**desired, "birthday": "1990-12-10"}
        contact = twin.account.find(ADA)
        assert outcome == Outcome(remote_id=str(contact.id), acknowledged=held), "as it is held, not as it was sent"
        (body,) = sent()
        assert body["data"][0]["contactlists"] == [{"id": 7, "status": "confirmed"}]
        assert body["data"][0]["purposes"] == [{"id": 2, "valid_from": "2026-01-15 11:00:00"}]
        assert contact.values == {"town": "Brno", "birthday": "1990-12-10"}

    async def test_of_somebody_known_the_fields_are_left_alone(self, plugin, sign_up, sent):
        known = sign_up(town="Brno")
        outcome = await plugin.consent("granted", remote_id=known, desired={"town": "stale"}, purpose="service")
        assert outcome == Outcome(remote_id=known)
        assert sent()[0]["data"] == [{"emailaddress": ADA, "contactlists": [{"id": 9, "status": "confirmed"}]}]

    async def test_a_repeat_adds_no_second_record(self, plugin, twin):
        await plugin.consent("granted")
        await plugin.consent("granted")
        assert purposes(twin) == [2]

    async def test_other_lists_are_untouched(self, plugin, sign_up, statuses):
        known = sign_up(lists={9: "unsubscribed", 12: "confirmed"})
        await plugin.consent("granted", remote_id=known)
        assert statuses() == {7: "confirmed", 9: "unsubscribed", 12: "confirmed"}

    @pytest.mark.parametrize("held", [{}, {"newsletter": "granted"}, {"newsletter": "absent"}, {"service": "denied"}])
    async def test_a_plain_one_never_lifts_an_opt_out_that_only_the_vendor_knows(self, plugin, sign_up, statuses, held):
        known = sign_up(lists={7: "unsubscribed"})
        await plugin.consent("granted", remote_id=known, held=held)
        assert statuses() == {7: "unsubscribed"}
        await plugin.consent("granted", held=held)
        assert statuses() == {7: "unsubscribed"}

    async def test_nor_does_it_take_anybody_off_the_blacklist(self, plugin, sign_up, twin):
        sign_up(blacklisted=1)
        await plugin.consent("granted")
        contact = twin.account.find(ADA)
        assert (contact.blacklisted, contact.lists[7].status) == (1, "unsubscribed")
        assert (await plugin.fetch()).consents == DENIED

    @pytest.mark.parametrize("desired", [{"points": "many"}, {"language": "klingon"}])
    async def test_a_value_that_cannot_be_written_does_not_stop_it(self, plugin, twin, statuses, desired):
        outcome = await plugin.consent("granted", desired={"town": "Brno", **desired})
        assert statuses() == {7: "confirmed"}
        assert (outcome.remote_id, outcome.acknowledged) == (str(twin.account.find(ADA).id), None)


class TestRegrant:
    async def test_it_lifts_the_denial_and_nothing_else(self, plugin, sign_up, statuses, sent):
        known = sign_up(lists={7: "unsubscribed", 9: "unsubscribed"})
        held = {"newsletter": "denied", "service": "granted"}
        await plugin.consent("granted", remote_id=known, held=held)
        assert statuses() == {7: "confirmed", 9: "unsubscribed"}

    async def test_it_goes_apart_from_everybody_elses(self, plugin, sign_up, statuses, sent):
        for name in ("a", "b", "c"):
            sign_up(f"{name}@example.com", lists={7: "unsubscribed"})
        results = await plugin.consents(
            plugin.a_consent("granted", "a@example.com"),
            plugin.a_consent("granted", "b@example.com", held={"newsletter": "denied"}),
            plugin.a_consent("denied", "c@example.com"),
        )
        assert all(isinstance(each, Outcome) for each in results)
        assert [statuses(f"{name}@example.com")[7] for name in ("a", "b", "c")] == [
            "unsubscribed",
            "confirmed",
            "unsubscribed",
        ]
        assert flags(sent()) == [(["c@example.com", "a@example.com"], True), (["b@example.com"], False)]

    async def test_it_takes_somebody_off_the_blacklist_that_the_hub_knows_of(self, plugin, sign_up, twin):
        known = sign_up(blacklisted=1, lists={7: "unsubscribed", 9: "unsubscribed"})
        await plugin.consent("granted", remote_id=known, held=DENIED)
        contact = twin.account.find(ADA)
        assert (contact.blacklisted, contact.lists[7].status, contact.lists[9].status) == (
            0,
            "confirmed",
            "unsubscribed",
        )

    @pytest.mark.parametrize("service", ["granted", "absent"])
    async def test_a_blacklist_that_only_the_vendor_knows_of_stays(self, plugin, sign_up, twin, service):
        known = sign_up(lists={7: "unsubscribed", 9: "confirmed"})
        twin.blacklist(ADA)
        await plugin.consent("granted", remote_id=known, held={"newsletter": "denied", "service": service})
        assert twin.account.find(ADA).blacklisted == 1
        assert (await plugin.fetch()).consents == DENIED

    async def test_where_the_hub_is_master_every_grant_counts(self, open_plugin, sign_up, statuses):
        sign_up(lists={7: "unsubscribed"})
        async with open_plugin(preserve_unsubscribed=False) as plugin:
            await plugin.consent("granted")
        assert statuses() == {7: "confirmed"}


class TestDenial:
    async def test_it_is_written_and_what_is_on_record_is_revoked(self, plugin, twin, statuses):
        await plugin.consent("granted")
        twin.account.connect(twin.account.find(ADA), 2, 0.0, None)
        known = str(twin.account.find(ADA).id)
        assert await plugin.consent("denied", remote_id=known) == Outcome(remote_id=known)
        assert (statuses(), purposes(twin)) == ({7: "unsubscribed"}, [])

    async def test_without_an_id_the_address_is_enough(self, plugin, sign_up, statuses):
        known = sign_up("Ada@Example.com", lists={7: "confirmed", 9: "confirmed"})
        assert await plugin.consent("denied") == Outcome(remote_id=known)
        assert statuses() == {7: "unsubscribed", 9: "confirmed"}

    @pytest.mark.parametrize("remote_id", [None, "4711"])
    async def test_it_makes_no_contact(self, plugin, twin, remote_id):
        """Somebody who was erased there must not come back by their opt-out."""
        outcome = await plugin.consent("denied", remote_id=remote_id)
        assert outcome == Outcome(status="unchanged", reason="not-at-vendor")
        assert twin.account.contacts == {}

    async def test_it_reaches_the_contact_under_another_address_and_makes_none(self, plugin, sign_up, twin, statuses):
        known = sign_up("new@example.com", lists={7: "confirmed"})
        assert await plugin.consent("denied", remote_id=known) == Outcome(remote_id=known)
        assert statuses("new@example.com") == {7: "unsubscribed"}
        assert len(twin.account.contacts) == 1

    async def test_it_reaches_two_contacts(self, plugin, sign_up, twin, statuses):
        known = sign_up("old@example.com", lists={7: "confirmed"})
        sign_up(lists={7: "confirmed"})
        for email in ("old@example.com", ADA):
            twin.account.connect(twin.account.find(email), 2, None, None)
        assert await plugin.consent("denied", remote_id=known) == Outcome(remote_id=known)
        assert statuses("old@example.com") == statuses() == {7: "unsubscribed"}
        assert purposes(twin) == purposes(twin, "old@example.com") == []

    async def test_of_two_contacts_both_must_be_written(self, plugin, sign_up, twin):
        known = sign_up("old@example.com", lists={7: "confirmed"})
        sign_up(lists={7: "confirmed"})
        twin.faults.append(Fault(match="GET .*purpose-connections", status=503, skip=1))
        with pytest.raises(TemporaryError):
            await plugin.consent("denied", remote_id=known)

    async def test_whoever_is_on_no_list_is_denied_it_all_the_same(self, plugin, sign_up, statuses):
        known = sign_up()
        await plugin.consent("denied", remote_id=known)
        assert statuses() == {7: "unsubscribed"}

    async def test_a_record_that_is_gone_already_does_no_harm(self, plugin, twin):
        await plugin.consent("granted")
        twin.faults.append(Fault(match="DELETE .*purpose-connections", action="before", status=404))
        assert (await plugin.consent("denied")).status == "delivered"

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(match="DELETE .*purpose-connections", status=422),
            Fault(match="GET .*purpose-connections", status=200, body='{"status":"ok","data":[{"purpose_id":2}]}'),
        ],
    )
    async def test_one_that_cannot_be_revoked_is_told_of(self, plugin, twin, fault):
        await plugin.consent("granted")
        twin.faults.append(fault)
        with pytest.raises((PermanentError, TemporaryError)):
            await plugin.consent("denied")

    async def test_it_comes_before_grants_and_a_refused_grant_does_not_stop_it(self, plugin, sign_up, twin, statuses):
        for at in range(3):
            sign_up(f"p{at}@example.com", lists={7: "confirmed"})
        events = [
            plugin.a_consent("granted", "no..good@example.com"),
            *(plugin.a_consent("denied", f"p{at}@example.com") for at in range(3)),
        ]
        refused, *denied = await plugin.consents(*events)
        assert isinstance(refused, PermanentError)
        assert all(isinstance(each, Outcome) for each in denied)
        assert {statuses(f"p{at}@example.com")[7] for at in range(3)} == {"unsubscribed"}

    async def test_of_more_than_there_is_time_for_the_rest_comes_next(self, plugin, sign_up, statuses):
        waiting = [plugin.a_consent("denied", f"p{at}@example.com") for at in range(50)]
        for each in waiting:
            sign_up(each.email, lists={7: "confirmed"})
        rounds = 0
        while waiting:
            results = await plugin.consents(*waiting)
            waiting = [each for each, result in zip(waiting, results, strict=True) if isinstance(result, RateLimited)]
            rounds += 1
        assert rounds == 3
        assert {statuses(f"p{at}@example.com")[7] for at in range(50)} == {"unsubscribed"}


class TestManyDenials:
    """More than can be looked up one by one, of people whom the hub has just imported."""

    @pytest.fixture
    async def many(self, plugin, twin):
        emails = [f"p{at}@example.com" for at in range(50)]
        made = await plugin.profiles(*(plugin.a_profile(each, desired={"town": "Brno"}) for each in emails))
        twin.requests.clear()
        known = zip(emails, made, strict=True)
        return [
            plugin.a_consent("denied", email, "service", remote_id=each.remote_id, delivery_id=email)
            for email, each in known
        ]

    async def test_they_share_one_request(self, plugin, many, sent, statuses):
        results = await plugin.consents(*many)
        assert [each.remote_id for each in results] == [each.remote_id for each in many]
        assert [len(body["data"]) for body in sent()] == [50]
        assert all(statuses(each.email) == {9: "unsubscribed"} for each in many)

    async def test_once_that_is_some_time_ago_they_are_looked_up_again(self, plugin, many, clock, twin):
        await clock.advance(RECENT_S + 1)
        twin.account.forget(twin.account.find(many[0].email))
        (result,) = await plugin.consents(many[0])
        assert (result.reason, twin.account.find(many[0].email)) == ("not-at-vendor", None)

    async def test_what_is_on_record_of_them_is_revoked_in_as_many_calls_as_that_takes(self, plugin, many, twin):
        events = [
            plugin.a_consent("denied", each.email, remote_id=each.remote_id, delivery_id=each.delivery_id)
            for each in many
        ]
        for each in many:
            twin.account.connect(twin.account.find(each.email), 2, None, None)
        rounds = 0
        while events:
            results = await plugin.consents(*events)
            events = [each for each, result in zip(events, results, strict=True) if isinstance(result, RateLimited)]
            rounds += 1
        assert (rounds, twin.account.connections) == (3, {})

    async def test_a_contact_that_has_another_address_by_now_is_found_by_its_id(self, plugin, many, twin, statuses):
        twin.account.rename(many[3].email, "elsewhere@example.com")
        await plugin.consents(*many)
        assert statuses("elsewhere@example.com")[9] == "unsubscribed"

    async def test_whoever_cannot_be_seen_to_in_time_comes_next(self, plugin, many, twin, statuses):
        for at, each in enumerate(many):
            twin.account.rename(each.email, f"elsewhere{at}@example.com")
        waiting = many
        while waiting:
            results = await plugin.consents(*waiting)
            assert all(isinstance(each, Outcome | RateLimited) for each in results)
            waiting = [each for each, result in zip(waiting, results, strict=True) if isinstance(result, RateLimited)]
        assert {statuses(f"elsewhere{at}@example.com")[9] for at in range(50)} == {"unsubscribed"}


class TestAnotherContactThanTheHubKnew:
    async def test_a_grant_takes_the_former_one_off_its_lists_and_its_opt_outs_along(self, plugin, sign_up, statuses):
        known = sign_up("old@example.com", lists={7: "confirmed", 9: "unsubscribed", 12: "confirmed"})
        outcome = await plugin.consent("granted", remote_id=known)
        assert outcome.remote_id != known
        assert statuses("old@example.com") == {9: "unsubscribed"}
        assert statuses() == {7: "confirmed", 9: "unsubscribed", 12: "confirmed"}

    async def test_a_former_one_that_is_gone_is_none(self, plugin, statuses):
        outcome = await plugin.consent("granted", remote_id="4711")
        assert (outcome.remote_id, statuses()) == ("5001", {7: "confirmed"})

    async def test_what_fails_on_the_way_is_done_again(self, plugin, sign_up, twin, statuses):
        known = sign_up("old@example.com", lists={7: "confirmed", 12: "confirmed"})
        twin.faults.append(Fault(match="POST .*import", status=503, skip=2))
        with pytest.raises(TemporaryError):
            await plugin.consent("granted", remote_id=known)
        await plugin.consent("granted", remote_id=known)
        assert (statuses("old@example.com"), statuses()) == ({}, {7: "confirmed", 12: "confirmed"})


@pytest.mark.parametrize(
    ("state", "target", "words"),
    [
        ("granted", SmartEmailingConsent(list=77), "consents.newsletter: SmartEmailing has no contact list 77"),
        ("denied", SmartEmailingConsent(list=77), "consents.newsletter: SmartEmailing has no contact list 77"),
        ("granted", SmartEmailingConsent(list=7, purpose=77), "SmartEmailing has no processing purpose 77"),
    ],
)
async def test_a_number_that_the_account_does_not_have_stops_nobody_elses(plugin, sign_up, calls, target, words, state):
    sign_up()
    wrong, right = await plugin.consents(
        plugin.a_consent(state, target=target), plugin.a_consent("granted", "eve@example.com", purpose="service")
    )
    assert words in str(wrong)
    assert isinstance(right, Outcome)
    assert sum("import" in call for call in calls()) == 1


async def test_an_opt_out_needs_nothing_but_its_list(plugin, sign_up, twin, statuses):
    known = sign_up(lists={7: "confirmed"})
    twin.account.purposes.clear()
    twin.account.emails.clear()
    assert (await plugin.consent("denied", target=ASKED, remote_id=known)).remote_id == known
    assert statuses() == {7: "unsubscribed"}


async def test_a_list_that_was_made_there_meanwhile_is_found_a_minute_later(plugin, twin, clock, statuses):
    target = SmartEmailingConsent(list=77)
    with pytest.raises(PermanentError):
        await plugin.consent("granted", target=target)
    twin.account.add_list("New", 77)
    await clock.advance(61)
    await plugin.consent("granted", target=target)
    assert statuses() == {77: "confirmed"}


async def test_a_mapping_of_another_kind_is_none_of_ours(open_plugin, sign_up):
    sign_up(lists={7: "confirmed"})
    mapped = {"consents": {**CONSENTS, "elsewhere": ConsentTarget()}, "fields": FIELDS}
    async with open_plugin(mapped) as plugin:
        assert (await plugin.fetch()).consents == {"newsletter": "granted", "service": "absent"}
        assert (await plugin.pull())[1] == ["newsletter", "service"]
