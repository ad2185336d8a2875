"""Folding what vendors report: echoes stop, changes go to the others, and the hub's word goes back where it stands."""

from __future__ import annotations

import msgspec
import pytest

from esplanade.connector import Traits
from esplanade.ingest.shapes import ReportIn
from esplanade.model import AudienceTarget
from esplanade.records import Entry

WINDOW, DAY = 600, 86_400


@pytest.fixture
async def hub(house):
    """Two vendors that both hold Ada."""
    opened = await house()
    await opened.profile(fields={"firstname": "Ada", "phone": "06"}, audiences={"vip": True})
    await opened.settle()
    return opened


def changes(sent):
    return {name: [event.changed for event in events] for name, events in sent.items()}


# Echoes.


async def test_our_own_write_come_back_is_an_echo(hub):
    event = await hub.reports("webpower", fields={"first_name": "Ada"}, audiences={"vip": True})
    assert await hub.notes(event=event) == [("reported", "webpower", "echo")]
    assert await hub.settle() == {}


async def test_a_webhook_faster_than_the_answer_is_an_echo(hub):
    await hub.profile(fields={"firstname": "Ada L."})
    land = await hub.claim("webpower")
    event = await hub.reports("webpower", fields={"first_name": "Ada L."})
    assert await hub.notes(event=event) == [("reported", "webpower", "echo")]
    await land()
    assert changes(await hub.settle()) == {"sparkloop": [{"first_name": "Ada L."}]}


async def test_a_late_webhook_of_a_value_replaced_since_is_an_echo(hub):
    for name in ("B.", "C."):
        await hub.profile(fields={"firstname": name})
        await hub.settle()
    await hub.reports("webpower", fields={"first_name": "B."})
    assert await hub.values() == {"firstname": "C.", "phone": "06"}
    assert await hub.settle() == {}


async def test_after_the_window_an_old_value_is_a_change(hub):
    await hub.profile(fields={"firstname": "B."})
    await hub.settle()
    await hub.passes(WINDOW + 1)
    await hub.reports("webpower", fields={"first_name": "Ada"})
    assert (await hub.values())["firstname"] == "Ada"


async def test_a_value_that_the_vendor_cut_is_not_taken_over_nor_sent_again(hub):
    await hub.profile(fields={"firstname": "Wilhelmina"})
    await hub.settle()
    event = await hub.reports("webpower", fields={"first_name": "Wilhel"})
    again = await hub.reports("webpower", fields={"first_name": "Wilhel"})
    assert await hub.notes(event=event) == [("reported", "webpower", "drift")]
    assert await hub.notes(event=again) == [("reported", "webpower", "echo")]
    assert (await hub.values())["firstname"] == "Wilhelmina"
    await hub.profile(fields={"phone": "07"})
    assert changes(await hub.settle())["webpower"] == [{"mobile": "07"}]


async def test_a_value_that_is_emptied_after_it_was_reported_whole_is_cleared(hub):
    await hub.reports("webpower", fields={"mobile": "06"})
    await hub.passes(DAY)
    await hub.reports("webpower", fields={"mobile": ""})
    assert await hub.values() == {"firstname": "Ada", "phone": ""}
    (event,) = await hub.deliver("sparkloop")
    assert event.cleared == ["mobile"]


# Changes.


async def test_a_change_at_a_vendor_goes_to_the_others_and_not_back(hub):
    event = await hub.reports("webpower", fields={"first_name": "Ada L."}, audiences={"vip": False})
    assert await hub.notes(event=event) == [("merged", "webpower", None)]
    sent = await hub.settle()
    assert changes(sent) == {"sparkloop": [{"first_name": "Ada L."}]}
    assert list(sent["sparkloop"][0].audiences.remove) == ["vip"]
    assert (await hub.remote("webpower")).fields["first_name"] == "Ada L."


async def test_two_vendors_that_report_each_others_changes_come_to_rest(hub):
    await hub.reports("webpower", fields={"first_name": "Ada L."})
    await hub.settle()
    await hub.reports("sparkloop", fields={"first_name": "Ada L."})
    await hub.reports("webpower", fields={"first_name": "Ada L."})
    assert await hub.settle() == {}


async def test_a_person_whom_only_the_vendor_knew_goes_to_the_others(hub):
    await hub.reports("webpower", "eve@example.com", remote_id="7", fields={"first_name": "Eve"})
    assert await hub.values("eve@example.com") == {"firstname": "Eve"}
    assert changes(await hub.settle()) == {"sparkloop": [{"first_name": "Eve"}]}


async def test_a_vendor_s_id_finds_the_person_without_an_address(hub):
    await hub.reports("webpower", remote_id="9001")
    await hub.reports("webpower", None, remote_id="9001", fields={"first_name": "Ada L."})
    assert (await hub.values())["firstname"] == "Ada L."


async def test_a_report_about_nobody_is_let_go(hub):
    await hub.reports("webpower", None, remote_id="404", fields={"first_name": "X"})
    assert await hub.parked() == []


async def test_a_field_that_is_not_mapped_says_so(hub):
    event = await hub.reports(
        "webpower", fields={"shoe_size": 38}, audiences={"staff": True}, consents={"service": "granted"}
    )
    assert await hub.notes(event=event) == [("reported", "webpower", "not-mapped")] * 3


async def test_all_that_is_not_mapped_in_one_report_is_two_notes(hub):
    event = await hub.reports(
        "webpower", fields={"shoe_size": 38, "hat_size": 57}, audiences={"staff": True, "press": False}
    )
    person = await hub.person()
    notes = await hub.store.read(lambda reader: reader.timeline(person.id))
    said = [(note.reason, note.detail) for note in notes if note.event_id == event]
    assert said == [("not-mapped", "shoe_size, hat_size"), ("not-mapped", "staff, press")]


async def test_what_a_vendor_may_not_change_is_not_changed(house):
    hub = await house(webpower={"sends": ["consent"]}, sparkloop={"sends": ["profile"]})
    await hub.profile(fields={"firstname": "Ada"}, consents={"newsletter": "granted"})
    await hub.settle()
    await hub.reports("webpower", "a@new.example", previous_email="ada@example.com", fields={"first_name": "X"})
    await hub.reports("sparkloop", consents={"newsletter": "denied"})
    ada = await hub.person()
    assert (ada.email, ada.fields["firstname"].value) == ("ada@example.com", "Ada")
    assert await hub.state() == "granted"


# Conflicts.


async def test_the_newest_value_wins(house):
    hub = await house(webpower={})
    now = hub.clock.time()
    await hub.profile(fields={"firstname": "Hub"}, at=now - 100)
    await hub.reports("webpower", fields={"first_name": "Later"}, at=now - 50)
    assert (await hub.values())["firstname"] == "Later"


async def test_where_the_hub_s_value_stands_the_vendor_is_told(hub):
    now = hub.clock.time()
    await hub.profile(fields={"firstname": "Hub"}, at=now)
    await hub.settle()
    event = await hub.reports("webpower", fields={"first_name": "Earlier"}, at=now - 50)
    assert (await hub.values())["firstname"] == "Hub"
    assert ("reported", "webpower", "conflict") in await hub.notes(event=event)
    assert changes(await hub.settle()) == {"webpower": [{"first_name": "Hub"}]}


async def test_where_the_hub_s_membership_stands_the_vendor_is_told(hub):
    now = hub.clock.time()
    event = await hub.reports("webpower", audiences={"vip": False}, at=now - DAY)
    assert ("reported", "webpower", "conflict") in await hub.notes(event=event)
    sent = await hub.settle()
    assert {name: list(events[0].audiences.add) for name, events in sent.items()} == {"webpower": ["vip"]}


@pytest.mark.parametrize(
    ("conflict", "holds"),
    [("hub", "Hub"), ("esp", "Vendor"), ({"firstname": "hub"}, "Hub"), ({"phone": "hub"}, "Vendor")],
)
async def test_when_both_changed_the_operator_has_decided(house, conflict, holds):
    hub = await house(webpower={"conflict": conflict})
    await hub.profile(fields={"firstname": "Ada"})
    await hub.settle()
    await hub.profile(fields={"firstname": "Hub"})
    await hub.passes(1)
    await hub.reports("webpower", fields={"first_name": "Vendor"})
    assert (await hub.values())["firstname"] == holds


async def test_when_only_the_vendor_changed_nothing_is_in_conflict(house):
    hub = await house(webpower={"conflict": "hub"})
    await hub.profile(fields={"firstname": "Ada"})
    await hub.settle()
    await hub.reports("webpower", fields={"first_name": "Vendor"})
    assert (await hub.values())["firstname"] == "Vendor"


# Addresses.


async def test_an_address_that_changed_at_a_vendor_renames_and_tells_the_others(hub):
    await hub.reports("webpower", remote_id="9001")
    await hub.reports("webpower", "a@new.example", remote_id="9001")
    ada = await hub.person("a@new.example")
    assert (ada.email, ada.emails) == ("a@new.example", ["ada@example.com"])
    sent = await hub.settle()
    assert {name: events[0].previous_email for name, events in sent.items()} == {"sparkloop": "ada@example.com"}


async def test_a_vendor_that_names_the_previous_address_renames_and_tells_the_others(hub):
    await hub.reports("webpower", "a@new.example", previous_email="ada@example.com")
    assert (await hub.person()).email == "a@new.example"
    assert set(await hub.settle()) == {"sparkloop"}


async def test_a_vendor_that_still_has_the_earlier_address_renames_nobody(hub):
    await hub.profile("a@new.example", previous_email="ada@example.com")
    await hub.reports("webpower", "ada@example.com", fields={"first_name": "Ada"})
    assert (await hub.person()).email == "a@new.example"


async def test_a_contact_that_gets_the_address_of_somebody_else_makes_one_person_of_two(hub):
    await hub.profile("eve@example.com")
    await hub.settle()
    await hub.reports("webpower", remote_id="9001")
    await hub.reports("webpower", "eve@example.com", remote_id="9001")
    ada = await hub.person()
    assert ((await hub.person("eve@example.com")).id, ada.email, ada.emails) == (
        ada.id,
        "eve@example.com",
        ["ada@example.com"],
    )


async def test_a_contact_never_takes_the_address_of_somebody_with_another_id(hub):
    await hub.profile(id="u-1")
    await hub.profile("eve@example.com", id="u-2")
    await hub.settle()
    await hub.reports("webpower", remote_id="9001")
    await hub.reports("webpower", "eve@example.com", remote_id="9001")
    assert (await hub.person()).email == "ada@example.com"
    assert (await hub.person("eve@example.com")).cdp_id == "u-2"
    assert await hub.parked() == [("webpower:in", "identity-conflict")]


async def test_a_contact_deleted_at_the_vendor_is_written_whole_at_the_next_change(hub):
    await hub.reports("webpower", deleted=True)
    assert await hub.settle() == {}
    await hub.profile(fields={"phone": "07"})
    (event,) = (await hub.settle())["webpower"]
    assert (event.changed, list(event.audiences.add)) == ({"first_name": "Ada", "mobile": "07"}, ["vip"])


async def test_a_deleted_contact_whom_nobody_knows_makes_no_person(hub):
    await hub.reports("webpower", "nobody@example.com", deleted=True)
    assert await hub.person("nobody@example.com") is None


# Pulls.


async def test_a_row_that_was_read_before_the_last_acknowledgement_is_stale(hub):
    read_at = hub.clock.time()
    await hub.profile(fields={"firstname": "Ada L."})
    await hub.settle()
    event = await hub.reports("webpower", fields={"first_name": "Ada"}, pulled=True, read_at=read_at)
    assert await hub.notes(event=event) == [("not-sent", "webpower", "stale")]
    assert (await hub.values())["firstname"] == "Ada L."


async def test_a_pull_of_a_vendor_that_was_never_written_does_not_overwrite(house):
    hub = await house(webpower={"receives": []}, sparkloop={})
    await hub.profile(fields={"firstname": "Ada"})
    await hub.passes(DAY)
    event = await hub.reports("webpower", fields={"first_name": "Old", "mobile": "06"}, pulled=True)
    assert await hub.values() == {"firstname": "Ada", "phone": "06"}
    assert ("reported", "webpower", "conflict") in await hub.notes(event=event)


# Loops.


async def test_two_vendors_that_rewrite_each_other_are_stopped(house):
    hub = await house(shouts={}, whispers={}, hub={"max_hops": 4})
    await hub.profile(fields={"firstname": "Ada"})
    for _ in range(10):
        sent = await hub.settle()
        if not sent:
            break
        for name, rewrite in (("shouts", str.upper), ("whispers", str.lower)):
            for event in sent.get(name, []):
                if "first_name" in event.changed:
                    await hub.reports(name, fields={"first_name": rewrite(event.changed["first_name"])})
                    await hub.passes(1)
    assert set(await hub.parked()) <= {("shouts", "loop"), ("whispers", "loop")}
    assert await hub.parked()
    assert "loop" in {reason for what, _, reason in await hub.notes() if what == "not-sent"}


async def test_hops_are_counted_from_one_call_to_the_report_that_follows_it(hub):
    await hub.passes(DAY)
    first = await hub.reports("webpower", fields={"first_name": "B."})
    (work,) = await hub.queue("sparkloop", "pending")
    assert (work.root, work.hops) == (first, 1)
    await hub.settle()
    await hub.reports("sparkloop", fields={"first_name": "C."})
    (work,) = await hub.queue("webpower", "pending")
    assert (work.root, work.hops) == (first, 2)


async def test_a_change_long_after_a_call_begins_a_new_chain(hub):
    await hub.reports("webpower", fields={"first_name": "B."})
    await hub.settle()
    await hub.passes(DAY + 1)
    event = await hub.reports("sparkloop", fields={"first_name": "C."})
    (work,) = await hub.queue("webpower", "pending")
    assert (work.root, work.hops) == (event, 1)


async def test_so_does_one_after_the_window_of_something_that_we_did_not_write(hub):
    await hub.passes(DAY)
    await hub.reports("webpower", fields={"first_name": "B."})
    await hub.settle()
    await hub.passes(WINDOW + 1)
    event = await hub.reports("sparkloop", fields={"mobile": "07"})
    (work,) = await hub.queue("webpower", "pending")
    assert (work.root, work.hops) == (event, 1)


async def test_a_vendor_that_contradicts_our_write_goes_on_with_its_chain_for_a_day(hub):
    await hub.passes(DAY)
    first = await hub.reports("webpower", fields={"first_name": "B."})
    await hub.settle()
    await hub.passes(DAY / 2)
    await hub.reports("sparkloop", fields={"first_name": "C."})
    (work,) = await hub.queue("webpower", "pending")
    assert (work.root, work.hops) == (first, 2)


async def test_a_new_word_of_a_source_begins_a_new_chain(hub):
    await hub.reports("webpower", fields={"first_name": "B."})
    await hub.settle()
    (event,) = await hub.profile(fields={"firstname": "C."})
    (work,) = await hub.queue("sparkloop", "pending")
    assert (work.root, work.hops) == (event, 0)


# A membership that the hub did not make.


async def test_a_membership_that_somebody_else_made_is_not_taken_away(house):
    hub = await house(webpower={"audiences": {"staff": AudienceTarget()}})
    await hub.reports("webpower", audiences={"staff": True})
    await hub.passes(1)
    await hub.profile(audiences={"staff": False})
    assert await hub.settle() == {}
    assert ("not-sent", "webpower", "not-owned") in await hub.notes()


async def test_a_loop_is_kept_once_however_long_it_goes_on(house):
    hub = await house(hub={"max_hops": 1})
    await hub.profile(fields={"firstname": "Ada"})
    await hub.settle()
    for number in range(12):
        vendor = ("sparkloop", "webpower")[number % 2]
        await hub.reports(vendor, fields={"first_name": f"Ada {number}"}, at=hub.clock.time())
        await hub.settle()
    assert await hub.parked() == [("sparkloop", "loop")]


async def test_a_member_whose_contact_is_deleted_counts_as_a_member_no_longer(house):
    hub = await house(webpower={})
    await hub.profile(audiences={"vip": True})
    await hub.settle()
    assert (await hub.store.run(lambda unit: unit.audience("webpower", "vip"))).members == 1
    await hub.reports("webpower", deleted=True)
    assert (await hub.store.run(lambda unit: unit.audience("webpower", "vip"))).members == 0


async def test_somebody_who_was_never_a_member_is_no_news(hub):
    await hub.profile("eve@example.com")
    await hub.settle()
    await hub.passes(DAY)
    await hub.reports("webpower", "eve@example.com", audiences={"vip": False})
    assert (await hub.person("eve@example.com")).audiences == {}
    await hub.profile("eve@example.com", audiences={"vip": True}, at=hub.clock.time() - 60)
    (event,) = (await hub.settle())["webpower"]
    assert list(event.audiences.add) == ["vip"]


async def test_a_repeat_of_what_the_vendor_no_longer_held_is_asked_about(house):
    hub = await house(webpower={}, traits={"webpower": Traits(can_fetch=True)})
    await hub.profile(fields={"firstname": "Ada"})
    await hub.settle()
    await hub.passes(DAY)
    for name, event_id in (("Ann", "1"), ("Bob", "2"), ("Ann", "1")):
        body = msgspec.msgpack.encode(ReportIn(email="ada@example.com", fields={"first_name": name}))
        entry = Entry(kind="report", origin="webpower", id=event_id, at=hub.clock.time(), body=body, dedupe=True)
        await hub.append(entry)
        await hub.passes(WINDOW + 1)
    assert await hub.values() == {"firstname": "Bob"}
    assert [each.kind for each in await hub.queue("webpower", "pending") if each.lane == "webpower:in"] == ["fetch"]
