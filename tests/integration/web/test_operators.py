"""What operators see and order, and who counts as one."""

import asyncio
import json

import pytest

from esplanade.errors import AuthenticationError, MissingMethodError, NoPublicUrl, PluginError, RateLimited
from esplanade.ingest.accept import ROOM
from esplanade.model import Exchange
from esplanade.records import Attempt, Clocked, ConnectorState, Delivery, LedgerRow, Note, Remote, Standing

from .conftest import ADMIN, problem_of, running

AT = 1_768_471_200.0  # 2026-01-15T10:00:00Z, where FakeClock starts
SAID = "2026-01-15T10:00:00.000Z"


def fill(unit):
    """Ada, with everything a person can have."""
    ada = unit.add_person("Ada@Example.com", "ada@example.com", "u-1", AT)
    ada.emails = ["a@old.example"]
    ada.fields = {"firstname": Clocked("Ada", AT), "phone": Clocked(None, AT)}
    ada.audiences = {"vip": Clocked(value=True, at=AT)}
    ada.consents = {
        "newsletter": Standing(state="granted", method="double", at=AT, source="shop", evidence={"ip": "::1"})
    }
    unit.save_person(ada)
    unit.add_email(ada.id, "a@old.example")
    unit.append_ledger(
        LedgerRow(
            person=ada.id, purpose="newsletter", state="granted", method="double", source="shop",
            evidence={"ip": "::1"}, said_at=AT, recorded_at=AT, lifts=True,
        )
    )  # fmt: skip
    unit.save_remote(
        Remote(person=ada.id, connector="webpower", remote_id="9001", fields={"firstname": "Ada"}, acked_at=AT)
    )
    for connector, reason in [("webpower", "echo"), ("off", "no-consent")]:
        unit.note(Note(person=ada.id, at=AT, what="not-sent", connector=connector, kind="profile", reason=reason))
    unit.note(Note(person=ada.id, at=AT, what="accepted", kind="profile", event_id="e-1"))
    for index, due_at in enumerate([AT - 30, AT, AT + 60]):
        unit.enqueue(
            Delivery(
                id=0, lane="webpower", kind="trigger", person=ada.id, subject=f"cart-{index}", urgency=1,
                due_at=due_at, first_at=AT - 30,
            )
        )  # fmt: skip
    unit.save_connector_state(ConnectorState(name="webpower", state="auth", reason="401", last_error="invalid grant"))
    return ada.id


@pytest.fixture
async def ada(hub):
    return await hub.store.run(fill)


# Who may


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "hub.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
    ],
)
async def test_without_a_token_only_this_machine_is_let_in(client, headers):
    problem = await problem_of(await client.get("/v1/connectors", headers=headers), 403)
    assert "hub.admin_token" in problem["detail"]


async def test_this_machine_is_let_in(hub, client):
    origin = f"http://localhost:{hub.port}"
    for headers in ({}, {"Host": f"localhost:{hub.port}", "Origin": origin}, {"Host": f"[::1]:{hub.port}"}):
        assert (await client.get("/v1/connectors", headers=headers)).status == 200


async def test_with_a_token_nothing_else_counts(tmp_path):
    async with running(tmp_path, admin_token="admin-token") as (_, client):
        for headers in ({}, {"Authorization": "Bearer shop-token"}, {"Authorization": "Bearer "}):
            await problem_of(await client.get("/v1/connectors", headers=headers), 401)
        far = {**ADMIN, "Host": "hub.example", "X-Forwarded-For": "203.0.113.9"}
        assert (await client.get("/v1/connectors", headers=far)).status == 200


# What is


async def test_connectors_show_queue_lag_and_state(ada, client):
    content = await (await client.get("/v1/connectors")).json()
    webpower, off = content["connectors"]
    assert webpower["queue"] == {"due": 2, "scheduled": 1, "in_flight": 0, "parked": 0, "dead": 0}
    assert (webpower["state"], webpower["reason"], webpower["last_error"]) == ("auth", "401", "invalid grant")
    assert webpower["lag_s"] == 30.0
    assert webpower["breaker"] == "closed"
    assert (off["state"], off["lag_s"], off["next_pull"]) == ("disabled", 0.0, None)


async def test_a_plugin_that_failed_says_why_and_one_that_is_gone_is_paused(hub, client):
    await hub.store.run(lambda unit: unit.save_connector_state(ConnectorState(name="webpower", state="gone")))
    webpower, _ = (await (await client.get("/v1/connectors")).json())["connectors"]
    assert (webpower["state"], webpower["reason"]) == ("paused", "gone")
    hub.failure = "cannot be imported"
    webpower, off = (await (await client.get("/v1/connectors")).json())["connectors"]
    assert (webpower["state"], webpower["reason"], off["state"]) == ("failed", "cannot be imported", "failed")


@pytest.mark.parametrize("email", ["ada@example.com", "ADA@example.com", "a@old.example", "ada%40example.com"])
async def test_a_person_is_found_by_any_of_their_addresses(ada, client, email):
    content = await (await client.get(f"/v1/people/{email}")).json()
    assert content["person"] == f"p-{ada}"
    assert (content["email"], content["id"], content["emails"]) == (
        "Ada@Example.com",
        "u-1",
        ["Ada@Example.com", "a@old.example"],
    )
    assert content["fields"] == {"firstname": "Ada"}
    assert content["audiences"] == {"vip": True}
    newsletter = content["consents"]["newsletter"]
    assert (newsletter["state"], newsletter["method"], newsletter["at"]) == ("granted", "double", SAID)
    assert newsletter["evidence"] == {"ip": "::1"}
    webpower = content["connectors"]["webpower"]
    assert (webpower["remote_id"], webpower["synced_at"], webpower["pending"]) == ("9001", SAID, 3)
    assert webpower["base"] == {"fields": {"firstname": "Ada"}, "consents": {}, "audiences": {}}


async def test_explain_tells_what_happened_and_why(ada, client):
    content = await (await client.get("/v1/people/ada@example.com/explain")).json()
    assert [(note["connector"], note["reason"]) for note in content["timeline"]] == [
        ("webpower", "echo"), ("off", "no-consent"), (None, None),
    ]  # fmt: skip
    assert content["timeline"][0]["at"] == SAID
    assert content["consents"][0]["evidence"] == {"ip": "::1"}
    assert content["pending"] == {"webpower": 3}
    assert {(each["connector"], each["reason"], each["times"]) for each in content["decisions"]} >= {
        ("webpower", "echo", 1), ("off", "no-consent", 1),
    }  # fmt: skip
    assert content["profile"] == await (await client.get("/v1/people/ada@example.com")).json()
    webpower, off = content["connectors"]["webpower"], content["connectors"]["off"]
    assert (webpower["state"], webpower["remote_id"], off["state"]) == ("auth", "9001", "disabled")
    assert [each["state"] for each in webpower["deliveries"]] == ["due", "due", "scheduled"]
    assert [(each["reason"], each["means"]) for each in off["decisions"]] == [
        ("no-consent", "it needs a purpose that the person has not granted")
    ]
    one = await (await client.get("/v1/people/ada@example.com/explain?connector=off")).json()
    assert list(one["connectors"]) == ["off"]
    assert [note["connector"] for note in one["timeline"]] == ["off", None]
    assert one["pending"] == {}


async def test_404_for_an_explanation_towards_a_connector_that_is_not_there(ada, client):
    problem = await problem_of(await client.get("/v1/people/ada@example.com/explain?connector=nope"), 404)
    assert problem["detail"] == "there is no connector 'nope'; there are: off, webpower"


@pytest.mark.parametrize("what", ["", "/explain"])
async def test_404_for_somebody_unknown_and_422_for_nobody(client, what):
    await problem_of(await client.get(f"/v1/people/bob@example.com{what}"), 404)
    assert (await problem_of(await client.get(f"/v1/people/bob{what}"), 422))["path"] == "$.email"


async def test_deliveries_come_in_pages_and_by_filter(ada, client):
    async def asked(query=""):
        return await (await client.get(f"/v1/deliveries{query}")).json()

    everything = await asked()
    assert everything["next"] is None
    first, second, third = everything["deliveries"]
    assert first["id"].startswith("d-")
    assert [each["state"] for each in (first, second, third)] == ["due", "due", "scheduled"]
    assert (first["connector"], first["kind"], first["email"]) == ("webpower", "trigger", "Ada@Example.com")
    assert (first["urgency"], first["first_at"]) == ("trigger", "2026-01-15T09:59:30.000Z")
    page = await asked("?limit=2")
    assert [each["id"] for each in page["deliveries"]] == [first["id"], second["id"]]
    assert page["next"] == second["id"]
    rest = await asked(f"?limit=2&after={page['next']}")
    assert [each["id"] for each in rest["deliveries"]] == [third["id"]]
    assert rest["next"] is None
    for query, many in [
        ("?state=due", 2), ("?state=due&limit=1", 1), ("?state=scheduled&limit=1", 1), ("?state=dead", 0),
        ("?connector=off", 0), ("?kind=trigger&email=ada@example.com", 3), ("?email=bob@example.com", 0),
        ("?reason=echo", 0),
    ]:  # fmt: skip
        assert len((await asked(query))["deliveries"]) == many, query


async def test_one_delivery_comes_with_the_log_of_its_attempts(hub, ada, client):
    exchange = Exchange(method="POST", path="/mail", status=503, took_s=0.2, sent='{"to":"text"}', answered="busy")
    failed = Attempt(delivery=1, at=AT, took_s=0.25, outcome="retried", error="TemporaryError: busy", exchange=exchange)
    await hub.store.run(lambda unit: unit.add_attempt(failed))
    everything = (await (await client.get("/v1/deliveries")).json())["deliveries"]
    assert everything[0]["id"] == "d-1"
    one = await (await client.get("/v1/deliveries/d-1")).json()
    assert one.pop("log") == [
        {
            "at": SAID,
            "took_s": 0.25,
            "outcome": "retried",
            "error": "TemporaryError: busy",
            "exchange": {
                "method": "POST",
                "path": "/mail",
                "status": 503,
                "took_s": 0.2,
                "sent": '{"to":"text"}',
                "answered": "busy",
            },
        }
    ]
    assert one == everything[0]


async def test_404_for_a_delivery_that_is_not_there_and_422_for_what_is_none(ada, client):
    problem = await problem_of(await client.get("/v1/deliveries/d-99"), 404)
    assert problem["detail"] == "there is no delivery d-99; it may be older than hub.retention"
    assert (await problem_of(await client.get("/v1/deliveries/ada"), 422))["path"] == "$.id"


@pytest.mark.parametrize("query", ["state=odd", "kind=odd", "limit=0", "limit=x", "after=x", "email=x", "colour=red"])
async def test_422_for_a_filter_that_means_nothing(client, query):
    await problem_of(await client.get(f"/v1/deliveries?{query}"), 422)


# What shall be


async def test_replay_passes_the_filter_on(hub, client):
    body = {"ids": ["d-12", "7"], "connector": "webpower", "since": "2026-01-15T10:00:00Z", "until": AT, "force": True}
    answer = await client.post("/v1/deliveries/replay", json=body)
    assert await answer.json() == {"replayed": 7}
    ((_, wanted, force),) = hub.orders
    assert (wanted.ids, wanted.connector, wanted.since, wanted.until, force) == ([12, 7], "webpower", AT, AT, True)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "$"), ({"force": True, "connector": "webpower"}, "$.force"), ({"ids": ["x-1"]}, "$.ids[0]"),
        ({"email": "x"}, "$.email"), ({"kind": "odd"}, "$.kind"), ({"since": "yesterday"}, "$.since"), ({"all": 1}, "$"),
    ],
)  # fmt: skip
async def test_replay_refuses_a_filter_that_is_empty_or_means_nothing(hub, client, body, path):
    assert (await problem_of(await client.post("/v1/deliveries/replay", json=body), 422))["path"] == path
    assert hub.orders == []


async def test_400_for_an_order_that_is_not_json(client):
    await problem_of(await client.post("/v1/deliveries/replay", data=b"{"), 400)


async def test_an_import_may_carry_consents_and_goes_behind_everything_live(hub, client):
    lines = [{"email": "ada@example.com", "consents": {"newsletter": "granted"}}, {"email": "x"}]
    body = "\n".join(json.dumps(line) for line in lines)
    answer = await client.post("/v1/import", data=body, headers={"Content-Type": "application/x-ndjson"})
    content = await answer.json()
    assert (answer.status, content["accepted"], content["rejected"][0]["index"]) == (202, 1, 1)
    (entry,) = await hub.journal()
    assert (entry.origin, entry.backfill) == ("import", True)
    assert b"imported" in entry.body


async def test_an_import_waits_for_room(hub, client):
    hub.intake.added(ROOM + 1)
    waiting = asyncio.create_task(client.post("/v1/import", json={"id": "u-1"}))
    live = await client.post("/v1/profiles", json={"id": "u-2"}, headers={"Authorization": "Bearer shop-token"})
    assert live.status == 202
    hub.intake.folded(2)
    assert (await waiting).status == 202


async def test_connectors_are_paused_and_resumed(hub, client):
    answer = await client.post("/v1/connectors/webpower/pause", json={"reason": "maintenance"})
    assert (await answer.json())["name"] == "webpower"
    await client.post("/v1/connectors/webpower/pause")
    await client.post("/v1/connectors/webpower/resume")
    assert hub.orders == [
        ("pause", "webpower", "maintenance"),
        ("pause", "webpower", "by hand"),
        ("resume", "webpower"),
    ]


async def test_connectors_are_pulled_and_discovered(client):
    pulled = await (await client.post("/v1/connectors/webpower/pull")).json()
    assert pulled == {"pages": 2, "read": 150, "changed": 3, "held": 350}
    found = await (await client.post("/v1/connectors/webpower/discover")).json()
    assert found["groups"] == [{"id": "135", "name": "Nieuwsbrief", "detail": None}]


async def test_webhooks_are_registered_and_removed(client):
    made = await (await client.post("/v1/connectors/webpower/webhooks")).json()
    assert made == {"kept": ["create"], "made": ["update"], "mended": [], "removed": []}
    removed = await (await client.delete("/v1/connectors/webpower/webhooks")).json()
    assert removed == {"kept": [], "made": [], "mended": [], "removed": ["update"]}


@pytest.mark.parametrize("method", ["post", "delete"])
async def test_webhooks_that_cannot_be_registered_or_removed_say_why(tmp_path, hub, client, method):
    def ask(name="webpower"):
        return client.request(method, f"/v1/connectors/{name}/webhooks")

    assert "webpower" in (await problem_of(await ask("nobody"), 404))["detail"]
    await problem_of(await ask("off"), 409)
    for error in (MissingMethodError("it has no register_webhooks"), NoPublicUrl("set hub.public_url")):
        hub.vendor_error = error
        problem = await problem_of(await ask(), 409)
        assert (problem["type"], problem["detail"]) == ("not-supported", str(error))
    for error in (RateLimited("quota", retry_after=30), PluginError("the plugin raised KeyError")):
        hub.vendor_error = error
        problem = await problem_of(await ask(), 502)
        assert problem["error"] == type(error).__name__
    (folder := tmp_path / "open").mkdir()
    async with running(folder, admin_token="admin-token") as (_, stranger):
        await problem_of(await stranger.request(method, "/v1/connectors/webpower/webhooks"), 401)


@pytest.mark.parametrize("order", ["pause", "resume", "pull", "discover"])
async def test_404_for_a_connector_that_is_not_there(client, order):
    problem = await problem_of(await client.post(f"/v1/connectors/nobody/{order}"), 404)
    assert "webpower" in problem["detail"]


@pytest.mark.parametrize("order", ["pull", "discover"])
async def test_what_the_vendor_said_comes_back_as_502(hub, client, order):
    hub.vendor_error = AuthenticationError("invalid grant")
    problem = await problem_of(await client.post(f"/v1/connectors/webpower/{order}"), 502)
    assert (problem["error"], problem["detail"]) == ("AuthenticationError", "AuthenticationError: invalid grant")
    hub.vendor_error = RateLimited("quota", retry_after=30)
    problem = await problem_of(await client.post(f"/v1/connectors/webpower/{order}"), 502)
    assert problem["retry_after_s"] == 30


async def test_409_when_the_connector_does_not_run_or_cannot(hub, client):
    await problem_of(await client.post("/v1/connectors/off/pull"), 409)
    hub.vendor_error = MissingMethodError("webpower cannot be pulled: the plugin webhook has no pull")
    problem = await problem_of(await client.post("/v1/connectors/webpower/pull"), 409)
    assert (problem["type"], problem["detail"]) == ("not-supported", str(hub.vendor_error))
    hub.failure = "cannot be imported"
    problem = await problem_of(await client.post("/v1/connectors/webpower/discover"), 409)
    assert "cannot be imported" in problem["detail"]
