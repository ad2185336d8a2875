"""The pull: nobody is lost and nobody is told twice, whatever comes and goes meanwhile."""

import json

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from esplanade import PermanentError, TemporaryError
from esplanade.testing import Fault

from .conftest import ADA, AUDIENCES, FIELDS

SINCE = {"since_query_template": "filter[updated][gte]={since}"}


def emails(pages):
    return [each.email for page in pages for each in page.reports]


@pytest.fixture
def people(sign_up):
    """Sign so many people up."""

    def made(count, first=0):
        return [sign_up(f"p{at}@example.com", lists={7: "confirmed"}) for at in range(first, first + count)]

    return made


class TestEverybody:
    async def test_is_told_with_all_that_is_mapped(self, plugin, sign_up, twin):
        known = sign_up(town="Brno", lists={7: "unsubscribed", 9: "confirmed", 12: "confirmed"}, hardbounced=1)
        twin.account.find(ADA).custom.update({1: "gold", 5: [1, 3]})
        reports, covers = await plugin.pull()
        assert covers == ["newsletter", "service"]
        (told,) = reports.values()
        assert (told.remote_id, told.email) == (known, ADA)
        assert told.consents == {"newsletter": "denied", "service": "granted"}
        assert told.audiences == {"vip": True}
        assert told.fields == dict.fromkeys(FIELDS.values()) | {
            "town": "Brno",
            "loyalty_tier": "gold",
            "interests": ["red", "green"],
            "hardbounced": True,
        }

    async def test_who_is_blacklisted_has_denied_everything(self, plugin, sign_up):
        sign_up(blacklisted=1)
        (told,) = (await plugin.pull())[0].values()
        assert told.consents == {"newsletter": "denied", "service": "denied"}

    async def test_an_audience_that_was_made_by_name_is_told_too(self, plugin, twin):
        await plugin.profile(add={"churn-risk": AUDIENCES["churn-risk"]})
        assert (await plugin.pull())[0][ADA].audiences == {"vip": False, "churn-risk": True}

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7])
    async def test_whatever_their_number(self, open_plugin, people, count):
        people(count)
        async with open_plugin(page_size=3) as plugin:
            pages = await plugin.pages()
        assert emails(pages) == [f"p{at}@example.com" for at in range(count)]
        assert [bool(page.covers) for page in pages] == [False] * (len(pages) - 1) + [True]

    async def test_an_option_that_was_added_there_is_told(self, plugin, sign_up, twin, clock):
        sign_up()
        await plugin.pull()
        added = twin.account.add_option(twin.account.fields[5], "purple", 3)
        twin.account.find(ADA).custom[5] = [1, added.id]
        assert "interests" not in (await plugin.pull())[0][ADA].fields, "rather than half of it"
        await clock.advance(61)
        assert (await plugin.pull())[0][ADA].fields["interests"] == ["red", "purple"]


class TestWhileItRuns:
    @hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.integers(2, 5), st.lists(st.lists(st.integers(-1, 20), max_size=6), max_size=8))
    async def test_nobody_who_stays_is_lost_and_nobody_is_told_twice(self, open_plugin, twin, sign_up, size, changes):
        """A number deletes the person of that place, -1 signs somebody up."""
        for contact in list(twin.account.contacts.values()):
            twin.account.forget(contact)
        begun = [sign_up(f"p{at}@example.com") for at in range(17)]
        gone, rounds = set(), iter(changes)

        def change():
            for at in next(rounds, []):
                if at < 0:
                    sign_up(f"late{len(gone)}-{twin.account.now()}-{len(twin.account.contacts)}@example.com")
                elif at < len(begun) and begun[at] not in gone:
                    gone.add(begun[at])
                    twin.account.forget(twin.account.contacts[int(begun[at])])

        async with open_plugin(page_size=size) as plugin:
            pages = await plugin.pages(change)
        told = [each.remote_id for page in pages for each in page.reports]
        assert len(told) == len(set(told))
        assert set(begun) - gone <= set(told)

    async def test_all_may_go(self, open_plugin, people, twin):
        people(9)
        async with open_plugin(page_size=3) as plugin:

            def leave():
                for contact in list(twin.account.contacts.values()):
                    twin.account.forget(contact)

            pages = await plugin.pages(leave)
        assert emails(pages) == ["p0@example.com", "p1@example.com", "p2@example.com"]


class TestCursors:
    async def test_it_goes_on_from_each_of_them(self, open_plugin, people):
        people(8)
        async with open_plugin(page_size=3) as plugin:
            pages = await plugin.pages()
            for at in range(len(pages) - 1):
                cursor, told = pages[at].cursor, emails(pages[: at + 1])
                while cursor is not None:
                    page = await plugin.connector.pull(cursor, plugin.ctx)
                    told, cursor = told + emails([page]), page.cursor
                assert told == emails(pages)

    @pytest.mark.parametrize(
        "cursor",
        ["page 7", "", "[]", "null", '{"offset":-1}', '{"offset":"7"}', '{"page":3}', '{"last":1e400}', "\x00", "{"],
    )
    async def test_one_that_is_none_says_what_to_do(self, plugin, cursor):
        with pytest.raises(PermanentError, match="start the pull anew"):
            await plugin.connector.pull(cursor, plugin.ctx)

    async def test_one_far_beyond_the_end_comes_back_to_it(self, open_plugin, people):
        people(5)
        async with open_plugin(page_size=3) as plugin:
            cursor = json.dumps({"offset": 10**15, "last": 10**9, "read": 10**15})
            for _ in range(80):
                page = await plugin.connector.pull(cursor, plugin.ctx)
                assert page.reports == []
                cursor = page.cursor
                if cursor is None:
                    break
        assert cursor is None


class TestWhatItCovers:
    async def test_nothing_where_fewer_came_than_there_are(self, open_plugin, people, twin):
        people(3)
        body = json.dumps({"status": "ok", "meta": {"total_count": 3}, "data": []})
        twin.faults.append(Fault(match="GET .*contacts", status=200, body=body))
        async with open_plugin() as plugin:
            assert await plugin.pull() == ({}, [])

    async def test_all_where_the_vendor_does_not_say_how_many_there_are(self, plugin, twin):
        twin.faults.append(Fault(match="GET .*contacts", status=200, body='{"status":"ok","meta":[],"data":[]}'))
        assert (await plugin.pull())[1] == ["newsletter", "service"]

    async def test_nothing_where_an_operator_has_left_people_out(self, open_plugin, people):
        people(2)
        async with open_plugin(extra_query={"contacts": "blacklisted=1"}) as plugin:
            assert await plugin.pull() == ({}, [])

    @pytest.mark.parametrize(
        "row",
        [
            {"emailaddress": ADA, "contactlists": [], "customfields": []},
            {"id": 5, "emailaddress": "nobody", "contactlists": [], "customfields": []},
            {"id": 5, "emailaddress": ADA, "customfields": []},
            {"id": 5, "emailaddress": ADA, "contactlists": [7], "customfields": []},
            {"id": 5, "emailaddress": ADA, "contactlists": [], "customfields_url": "https://..."},
        ],
    )
    async def test_a_row_that_is_half_a_contact_is_not_believed(self, plugin, twin, row):
        """Left out, its person would count as gone."""
        body = json.dumps({"status": "ok", "meta": [], "data": [row]})
        twin.faults.append(Fault(match="GET .*contacts", status=200, body=body))
        with pytest.raises(TemporaryError, match="answered a contact without"):
            await plugin.pull()

    async def test_a_contact_that_has_null_of_a_kind_has_none(self, plugin, twin):
        row = {"id": 5, "emailaddress": ADA, "contactlists": None, "customfields": None}
        body = json.dumps({"status": "ok", "meta": [], "data": [row]})
        twin.faults.append(Fault(match="GET .*contacts", status=200, body=body))
        reports, covers = await plugin.pull()
        assert (list(reports), covers) == ([ADA], ["newsletter", "service"])


class TestOnlyWhatChanged:
    @pytest.fixture
    async def since(self, open_plugin, twin):
        twin.habits.since_parameter = "filter[updated][gte]"
        async with open_plugin(**SINCE) as opened:
            yield opened

    async def test_is_read_once_everybody_was(self, since, people, twin, clock):
        people(3)
        await clock.advance(86_400)
        assert len((await since.pull())[0]) == 3
        await clock.advance(86_400)
        twin.unsubscribe("p1@example.com", 7)
        reports, covers = await since.pull()
        assert (list(reports), covers) == (["p1@example.com"], [])
        assert reports["p1@example.com"].consents == {"newsletter": "denied", "service": "absent"}

    async def test_whoever_was_taken_off_a_list_is_told_to_be_absent(self, since, people, twin, clock):
        people(2)
        await since.pull()
        await clock.advance(86_400)
        contact = twin.account.find("p1@example.com")
        with twin.account.changing(contact):
            twin.account.subscribe(contact, 7, "removed")
        assert (await since.pull())[0]["p1@example.com"].consents["newsletter"] == "absent"

    async def test_goes_back_a_little_further_for_clocks_differ(self, since, people, clock):
        people(1)
        await clock.advance(3_600)
        await since.pull()
        await clock.advance(600)
        assert len((await since.pull())[0]) == 1

    async def test_once_a_week_everybody_is_read_so_that_the_deleted_are_missed(self, since, people, twin, clock):
        people(3)
        await since.pull()
        for _ in range(6):
            await clock.advance(86_400)
            assert (await since.pull())[1] == []
        await clock.advance(86_400)
        reports, covers = await since.pull()
        assert (len(reports), covers) == (3, ["newsletter", "service"])

    async def test_a_pull_that_did_not_end_does_not_count(self, open_plugin, people, twin, clock):
        twin.habits.since_parameter = "filter[updated][gte]"
        people(5)
        async with open_plugin(page_size=3, **SINCE) as plugin:
            await plugin.connector.pull(None, plugin.ctx)
            await clock.advance(86_400)
            assert len((await plugin.pull())[0]) == 5


class TestOne:
    @pytest.mark.parametrize("mode", ["filter", "email", "id"])
    @pytest.mark.parametrize("key", ["email", "id", "both"])
    async def test_is_found_by_id_or_address_however_the_account_reads_them(
        self, open_plugin, sign_up, twin, mode, key
    ):
        twin.habits.contact_key = key
        known = sign_up("Ada+x@Example.com", lists={7: "confirmed"})
        sign_up("eve@example.com")
        async with open_plugin(contact_read_mode=mode) as plugin:
            for email, remote_id in (
                ("ada+x@example.com", None),
                ("gone@example.com", known),
                ("ada+x@example.com", "9"),
            ):
                found = await plugin.fetch(email, remote_id)
                assert found.remote_id == known
                assert found.consents == {"newsletter": "granted", "service": "absent"}
            assert await plugin.fetch("gone@example.com", "9") is None
            assert await plugin.fetch("gone@example.com") is None

    async def test_by_id_their_address_is_told_as_it_is_now(self, plugin, sign_up):
        known = sign_up("new@example.com")
        assert (await plugin.fetch("old@example.com", known)).email == "new@example.com"

    async def test_a_vendor_that_is_down_is_no_vendor_without_the_person(self, plugin, twin):
        twin.faults.append(Fault(match="GET .*contacts", status=503))
        with pytest.raises(TemporaryError):
            await plugin.fetch()


class TestAnAccountThatAnswersOtherwise:
    """What the vendor does not publish must not have anybody missed in silence."""

    def page(self, contacts, total):
        empty = {"contactlists": [], "customfields": []}
        rows = [{"id": number, "emailaddress": f"p{number}@example.com", **empty} for number in contacts]
        return json.dumps({"status": "ok", "meta": {"total_count": total}, "data": rows})

    async def test_contacts_out_of_order_are_not_believed_to_be_all(self, plugin, twin):
        twin.faults.append(Fault(match="GET .*contacts", status=200, body=self.page([3, 1, 2], 3)))
        with pytest.raises(TemporaryError, match="not in order of id"):
            await plugin.pull()

    async def test_a_page_that_is_shorter_than_asked_for_is_not_the_last_while_there_are_more(self, plugin, twin):
        for part in ([1, 2, 3], [3, 4, 5], [5, 6]):
            twin.faults.append(Fault(match="GET .*contacts", status=200, body=self.page(part, "6")))
        reports, covers = await plugin.pull()
        assert sorted(reports) == [f"p{number}@example.com" for number in range(1, 7)]
        assert covers == ["newsletter", "service"]

    async def test_where_more_are_counted_than_shown_nobody_counts_as_gone(self, plugin, twin):
        for part in ([1, 2], [2]):
            twin.faults.append(Fault(match="GET .*contacts", status=200, body=self.page(part, 9)))
        reports, covers = await plugin.pull()
        assert (len(reports), covers) == (2, [])
