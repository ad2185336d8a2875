"""What each event of the hub says to the receiver: pure functions from events to messages, and on to bytes."""

import hashlib
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import Struct

from esplanade import ConsentEvent, ProductSet, ProfileEvent, TriggerEvent

Format: TypeAlias = Literal["canonical", "cloudevents"]

CONTENT_TYPES: dict[Format, str] = {"canonical": "application/json", "cloudevents": "application/cloudevents+json"}


class Message(Struct, frozen=True, kw_only=True):
    """One event as the receiver shall hear of it. The order of the keys in ``data`` is the order on the wire."""

    type: Literal["profile.updated", "audience.changed", "consent.changed", "trigger"]
    delivery_id: str
    person: str
    at: datetime
    data: dict[str, Any]

    def canonical(self) -> bytes:
        """The event in our own envelope."""
        return msgspec.json.encode({"type": self.type, "timestamp": self.at.astimezone(UTC), "data": self.data})

    @property
    def id(self) -> str:
        """The ``webhook-id``: the same for each attempt of the same content, another one for any other content."""
        # The content is part of it, because a delivery that is tried again may have newer content by then.
        digest = hashlib.sha256(f"{self.delivery_id}\0{self.type}\0".encode() + self.canonical())
        return f"msg_{digest.hexdigest()[:32]}"


def profile_messages(event: ProfileEvent[Any]) -> list[Message]:
    """Return what changed of a person: ``profile.updated``, ``audience.changed``, or both in this order."""
    messages = []
    memberships = dict.fromkeys(event.audiences.add, True) | dict.fromkeys(event.audiences.remove, False)
    if event.changed or event.cleared or event.previous_email or not memberships:
        fields = event.changed | dict.fromkeys(event.cleared)
        data = {
            "person": event.person,
            "id": event.cdp_id,
            "email": event.email,
            "previous_email": event.previous_email,
            "fields": dict(sorted(fields.items())),
        }
        messages.append(_message("profile.updated", event, _said(data)))
    if memberships:
        changed = dict(sorted(memberships.items()))
        messages.append(_message("audience.changed", event, {"email": event.email, "audiences": changed}))
    return messages


def consent_message(event: ConsentEvent[Any]) -> Message:
    """Return what a person said about one purpose."""
    data = {
        "email": event.email,
        "purpose": event.purpose,
        "state": event.state,
        "method": event.method,
        "at": event.said_at.astimezone(UTC),
    }
    return _message("consent.changed", event, _said(data))


def trigger_message(event: TriggerEvent[Any], language: str) -> Message:
    """Return what happened, with its product set; ``language`` is the hub's, for a trigger that names none."""
    data = {
        "email": event.email,
        "trigger": event.trigger,
        "trigger_id": event.trigger_id,
        "language": event.language or language,
        "data": event.data,
        "products": event.products and _products(event.products),
        "expires_at": event.expires_at and event.expires_at.astimezone(UTC),
    }
    return _message("trigger", event, _said(data))


def envelope(message: Message, form: Format, connector: str) -> bytes:
    """Return the body of the request, in the envelope that the receiver asked for."""
    if form == "canonical":
        return message.canonical()
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": message.id,
            "source": f"/esplanade/{quote(connector, safe='')}",
            "type": message.type,
            "subject": message.person,
            "time": message.at.astimezone(UTC),
            "datacontenttype": "application/json",
            "data": message.data,
        }
    )


def _message(
    kind: Literal["profile.updated", "audience.changed", "consent.changed", "trigger"],
    event: ProfileEvent[Any] | ConsentEvent[Any] | TriggerEvent[Any],
    data: dict[str, Any],
) -> Message:
    return Message(type=kind, delivery_id=event.delivery_id, person=event.person, at=event.at, data=data)


def _products(products: ProductSet) -> dict[str, Any]:
    head = _said({"set": products.set, "language": products.language})
    return head | {"items": [_said(msgspec.to_builtins(item)) for item in products.items]}


def _said(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}
