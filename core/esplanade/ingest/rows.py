"""Rows of a pull beside the base: only those that differ are journalled."""

from __future__ import annotations

from esplanade.config.model import ConnectorConfig
from esplanade.model import Held
from esplanade.records import Person, Remote
from esplanade.sync import contacts, mapping, merge
from esplanade.sync.alike import Declared, alike
from esplanade.sync.identity import same_address

from .shapes import ReportIn
from .world import World


def differs(
    person: Person | None, remote: Remote | None, connector: ConnectorConfig, report: ReportIn, world: World
) -> bool:
    """Whether a pulled row says anything that the base does not and that it may change: only such rows are journalled."""
    if person is None or remote is None or remote.email is None or remote.unknown:
        return True
    if any(
        held == "granted" and connector.name in person.doubted.get(purpose, {})
        for purpose, held in report.consents.items()
    ):
        return True
    former = contacts.former_of(remote, report.email, report.remote_id)
    if former is not None and not _is_own(remote, report):
        return any(
            held == "granted" or (purpose not in former.told and unlike(held, former.consents.get(purpose)))
            for purpose, held in report.consents.items()
        )
    if report.remote_id is not None and report.remote_id != remote.remote_id:
        return True
    if report.email is not None and not same_address(report.email, remote.email):
        return True
    profile, consent_too = "profile" in connector.sends, "consent" in connector.sends
    alters = world.trait(connector.name).alters
    fields = profile and any(
        not alike(value, remote.fields.get(name), alters)
        for name, value in report.fields.items()
        if mapping.hub_name(connector, name) is not None
    )
    consents = consent_too and any(
        unlike(held, remote.consents.get(purpose)) for purpose, held in report.consents.items()
    )
    audiences = profile and any(bool(remote.audiences.get(name)) != member for name, member in report.audiences.items())
    return fields or consents or audiences or report.deleted


def seen_whole(remote: Remote, report: ReportIn, alters: Declared) -> bool:
    """Note which writes a row that equals the base shows to be whole; True when there were any that nobody knew of."""
    if report.read_at <= remote.acked_at:
        return False
    known = len(remote.confirmed)
    for name, reported in report.fields.items():
        merge.confirm(remote, f"field:{name}", reported, alters)
    return len(remote.confirmed) > known


def _is_own(remote: Remote, report: ReportIn) -> bool:
    return report.remote_id is not None and report.remote_id == remote.remote_id


def unlike(held: Held, base: Held | None) -> bool:
    """Whether what a vendor holds for a purpose differs from the base. Absence does only where there was a grant."""
    if held == "absent":
        return base == "granted"
    return held != base
