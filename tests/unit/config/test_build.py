"""What a valid file becomes, and what must hold between its keys."""

from __future__ import annotations

import msgspec
import pytest

from esplanade.config import Hub, build, read
from esplanade.errors import ConfigError

ACME = "plugin: acme, settings: {account: a, api_key: k}"
LONG = "0123456789abcdef"


def connectors(*lines: str) -> str:
    """A file of connectors, each one line such as ``a: {…}``."""
    return "connectors:\n" + "".join(f"  {line}\n" for line in lines)


def warnings_of(config):
    return [line.removeprefix("connectors.yaml:") for line in config.warnings]


def test_a_file_of_defaults_is_the_default_hub(load):
    config = load("hub: {}\n")
    assert config.hub == Hub()
    assert (config.sources, config.connectors, config.warnings) == ({}, {}, [])


def test_a_whole_connector(load):
    config = load(
        """
        sources: {shop: {token: 0123456789abcdef}}
        connectors:
          main:
            plugin: acme
            twin: true
            settings: {account: 0135, api_key: 42}
            sends: [consent]
            fields: {firstname: FNAME, code: 7}
            consents: {newsletter: {group: 135, opt_in: double, regrant: never}}
            audiences: {vip: {}, new: {group: 3}}
            triggers: {cart: {mailing: 318, requires: newsletter, expires: 6h}, "7": {mailing: 1}}
            requires: newsletter
            conflict: {firstname: esp}
            schedule: {pull: "0 3 * * *", pending_check: 15m}
            source: shop
            hook_key: 0123456789abcdef
            webhooks: manual
            pace: {rate: 300/m, burst: 1, concurrency: 2, daily: 100000}
            retry: {window: 1d, min_attempts: 1, base: 500ms, cap: 1m}
            timeout: 5s
            breaker: {failures: 1, open: 1s}
        """
    )
    main = config.connectors["main"]
    assert (main.settings.account, main.settings.api_key.reveal()) == ("0135", "42")
    assert main.receives == ["profile", "consent", "trigger"]
    assert main.sends == ["consent"]
    assert main.fields == {"firstname": "FNAME", "code": "7"}
    assert main.consents["newsletter"].asks_to_confirm()
    assert main.triggers["cart"].expires == 6 * 3600
    assert main.triggers["7"].mailing == 1
    assert main.conflict == {"firstname": "esp"}
    assert main.webhooks == "manual"
    assert (main.pace.rate, main.retry.base, main.breaker.failures) == (5.0, 0.5, 1)
    assert not main.all_fields
    assert config.warnings == []


def test_settings_may_be_left_out_when_all_have_defaults(load):
    assert load(connectors("small: {}")).connectors["small"].settings.url == "https://small.example/in"


def test_webhooks_are_registered_by_the_hub_unless_the_file_says_otherwise(load, problems):
    assert load(connectors("small: {}")).connectors["small"].webhooks == "auto"
    assert problems(connectors("small: {webhooks: off}")) == [
        "2:21: connectors.small.webhooks: 'off' is not one of auto, manual"
    ]


def test_settings_left_out_are_missing_key_by_key(problems):
    assert problems(connectors("acme: {}")) == [
        "2:3: connectors.acme.settings.account: missing; add it with text",
        "2:3: connectors.acme.settings.api_key: missing; add it with a secret",
    ]


def test_all_fields_ends_with_the_first_field_of_the_file(load):
    config = load(
        connectors("a: {plugin: small, settings: {url: https://a.example}}", "b: {plugin: small, fields: {}}")
    )
    assert [each.all_fields for each in config.connectors.values()] == [True, False]


def test_a_plugin_that_cannot_be_loaded_is_no_problem_of_the_file(load):
    config = load(connectors("gone: {settings: {any: thing}, triggers: {t: {mailing: 3, fanout: true}}, timeout: 3s}"))
    gone = config.connectors["gone"]
    assert (gone.settings, gone.timeout, gone.triggers["t"].fanout) == (None, 3.0, True)


def test_a_plugin_that_nobody_looked_for_is_read_the_same_way(load):
    assert load(connectors("other: {settings: {a: 1}}")).connectors["other"].settings is None


def test_core_keys_of_a_plugin_that_cannot_be_loaded_are_checked(problems):
    assert problems(connectors("gone: {timeot: 3s, triggers: {t: {fanout: 3}}, consents: 4}")) == [
        "2:10: connectors.gone.timeot: unknown key; did you mean timeout?",
        "2:45: connectors.gone.triggers.t.fanout: expected true or false",
        "2:60: connectors.gone.consents: expected keys beneath it; write {} for none",
    ]


def test_problems_of_reading_and_of_building_come_together_in_the_order_of_the_file(problems):
    found = problems("hubb: {}\nsources: {s: {token: '${T}'}}\nsources: {}\nconnectors: {acme: 3}\n")
    assert [line.partition(" ")[0] for line in found] == ["1:1:", "2:22:", "3:1:", "4:20:"]


def test_a_config_holds_no_readable_secret(load):
    config = load(connectors("acme: {settings: {account: a, api_key: hunter2}, hook_key: hunter2hunter2hunter2}"))
    assert "hunter2" not in repr(config)
    assert msgspec.structs.asdict(config)["path"].name == "connectors.yaml"


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:8600", "localhost:65535"])
def test_listen_on_this_machine(load, listen):
    hub = load(f"hub: {{listen: '{listen}'}}").hub
    assert f"{hub.host}:{hub.port}" == listen.replace("[", "").replace("]", "")


@pytest.mark.parametrize(
    "listen", ["8600", ":8600", "[]:80", "a:b", "::1:80", "[a]:80:", "127.0.0.1:65536", "a b:1", "h:٣"]
)
def test_listen_that_cannot_be(problems, listen):
    (line,) = problems(f"hub: {{listen: '{listen}'}}")
    assert line.startswith("1:15: hub.listen: expected ")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("store: postgresql://u@h/db", "store: the PostgreSQL store is not available in this version; write sqlite:"),
        ("store: 'sqlite::memory:'", "store: expected sqlite: and the path of a file, such as sqlite:esplanade.db"),
        ("store: esplanade.db", "store: expected sqlite: and the path of a file, such as sqlite:esplanade.db"),
        ("timezone: Mars/Olympus", "timezone: unknown time zone; expected a name such as Europe/Amsterdam"),
        ("timezone: Europe", "timezone: unknown time zone; did you mean"),
        ("timezone: ../x", "timezone: unknown time zone;"),
        ("language: dutch!", "language: expected a language tag such as en, nl or nl-BE"),
        ("public_url: hub.example", "public_url: expected a URL such as https://hub.example.com"),
        ("retention: 0s", "retention: expected a duration above zero"),
        ("drain_timeout: 20", "drain_timeout: expected a duration with its unit, such as 20s, 15m, 6h or 30d"),
        ("max_hops: 0", "max_hops: expected 1 or more"),
        ("egress: {allow: [10.0.0.1/8]}", "egress.allow[0]: the address has bits beyond its prefix; did you mean 10.0"),
        ("alerts: [{}]", "alerts[0]: expected either webhook or command"),
        ("alerts: [{webhook: x}]", "alerts[0].webhook: expected a URL"),
        ("alerts: [{command: []}]", "alerts[0].command: expected a program"),
    ],
)  # fmt: skip
def test_the_hubs_own_rules(problems, line, expected):
    (found,) = problems(f"hub:\n  {line}\n")
    assert found.partition("hub.")[2].startswith(expected)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("source: shp", "source: no source is called shp; did you mean shop?"),
        ("receives: [profile, consnt]", "receives[1]: 'consnt' is not one of profile, consent, trigger; did"),
        ("fields: {a: X, b: X}", "fields.b: X already takes a; map one field to it"),
        ("fields: {a: ''}", "fields.a: names no vendor field; write one or remove the line"),
        ("fields: {a: X}\n    conflict: {b: hub}", "conflict.b: not a mapped field; mapped are a"),
        ("conflict: latest", "conflict: 'latest' is not one of newest, hub, esp"),
        ("schedule: {pull: '0 3 * *'}", "schedule.pull: expected a cron expression of five fields"),
        ("schedule: {pull: '61 3 * * *'}", "schedule.pull: expected a cron expression of five fields"),
        ("schedule: {pull: 0h}", "schedule.pull: expected a duration above zero"),
        ("schedule: {pending_check: 0s}", "schedule.pending_check: expected a duration above zero"),
        ("pace: {rate: 5}", "pace.rate: expected a rate above zero with its unit, such as 5/s or 300/m"),
        ("pace: {concurrency: 0}", "pace.concurrency: expected 1 or more"),
        ("pace: {daily: 0}", "pace.daily: expected 1 or more"),
        ("breaker: {failures: 0}", "breaker.failures: expected 1 or more"),
        ("breaker: {open: 0s}", "breaker.open: expected a duration above zero"),
        ("retry: {base: 2h}", "retry.cap: expected no less than retry.base"),
        ("timeout: 0s", "timeout: expected a duration above zero"),
        ("name: x", "name: unknown key; "),
        ("all_fields: true", "all_fields: unknown key; "),
    ],
)  # fmt: skip
def test_a_connectors_own_rules(problems, line, expected):
    text = f"sources: {{shop: {{token: {LONG}}}}}\n"
    text += f"connectors:\n  acme:\n    settings: {{account: a, api_key: k}}\n    {line}\n"
    (found,) = problems(text)
    assert found.partition("acme.")[2].startswith(expected)


def test_pull_may_be_a_duration(load):
    assert load(connectors(f"a: {{{ACME}, schedule: {{pull: 6h}}}}")).connectors["a"].schedule.pull == "6h"


def test_what_the_plugin_cannot_do_is_refused(problems):
    text = connectors("small: {receives: [profile], audiences: {a: {}}, triggers: {}, schedule: {pull: 6h}}")
    assert problems(text) == [
        "2:22: connectors.small.receives[0]: the plugin small cannot receive profile; it can receive consent",
        "2:32: connectors.small.audiences: the plugin small has no audiences; remove the key",
        "2:83: connectors.small.schedule.pull: the plugin small cannot be pulled; remove the key",
    ]


def test_names_go_into_urls(problems):
    found = problems(
        f"sources: {{Shop: {{token: {LONG}}}}}\n" + connectors(f"a.b: {{{ACME}}}", f"-a: {{{ACME}, enabled: false}}")
    )
    assert [line.partition(": expected a name of")[0] for line in found] == [
        "1:11: sources.Shop", "3:3: connectors.'a.b'", "4:3: connectors.-a",
    ]  # fmt: skip


def two(first: str, second: str) -> str:
    return connectors(
        f"a: {{plugin: acme, settings: {{account: a, api_key: k}}, {first}}}",
        f"b: {{plugin: acme, settings: {{account: b, api_key: k}}, {second}}}",
    )


def test_two_connectors_may_not_send_one_trigger(problems):
    (line,) = problems(two("triggers: {t: {mailing: 1}}", "triggers: {t: {mailing: 2, fanout: true}}"))
    assert "connectors.b.triggers.t: connector a maps this trigger too" in line


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("triggers: {t: {mailing: 1, fanout: true}}", "triggers: {t: {mailing: 2, fanout: true}}"),
        ("triggers: {t: {mailing: 1}}", "enabled: false, triggers: {t: {mailing: 2}}"),
        ("triggers: {t: {mailing: 1}}", "receives: [profile], triggers: {t: {mailing: 2}}"),
        ("triggers: {'*': {mailing: 1}}", "triggers: {'*': {mailing: 2}}"),
        ("triggers: {'*': {mailing: 1}}", "triggers: {t: {mailing: 2}}"),
        ("consents: {n: {group: 1, opt_in: double}}", "consents: {n: {group: 1}, m: {group: 2, opt_in: double}}"),
        ("consents: {n: {group: 1, opt_in: double}}", "enabled: false, consents: {n: {group: 1, opt_in: double}}"),
        ("consents: {n: {group: 1, opt_in: double}}", "receives: [], consents: {n: {group: 1, opt_in: double}}"),
    ],
)
def test_two_connectors_side_by_side(problems, first, second):
    assert problems(two(first, second)) == []


def test_only_one_connector_asks_people_to_confirm(problems):
    double = "consents: {n: {group: 1, opt_in: double}}"
    (line,) = problems(two(double, double))
    assert line.endswith(
        "connectors.b.consents.n: connector a already asks people to confirm n; let only one of them ask"
    )


def test_the_same_account_twice_is_unwise(load):
    config = load(connectors(f"a: {{{ACME}}}", f"b: {{{ACME}}}", f"c: {{{ACME}, enabled: false}}"))
    assert warnings_of(config) == [
        "3:3: connectors.b: the same plugin and account as connector a; people would be written twice"
    ]


def test_a_required_purpose_that_nobody_maps_is_unwise(load):
    config = load(connectors(f"a: {{{ACME}, requires: newsleter, consents: {{newsletter: {{group: 1}}}}}}"))
    assert [line.partition("requires: ")[2] for line in warnings_of(config)] == [
        "no connector has a consent called newsleter; did you mean newsletter?"
    ]


def test_pending_people_cannot_be_re_read_where_nothing_can_be_asked(load):
    (line,) = load(connectors("small: {schedule: {pending_check: 15m}}")).warnings
    assert "cannot re-read people" in line


@pytest.mark.parametrize(
    ("listen", "open_to_others"), [("127.0.0.1:1", False), ("'[::1]:1'", False), ("0.0.0.0:1", True), ("hub:1", True)]
)
@pytest.mark.parametrize("token", ["letmein", "${UNSET:-a-default-that-is-long}"])
def test_a_weak_token_is_a_warning_here_and_an_error_for_others(load, problems, listen, open_to_others, token):
    text = f"hub:\n  listen: {listen}\n  admin_token: {LONG}\nsources:\n  shop:\n    token: {token}\n"
    if open_to_others:
        (line,) = problems(text)
    else:
        (line,) = warnings_of(load(text))
    assert line.startswith("6:12: sources.shop.token: ")
    assert token not in line


def test_nobody_else_may_operate_a_hub_without_a_token(problems):
    assert problems("hub: {listen: '0.0.0.0:1'}") == [
        "1:1: hub.admin_token: the hub listens on 0.0.0.0 without a token; set one of 16 characters or more"
    ]


def test_a_token_that_could_not_be_read_is_one_problem(problems):
    assert len(problems("hub: {listen: '0.0.0.0:1', admin_token: '${A}'}")) == 1


def test_tokens_tell_senders_apart(problems):
    text = f"hub: {{admin_token: {LONG}}}\nsources:\n  a: {{token: {LONG}}}\n  b: {{token: ''}}\n"
    assert problems(text) == [
        "3:14: sources.a.token: the same token as hub.admin_token; give each its own",
        "4:14: sources.b.token: empty, so that nobody could send; set a token",
    ]


def test_short_keys_are_unwise(load):
    config = load("hub: {secret: abc}\n" + connectors(f"a: {{{ACME}, hook_key: abc}}"))
    assert [line.partition(": short")[0] for line in warnings_of(config)] == [
        "1:15: hub.secret",
        "3:67: connectors.a.hook_key",
    ]


@pytest.mark.parametrize("key", ["base_url", "incoming_webhook_url"])
def test_a_private_vendor_is_refused_unless_it_is_allowed(problems, key):
    text = connectors(f"a: {{plugin: acme, settings: {{account: a, api_key: k, {key}: 'http://127.0.0.1:9'}}%s}}")
    (line,) = problems(text % "")
    assert f"connectors.a.settings.{key}: " in line
    assert "hub.egress.allow" in line
    assert problems(text % ", twin: true") == []
    assert problems(text % ", enabled: false") == []
    assert problems("hub: {egress: {allow: [127.0.0.0/8]}}\n" + text % "") == []


def test_building_twice_gives_the_same(tmp_path, types):
    path = tmp_path / "connectors.yaml"
    path.write_text("hub: {max_hops: x}\n")
    document = read(path, {})
    said = []
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            build(document, types)
        said.append(caught.value.problems)
    assert said[0] == said[1]
