"""The checks of the fault suite themselves: each finds the one thing that was done wrong, and nothing where all is well."""

import pytest
from msgspec.structs import replace
from tests.faults.invariants import Row, complaints, promises_are_kept
from tests.faults.story import Said, story
from tests.faults.vendor import Account, Consent, Held, Line

FIRST = Said(kind="profile", name="ada", seq=1)
GRANT = Said(kind="consent", name="ada", seq=2, purpose="newsletter", state="granted")
SECOND = Said(kind="profile", name="ada", seq=3)
CART = Said(kind="trigger", name="ada", seq=4, trigger="cart")
ORDER = Said(kind="trigger", name="ada", seq=5, trigger="order")
SAID = [FIRST, GRANT, SECOND, CART, ORDER]


def line(said, position, *, seq=1, state="granted", **more):
    held = Held(seq=seq, consents={"newsletter": Consent(state=state, seq=2)} if state else {})
    line = Line(call=position, kind=said.kind, email=said.email, seq=said.seq, acted=True, position=position, held=held)
    line.purpose, line.state, line.trigger_id = said.purpose, said.state, said.trigger_id
    return replace(line, **more)


def row(said, **more):
    subject = said.purpose or said.trigger
    found = Row(kind=said.kind, email=said.email, event_id=said.id, subject=subject, state="done", outcome="delivered")
    return replace(found, trigger_id=said.trigger_id, **more)


def lines():
    return [
        line(FIRST, 1, seq=0, state=""),
        line(GRANT, 2, state=""),
        line(SECOND, 3),
        line(CART, 4, seq=3),
        line(ORDER, 5, seq=3),
    ]


def rows():
    return [row(GRANT), row(SECOND), row(CART), row(ORDER)]


def account(found, *, seq=3, state="granted"):
    held = Held(seq=seq, consents={"newsletter": Consent(state=state, seq=2)} if state else {})
    return Account(lines=found, people={FIRST.email: held})


def told(found=None, rowed=None, *, repeat="never", said=SAID, **ends):
    return complaints(said, account(lines() if found is None else found, **ends), rowed or rows(), repeat=repeat)


def test_all_is_well_where_each_arrived_once_and_in_order():
    assert told() == []
    promises_are_kept(SAID, account(lines()), rows(), repeat="never")


def test_a_failure_shows_what_was_complained_of():
    with pytest.raises(AssertionError, match="the vendor ends with profile 1, and 3 was said last"):
        promises_are_kept(SAID, account(lines(), seq=1), rows(), repeat="never")


def test_a_version_that_went_back_is_found():
    (complaint,) = told([*lines(), line(FIRST, 6)])
    assert "profile  went back from 3 to 1" in complaint


def test_a_last_value_that_did_not_arrive_is_found_unless_the_hub_kept_it():
    (complaint,) = told(seq=1)
    assert "ends with profile 1" in complaint
    dead = row(SECOND, state="dead", outcome=None, reason="rejected")
    assert told(seq=1, rowed=[row(GRANT), dead, row(CART), row(ORDER)]) == []
    before = row(FIRST, state="dead", outcome=None, reason="rejected")
    assert len(told(seq=1, rowed=[*rows(), before])) == 1


@pytest.mark.parametrize("state", ["denied", ""])
def test_a_last_consent_that_did_not_arrive_is_found(state):
    (complaint,) = told(state=state)
    assert "and granted was said last (2)" in complaint


def test_a_trigger_without_a_delivery_is_found():
    (complaint,) = told(rowed=[row(GRANT), row(SECOND), row(CART)])
    assert complaint == "ada-5: it was accepted, and there is no delivery of it"


def test_a_trigger_that_only_the_hub_calls_delivered_is_found():
    (complaint,) = told(lines()[:-1])
    assert "never acted on it" in complaint


@pytest.mark.parametrize("state", ["pending", "in_flight"])
def test_work_that_is_left_undone_is_found(state):
    found = told(lines()[:-1], [row(GRANT), row(SECOND), row(CART), row(ORDER, state=state, outcome=None)])
    assert [each.split(": ")[1] for each in found] == [f"trigger order is still {state}", f"it is still {state}"]


def test_a_dead_letter_without_a_reason_is_found():
    (complaint,) = told(rowed=[row(GRANT), row(SECOND), row(CART), row(ORDER, state="dead", outcome=None)])
    assert complaint == "ada-5: it is dead without a reason"


def test_a_dropped_trigger_is_found_unless_its_consent_was_not_in_force():
    dropped = [row(GRANT), row(SECOND), row(CART, outcome="unchanged"), row(ORDER)]
    (complaint,) = told([each for each in lines() if each.seq != 4], dropped)
    assert "nobody took back the consent" in complaint
    denial = Said(kind="consent", name="ada", seq=6, purpose="newsletter", state="denied")
    found = [*(each for each in lines() if each.seq != 4), line(denial, 6)]
    assert told(found, dropped, said=[*SAID, denial], state="denied") == []


def test_a_trigger_that_was_acted_on_twice_is_found_unless_the_vendor_tells_repeats_apart():
    twice = [*lines(), line(ORDER, 6, seq=3)]
    assert told(twice, repeat="safe") == []
    for repeat in ("never", "check"):
        (complaint,) = told(twice, repeat=repeat)
        assert complaint.startswith("ada-5: it was acted on twice, in call 5")


def test_triggers_in_the_wrong_order_are_found_and_forgiven_once_they_were_replayed():
    swapped = [*lines()[:3], line(ORDER, 4, seq=3), line(CART, 5, seq=3)]
    (complaint,) = told(swapped)
    assert "trigger ada-4 was acted on after 5" in complaint
    assert complaints(SAID, account(swapped), rows(), repeat="never", replayed=True) == []


def test_a_trigger_that_came_before_what_was_said_before_it_is_found_unless_that_was_given_up():
    early = [*lines()[:3], line(CART, 4, seq=1), line(ORDER, 5, seq=3)]
    (complaint,) = told(early)
    assert complaint == "ada-4: it came while the vendor held profile 1, and 3 was said before it"
    dead = row(SECOND, state="dead", outcome=None, reason="rejected")
    assert told(early, [row(GRANT), dead, row(CART), row(ORDER)]) == []


def test_a_trigger_that_came_before_its_consent_is_found_unless_the_consent_changed_since():
    early = [*lines()[:4], line(ORDER, 5, seq=3, state="denied")]
    (complaint,) = told(early)
    assert complaint == "ada-5: it came while the vendor held newsletter denied, and granted was said before it (2)"
    denial = Said(kind="consent", name="ada", seq=6, purpose="newsletter", state="denied")
    assert told([*early, line(denial, 6)], [*rows(), row(denial)], said=[*SAID, denial], state="denied") == []


def test_a_story_is_the_same_for_the_same_seed_and_numbers_the_events_of_each_person():
    waves = list(story(7, people=5, events=20))
    assert waves == list(story(7, people=5, events=20))
    assert waves != list(story(8, people=5, events=20))
    for seq, wave in enumerate(waves, start=1):
        assert {said.name for said in wave} == {"p0", "p1", "p2", "p3", "p4"}
        assert {said.seq for said in wave} == {seq}
    assert len({said.id for wave in waves for said in wave}) == 100
