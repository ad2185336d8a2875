"""Double opt-in: one question, one mail, and nothing is stored before the click."""

import pytest
from msgspec.structs import replace

from esplanade import Outcome, OutcomeUnknown, PermanentError
from esplanade.testing import Fault
from esplanade_smartemailing.settings import SmartEmailingConsent

from .conftest import ADA, ASKED, ASKING

NEW_ONLY = SmartEmailingConsent(list=7, double_opt_in=replace(ASKING, mode="new-in-database"))


@pytest.fixture
def ask(plugin):
    """Have somebody asked."""

    async def asked(email=ADA, target=ASKED, **parts):
        return await plugin.consent("pending", email, target=target, **parts)

    return asked


def asked(twin):
    return [email for email, _ in twin.account.asked]


async def test_the_question_is_the_mail_that_the_consent_names(ask, sent):
    page = replace(ASKING, thank_you_page="https://shop.example/thanks", silence=7_200)
    await ask(target=SmartEmailingConsent(list=7, double_opt_in=page), desired={"town": "Brno"})
    (body,) = sent()
    assert body["settings"]["double_opt_in_settings"] == {
        "campaign": {
            "email_id": 41,
            "sender_credentials": {"from": "news@shop.example", "sender_name": "Shop", "reply_to": "help@shop.example"},
            "confirmation_thank_you_page_url": "https://shop.example/thanks",
        },
        "send_to_mode": "all",
        "silence_period": {"unit": "seconds", "value": 7_200},
    }
    assert not body["settings"]["skip_invalid_emails"], "whoever is asked is missing from the answer as well"
    assert body["data"] == [{"emailaddress": ADA, "town": "Brno", "contactlists": [{"id": 7, "status": "confirmed"}]}]


async def test_nothing_is_stored_before_the_click_and_all_of_it_after(ask, plugin, twin):
    outcome = await ask(desired={"town": "Brno"})
    assert outcome == Outcome(status="pending")
    assert (asked(twin), twin.account.contacts, await plugin.fetch()) == ([ADA], {}, None)
    twin.click_confirmation(ADA)
    fetched = await plugin.fetch()
    assert (fetched.consents["newsletter"], fetched.fields["town"]) == ("granted", "Brno")
    (pulled,) = (await plugin.pull())[0].values()
    assert pulled.consents == {"newsletter": "granted"}
    (record,) = twin.account.connections_of(twin.account.find(ADA))
    assert record.purpose_id == 2


async def test_a_known_contact_is_untouched_until_then(ask, plugin, sign_up, twin, statuses, sent):
    known = sign_up(town="Brno", lists={9: "confirmed"})
    outcome = await ask(remote_id=known, desired={"town": "stale"})
    assert outcome == Outcome(status="pending", remote_id=known, reason="already-known")
    assert sent()[0]["data"][0].keys() == {"emailaddress", "contactlists", "purposes"}
    assert statuses() == {9: "confirmed"}
    twin.click_confirmation(ADA)
    assert statuses() == {7: "confirmed", 9: "confirmed"}
    assert twin.account.find(ADA).values == {"town": "Brno"}


async def test_within_the_silence_period_nobody_is_asked_again(ask, twin, clock):
    assert (await ask()).status == (await ask()).status == "pending"
    assert asked(twin) == [ADA]
    await clock.advance(86_401)
    await ask()
    assert asked(twin) == [ADA, ADA]


class TestSomebodyWhoOptedOut:
    async def test_comes_back_by_the_click_alone(self, ask, sign_up, twin, statuses):
        known = sign_up(lists={7: "unsubscribed"})
        await ask(remote_id=known, held={"newsletter": "denied"})
        assert statuses() == {7: "unsubscribed"}
        twin.click_confirmation(ADA)
        assert statuses() == {7: "confirmed"}

    async def test_is_asked_even_where_only_the_new_are(self, ask, sign_up, twin, statuses):
        known = sign_up(lists={7: "unsubscribed"})
        await ask(target=NEW_ONLY, remote_id=known, held={"newsletter": "denied"})
        assert (asked(twin), statuses()) == ([ADA], {7: "unsubscribed"})

    async def test_unknown_to_the_hub_stays_out_where_only_the_new_are_asked(self, ask, sign_up, twin, statuses):
        sign_up(lists={7: "unsubscribed"})
        await ask(target=NEW_ONLY)
        assert (asked(twin), statuses()) == ([], {7: "unsubscribed"})

    async def test_is_asked_where_the_hub_is_master_too(self, open_plugin, sign_up, twin, statuses):
        sign_up(lists={7: "unsubscribed"})
        async with open_plugin(preserve_unsubscribed=False) as plugin:
            await plugin.consent("pending", target=NEW_ONLY)
        assert (asked(twin), statuses()) == ([ADA], {7: "unsubscribed"})

    async def test_gets_no_question_once_blacklisted(self, ask, sign_up, twin):
        sign_up(blacklisted=1)
        await ask()
        assert asked(twin) == []


async def test_a_contact_that_the_hub_has_made_is_new_to_the_vendor_where_only_the_new_are_asked(
    ask, plugin, twin, statuses
):
    known = (await plugin.profile(desired={"town": "Brno"})).remote_id
    await ask(target=NEW_ONLY, remote_id=known)
    assert (asked(twin), statuses()) == ([ADA], {})


async def test_where_only_the_new_are_asked_others_are_taken_at_once(ask, sign_up, twin, statuses):
    sign_up()
    await ask(target=NEW_ONLY)
    await ask("eve@example.com", target=NEW_ONLY)
    assert (asked(twin), statuses()) == (["eve@example.com"], {7: "confirmed"})


@pytest.mark.parametrize("action", ["cut-after", "after"])
async def test_a_lost_answer_is_unknown_and_the_mail_goes_out_once(ask, twin, action):
    twin.faults.append(Fault(match="POST .*import", action=action, status=502))
    with pytest.raises(OutcomeUnknown):
        await ask()
    assert (await ask()).status == "pending"
    assert asked(twin) == [ADA]


async def test_one_bad_address_keeps_nobody_from_being_asked(plugin, twin):
    people = [f"p{at}@example.com" for at in range(8)]
    people[3] = "no..good@example.com"
    results = await plugin.consents(*(plugin.a_consent("pending", each, target=ASKED) for each in people))
    assert [type(each) is Outcome for each in results] == [at != 3 for at in range(8)]
    assert "is not valid email address" in str(results[3])
    assert sorted(asked(twin)) == sorted(set(people) - {"no..good@example.com"})


async def test_people_are_asked_by_the_mail_of_their_own_purpose(plugin, twin, sent):
    twin.account.add_email("Confirm service", 43, html="{{confirmlink}}")
    service = SmartEmailingConsent(list=9, double_opt_in=replace(ASKING, email_id=43))
    await plugin.consents(
        plugin.a_consent("pending", "a@example.com", target=ASKED),
        plugin.a_consent("pending", "b@example.com", purpose="service", target=service),
        plugin.a_consent("granted", "c@example.com"),
    )
    campaigns = [each["settings"].get("double_opt_in_settings", {}).get("campaign", {}) for each in sent()]
    assert [each.get("email_id") for each in campaigns] == [41, 43, None]


async def test_a_question_about_somebody_who_moved_takes_the_former_contact_off_its_lists(ask, sign_up, statuses):
    known = sign_up("old@example.com", lists={7: "confirmed", 9: "unsubscribed"})
    other = sign_up()
    outcome = await ask(remote_id=known)
    assert outcome.remote_id == other
    assert (statuses("old@example.com"), statuses()) == ({9: "unsubscribed"}, {7: "confirmed", 9: "unsubscribed"})


@pytest.mark.parametrize("number", [71, 4711])
async def test_an_e_mail_that_cannot_ask_is_refused_before_anything_is_sent(ask, twin, calls, number):
    with pytest.raises(PermanentError, match=rf"consents\.newsletter: SmartEmailing has no e-mail with .* {number}"):
        await ask(target=SmartEmailingConsent(list=7, double_opt_in=replace(ASKING, email_id=number)))
    assert not any("import" in call for call in calls())


async def test_an_unconfirmed_contact_counts_as_nothing(ask, plugin, twin):
    twin.habits.creates_unconfirmed = True
    outcome = await ask()
    assert (outcome.status, (await plugin.fetch()).consents["newsletter"]) == ("pending", "absent")
