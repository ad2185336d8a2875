"""A source that is also a connector: what it sends is what it holds, so its events set its base."""

from __future__ import annotations

from esplanade.config.model import ConnectorConfig
from esplanade.model import State
from esplanade.records import Person, Remote
from esplanade.store.port import Unit
from esplanade.sync import mapping

from .changes import Cause
from .shapes import ProfileIn
from .world import World


def source_reports_profile(unit: Unit, world: World, person: Person, body: ProfileIn, cause: Cause) -> None:
    """Note in the base of each connector that this source is, what its profile says it holds."""
    for connector in _of_source(world, cause.entry.origin):
        remote = unit.remote(person.id, connector.name) or Remote(person=person.id, connector=connector.name)
        remote.email = body.email or remote.email or person.email or None
        for name, value in body.fields.items():
            vendor = mapping.vendor_name(connector, name)
            if vendor is not None:
                remote.fields[vendor] = value
        remote.audiences.update(
            {name: member for name, member in body.audiences.items() if name in connector.audiences}
        )
        remote.consents.update({name: state for name, state in body.consents.items() if name in connector.consents})
        remote.acked_at = cause.now
        unit.save_remote(remote)


def source_reports_consent(unit: Unit, world: World, person: Person, purpose: str, state: State, cause: Cause) -> None:
    """The same for one purpose."""
    for connector in _of_source(world, cause.entry.origin):
        if purpose in connector.consents:
            remote = unit.remote(person.id, connector.name) or Remote(person=person.id, connector=connector.name)
            remote.consents[purpose] = state
            unit.save_remote(remote)


def _of_source(world: World, source: str) -> list[ConnectorConfig]:
    return [connector for connector in world.connectors.values() if connector.source == source]
