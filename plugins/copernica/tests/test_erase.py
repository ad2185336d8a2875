"""Erasing a person: their profile goes, and every one with their address where no profile is named."""

import pytest

from esplanade import PersonRef, TemporaryError
from esplanade.testing import Fault


def person(email="noor@example.net", remote_id=None):
    return PersonRef(person="p-1", email=email, remote_id=remote_id)


@pytest.fixture
def erase(hub):
    """Have a person erased."""
    return lambda *args, **more: hub.connector.erase(person(*args, **more), hub.ctx)


async def test_the_known_profile_is_removed_and_no_other(erase, twin, calls):
    number, other = twin.sign_up("noor@example.net"), twin.sign_up("pim@example.net")
    assert await erase(remote_id=str(number))
    assert calls() == [f"DELETE /profile/{number}"]
    assert twin.find("noor@example.net") is None
    assert twin.find("pim@example.net").id == other


async def test_it_is_removed_completely_with_all_that_is_below_it(erase, twin):
    number = twin.sign_up("noor@example.net")
    table = twin.account.add_collection(31, "SQ_triggers")
    twin.account.add_field(table, "cart")
    twin.add_subprofile(number, "SQ_triggers", {"cart": "C-77"})
    assert await erase(remote_id=str(number))
    assert twin.account.records(table) == []
    assert twin.requests[-1].body == b'{"completely":true}'


async def test_without_an_id_every_profile_with_the_address_is_removed(erase, twin):
    for email in ("noor@example.net", "NOOR@example.net", "noor@example.net.example"):
        twin.sign_up(email)
    assert await erase()
    assert twin.find("noor@example.net") is None
    assert twin.find("noor@example.net.example") is not None


async def test_who_is_not_there_is_not_erased(erase, twin):
    number = twin.sign_up("noor@example.net")
    assert await erase(remote_id=str(number))
    assert not await erase(remote_id=str(number))
    assert not await erase()
    twin.remove_profile(removed := twin.sign_up("noor@example.net"))  # by hand, so that its row stays
    assert not await erase(remote_id=str(removed))


async def test_a_vendor_that_is_down_is_no_vendor_without_the_person(erase, twin):
    number = twin.sign_up("noor@example.net")
    twin.faults.append(Fault(match="^DELETE", status=503, times=1))
    with pytest.raises(TemporaryError):
        await erase(remote_id=str(number))
    assert twin.find("noor@example.net") is not None


@pytest.mark.parametrize("version", [2, 3])
async def test_the_older_versions_erase_too(open_hub, twin, version):
    twin.sign_up("noor@example.net")
    async with open_hub(api_version=version) as hub:
        assert await hub.connector.erase(person(), hub.ctx)
    assert twin.find("noor@example.net") is None
