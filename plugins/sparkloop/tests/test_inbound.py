"""What the hub makes of SparkLoop's webhooks."""

import asyncio
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from esplanade import Happening, InboundRequest, PermanentError, Report, Secret
from esplanade_sparkloop import mapping, order, webhooks
from esplanade_sparkloop.settings import FieldNames, SparkLoopSettings

SETTINGS = SparkLoopSettings(api_key=Secret("k"))


def body(guide, name, **changes):
    """A body of the guide with other values; ``subscriber__email`` changes a nested one, ``...`` leaves a key out."""
    found = msgspec.json.decode(guide(name))
    for key, value in changes.items():
        inner, *path = found, *key.split("__")
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        if value is ...:
            del inner[path[-1]]
    return msgspec.json.encode(found)


def reports(found):
    return [each for each in found if isinstance(each, Report)]


# The guide's bodies.


async def test_sync_subscriber_reports_what_sparkloop_generated(hook, guide):
    [report] = await hook.webhook(guide("sync_subscriber"))
    assert (report.email, report.remote_id, report.at) == ("john.doe@email.com", "sub_hjdgc74u", None)
    assert report.fields == {
        "RH_SUBID": "sub_hjdgc74u",
        "RH_CODE": "ada90f39",
        "RH_REFLINK": "https://mywebsite.com?rh_ref=ada90f39",
        "RH_ISREF": True,
        "RH_TOTREF": 0,
        "RH_LASTREWARD": "reward_38sf38hd",
        "first_name": "John",
        "name": "John Doe",
    }
    assert report.consents == {}


async def test_new_referral_reports_both_people_and_is_a_happening_of_the_referrer(hook, guide):
    friend, referrer, happened = await hook.webhook(guide("new_referral"))
    assert (friend.email, friend.fields["RH_ISREF"], friend.fields["RH_LASTREWARD"]) == (
        "john.doe@email.com", True, None,
    )  # fmt: skip
    assert (referrer.email, referrer.remote_id) == ("john.smith@email.com", "sub_93ehus8h")
    assert (referrer.fields["RH_TOTREF"], referrer.fields["RH_LASTREWARD"]) == (4, "reward_38sf38hd")
    assert (happened.name, happened.email) == ("new-referral", "john.smith@email.com")
    assert happened.data["referred_subscriber_id"] == "sub_hjdgc74u"
    assert "john.doe" not in str(happened.data)
    assert friend.consents == referrer.consents == {}
    assert len({friend.event_id, referrer.event_id, happened.event_id}) == 3


async def test_reward_unlocked_reports_the_reward_and_happens(hook, guide):
    report, happened = await hook.webhook(guide("reward_unlocked"))
    assert (report.fields["RH_TOTREF"], report.fields["RH_LASTREWARD"]) == (4, "reward_cdebf4f013")
    assert report.fields["name"] == "John Doe"
    assert "RH_COUPON" not in report.fields
    assert happened == Happening(
        name="reward-unlocked",
        email="john.doe@email.com",
        event_id=happened.event_id,
        data={
            "campaign_id": "MF6319db9890",
            "subscriber_id": "sub_hjdgc74u",
            "referral_code": "f9464199",
            "referral_link": "https://mywebsite.com?rh_ref=f9464199",
            "tot_referrals": 4,
            "next_reward": 2,
            "reward_id": "reward_cdebf4f013",
            "reward_name": "2018 Private Report: State of the Ecommerce",
            "reward_referrals": 4,
            "reward_recurring": False,
        },
    )


async def test_the_same_body_has_the_same_ids_and_another_has_others(hook, guide):
    first, again = await hook.webhook(guide("sync_subscriber")), await hook.webhook(guide("sync_subscriber"))
    other = await hook.webhook(guide("sync_subscriber") + b" ")
    assert first == again
    assert first[0].event_id != other[0].event_id


# What is there, and what is not.


async def test_a_coupon_is_reported_where_it_is_and_never_taken_back(hook, guide):
    with_code = body(guide, "reward_unlocked", coupon_code="THANKS10", referrals=4)
    report, happened = await hook.webhook(with_code)
    assert report.fields["RH_COUPON"] == happened.data["coupon_code"] == "THANKS10"
    report, _ = await hook.webhook(body(guide, "reward_unlocked", coupon_code=None))
    assert "RH_COUPON" not in report.fields


async def test_the_reward_itself_names_the_last_one_where_the_subscriber_does_not(hook, guide):
    report, _ = await hook.webhook(body(guide, "reward_unlocked", subscriber__last_reward=...))
    assert report.fields["RH_LASTREWARD"] == "reward_cdebf4f013"


async def test_redeeming_an_old_reward_is_not_winning_it(hook, guide):
    await hook.webhook(body(guide, "reward_unlocked", subscriber__last_reward="reward_new", reward__id="reward_new"))
    redeemed = body(
        guide,
        "reward_unlocked",
        type="reward_redeemed",
        subscriber__last_reward=...,
        reward__id="reward_old",
        coupon_code="LATE",
        reward_variant_name="L",
        reward_variant_sku="S-L",
        shipping_details={"name": "John Doe", "address": "Street 1"},
    )
    report, happened = await hook.webhook(redeemed)
    assert "RH_LASTREWARD" not in report.fields
    assert report.fields["RH_COUPON"] == "LATE"
    assert (happened.name, happened.data["reward_id"]) == ("reward-redeemed", "reward_old")
    assert (happened.data["reward_variant_name"], happened.data["reward_variant_sku"]) == ("L", "S-L")
    assert "Street" not in str(happened.data)


async def test_redeeming_names_the_last_reward_while_none_is_known(hook, guide):
    redeemed = body(guide, "reward_unlocked", type="reward_redeemed", subscriber__last_reward=...)
    assert (await hook.webhook(redeemed))[0].fields["RH_LASTREWARD"] == "reward_cdebf4f013"


async def test_a_key_that_is_absent_says_nothing(hook):
    [report] = await hook.webhook({"type": "sync_subscriber", "subscriber": {"email": "a@b.example"}})
    assert report.fields == {}
    assert report.remote_id is None
    [report] = await hook.webhook({"type": "sync_subscriber", "subscriber": {"id": "sub_1"}})
    assert (report.email, report.remote_id) == (None, "sub_1")


@pytest.mark.parametrize("name", ["", "  ", None])
async def test_a_blank_name_overwrites_none(hook, guide, name):
    [report] = await hook.webhook(body(guide, "sync_subscriber", subscriber__name=name))
    assert "name" not in report.fields
    assert report.fields["first_name"] == "John"


async def test_a_name_that_is_not_mapped_is_not_reported(bench, guide):
    hook = await bench(fields={"rh_code": "RH_CODE"})
    [report] = await hook.webhook(guide("sync_subscriber"))
    assert not {"name", "first_name"} & set(report.fields)


async def test_fields_go_by_the_names_of_the_operator(bench, guide):
    hook = await bench(field_names=FieldNames(code="rh_refcode"))
    [report] = await hook.webhook(guide("sync_subscriber"))
    assert report.fields["rh_refcode"] == "ada90f39"
    assert "RH_CODE" not in report.fields


async def test_the_event_may_be_named_event_and_nested_in_data(hook, guide):
    plain = await hook.webhook(guide("sync_subscriber"))
    inner = msgspec.json.decode(guide("sync_subscriber"))
    kind = inner.pop("type")
    for wrapped in ({"event": kind, **inner}, {"event": kind, "data": inner}, {"type": kind, "data": inner}):
        [report] = await hook.webhook(wrapped)
        assert (report.email, report.fields) == (plain[0].email, plain[0].fields)


@pytest.mark.parametrize(
    "kind",
    ["new_partner_pending_referral", "new_partner_referral", "partner_referral_rejected", "new_offer_lead"],
)
async def test_partner_and_offer_events_happen_to_whoever_they_name(hook, kind):
    whom = "lead" if kind == "new_offer_lead" else "subscriber"
    event = {
        "type": kind,
        "campaign": {"id": "MF2", "type": "partner"},
        "partner": {"uuid": "p1", "name": "Daily"},
        "referral_status": "verified",
        whom: {"id": "sub_1", "email": "a@b.example"},
    }
    [happened] = await hook.webhook(event)
    assert (happened.name, happened.email) == (kind.replace("_", "-"), "a@b.example")
    assert happened.data == {
        "campaign_id": "MF2",
        "subscriber_id": "sub_1",
        "partner_id": "p1",
        "partner_name": "Daily",
        "referral_status": "verified",
    }
    assert await hook.webhook({"type": kind, whom: {"id": "sub_1"}}) == []


async def test_an_event_it_does_not_know_is_kept_without_a_word_about_the_person(hook):
    with capture_logs() as logs:
        assert await hook.webhook({"type": "weekly_digest", "subscriber": {"email": "a@b.example"}}) == []
        assert await hook.webhook({"type": "a@b.example"}) == []
    noted = [each for each in logs if each["event"] == "sparkloop.webhook-not-known"]
    assert [(each["log_level"], each["type"]) for each in noted] == [("info", "weekly_digest"), ("info", "not a name")]
    assert "a@b" not in str(noted)


# What cannot be understood.


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (b"", "$"),
        (b"\xff\xfe", "$"),
        (b"[" * 100_000, "$"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "$"),
        (b"[]", "$"),
        (b"{}", "$.type"),
        (b'{"type": 7}', "$.type"),
        (b'{"type": "sync_subscriber"}', "$.subscriber"),
        (b'{"type": "sync_subscriber", "subscriber": []}', "$.subscriber"),
        (b'{"type": "sync_subscriber", "subscriber": {}}', "$.subscriber.email"),
        (b'{"type": "sync_subscriber", "subscriber": {"email": "secret person"}}', "$.subscriber.email"),
        (b'{"type": "sync_subscriber", "subscriber": {"email": "s@x", "tot_referrals": "4"}}', "$.subscriber.tot_ref"),
        (b'{"type": "sync_subscriber", "subscriber": {"email": "s@x", "tot_referrals": -1}}', "$.subscriber.tot_ref"),
        (b'{"type": "sync_subscriber", "subscriber": {"email": "s@x", "referred": "secret"}}', "$.subscriber.referred"),
        (b'{"type": "new_referral", "subscriber": {"email": "s@x"}}', "$.referrer"),
        (b'{"type": "new_referral", "subscriber": {"email": "s@x"}, "referrer": {"email": "@"}}', "$.referrer.email"),
    ],
)
async def test_what_is_malformed_is_refused_by_its_path_alone(hook, text, path):
    with pytest.raises(PermanentError) as caught:
        await hook.webhook(text)
    assert str(caught.value).startswith(path)
    assert "secret" not in str(caught.value)


LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just("a@b.example")
KEYS = [
    "type",
    "event",
    "data",
    "subscriber",
    "referrer",
    "reward",
    "lead",
    "partner",
    "campaign",
    "campaign_id",
    "coupon_code",
    "referrals",
    "offer_id",
    "email",
    "id",
    "first_name",
    "name",
    "referral_code",
    "referral_link",
    "referred",
    "tot_referrals",
    "last_reward",
    "next_reward",
    "recurring",
]
ANY = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
)
EVENT = st.fixed_dictionaries(
    {"type": st.sampled_from([*sorted(webhooks.SYNCED | webhooks.HAPPENED), "other"])},
    optional=dict.fromkeys(KEYS[2:], ANY),
)


@given(st.binary(max_size=200) | EVENT.map(msgspec.json.encode) | ANY.map(msgspec.json.encode))
def test_nothing_that_comes_in_breaks_the_reader(text):
    with suppress(PermanentError):
        notice = webhooks.read(text)
        happened = webhooks.happening(notice)
        found = [told_of(person, notice) for person in notice.people]
        assert webhooks.read(text) == notice
        msgspec.json.encode([happened, found])


def told_of(person, notice):
    weight = order.weigh(
        None,
        total=person.tot_referrals,
        reward=notice.reward_of(person, known=False),
        coupon=notice.coupon_of(person),
        event=notice.digest,
        at=0.0,
    )
    return mapping.reported(person, notice, weight, SETTINGS, {"name", "first_name"})


# The token.


@pytest.mark.parametrize(
    ("headers", "changes", "genuine"),
    [
        ({"sparkloop-token": "tok_demo"}, {}, True),
        ({"sparkloop-token": "tok_demo "}, {}, False),
        ({"sparkloop-token": "tok_dem"}, {}, False),
        ({"sparkloop-token": "tök\udce9"}, {}, False),
        ({"sparkloop-token": ""}, {}, False),
        ({}, {}, False),
        ({}, {"require_token": False}, True),
        ({"sparkloop-token": "wrong"}, {"require_token": False}, False),
        ({"sparkloop-token": "any"}, {"webhook_token": Secret("")}, False),
        ({"sparkloop-token": ""}, {"webhook_token": Secret("")}, False),
        ({"sparkloop-token": "any"}, {"webhook_token": Secret(""), "require_token": False}, True),
    ],
)
async def test_only_the_accounts_token_is_believed(hook, settings, headers, changes, genuine):
    request = InboundRequest(method="POST", headers=headers, received_at=hook.moment)
    connector = type(hook.connector)(msgspec.structs.replace(settings, **changes))
    assert await connector.verify(request, hook.ctx) is genuine


# Order.


def counted(total, event=None, **more):
    person = {"id": "sub_1", "email": "a@b.example", "name": f"Name {total}", "tot_referrals": total, **more}
    return {"type": "sync_subscriber", "subscriber": person, "event_number": event}


async def told(hook, *bodies):
    """The fields that the hub holds after these webhooks."""
    held = {}
    for each in bodies:
        for report in reports(await hook.webhook(each)):
            held |= report.fields
    return held


async def test_an_older_count_lowers_nothing_and_takes_back_no_name(hook):
    held = await told(hook, counted(3), counted(5, last_reward="r5"), counted(4, last_reward=None), counted(3, 2))
    assert (held["RH_TOTREF"], held["name"], held["RH_LASTREWARD"]) == (5, "Name 5", "r5")


async def test_a_repeated_count_counts(hook):
    held = await told(hook, counted(3), counted(3, 2, name="Other"))
    assert held["name"] == "Other"


async def test_people_are_counted_apart(hook):
    other = counted(1)
    other["subscriber"]["id"] = "sub_2"
    await told(hook, counted(5))
    assert (await told(hook, other))["RH_TOTREF"] == 1


async def test_a_reset_after_the_start_was_seen_is_believed(hook):
    held = await told(hook, counted(0, 1), counted(4, last_reward="r"), counted(0, 2, last_reward=None))
    assert (held["RH_TOTREF"], held["RH_LASTREWARD"]) == (0, None)
    assert (await told(hook, counted(1)))["RH_TOTREF"] == 1


async def test_a_start_that_comes_late_is_no_reset_but_a_second_one_is(hook):
    assert (await told(hook, counted(4), counted(0, 1)))["RH_TOTREF"] == 4
    assert "RH_TOTREF" not in await told(hook, counted(0, 1))
    assert (await told(hook, counted(0, 2)))["RH_TOTREF"] == 0


async def test_a_fall_to_zero_after_more_than_a_month_is_a_reset():
    seen = order.weigh(None, total=4, event="a", at=0.0).seen
    assert not order.weigh(seen, total=0, event="b", at=order.REPEATS_S).current
    assert order.weigh(seen, total=0, event="b", at=order.REPEATS_S + 1).current


async def test_a_reward_is_not_taken_back_by_the_referral_that_won_it(hook, guide):
    won = body(guide, "reward_unlocked", subscriber__id="sub_1")
    held = await told(hook, won, counted(4, last_reward=None))
    assert held["RH_LASTREWARD"] == "reward_cdebf4f013"
    assert (await told(hook, counted(5, last_reward=None)))["RH_LASTREWARD"] is None


async def test_a_late_reward_counts_while_no_later_one_is_known(hook, guide):
    late = body(guide, "reward_unlocked", subscriber__id="sub_1", coupon_code="C")
    held = await told(hook, counted(5), late)
    assert (held["RH_TOTREF"], held["RH_LASTREWARD"], held["RH_COUPON"]) == (5, "reward_cdebf4f013", "C")
    held = await told(hook, counted(6, last_reward="r6"), late)
    assert held["RH_LASTREWARD"] == "r6"


async def test_without_an_id_or_a_count_nothing_is_remembered(hook):
    no_id = {"type": "sync_subscriber", "subscriber": {"email": "a@b.example", "tot_referrals": 5}}
    assert (await told(hook, no_id))["RH_TOTREF"] == 5
    no_count = {"type": "sync_subscriber", "subscriber": {"id": "sub_1", "last_reward": "r"}}
    assert (await told(hook, no_count))["RH_LASTREWARD"] == "r"
    assert await hook.ctx.kv.get("seen:sub_1") is None


async def test_a_memory_that_cannot_be_read_is_begun_anew(hook):
    await hook.ctx.kv.set("seen:sub_1", {"total": "many"})
    assert (await told(hook, counted(2)))["RH_TOTREF"] == 2


async def test_webhooks_at_once_leave_the_highest_count_remembered(hook):
    await asyncio.gather(*(hook.webhook(counted(total)) for total in (3, 1, 5, 2, 4)))
    assert (await hook.ctx.kv.get("seen:sub_1"))["total"] == 5


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5),
            st.sampled_from([None, "r1", "r2", msgspec.UNSET]),
            st.sampled_from(["c", msgspec.UNSET]),
            st.integers(0, 3),
        ),
        max_size=12,
    )
)
def test_judging_a_webhook_again_gives_the_same_answer(events):
    seen = None
    for at, (total, reward, coupon, number) in enumerate(events):
        event = f"{total}{reward}{coupon}{number}"
        kinds = {"total": total, "reward": reward, "coupon": coupon, "event": event, "at": float(at)}
        once = order.weigh(seen, **kinds)
        again = order.weigh(once.seen, **kinds)
        assert again == once
        assert not once.current or once.seen.total == total
        seen = once.seen
