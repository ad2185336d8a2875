"""Reading a whole campaign, and one contact of it."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest

from esplanade import PermanentError, PersonRef, TemporaryError
from esplanade.testing import Fault
from esplanade_webpower.settings import WebpowerConsent


@pytest.fixture
def people(twin):
    """Twelve contacts: the even ones have the newsletter, every third the service mails."""
    for number in range(12):
        contact = twin.account.create(
            {
                "email": f"p{number:02}@example.net",
                "lang": "nl",
                "mobile_nr": None if number % 2 else "+316",
                "custom": [
                    {"field": "firstname", "value": f"Person {number} 👋"},
                    {"field": "RH_COUPON", "value": "x"},
                ],
            }
        )
        contact.groups |= ({135} if number % 2 == 0 else set()) | ({136} if number % 3 == 0 else set())
    return twin.account.contacts


def consents_of(reports):
    said = {}
    for report in reports:
        for purpose, state in report.consents.items():
            said.setdefault((purpose, state), set()).add(report.remote_id)
    return said


async def test_a_pull_reports_every_contact_then_every_consent(open_hub, people):
    async with open_hub(page_length=5) as hub:
        reports, covers = await hub.pull()
    assert covers == ["newsletter", "service"]
    first = reports[0]
    assert (first.remote_id, first.email, first.at) == ("9001", "p00@example.net", None)
    assert first.fields == {
        "firstname": "Person 0 👋",
        "mobile_nr": "+316",
        "lang": "nl",
        "city": None,
        "RH_CODE": None,
    }
    assert len([each for each in reports if each.fields]) == 12
    said = consents_of(reports)
    assert said["newsletter", "granted"] == {str(9001 + number) for number in range(0, 12, 2)}
    assert said["service", "granted"] == {str(9001 + number) for number in range(0, 12, 3)}


async def test_two_pulls_are_equal_and_report_what_was_sent(hub, twin):
    outcome = await hub.profile(desired={"firstname": "Noor", "city": 3, "RH_CODE": None, "lang": "NL"}, cleared=[])
    assert await hub.pull() == await hub.pull()
    (report,), _ = await hub.pull()
    sent = {"firstname": "Noor", "city": 3, "RH_CODE": None, "lang": "NL", **(outcome.acknowledged or {})}
    assert report.fields == {**sent, "mobile_nr": None}


async def test_a_pull_goes_on_where_another_one_stopped(open_hub, people):
    async with open_hub(page_length=4) as hub:
        whole, covers = await hub.pull()
    for stop in range(1, 7):
        reports, cursor = [], None
        async with open_hub(page_length=4) as hub:
            for _ in range(stop):
                page = await hub.connector.pull(cursor, hub.ctx)
                reports, cursor = reports + page.reports, page.cursor
        async with open_hub(page_length=4) as hub:
            while cursor is not None:
                page = await hub.connector.pull(cursor, hub.ctx)
                reports, cursor = reports + page.reports, page.cursor
        assert (reports, page.covers) == (whole, covers)


async def test_a_page_that_failed_is_read_again(open_hub, people, twin):
    async with open_hub(page_length=4) as hub:
        first = await hub.connector.pull(None, hub.ctx)
        twin.faults.append(Fault(match="page=2", status=502))
        with pytest.raises(TemporaryError):
            await hub.connector.pull(first.cursor, hub.ctx)
        second = await hub.connector.pull(first.cursor, hub.ctx)
    assert [each.remote_id for each in second.reports] == ["9005", "9006", "9007", "9008"]


async def test_nobody_is_lost_when_rows_leave_while_they_are_read(open_hub, people, twin):
    async with open_hub(page_length=4) as hub:
        seen, cursor, pages = set(), None, 0
        while True:
            page = await hub.connector.pull(cursor, hub.ctx)
            seen |= {each.remote_id for each in page.reports}
            pages += 1
            if pages == 1:
                twin.account.remove(people[9001])
            if pages == 5:
                twin.account.leave(people[9003], 135)
            if page.cursor is None:
                break
            cursor = page.cursor
    assert seen == {str(9001 + number) for number in range(12)}
    assert page.covers == ["newsletter", "service"]


@pytest.mark.parametrize("gone", [1, 5, 9])
async def test_no_member_is_lost_when_members_leave_while_they_are_read(open_hub, twin, gone):
    for number in range(14):
        twin.account.create({"email": f"m{number:02}@example.net"}).groups.add(136)
    async with open_hub(mapped={"consents": {"service": WebpowerConsent(group=136)}}, page_length=5) as hub:
        cursor = None
        for _ in range(3):
            cursor = (await hub.connector.pull(cursor, hub.ctx)).cursor
        members = await hub.connector.pull(cursor, hub.ctx)
        reports = list(members.reports)
        for number in range(gone):
            twin.account.contacts[9001 + number].groups.clear()
        page = members
        while page.cursor is not None:
            page = await hub.connector.pull(page.cursor, hub.ctx)
            reports += page.reports
    staying = {str(9001 + number) for number in range(gone, 14)}
    assert staying <= {each.remote_id for each in reports}
    assert page.covers == ["service"]


async def test_a_cursor_from_beyond_the_end_covers_nothing(open_hub, people):
    async with open_hub(page_length=4) as hub:
        cursor = (await hub.connector.pull(None, hub.ctx)).cursor
        while json.loads(cursor).get("group") != 136:
            cursor = (await hub.connector.pull(cursor, hub.ctx)).cursor
        absurd = {**json.loads(cursor), "at": "/admin/api/index.php/rest/42/group/136/contact?page=999&pagelength=4"}
        page = await hub.connector.pull(json.dumps(absurd), hub.ctx)
    assert page.reports == []
    assert page.cursor is None
    assert page.covers == ["newsletter"]


@pytest.mark.parametrize("cursor", ["", "7", "{}x", '{"at": "https://evil.example"}', '{"unknown": 1}', "[]"])
async def test_a_cursor_of_another_kind_is_refused(hub, cursor):
    with pytest.raises(PermanentError, match="start the pull anew"):
        await hub.connector.pull(cursor, hub.ctx)


async def test_without_a_list_of_a_groups_contacts_each_contact_is_asked(open_hub, people, twin):
    async with open_hub(page_length=5) as hub:
        listed = consents_of((await hub.pull())[0])
        twin.licence.lists_group_contacts = False
        reports, covers = await hub.pull()
    assert consents_of(reports) == listed
    assert len(reports) == 12
    assert covers == ["newsletter", "service"]


async def test_a_contact_deleted_while_it_is_asked_is_left_out(open_hub, people, twin):
    twin.licence.lists_group_contacts = False
    twin.faults.append(Fault(match="contact/9003/group", status=404))
    async with open_hub() as hub:
        reports, _ = await hub.pull()
    assert "9003" not in {each.remote_id for each in reports}


async def test_a_mapped_group_that_is_not_there_covers_nothing(open_hub, people):
    mapped = {"consents": {"newsletter": WebpowerConsent(group=135), "ghost": WebpowerConsent(group=999)}}
    async with open_hub(mapped=mapped) as hub:
        _, covers = await hub.pull()
    assert covers == ["newsletter"]


async def test_a_group_deleted_in_the_middle_covers_nothing(open_hub, people, twin):
    async with open_hub() as hub:
        first = await hub.connector.pull(None, hub.ctx)
        del twin.account.groups[135]
        page = await hub.connector.pull(first.cursor, hub.ctx)
        page = await hub.connector.pull(page.cursor, hub.ctx)
    assert (page.cursor, page.covers) == (None, ["service"])


@pytest.mark.parametrize("setting", ["unsubscribe_group_id", "complaint_group_id"])
async def test_members_of_the_groups_of_those_who_want_no_mail_are_opted_out_of_everything(
    open_hub, people, twin, setting
):
    twin.account.find("p00@example.net").groups.add(61)
    async with open_hub(**{setting: 61}) as hub:
        reports, covers = await hub.pull()
    assert covers == ["newsletter", "service"]
    assert [(each.remote_id, each.consents) for each in reports if "denied" in each.consents.values()] == [
        ("9001", {"newsletter": "denied", "service": "denied"})
    ]


async def test_two_purposes_of_one_group_are_told_together(open_hub, people):
    both = {"newsletter": WebpowerConsent(group=135), "offers": WebpowerConsent(group=135)}
    async with open_hub(mapped={"consents": both}) as hub:
        reports, covers = await hub.pull()
    assert covers == ["newsletter", "offers"]
    assert reports[-1].consents == {"newsletter": "granted", "offers": "granted"}


async def test_without_consents_only_contacts_are_read(open_hub, people):
    async with open_hub(mapped={"consents": {}}) as hub:
        reports, covers = await hub.pull()
    assert (len(reports), covers) == (12, [])


async def test_an_empty_campaign(hub):
    assert await hub.pull() == ([], ["newsletter", "service"])


async def test_only_what_changed_is_asked_for_where_the_vendor_can(open_hub, people, twin):
    async with open_hub(contacts_since_param="since") as hub:
        await hub.pull()
        twin.requests.clear()
        _, covers = await hub.pull()
        assert any("since=2026-01-15T10:00:00Z" in unquote(each.query) for each in twin.requests)
        assert covers == ["newsletter", "service"], "groups are still listed whole"
        twin.licence.lists_group_contacts = False
        assert (await hub.pull())[1] == [], "contacts that did not change were not asked"


async def test_rows_without_an_address_or_id_are_passed_over(hub, twin):
    rows = [
        {"id": 1},
        {"email": "a@example.net"},
        {"id": 2, "email": "b@example.net"},
        {"id": 2, "email": "b@example.net"},
    ]
    body = json.dumps({"totalRecords": 4, "result": [*rows, "x"]})
    twin.faults.append(Fault(match="GET .*/42/contact", status=200, body=body))
    page = await hub.connector.pull(None, hub.ctx)
    assert [(each.remote_id, each.email, each.fields) for each in page.reports] == [("2", "b@example.net", {})]


@pytest.mark.parametrize(
    "row", [{"email": "a@example.net"}, {"id": 1}, {"id": None, "email": "a@example.net"}, "x", None]
)
@pytest.mark.parametrize("total", [{}, {"totalRecords": 2}])
async def test_a_list_with_a_row_that_names_nobody_is_not_whole(hub, twin, row, total):
    body = json.dumps({**total, "result": [row, {"id": 2, "email": "b@example.net"}]})
    twin.faults.append(Fault(match="GET .*/group/135/contact", status=200, body=body, times=None))
    _, covers = await hub.pull()
    assert covers == ["service"], "whoever the row is may hold the newsletter still"


# One person.


async def test_fetch_tells_fields_consents_and_audiences(hub, twin):
    await hub.profile(add={"vip": hub.ctx.audiences["vip"]})
    await hub.consent("granted", remote_id="9001")
    report = await hub.connector.fetch(PersonRef(person="p-1", email="x@example.net", remote_id="9001"), hub.ctx)
    assert (report.remote_id, report.email) == ("9001", "noor@example.net")
    assert report.fields["firstname"] == "Noor"
    assert report.consents == {"newsletter": "absent", "service": "granted"}
    assert report.audiences == {"vip": True}, "churn-risk has no group yet"


@pytest.mark.parametrize("remote_id", [None, "77", "x"])
async def test_fetch_finds_by_address(hub, remote_id):
    await hub.profile()
    report = await hub.connector.fetch(PersonRef(person="p", email="NOOR@example.net", remote_id=remote_id), hub.ctx)
    assert report.remote_id == "9001"


async def test_fetch_of_nobody(hub):
    assert await hub.connector.fetch(PersonRef(person="p", email="nobody@example.net", remote_id="77"), hub.ctx) is None


async def test_fetch_of_a_contact_deleted_meanwhile(hub, twin):
    await hub.profile()
    twin.faults.append(Fault(match="contact/9001/group", status=404))
    assert await hub.connector.fetch(PersonRef(person="p", email="noor@example.net"), hub.ctx) is None
