"""Commands while no hub runs: on the store, under its lock."""

import asyncio
import io
import json

import pytest
from tests.integration.cli.conftest import CONNECTORS, CRM

COMMANDS = [
    [], ["audit"], ["audit", "verify"],
    ["check"], ["connectors"], ["dead"], ["delivery"], ["discover"], ["explain"], ["import"], ["pause"],
    ["person"], ["person", "erase"], ["plugin"], ["plugin", "test"], ["plugins"], ["pull"], ["queue"],
    ["replay"], ["resume"], ["run"], ["schema"], ["send"], ["send", "profile"], ["send", "consent"], ["send", "trigger"], ["twin"],
    ["webhook"], ["webhook", "try"], ["webhooks"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(esplanade, command):
    ended = esplanade(*command, "--help")
    assert ended.code == 0
    assert ended.out.startswith("Usage: esplanade")
    assert "--json" in ended.out
    assert not ended.err


def test_commands_of_later_versions_are_not_listed(esplanade):
    out = esplanade("--help").out
    assert not [name for name in ("plan", "apply", "drift", "export", "rehearse", "openapi") if f"  {name} " in out]


def test_without_a_command_it_is_usage(esplanade):
    ended = esplanade()
    assert ended.code == 2
    assert "Commands:" in ended.err
    assert not ended.out


# send


def test_a_profile_sent_from_flags_is_explained(esplanade):
    sent = esplanade(
        "send", "profile", "--email", "Ada@Example.com", "--id", "u-1", "--field", "firstname=007", "--field", "ltv:=12.5",
        "--audience", "vip", "--no-audience", "churn-risk", "--consent", "newsletter=granted",
    )  # fmt: skip
    assert sent.code == 0
    assert sent.out.startswith("e-")
    profile = esplanade("explain", "ada@example.com", "--json").json["profile"]
    assert profile["id"] == "u-1"
    assert profile["fields"] == {"firstname": "007", "ltv": 12.5}
    assert profile["audiences"] == {"vip": True, "churn-risk": False}
    assert profile["consents"]["newsletter"]["state"] == "granted"


def test_a_consent_keeps_its_evidence(esplanade):
    esplanade(
        "send", "consent", "--email", "ada@example.com", "--purpose", "newsletter", "--state", "granted",
        "--method", "double", "--evidence", "ip=192.0.2.1", "--at", "2026-01-15T10:00:00Z",
    )  # fmt: skip
    text = esplanade("explain", "ada@example.com").out
    assert "ip=192.0.2.1" in text
    assert "2026-01-15T10:00:00" in text


def test_a_trigger_carries_its_products(esplanade, project):
    products = project.write("lamps.json", '[{"id": "SKU-1", "price": 24.5}]')
    sent = esplanade(
        "send", "trigger", "--email", "ada@example.com", "--trigger", "abandoned-cart", "--trigger-id", "t-9",
        "--data", "cart_id=C-77", "--products", str(products), "--json",
    )  # fmt: skip
    assert sent.json["accepted"] == 1
    [waiting] = esplanade("queue", "--kind", "trigger", "--json").json["deliveries"]
    assert (waiting["connector"], waiting["subject"], waiting["email"]) == ("cdp", "abandoned-cart", "ada@example.com")


def test_the_same_event_id_counts_once(esplanade):
    first = esplanade("send", "profile", "--email", "ada@example.com", "--event-id", "e-1").out
    again = esplanade("send", "profile", "--email", "ada@example.com", "--event-id", "e-1").out
    assert first == again


@pytest.mark.parametrize(
    "stdin",
    [
        '{"email": "a@example.com"}\n{"email": "b@example.com"}\n',
        '[{"email": "a@example.com"}, {"email": "b@example.com"}]',
        '[\n  {\n    "email": "a@example.com"\n  },\n  {"email": "b@example.com"}\n]\n',
    ],
    ids=["ndjson", "array", "laid out"],
)
def test_events_come_from_stdin(esplanade, monkeypatch, stdin):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
    sent = esplanade("--json", "send", "profile", "-")
    assert (sent.code, sent.json["accepted"]) == (0, 2)


def test_a_bad_item_costs_its_neighbours_nothing_and_the_exit_code_tells(esplanade, monkeypatch):
    lines = b'{"email": "a@example.com"}\nnot json\n{"email": "b@example.com", "emial": 1}\n'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    sent = esplanade("send", "profile", "-")
    assert sent.code == 1
    assert len(sent.out.splitlines()) == 1
    assert "item 1: $: not JSON" in sent.err
    assert "item 2: $.emial: unknown key; did you mean `email`?" in sent.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["send", "profile"], "say what to send"),
        (["send", "profile", "-", "--email", "a@example.com"], "leave the other flags out"),
        (["send", "consent", "--email", "a@example.com"], "a consent needs --purpose"),
        (["send", "profile", "--field", "plain"], "expected K=V"),
        (["send", "profile", "--field", "n:=abc"], "is not JSON"),
        (["send", "profile", "--email", "a@example.com", "--source", "shpo"], "did you mean shop?"),
        (["pause", "crmm"], "there is no connector 'crmm' in connectors.yaml; did you mean crm?"),
        (["explain", "a@example.com", "nope"], "there are crm, cdp"),
        (["replay"], "say which"),
        (["replay", "--connector", "crm", "--force"], "name each delivery with --id"),
        (["replay", "--id", "twelve"], "not the id of a delivery"),
        (["queue", "--since", "yesterday"], "such as 2h"),
        (["dead", "--email", "nonsense"], "not an e-mail address"),
        (["explain", "nonsense"], "'nonsense': not an e-mail address"),
        (["person", "erase", "nonsense"], "'nonsense': not an e-mail address"),
        (["import", "people.csv", "--map", "email"], "expected COLUMN=FIELD"),
        (["twin", "webhok"], "did you mean webhook?"),
        (["nonsense"], "No such command"),
    ],
)
def test_usage_is_exit_2_with_the_remedy(esplanade, arguments, said):
    ended = esplanade(*arguments)
    assert ended.code == 2
    assert said in ended.err
    assert not ended.out


def test_a_source_sends_only_what_it_may(esplanade):
    refused = esplanade("send", "trigger", "--email", "a@example.com", "--trigger", "x", "--source", "site")
    assert refused.code == 1
    assert "add trigger to sources.site.may" in refused.err


# connectors, pause, resume


def test_a_paused_connector_stays_paused_for_the_next_hub(esplanade):
    assert esplanade("pause", "crm").code == 0
    states = {one["name"]: one["state"] for one in esplanade("connectors", "--json").json["connectors"]}
    assert states == {"crm": "paused", "cdp": "ok"}
    esplanade("resume", "crm")
    assert "paused" not in esplanade("connectors").out


def test_connectors_shows_where_vendors_call_back(esplanade):
    out = esplanade("connectors").out
    assert "crm: http://127.0.0.1:8600/hooks/crm/" in out


def test_a_plugin_that_cannot_be_loaded_is_named_and_costs_the_others_nothing(esplanade, project):
    project.write("crm.py", "import nothing_of_this_name")
    ended = esplanade("check")
    assert ended.code == 4
    assert "connector crm cannot run" in ended.err
    states = {one["name"]: one["state"] for one in esplanade("connectors", "--json").json["connectors"]}
    assert states == {"crm": "failed", "cdp": "ok"}
    assert "failed: " in esplanade("plugins").out


# check


def test_an_invalid_file_is_exit_3_with_every_problem(esplanade, project):
    project.write("connectors.yaml", "hub:\n  lissten: 1\nsources:\n  shop: {tokn: x}\n")
    ended = esplanade("check")
    assert ended.code == 3
    assert not ended.out
    assert [line.split(":")[1] for line in ended.err.splitlines()] == ["2", "4", "4"]
    assert "did you mean listen?" in ended.err


@pytest.mark.parametrize(
    "command", [["run"], ["connectors"], ["queue"], ["send", "profile", "--email", "a@example.com"], ["plugins"]]
)
def test_no_command_goes_on_with_an_invalid_file(esplanade, project, command):
    project.write("connectors.yaml", "hub: [")
    assert esplanade(*command).code == 3


def test_a_missing_file_says_how_to_name_one(esplanade):
    ended = esplanade("--config", "other.yaml", "check")
    assert ended.code == 3
    assert "other.yaml: no such file; name yours with --config or ESPLANADE_CONFIG" in ended.err


def test_config_goes_after_the_command_too_and_wins_over_the_environment(esplanade, project, monkeypatch):
    monkeypatch.setenv("ESPLANADE_CONFIG", "nowhere.yaml")
    assert esplanade("check").code == 3
    assert esplanade("check", "--config", str(project.config)).code == 0


@pytest.mark.parametrize(
    ("status", "code", "shown"),
    [
        ("ok", 0, "ok"),
        ("wrong-account", 4, "wrong-account"),
        ("unauthorized", 4, "bad-credentials"),
        ("raises", 4, "the plugin raised ZeroDivisionError: a bug"),
    ],
)
def test_check_online_asks_each_vendor(esplanade, monkeypatch, status, code, shown):
    monkeypatch.setenv("CRM_STATUS", status)
    ended = esplanade("check", "--online")
    assert ended.code == code
    assert shown in ended.out
    assert "cdp" in ended.out


# discover, pull

TWIN = """

from esplanade.testing.twin import Twin


class CrmTwin(Twin):
    pass


Crm.twin = lambda: CrmTwin
"""


def test_discover_shows_the_account_and_suggests_mappings(esplanade):
    found = esplanade("discover", "crm", "--json").json
    assert [field["name"] for field in found["fields"]] == ["FIRST_NAME", "City", "x"]
    assert found["suggested"] == {"city": "City"}
    text = esplanade("discover", "crm").out
    assert "firstname" in text
    assert "(city?)" in text


def test_what_cannot_be_discovered_says_so(esplanade):
    ended = esplanade("discover", "cdp")
    assert ended.code == 1
    assert ended.err == "esplanade: cdp cannot be discovered: the plugin webhook has no discover\n"


def test_what_was_pulled_is_folded(esplanade):
    pulled = esplanade("pull", "crm", "--json")
    assert pulled.json == {"pages": 1, "read": 1, "changed": 1, "held": 0}
    assert esplanade("explain", "pulled@example.com", "--json").json["profile"]["fields"] == {"firstname": "Pia"}


def test_a_twin_is_not_pulled_without_its_hub(esplanade, project):
    project.write("crm.py", CRM + TWIN)
    project.write("connectors.yaml", CONNECTORS.replace("./crm.py", "./crm.py\n    twin: true"))
    ended = esplanade("pull", "crm")
    assert ended.code == 1
    assert "lives in the hub; start `esplanade run`" in ended.err


def test_what_cannot_be_pulled_says_so_and_not_that_a_hub_is_missing(esplanade):
    ended = esplanade("pull", "cdp")
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == "esplanade: cdp cannot be pulled: the plugin webhook has no pull"


def test_a_pull_tells_how_many_the_guard_holds(esplanade, project):
    people = "[Report(email=f'p{n}@example.com', consents={'newsletter': 'granted'}) for n in range(12)]"
    listed = CRM.replace(
        '[Report(email="pulled@example.com", fields={"FIRST_NAME": "Pia"})]', f"{people}, covers=['newsletter']"
    )
    project.write("crm.py", listed)
    assert "guard" not in esplanade("pull", "crm").out
    project.write("crm.py", listed.replace("range(12)", "range(1)"))
    ended = esplanade("pull", "crm")
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "11 held by the guard: see the alert"
    assert esplanade("pull", "crm", "--json").json["held"] == 11


# webhooks


def test_webhooks_are_registered_and_what_was_made_is_known_the_next_time(esplanade):
    made = esplanade("webhooks", "crm")
    assert (made.code, made.err) == (0, "")
    assert made.out.split() == ["webhook", "what", "was", "done", "update", "made"]
    found = esplanade("webhooks", "crm", "--json")
    assert found.json == {"kept": ["update"], "made": [], "mended": [], "removed": []}


def test_webhooks_are_removed_and_how_to_keep_them_away_is_said(esplanade, project):
    esplanade("webhooks", "crm")
    removed = esplanade("webhooks", "crm", "--remove")
    assert removed.out.splitlines()[-1].split() == ["update", "removed"]
    assert "set `webhooks: manual` for crm" in removed.err
    project.write("connectors.yaml", CONNECTORS.replace("./crm.py", "./crm.py\n    webhooks: manual"))
    again = esplanade("webhooks", "crm", "--remove")
    assert (again.code, again.out, again.err) == (0, "crm: there was no webhook to remove\n", "")


def test_webhooks_that_cannot_be_registered_say_why(esplanade, project, monkeypatch):
    unknown = esplanade("webhooks", "crmm")
    assert unknown.code == 2
    assert "did you mean crm?" in unknown.err
    for flags in ([], ["--remove"]):
        ended = esplanade("webhooks", "cdp", *flags)
        assert ended.code == 1
        assert "cdp cannot register webhooks: the plugin webhook has no register_webhooks" in ended.err
        assert "`esplanade connectors` shows" in ended.err
    monkeypatch.setenv("CRM_STATUS", "unauthorized")
    ended = esplanade("webhooks", "crm")
    assert (ended.code, ended.err.splitlines()[-1]) == (
        1,
        "esplanade: connector crm: AuthenticationError: the key is refused",
    )
    project.write("connectors.yaml", CONNECTORS.replace("  public_url: http://127.0.0.1:8600\n", ""))
    ended = esplanade("webhooks", "crm")
    assert ended.code == 1
    assert ended.err.splitlines()[-1].endswith("set hub.public_url")
    project.write("crm.py", CRM + TWIN)
    project.write("connectors.yaml", CONNECTORS.replace("./crm.py", "./crm.py\n    twin: true"))
    ended = esplanade("webhooks", "crm")
    assert ended.code == 1
    assert "lives in the hub; start `esplanade run`" in ended.err


# explain, queue, dead, replay


def test_reading_a_store_that_is_not_there_says_what_makes_it(esplanade):
    ended = esplanade("queue")
    assert ended.code == 1
    assert "`esplanade run` makes it" in ended.err


def test_explain_of_nobody_is_exit_1(esplanade):
    esplanade("send", "profile", "--email", "ada@example.com")
    ended = esplanade("explain", "bob@example.com")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "esplanade: bob@example.com: nobody with this address is known here\n"


def test_explain_keeps_to_one_connector(esplanade):
    esplanade("send", "profile", "--email", "ada@example.com", "--field", "firstname=Ada")
    both = esplanade("explain", "ada@example.com").out
    one = esplanade("explain", "ada@example.com", "crm").out
    assert "cdp" in both
    assert "cdp" not in one
    assert "crm" in one


def test_the_queue_goes_page_by_page(esplanade):
    for name in "abc":
        esplanade("send", "profile", "--email", f"{name}@example.com", "--field", "firstname=X")
    first = esplanade("queue", "--connector", "crm", "--limit", "2", "--json").json
    rest = esplanade("queue", "--connector", "crm", "--after", first["next"], "--json").json
    assert [one["email"] for one in first["deliveries"]] == ["a@example.com", "b@example.com"]
    assert [one["email"] for one in rest["deliveries"]] == ["c@example.com"]
    assert rest["next"] is None
    assert "--after" in esplanade("queue", "--limit", "1").err


async def _refuse_one(project):
    async with project.hub() as hub:
        body = json.dumps({"email": "refused@example.com", "fields": {"firstname": "No"}}).encode()
        admission = hub.intake.admit("shop", "profile", [body], may=["profile"])
        await hub.intake.accept(admission.entries)
        await hub.settled()


def test_dead_letters_are_listed_and_sent_again(project, esplanade):
    asyncio.run(_refuse_one(project))
    [letter] = esplanade("dead", "--json").json["deliveries"]
    assert (letter["connector"], letter["state"]) == ("crm", "dead")
    assert "does not like this address" in esplanade("dead").out
    replayed = esplanade("replay", "--id", letter["id"], "--json")
    assert replayed.json == {"replayed": 1}
    assert esplanade("dead").err == "no dead letters\n"
    [waiting] = esplanade("queue", "--email", "refused@example.com", "--json").json["deliveries"]
    assert waiting["id"] == letter["id"]


def test_one_delivery_is_shown_with_its_attempts(project, esplanade):
    asyncio.run(_refuse_one(project))
    [letter] = esplanade("dead", "--json").json["deliveries"]
    shown = esplanade("delivery", letter["id"], "--json").json
    [attempt] = shown.pop("log")
    assert shown == letter
    assert (attempt["outcome"], attempt["error"]) == ("rejected", letter["last_error"])
    text = esplanade("delivery", letter["id"]).out
    assert "refused@example.com" in text
    assert attempt["at"] in text


def test_a_delivery_without_attempts_says_so(esplanade):
    esplanade("send", "profile", "--email", "ada@example.com", "--field", "firstname=X")
    [waiting] = esplanade("queue", "--connector", "crm", "--json").json["deliveries"]
    ended = esplanade("delivery", waiting["id"])
    assert (ended.code, ended.err) == (0, "no call was made for it yet\n")


def test_a_delivery_that_is_not_there_is_exit_1_and_no_id_is_usage(esplanade):
    esplanade("send", "profile", "--email", "ada@example.com")
    gone = esplanade("delivery", "d-99")
    assert (gone.code, gone.out) == (1, "")
    assert gone.err == "esplanade: there is no delivery d-99; finished ones are kept for hub.retention\n"
    assert esplanade("delivery", "ada").code == 2


def test_replay_counts_one_delivery_as_one(project, esplanade):
    asyncio.run(_refuse_one(project))
    assert esplanade("replay", "--reason", "rejected").out == "1 delivery will be sent again\n"
    assert esplanade("replay", "--reason", "rejected").out == "0 deliveries will be sent again\n"


def test_a_delivery_that_is_not_there_is_named_and_nothing_is_sent(project, esplanade):
    asyncio.run(_refuse_one(project))
    [letter] = esplanade("dead", "--json").json["deliveries"]
    ended = esplanade("replay", "--id", letter["id"], "--id", "d-99999")
    assert (ended.code, ended.out, ended.err) == (1, "", "esplanade: there is no delivery d-99999\n")
    assert esplanade("dead", "--json").json["deliveries"] == [letter]


# schema, plugins


def test_the_schema_knows_the_installed_plugins(esplanade, monkeypatch, tmp_path):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    schema = esplanade("schema").json
    assert {"plugin.webhook", "plugin.webpower", "plugin.sparkloop"} <= set(schema["$defs"])


def test_plugins_tells_used_from_unused(esplanade):
    states = {one["name"]: one["state"] for one in esplanade("--json", "plugins").json["plugins"]}
    assert states["./crm.py"] == "ok"
    assert states["webhook"] == "ok"
    assert states["sparkloop"] == "unused"
