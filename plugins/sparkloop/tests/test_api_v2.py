"""What SparkLoop hears and answers by its API v2."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade import (
    AuthenticationError,
    EndpointGone,
    Outcome,
    PermanentError,
    PersonRef,
    RateLimited,
    Secret,
    TemporaryError,
)
from esplanade.testing import FakeClock, Fault
from esplanade_sparkloop import mapping

CAMPAIGN = "MFdemo000001"


def lines(bench):
    return [f"{method} {path}" for method, path, _ in bench.sent]


def ref(email="ada@example.com", remote_id=None):
    return PersonRef(person="p-1", email=email, remote_id=remote_id)


# Subscribing.


async def test_a_grant_asks_first_then_creates_and_joins_the_campaign(api):
    outcome = await api.grant(first_name="Ada", last_name="Byron")
    ada = api.people["ada@example.com"]
    assert outcome == Outcome(remote_id=ada["id"], acknowledged={"first_name": "Ada", "last_name": "Byron"})
    assert (ada["name"], ada["status"], ada["member"]) == ("Ada Byron", "active", True)
    assert lines(api) == [
        "PUT /v2/subscribers/ada@example.com",
        "POST /v2/subscribers",
        f"POST /v2/campaigns/{CAMPAIGN}/campaign_memberships",
    ]
    assert api.sent[0][2] == {"status": "confirmed", "name": "Ada Byron"}
    assert api.sent[1][2] == {
        "email": "ada@example.com",
        "name": "Ada Byron",
        "created_at": "2019-07-29T11:42:30+00:00",
    }


async def test_a_second_grant_confirms_the_one_who_is_there(api):
    first = await api.grant()
    await api.deny()
    assert await api.grant(remote_id=first.remote_id) == first
    assert api.people["ada@example.com"]["status"] == "active"
    assert lines(api)[-2:] == [
        f"PUT /v2/subscribers/{first.remote_id}",
        f"POST /v2/campaigns/{CAMPAIGN}/campaign_memberships",
    ]


async def test_somebody_known_by_a_dead_id_is_found_by_address(api):
    first = await api.grant()
    assert await api.grant(remote_id="sub_gone") == first
    await api.deny(remote_id="sub_gone")
    assert api.people["ada@example.com"]["status"] == "unsubscribed"


async def test_without_a_campaign_nobody_joins_one(bench):
    api = await bench(outbound_mode="api_v2", campaign_uuid=None)
    await api.grant()
    assert not api.people["ada@example.com"]["member"]


async def test_membership_can_be_left_to_sparkloop(bench):
    api = await bench(outbound_mode="api_v2", ensure_membership=False)
    await api.grant()
    assert not api.people["ada@example.com"]["member"]


async def test_a_crash_before_joining_is_made_good(api):
    api.twin.faults.append(Fault(match="campaign_memberships", status=503))
    with pytest.raises(TemporaryError):
        await api.grant()
    assert not api.people["ada@example.com"]["member"]
    await api.grant()
    assert api.people["ada@example.com"]["member"]


async def test_a_campaign_of_somebody_else_parks_the_queue(bench):
    api = await bench(outbound_mode="api_v2", campaign_uuid="MFother")
    api.twin.account.campaign = CAMPAIGN
    with pytest.raises(AuthenticationError, match="campaign_uuid"):
        await api.grant()


async def test_an_unknown_refusal_of_membership_is_checked_before_the_person_is_given_up(api):
    await api.grant()
    refused = Fault(match="POST .*campaign_memberships", status=400, body='{"error":"No"}')
    api.twin.faults.append(refused)
    await api.grant()
    assert lines(api)[-1].startswith(f"GET /v2/campaigns/{CAMPAIGN}/subscribers/sub_")


async def test_a_refused_membership_of_somebody_outside_is_a_refusal(api):
    api.twin.faults.append(Fault(match="POST .*campaign_memberships", status=400, body='{"error":"No, a@b.example"}'))
    with pytest.raises(PermanentError, match=r"SparkLoop answered 400: No, \[email\]"):
        await api.grant()


async def test_taken_means_change_instead(api):
    await api.grant("ada@example.com")
    api.twin.faults.append(Fault(match="PUT /v2/subscribers", status=404))
    await api.grant("ada@example.com", name="Ada")
    assert [line.split()[0] for line in lines(api)[-4:]] == ["PUT", "POST", "PUT", "POST"]
    assert api.people["ada@example.com"]["name"] == "Ada"


async def test_taken_but_not_found_waits(api):
    api.twin.faults.append(Fault(match="PUT /v2/subscribers", status=404, times=2))
    api.twin.account.add("ada@example.com", 0.0)
    with pytest.raises(TemporaryError, match="taken"):
        await api.grant()


async def test_an_address_it_does_not_take_is_a_refusal_without_the_address(api):
    with pytest.raises(PermanentError, match="SparkLoop answered 400: Email is invalid") as caught:
        await api.grant("ada@nowhere")
    assert "ada" not in str(caught.value)


async def test_a_refusal_that_quotes_what_was_sent_is_told_without_it(api):
    api.twin.faults.append(Fault(match="PUT /v2/subscribers", status=400, body='{"error":"Name Zonneschijn is odd"}'))
    with pytest.raises(PermanentError, match=r"SparkLoop answered 400: Name \[value\] is odd"):
        await api.grant("ada@example.com", name="Zonneschijn")


async def test_a_cut_after_creating_is_repeated_into_one_person(api):
    api.twin.faults.append(Fault(match="POST /v2/subscribers", action="cut-after"))
    with pytest.raises(TemporaryError):
        await api.grant()
    await api.grant()
    assert len(api.people) == 1
    assert api.people["ada@example.com"]["member"]


async def test_a_country_goes_along_only_when_asked_for(bench):
    api = await bench(outbound_mode="api_v2", send_country_code=True)
    await api.grant(country_code="CZ")
    assert api.twin.account.get("ada@example.com").country_code == "CZ"
    plain = await bench(outbound_mode="api_v2")
    await plain.grant(country_code="CZ")
    assert plain.twin.account.get("ada@example.com").country_code is None


@pytest.mark.parametrize("email", ["a+b@example.com", "a/b@example.com", "o'hara@example.com", "a%40b@example.com"])
async def test_odd_addresses_survive_the_path(api, email):
    await api.grant(email)
    await api.deny(email)
    assert api.people[email]["status"] == "unsubscribed"


# Unsubscribing.


async def test_an_opt_out_counts_for_the_unknown_and_the_already_out(api):
    assert await api.deny() == Outcome()
    await api.grant()
    assert await api.deny() == Outcome()
    assert await api.deny() == Outcome()
    assert api.people["ada@example.com"]["status"] == "unsubscribed"


async def test_an_opt_out_names_the_id_so_that_a_move_under_way_does_not_lose_it(api):
    first = await api.grant("old@example.com")
    await api.deny("new@example.com", remote_id=first.remote_id)
    assert api.people["old@example.com"]["status"] == "unsubscribed"


# Changing.


async def test_a_new_name_is_changed_in_place(api):
    first = await api.grant(first_name="Ada")
    outcome = await api.profile(changed={"first_name": "Augusta"}, remote_id=first.remote_id)
    assert outcome == Outcome(remote_id=first.remote_id)
    assert api.sent[-1] == ("PUT", f"/v2/subscribers/{first.remote_id}", {"name": "Augusta"})


async def test_a_cleared_name_is_changed_to_an_empty_one(api):
    await api.grant(name="Ada")
    await api.profile(cleared=["name"], desired={})
    assert api.people["ada@example.com"]["name"] == ""


@pytest.mark.parametrize("by_id", [True, False])
async def test_a_new_address_keeps_the_person(api, by_id):
    first = await api.grant("old@example.com")
    known = first.remote_id if by_id else None
    outcome = await api.profile("new@example.com", previous_email="old@example.com", remote_id=known)
    assert outcome == first
    assert api.people.keys() == {"new@example.com"}


async def test_a_new_address_that_somebody_has_takes_the_old_one_off(api):
    old = await api.grant("old@example.com")
    new = await api.grant("new@example.com")
    moved = {"previous_email": "old@example.com", "remote_id": old.remote_id}
    assert await api.profile("new@example.com", **moved, desired={"name": "Ada"}) == new
    status = {email: each["status"] for email, each in api.people.items()}
    assert status == {"old@example.com": "unsubscribed", "new@example.com": "active"}
    assert api.people["new@example.com"]["name"] == "Ada"


async def test_a_move_of_somebody_it_does_not_know_subscribes_them(api):
    await api.profile("new@example.com", previous_email="old@example.com")
    assert api.people["new@example.com"]["status"] == "active"


async def test_a_move_done_twice_is_done_once(api):
    await api.grant("old@example.com")
    for _ in range(2):
        await api.profile("new@example.com", previous_email="old@example.com")
    assert api.people.keys() == {"new@example.com"}


async def test_a_change_that_is_refused_is_a_refusal(api):
    await api.grant()
    api.twin.faults.append(Fault(match="PUT", status=400, body='{"error":"Name is invalid"}', times=2))
    with pytest.raises(PermanentError, match="Name is invalid"):
        await api.profile(changed={"name": "Ada"})
    with pytest.raises(PermanentError, match="Name is invalid"):
        await api.grant()


# Errors.


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (401, {}, AuthenticationError),
        (403, {}, AuthenticationError),
        (410, {}, EndpointGone),
        (422, {}, PermanentError),
        (429, {}, RateLimited),
        (429, {"Retry-After": "7"}, RateLimited),
        (500, {}, TemporaryError),
        (502, {}, TemporaryError),
        (503, {}, TemporaryError),
        (504, {}, TemporaryError),
    ],
)
@pytest.mark.parametrize("call", ["PUT /v2/subscribers", "POST /v2/subscribers", "campaign_memberships"])
async def test_every_refusal_has_its_class(api, call, status, headers, error):
    api.twin.faults.append(Fault(match=call, status=status, headers=headers, body='{"error":"x"}'))
    with pytest.raises(error) as caught:
        await api.grant()
    assert caught.type is error
    assert caught.value.retry_after == (7.0 if headers else None)


async def test_more_than_the_limit_per_minute_is_429_until_the_minute_is_over(bench):
    clock = FakeClock()
    api = await bench(outbound_mode="api_v2", clock=clock)
    api.twin.api.request_limit = 3
    await api.grant()
    with pytest.raises(RateLimited):
        await api.grant()
    await clock.advance(60)
    await api.grant()


async def test_a_page_instead_of_json_is_no_subscriber(api):
    html = Fault(match="GET /v2/subscribers", status=200, body="<html>", times=2)
    api.twin.faults.append(html)
    with pytest.raises(PermanentError, match="not JSON"):
        await api.connector.fetch(ref(), api.ctx)
    with pytest.raises(PermanentError, match="not JSON"):
        await api.connector.pull(None, api.ctx)


# Checking and discovering.


async def test_a_good_key_and_campaign_pass(api):
    assert (await api.connector.check(api.ctx)).status == "ok"


async def test_without_a_campaign_the_list_is_asked_then_the_subscribers(bench):
    api = await bench(outbound_mode="api_v2", campaign_uuid=None)
    api.twin.faults.append(Fault(match="GET /v2/campaigns", status=404, skip=1))
    assert (await api.connector.check(api.ctx)).status == "ok"
    assert (await api.connector.check(api.ctx)).status == "ok"
    assert lines(api) == ["GET /v2/campaigns", "GET /v2/campaigns", "GET /v2/subscribers"]


async def test_a_check_tells_its_failures_apart(bench):
    wrong = await bench(outbound_mode="api_v2", api_key=Secret("other"))
    assert (await wrong.connector.check(wrong.ctx)).status == "bad-credentials"
    with pytest.raises(AuthenticationError):
        await wrong.connector.discover(wrong.ctx)
    api = await bench(outbound_mode="api_v2")
    api.twin.faults.append(Fault(match="GET", status=403))
    assert (await api.connector.check(api.ctx)).status == "no-permission"
    api.twin.account.campaign = "MFother"
    assert (await api.connector.check(api.ctx)).status == "wrong-account"
    api.twin.faults.append(Fault(match="GET", status=503))
    assert (await api.connector.check(api.ctx)).status == "vendor-down"
    await api.twin.stop()
    assert (await api.connector.check(api.ctx)).status == "vendor-down"


async def test_a_check_says_when_webhooks_would_be_refused(bench):
    deaf = await bench(outbound_mode="api_v2", webhook_token=Secret(""))
    assert "webhook_token is missing" in (await deaf.connector.check(deaf.ctx)).detail
    open_ = await bench(outbound_mode="api_v2", webhook_token=Secret(""), require_token=False)
    assert "webhook_token" not in (await open_.connector.check(open_.ctx)).detail


async def test_discovery_lists_the_guides_fields_and_the_campaign(api):
    found = await api.connector.discover(api.ctx)
    assert {each.name: each.type for each in found.fields if each.read_only} == {
        "RH_SUBID": "text",
        "RH_CODE": "text",
        "RH_REFLINK": "text",
        "RH_ISREF": "boolean",
        "RH_TOTREF": "integer",
        "RH_COUPON": "text",
        "RH_LASTREWARD": "text",
    }
    assert [each.name for each in found.fields if not each.read_only] == ["first_name", "last_name", "name", "id"]
    assert [(each.id, each.name) for each in found.groups] == [(CAMPAIGN, "Refer a friend")]


async def test_discovery_offers_the_country_when_it_is_sent(bench):
    api = await bench(outbound_mode="api_v2", send_country_code=True)
    assert "country_code" in [each.name for each in (await api.connector.discover(api.ctx)).fields]


# Reading.


async def test_fetch_tells_what_the_api_knows(api):
    first = await api.grant(name="Ada Byron")
    report = await api.connector.fetch(ref(remote_id=first.remote_id), api.ctx)
    code = api.people["ada@example.com"]["referral_code"]
    assert (report.email, report.remote_id) == ("ada@example.com", first.remote_id)
    assert report.fields == {
        "RH_SUBID": first.remote_id,
        "RH_CODE": code,
        "RH_ISREF": False,
        "name": "Ada Byron",
    }
    assert report.consents == {}


async def test_fetch_of_a_stranger_is_none(api):
    assert await api.connector.fetch(ref(), api.ctx) is None


async def test_a_template_makes_the_link_that_the_api_lacks(bench):
    api = await bench(outbound_mode="api_v2", referral_link_template="https://mywebsite.com?rh_ref={code}")
    await api.grant()
    report = await api.connector.fetch(ref(), api.ctx)
    assert report.fields["RH_REFLINK"] == api.people["ada@example.com"]["referral_link"]


@pytest.mark.parametrize(
    ("status", "held"), [("confirmed", "granted"), ("unsubscribed", "denied"), ("other", None), (None, None)]
)
async def test_a_status_counts_only_where_it_is_given(api, status, held):
    body = msgspec.json.encode({"subscriber": {"uuid": "sub_1", "email": "a@b.example", "status": status}}).decode()
    api.twin.faults.append(Fault(match="GET /v2/subscribers", status=200, body=body))
    report = await api.connector.fetch(ref(), api.ctx)
    assert report.consents == ({} if held is None else {"newsletter": held})


async def everybody(api):
    seen, cursor, pages = [], None, 0
    while True:
        page = await api.connector.pull(cursor, api.ctx)
        seen += [report.email for report in page.reports]
        cursor, pages = page.cursor, pages + 1
        if cursor is None:
            return seen, pages


async def test_a_pull_reads_everybody_newest_first_in_pages_of_200(api):
    for number in range(450):
        api.twin.account.add(f"p{number}@example.com", float(number))
    seen, pages = await everybody(api)
    assert (seen[0], seen[-1], len(seen), len(set(seen)), pages) == (
        "p449@example.com", "p0@example.com", 450, 450, 3,
    )  # fmt: skip
    assert await everybody(api) == (seen, pages)


async def test_a_pull_of_nobody_ends(api):
    assert await everybody(api) == ([], 1)


@pytest.mark.parametrize("cursor", ["999999:0:0", "x", "", "0:0:0", "-1:2:3", "1:2"])
async def test_an_absurd_cursor_ends_or_starts_over(api, cursor):
    await api.grant()
    page = await api.connector.pull(cursor, api.ctx)
    assert page.cursor is None


async def test_a_pull_loses_nobody_while_people_come_and_go(api):
    for number in range(600):
        api.twin.account.add(f"p{number}@example.com", float(number))
    seen, cursor = set(), None
    for turn in range(20):
        page = await api.connector.pull(cursor, api.ctx)
        seen |= {report.email for report in page.reports}
        cursor = page.cursor
        if turn == 0:
            for number in range(590, 600):
                api.twin.account.remove(api.twin.account.get(f"p{number}@example.com"))
        if turn == 1:
            api.twin.account.add("late@example.com", 1000.0)
        if cursor is None:
            break
    assert cursor is None
    assert {f"p{number}@example.com" for number in range(590)} <= seen


async def test_a_count_that_wavers_does_not_pull_for_ever():
    place, steps = mapping.Place(), 0
    cursor = "1:0:0"
    while cursor is not None and steps < 1000:
        place = mapping.Place.read(cursor)
        total = 1000 if steps % 2 else 900
        cursor = place.after(200, mapping.PageMeta(total_pages=5, total_subscribers=total))
        steps += 1
    assert cursor is None


async def test_the_place_of_a_page_is_read_in_both_spots():
    row = {"uuid": "sub_1", "email": "a@b.example"}
    nested = {"subscribers": [row, row], "meta": {"total_pages": 7, "total_subscribers": 9}}
    flat = {"subscribers": [row], "total_pages": 7, "total_subscribers": 9}
    assert mapping.api_page(nested) == mapping.api_page(flat)
    assert mapping.api_page(flat)[1].total_pages == 7


def test_without_a_number_of_pages_a_short_page_is_the_last():
    place = mapping.Place()
    assert place.after(200, mapping.PageMeta()) == "2:0:0"
    assert place.after(199, mapping.PageMeta()) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["subscriber", "subscribers", "meta", "uuid", "email", "total_pages", "campaigns", "name"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_answer_of_the_api_breaks_anything(answer):
    for read in (mapping.api_subscriber, mapping.api_page, mapping.api_campaigns):
        with suppress(PermanentError):
            read(answer)
