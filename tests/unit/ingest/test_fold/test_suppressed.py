"""Those who were erased stay away, whoever speaks of them, until they ask to be known again."""

from __future__ import annotations

import pytest

from esplanade.store.slices import carry_through

PROOF = {"form": "footer"}
DAY = 86_400


async def erase(hub, email):
    person = await hub.person(email)
    begun = await hub.store.run(lambda unit: unit.begin_erasure(person.id, (email, email), hub.clock.time()))
    await carry_through(hub.store, begun, dropped=hub.intake.folded)


async def anybody(hub):
    """Those whom any of her names finds."""
    found = [await hub.person(email) for email in ("ada@example.com", "a@old.example", "new@example.com")]
    return [person for person in [*found, await hub.by_id("u-1")] if person is not None]


async def times_suppressed(hub):
    outcomes = await hub.store.read(lambda reader: reader.outcomes())
    return sum(times for (_, _, reason), times in outcomes.items() if reason == "suppressed")


@pytest.fixture
async def hub(house):
    """Ada was known by two addresses, an id and Webpower's contact 9001, and was erased a day ago."""
    hub = await house(webpower={}, sparkloop={})
    await hub.profile("a@old.example", id="u-1", fields={"firstname": "Ada"})
    await hub.profile(previous_email="a@old.example", id="u-1")
    await hub.settle()
    await hub.reports("webpower", remote_id="9001")
    await erase(hub, "ada@example.com")
    await hub.passes(DAY)
    return hub


WORDS = {
    "a profile": {"kind": "profile", "email": "ada@example.com", "fields": {"firstname": "Ada"}},
    "a profile under the earlier address": {"kind": "profile", "email": "a@old.example"},
    "a profile with the CDP's id alone": {"kind": "profile", "id": "u-1", "fields": {"firstname": "Ada"}},
    "a new address of hers": {"kind": "profile", "email": "new@example.com", "previous_email": "ada@example.com"},
    "a grant without evidence": {
        "kind": "consent",
        "email": "ada@example.com",
        "purpose": "newsletter",
        "state": "granted",
    },
    "an opt-out": {"kind": "consent", "email": "ada@example.com", "purpose": "newsletter", "state": "denied"},
    "a trigger": {"kind": "trigger", "email": "ada@example.com", "trigger": "welcome"},
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS.keys())
async def test_nothing_that_a_source_says_brings_her_back(hub, words):
    body = dict(words)
    await hub.says(body.pop("kind"), body)
    assert await anybody(hub) == []
    assert await hub.waits("webpower") == []
    assert await times_suppressed(hub) == 1


async def test_no_import_brings_her_back(hub):
    await hub.profile(imported=True, backfill=True, consents={"newsletter": "granted"})
    assert await anybody(hub) == []


@pytest.mark.parametrize(
    "row",
    [("ada@example.com", None), ("a@old.example", None), ("new@example.com", "9001")],
    ids=["by her address", "by her earlier address", "by the vendor's id, under another address"],
)
async def test_no_vendor_brings_her_back(hub, row):
    email, remote_id = row
    await hub.reports("webpower", email, remote_id=remote_id, consents={"newsletter": "granted"}, pulled=True)
    assert await anybody(hub) == []
    assert await hub.waits("sparkloop") == []


async def test_nor_does_what_happened_there(hub):
    await hub.happens("sparkloop", "reward_unlocked")
    assert await anybody(hub) == []


async def test_a_proven_grant_that_she_gave_since_does(hub):
    await hub.consent("granted", evidence=PROOF)
    assert await hub.state() == "granted"
    await hub.reports("webpower", remote_id="9001", fields={"first_name": "Ada"})
    assert await hub.values() == {"firstname": "Ada"}


async def test_a_proven_grant_from_before_does_not(hub):
    await hub.consent("granted", evidence=PROOF, at=hub.clock.time() - 2 * DAY)
    assert await anybody(hub) == []


async def test_an_earlier_address_that_was_erased_is_not_remembered_for_somebody_who_is_there(hub):
    await hub.profile("eve@example.com")
    await hub.profile("eve@example.com", previous_email="ada@example.com", fields={"firstname": "Eve"})
    eve = await hub.person("eve@example.com")
    assert (eve.emails, eve.fields["firstname"].value) == ([], "Eve")
    assert await hub.person() is None


async def test_everybody_else_is_made_as_ever(hub):
    await hub.profile("eve@example.com", id="u-2")
    assert (await hub.by_id("u-2")).email == "eve@example.com"
