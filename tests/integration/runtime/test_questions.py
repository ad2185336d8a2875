"""A question to confirm is a mail, too: whoever was perhaps asked is not asked a second time, unless a person says so."""

import shutil

import pytest

from esplanade.errors import OutcomeUnknown, TemporaryError
from esplanade.model import Outcome
from esplanade.records import DeliveryFilter

from .conftest import SINGLE, Place, consent, deliveries, delivery, moved, person_of, profile, remote_of, settled

ASKS = """
class Consent(ConsentTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    def asks_to_confirm(self):
        return True
"""
CUT = OutcomeUnknown("127.0.0.1: the connection was cut")


@pytest.fixture
def house(place):
    place.plugin(attributes=ASKS.strip())
    return place


def questions(crm):
    return [what for _, kind, what in crm.calls if kind == "consent"]


async def plain_grant(hub, **more):
    await consent(hub, "ada", **more)
    await settled(hub)


async def test_it_is_kept_for_a_person_and_not_asked_again(house, clock):
    hub, crm = await house.start(clock=clock), house.script()
    crm.once("consent", CUT)
    await plain_grant(hub)
    found = await delivery(hub, kind="consent")
    assert (found.state, found.reason, found.attempts) == ("parked", "outcome-unknown", 1)
    assert (await remote_of(hub, "ada")).consents == {"newsletter": "pending"}
    await plain_grant(hub, evidence={"form": "footer"})
    await profile(hub, "ada")
    for _ in range(5):
        await moved(hub, clock, 3600)
    assert questions(crm) == ["newsletter pending"]
    assert (await person_of(hub, "ada")).consents["newsletter"].state == "pending"


async def test_one_that_was_surely_not_asked_is_asked_again(house, clock):
    hub, crm = await house.start(clock=clock), house.script()
    crm.once("consent", TemporaryError("refused"))
    await plain_grant(hub)
    await moved(hub, clock, 1)
    assert questions(crm) == ["newsletter pending"] * 2
    assert (await delivery(hub, kind="consent")).state == "done"


async def test_an_opt_out_that_may_not_have_arrived_is_told_again(house, clock):
    hub, crm = await house.start(clock=clock), house.script()
    crm.once("consent", Outcome(), CUT)
    await consent(hub, "ada", method="double", evidence={"form": "footer"})
    await settled(hub)
    await consent(hub, "ada", "denied")
    await settled(hub)
    await moved(hub, clock, 1)
    assert questions(crm) == ["newsletter granted", "newsletter denied", "newsletter denied"]


async def test_a_person_may_say_that_it_is_asked_again(house, clock):
    hub, crm = await house.start(clock=clock), house.script()
    crm.once("consent", CUT)
    await plain_grant(hub)
    found = await delivery(hub, kind="consent")
    assert await hub.replay(DeliveryFilter(reason="outcome-unknown"), force=False) == 0
    assert await hub.replay(DeliveryFilter(ids=[found.id]), force=True) == 1
    await settled(hub)
    assert questions(crm) == ["newsletter pending"] * 2


async def test_an_opt_out_meanwhile_is_told(house, clock):
    hub, crm = await house.start(clock=clock), house.script()
    crm.once("consent", CUT)
    await plain_grant(hub)
    await consent(hub, "ada", "denied")
    await settled(hub)
    assert questions(crm) == ["newsletter pending", "newsletter denied"]


async def test_one_that_was_under_way_when_the_hub_was_killed_is_kept_for_a_person(house, clock):
    hub, crm = await house.start(clock=clock), house.script()
    gate = crm.hold("consent")
    await consent(hub, "ada")
    await crm.called(2)
    folder = house.path / "after"
    folder.mkdir()
    for name in ("hub.db", "hub.db-wal", "connectors.yaml"):
        shutil.copy(house.path / name, folder / name)
    after = Place(folder)
    after.plugin(SINGLE, attributes=ASKS.strip())
    again = await after.start(clock=clock, write=False)
    house.hubs.append(again)  # the fixture stops it
    await settled(again)
    found = await delivery(again, kind="consent")
    assert (found.state, found.reason) == ("parked", "outcome-unknown")
    assert questions(after.script()) == []
    assert (await remote_of(again, "ada")).consents == {"newsletter": "pending"}
    gate.set()


async def test_nobody_need_decide_once_the_person_has_answered(place, clock):
    place.plugin(
        SINGLE
        + """
    async def fetch(self, person, ctx):
        return Report(email=person.email, consents={"newsletter": "granted"})
""",
        attributes=ASKS.strip(),
    )
    hub, crm = await place.start(clock=clock), place.script()
    crm.once("consent", CUT)
    await plain_grant(hub)
    await moved(hub, clock, 900)
    assert await hub.connections["crm"].puller.reread_pending() == 1
    await settled(hub)
    assert (await person_of(hub, "ada")).consents["newsletter"].state == "granted"
    assert await deliveries(hub, kind="consent", states=["parked"]) == []
