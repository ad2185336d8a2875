"""Folding profiles: who it is about, which values hold, and whom it concerns."""

from __future__ import annotations

import pytest

from esplanade.model import Outcome

# New people and coalescing.


async def test_a_new_person_goes_to_every_connector(house):
    hub = await house()
    (event,) = await hub.profile(id="u-1", fields={"firstname": "Ada"}, audiences={"vip": True})
    ada = await hub.person()
    assert (ada.email, ada.cdp_id, ada.created_at) == ("ada@example.com", "u-1", hub.clock.time())
    assert (ada.fields["firstname"].value, ada.audiences["vip"].value) == ("Ada", True)
    assert await hub.waits("webpower") == await hub.waits("sparkloop") == ["profile"]
    assert await hub.notes(event=event) == [("accepted", "", None)]
    assert hub.lanes == {"webpower", "sparkloop"}


async def test_a_new_person_of_whom_nothing_is_mapped_is_made_known_too(house):
    hub = await house(webpower={"fields": {}})
    await hub.profile(fields={"ltv": 12})
    assert await hub.waits("webpower") == ["profile"]


async def test_a_connector_that_receives_no_profiles_gets_none(house):
    hub = await house(webpower={"receives": ["consent", "trigger"]})
    await hub.profile(fields={"firstname": "Ada"}, consents={"newsletter": "granted"})
    assert await hub.waits("webpower") == [("consent", "newsletter")]


async def test_many_changes_become_one_call_with_the_last_values(house):
    hub = await house(webpower={})
    for name in ("A", "Ad", "Ada"):
        await hub.profile(fields={"firstname": name})
    (event,) = await hub.deliver("webpower")
    assert event.changed == {"first_name": "Ada"}


async def test_items_of_one_request_are_folded_in_order(house):
    hub = await house(webpower={})
    items = [{"email": "ada@example.com", "fields": {"firstname": name}} for name in ("A", "Ad", "Ada")]
    await hub.says("profile", *items)
    assert await hub.values() == {"firstname": "Ada"}


async def test_a_backfill_goes_behind_live_changes(house):
    hub = await house(webpower={})
    await hub.profile("eve@example.com", backfill=True)
    await hub.profile("ada@example.com")
    assert [event.email for event in await hub.deliver("webpower")] == ["ada@example.com", "eve@example.com"]


# Which values hold.


async def test_a_value_said_earlier_loses_and_the_reason_is_kept(house):
    hub = await house(webpower={})
    await hub.profile(fields={"firstname": "Ada"}, audiences={"vip": True}, at=2_000)
    await hub.settle()
    (event,) = await hub.profile(fields={"firstname": "A", "phone": "06"}, audiences={"vip": False}, at=1_000)
    assert await hub.values() == {"firstname": "Ada", "phone": "06"}
    assert (await hub.person()).audiences["vip"].value is True
    assert ("not-sent", "", "stale") in await hub.notes(event=event)
    (sent,) = await hub.deliver("webpower")
    assert (sent.changed, sent.audiences.remove) == ({"mobile": "06"}, {})


async def test_of_two_values_said_at_once_the_later_arrival_holds(house):
    hub = await house(webpower={})
    await hub.profile(fields={"firstname": "A"}, at=1_000)
    await hub.profile(fields={"firstname": "Ada"}, at=1_000)
    assert await hub.values() == {"firstname": "Ada"}


async def test_what_is_left_out_is_untouched_and_null_clears(house):
    hub = await house(webpower={})
    await hub.profile(fields={"firstname": "Ada", "phone": "06"})
    await hub.settle()
    await hub.profile(fields={"phone": None})
    assert await hub.values() == {"firstname": "Ada", "phone": None}
    (event,) = await hub.deliver("webpower")
    assert (event.changed, event.cleared) == ({}, ["mobile"])


async def test_a_profile_that_says_nothing_new_is_sent_to_nobody_and_says_so(house):
    hub = await house()
    await hub.profile(fields={"firstname": "Ada"})
    await hub.settle()
    (event,) = await hub.profile(fields={"firstname": "Ada"})
    assert await hub.settle() == {}
    assert ("not-sent", "", "unchanged") in await hub.notes(event=event)


async def test_a_value_that_the_vendor_holds_already_is_not_sent(house):
    hub = await house(webpower={})
    await hub.profile(fields={"phone": "12"})
    await hub.settle()
    (event,) = await hub.profile(fields={"phone": 12})
    assert await hub.waits("webpower") == []
    assert ("not-sent", "webpower", "unchanged") in await hub.notes(event=event)


async def test_a_change_concerns_only_those_who_map_it(house):
    hub = await house(webpower={}, sparkloop={"fields": {}, "audiences": {}})
    await hub.profile(fields={"firstname": "A"})
    await hub.settle()
    await hub.profile(fields={"firstname": "Ada"}, audiences={"vip": True})
    assert set(await hub.settle()) == {"webpower"}


async def test_a_change_back_while_the_call_is_in_flight_is_sent_again(house):
    hub = await house(webpower={})
    await hub.profile(fields={"firstname": "Ada"})
    await hub.settle()
    await hub.profile(fields={"firstname": "Bob"})
    land = await hub.claim("webpower")
    await hub.passes(1)
    await hub.profile(fields={"firstname": "Ada"})
    assert [event.changed for event in await land()] == [{"first_name": "Bob"}]
    assert [event.changed for event in await hub.deliver("webpower")] == [{"first_name": "Ada"}]
    assert (await hub.remote("webpower")).fields == {"first_name": "Ada"}


# Who it is about.


async def test_the_case_of_an_address_makes_no_other_person_and_no_rename(house):
    hub = await house(webpower={})
    await hub.profile("Ada@Example.com", fields={"firstname": "Ada"})
    await hub.settle()
    await hub.profile("ada@example.COM", fields={"firstname": "Ada"})
    ada = await hub.person("ada@example.com")
    assert (ada.email, ada.emails) == ("Ada@Example.com", [])
    assert await hub.waits("webpower") == []


async def test_a_previous_address_renames(house):
    hub = await house(webpower={})
    await hub.profile("a@old.example", fields={"firstname": "Ada"})
    await hub.settle()
    await hub.profile(previous_email="a@old.example")
    ada = await hub.person("a@old.example")
    assert ada == await hub.person("ada@example.com")
    assert (ada.email, ada.emails) == ("ada@example.com", ["a@old.example"])
    (event,) = await hub.deliver("webpower")
    assert (event.email, event.previous_email, event.changed) == ("ada@example.com", "a@old.example", {})
    assert await hub.deliver("webpower") == []


async def test_a_person_may_take_an_earlier_address_back(house):
    hub = await house(webpower={})
    await hub.profile("one@example.com")
    await hub.profile("two@example.com", previous_email="one@example.com")
    await hub.settle()
    await hub.profile("one@example.com", previous_email="two@example.com")
    ada = await hub.person("two@example.com")
    assert (ada.email, ada.emails) == ("one@example.com", ["two@example.com"])
    (event,) = await hub.deliver("webpower")
    assert (event.email, event.previous_email) == ("one@example.com", "two@example.com")


async def test_an_event_under_an_earlier_address_is_about_the_same_person(house):
    hub = await house(webpower={})
    await hub.profile("a@old.example")
    await hub.profile(previous_email="a@old.example")
    await hub.profile("a@old.example", fields={"firstname": "Ada"})
    assert (await hub.person()).email == "ada@example.com"
    assert await hub.values() == {"firstname": "Ada"}


async def test_a_previous_address_of_nobody_is_another_way_to_find_the_person(house):
    hub = await house(webpower={})
    await hub.profile(previous_email="nobody@example.com")
    assert (await hub.person()).emails == ["nobody@example.com"]
    assert (await hub.person("nobody@example.com")).id == (await hub.person()).id


async def test_the_cdps_id_finds_the_person_under_a_new_address(house):
    hub = await house(webpower={})
    await hub.profile("a@old.example", id="u-1")
    await hub.settle()
    await hub.profile(id="u-1")
    assert (await hub.by_id("u-1")).email == "ada@example.com"
    (event,) = await hub.deliver("webpower")
    assert event.previous_email == "a@old.example"


async def test_an_id_known_without_an_address_is_sent_nowhere_until_there_is_one(house):
    hub = await house(webpower={})
    await hub.profile(None, id="u-1", fields={"firstname": "Ada"})
    assert await hub.deliver("webpower") == []
    nameless = await hub.by_id("u-1")
    assert (nameless.email, nameless.fields["firstname"].value) == ("", "Ada")
    reasons = await hub.store.read(lambda reader: [note.reason for note in reader.timeline(nameless.id)])
    assert "no-email" in reasons
    await hub.profile("ada@example.com", id="u-1")
    (event,) = await hub.deliver("webpower")
    assert (event.email, event.changed) == ("ada@example.com", {"first_name": "Ada"})
    assert (await hub.person()).emails == []


async def test_a_person_known_by_address_gets_the_cdps_id(house):
    hub = await house(webpower={})
    await hub.profile()
    await hub.profile(id="u-1")
    assert (await hub.by_id("u-1")).id == (await hub.person()).id


@pytest.mark.parametrize("kind", ["profile", "consent", "trigger"])
async def test_an_address_and_an_id_of_two_people_conflict(house, kind):
    hub = await house(webpower={})
    await hub.profile("ada@example.com", id="u-1")
    await hub.profile("eve@example.com", id="u-2")
    await hub.settle()
    more = {"profile": {"fields": {"firstname": "Eve"}}, "consent": {"purpose": "newsletter", "state": "granted"}}
    body = {"email": "ada@example.com", "id": "u-2", **more.get(kind, {"trigger": "welcome"})}
    (event,) = await hub.says(kind, body)
    assert await hub.notes(event=event) == [("failed", "", "identity-conflict")]
    assert await hub.values() == {}
    assert await hub.state() is None
    assert await hub.waits("webpower") == []


async def test_an_address_of_somebody_with_another_id_conflicts(house):
    hub = await house(webpower={})
    await hub.profile("ada@example.com", id="u-1")
    (event,) = await hub.profile("ada@example.com", id="u-9")
    assert await hub.notes(event=event) == [("failed", "", "identity-conflict")]
    assert await hub.by_id("u-9") is None


async def test_an_earlier_address_of_somebody_with_another_id_conflicts(house):
    hub = await house(webpower={})
    await hub.profile("old@example.com", id="u-1")
    await hub.profile("ada@example.com", id="u-2")
    (event,) = await hub.profile("ada@example.com", previous_email="old@example.com", fields={"firstname": "Ada"})
    assert await hub.notes(event=event) == [("failed", "", "identity-conflict")]
    assert await hub.values() == {}


# Repeats.


async def test_an_event_id_counts_once_for_its_source(house):
    hub = await house(webpower={})
    (first,) = await hub.profile(event_id="e-1", fields={"firstname": "Ada"})
    (again,) = await hub.profile(event_id="e-1", fields={"firstname": "Eve"})
    (other,) = await hub.profile(event_id="e-1", fields={"phone": "06"}, source="site")
    assert first == again != other
    assert await hub.values() == {"firstname": "Ada", "phone": "06"}
    assert await hub.notes(event=first) == [("accepted", "", None), ("not-sent", "", "duplicate")]


async def test_a_repeat_within_one_request_counts_once(house):
    hub = await house(webpower={})
    await hub.says(
        "profile",
        {"email": "ada@example.com", "event_id": "e-1", "fields": {"firstname": "Ada"}},
        {"email": "ada@example.com", "event_id": "e-1", "fields": {"firstname": "Eve"}},
    )
    assert await hub.values() == {"firstname": "Ada"}


# Requires.


async def test_nothing_goes_to_a_connector_without_the_grant_that_it_requires(house):
    hub = await house(webpower={"requires": "newsletter"}, sparkloop={})
    (event,) = await hub.profile(fields={"firstname": "Ada"})
    assert await hub.waits("webpower") == []
    assert await hub.waits("sparkloop") == ["profile"]
    assert ("not-sent", "webpower", "no-consent") in await hub.notes(event=event)


async def test_the_grant_lets_a_person_in_whole(house):
    hub = await house(webpower={"requires": "newsletter"})
    await hub.profile(fields={"firstname": "Ada"})
    await hub.consent("granted", evidence={"form": "footer"})
    profile, consent = await hub.deliver("webpower")
    assert profile.changed == {"first_name": "Ada"}
    assert consent.state == "granted"


async def test_what_changed_while_the_grant_was_withdrawn_follows_when_it_comes_back(house):
    hub = await house(webpower={"requires": "newsletter"})
    await hub.profile(fields={"firstname": "Ada"}, consents={"newsletter": "granted"})
    await hub.settle()
    await hub.consent("denied")
    await hub.settle()
    await hub.profile(fields={"firstname": "Ada L."})
    assert await hub.settle() == {}
    await hub.consent("granted", evidence={"form": "footer"})
    profile, consent = await hub.deliver("webpower")
    assert (profile.changed, consent.state) == ({"first_name": "Ada L."}, "granted")


async def test_an_opt_out_reaches_a_connector_that_requires_the_grant(house):
    hub = await house(webpower={"requires": "newsletter"})
    await hub.profile(consents={"newsletter": "granted"})
    await hub.settle()
    await hub.consent("denied")
    assert [event.state for event in await hub.deliver("webpower")] == ["denied"]


# A source that is a connector too.


async def test_a_source_that_is_a_connector_is_not_sent_what_it_has_said(house):
    hub = await house(cdp={"source": "shop"}, webpower={})
    (event,) = await hub.profile(fields={"firstname": "Ada"}, audiences={"vip": True})
    assert await hub.waits("cdp") == []
    assert await hub.waits("webpower") == ["profile"]
    base = await hub.remote("cdp")
    assert (base.email, base.fields, base.audiences) == ("ada@example.com", {"first_name": "Ada"}, {"vip": True})
    assert ("not-sent", "cdp", "unchanged") in await hub.notes(event=event)


async def test_a_source_that_is_a_connector_is_told_what_others_say(house):
    hub = await house(cdp={"source": "shop"}, webpower={})
    await hub.profile(fields={"firstname": "Ada"})
    await hub.settle()
    await hub.reports("webpower", fields={"first_name": "Ada L."})
    (event,) = await hub.deliver("cdp")
    assert event.changed == {"first_name": "Ada L."}


async def test_a_source_that_is_a_connector_is_told_where_the_hub_has_a_newer_value(house):
    hub = await house(cdp={"source": "shop"})
    await hub.profile(fields={"firstname": "Ada"}, source="site", at=2_000)
    await hub.settle()
    await hub.profile(fields={"firstname": "A."}, at=1_000)
    (event,) = await hub.deliver("cdp")
    assert event.changed == {"first_name": "Ada"}


async def test_a_source_that_is_a_connector_is_told_of_an_address_that_it_missed(house):
    hub = await house(cdp={"source": "shop"})
    await hub.profile("a@old.example")
    await hub.profile(previous_email="a@old.example", source="site")
    await hub.settle()
    await hub.profile("a@old.example", fields={"firstname": "Ada"})
    (event,) = await hub.deliver("cdp")
    assert (event.email, event.previous_email) == ("ada@example.com", "a@old.example")


# A vendor that refuses.


async def test_an_unchanged_outcome_moves_the_base(house):
    hub = await house(webpower={})
    await hub.profile(fields={"firstname": "Ada"})
    await hub.deliver("webpower", Outcome(status="unchanged"))
    assert (await hub.remote("webpower")).fields == {"first_name": "Ada"}
