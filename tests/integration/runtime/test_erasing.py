"""Erasing a person while the hub runs: nothing of them is left or sent any more, and everybody else goes on."""

import asyncio
import json

import pytest

from esplanade import Outcome, TemporaryError
from esplanade.errors import EventError

from .conftest import ONLY_PROFILES, consent, deliveries, email, folded, person_of, profile, send, settled, trigger

WORDS = ["ada@example.com", "Ada@Example.com", "Adaword", "ada-cdp-id", "evidence-of-ada", "cart-of-ada"]


def stored(place):
    return b"".join(path.read_bytes() for path in place.path.glob("hub.db*"))


def left_of_ada(place):
    raw = stored(place)
    return [word for word in WORDS if word.encode() in raw]


async def told(hub, name="Ada", city="Adaword"):
    """Everything that a shop tells of a person."""
    address = f"{name}@Example.com"
    word = name.lower()
    body = {"id": f"{word}-cdp-id", "fields": {"city": city, "name": f"{name}word"}}
    for kind, item in [
        ("profile", body),
        ("consent", {"purpose": "newsletter", "state": "granted", "evidence": {"form": f"evidence-of-{word}"}}),
        ("trigger", {"trigger": "order", "trigger_id": f"t-{word}", "data": {"cart": f"cart-of-{word}"}}),
    ]:
        raws = [json.dumps({"email": address, **item}).encode()]
        await hub.intake.accept(hub.intake.admit("shop", kind, raws, may={"profile", "consent", "trigger"}).entries)


async def test_nothing_is_left_of_the_person_and_the_hub_goes_on(place):
    hub = await place.start()
    await told(hub)
    await told(hub, "Bob", "Bobword")
    await settled(hub)
    assert left_of_ada(place) == WORDS
    erased = await hub.erase("ADA@example.com")
    assert erased.person == "p-1"
    assert erased.unread == 0
    assert left_of_ada(place) == []
    for word in ("bob@example.com", "Bobword", "evidence-of-bob", "cart-of-bob"):
        assert word.encode() in stored(place)
    await profile(hub, "bob", city="Utrecht")
    await settled(hub)
    assert place.script().to("Bob")[-1] == ("profile", {"City": "Utrecht"})


async def test_the_certificate_says_what_a_human_must_do_and_where(place):
    place.plugin()
    place.plugin(name="other.py")
    connectors = {"crm": {}, "mail": {"plugin": "./other.py", **ONLY_PROFILES, "receives": ["consent"]}}
    hub = await place.start(connectors=connectors)
    place.script().answers["all"] = lambda _event: Outcome(remote_id="9001")
    await profile(hub, "ada", city="Delft")
    await settled(hub)
    erased = await hub.erase("ada@example.com")
    assert [(one.connector, one.result) for one in erased.certificate] == [
        ("crm", "unsupported"),
        ("mail", "not-found"),
    ]
    assert "contact 9001 (ada@example.com) at the vendor by hand" in erased.certificate[0].detail


async def test_nobody_is_erased_by_an_address_that_nobody_has(place):
    hub = await place.start()
    assert await hub.erase("ada@example.com") is None
    with pytest.raises(EventError):
        await hub.erase("ada")


async def test_an_erasure_can_be_asked_for_again_when_its_answer_was_lost(place):
    hub = await place.start()
    await told(hub)
    await settled(hub)
    first, again = await hub.erase("ada@example.com"), await hub.erase("Ada@Example.com")
    assert (again.person, again.erased_at) == (first.person, first.erased_at)
    assert again.certificate[0].result == "unsupported"
    assert again.certificate[0].detail.startswith("if Ada@Example.com is there at the vendor, erase it by hand: ")
    assert left_of_ada(place) == []


async def test_a_vendor_that_is_no_longer_configured_is_named_all_the_same(place):
    place.plugin(name="other.py")
    hub = await place.start(connectors={"crm": {}, "mail": {"plugin": "./other.py", **ONLY_PROFILES}})
    await profile(hub, "ada", city="Delft")
    await settled(hub)
    await hub.stop()
    hub = await place.start(connectors={"crm": {}})
    erased = await hub.erase("ada@example.com")
    (gone,) = [one for one in erased.certificate if one.connector == "mail"]
    assert gone.result == "unsupported"
    assert "no longer in connectors.yaml" in gone.detail


async def test_what_waits_for_the_person_is_never_sent(place):
    hub = await place.start()
    await hub.pause("crm", "by hand")
    await told(hub)
    await told(hub, "Bob", "Bobword")
    await hub._fold.caught_up()
    await hub.erase("ada@example.com")
    await hub.resume("crm")
    await settled(hub)
    assert {name for name, *_ in place.script().calls} == {"Bob"}
    assert left_of_ada(place) == []


@pytest.mark.parametrize("result", [Outcome(remote_id="ada-cdp-id"), TemporaryError("evidence-of-ada")])
async def test_a_call_under_way_settles_without_bringing_a_word_back(place, result):
    hub = await place.start()
    gate = asyncio.Event()

    async def wait():
        await gate.wait()
        return result

    place.script().answers["profile"] = lambda _event: wait()
    await told(hub)
    await place.script().called(1)
    erased = await hub.erase("ada@example.com")
    assert erased.certificate[0].result == "unsupported"  # the vendor may hold them once the call has ended
    gate.set()
    await settled(hub)
    assert await person_of(hub, "ada") is None
    assert await deliveries(hub) == []
    await hub.store.scrub()
    assert left_of_ada(place) == []


async def test_an_erasure_that_was_cut_short_is_resumed_at_the_next_start(place):
    hub = await place.start()
    await told(hub)
    await settled(hub)
    await hub.store.run(lambda unit: unit.begin_erasure(1, (), hub.clock.time()))
    await hub.stop()
    assert left_of_ada(place) == WORDS
    hub = await place.start()
    async with asyncio.timeout(10):
        while await hub.store.read(lambda reader: reader.open_erasures()):
            await asyncio.sleep(0.01)
    assert left_of_ada(place) == []


async def test_what_was_not_folded_yet_is_dropped_and_leaves_room(place):
    hub = await place.start()
    await told(hub)
    await settled(hub)
    hub.store.follow(lambda _unit: None, lambda *_: None)  # the fold stands still
    await profile(hub, "ada", city="Adaword")
    await profile(hub, "bob", city="Delft")
    unfolded = hub.intake.unfolded
    await hub.erase("ada@example.com")
    assert hub.intake.unfolded == unfolded - 1 == await hub.store.read(lambda reader: reader.backlog())


async def test_an_opt_out_that_waits_stays_with_whoever_has_a_former_address_now(place):
    hub = await place.start()
    for said in (
        {"email": "old", "id": "u-1"},
        {"email": "new", "id": "u-1", "previous_email": email("old")},
        {"email": "old", "id": "u-2"},
    ):
        await send(hub, "profile", {**said, "fields": {"city": said["id"]}})
        await settled(hub)
    await consent(hub, "old", "granted")
    await settled(hub)
    (remote,) = await hub.store.read(lambda reader: reader.remotes(1))
    assert [each.email for each in remote.former] == [email("old")]
    fold, hub._fold._slice = hub._fold._slice, 0  # it stands still
    await consent(hub, "old", "denied")
    assert (await person_of(hub, "old")).consents["newsletter"].state == "granted"
    assert (await hub.erase("new@example.com")).person == "p-1"
    hub._fold._slice = fold
    await profile(hub, "zed", city="Delft")
    await folded(hub)
    old = await person_of(hub, "old")
    assert (old.name, old.consents["newsletter"].state) == ("p-2", "denied")


async def test_many_are_erased_while_others_are_served(place):
    hub = await place.start()
    names = [f"person{number}" for number in range(30)]
    await asyncio.gather(*(profile(hub, name, city=f"city-of-{name}.") for name in names))
    await settled(hub)
    erasures = asyncio.gather(*(hub.erase(email(name)) for name in names[::2]))
    await asyncio.gather(*(trigger(hub, name, f"t-{name}") for name in names[1::2]))
    await erasures
    await settled(hub)
    sent = {name for name, kind, _ in place.script().calls if kind == "trigger"}
    assert sent == set(names[1::2])
    raw = stored(place)
    assert [f"city-of-{name}.".encode() in raw for name in names] == [number % 2 == 1 for number in range(30)]


async def test_whoever_was_erased_stays_away_until_they_sign_up_themselves(place):
    hub = await place.start()
    await told(hub)
    await settled(hub)
    await hub.erase("ada@example.com")
    calls = len(place.script().calls)
    await profile(hub, "ada", city="Delft")
    await consent(hub, "ada", "granted")
    await trigger(hub, "ada", "t-2")
    await settled(hub)
    assert await person_of(hub, "ada") is None
    assert len(place.script().calls) == calls
    await consent(hub, "ada", "granted", evidence={"form": "footer"})
    await settled(hub)
    ada = await person_of(hub, "ada")
    assert (ada.name, ada.fields, ada.consents["newsletter"].state) == ("p-2", {}, "granted")
    again = await hub.erase("ada@example.com")
    assert again.person == "p-2"
