"""One report being folded: who it is about, what the vendor was known to hold, and what has come of it so far."""

from __future__ import annotations

from msgspec import Struct, field

from esplanade.config.model import ConnectorConfig
from esplanade.connector import Traits
from esplanade.reasons import Reason
from esplanade.records import Entry, Person, Remote
from esplanade.sync.merge import Telling

from .changes import Changes
from .shapes import ReportIn
from .world import World


class Reading(Struct, kw_only=True):
    """A report, read."""

    person: Person
    remote: Remote
    connector: ConnectorConfig
    traits: Traits
    report: ReportIn
    telling: Telling
    changes: Changes = field(default_factory=Changes)
    back: Changes = field(default_factory=Changes)
    """What the vendor itself must be told, because the hub's word stands against it."""
    notes: list[tuple[Reason, str]] = field(default_factory=list)
    echoes: list[str] = field(default_factory=list)
    """What it repeated of what is known already."""
    lost: list[str] = field(default_factory=list)
    """The memberships that the hub had made and that ended at the vendor."""
    asks: set[str] = field(default_factory=set)
    """What only a fresh reading of the vendor can tell."""


def telling_of(world: World, entry: Entry, report: ReportIn, remote: Remote) -> Telling:
    """When a report was said, and whether what it says must still hold."""
    return Telling(
        now=entry.at,
        window=world.hub.echo_window,
        at=min(report.at, entry.at) if report.at is not None else report.read_at or entry.at,
        has_clock=report.at is not None,
        fresh=report.pulled and report.read_at > remote.acked_at,
    )
