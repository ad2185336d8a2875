"""Consent: one field per purpose, and an opt-out that reaches every profile with the address."""

import pytest

from esplanade import OutcomeUnknown, PermanentError, RateLimited
from esplanade.testing import Fault, Furnishing
from esplanade_copernica.settings import CopernicaConsent, CopernicaTrigger
from esplanade_copernica.values import state_of

from .conftest import BELOW, CONSENTS

NEWSLETTER = CONSENTS["newsletter"]


def at(twin, email="noor@example.net"):
    records = twin.account.records(twin.account.database(31))
    return [row.fields["Newsletter"] for row in records if row.fields["Email"].lower() == email]


@pytest.fixture(autouse=True)
def any_value(twin):
    """The field takes any text: a choice would keep only what it lists."""
    twin.account.remove_field(twin.account.database(31), "Newsletter")
    twin.account.add_field(twin.account.database(31), "Newsletter")


class TestGrant:
    async def test_it_is_written_to_the_person_s_profile_and_nothing_else_is(self, hub, twin):
        profile = twin.sign_up("noor@example.net", {"City": "Delft"})
        outcome = await hub.consent("granted", desired={"City": "Breda"})
        assert (outcome.status, outcome.remote_id) == ("delivered", str(profile))
        assert at(twin) == ["yes"]
        assert twin.account.profile(profile).fields["City"] == "Delft"

    async def test_somebody_new_begins_with_all_that_is_mapped(self, hub, twin):
        await hub.consent("granted", desired={"City": "Breda"})
        assert at(twin) == ["yes"]
        assert twin.find("noor@example.net").fields["City"] == "Breda"

    async def test_where_the_fields_live_elsewhere_the_profile_gets_none_of_them(self, open_hub, twin):
        async with open_hub({"fields": BELOW}) as hub:
            await hub.consent("granted", desired={"SQ_profile.City": "Breda", "Firstname": "Noor"})
        held = twin.find("noor@example.net").fields
        assert (at(twin), held["City"], held["Firstname"]) == (["yes"], "", "Noor")

    async def test_a_profile_that_is_gone_is_made_again(self, hub, twin):
        profile = twin.sign_up("noor@example.net", {})
        twin.remove_profile(profile)
        outcome = await hub.consent("granted", remote_id=str(profile))
        assert outcome.remote_id == str(twin.find("noor@example.net").id)


class TestDenial:
    async def test_it_reaches_every_profile_with_the_address(self, hub, twin):
        for email in ("noor@example.net", "Noor@Example.net"):
            twin.sign_up(email, {"Newsletter": "yes"})
        other = twin.sign_up("eve@example.net", {"Newsletter": "yes"})
        outcome = await hub.consent("denied")
        assert outcome.status == "delivered"
        assert at(twin) == ["no", "no"]
        assert twin.account.profile(other).fields["Newsletter"] == "yes"

    async def test_it_reaches_the_known_profile_though_its_address_was_changed_there(self, hub, twin):
        profile = twin.sign_up("elsewhere@example.net", {"Newsletter": "yes"})
        outcome = await hub.consent("denied", remote_id=str(profile))
        assert outcome.remote_id == str(profile)
        assert at(twin, "elsewhere@example.net") == ["no"]

    @pytest.mark.parametrize("remote_id", [None, "999"])
    async def test_of_somebody_who_is_not_there_nobody_is_made(self, hub, twin, remote_id):
        outcome = await hub.consent("denied", remote_id=remote_id)
        assert (outcome.status, outcome.reason) == ("unchanged", "not-at-vendor")
        assert at(twin) == []

    async def test_the_unsubscribe_behaviour_runs_only_where_it_is_asked_for(self, open_hub, twin):
        unsubscribing = twin.account.database(31).unsubscribing
        unsubscribing.behavior, unsubscribing.fields = "update", {"City": "left"}
        twin.sign_up("noor@example.net", {"Newsletter": "yes"})
        async with open_hub() as hub:
            await hub.consent("denied")
        assert twin.find("noor@example.net").fields["City"] == ""
        async with open_hub(unsubscribe_call=True) as hub:
            await hub.consent("denied")
        assert twin.find("noor@example.net").fields["City"] == "left"

    async def test_a_behaviour_that_removes_profiles_is_never_run(self, open_hub, twin):
        twin.account.database(31).unsubscribing.behavior = "remove"
        twin.sign_up("noor@example.net", {"Newsletter": "yes"})
        async with open_hub(unsubscribe_call=True) as hub:
            await hub.consent("denied")
        assert at(twin) == ["no"]


class TestDoubleOptIn:
    async def test_the_pending_value_starts_the_follow_up_that_asks(self, hub, twin):
        outcome = await hub.consent("pending")
        assert (outcome.status, at(twin), twin.mails) == ("pending", ["asked"], [])

    @pytest.fixture
    def asking(self, twin):
        """A purpose whose question is a template, sent to the profile."""
        twin.furnish(Furnishing(triggers={"confirm": CopernicaTrigger(route="mailing", template=77)}))
        return CopernicaConsent(field="Newsletter", confirmation=77)

    async def test_a_template_is_sent_to_the_profile(self, hub, twin, asking):
        outcome = await hub.consent("pending", target=asking)
        assert outcome.status == "pending"
        (mail,) = twin.mails
        assert (mail["template"], mail["email"]) == (77, "noor@example.net")
        assert at(twin) == [""]

    async def test_a_question_that_may_have_gone_out_is_not_sent_again(self, hub, twin, asking):
        twin.faults.append(Fault(match="POST /v4/draganddrop/emailing", action="cut-after"))
        with pytest.raises(OutcomeUnknown):
            await hub.consent("pending", target=asking)
        assert (await hub.consent("pending", target=asking)).status == "pending"
        assert len(twin.mails) == 1

    async def test_a_question_that_did_not_go_out_is_sent_the_next_time(self, hub, twin, asking):
        twin.faults.append(Fault(match="POST /v4/draganddrop/emailing", status=429))
        with pytest.raises(RateLimited):
            await hub.consent("pending", target=asking)
        await hub.consent("pending", target=asking)
        assert len(twin.mails) == 1

    async def test_a_purpose_that_asks_nobody_and_is_told_to_says_so(self, hub, twin):
        with pytest.raises(PermanentError, match=r"neither pending nor confirmation"):
            await hub.consent("pending", target=CopernicaConsent(field="Newsletter"))


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("yes", "granted"), (" YES ", "granted"), ("No", "denied"), ("asked", "pending"),
        ("", None), (None, None), ("maybe", None), ("yes please", None), ("0", None),
    ],
)  # fmt: skip
def test_what_is_none_of_the_values_says_nothing(text, state):
    assert state_of(text, NEWSLETTER) == state


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CopernicaConsent(field="N", granted="x", denied=" X"), "denied: is the same as granted"),
        (lambda: CopernicaConsent(field="N", pending="YES"), "pending: is the same as granted"),
        (lambda: CopernicaConsent(field="N", pending=" no "), "pending: is the same as denied"),
        (lambda: CopernicaConsent(field="SQ_profile.N"), "field: 'SQ_profile.N' is no field of the profile"),
        (lambda: CopernicaConsent(field="N", opt_in="double"), "opt_in: double needs pending, or confirmation"),
        (lambda: CopernicaTrigger(route="mailing"), "route: mailing needs a template or a document"),
        (lambda: CopernicaTrigger(route="mailing", template=1, document=2), "route: mailing needs"),
        (lambda: CopernicaTrigger(template=1), "subprofile needs none"),
    ],
)
def test_targets_that_cannot_work_say_so_when_the_file_is_read(make, words):
    with pytest.raises(ValueError, match=words):
        make()
