"""Audiences that are interests of the profile."""

import pytest

from esplanade import PersonRef
from esplanade_copernica.settings import CopernicaAudience

SHOES = CopernicaAudience(interest="Shoes")
MAPPED = {"audiences": {"shoes": SHOES, "vip": CopernicaAudience(id=12)}}


async def test_they_are_given_and_taken_and_others_stay(open_hub, twin):
    number = twin.sign_up("noor@example.net", interests={"Hats": True})
    async with open_hub(MAPPED) as hub:
        await hub.profile(add={"shoes": SHOES})
        assert twin.account.profile(number).interests == ["Hats", "Shoes"]
        assert twin.account.interests(twin.account.database(31)) == ["Hats", "Shoes"], "made where it was missing"
        await hub.profile(remove={"shoes": SHOES})
    assert twin.account.profile(number).interests == ["Hats"]
    assert "SQ_audiences" not in [each.name for each in twin.account.collections.values()], "nothing is listed"


async def test_one_that_is_there_is_not_made_again(open_hub, twin, calls):
    twin.sign_up("eve@example.net", interests={"Shoes": True})
    async with open_hub(MAPPED) as hub:
        await hub.profile(add={"shoes": SHOES})
        await hub.profile("bram@example.net", add={"shoes": SHOES})
    made = calls()
    assert "POST /database/31/interests" not in made
    assert sum(each.startswith("GET /database/31/interests") for each in made) == 1, "looked for once"


async def test_pull_and_fetch_tell_of_those_that_are_mapped(open_hub, twin):
    twin.sign_up("noor@example.net", interests={"Shoes": True, "Hats": True})
    twin.sign_up("bram@example.net")
    async with open_hub(MAPPED) as hub:
        reports, _ = await hub.pull()
        assert {each.email: each.audiences for each in reports} == {
            "noor@example.net": {"shoes": True},
            "bram@example.net": {"shoes": False},
        }
        fetched = await hub.connector.fetch(PersonRef(person="p-1", email="noor@example.net"), hub.ctx)
    assert fetched.audiences == {"shoes": True}


@pytest.mark.parametrize("given", ["x", ""])
def test_an_audience_is_a_number_or_an_interest(given):
    with pytest.raises(ValueError, match=r"interest: .* give one of the two"):
        CopernicaAudience(id=12, interest=given)


async def test_discovery_lists_them(open_hub, twin):
    twin.sign_up("noor@example.net", interests={"Shoes": True})
    async with open_hub(MAPPED) as hub:
        found = await hub.connector.discover(hub.ctx)
    assert [(each.id, each.name) for each in found.groups if each.detail == "interest"] == [("Shoes", "Shoes")]
