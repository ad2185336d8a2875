"""Profiles: written to whoever has the address, and never to anybody else."""

import asyncio
import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esplanade import PermanentError
from esplanade.testing import Fault
from esplanade_copernica.client import Filter
from esplanade_copernica.settings import CopernicaAudience

from .conftest import AUDIENCES


def at(twin, email):
    """All profiles with an address, oldest first."""
    records = twin.account.records(twin.account.database(31))
    return [row for row in records if row.fields["Email"].lower() == email.lower()]


def fields(twin, email="noor@example.net"):
    (row,) = at(twin, email)
    return row.fields


def writes(calls):
    return [call for call in calls() if not call.startswith("GET")]


class TestWriting:
    async def test_somebody_new_is_made_with_their_address(self, hub, twin):
        outcome = await hub.profile(desired={"Firstname": "Noor", "City": "Delft"})
        held = fields(twin)
        assert (held["Email"], held["Firstname"], held["City"]) == ("noor@example.net", "Noor", "Delft")
        assert outcome.remote_id == str(twin.find("noor@example.net").id)

    async def test_somebody_known_by_address_is_updated_and_their_id_is_learnt(self, hub, twin):
        profile = twin.sign_up("noor@example.net", {"Lastname": "Kok"})
        outcome = await hub.profile(desired={"City": "Breda"})
        assert outcome.remote_id == str(profile)
        assert (fields(twin)["City"], fields(twin)["Lastname"]) == ("Breda", "Kok")

    async def test_somebody_known_by_id_is_written_by_id(self, hub, twin, calls):
        profile = twin.sign_up("noor@example.net", {})
        await hub.profile(remote_id=str(profile), desired={"City": "Breda"})
        assert writes(calls) == [f"PUT /profile/{profile}"]

    async def test_a_profile_that_is_gone_is_made_again(self, hub, twin):
        profile = twin.sign_up("noor@example.net", {})
        twin.remove_profile(profile)
        outcome = await hub.profile(remote_id=str(profile), desired={"City": "Breda"})
        assert outcome.remote_id not in {None, str(profile)}
        assert fields(twin)["City"] == "Breda"

    async def test_a_field_is_emptied(self, hub, twin):
        twin.sign_up("noor@example.net", {"City": "Delft"})
        await hub.profile(desired={}, cleared=["City"])
        assert fields(twin)["City"] == ""

    async def test_of_duplicates_all_are_written_and_the_oldest_is_the_person_s(self, hub, twin):
        first = twin.sign_up("noor@example.net", {})
        twin.sign_up("Noor@Example.net", {})
        outcome = await hub.profile(desired={"City": "Breda"})
        assert outcome.remote_id == str(first)
        assert {row.fields["City"] for row in at(twin, "noor@example.net")} == {"Breda"}

    @pytest.mark.parametrize(
        ("name", "value", "held"),
        [
            ("Points", 7, "7"),
            ("Points", 7.0, "7"),
            ("City", True, "1"),
            ("City", ["a", "b"], "a,b"),
            ("City", "naïve 🎈 & = ? #", "naïve 🎈 & = ? #"),
            ("Birthdate", "1990-05-01", "1990-05-01"),
            ("Birthdate", "1990-05-01T23:30:00+00:00", "1990-05-02"),
        ],
    )
    async def test_values_arrive_as_the_field_holds_them(self, hub, twin, name, value, held):
        outcome = await hub.profile(desired={name: value})
        assert fields(twin)[name] == held
        assert (outcome.acknowledged or {}).get(name, value) == held, "what it holds otherwise than it was sent is said"

    async def test_a_new_profile_is_known_to_hold_the_defaults_of_what_was_not_said(self, hub, twin):
        made = await hub.profile(desired={"City": "Breda"})
        assert made.acknowledged == {"Points": "0"}, "a number cannot be empty"
        changed = await hub.profile(desired={"City": "Delft"}, remote_id=made.remote_id)
        assert changed.acknowledged is None
        granted = await hub.consent("granted", "eve@example.net", desired={"City": "Gouda"})
        assert granted.acknowledged == {"Points": "0", "City": "Gouda", "Firstname": None, "Birthdate": None}

    async def test_a_number_that_is_cleared_is_0(self, hub, twin):
        outcome = await hub.profile(desired={"Points": None}, cleared=["Points"])
        assert (fields(twin)["Points"], outcome.acknowledged) == ("0", {"Points": "0"})


class TestAFilterNeverMatchesEverybody:
    """The vendor updates every profile where a filter is empty or names a field that it does not know."""

    @pytest.mark.parametrize(("field", "value"), [("Email", ""), ("Email", " \n"), ("", "a@b.example"), (" ", "x")])
    def test_an_empty_filter_cannot_be_made(self, field, value):
        with pytest.raises(PermanentError, match="would match every profile"):
            Filter(field, value)

    @pytest.mark.parametrize("email", ["", "  "])
    async def test_without_an_address_nothing_is_written(self, hub, twin, calls, email):
        bystander = twin.sign_up("eve@example.net", {"City": "Gouda"})
        with pytest.raises(PermanentError):
            await hub.profile(email=email, desired={"City": "Breda"})
        with pytest.raises(PermanentError):
            await hub.consent("denied", email=email)
        assert writes(calls) == []
        assert twin.account.profile(bystander).fields["City"] == "Gouda"

    @pytest.mark.parametrize("what", ["profile", "grant", "denial"])
    async def test_an_e_mail_field_that_is_not_there_stops_every_write(self, open_hub, twin, calls, what):
        bystander = twin.sign_up("eve@example.net", {"City": "Gouda", "Newsletter": "yes"})
        async with open_hub(email_field="E-mail") as hub:
            with pytest.raises(PermanentError, match="has no field E-mail, spelled exactly so"):
                await {
                    "profile": lambda: hub.profile(desired={"City": "Breda"}),
                    "grant": lambda: hub.consent("granted"),
                    "denial": lambda: hub.consent("denied"),
                }[what]()
        assert writes(calls) == []
        held = twin.account.profile(bystander).fields
        assert (held["City"], held["Newsletter"]) == ("Gouda", "yes")

    async def test_a_field_that_vanishes_is_noticed_within_a_day(self, hub, twin, clock, calls):
        await hub.profile(desired={"City": "Breda"})
        twin.account.remove_field(twin.account.database(31), "Email")
        await clock.advance(86_401)
        with pytest.raises(PermanentError, match="has no field Email"):
            await hub.profile(desired={"City": "Delft"})

    @given(local=st.text(min_size=1, max_size=12).filter(lambda text: text.strip()))
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    async def test_whatever_the_address_nobody_else_is_touched(self, open_hub, twin, local):
        bystanders = [twin.sign_up(f"other{number}@example.net", {"City": "Gouda"}) for number in range(2)]
        async with open_hub() as hub:
            with contextlib.suppress(PermanentError):
                await hub.profile(email=f"{local}@example.net", desired={"City": "Breda"})
        assert {twin.account.profile(each).fields["City"] for each in bystanders} == {"Gouda"}


class TestAnotherAddress:
    async def test_the_profile_moves_along(self, hub, twin):
        profile = twin.sign_up("old@example.net", {"Lastname": "Kok"})
        outcome = await hub.profile(email="new@example.net", previous_email="old@example.net", remote_id=str(profile))
        assert outcome.remote_id == str(profile)
        assert at(twin, "old@example.net") == []
        assert fields(twin, "new@example.net")["Lastname"] == "Kok"

    async def test_without_an_id_it_is_found_by_the_former_address(self, hub, twin):
        profile = twin.sign_up("old@example.net", {})
        outcome = await hub.profile(email="new@example.net", previous_email="old@example.net")
        assert outcome.remote_id == str(profile)

    async def test_where_the_new_address_has_a_profile_that_is_the_one(self, hub, twin):
        old, new = twin.sign_up("old@example.net", {}), twin.sign_up("new@example.net", {"Lastname": "Kok"})
        outcome = await hub.profile(email="new@example.net", previous_email="old@example.net", remote_id=str(old))
        assert outcome.remote_id == str(new)
        assert [row.id for row in at(twin, "old@example.net")] == [old]  # the hub takes it off every list


class TestAudiences:
    async def listed(self, twin, profile):
        (row,) = twin.below(profile, "SQ_audiences")
        return row.fields["audiences"]

    async def test_they_are_listed_in_one_subprofile_that_is_made_once(self, hub, twin):
        await hub.profile(add=AUDIENCES)
        await hub.profile(remove={"vip": AUDIENCES["vip"]})
        profile = twin.find("noor@example.net")
        assert await self.listed(twin, profile.id) == ",churn-risk,"

    async def test_what_others_wrote_there_stays(self, hub, twin):
        await hub.profile(add={"vip": AUDIENCES["vip"]})
        profile = twin.find("noor@example.net")
        (row,) = twin.below(profile.id, "SQ_audiences")
        twin.edit_subprofile(row.id, {"audiences": ",7,12,"})
        await hub.profile(add={"churn-risk": CopernicaAudience()}, remove={"vip": AUDIENCES["vip"]})
        assert await self.listed(twin, profile.id) == ",7,churn-risk,"

    async def test_nothing_is_written_that_is_there_already(self, hub, twin, calls):
        await hub.profile(add={"vip": AUDIENCES["vip"]})
        calls()
        await hub.profile(add={"vip": AUDIENCES["vip"]})
        assert not any("subprofile" in call for call in writes(calls))

    async def test_people_who_come_at_once_make_the_collection_once(self, hub, twin):
        await asyncio.gather(*(hub.profile(email=f"p{number}@example.net", add=AUDIENCES) for number in range(4)))
        assert [each.name for each in twin.account.collections.values()] == ["SQ_audiences"]
        assert [each.name for each in twin.account.collection("SQ_audiences").fields] == ["audiences", "updated"]

    async def test_collections_and_fields_that_are_there_are_used(self, open_hub, twin):
        for _ in range(2):
            async with open_hub() as hub:
                await hub.profile(add={"vip": AUDIENCES["vip"]})
        assert [each.name for each in twin.account.collections.values()] == ["SQ_audiences"]


class TestTheCustomersId:
    NAME = "SqueezelyCustomerId"

    def made(self, twin):
        return [each.type for each in twin.account.database(31).fields if each.name == self.NAME]

    async def test_the_first_id_makes_its_field(self, hub, twin):
        await hub.profile(email="eve@example.net")
        assert self.made(twin) == []
        await asyncio.gather(
            hub.profile(cdp_id="c-7"), hub.profile(email="ada@example.net", cdp_id="c-8"), hub.profile(cdp_id="c-7")
        )
        assert self.made(twin) == ["text"]
        ids = [fields(twin, f"{name}@example.net")[self.NAME] for name in ("noor", "ada", "eve")]
        assert ids == ["c-7", "c-8", ""]

    async def test_a_field_that_is_there_is_used_however_it_is_spelled(self, open_hub, twin):
        twin.account.add_field(twin.account.database(31), self.NAME.upper())
        for _ in range(2):
            async with open_hub() as hub:
                await hub.profile(cdp_id="c-7")
        assert fields(twin)[self.NAME.upper()] == "c-7"
        assert self.made(twin) == []

    async def test_with_null_no_id_is_kept(self, open_hub, twin):
        async with open_hub(customer_id_field=None) as hub:
            await hub.profile(cdp_id="c-7")
        assert self.made(twin) == []

    async def test_a_field_that_cannot_be_made_costs_the_id_and_nothing_else(self, hub, twin, calls, clock):
        refused = '{"error": {"message": "Not allowed"}}'
        twin.faults.append(Fault(match="POST /v4/database/31/fields", status=400, body=refused, times=1))
        await hub.profile(cdp_id="c-7", desired={"City": "Delft"})
        await hub.profile(cdp_id="c-7", desired={"City": "Breda"})
        assert fields(twin)["City"] == "Breda"
        assert calls().count("POST /database/31/fields") == 1
        await clock.advance(86_401)
        await hub.profile(cdp_id="c-7")
        assert fields(twin)[self.NAME] == "c-7"
