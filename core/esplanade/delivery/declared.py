"""Webhooks as connectors.yaml declares them: what a call says, and what of it is believed once its contact was read again.

Pure. Anybody who may set up a call at the vendor, or who learns its URL, can write anything into it. So a call only says whose
contact to read; what it says itself counts as far as the operator's rule for its event goes, and no further.
"""

from __future__ import annotations

import hashlib

from msgspec import Struct
from msgspec.structs import replace

from esplanade.bodies import Body, BodyPath, Found, Tree, read_body
from esplanade.clock import as_datetime
from esplanade.config.model import ConnectorConfig, Webhook, WebhookRule
from esplanade.errors import PermanentError
from esplanade.model import Happening, Held, Inbound, InboundRequest, Report, Value
from esplanade.sync.identity import same_address
from esplanade.text import as_text
from esplanade.values import secrets_in


class Call(Struct, frozen=True, kw_only=True):
    """A call whose event has a rule."""

    body: Body
    event: str
    """The event as connectors.yaml writes it."""
    said: Found
    """Where the call says so."""
    rule: WebhookRule
    address: Found

    @property
    def email(self) -> str:
        """The address whose contact is to be read."""
        return str(self.address.value)


def read_call(webhook: Webhook, request: InboundRequest, *, others_read: bool = False) -> Call | None:
    """What a call says, by the rule for its event; None where no rule is for it.

    ``others_read``: a plugin reads what no rule is for, and so also a body that is no such form, unless the query names an event
    that has one. Raises PermanentError for a call that cannot be read, and for one that does not say whose contact it is about.
    """
    try:
        body = read_body(request, webhook.content_type)
    except PermanentError:
        if others_read and not names_event(webhook, request):
            return None
        raise
    return call_of(webhook, body)


def names_event(webhook: Webhook, request: InboundRequest) -> bool:
    """Whether the query of a call, by itself, names an event that has a rule."""
    said = read_body(replace(request, body=b"")).find(paths_of(webhook.event))
    return said is not None and _rule_for(webhook, said.value) is not None


def call_of(webhook: Webhook, body: Body) -> Call | None:
    """What a call says that was read already; like ``read_call``."""
    said = body.find(paths_of(webhook.event))
    event = None if said is None else _rule_for(webhook, said.value)
    if said is None or event is None:
        return None
    address = body.address(paths_of(webhook.email))
    return Call(body=body, event=event, said=said, rule=webhook.events[event], address=address)


def no_rule(webhook: Webhook) -> PermanentError:
    """Why a call is kept that neither a rule nor a plugin reads."""
    paths = " or ".join(paths_of(webhook.event))
    known = ", ".join(webhook.events)
    return PermanentError(
        f"the webhook's event, at {paths} in its body or query, is none that webhook.events names ({known}), and the plugin reads "
        "no webhooks; `esplanade webhook try` shows what a captured call says"
    )


def check_contact(call: Call, contact: Report | None) -> Report:
    """The contact that a call is about, as the vendor has it. Raises PermanentError where it is not there: nothing is believed."""
    if contact is None or contact.deleted:
        raise PermanentError(
            "the vendor has no contact with the address in the webhook, so nothing that it says is believed; `esplanade replay` "
            "reads it again"
        )
    if contact.email is not None and not same_address(contact.email, call.email):
        raise PermanentError(
            "the vendor answers with a contact that has another address than the webhook, so nothing that it says is believed"
        )
    return contact


def told(call: Call, contact: Report, connector: ConnectorConfig, received_at: float) -> list[Inbound]:
    """What counts of a call beyond what its contact shows, as the rule for its event says it."""
    said = (_word(call, contact, received_at), _trigger(call, contact, connector, received_at))
    return [each for each in said if each is not None]


def _word(call: Call, contact: Report, received_at: float) -> Report | None:
    """What the call says in the person's name; None where that is nothing.

    ``denied`` counts as it is. ``granted`` counts where the contact shows the same, and then it is the person's confirmation.
    Its clock is when the call came, so that an old one that is read late undoes nothing that was said since.
    """
    rule = call.rule
    consents: dict[str, Held] = {
        purpose: state
        for purpose, state in rule.consents.items()
        if state == "denied" or contact.consents.get(purpose) == "granted"
    }
    fields: dict[str, Value] = {
        name: value for name, path in rule.fields.items() if (value := _field(call, name, path)) is not None
    }
    if not (consents or fields):
        return None
    return Report(
        email=contact.email or call.email,
        remote_id=contact.remote_id,
        fields=fields,
        consents=consents,
        at=as_datetime(received_at),
        event_id=_event_id(call),
        confirmed=True,
        evidence={"webhook_event": call.event},
    )


def _trigger(call: Call, contact: Report, connector: ConnectorConfig, received_at: float) -> Happening | None:
    """The trigger that the rule names, with what the call says as its data."""
    if call.rule.trigger is None:
        return None
    return Happening(
        name=call.rule.trigger,
        email=contact.email or call.email,
        data=_data(call, connector),
        at=as_datetime(received_at),
        event_id=_event_id(call),
    )


def paths_of(given: list[BodyPath] | BodyPath) -> list[BodyPath]:
    """One path or several, as several."""
    return [given] if isinstance(given, BodyPath) else given


def _rule_for(webhook: Webhook, said: Tree) -> str | None:
    if isinstance(said, dict | list):
        return None
    text = as_text(said).strip()
    if text in webhook.events:
        return text
    alike = [event for event in webhook.events if event.lower() == text.lower()]
    return alike[0] if len(alike) == 1 else None


def _field(call: Call, name: str, path: BodyPath) -> Value:
    """A field's value; None where the call says nothing of it, which clears nothing."""
    found = call.body.find([path])
    match found.value if found is not None else None:
        case None:
            return None
        case list() as items if not any(isinstance(item, dict | list) for item in items):
            return [item for item in items if item is not None]
        case dict() | list():
            raise PermanentError(
                f"{path} of the webhook, for the field {name}, leads to keys and not to a value; mend the path"
            )
        case value:
            return value


def _event_id(call: Call) -> str | None:
    """What tells this event from others; None where the call lacks a part of it. A digest, for the parts may be personal."""
    found = [call.body.find([path]) for path in paths_of(call.rule.event_id)]
    parts = [as_text(each.value) for each in found if each is not None]
    if not parts or len(parts) < len(found):
        return None
    said = "\0".join([call.event, call.email.lower(), *parts])
    return f"webhook-{hashlib.blake2b(said.encode(), digest_size=16).hexdigest()}"


def _data(call: Call, connector: ConnectorConfig) -> dict[str, object]:
    """What the call says besides whom and what it is about: its body, or the query where there is none. Never a secret."""
    body = call.body
    tree = body.query if body.form is None else body.tree
    where = "query" if body.form is None else "body"
    for found in (call.address, call.said):
        if found.path and found.where == where:
            tree = BodyPath(found.path).without(tree)
    tree = without_secrets(tree, connector)
    match tree:
        case dict():
            return dict(tree)
        case list():
            return {"items": tree}
        case _:
            return {}


def without_secrets(tree: Tree, connector: ConnectorConfig) -> Tree:
    """The same tree less every value that is one of the connector's secrets, as some vendors' calls carry one."""
    return _without_values(tree, secrets_in([connector.settings, connector.hook_key]))


def _without_values(tree: Tree, values: set[str]) -> Tree:
    match tree:
        case dict():
            return {key: _without_values(each, values) for key, each in tree.items() if not _is_one(each, values)}
        case list():
            return [_without_values(each, values) for each in tree if not _is_one(each, values)]
        case _:
            return tree


def _is_one(tree: Tree, values: set[str]) -> bool:
    return isinstance(tree, str) and tree in values
