"""Webhooks as connectors.yaml declares them: what a call says, and what of it is believed once its contact was read again.

Pure. Anybody who may set up a call at the vendor, or who learns its URL, can write anything into it. So a call only says whose
contact to read; what it says itself counts as far as the operator's rule for its event goes, and no further.
"""

from __future__ import annotations

import hashlib

from msgspec import Struct
from msgspec.structs import replace

from esplanade.bodies import Body, BodyPath, Found, Repeated, Tree, address_in, read_body
from esplanade.clock import as_datetime
from esplanade.config.model import ConnectorConfig, Webhook, WebhookRule
from esplanade.errors import PermanentError
from esplanade.ingest.shapes import WordIn
from esplanade.model import Happening, InboundRequest, Report, State, Value
from esplanade.sync.identity import address_key, same_address
from esplanade.text import as_text
from esplanade.values import secrets_in, tells_secret


class Call(Struct, frozen=True, kw_only=True):
    """A call whose event has a rule."""

    body: Body
    event: str
    """The event as connectors.yaml writes it."""
    said: Found
    """Where the call says so."""
    rule: WebhookRule
    address: Found
    about: list[Found]
    """All places that say the event or the address, which are no data."""

    @property
    def email(self) -> str:
        """The address whose contact is to be read."""
        return str(self.address.value)


class Heard(Struct, frozen=True, kw_only=True):
    """A call as it was read."""

    body: Body
    said: Found | None = None
    """Where it says its event."""
    call: Call | None = None
    """What it says by the rule for its event; None where no rule is for it."""


def read_call(webhook: Webhook, request: InboundRequest, *, others_read: bool = False) -> Heard:
    """Read a call by the rule for its event.

    ``others_read``: a plugin reads what no rule is for, and so also a body that is no such form, unless the query names an event
    that has one. Raises PermanentError for a call that cannot be read, and for one that does not say whose contact it is about.
    """
    try:
        body = read_body(request, webhook.content_type)
    except PermanentError as problem:
        if others_read and not _names_event(webhook, request):
            return Heard(body=Body(form=None, broken=str(problem)))
        raise
    said, event = _event(webhook, body)
    if said is None or event is None:
        return Heard(body=body, said=said)
    address = body.address(paths_of(webhook.email))
    if address_key(str(address.value)) is None:
        raise PermanentError(
            "the address in the webhook is none that the hub can take, so the vendor is not asked for its contact; correct it there"
        )
    call = Call(
        body=body,
        event=event,
        said=said,
        rule=webhook.events[event],
        address=address,
        about=_about(webhook, body, said, address),
    )
    return Heard(body=body, said=said, call=call)


def _names_event(webhook: Webhook, request: InboundRequest) -> bool:
    """Whether the query of a call, by itself, names an event that has a rule."""
    _, event = _event(webhook, read_body(replace(request, body=b"")))
    return event is not None


def _event(webhook: Webhook, body: Body) -> tuple[Found | None, str | None]:
    """Where a call says its event, and the one that has a rule, as connectors.yaml writes it.

    Raises PermanentError where it says several: one of them may be in words that somebody else has written.
    """
    there = [each for found in body.find_all(paths_of(webhook.event)) for each in _parts(found)]
    said = {as_text(each.value).strip().lower(): each for each in reversed(there)}
    events = [_rule_for(webhook, each.value) for each in said.values()]
    if len(said) > 1 and any(events):
        where = " and ".join(dict.fromkeys(f"{each.path} in the {each.where}" for each in there))
        raise PermanentError(
            f"{len(said)} events are in the webhook, at {where}, and nothing says which is meant; name one path in webhook.event"
        )
    return (there[0] if there else None), (events[0] if len(said) == 1 else None)


def _parts(found: Found) -> list[Found]:
    """A single value, or each of a key that came more than once; an empty one, and a list or keys, name no event."""
    values = found.value if isinstance(found.value, Repeated) else [found.value]
    return [
        replace(found, value=each) for each in values if each not in (None, "") and not isinstance(each, dict | list)
    ]


def _about(webhook: Webhook, body: Body, said: Found, address: Found) -> list[Found]:
    """All places that say the event or the address once more."""
    event, email = as_text(said.value).strip().lower(), str(address.value).lower()
    again = [
        *(each for each in body.find_all(paths_of(webhook.event)) if str(each.value).strip().lower() == event),
        *(each for each in body.find_all(paths_of(webhook.email)) if (address_in(each.value) or "").lower() == email),
    ]
    return [said, address, *again]


def no_rule(webhook: Webhook) -> PermanentError:
    """Why a call is kept that neither a rule nor a plugin reads."""
    paths = " or ".join(paths_of(webhook.event))
    known = ", ".join(webhook.events)
    return PermanentError(
        f"the webhook's event, at {paths} in its body or query, is none that webhook.events names ({known}), and the plugin reads "
        "no webhooks; `esplanade webhook try` shows what a captured call says"
    )


def check_contact(call: Call, contact: Report | None) -> Report:
    """The contact that a call is about, as the vendor has it. Raises PermanentError where it is not there: nothing is believed.

    A plugin that shows no address has looked the contact up by the one in the call.
    """
    if contact is None or contact.deleted:
        raise PermanentError(
            "the vendor has no contact with the address in the webhook, so nothing that it says is believed; `esplanade replay` "
            "reads it again"
        )
    if contact.email is not None and not same_address(contact.email, call.email):
        raise PermanentError(
            "the vendor answers with a contact that has another address than the webhook, so nothing that it says is believed"
        )
    return contact if contact.email is not None else replace(contact, email=call.email)


class Told(Struct, frozen=True, kw_only=True):
    """What counts of a call beyond what its contact shows."""

    word: WordIn | None
    """What it says in the person's name; None where that is nothing."""
    trigger: Happening | None


def told(call: Call, contact: Report, connector: ConnectorConfig, received_at: float, *, hook_key: str = "") -> Told:
    """What counts of a call beyond what its contact shows, by the rule for its event. ``hook_key`` is the one of its URL."""
    data = _data(call, connector, hook_key) if call.rule.trigger is not None else {}
    return Told(word=_word(call, contact, received_at), trigger=_trigger(call, contact, data, received_at))


def _word(call: Call, contact: Report, received_at: float) -> WordIn | None:
    """``denied`` counts as it is. ``granted`` counts where the contact shows the same, as ``ingest/told.py`` has it.

    Its clock is when the call came, so that an old one that is read late undoes nothing that was said since.
    """
    rule = call.rule
    consents: dict[str, State] = {
        purpose: state
        for purpose, state in rule.consents.items()
        if state == "denied" or contact.consents.get(purpose) == "granted"
    }
    fields: dict[str, Value] = {
        name: value for name, path in rule.fields.items() if (value := _field(call, name, path)) is not None
    }
    if not (consents or fields):
        return None
    return WordIn(
        fields=fields,
        consents=consents,
        at=received_at,
        evidence={"webhook_event": call.event},
        event_id=_event_id(call),
    )


def _trigger(call: Call, contact: Report, data: dict[str, object], received_at: float) -> Happening | None:
    """The trigger that the rule names, with what the call says as its data."""
    if call.rule.trigger is None:
        return None
    return Happening(
        name=call.rule.trigger,
        email=contact.email or call.email,
        data=data,
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


def _data(call: Call, connector: ConnectorConfig, hook_key: str) -> dict[str, object]:
    """What the call says besides whom and what it is about: its body, or the query where there is none. Never a secret."""
    body = call.body
    tree = body.query if body.form is None else body.tree
    where = "query" if body.form is None else "body"
    for found in call.about:
        if found.path and found.where == where:
            tree = BodyPath(found.path).without(tree)
    tree = without_secrets(tree, connector, hook_key)
    match tree:
        case dict():
            return dict(tree)
        case list():
            return {"items": tree}
        case _:
            return {}


def without_secrets(tree: Tree, connector: ConnectorConfig, hook_key: str = "") -> Tree:
    """The same tree less whatever tells one of the connector's secrets, as some vendors' calls carry one."""
    secrets = secrets_in([connector.settings, connector.hook_key]) | ({hook_key} if hook_key else set())
    return _without(tree, secrets) if secrets else tree


def _without(tree: Tree, secrets: set[str]) -> Tree:
    match tree:
        case dict():
            kept = {key: each for key, each in tree.items() if not (_tells(key, secrets) or _tells(each, secrets))}
            return {key: _without(each, secrets) for key, each in kept.items()}
        case list():
            return [_without(each, secrets) for each in tree if not _tells(each, secrets)]
        case _:
            return tree


def _tells(tree: Tree, secrets: set[str]) -> bool:
    return not isinstance(tree, dict | list) and tree is not None and tells_secret(as_text(tree), secrets)
