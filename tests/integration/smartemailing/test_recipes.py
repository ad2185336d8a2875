"""Each recipe for SmartEmailing, copied to the letter: its connectors.yaml, its files, its commands, its bodies."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.integration.smartemailing.conftest import ADA, HOW_TO, HUB, Follow, Page, World, read_yaml

from esplanade import runtime
from esplanade.records import DeliveryFilter
from esplanade.testing import Fault
from esplanade_smartemailing.twin_scenarios import FromList, Scenario, SendEmail, SendSms, Step, ToList
from esplanade_smartemailing.twin_templates import render

RECIPES = (
    "welcome-series",
    "opens-and-clicks",
    "order-status",
    "abandoned-checkout",
    "birthday-reward",
    "lists-as-audiences",
)
DAY = 86_400.0


def scenario(world: World, event: str, *steps: Step) -> Scenario:
    """The scenario that a page has the operator make, in place of the one that the twin furnishes."""
    scenarios = world.mailer.scenarios
    scenarios.scenarios = [each for each in scenarios.scenarios if each.event != event]
    return scenarios.add(event, *steps)


def sent(world: World) -> list[int]:
    """The e-mails that Ada got, by their ids."""
    return [each["email_id"] for each in world.mails() if each["kind"] != "sms"]


def emails(world: World, *numbers: int) -> list[Step]:
    for number in numbers:
        world.mailer.account.add_email(f"e-mail {number}", number)
    return [SendEmail(email_id=number) for number in numbers]


async def denied(world: World) -> None:
    command = ("esplanade", "send", "consent", "--email", ADA, "--purpose", "newsletter", "--state", "denied")
    await world.run(*command)


async def granted(world: World) -> None:
    command = ("esplanade", "send", "consent", "--email", ADA, "--purpose", "newsletter", "--state", "granted")
    await world.run(*command, "--evidence", "form=footer")


@pytest.mark.parametrize("name", RECIPES)
async def test_a_recipe_passes_the_check_of_every_connector(follow: Follow, name: str) -> None:
    world = await follow(name)
    for connector in world.hub.connections:
        assert (await world.hub.check(connector)).status == "ok"


def test_every_recipe_is_named_where_smartemailing_is_connected() -> None:
    text = (HOW_TO / "smartemailing.md").read_text("utf-8")
    assert [name for name in RECIPES if f"]({name}.md)" not in text] == []


# A welcome series.


async def test_a_new_person_with_consent_gets_the_welcome_series_once(follow: Follow) -> None:
    world = await follow("welcome-series")
    scenario(world, "welcome", *emails(world, 81, 82))
    await world.do("A new person")
    assert world.statuses() == {"Newsletter": "confirmed"}
    assert sent(world) == [81, 82]
    (event,) = world.mailer.sends.events
    assert event["payload"].items() >= {"plan": "starter", "trigger_id": "u-1", "language": "nl"}.items()
    contact = world.contact()
    assert contact is not None
    assert (contact["fields"], contact["purposes"]) == ({"name": "Ada"}, [2])

    await world.do("A new person")
    await world.later(DAY)
    assert sent(world) == [81, 82], "the same id begins it once"
    assert "duplicate" in await world.reasons()


async def test_without_consent_nobody_is_welcomed_and_it_is_not_kept_for_later(follow: Follow) -> None:
    world = await follow("welcome-series")
    await world.do("A new person", without="consent")
    assert world.mailer.sends.events == []
    assert "no-consent" in await world.reasons()
    await world.do("A new person", only="consent")
    await world.later(DAY)
    assert world.mailer.sends.events == []
    await world.do("A new person", only="trigger")
    assert world.mailer.sends.events == []
    assert (await world.reasons())[-1] == "duplicate", "its id is used up"


async def test_with_double_opt_in_the_series_begins_with_the_click(follow: Follow) -> None:
    world = await follow("welcome-series", variant=1)
    scenario(world, "added-to-list", *emails(world, 81, 82))
    await world.do("A new person who is asked")
    assert (world.mailer.snapshot()["asked"], world.mails()) == ([ADA], [])
    assert world.mailer.click_confirmation(ADA)
    await world.rest()
    assert sent(world) == [81, 82]
    await world.later(DAY)
    person = await world.hub.store.run(lambda unit: unit.person_by_email(ADA))
    assert person is not None
    assert person.consents["newsletter"].state == "granted"
    assert sent(world) == [81, 82]


# Opens and clicks.


@pytest.mark.parametrize("kind", ["newsletter", "autoresponder", "triggered"])
async def test_an_open_and_a_click_become_a_signed_post_to_the_cdp_whatever_the_campaign_was(
    follow: Follow, kind: str
) -> None:
    world = await follow("opens-and-clicks")
    bodies = {name: text.replace('"newsletter"', f'"{kind}"') for name, text in world.page.bodies().items()}
    scenario(world, "opened", world.mailer.webhook("opened", body=bodies["Opened"]))
    scenario(world, "clicked", world.mailer.webhook("clicked", body=bodies["Clicked"]))
    world.mailer.account.create(ADA).values["name"] = "Ada"
    world.mailer.happens("opened", ADA)
    await world.rest()
    world.mailer.happens("clicked", ADA)
    await world.rest()
    campaign = {"campaign": "Spring sale", "kind": kind}
    assert world.told() == [
        ("campaign-opened", campaign),
        ("link-clicked", {**campaign, "link": "https://shop.example/spring"}),
    ]


async def test_the_post_has_the_shape_that_the_page_shows(follow: Follow) -> None:
    world = await follow("opens-and-clicks")
    scenario(world, "clicked", world.mailer.webhook("clicked", body=world.page.bodies()["Clicked"]))
    world.mailer.account.create(ADA)
    world.mailer.happens("clicked", ADA)
    await world.rest()
    (shown,) = [msgspec.json.decode(each) for each in world.page.blocks("text")]
    received = world.cdp.events[-1]
    assert (received.type, received.data.keys()) == (shown["type"], shown["data"].keys())
    assert {**received.data, "trigger_id": ""} == {**shown["data"], "trigger_id": ""}


async def test_an_open_of_an_address_that_smartemailing_does_not_have_is_told_to_nobody(follow: Follow) -> None:
    world = await follow("opens-and-clicks")
    webhook = world.mailer.webhook(
        "opened", body=world.page.bodies()["Opened"].replace("{{df_emailaddress}}", "eve@example.com")
    )
    world.mailer.account.create(ADA)
    world.mailer.fire("opened", ADA, {}, webhook)
    await world.rest()
    assert world.cdp.triggers == []
    ((state, error),) = await world.calls()
    assert (state, "no contact with the address" in str(error)) == ("dead", True)


# The status of an order.


async def test_an_order_is_confirmed_with_all_that_the_mail_needs_and_once(follow: Follow) -> None:
    world = await follow("order-status")
    under_way = world.mailer.account.add_list("Orders under way").id
    scenario(world, "order-confirmation", ToList(list_id=under_way), *emails(world, 81))
    scenario(world, "order-completed", FromList(list_id=under_way))
    await world.run("esplanade", "send", "profile", "--email", ADA, "--field", "firstname=Ada")
    await world.do("An order")
    await world.do("An order")
    assert sent(world) == [81]
    (html,) = world.page.blocks("html")
    mail = render(html, {"event": world.mails()[0]["words"]})
    assert "Dear Ada, thank you for order A-19." in mail
    assert "<li>2 x Lamp: 24.5 EUR</li>" in mail
    assert "Paid by card. It arrives on 18 January." in mail
    assert world.statuses() == {"Orders under way": "confirmed"}

    await world.do("The order is completed")
    assert world.statuses() == {}, "the scenario that sends the rest looks for that"
    assert sent(world) == [81]


async def test_a_confirmation_whose_outcome_nobody_knows_is_not_sent_twice(
    follow: Follow, capsys: pytest.CaptureFixture[str]
) -> None:
    world = await follow("order-status")
    world.mailer.faults.append(Fault(match="POST /api/v3/trigger-event", action="cut-after", times=1))
    await world.do("An order")
    await world.later(DAY)
    assert len(world.mailer.sends.events) == 1
    triggers = DeliveryFilter(connector="smartemailing", kind="trigger")
    waiting = await world.hub.store.run(lambda unit: unit.deliveries(triggers, limit=10))
    assert [(each.state, each.reason) for each, _ in waiting] == [("parked", "outcome-unknown")]
    capsys.readouterr()
    await world.run("esplanade", "queue")
    assert "outcome-unknown" in capsys.readouterr().out
    await world.run("esplanade", "replay", "--id", f"d-{waiting[0][0].id}", "--force")
    assert len(world.mailer.sends.events) == 2


# An abandoned checkout.


async def test_a_cart_is_reminded_of_with_its_products_and_once(follow: Follow) -> None:
    world = await follow("abandoned-checkout")
    scenario(world, "abandoned-cart", *emails(world, 81))
    await granted(world)
    await world.do("A cart")
    await world.do("A cart")
    assert sent(world) == [81]
    words = world.mails()[0]["words"]
    assert words["checkout_url"] == "https://shop.example/cart/C-77"
    (lamp,) = words["products"]
    assert lamp.keys() >= {"name", "price", "currency", "quantity", "url", "image_url"}
    assert "duplicate" in await world.reasons()
    cart = Path("cart.json").read_text("utf-8")
    Path("cart.json").write_text(cart.replace("C-77", "C-78"), "utf-8")
    await world.do("A cart")
    assert sent(world) == [81, 81], "another cart is another mail"


async def test_nobody_is_reminded_without_consent(follow: Follow) -> None:
    world = await follow("abandoned-checkout")
    await world.do("A cart")
    assert world.mailer.sends.events == []
    assert "no-consent" in await world.reasons()


async def test_whoever_withdraws_while_the_reminder_waits_does_not_get_it(follow: Follow) -> None:
    world = await follow("abandoned-checkout")
    await granted(world)
    await world.run("esplanade", "pause", "smartemailing")
    await world.do("A cart")
    await denied(world)
    await world.run("esplanade", "resume", "smartemailing")
    await world.later(60)
    assert world.mailer.sends.events == []
    assert "no-consent" in await world.reasons()
    assert world.statuses() == {"Newsletter": "unsubscribed"}


async def test_a_reminder_that_comes_too_late_is_not_sent(follow: Follow) -> None:
    world = await follow("abandoned-checkout")
    await granted(world)
    await world.run("esplanade", "pause", "smartemailing")
    await world.do("A cart")
    await world.later(6 * 3600)
    await world.run("esplanade", "resume", "smartemailing")
    await world.later(60)
    assert world.mailer.sends.events == []
    assert "expired" in await world.reasons()


# A birthday with a reward.


async def test_a_birthday_sends_the_mail_and_the_cdp_hears_of_the_reward_each_year(follow: Follow) -> None:
    world = await follow("birthday-reward", begins=datetime(2026, 12, 9, 8, tzinfo=UTC))
    body = world.page.bodies()["The body"]
    scenario(world, "birthday", *emails(world, 81), world.mailer.webhook("reward", body=body))
    await world.do("A person")
    contact = world.contact()
    assert contact is not None
    assert contact["fields"] == {"birthday": "1990-12-10", "name": "Ada"}
    world.mailer.new_day()
    await world.rest()
    assert (sent(world), world.told()) == ([], [])

    for year in (1, 2):
        await world.later(DAY)
        world.mailer.new_day()
        await world.rest()
        assert sent(world) == [81] * year
        assert world.told() == [("reward-given", {"reward": "10 % off", "code": "BIRTHDAY10"})] * year
        await world.later(364 * DAY)
    assert world.cdp.people[ADA].fields["last_reward"] == "BIRTHDAY10"
    assert world.cdp.people[ADA].consents == {}, "what the CDP said itself is not sent back"


# Lists as audiences.


async def test_people_are_added_moved_and_removed_and_a_list_is_made(follow: Follow) -> None:
    world = await follow("lists-as-audiences")
    world.mailer.keep_requests = True
    await world.do("Add to a list")
    assert world.statuses() == {"trial": "confirmed"}
    world.mailer.requests.clear()
    await world.do("Move between lists")
    assert world.statuses() == {"customers": "confirmed"}
    (one,) = [each for each in world.mailer.requests if each.path.endswith("/import")]
    (row,) = msgspec.json.decode(one.body)["data"]
    assert {each["id"]: each["status"] for each in row["contactlists"]} == {21: "removed", 22: "confirmed"}
    await world.do("Add to another list")
    assert world.statuses() == {"customers": "confirmed", "vip": "confirmed"}, "there was only a list VIP"
    await world.do("Remove from a list")
    assert world.statuses() == {"vip": "confirmed"}


async def test_an_sms_goes_by_a_scenario(follow: Follow) -> None:
    world = await follow("lists-as-audiences")
    scenario(world, "pickup-sms", SendSms(sms_id=3))
    await world.do("Add to a list")
    await world.do("An SMS")
    (sms,) = world.mails()
    assert (sms["kind"], sms["cellphone"]) == ("sms", "+420 600 123 456")


async def test_a_move_that_a_scenario_makes_comes_back_to_the_cdp(follow: Follow) -> None:
    world = await follow("lists-as-audiences")
    await world.do("Add to a list")
    scenario(world, "clicked", ToList(list_id=22, leaving=21))
    world.mailer.happens("clicked", ADA)
    await world.rest()
    assert world.statuses() == {"customers": "confirmed"}
    assert world.cdp.people[ADA].audiences == {"customers": True}, "the trial is the CDP's own word, and not taken back"


async def test_whoever_unsubscribed_from_a_list_stays_off_it(follow: Follow) -> None:
    world = await follow("lists-as-audiences")
    await world.do("Add to a list")
    world.mailer.unsubscribe(ADA, 21)
    await world.rest()
    await world.do("Add to a list")
    assert world.statuses() == {"trial": "unsubscribed"}


@pytest.mark.parametrize("name", RECIPES)
def test_every_block_of_a_recipe_is_whole(name: str) -> None:
    text = (HOW_TO / f"{name}.md").read_text("utf-8")
    for block in text.split("```yaml\n")[1:]:
        found = read_yaml(block.partition("\n```")[0])["connectors"]
        assert found["smartemailing"]["twin"] is True
        assert found["smartemailing"]["pace"] == {"rate": "4/s", "burst": 2000, "daily": 100000}


def test_all_recipes_go_into_one_connector(tmp_path: Path) -> None:
    whole: dict[str, Any] = read_yaml(HUB)
    for name in RECIPES:
        _join(whole, read_yaml(Page(name).connectors()))
    (tmp_path / "connectors.yaml").write_bytes(msgspec.json.encode(whole))
    config = runtime.load(tmp_path / "connectors.yaml", {}).config
    assert config.warnings == []
    assert config.connectors["smartemailing"].triggers.keys() >= {"welcome", "order-completed", "pickup-sms"}


def _join(whole: dict[str, Any], part: dict[str, Any]) -> None:
    """Add a part, which must not say anything else of what is there already."""
    for key, value in part.items():
        if isinstance(value, dict):
            _join(whole.setdefault(key, {}), value)
        else:
            assert whole.setdefault(key, value) == value, key
