"""A vendor that answers with another id has made the contact anew: the old one was deleted there, and the new one is told all."""

import itertools

from esplanade.model import Outcome

from .conftest import consent, moved, profile, reasons, remote_of, send, settled


def calls_to(crm, kind):
    return [what for _, each, what in crm.calls if each == kind]


async def known(hub, crm):
    crm.answers["all"] = lambda _event: Outcome(remote_id="r-1")
    await send(hub, "profile", {"email": "ada", "fields": {"city": "Delft", "name": "Ada"}, "audiences": {"vip": True}})
    await consent(hub, "ada", method="double", evidence={"form": "footer"})
    await consent(hub, "ada", "denied", purpose="service")
    await settled(hub)
    crm.calls.clear()
    crm.events.clear()


async def test_it_is_told_everything_once(place, clock):
    hub, crm = await place.start(clock=clock), place.script()
    await known(hub, crm)
    crm.answers["all"] = lambda _event: Outcome(remote_id="r-2")
    await profile(hub, "ada", city="Breda")
    await settled(hub)
    await moved(hub, clock, 60)
    assert calls_to(crm, "profile") == [{"City": "Breda"}, {"Name": "Ada"}]
    assert sorted(calls_to(crm, "consent")) == ["newsletter granted", "service denied"]
    assert [list(event.audiences.add) for event in crm.events if hasattr(event, "audiences")] == [[], ["vip"]]
    remote = await remote_of(hub, "ada")
    assert (remote.remote_id, remote.fields, remote.owned) == ("r-2", {"City": "Breda", "Name": "Ada"}, ["vip"])
    assert remote.consents == {"newsletter": "granted", "service": "denied"}


async def test_the_same_id_is_the_same_contact(place, clock):
    hub, crm = await place.start(clock=clock), place.script()
    await known(hub, crm)
    await profile(hub, "ada", city="Breda")
    await settled(hub)
    assert crm.calls == [("ada", "profile", {"City": "Breda"})]


async def test_an_opt_out_that_nobody_was_there_for_changes_nothing(place, clock):
    hub, crm = await place.start(clock=clock), place.script()
    await known(hub, crm)
    crm.answers["all"] = lambda _event: Outcome(status="unchanged", reason="not-at-vendor")
    await consent(hub, "ada", "denied")
    await settled(hub)
    assert [kind for _, kind, _ in crm.calls] == ["consent"]
    assert "not-at-vendor" in await reasons(hub, "ada")


async def test_a_vendor_that_names_another_contact_each_time_is_not_told_for_ever(place, clock):
    hub, crm = await place.start(clock=clock), place.script()
    await known(hub, crm)
    ids = itertools.count(2)
    crm.answers["all"] = lambda _event: Outcome(remote_id=f"r-{next(ids)}")
    await profile(hub, "ada", city="Breda")
    await settled(hub)
    assert len(crm.calls) < 30
