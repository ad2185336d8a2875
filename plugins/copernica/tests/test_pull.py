"""The pull: everything by id, or what changed by time, and one profile again."""

import pytest

from esplanade import PermanentError, PersonRef
from esplanade_copernica import pull as pulling

from .conftest import AUDIENCES, BELOW


def emails(reports):
    return [report.email for report in reports]


class TestFull:
    async def test_everybody_is_reported_once_and_the_purposes_are_covered(self, open_hub, twin):
        for number in range(7):
            twin.sign_up(f"p{number}@example.net", {"City": "Delft", "Newsletter": "yes" if number % 2 else "no"})
        async with open_hub(page_size=3) as hub:
            reports, covers = await hub.pull()
        assert emails(reports) == [f"p{number}@example.net" for number in range(7)]
        assert covers == ["newsletter"]
        assert reports[1].consents == {"newsletter": "granted"}
        assert reports[0].consents == {"newsletter": "denied"}
        assert reports[0].fields["City"] == "Delft"
        assert reports[0].fields["Firstname"] is None
        assert reports[0].remote_id == str(twin.find("p0@example.net").id)
        assert reports[0].at is not None

    async def test_whoever_comes_or_goes_meanwhile_makes_nobody_lost(self, open_hub, twin):
        profiles = [twin.sign_up(f"p{number}@example.net", {}) for number in range(6)]
        async with open_hub(page_size=2) as hub:
            first = await hub.connector.pull(None, hub.ctx)
            twin.remove_profile(profiles[0])
            twin.sign_up("late@example.net", {})
            found, cursor = emails(first.reports), first.cursor
            while cursor is not None:
                page = await hub.connector.pull(cursor, hub.ctx)
                found, cursor = found + emails(page.reports), page.cursor
        assert found == [*(f"p{number}@example.net" for number in range(6)), "late@example.net"]

    async def test_a_profile_without_an_address_is_nobody(self, hub, twin):
        twin.sign_up("", {"City": "Delft"})
        reports, _ = await hub.pull()
        assert reports == []

    async def test_a_cursor_that_is_none_says_what_to_do(self, hub):
        with pytest.raises(PermanentError, match="pull everything anew"):
            await hub.connector.pull("page 7", hub.ctx)


class TestFieldsInACollection:
    async def test_profiles_come_first_and_then_what_their_subprofiles_hold(self, open_hub, twin):
        async with open_hub({"fields": BELOW}, page_size=2) as hub:
            for number in range(3):
                desired = {"SQ_profile.City": f"City {number}", "Firstname": f"F{number}"}
                await hub.profile(email=f"p{number}@example.net", desired=desired)
            reports, covers = await hub.pull()
            assert emails(reports) == ["p0@example.net", "p1@example.net", "p2@example.net", None, None, None]
            assert [report.fields for report in reports] == [
                *({"Firstname": f"F{number}"} for number in range(3)),
                *({"SQ_profile.City": f"City {number}"} for number in range(3)),
            ]
            assert [report.remote_id for report in reports[:3]] == [report.remote_id for report in reports[3:]]
            assert covers == ["newsletter"]
            found = await hub.connector.fetch(PersonRef(person="p-1", email="p1@example.net"), hub.ctx)
            assert found.fields == {"SQ_profile.City": "City 1", "Firstname": "F1"}

    async def test_without_the_collection_there_are_the_profile_s_own(self, open_hub, twin):
        twin.sign_up("noor@example.net", {"City": "Delft", "Firstname": "Noor"})
        async with open_hub({"fields": BELOW}) as hub:
            ((report,), covers) = await hub.pull()
        assert (report.fields, covers) == ({"Firstname": "Noor"}, ["newsletter"])

    async def test_without_such_a_field_no_subprofile_is_read(self, hub, twin, calls):
        twin.sign_up("noor@example.net", {})
        await hub.pull()
        assert not any("collection" in call for call in calls())


class TestIncremental:
    async def test_the_first_reads_everything_and_the_next_what_changed_since(self, open_hub, twin, clock):
        old = twin.sign_up("old@example.net", {})
        twin.sign_up("other@example.net", {})
        await clock.advance(3_600)
        async with open_hub(pull_mode="incremental") as hub:
            assert len((await hub.pull())[0]) == 2
            await clock.advance(86_400)
            twin.edit_profile(old, {"City": "Breda"})
            reports, covers = await hub.pull()
            assert (emails(reports), covers) == (["old@example.net"], [])
            await clock.advance(7 * 86_400)
            reports, covers = await hub.pull()
            assert (len(reports), covers) == (2, ["newsletter"])

    async def test_more_changes_than_a_page_are_all_read(self, open_hub, twin, clock):
        async with open_hub(pull_mode="incremental", page_size=2) as hub:
            await hub.pull()
            await clock.advance(86_400)
            for number in range(7):
                twin.sign_up(f"p{number}@example.net", {})
                await clock.advance(1)
            reports, _ = await hub.pull()
        assert set(emails(reports)) == {f"p{number}@example.net" for number in range(7)}

    async def test_a_page_that_changed_in_one_second_makes_it_a_full_one(self, open_hub, twin, clock):
        async with open_hub(pull_mode="incremental", page_size=2) as hub:
            await hub.pull()
            await clock.advance(86_400)
            for number in range(5):
                twin.sign_up(f"p{number}@example.net", {})
            reports, covers = await hub.pull()
        assert {f"p{number}@example.net" for number in range(5)} == set(emails(reports))
        assert covers == ["newsletter"]

    async def test_a_field_called_modified_makes_every_pull_a_full_one(self, open_hub, twin, clock):
        twin.account.add_field(twin.account.database(31), "Modified")
        twin.sign_up("old@example.net", {})
        async with open_hub(pull_mode="incremental") as hub:
            await hub.pull()
            await clock.advance(86_400)
            reports, covers = await hub.pull()
        assert (len(reports), covers) == (1, ["newsletter"])


class TestDeletions:
    """After a pull that read only what changed, the ids of all profiles say who is gone."""

    @pytest.fixture
    def small(self, monkeypatch):
        """Lists of two ids, so that a few people take several pages."""
        monkeypatch.setattr(pulling, "LIST_LIMIT", 2)

    async def pages(self, hub, between=lambda: None):
        """A pull that is not the first, page by page."""
        pages, cursor = [], None
        while True:
            pages.append(await hub.connector.pull(cursor, hub.ctx))
            cursor = pages[-1].cursor
            if cursor is None:
                return pages
            if pages[-1].present:
                between()

    async def pulled_before(self, hub, twin, clock, many):
        numbers = [twin.sign_up(f"p{number}@example.net") for number in range(many)]
        await hub.pull()
        await clock.advance(86_400)
        return [str(number) for number in numbers]

    @pytest.mark.parametrize("many", [0, 1, 2, 3, 5])
    async def test_every_id_is_listed_at_the_end(self, open_hub, twin, clock, small, many):
        async with open_hub(pull_mode="incremental") as hub:
            numbers = await self.pulled_before(hub, twin, clock, many)
            pages = await self.pages(hub)
        assert sorted({each for page in pages for each in page.present}) == sorted(numbers)
        assert [page.whole for page in pages] == [False] * (len(pages) - 1) + [many > 0], "an empty list may be a fault"

    async def test_a_full_pull_needs_no_list(self, hub, twin):
        twin.sign_up("noor@example.net")
        pages = await self.pages(hub)
        assert [(page.present, page.whole) for page in pages] == [([], False)] * len(pages)

    async def test_a_deletion_meanwhile_begins_the_list_anew_so_that_nobody_is_missed(
        self, open_hub, twin, clock, small
    ):
        async with open_hub(pull_mode="incremental") as hub:
            numbers = await self.pulled_before(hub, twin, clock, 6)
            left = [numbers[0]]
            pages = await self.pages(hub, lambda: left and twin.remove_profile(int(left.pop())))
        present = {each for page in pages for each in page.present}
        assert present >= set(numbers[1:])
        assert pages[-1].whole

    async def test_where_it_never_stands_still_nobody_counts_as_gone(self, open_hub, twin, clock, small):
        async with open_hub(pull_mode="incremental") as hub:
            numbers = await self.pulled_before(hub, twin, clock, 40)
            left = list(map(int, numbers))
            pages = await self.pages(hub, lambda: twin.remove_profile(left.pop(0)))
        assert not any(page.whole for page in pages)

    async def test_profiles_and_subprofiles_come_before(self, open_hub, twin, clock):
        async with open_hub({"fields": {"city": "SQ_profile.City"}}, pull_mode="incremental") as hub:
            await hub.profile(desired={"SQ_profile.City": "Breda"}, changed={"SQ_profile.City": "Breda"})
            await hub.pull()
            await clock.advance(86_400)
            twin.edit_profile(twin.find("noor@example.net").id, {"Firstname": "Noor"})
            pages = await self.pages(hub)
        assert [bool(page.reports) for page in pages] == [True, True, False, False]
        assert pages[-1].whole


class TestOne:
    async def fetched(self, hub, **parts):
        return await hub.connector.fetch(PersonRef(person="p-1", email="noor@example.net", **parts), hub.ctx)

    async def test_by_id_or_by_address_with_audiences(self, hub, twin):
        await hub.profile(desired={"City": "Delft"}, add={"vip": AUDIENCES["vip"]})
        profile = str(twin.find("noor@example.net").id)
        for remote_id in (profile, None, "999"):
            found = await self.fetched(hub, remote_id=remote_id)
            assert (found.remote_id, found.fields["City"]) == (profile, "Delft")
            assert found.audiences == {"vip": True, "churn-risk": False}

    async def test_somebody_who_is_not_there_or_was_removed_is_nobody(self, hub, twin):
        assert await self.fetched(hub) is None
        profile = twin.sign_up("noor@example.net", {})
        twin.remove_profile(profile)
        assert await self.fetched(hub, remote_id=str(profile)) is None
