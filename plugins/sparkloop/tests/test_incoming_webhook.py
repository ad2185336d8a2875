"""What SparkLoop hears by its incoming webhook."""

import msgspec
import pytest

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
from esplanade.testing import Fault
from esplanade_sparkloop.twin import SparkLoopTwin

JOHN = {"email": "john.doe@email.com", "id": 123, "first_name": "John", "name": "John Doe"}


def ordered(body):
    """The body as JSON without blanks: same keys, same order, same values."""
    return msgspec.json.encode(msgspec.json.decode(body))


async def test_a_grant_sends_the_guides_subscribe(hook, guide):
    assert await hook.grant(**JOHN) == Outcome(acknowledged={"first_name": "John", "name": "John Doe"})
    assert hook.twin.requests[-1].body == ordered(guide("subscribe"))
    assert hook.people["john.doe@email.com"]["status"] == "active"


async def test_a_new_address_sends_the_guides_update(hook, guide):
    await hook.grant("john.doe.previous@email.com", first_name="John", name="John Doe")
    subid = hook.people["john.doe.previous@email.com"]["id"]
    outcome = await hook.profile(
        "john.doe@email.com",
        previous_email="john.doe.previous@email.com",
        desired={"first_name": "John", "name": "John Doe"},
    )
    assert outcome == Outcome()
    assert hook.twin.requests[-1].body == ordered(guide("update"))
    assert hook.people.keys() == {"john.doe@email.com"}
    assert hook.people["john.doe@email.com"]["id"] == subid


async def test_a_denial_sends_the_guides_unsubscribe(hook, guide):
    await hook.grant(**JOHN)
    assert await hook.deny("john.doe@email.com") == Outcome()
    assert hook.twin.requests[-1].body == ordered(guide("unsubscribe"))
    assert hook.people["john.doe@email.com"]["status"] == "unsubscribed"


async def test_an_opt_out_succeeds_for_somebody_it_never_had(hook):
    assert await hook.deny() == Outcome()
    assert hook.people == {}


async def test_a_person_who_comes_back_is_subscribed_again(hook):
    await hook.grant(first_name="Ada")
    await hook.deny()
    await hook.grant(first_name="Ada")
    assert hook.people["ada@example.com"]["status"] == "active"


async def test_nothing_is_told_of_somebody_undecided(hook):
    assert await hook.wait() == Outcome(status="unchanged", reason="no-consent")
    assert hook.sent == []


async def test_optional_keys_are_left_out(hook):
    await hook.grant()
    assert hook.sent[0][2] == {
        "type": "subscribe",
        "subscriber": {"email": "ada@example.com", "created_at": 1564400550},
    }


async def test_the_whole_name_is_made_of_its_parts(hook):
    await hook.grant(first_name="Ada", last_name="Byron")
    assert hook.people["ada@example.com"]["name"] == "Ada Byron"


@pytest.mark.parametrize("held", [None, "denied", "pending", "absent"])
async def test_nothing_of_a_profile_is_told_without_the_subscription(hook, held):
    outcome = await hook.profile(held=held, changed={"first_name": "Ada"}, previous_email="old@example.com")
    assert outcome == Outcome(status="unchanged", reason="no-consent")
    assert hook.sent == []


async def test_a_changed_name_is_an_update_under_the_same_address(hook):
    await hook.grant(first_name="Ada")
    await hook.profile(changed={"first_name": "Augusta"})
    assert hook.sent[-1][2]["subscriber"] == {
        "first_name": "Augusta",
        "email": "ada@example.com",
        "previous_email": "ada@example.com",
        "updated_at": 1564400550,
    }
    assert hook.people["ada@example.com"]["first_name"] == "Augusta"


async def test_a_cleared_name_is_sent_empty(hook):
    await hook.grant(first_name="Ada", last_name="Byron")
    await hook.profile(cleared=["last_name"], desired={"first_name": "Ada"})
    assert hook.people["ada@example.com"]["name"] == "Ada"
    await hook.profile(cleared=["first_name", "name"], desired={})
    assert (hook.people["ada@example.com"]["first_name"], hook.people["ada@example.com"]["name"]) == ("", "")


async def test_referral_fields_are_never_sent(hook):
    await hook.grant(first_name="Ada")
    outcome = await hook.profile(changed={"RH_CODE": "mine"})
    assert outcome == Outcome(status="unchanged", reason="not-mapped")
    assert len(hook.sent) == 1


async def test_nothing_changed_sends_nothing(hook):
    assert await hook.profile() == Outcome(status="unchanged", reason="unchanged")
    assert hook.sent == []


async def test_doing_it_twice_changes_nothing(hook):
    await hook.grant(**JOHN)
    before = hook.twin.snapshot()["subscribers"]
    await hook.grant(**JOHN)
    assert hook.twin.snapshot()["subscribers"] == before


async def test_a_move_of_somebody_unknown_subscribes_them_and_takes_the_old_address_off(hook):
    await hook.profile("new@example.com", previous_email="old@example.com", desired={"first_name": "Ada"})
    assert [body["type"] for _, _, body in hook.sent] == ["update", "unsubscribe", "subscribe"]
    assert hook.people["new@example.com"]["status"] == "active"


async def test_a_move_onto_somebody_elses_address_leaves_only_that_one_subscribed(hook):
    await hook.grant("old@example.com")
    await hook.grant("new@example.com")
    await hook.profile("new@example.com", previous_email="old@example.com")
    status = {email: each["status"] for email, each in hook.people.items()}
    assert status == {"old@example.com": "unsubscribed", "new@example.com": "active"}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, PermanentError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, AuthenticationError),
        (410, EndpointGone),
        (422, PermanentError),
        (429, RateLimited),
        (500, TemporaryError),
        (502, TemporaryError),
        (503, TemporaryError),
        (504, TemporaryError),
    ],
)
async def test_every_refusal_has_its_class_and_none_shows_the_url(hook, status, error):
    hook.twin.faults.append(Fault(match="POST /incoming", status=status))
    with pytest.raises(error) as caught:
        await hook.grant()
    assert caught.type is error
    assert "demo-4c1f9a27" not in str(caught.value)
    assert "ada" not in str(caught.value)


async def test_what_is_told_of_a_failed_exchange_does_not_show_the_url_either(hook):
    hook.twin.faults.append(Fault(match="POST /incoming", status=500))
    with pytest.raises(TemporaryError) as caught:
        await hook.grant()
    told = caught.value.exchange
    assert (told.method, told.path, told.status) == ("POST", "***", 500)
    assert "ada" not in repr(told)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_every_2xx_means_taken(hook, status):
    hook.twin.faults.append(Fault(match="POST /incoming", action="after", status=status))
    assert await hook.grant() == Outcome()


@pytest.mark.parametrize("action", ["cut-before", "cut-after"])
async def test_a_cut_may_be_repeated(hook, action):
    hook.twin.faults.append(Fault(match="POST /incoming", action=action))
    with pytest.raises(TemporaryError):
        await hook.grant()
    assert await hook.grant() == Outcome()
    assert len(hook.people) == 1


async def test_extra_headers_go_along_as_plain_json(bench, inbox):
    gate = {"X-Gate": Secret("open")}
    hook = await bench(outbound_mode="incoming_webhook", extra_headers=gate, vendor=inbox.url)
    await hook.grant()
    headers, body = inbox.got[0]
    assert (headers["X-Gate"], headers["Content-Type"]) == ("open", "application/json")
    assert msgspec.json.decode(body)["type"] == "subscribe"


async def test_a_query_in_the_url_is_part_of_it(bench):
    url = Secret("https://sparkloop.example/in?key=abc")
    settings = msgspec.structs.replace(SparkLoopTwin.demo_settings(), incoming_webhook_url=url)
    hook = await bench(twin_settings=settings, incoming_webhook_url=url)
    await hook.grant()
    assert hook.twin.requests[0].query == "key=abc"
    other = await bench(twin_settings=settings, incoming_webhook_url=Secret("https://sparkloop.example/in?key=no"))
    with pytest.raises(AuthenticationError, match="incoming_webhook_url"):
        await other.grant()


async def test_it_can_neither_be_asked_nor_read(hook):
    check = await hook.connector.check(hook.ctx)
    assert (check.status, "only a real event proves" in check.detail) == ("ok", True)
    page = await hook.connector.pull(None, hook.ctx)
    assert (page.reports, page.cursor, page.covers) == ([], None, [])
    report = await hook.connector.fetch(PersonRef(person="p-1", email="ada@example.com"), hook.ctx)
    assert (report.email, report.fields, report.consents) == ("ada@example.com", {}, {})
    assert (await hook.connector.discover(hook.ctx)).groups == []
    assert hook.sent == []


async def test_two_purposes_are_one_too_many(bench):
    hook = await bench(consents=("newsletter", "service"))
    with pytest.raises(PermanentError, match="keep the one"):
        await hook.grant()
    assert (await hook.connector.check(hook.ctx)).status == "wrong-account"
