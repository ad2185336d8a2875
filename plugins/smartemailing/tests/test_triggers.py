"""Triggers: each goes out once, in as few calls as there may be, and a lost answer is never followed by a second mail."""

import msgspec
import pytest
import structlog
from msgspec.structs import replace

from esplanade import (
    AuthenticationError,
    Outcome,
    OutcomeUnknown,
    PermanentError,
    Product,
    ProductSet,
    RateLimited,
    UnreadableAnswer,
)
from esplanade.testing import Fault
from esplanade_smartemailing.settings import SmartEmailingConsent, SmartEmailingTrigger
from esplanade_smartemailing.triggers import event_name

from .conftest import ADA, ASKING
from .test_settings import settings

SENDS = "send/transactional-emails-bulk"
LAMP = Product(id="SKU-1", title="Lamp", price=24.5, currency="EUR", url="https://shop.example/p/1", quantity=2)


def people(plugin, count, **parts):
    return [plugin.a_trigger(f"p{at}@example.com", trigger_id=f"t-{at}", **parts) for at in range(count)]


def told(twin):
    return [each["emailaddress"] for each in twin.sends.events]


def mailed(twin):
    return [each["emailaddress"] for each in twin.account.mails]


class TestEvents:
    async def test_they_are_a_bare_array(self, plugin, sent):
        products = ProductSet(items=[LAMP, Product(id="SKU-2")], set="cart", language="cs")
        outcome = await plugin.trigger(data={"cart_id": "C-77", "deep": {"a": [1]}}, products=products)
        assert outcome == Outcome()
        (body,) = sent("trigger-event")
        assert body == [
            {
                "emailaddress": ADA,
                "name": "abandoned-cart",
                "payload": {
                    "cart_id": "C-77",
                    "deep": {"a": [1]},
                    "trigger": "abandoned-cart",
                    "trigger_id": "t-9",
                    "language": "cs",
                    "product_set": "cart",
                    "products": [
                        {
                            "id": "SKU-1",
                            "name": "Lamp",
                            "price": 24.5,
                            "currency": "EUR",
                            "quantity": 2,
                            "url": "https://shop.example/p/1",
                        },
                        {"id": "SKU-2"},
                    ],
                },
            }
        ]

    @pytest.mark.parametrize(
        ("said", "of_products", "language"), [("sk", "cs", "sk"), (None, "cs", "cs"), (None, None, "en")]
    )
    async def test_the_language_is_the_triggers_then_the_products_then_the_hubs(
        self, plugin, sent, said, of_products, language
    ):
        await plugin.trigger(language=said, products=ProductSet(items=[LAMP], language=of_products))
        assert sent("trigger-event")[0][0]["payload"]["language"] == language

    async def test_many_share_a_call_and_no_more_than_it_takes(self, open_plugin, twin, sent):
        async with open_plugin(trigger_batch=20) as plugin:
            results = await plugin.triggers(*people(plugin, 45))
        assert results == [Outcome()] * 45
        assert told(twin) == [f"p{at}@example.com" for at in range(45)]
        assert [len(body) for body in sent("trigger-event")] == [20, 20, 5]

    async def test_one_that_is_refused_costs_nobody_else_theirs_nor_sends_any_twice(self, plugin, twin):
        events = people(plugin, 16)
        events[5] = plugin.a_trigger("no..good@example.com")
        results = await plugin.triggers(*events)
        assert isinstance(results.pop(5), PermanentError)
        assert results == [Outcome()] * 15
        assert sorted(told(twin)) == sorted({each.email for each in events} - {"no..good@example.com"})

    async def test_no_more_are_tried_than_there_is_time_for_and_those_were_not_sent(self, plugin, twin):
        twin.habits.event_names = "nothing"
        results = await plugin.triggers(*people(plugin, 50))
        assert {type(each).__name__ for each in results} == {"RefusedError", "RateLimited"}
        assert told(twin) == []

    @pytest.mark.parametrize(
        ("name", "slug"),
        [("abandoned-cart", "abandoned-cart"), ("Abandoned Cart!", "abandoned-cart"), ("campaign_1", "campaign-1")],
    )
    def test_names_are_put_as_the_vendor_takes_them(self, name, slug):
        assert event_name(name, settings()) == slug

    @pytest.mark.parametrize(("name", "regex"), [("košík", "[a-z]{8,}"), ("***", "[a-z0-9-]+"), ("cart-1", "[a-z-]+")])
    async def test_a_name_that_cannot_be_is_refused_with_the_remedy(self, open_plugin, calls, name, regex):
        async with open_plugin(event_name_regex=regex) as plugin:
            with pytest.raises(PermanentError, match="choose another name, there and in connectors"):
                await plugin.trigger(target=SmartEmailingTrigger(event=name))
        assert calls() == []


class TestHowMuchGoesAlong:
    async def test_products_that_do_not_fit_are_left_out_from_the_end(self, open_plugin, twin, sent):
        items = [msgspec.structs.replace(LAMP, id=f"SKU-{at}") for at in range(300)]
        twin.habits.max_payload_bytes = 4_096
        async with open_plugin(max_payload_bytes=4_096) as plugin:
            with structlog.testing.capture_logs() as logs:
                await plugin.trigger(products=ProductSet(items=items))
        payload = sent("trigger-event")[0][0]["payload"]
        found = [each["id"] for each in payload["products"]]
        assert 10 < len(found) < 60
        assert found == [f"SKU-{at}" for at in range(len(found))]
        one_more = {**payload, "products": [*payload["products"], payload["products"][0]]}
        assert len(msgspec.json.encode(payload)) <= 4_096 < len(msgspec.json.encode(one_more)) + 3, "as many as fit"
        (line,) = [each for each in logs if "left_out" in each]
        assert (line["sent"], line["left_out"], line["delivery"]) == (len(found), 300 - len(found), "d-3")
        assert ADA not in str(logs)

    async def test_where_there_is_no_room_for_any_the_rest_goes_alone(self, open_plugin, sent):
        async with open_plugin(max_payload_bytes=1_024) as plugin:
            await plugin.trigger(
                data={"text": "x" * 935}, products=ProductSet(items=[LAMP], set="a-long-name-of-a-set")
            )
        assert "products" not in sent("trigger-event")[0][0]["payload"]

    @pytest.mark.parametrize("trigger", ["abandoned-cart", "order"])
    async def test_data_that_is_too_large_is_refused(self, open_plugin, calls, trigger):
        async with open_plugin(max_payload_bytes=1_024) as plugin:
            with pytest.raises(
                PermanentError, match=f"the data of trigger {trigger} is .* and max_payload_bytes allows 1024"
            ):
                await plugin.trigger(trigger=trigger, data={"text": "x" * 1_024})
        assert calls() == []


class TestMails:
    async def test_the_body_is_as_the_vendor_wants_it(self, plugin, twin, sent):
        await plugin.trigger(trigger="order", data={"order_id": "A-19", "paid": True, "lines": [1, 2]})
        (body,) = sent(SENDS)
        said = {"trigger": "order", "trigger_id": "t-9", "language": "en"}
        assert body == {
            "tag": "order",
            "email_id": 71,
            "sender_credentials": {"from": "news@shop.example", "sender_name": "Shop", "reply_to": "help@shop.example"},
            "tasks": [
                {
                    "recipient": {"emailaddress": ADA},
                    "replace": [
                        {"key": key, "content": text}
                        for key, text in {"order_id": "A-19", "paid": "true", **said}.items()
                    ],
                    "template_variables": {"order_id": "A-19", "paid": True, "lines": [1, 2], **said},
                }
            ],
        }
        assert mailed(twin) == [ADA]

    async def test_five_share_a_call(self, plugin, twin, sent):
        assert await plugin.triggers(*people(plugin, 12, trigger="order")) == [Outcome()] * 12
        assert [len(body["tasks"]) for body in sent(SENDS)] == [5, 5, 2]
        assert len(set(mailed(twin))) == 12

    async def test_one_that_is_refused_costs_nobody_else_theirs_nor_sends_any_twice(self, plugin, twin):
        twin.habits.errors_in_200 = "always"
        events = people(plugin, 12, trigger="order")
        events[7] = plugin.a_trigger("no..good@example.com", "order")
        results = await plugin.triggers(*events)
        refused = results.pop(7)
        assert isinstance(refused, PermanentError)
        assert str(refused).startswith("triggers.order: SmartEmailing refused to send e-mail 71: Emailaddress ")
        assert "no.." not in str(refused)
        assert results == [Outcome()] * 11
        assert sorted(mailed(twin)) == sorted({each.email for each in events} - {"no..good@example.com"})

    async def test_it_is_from_the_sender_of_the_purpose_that_it_requires(self, open_plugin, twin, sent):
        twin.account.lists[9].senderemail = "service@shop.example"
        asking = SmartEmailingConsent(list=7, double_opt_in=replace(ASKING, from_address="asking@shop.example"))
        target = SmartEmailingTrigger(email_id=71, requires="service")
        for consents, address in (
            (
                {"newsletter": SmartEmailingConsent(list=7), "service": SmartEmailingConsent(list=9)},
                "service@shop.example",
            ),
            ({"newsletter": asking, "service": SmartEmailingConsent(list=9)}, "asking@shop.example"),
        ):
            async with open_plugin({"consents": consents}, sender=None) as plugin:
                await plugin.trigger(target=target)
            (body,) = sent("send/transactional-emails-bulk")
            assert body["sender_credentials"]["from"] == address

    async def test_without_a_sender_it_says_so(self, open_plugin, calls):
        async with open_plugin({"consents": {}}, sender=None) as plugin:
            mail, event = await plugin.triggers(plugin.a_trigger(trigger="order"), plugin.a_trigger())
        assert "give settings.sender" in str(mail)
        assert event == Outcome()

    async def test_an_account_that_may_send_no_more_is_waited_for(self, plugin, twin):
        """The vendor says 429, and not how long."""
        twin.habits.sends_left = 5
        results = await plugin.triggers(*people(plugin, 8, trigger="order"))
        assert [type(each) for each in results] == [Outcome] * 5 + [RateLimited] * 3
        assert results[7].retry_after is None
        twin.habits.sends_left = None
        await plugin.triggers(*people(plugin, 8, trigger="order")[5:])
        assert mailed(twin) == [f"p{at}@example.com" for at in range(8)]

    async def test_one_mail_of_each_kind(self, plugin, twin, sent):
        other = SmartEmailingTrigger(email_id=72)
        await plugin.triggers(
            plugin.a_trigger("a@example.com", "order"),
            plugin.a_trigger("b@example.com", "cart", target=other),
            plugin.a_trigger("c@example.com"),
            plugin.a_trigger("d@example.com", "order"),
        )
        assert [(body["email_id"], len(body["tasks"])) for body in sent(SENDS)] == [(71, 2), (72, 1)]
        assert told(twin) == ["c@example.com"]


@pytest.mark.parametrize("trigger", ["abandoned-cart", "order"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"action": "cut-after"}, OutcomeUnknown),
        ({"action": "after", "status": 500}, OutcomeUnknown),
        ({"action": "after", "status": 504}, OutcomeUnknown),
        ({"action": "after", "status": 200, "body": "<html>"}, UnreadableAnswer),
        ({"status": 401}, AuthenticationError),
        ({"status": 503, "headers": {"Retry-After": "5"}}, RateLimited),
    ],
)
async def test_what_is_not_known_is_said_and_nothing_is_sent_again(plugin, twin, calls, trigger, fault, kind):
    twin.faults.append(Fault(match="^POST", **fault))
    results = await plugin.triggers(*people(plugin, 4, trigger=trigger))
    assert {type(each) for each in results} == {kind}
    assert len(calls()) == 1
