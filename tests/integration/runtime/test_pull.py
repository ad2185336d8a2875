"""Pulls: resumable page by page, only differences journalled, and absence that counts only after everything was read."""

import asyncio
import json

import pytest

from esplanade.errors import PermanentError, PluginError, TemporaryError
from esplanade.model import KINDS, Outcome
from esplanade.records import DeliveryFilter

from .conftest import (
    ONLY_PROFILES,
    SINGLE,
    consent,
    email,
    person_of,
    profile,
    reasons,
    remote_of,
    send,
    settled,
    told,
    trigger,
)

PULLS = (
    SINGLE
    + """
    vendor = {}
    now = {}
    asked = []
    trouble = {}
    size = 3
    covers = ["newsletter"]
    before = None
    present = None
    whole = True

    async def pull(self, cursor, ctx):
        Crm.asked.append(cursor)
        trouble = Crm.trouble.pop(cursor, None)
        if trouble is not None:
            raise trouble
        if Crm.before is not None:
            await Crm.before(cursor)
        if Crm.present is not None:
            return Page(reports=[], present=Crm.present, whole=Crm.whole)
        rows = sorted(Crm.vendor.items())
        start = int(cursor or 0)
        reports = [Report(email=f"{name}@example.com", remote_id=f"r-{name}", **row)
                   for name, row in rows[start:start + Crm.size]]
        following = start + Crm.size
        return Page(reports=reports, cursor=str(following) if following < len(rows) else None, covers=Crm.covers)

    async def fetch(self, person, ctx):
        name = person.email.partition("@")[0]
        trouble = Crm.trouble.pop(name, None)
        if trouble is not None:
            raise trouble
        row = Crm.now.get(name) or Crm.vendor.get(name)
        return Report(email=person.email, **row) if row is not None else None
"""
)
DOUBLE = """
class DoubleTarget(ConsentTarget, frozen=True, kw_only=True):
    def asks_to_confirm(self):
        return True

Crm.Consent = DoubleTarget
"""
CONFIG = {"crm": {**ONLY_PROFILES, "consents": {"newsletter": {}}}}


def subscriber(city="Delft", held="granted"):
    return {"fields": {"City": city}, "consents": {"newsletter": held}}


@pytest.fixture
async def vendor(place, clock):
    """A hub whose vendor holds what a test puts into ``plugin.vendor``."""
    place.plugin(PULLS)
    hub = await place.start(clock=clock, connectors=CONFIG)
    return hub, place.script()


async def pull(hub):
    found = await hub.pull("crm")
    await settled(hub)
    return found


async def journalled(hub):
    return hub._fold.done


async def states(hub, *names):
    people = [await person_of(hub, name) for name in names]
    return [person and person.consents["newsletter"].state for person in people]


def people(count):
    return [f"p{number:03}" for number in range(count)]


class TestReading:
    async def test_a_first_pull_takes_everybody_over(self, vendor):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(8)})
        found = await pull(hub)
        assert (found.pages, found.read, found.changed) == (3, 8, 8)
        assert crm.plugin.asked == [None, "3", "6"]
        assert await states(hub, *people(8)) == ["granted"] * 8
        assert (await remote_of(hub, "p000")).remote_id == "r-p000"
        assert crm.calls == []

    async def test_a_second_pull_of_unchanged_people_journals_nothing(self, vendor):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(8)})
        await pull(hub)
        before = await journalled(hub)
        found = await pull(hub)
        assert (found.read, found.changed) == (8, 0)
        assert await journalled(hub) == before

    async def test_only_who_changed_is_journalled(self, vendor, clock):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(8)})
        await pull(hub)
        clock.set(clock.time() + 86_400)
        before = await journalled(hub)
        crm.plugin.vendor["p003"] = subscriber("Breda")
        assert (await pull(hub)).changed == 1
        assert await journalled(hub) == before + 1
        assert (await person_of(hub, "p003")).fields["city"].value == "Breda"

    async def test_a_pull_that_broke_off_goes_on_where_it_stopped_and_reads_nothing_twice(self, vendor):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(12)})
        crm.plugin.trouble["6"] = TemporaryError("down")
        with pytest.raises(TemporaryError):
            await pull(hub)
        await settled(hub)
        assert await states(hub, "p005") == ["granted"]
        assert await person_of(hub, "p006") is None
        found = await pull(hub)
        assert crm.plugin.asked == [None, "3", "6", "6", "9"]
        assert (found.pages, found.read) == (2, 6)
        assert await states(hub, *people(12)) == ["granted"] * 12

    async def test_a_page_that_the_vendor_refuses_is_tried_once_more_and_then_the_pull_begins_anew(self, vendor):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(9)})
        for problem in (PermanentError("unknown page"), KeyError("page")):
            crm.plugin.trouble["6"] = problem
            with pytest.raises((PermanentError, PluginError)):
                await pull(hub)
            crm.plugin.trouble["6"] = problem
            found = await pull(hub)
            assert crm.plugin.asked == [None, "3", "6", "6", None, "3", "6"]
            assert (found.pages, found.read) == (3, 9)
            crm.plugin.asked.clear()
        assert await states(hub, *people(9)) == ["granted"] * 9

    async def test_it_goes_on_there_even_after_a_restart(self, place, clock, vendor):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(9)})
        crm.plugin.trouble["6"] = TemporaryError("down")
        with pytest.raises(TemporaryError):
            await pull(hub)
        await hub.stop()
        again = await place.start(clock=clock, connectors=CONFIG)
        await pull(again)
        assert crm.plugin.asked == [None, "3", "6", "6"]
        assert await states(again, *people(9)) == ["granted"] * 9

    async def test_the_cursor_is_on_disk_with_the_events_that_it_covers(self, vendor):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(6)})
        seen = []

        async def look(cursor):
            await settled(hub)
            kept = await hub.store.read(lambda reader: reader.cursor("crm", "pull"))
            known = [name for name in people(6) if await person_of(hub, name)]
            seen.append((cursor, kept and json.loads(kept)["cursor"], len(known)))

        crm.plugin.before = staticmethod(look)
        await pull(hub)
        assert seen == [(None, None, 0), ("3", "3", 3)]
        assert await hub.store.read(lambda reader: reader.cursor("crm", "pull")) is None

    async def test_imports_and_pulls_wait_until_there_is_room_in_the_journal(self, vendor):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(6)})
        hub.intake.added(10_001)
        pulling = asyncio.create_task(hub.pull("crm"))
        for _ in range(5):
            await hub.store.run(lambda unit: None)
        assert crm.plugin.asked == []
        hub.intake.folded(10_001)
        await pulling
        assert crm.plugin.asked == [None, "3"]

    async def test_two_pulls_at_once_take_turns(self, vendor):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(6)})
        await asyncio.gather(hub.pull("crm"), hub.pull("crm"))
        await settled(hub)
        assert crm.plugin.asked == [None, "3", None, "3"]
        assert await states(hub, *people(6)) == ["granted"] * 6

    @pytest.mark.parametrize(("now", "held"), [("Breda", "Breda"), ("Elsewhere", "Elsewhere")])
    async def test_a_row_read_before_the_last_acknowledgement_is_read_again(self, vendor, clock, now, held):
        hub, crm = vendor
        await profile(hub, "ada", city="Delft")
        await settled(hub)
        crm.plugin.vendor["ada"] = subscriber("Old town")

        async def overtake(_cursor):
            clock.set(clock.time() + 10)
            await profile(hub, "ada", city="Breda")
            await settled(hub)
            crm.plugin.now["ada"] = subscriber(now)

        crm.plugin.before = staticmethod(overtake)
        await pull(hub)
        person = await person_of(hub, "ada")
        assert person.fields["city"].value == held
        notes = await hub.store.run(lambda unit: unit.timeline(person.id))
        assert "stale" in [note.reason for note in notes]

    async def test_a_value_that_a_pull_saw_whole_is_cleared_when_it_is_emptied_later(self, vendor, clock):
        hub, crm = vendor
        crm.answers["profile"] = lambda _event: Outcome(remote_id="r-ada")
        await profile(hub, "ada", city="Delft")
        await settled(hub)
        crm.plugin.vendor["ada"] = subscriber("Delft", held="absent")
        clock.set(clock.time() + 86_400)
        assert (await pull(hub)).changed == 0
        crm.plugin.vendor["ada"] = subscriber("", held="absent")
        clock.set(clock.time() + 86_400)
        await pull(hub)
        assert (await person_of(hub, "ada")).fields["city"].value == ""

    async def test_a_value_that_nobody_saw_whole_is_not_cleared_when_it_comes_back_empty(self, vendor, clock):
        hub, crm = vendor
        await profile(hub, "ada", city="Delft")
        await settled(hub)
        crm.plugin.vendor["ada"] = subscriber("", held="absent")
        clock.set(clock.time() + 86_400)
        await pull(hub)
        assert (await person_of(hub, "ada")).fields["city"].value == "Delft"
        assert (await remote_of(hub, "ada")).rejected == {"City": "Delft"}

    @pytest.mark.parametrize(
        ("answer", "words"),
        [("None", "must return a Page"), ("Page(reports=[], cursor='7')", "never end"), ("1 / 0", "ZeroDivisionError")],
    )
    async def test_a_page_that_is_none_ends_the_pull_with_the_plugins_fault(self, place, answer, words):
        place.plugin(f"{SINGLE}\n    async def pull(self, cursor, ctx):\n        return {answer}\n")
        hub = await place.start(connectors=CONFIG)
        with pytest.raises(PluginError, match=words):
            await hub.pull("crm")

    async def test_a_plugin_that_cannot_be_pulled_says_so(self, place):
        hub = await place.start(connectors=CONFIG)
        with pytest.raises(PluginError, match="has no pull"):
            await hub.pull("crm")


class TestAbsence:
    async def test_who_left_is_opted_out_everywhere(self, vendor, clock):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(8)})
        await pull(hub)
        clock.set(clock.time() + 86_400)
        del crm.plugin.vendor["p003"]
        assert (await pull(hub)).changed == 1
        assert await states(hub, "p002", "p003", "p004") == ["granted", "denied", "granted"]

    async def test_those_whom_the_pull_itself_brought_in_are_not_missed(self, vendor):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(9)})

        async def let_the_fold_catch_up(_cursor):
            await settled(hub)

        crm.plugin.before = staticmethod(let_the_fold_catch_up)
        await pull(hub)
        assert await states(hub, *people(9)) == ["granted"] * 9

    async def test_nor_are_those_who_changed_their_address_meanwhile(self, vendor, clock):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(4)})
        await pull(hub)
        clock.set(clock.time() + 86_400)
        crm.plugin.vendor["renamed"] = {**crm.plugin.vendor.pop("p001"), "previous_email": email("p001")}
        await pull(hub)
        assert await states(hub, "p000", "renamed", "p002") == ["granted"] * 3

    async def test_a_pull_that_broke_off_says_nothing_about_who_is_missing(self, vendor, clock):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(6)})
        await pull(hub)
        clock.set(clock.time() + 86_400)
        crm.plugin.trouble["3"] = TemporaryError("down")
        with pytest.raises(TemporaryError):
            await pull(hub)
        await settled(hub)
        assert await states(hub, *people(6)) == ["granted"] * 6

    async def test_nor_does_one_that_does_not_cover_the_purpose(self, vendor, clock):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(6)})
        await pull(hub)
        clock.set(clock.time() + 86_400)
        crm.plugin.covers = []
        crm.plugin.vendor.clear()
        await pull(hub)
        assert await states(hub, *people(6)) == ["granted"] * 6

    async def test_who_was_granted_only_after_the_pull_began_is_not_missed(self, vendor, clock):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(4)})

        async def grant(_cursor):
            clock.set(clock.time() + 10)
            await consent(hub, "new")
            await settled(hub)

        crm.plugin.before = staticmethod(grant)
        await pull(hub)
        assert await states(hub, "new") == ["granted"]

    async def test_the_vendor_not_holding_somebody_whom_it_never_held_says_nothing(self, vendor, clock):
        hub, crm = vendor
        crm.plugin.vendor["ada"] = subscriber(held="absent")
        await pull(hub)
        person = await person_of(hub, "ada")
        assert "newsletter" not in person.consents

    async def test_ten_may_leave_at_once_however_few_there_are(self, vendor, clock):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(12)})
        await pull(hub)
        clock.set(clock.time() + 86_400)
        for name in people(10):
            del crm.plugin.vendor[name]
        await pull(hub)
        assert await states(hub, *people(12)) == ["denied"] * 10 + ["granted"] * 2

    async def test_when_suspiciously_many_are_missing_nobody_is_opted_out_and_somebody_is_told(self, vendor, clock):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(12)})
        await pull(hub)
        clock.set(clock.time() + 86_400)
        for name in people(11):
            del crm.plugin.vendor[name]
        with told() as alerts:
            assert (await pull(hub)).changed == 0
        assert alerts == ["guard:crm:newsletter"]
        assert await states(hub, *people(12)) == ["granted"] * 12

    async def test_those_whom_the_guard_holds_are_not_mailed_until_they_are_listed_again(self, place, clock):
        hub, crm = await self.emptied(place, clock)
        person = await person_of(hub, "p003")
        assert person.doubted == {"newsletter": {"crm": clock.time()}}
        await trigger(hub, "p003", "t-1", trigger="cart")
        await settled(hub)
        assert (await reasons(hub, "p003"))[-1] == "no-consent"
        crm.plugin.vendor.update({name: subscriber() for name in people(11)})
        clock.set(clock.time() + 86_400)
        await pull(hub)
        assert (await person_of(hub, "p003")).doubted == {}
        await trigger(hub, "p003", "t-2", trigger="cart")
        await settled(hub)
        assert [call for call in crm.to("p003") if call[0] == "trigger"] == [("trigger", "t-2")]
        assert await hub.replay(DeliveryFilter(reason="guard"), force=False) == 0

    async def test_those_whom_the_guard_holds_are_opted_out_once_a_human_says_so(self, place, clock):
        hub, _ = await self.emptied(place, clock)
        assert await hub.replay(DeliveryFilter(reason="guard"), force=False) == 11
        await settled(hub)
        assert await states(hub, *people(12)) == ["denied"] * 11 + ["granted"]
        assert (await person_of(hub, "p003")).doubted == {}

    async def test_whoever_says_yes_again_is_in_no_doubt(self, place, clock):
        hub, _ = await self.emptied(place, clock)
        await consent(hub, "p003", evidence={"form": "footer"})
        await settled(hub)
        assert (await person_of(hub, "p003")).doubted == {}
        assert await hub.replay(DeliveryFilter(reason="guard"), force=False) == 10

    async def emptied(self, place, clock):
        """A vendor that listed twelve people yesterday, and today only the last."""
        place.plugin(PULLS)
        hub = await place.start(
            clock=clock,
            connectors={"crm": {**CONFIG["crm"], "triggers": {"cart": {"requires": "newsletter"}}}},
        )
        crm = place.script()
        crm.plugin.vendor.update({name: subscriber() for name in people(12)})
        await pull(hub)
        clock.set(clock.time() + 86_400)
        for name in people(11):
            del crm.plugin.vendor[name]
        await pull(hub)
        return hub, crm

    async def test_the_guard_is_a_share_of_those_who_are_there(self, place, clock):
        place.plugin(PULLS)
        connectors = {"crm": {**CONFIG["crm"], "timeout": "30s"}}
        hub = await place.start(clock=clock, connectors=connectors, guard={"max_downgrades": "20%"})
        crm = place.script()
        crm.plugin.size = 100
        crm.plugin.vendor.update({name: subscriber() for name in people(100)})
        await pull(hub)
        clock.set(clock.time() + 86_400)
        for name in people(20):
            del crm.plugin.vendor[name]
        await pull(hub)
        assert (await states(hub, *people(100))).count("denied") == 20


class TestReadingPendingPeopleAgain:
    async def hub(self, place, clock):
        place.plugin(PULLS + DOUBLE)
        hub = await place.start(
            clock=clock, connectors={"crm": {**CONFIG["crm"], "schedule": {"pending_check": "30d"}}}
        )
        for name in ("ada", "bob", "eve"):
            await consent(hub, name)
        await settled(hub)
        assert await states(hub, "ada", "bob", "eve") == ["pending"] * 3
        clock.set(clock.time() + 3600)
        return hub, place.script()

    async def test_who_confirmed_meanwhile_is_granted(self, place, clock):
        hub, crm = await self.hub(place, clock)
        crm.plugin.vendor["bob"] = subscriber()
        assert await hub.connections["crm"].puller.reread_pending() == 1
        await settled(hub)
        assert await states(hub, "ada", "bob", "eve") == ["pending", "granted", "pending"]

    async def test_one_about_whom_the_vendor_will_not_speak_does_not_hold_up_the_others(self, place, clock):
        hub, crm = await self.hub(place, clock)
        crm.plugin.trouble["ada"] = PermanentError("malformed")
        crm.plugin.vendor["bob"] = subscriber()
        await hub.connections["crm"].puller.reread_pending()
        await settled(hub)
        assert await states(hub, "ada", "bob") == ["pending", "granted"]

    async def test_a_vendor_that_is_down_ends_it_until_the_next_time(self, place, clock):
        hub, crm = await self.hub(place, clock)
        crm.plugin.trouble["ada"] = TemporaryError("down")
        crm.plugin.vendor["bob"] = subscriber()
        with pytest.raises(TemporaryError):
            await hub.connections["crm"].puller.reread_pending()
        await hub.connections["crm"].puller.reread_pending()
        await settled(hub)
        assert await states(hub, "bob") == ["granted"]


class TestOnSchedule:
    async def test_a_pull_that_was_missed_is_caught_up_at_the_next_start(self, place, clock):
        place.plugin(PULLS)
        connectors = {"crm": {**CONFIG["crm"], "schedule": {"pull": "0 3 * * *"}}}
        hub, crm = await place.start(clock=clock, connectors=connectors), place.script()
        assert hub.connectors()[0].next_pull > clock.time()
        await hub.stop()
        assert crm.plugin.asked == []
        clock.set(clock.time() + 3 * 86_400)
        pulled = asyncio.Event()

        async def note(_cursor):
            pulled.set()

        crm.plugin.before = staticmethod(note)
        again = await place.start(clock=clock, connectors=connectors)
        async with asyncio.timeout(5):
            await pulled.wait()
        await settled(again)
        assert crm.plugin.asked == [None]


async def test_an_opt_out_does_not_wait_behind_a_pull(vendor):
    hub, crm = vendor
    crm.plugin.size = 1000
    crm.plugin.vendor.update({name: subscriber() for name in people(300)})
    raws = [json.dumps({"email": email("ada"), "purpose": "newsletter", "state": "denied"}).encode()]
    pulling = asyncio.create_task(hub.pull("crm"))
    await hub.intake.accept(hub.intake.admit("shop", "consent", raws, may=KINDS).entries)
    await crm.called(1)
    assert crm.calls[0] == ("ada", "consent", "newsletter denied")
    await pulling
    await send(hub, "profile", {"email": "ada", "fields": {"city": "Delft"}})
    await settled(hub)
    assert await reasons(hub, "ada") == []


class TestPresent:
    """A pull that reads only what changed, and lists the ids of all."""

    async def known(self, vendor, clock, many):
        hub, crm = vendor
        crm.plugin.vendor.update({name: subscriber() for name in people(many)})
        await pull(hub)
        clock.set(clock.time() + 86_400)
        crm.plugin.present = [f"r-{name}" for name in people(many)]
        return hub, crm.plugin

    async def test_whose_id_is_listed_holds_what_they_held(self, vendor, clock):
        hub, _ = await self.known(vendor, clock, 4)
        assert (await pull(hub)).changed == 0
        assert await states(hub, *people(4)) == ["granted"] * 4

    async def test_whose_id_is_not_listed_has_left(self, vendor, clock):
        hub, crm = await self.known(vendor, clock, 250)
        crm.present.remove("r-p201")
        assert (await pull(hub)).changed == 1
        assert await states(hub, "p200", "p201", "p202") == ["granted", "denied", "granted"]

    async def test_a_list_that_is_not_whole_says_nothing_of_those_who_are_not_on_it(self, vendor, clock):
        hub, crm = await self.known(vendor, clock, 4)
        crm.present, crm.whole = [], False
        assert (await pull(hub)).changed == 0
        assert await states(hub, *people(4)) == ["granted"] * 4

    async def test_nor_does_any_list_of_somebody_whose_id_is_not_known(self, vendor, clock):
        hub, _ = await self.known(vendor, clock, 4)
        await consent(hub, "new")
        await settled(hub)
        assert (await remote_of(hub, "new")).remote_id is None
        clock.set(clock.time() + 86_400)
        assert (await pull(hub)).changed == 0
        assert await states(hub, "new") == ["granted"]

    async def test_when_suspiciously_many_are_gone_nobody_is_opted_out(self, vendor, clock):
        hub, crm = await self.known(vendor, clock, 12)
        crm.present = crm.present[:1]
        with told() as alerts:
            assert (await pull(hub)).held == 11
        assert alerts == ["guard:crm:newsletter"]
        assert await states(hub, *people(12)) == ["granted"] * 12

    async def test_the_marks_of_one_pull_are_none_of_the_next(self, vendor, clock):
        hub, crm = await self.known(vendor, clock, 4)
        await pull(hub)
        clock.set(clock.time() + 86_400)
        crm.present.remove("r-p002")
        await pull(hub)
        assert await states(hub, *people(4)) == ["granted", "granted", "denied", "granted"]
