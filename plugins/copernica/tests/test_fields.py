"""Fields of the profile and of its subprofile SQ_profile, side by side in one mapping."""

import asyncio

import pytest

from esplanade import PermanentError
from esplanade_copernica.mapping import places

from .conftest import BELOW

CITY, NAME = "SQ_profile.City", "Firstname"


def held(twin, email="noor@example.net"):
    """The profile's own fields, and those of its subprofiles."""
    profile = twin.find(email)
    return profile.fields, [row.fields for row in twin.below(profile.id, "SQ_profile")]


@pytest.fixture
async def both(open_hub):
    async with open_hub({"fields": BELOW}) as hub:
        yield hub


class TestWriting:
    async def test_each_is_written_where_it_lives(self, both, twin):
        await both.profile(desired={CITY: "Delft", NAME: "Noor"})
        own, below = held(twin)
        assert (own["Firstname"], own["City"], below) == ("Noor", "", [{"City": "Delft"}])

    async def test_a_profile_has_one_subprofile_however_often_it_is_written(self, both, twin):
        for city in ("Delft", "Breda"):
            outcome = await both.profile(desired={CITY: city})
        await both.profile(remote_id=outcome.remote_id, desired={}, cleared=[CITY])
        assert held(twin)[1] == [{"City": ""}]

    async def test_what_did_not_change_there_is_not_written_again(self, both, twin, calls):
        desired = {CITY: "Delft", NAME: "Noor"}
        profile = (await both.profile(desired=desired)).remote_id
        calls()
        await both.profile(remote_id=profile, desired=desired, changed={NAME: "Noor"})
        assert calls() == [f"PUT /profile/{profile}"]
        await both.profile(remote_id=profile, desired=desired, changed={CITY: "Delft"})
        assert any("subprofile" in call for call in calls())

    async def test_a_profile_that_is_made_again_gets_them_all(self, both, twin):
        desired = {CITY: "Delft", NAME: "Noor"}
        profile = (await both.profile(desired=desired)).remote_id
        twin.remove_profile(int(profile))
        await both.profile(remote_id=profile, desired=desired, changed={NAME: "Noor"})
        assert held(twin)[1] == [{"City": "Delft"}]

    async def test_people_who_come_at_once_make_the_collection_once(self, both, twin):
        await asyncio.gather(
            *(both.profile(email=f"p{each}@example.net", desired={CITY: "Delft"}) for each in range(4))
        )
        assert [each.name for each in twin.account.collections.values()] == ["SQ_profile"]
        assert [held(twin, f"p{each}@example.net")[1] for each in range(4)] == [[{"City": "Delft"}]] * 4

    async def test_a_date_is_written_as_the_field_there_reads_it(self, both, twin):
        table = twin.account.add_collection(31, "SQ_profile")
        twin.account.add_field(table, "city", "date")
        outcome = await both.profile(desired={CITY: "1990-05-01T23:30:00+00:00"})
        assert held(twin)[1] == [{"city": "1990-05-02"}]
        assert outcome.acknowledged == {CITY: "1990-05-02"}

    async def test_another_prefix_is_another_collection(self, open_hub, twin):
        async with open_hub({"fields": {"city": "Own_profile.City"}}, collection_prefix="Own_") as hub:
            await hub.profile(desired={"Own_profile.City": "Delft"})
        assert [each.name for each in twin.account.collections.values()] == ["Own_profile"]


class TestWrongNames:
    @pytest.mark.parametrize("name", ["SQ_audiences.City", "profile.City", "sq_profile.City", "SQ_profile.", "A.b.c"])
    async def test_a_name_with_another_collection_is_refused_with_a_remedy(self, open_hub, twin, name):
        async with open_hub({"fields": {"city": name}}) as hub:
            result = await hub.connector.check(hub.ctx)
            assert result.status == "wrong-account"
            assert f"fields: {name} cannot be mapped" in result.detail
            assert "Write SQ_profile." in result.detail
            with pytest.raises(PermanentError, match="cannot be mapped"):
                await hub.profile(desired={name: "Delft"})
        assert twin.find("noor@example.net") is None

    async def test_reading_passes_over_it(self, open_hub, twin):
        twin.sign_up("noor@example.net", {"City": "Delft"})
        async with open_hub({"fields": {"x": "Other.City", "city": "City"}}) as hub:
            ((report,), _) = await hub.pull()
        assert report.fields == {"City": "Delft"}

    def test_names_are_told_apart_by_their_dot(self, twin):
        found = places(["City", CITY, "City", "Other.x"], twin.settings)
        assert (found.profile, found.collection) == (("City",), {CITY: "City"})


async def test_check_does_not_ask_for_what_the_hub_makes_itself(both):
    assert (await both.connector.check(both.ctx)).status == "ok"


async def test_those_of_the_collection_are_discovered_under_the_name_that_maps_them(both, twin):
    to_be_made = [each for each in (await both.connector.discover(both.ctx)).fields if "." in each.name]
    assert [(each.name, each.type) for each in to_be_made] == [(CITY, "text")], "mapped, and made when it is needed"
    twin.account.add_field(twin.account.add_collection(31, "SQ_profile"), "City", "select", "Delft\nBreda*")
    found = {each.name: each for each in (await both.connector.discover(both.ctx)).fields}
    assert (found[CITY].type, found[CITY].options, found[CITY].read_only) == ("select", ["Delft", "Breda"], False)
    assert found["City"].type == "text"
