"""What must hold between a connector's ``webhook:`` and the rest of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .model import Config, ConnectorConfig, PluginTypes, Webhook, WebhookRule
from .problems import Where, nearest, remedy

if TYPE_CHECKING:
    from .findings import Findings

_MOST = 200
"""The longest name that a trigger has (``ingest/shapes.py``)."""


def check_webhook(connector: ConnectorConfig, types: PluginTypes | None, config: Config, findings: Findings) -> None:
    """Find what is wrong or unwise in how a connector's webhooks are to be read."""
    webhook = connector.webhook
    if webhook is None:
        return
    where = ("connectors", connector.name, "webhook")
    if types is not None and "fetch" not in types.methods:
        what = (
            f"the plugin {connector.plugin} cannot read one contact again (it has no fetch), and nothing that a call "
            "says is believed without; remove the block"
        )
        findings.refuse(where, what)
    elif types is not None and connector.settings is not None and not types.can_fetch(connector.settings):
        what = (
            f"with these settings the plugin {connector.plugin} cannot read one contact again, and nothing that a call says is "
            "believed without; give it the settings with which it can, or remove the block"
        )
        findings.refuse(where, what)
    if not webhook.events:
        findings.refuse(
            (*where, "events"), "says nothing; write what a value means, such as {clicked: {trigger: clicked}}"
        )
    for key in ("email", "event"):
        if getattr(webhook, key) == []:
            findings.refuse((*where, key), "names no path; write one, or leave the key out")
    _check_cases(webhook, where, findings)
    others = [each for each in config.connectors.values() if each.name != connector.name and each.enabled]
    triggers = sorted({name for each in others if "trigger" in each.receives for name in each.triggers})
    for event, rule in webhook.events.items():
        _check_rule(connector, rule, (*where, "events", event), triggers, findings)


def _check_cases(webhook: Webhook, where: Where, findings: Findings) -> None:
    seen: dict[str, str] = {}
    for event in webhook.events:
        first = seen.setdefault(event.lower(), event)
        if first != event:
            what = f"differs from {first} only in capitals, which some senders change; keep one of them"
            findings.warn((*where, "events", event), what)


def _check_rule(
    connector: ConnectorConfig, rule: WebhookRule, where: Where, triggers: list[str], findings: Findings
) -> None:
    if not (rule.trigger or rule.consents or rule.fields):
        findings.refuse(where, "says nothing; give it trigger, consents or fields, or remove it")
    for purpose in rule.consents:
        if purpose not in findings.names("connectors", connector.name, "consents"):
            advice = remedy(purpose, connector.consents, otherwise="this connector has")
            findings.refuse((*where, "consents", purpose), f"not a consent of this connector; {advice}")
    for name in rule.fields:
        if name in connector.fields or connector.all_fields:
            what = (
                "this connector maps the field, so it is read from the contact anyhow; remove it here or from `fields`"
            )
            findings.refuse((*where, "fields", name), what)
    if rule.trigger is not None:
        _check_trigger(rule.trigger, (*where, "trigger"), triggers, findings)
    said = (("profile", rule.fields), ("consent", rule.consents), ("trigger", rule.trigger))
    for (kind, says), key in zip(said, ("fields", "consents", "trigger"), strict=True):
        if says and kind not in connector.sends:
            findings.warn(
                (*where, key), f"does nothing, because `sends` leaves out {kind}; add it there or remove this"
            )


def _check_trigger(name: str, where: Where, triggers: list[str], findings: Findings) -> None:
    if not name or name == "*" or len(name) > _MOST or name != name.strip() or not name.isprintable():
        findings.refuse(
            where, f"not the name of a trigger; write one such as order-status, of at most {_MOST} characters"
        )
    elif name not in triggers and "*" not in triggers:
        near = nearest(name, triggers)
        advice = f"did you mean {near}?" if near else "it will be recorded and go nowhere"
        findings.warn(where, f"no other connector that runs maps a trigger called {name}; {advice}")
