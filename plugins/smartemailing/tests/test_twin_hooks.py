"""What the twin tells the hub: registered web-hooks (section 8a) and scenarios' webhooks (section 8b, and the guide)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import parse_qs, parse_qsl
from xml.etree import ElementTree

import aiohttp
import pytest

from esplanade_smartemailing.settings import EVENT_PARAMETER
from esplanade_smartemailing.twin_scenarios import FORM, SAMPLES, TEXT, XML, Webhook

ADA = {"emailaddress": "ada@example.com", "name": "Ada"}
LOGIN = aiohttp.encode_basic_auth("hub", "demo-password-of-webhooks")


@pytest.fixture
def register(call, twin, hub):
    """Register a web-hook that calls the hub."""

    async def made(event, **more):
        body = {"target_url": f"{twin.hook_url}?{EVENT_PARAMETER}={event}", "event": event, **more}
        found = await call("POST", "web-hooks", body)
        assert found.status == 201
        return found.said

    return made


async def test_a_web_hook_is_registered_listed_and_removed(call, register, twin):
    auth = {"login": "hub", "password": "pw"}
    assert await register("new_contact", basic_auth=auth) == {"id": 1, "status": "created", "meta": {}}
    assert (await register("new_contact"))["id"] == 2
    row = (await call("GET", "web-hooks", id="1")).data[0]
    assert row == {
        "id": 1,
        "url": f"{twin.hook_url}?event_name=new_contact",
        "method": "POST",
        "event": "new_contact",
        "active": True,
        "timeout": 30,
        "last_response_code": None,
        "last_call_time": None,
        "errors_in_row": 0,
    }
    assert [each["id"] for each in (await call("GET", "web-hooks", url=row["url"], select="id")).data] == [1, 2]
    assert (await call("DELETE", "web-hooks/1")).status == 204
    assert (await call("DELETE", "web-hooks/1")).refused[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        {"target_url": "https://hub.example/", "event": "meiro_open"},
        {"target_url": "hub.example", "event": "new_contact"},
        {"target_url": "https://hub.example/", "event": "new_contact", "basic_auth": {"login": "x"}},
        {"event": "new_contact"},
    ],
)
async def test_a_web_hook_that_cannot_be_is_refused(call, twin, body):
    assert (await call("POST", "web-hooks", body)).refused[0] == 422
    twin.habits.more_hook_events.append("meiro_open")
    assert (
        await call("POST", "web-hooks", {"target_url": "https://hub.example/", "event": "meiro_open"})
    ).status == 201


async def test_single_web_hooks_are_neither_read_nor_changed_unless_a_habit_says_so(call, register, twin):
    await register("new_contact")
    assert (await call("GET", "web-hooks/1")).refused[0] == 405
    assert (await call("PUT", "web-hooks/1", {})).refused[0] == 405
    twin.habits.single_web_hooks = True
    changed = await call("PUT", "web-hooks/1", {"event": "updated_contact", "active": False})
    assert (changed.data["id"], changed.data["event"], changed.data["active"]) == (1, "updated_contact", False)
    assert (await call("GET", "web-hooks/1")).data == changed.data
    assert (await call("PUT", "web-hooks/1", {"target_url": "x"})).refused[0] == 422


async def test_what_happens_is_told_to_the_web_hooks_of_its_event(load, register, hub, twin):
    for event in ("new_contact", "updated_contact", "unsubscribed_contact", "delivery_status", "sent_email"):
        await register(event)

    async def told():
        await twin.settled()
        found = [hub.came.get_nowait() for _ in range(hub.came.qsize())]
        return sorted(parse_qs(query)[EVENT_PARAMETER][0] for _, query, _, _ in found)

    await load({**ADA, "contactlists": [{"id": 7, "status": "confirmed"}]})
    assert await told() == ["new_contact"]
    await load(ADA)
    assert await told() == []
    await load({**ADA, "town": "Brno"})
    assert await told() == ["updated_contact"]
    twin.unsubscribe("ada@example.com", 7)
    assert await told() == ["unsubscribed_contact", "updated_contact"]
    twin.bounce("ada@example.com")
    assert await told() == ["delivery_status", "updated_contact"]
    assert twin.calls_made == 6


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("flat", {"event": "new_contact", "contact_id": 5001, "emailaddress": "ada@example.com"}),
        ("contact", {"event": "new_contact", "contact": {"id": 5001, "emailaddress": "ada@example.com"}}),
        ("data", {"event": "new_contact", "data": {"contact_id": 5001, "emailaddress": "ada@example.com"}}),
        ("list", {"event": "new_contact", "data": [{"contact_id": 5001, "emailaddress": "ada@example.com"}]}),
        ("id", {"event": "new_contact", "contact_id": 5001}),
        ("form", None),
    ],
)
async def test_the_body_has_whatever_shape_the_habit_says(load, register, hub, twin, shape, said):
    twin.habits.hook_body = shape
    await register("new_contact", basic_auth={"login": "hub", "password": "demo-password-of-webhooks"})
    await load(ADA)
    method, _, headers, body = await hub.next()
    assert (method, headers["Authorization"]) == ("POST", LOGIN)
    if shape == "form":
        assert headers["Content-Type"] == FORM
        assert dict(parse_qsl(body.decode()))["emailaddress"] == "ada@example.com"
    else:
        assert headers["Content-Type"] == "application/json"
        assert json.loads(body) == said


async def test_failures_are_counted_and_may_switch_a_web_hook_off(call, load, register, hub, twin):
    await register("new_contact")
    url, twin.habits.disables_after = twin.hooks.hooks[1].url, 2

    async def sent(status):
        hub.status = status
        await twin.send(b"{}", url=url)
        row = (await call("GET", "web-hooks")).data[0]
        return row["active"], row["errors_in_row"], row["last_response_code"]

    assert [await sent(each) for each in (500, 204, 503)] == [(True, 1, 500), (True, 0, 204), (True, 1, 503)]
    assert (await call("GET", "web-hooks")).data[0]["last_call_time"] == "2026-01-15 11:00:00"
    assert await sent(500) == (False, 2, 500)
    assert hub.came.qsize() == 4
    await load(ADA)
    assert await twin.send(b"{}", url=url) == 200
    assert hub.came.qsize() == 4


async def test_no_answer_is_a_failure_too(call, twin):
    twin.hooks.add("http://127.0.0.1:1/in", "new_contact")
    with pytest.raises(aiohttp.ClientError):
        await twin.send(b"{}", url="http://127.0.0.1:1/in")
    row = (await call("GET", "web-hooks")).data[0]
    assert (row["errors_in_row"], row["last_response_code"]) == (1, None)


async def test_web_hooks_elsewhere_are_called_by_nobody(load, twin):
    twin.hooks.add("https://hub.example/in", "new_contact")
    await load(ADA)
    assert twin.calls_made == 0


# Scenarios.


@pytest.mark.parametrize("event", list(SAMPLES))
async def test_each_event_of_the_guide_has_a_webhook(load, hub, twin, event):
    await load(ADA)
    twin.fire(event, "ada@example.com")
    method, query, headers, body = await hub.next()
    said = json.loads(body)
    assert (method, headers["Authorization"], headers["Content-Type"]) == ("POST", LOGIN, "application/json")
    assert parse_qs(query) == {EVENT_PARAMETER: [said["event"]], "k": ["demo-secret-of-webhooks"]}
    common = {"emailaddress": "ada@example.com", "name": "Ada", "source": "smartemailing"}
    assert said == {"event": said["event"], **common, **{key: str(value) for key, value in SAMPLES[event].items()}}


async def test_a_webhook_may_have_any_content_type(load, hub, twin):
    await load(ADA)
    for kind in (FORM, XML, TEXT):
        twin.fire("clicked", "ada@example.com", webhook=twin.webhook("clicked", content_type=kind))
    found = {}
    for _ in range(3):
        _, _, headers, body = await hub.next()
        found[headers["Content-Type"]] = body.decode()
    assert dict(parse_qsl(found[FORM]))["link"] == "https://shop.example/p/1"
    assert ElementTree.fromstring(found[XML]).findtext("emailaddress") == "ada@example.com"
    assert "event: link_clicked" in found[TEXT]


async def test_a_webhook_may_be_anything_at_all(load, hub, twin):
    await load({**ADA, "customfields": [{"id": 1, "value": "gold"}, {"id": 5, "options": [1, 2]}], "gender": "F"})
    webhook = Webhook(
        url=f"{twin.hook_url}?who={{{{df_emailaddress}}}}",
        method="PUT",
        content_type="application/vnd.shop+json",
        headers={"X-Tier": "{{cf_1}}"},
        body="{% if df_gender == 'M' %}Mr{% elseif df_gender == 'F' %}Ms{% else %}?{% endif %} {{ df_name }} {{cf_5}} "
        "{% for each in event.products %}{{each.name}}{% if not loop.last %}, {% endif %}{% endfor %}{{event.none}}",
    )
    twin.fire("clicked", "ada@example.com", {"products": [{"name": "Lamp"}, {"name": "Chair"}]}, webhook)
    method, query, headers, body = await hub.next()
    assert (method, parse_qs(query), headers["X-Tier"]) == ("PUT", {"who": ["ada@example.com"]}, "gold")
    assert (headers["Content-Type"], body.decode()) == ("application/vnd.shop+json", "Ms Ada red, blue Lamp, Chair")
    assert "Authorization" not in headers


async def test_a_get_has_all_in_its_url(load, hub, twin):
    await load({**ADA, "name": "A & B"})
    webhook = Webhook(url=f"{twin.hook_url}?email={{{{df_emailaddress}}}}&name={{{{df_name}}}}", method="GET", body="x")
    call = twin.fire("opened", "ada@example.com", webhook=webhook)
    method, query, _, body = await hub.next()
    assert (method, body) == ("GET", b"")
    assert parse_qs(query) == {"email": ["ada@example.com"], "name": ["A & B"]}
    assert parse_qs(call.query) == parse_qs(query)


async def test_a_quotation_mark_spoils_json_unless_values_are_escaped(load, hub, twin):
    await load({**ADA, "name": 'Ada "Countess" Byron'})
    bodies = []
    for habit in ("none", "type"):
        twin.habits.escaping = habit
        bodies.append(twin.fire("opened", "ada@example.com").body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(bodies[0])
    assert json.loads(bodies[1])["name"] == 'Ada "Countess" Byron'


async def test_a_scenario_runs_by_itself_when_its_event_happens(load, hub, twin, clock):
    twin.scenarios.add("added-to-list", twin.webhook("added-to-list"))
    twin.scenarios.add("birthday", twin.webhook("birthday"))
    twin.scenarios.add("date-field", twin.webhook("date-field"))
    twin.scenarios.add("opened", twin.webhook("opened"))

    async def told():
        await twin.settled()
        found = [json.loads(hub.came.get_nowait()[3]) for _ in range(hub.came.qsize())]
        return sorted(
            (each["event"], each.get("list_id") or each.get("date") or each.get("campaign")) for each in found
        )

    await load({**ADA, "contactlists": [{"id": 7, "status": "confirmed"}]})
    assert await told() == [("added_to_list", "7")]
    dates = {"birthday": "1990-12-10 00:00:00", "customfields": [{"id": 3, "value": "2020-12-10 08:00:00"}]}
    await load({**ADA, **dates})
    twin.new_day()
    assert await told() == []
    clock.set(datetime(2026, 12, 9, 23, 30, tzinfo=UTC).timestamp())
    twin.new_day()
    assert await told() == [("birthday", "1990-12-10"), ("date_field", "2020-12-10")]
    twin.happens("opened", "ada@example.com", {"campaign": "Spring"})
    assert await told() == [("campaign_opened", "Spring")]
    assert twin.account.contact(5001).last_opened == clock.time()
    with pytest.raises(LookupError):
        twin.happens("opened", "nobody@example.com")


async def test_the_door_fires_a_webhook(client, load, hub, twin):
    await load(ADA)
    said = {"event": "reward", "email": "ada@example.com", "data": {"reward": "Mug", "code": "M-1"}}
    async with client.post("/__twin__/fire", json=said) as answer:
        assert answer.status == 204
    assert json.loads((await hub.next())[3])["code"] == "M-1"
    for wrong in ({**said, "event": "nothing"}, {**said, "email": "nobody@example.com"}):
        async with client.post("/__twin__/fire", json=wrong) as answer:
            assert answer.status == 404


async def test_nothing_can_be_fired_before_the_hub_has_a_url(load, twin):
    await load(ADA)
    with pytest.raises(RuntimeError, match="no hook_url"):
        twin.fire("opened", "ada@example.com")
