"""Triggers: a row for each, written once however often it is sent, and a mailing that is never sent twice."""

import json

import pytest

from esplanade import OutcomeUnknown, PermanentError, Product, ProductSet, RateLimited
from esplanade.testing import Fault, Furnishing
from esplanade_copernica.settings import CopernicaTrigger

MAILING = CopernicaTrigger(route="mailing", template=77)
PRODUCTS = ProductSet(
    set="basket",
    items=[
        Product(id="a", title="Trail shoe", price=79.5, currency="EUR", url="https://shop.example/p/a", quantity=1),
        Product(id="b", title="x" * 300),
    ],
)


def rows(twin, collection="SQ_triggers", email="noor@example.net"):
    return [row.fields for row in twin.below(twin.find(email).id, collection)]


@pytest.fixture
def furnished(twin):
    twin.furnish(Furnishing(triggers={"cart": MAILING}))


class TestRows:
    async def test_a_row_carries_the_trigger_and_its_products(self, hub, twin):
        twin.sign_up("noor@example.net", {})
        outcome = await hub.trigger(data={"cart": 7}, language="nl", products=PRODUCTS)
        (row,) = rows(twin)
        assert outcome.remote_id == str(twin.find("noor@example.net").id)
        assert (row["trigger_id"], row["trigger"], row["language"]) == ("t-9", "abandoned-cart", "nl")
        assert (row["product_count"], row["product_set"], json.loads(row["data"])) == ("2", "basket", {"cart": 7})
        assert (row["p1_title"], row["p1_price"], row["p1_quantity"]) == ("Trail shoe", "79.5", "1")
        assert (row["p2_id"], row["p2_title"], row["p2_price"]) == ("b", "x" * 255, "")
        assert row["created_at"] == "2026-01-15 11:00:00"  # local time there

    async def test_a_repeat_writes_the_same_row(self, hub, twin):
        for _ in range(2):
            await hub.trigger()
        assert [row["trigger_id"] for row in rows(twin)] == ["t-9"]

    async def test_somebody_without_a_profile_gets_one(self, hub, twin):
        await hub.trigger()
        assert len(rows(twin)) == 1

    @pytest.mark.parametrize("layout", ["json", "rows"])
    async def test_products_may_be_one_text_or_rows_of_their_own(self, open_hub, twin, layout):
        async with open_hub(product_layout=layout) as hub:
            for _ in range(2):
                await hub.trigger(products=PRODUCTS)
        if layout == "json":
            assert [each["id"] for each in json.loads(rows(twin)[0]["products"])] == ["a", "b"]
        else:
            found = [
                (row["trigger_id"], row["position"], row["id"], row["title"][:5]) for row in rows(twin, "SQ_products")
            ]
            assert found == [("t-9", "1", "a", "Trail"), ("t-9", "2", "b", "xxxxx")]

    async def test_more_products_than_the_layout_holds_are_counted(self, open_hub, twin):
        async with open_hub(products=1) as hub:
            await hub.trigger(products=PRODUCTS)
        (row,) = rows(twin)
        assert (row["product_count"], row["p1_id"], "p2_id" in row) == ("2", "a", False)

    async def test_whether_a_row_was_written_can_be_looked_up(self, hub, twin):
        assert not await hub.connector.was_sent(hub.a_trigger(), hub.ctx)
        twin.faults.append(Fault(match="PUT /v4/profile", action="cut-after"))
        with pytest.raises(Exception, match="cut"):
            await hub.trigger()
        assert await hub.connector.was_sent(hub.a_trigger(), hub.ctx)
        assert not await hub.connector.was_sent(hub.a_trigger(trigger_id="t-10"), hub.ctx)


@pytest.mark.usefixtures("furnished")
class TestMailings:
    async def test_the_template_is_sent_to_the_row_so_that_its_data_are_there(self, hub, twin):
        await hub.trigger(target=MAILING, products=PRODUCTS)
        (mail,) = twin.mails
        assert (mail["template"], mail["targettype"], mail["email"]) == (77, "subprofile", "noor@example.net")
        assert [row["mailing"] for row in rows(twin)] == ["sent"]
        assert await hub.connector.was_sent(hub.a_trigger(target=MAILING), hub.ctx)

    async def test_an_account_with_the_old_paths_is_understood(self, hub, twin):
        twin.mail_path_style = "ms"
        await hub.trigger(target=MAILING)
        assert len(twin.mails) == 1

    async def test_one_that_was_about_to_go_is_left_to_a_person(self, hub, twin):
        twin.faults.append(Fault(match="POST /v4/draganddrop/emailing", action="cut-after"))
        with pytest.raises(OutcomeUnknown):
            await hub.trigger(target=MAILING)
        assert len(twin.mails) == 1
        with pytest.raises(OutcomeUnknown, match="cannot be asked"):
            await hub.connector.was_sent(hub.a_trigger(target=MAILING), hub.ctx)

    async def test_one_whose_row_was_never_written_was_not_sent(self, hub, twin):
        twin.sign_up("noor@example.net", {})
        twin.faults.append(Fault(match="PUT /v4/profile", action="cut-before"))
        with pytest.raises(Exception, match="cut"):
            await hub.trigger(target=MAILING)
        assert not await hub.connector.was_sent(hub.a_trigger(target=MAILING), hub.ctx)

    async def test_one_whose_mark_fails_is_not_sent_again(self, hub, twin):
        twin.faults.append(Fault(match="PUT /v4/subprofile", status=503, times=None))
        await hub.trigger(target=MAILING)
        twin.faults.clear()
        with pytest.raises(OutcomeUnknown):
            await hub.trigger(target=MAILING)
        assert len(twin.mails) == 1

    async def test_one_that_was_sent_is_not_sent_again(self, hub, twin):
        for _ in range(2):
            await hub.trigger(target=MAILING)
        assert len(twin.mails) == 1

    async def test_one_that_was_refused_for_now_is_sent_the_next_time(self, hub, twin):
        twin.faults.append(Fault(match="POST /v4/draganddrop/emailing", status=429))
        with pytest.raises(RateLimited):
            await hub.trigger(target=MAILING)
        await hub.trigger(target=MAILING)
        assert len(twin.mails) == 1

    async def test_a_number_that_is_wrong_is_told_at_once(self, hub, twin):
        with pytest.raises(PermanentError, match=r"correct the number in connectors.yaml"):
            await hub.trigger(target=CopernicaTrigger(route="mailing", template=999))
        assert twin.mails == []


async def test_somebody_whose_profile_is_gone_gets_another(hub, twin):
    profile = twin.sign_up("noor@example.net", {})
    twin.remove_profile(profile)
    outcome = await hub.trigger(remote_id=str(profile))
    assert outcome.remote_id == str(twin.find("noor@example.net").id)
    assert len(rows(twin)) == 1


@pytest.mark.parametrize(("own", "of_products", "counts"), [("de", "fr", "de"), (None, "fr", "fr"), (None, None, "nl")])
async def test_the_language_is_the_trigger_s_else_the_products_else_the_hub_s(hub, twin, own, of_products, counts):
    await hub.trigger(language=own, products=ProductSet(items=[], language=of_products))
    assert rows(twin)[0]["language"] == counts
