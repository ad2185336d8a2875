"""Triggers with their products, and why a send may be refused."""

from __future__ import annotations

import json

import pytest

from esplanade import AuthenticationError, OutcomeUnknown, PermanentError, Product, ProductSet, RateLimited
from esplanade.testing import Fault

LAMP = Product(
    id="SKU-1",
    title="Lamp <b>",
    price=24.5,
    currency="EUR",
    url="https://shop.example/p/1?a=1&b=2",
    image_url="https://shop.example/i/1.jpg",
    quantity=1,
)
SHOE = Product(id="SKU-2", title="Schoen 👟", url="javascript:alert(1)")
PRODUCTS = ProductSet(set="last-viewed", items=[LAMP, SHOE])


async def test_a_trigger_sends_its_mailing_once_with_data_and_products(hub, twin):
    await hub.profile()
    outcome = await hub.trigger(remote_id="9001", data={"cart_id": "C-77", "total": 99.0}, products=PRODUCTS)
    assert outcome.remote_id == "9001"
    (mail,) = twin.mails
    assert (mail["mailing"], mail["email"]) == (318, "noor@example.net")
    assert mail["extraContactData"] == {
        "DMD_trigger": "abandoned-cart",
        "DMD_trigger_id": "t-9",
        "DMD_language": "nl",
        "DMD_cart_id": "C-77",
        "DMD_total": "99",
        "DMD_product_set": "last-viewed",
        "DMD_product_count": "2",
        "DMD_product1_id": "SKU-1",
        "DMD_product1_title": "Lamp <b>",
        "DMD_product1_url": "https://shop.example/p/1?a=1&b=2",
        "DMD_product1_image": "https://shop.example/i/1.jpg",
        "DMD_product1_price": "24.5",
        "DMD_product1_currency": "EUR",
        "DMD_product1_quantity": "1",
        "DMD_product2_id": "SKU-2",
        "DMD_product2_title": "Schoen 👟",
        "DMD_product2_url": "javascript:alert(1)",
    }


async def test_products_as_json(open_hub, twin):
    async with open_hub(product_encoding="json") as hub:
        await hub.trigger(products=PRODUCTS)
    data = twin.mails[0]["extraContactData"]
    assert data["DMD_product_count"] == "2"
    assert [each["title"] for each in json.loads(data["DMD_products"])] == ["Lamp <b>", "Schoen 👟"]


async def test_products_as_html_are_escaped_and_link_to_the_web_only(open_hub, twin):
    async with open_hub(product_encoding="html") as hub:
        await hub.trigger(products=PRODUCTS)
    block = twin.mails[0]["extraContactData"]["DMD_products_html"]
    assert "Lamp &lt;b&gt;" in block
    assert 'href="https://shop.example/p/1?a=1&amp;b=2"' in block
    assert "EUR 24.5" in block
    assert "javascript" not in block


@pytest.mark.parametrize(
    ("said", "of_products", "language"),
    [("de", "fr", "de"), (None, "fr", "fr"), (None, None, "nl")],
)
async def test_the_language_is_the_triggers_else_the_products_else_the_hubs(hub, twin, said, of_products, language):
    await hub.trigger(language=said, products=ProductSet(items=[LAMP], language=of_products))
    assert twin.mails[0]["extraContactData"]["DMD_language"] == language


async def test_a_known_contact_is_never_overwritten_by_a_trigger(hub, twin, calls):
    await hub.profile(desired={"firstname": "Nora"})
    calls()
    await hub.trigger(desired={"firstname": "Stale"})
    assert calls() == ["GET /42/contact", "POST /42/mailing/318/sendSingle"]
    assert twin.account.contacts[9001].custom["firstname"] == "Nora"


@pytest.mark.parametrize("call", ["sendSingle", "sendSingleMail"])
async def test_somebody_unknown_becomes_a_contact_in_no_group(open_hub, twin, call):
    async with open_hub(trigger_call=call, default_lang="nl") as hub:
        await hub.trigger(desired={"firstname": "Noor"})
    held = twin.account.contacts[9001]
    assert (held.custom, held.groups, held.lang) == ({"firstname": "Noor"}, set(), "nl")
    assert len(twin.mails) == 1


async def test_a_contact_made_in_the_meantime_is_mailed_without_being_overwritten(open_hub, twin):
    twin.account.create({"email": "noor@example.net", "custom": [{"field": "firstname", "value": "Nora"}]})
    nobody = json.dumps({"totalRecords": 0, "result": []})
    twin.faults.append(Fault(match="match=", status=200, body=nobody))
    async with open_hub(trigger_call="sendSingleMail") as hub:
        await hub.trigger(desired={"firstname": "Stale"})
    assert twin.account.contacts[9001].custom == {"firstname": "Nora"}
    assert len(twin.mails) == 1


async def test_a_stale_id_is_looked_up_before_anything_is_sent(hub, twin):
    await hub.profile()
    outcome = await hub.trigger(remote_id="77")
    assert outcome.remote_id == "9001"
    assert len(twin.mails) == 1


async def test_no_credits_is_said_plainly(hub, twin):
    twin.account.credits = 0
    with pytest.raises(PermanentError, match="no sending credits left"):
        await hub.trigger()
    assert twin.mails == []


@pytest.mark.parametrize("status", [400, 402, 403, 404, 409, 422, 500])
async def test_no_credits_is_recognised_by_its_words_whatever_the_status(hub, twin, status):
    await hub.profile()
    twin.faults.append(Fault(match="sendSingle", status=status, body='{"message": "Onvoldoende tegoed"}'))
    with pytest.raises(PermanentError, match="no sending credits left"):
        await hub.trigger(remote_id="9001")


async def test_no_credits_is_recognised_in_an_answer_that_looks_like_success(hub, twin):
    await hub.profile()
    body = '[{"status": "ERROR", "message": "no credits"}]'
    twin.faults.append(Fault(match="sendSingle", status=200, body=body))
    with pytest.raises(PermanentError, match="no sending credits left"):
        await hub.trigger(remote_id="9001")


async def test_the_words_for_no_credits_are_whole_words(hub, twin):
    await hub.profile()
    twin.faults.append(Fault(match="sendSingle", status=422, body='{"message": "Field accreditation is missing"}'))
    with pytest.raises(PermanentError, match="refused to send mailing 318"):
        await hub.trigger(remote_id="9001")


async def test_an_unpublished_mailing_is_said_plainly(hub):
    with pytest.raises(PermanentError, match=r"mailing 320.*published"):
        await hub.trigger(mailing=320)


async def test_an_unknown_mailing_is_said_plainly(hub):
    with pytest.raises(PermanentError, match=r"mailing 999 is unknown.*triggers\.abandoned-cart\.mailing"):
        await hub.trigger(mailing=999)


@pytest.mark.parametrize("action", ["cut-after", "cut-before", "hang-after"])
async def test_a_send_whose_answer_is_lost_is_never_repeated(hub, twin, action):
    await hub.profile()
    twin.faults.append(Fault(match="sendSingle", action=action))
    with pytest.raises(OutcomeUnknown):
        await hub.trigger(remote_id="9001")
    assert len(twin.mails) <= 1
    assert hub.connector.trigger_repeat == "never"


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (401, {}, AuthenticationError),
        (403, {}, AuthenticationError),
        (409, {}, PermanentError),
        (422, {}, PermanentError),
        (429, {"Retry-After": "5"}, RateLimited),
        (500, {}, OutcomeUnknown),
        (502, {}, OutcomeUnknown),
        (503, {}, OutcomeUnknown),
        (503, {"Retry-After": "5"}, RateLimited),
        (504, {}, OutcomeUnknown),
    ],
)
async def test_what_a_refused_send_means(hub, twin, status, headers, error):
    await hub.profile()
    twin.faults.append(Fault(match="sendSingle", status=status, headers=headers, body="<html>no</html>", times=None))
    with pytest.raises(error) as raised:
        await hub.trigger(remote_id="9001")
    assert type(raised.value) is error
