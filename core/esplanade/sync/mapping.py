"""Between the hub's names and a vendor's: which fields, purposes and audiences a connector maps, in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from esplanade.config.model import ConnectorConfig
from esplanade.model import State, Value
from esplanade.records import Person

from .consent import effective


def vendor_name(connector: ConnectorConfig, hub_field: str) -> str | None:
    """The vendor's name of a hub field; None when the connector does not map it."""
    if connector.all_fields:
        return hub_field
    return connector.fields.get(hub_field)


def hub_name(connector: ConnectorConfig, vendor_field: str) -> str | None:
    """The hub's name of a vendor field; None when the connector does not map it."""
    if connector.all_fields:
        return vendor_field
    for hub_field, name in connector.fields.items():
        if name == vendor_field:
            return hub_field
    return None


def desired_fields(person: Person, connector: ConnectorConfig, read_only: frozenset[str]) -> dict[str, Value]:
    """Every mapped field as the vendor should hold it, under the vendor's names. None means: cleared."""
    desired: dict[str, Value] = {}
    for hub_field, clocked in person.fields.items():
        name = vendor_name(connector, hub_field)
        if name is not None and name not in read_only:
            desired[name] = clocked.value
    return desired


def desired_audiences(person: Person, connector: ConnectorConfig) -> dict[str, bool]:
    """Membership in every mapped audience about which something was said."""
    return {name: bool(person.audiences[name].value) for name in connector.audiences if name in person.audiences}


def desired_consent(person: Person, connector: ConnectorConfig, purpose: str) -> State | None:
    """What the vendor should hold for a purpose; None when nothing may be said to it.

    ``pending`` only for the connector whose vendor asks the person to confirm.
    """
    target = connector.consents.get(purpose)
    standing = person.consents.get(purpose)
    if target is None or standing is None:
        return None
    if standing.state == "pending" and target.asks_to_confirm():
        return "pending"
    held = effective(standing)
    return None if held == "granted" and purpose in person.doubted else held


def touches(connector: ConnectorConfig, fields: Iterable[str], audiences: Iterable[str]) -> bool:
    """Whether a change of these hub fields and audiences is any of this connector's business."""
    if any(vendor_name(connector, name) is not None for name in fields):
        return True
    return any(name in connector.audiences for name in audiences)


def asker(connectors: Mapping[str, ConnectorConfig], purpose: str) -> ConnectorConfig | None:
    """The enabled connector whose vendor asks people to confirm this purpose; there is at most one."""
    for connector in connectors.values():
        target = connector.consents.get(purpose)
        listens = connector.enabled and "consent" in connector.receives
        if listens and target is not None and target.asks_to_confirm():
            return connector
    return None
