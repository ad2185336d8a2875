"""What must hold between keys, once each of them is right by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping as Table
from typing import TYPE_CHECKING, Final

from esplanade.values import Duration, Origin, Secret

from .check_hub import check_hub, check_names, check_tokens
from .check_webhook import check_webhook
from .cron import named_weekdays
from .egress import Network, network, refused
from .kinds import is_secret, keys_of
from .model import Config, ConnectorConfig, PluginTypes
from .problems import Where, nearest, remedy

if TYPE_CHECKING:
    from .findings import Findings

Types = Table[str, PluginTypes | str]

_URLS: Final = frozenset({"base_url", "auth_url", "url", "incoming_webhook_url"})


def cross_check(config: Config, types: Types, findings: Findings) -> None:
    """Find everything that is wrong or unwise although each value can be read."""
    check_names(findings)
    check_hub(config, findings)
    check_tokens(config, findings)
    allow = _allowed(config)
    for connector in config.connectors.values():
        known = types.get(connector.plugin)
        loaded = known if isinstance(known, PluginTypes) else None
        _check_references(connector, config, findings)
        _check_fields(connector, findings)
        _check_limits(connector, findings)
        _check_schedule(connector, loaded, config.hub.timezone, findings)
        check_webhook(connector, loaded, config, findings)
        if loaded is not None:
            _check_receives(connector, loaded, findings)
            if connector.enabled and not connector.twin and findings.readable("hub", "egress"):
                _check_urls(connector, loaded, allow, findings)
    running = [connector for connector in config.connectors.values() if connector.enabled]
    _check_shared_triggers(running, findings)
    _check_one_asks(running, findings)
    _check_twice_the_same(running, types, findings)


def _check_references(connector: ConnectorConfig, config: Config, findings: Findings) -> None:
    where = ("connectors", connector.name)
    sources = findings.names("sources")
    if connector.source is not None and connector.source not in sources:
        advice = remedy(connector.source, sources) if sources else "add it under sources"
        findings.refuse((*where, "source"), f"no source is called {connector.source}; {advice}")
    purposes = sorted(
        {name for each in findings.names("connectors") for name in findings.names("connectors", each, "consents")}
    )
    required: list[tuple[Where, str | None]] = [((*where, "requires"), connector.requires)]
    required += [((*where, "triggers", name, "requires"), each.requires) for name, each in connector.triggers.items()]
    for path, purpose in required:
        if purpose is not None and purpose not in purposes:
            near = nearest(purpose, purposes)
            advice = f"did you mean {near}?" if near else "without a recorded grant nothing is sent"
            findings.warn(path, f"no connector has a consent called {purpose}; {advice}")


def _check_fields(connector: ConnectorConfig, findings: Findings) -> None:
    where = ("connectors", connector.name)
    taken: dict[str, str] = {}
    for hub_field, vendor_field in connector.fields.items():
        if not vendor_field:
            findings.refuse((*where, "fields", hub_field), "names no vendor field; write one or remove the line")
        elif vendor_field in taken:
            findings.refuse(
                (*where, "fields", hub_field),
                f"{vendor_field} already takes {taken[vendor_field]}; map one field to it",
            )
        taken.setdefault(vendor_field, hub_field)
    if isinstance(connector.conflict, dict) and not connector.all_fields:
        for name in connector.conflict:
            if name not in connector.fields:
                advice = remedy(name, connector.fields, otherwise="mapped are")
                findings.refuse((*where, "conflict", name), f"not a mapped field; {advice}")


def _check_limits(connector: ConnectorConfig, findings: Findings) -> None:
    where = ("connectors", connector.name)
    above_zero: list[tuple[str, str | None, Duration]] = [
        ("timeout", None, connector.timeout),
        ("breaker", "open", connector.breaker.open),
        ("retry", "base", connector.retry.base),
    ]
    for section, key, duration in above_zero:
        if duration <= 0:
            findings.refuse((*where, section, key) if key else (*where, section), "expected a duration above zero")
    if connector.retry.cap < connector.retry.base:
        findings.refuse((*where, "retry", "cap"), "expected no less than retry.base")


def _check_schedule(connector: ConnectorConfig, types: PluginTypes | None, timezone: str, findings: Findings) -> None:
    where = ("connectors", connector.name, "schedule")
    schedule = connector.schedule
    if schedule.pull is not None:
        if types is not None and "pull" not in types.methods:
            findings.refuse((*where, "pull"), f"the plugin {connector.plugin} cannot be pulled; remove the key")
        elif wrong := _wrong_pull(schedule.pull):
            findings.refuse((*where, "pull"), wrong)
    if schedule.pending_check is not None:
        if schedule.pending_check <= 0:
            findings.refuse((*where, "pending_check"), "expected a duration above zero")
        if types is not None and not {"fetch", "pull"} & set(types.methods):
            findings.warn(
                (*where, "pending_check"), f"the plugin {connector.plugin} cannot re-read people; remove the key"
            )


def _wrong_pull(text: str) -> str | None:
    """Why a pull's schedule is none, or None."""
    expected = 'expected a cron expression of five fields, such as "0 3 * * *", or a duration such as 6h'
    try:
        return None if Duration.parse(text) > 0 else "expected a duration above zero"
    except ValueError:
        pass
    from apscheduler.triggers.cron import CronTrigger

    if len(text.split()) != 5:
        return expected
    try:
        CronTrigger.from_crontab(named_weekdays(text), timezone="UTC")
    except (ValueError, KeyError, TypeError):
        return expected
    return None


def _check_receives(connector: ConnectorConfig, types: PluginTypes, findings: Findings) -> None:
    for index, kind in enumerate(connector.receives):
        if kind not in types.receives:
            able = ", ".join(types.receives) or "nothing"
            what = f"the plugin {connector.plugin} cannot receive {kind}; it can receive {able}"
            findings.refuse(("connectors", connector.name, "receives", f"[{index}]"), what)


def _check_urls(connector: ConnectorConfig, types: PluginTypes, allow: list[Network], findings: Findings) -> None:
    for key in keys_of(types.settings):
        value = getattr(connector.settings, key.attribute, None)
        if not isinstance(value, Origin) and key.name not in _URLS:
            continue
        text = value.reveal() if isinstance(value, Secret) else value
        if isinstance(text, str) and text and (wrong := refused(text, allow, hidden=isinstance(value, Secret))):
            findings.refuse(("connectors", connector.name, "settings", key.name), wrong)


def _check_shared_triggers(running: list[ConnectorConfig], findings: Findings) -> None:
    holders: dict[str, list[ConnectorConfig]] = defaultdict(list)
    for connector in running:
        if "trigger" in connector.receives:
            for name in connector.triggers:
                if name != "*":
                    holders[name].append(connector)
    for name, connectors in holders.items():
        if len(connectors) > 1 and not all(each.triggers[name].fanout for each in connectors):
            first = connectors[0].name
            for each in connectors[1:]:
                what = (
                    f"connector {first} maps this trigger too, so a person would get two mails; "
                    "remove one, or say fanout: true on each"
                )
                findings.refuse(("connectors", each.name, "triggers", name), what)


def _check_one_asks(running: list[ConnectorConfig], findings: Findings) -> None:
    asking: dict[str, str] = {}
    for connector in running:
        if "consent" not in connector.receives:
            continue
        for purpose, target in connector.consents.items():
            if not target.asks_to_confirm():
                continue
            if purpose in asking:
                what = f"connector {asking[purpose]} already asks people to confirm {purpose}; let only one of them ask"
                findings.refuse(("connectors", connector.name, "consents", purpose), what)
            asking.setdefault(purpose, connector.name)


def _check_twice_the_same(running: list[ConnectorConfig], types: Types, findings: Findings) -> None:
    seen: dict[tuple[str, str], str] = {}
    for connector in running:
        known = types.get(connector.plugin)
        if not isinstance(known, PluginTypes) or connector.settings is None:
            continue
        shown = {
            key.name: getattr(connector.settings, key.attribute)
            for key in keys_of(known.settings)
            if not is_secret(key.kind)
        }
        identity = (connector.plugin, repr(shown))
        if identity in seen:
            what = f"the same plugin and account as connector {seen[identity]}; people would be written twice"
            findings.warn(("connectors", connector.name), what)
        seen.setdefault(identity, connector.name)


def _allowed(config: Config) -> list[Network]:
    allow = []
    for each in config.hub.egress.allow:
        try:
            allow.append(network(each))
        except ValueError:
            continue
    return allow
