"""To which chain of events a report belongs, for the guard that ends loops."""

from __future__ import annotations

from esplanade.connector import Traits
from esplanade.records import Entry, Remote
from esplanade.sync.alike import alike

from .changes import Cause
from .rows import unlike
from .shapes import ReportIn
from .world import World

CHAIN_S = 86_400.0
"""How long after a write of ours a vendor's contradiction belongs to its chain: two who contradict each other slowly loop too."""


def cause_of_report(world: World, entry: Entry, report: ReportIn, remote: Remote, traits: Traits) -> Cause:
    """A report soon after a write of ours belongs to that write's chain, one hop further; so does one that contradicts it later."""
    last = max((sent[-1].at for sent in remote.sent.values() if sent), default=0.0)
    lately = entry.at - last <= world.hub.echo_window
    answers_us = bool(remote.root) and (lately or _contradicts(report, remote, traits, entry.at))
    hops = remote.hops + 1 if answers_us else 1
    root = remote.root if answers_us else entry.id
    return Cause(entry=entry, root=root, hops=hops, now=entry.at, parked=hops > world.hub.max_hops)


def _contradicts(report: ReportIn, remote: Remote, traits: Traits, now: float) -> bool:
    """Whether a report changes something that we wrote within a day."""

    def ours(key: str) -> bool:
        sent = remote.sent.get(key, [])
        return bool(sent) and now - sent[-1].at <= CHAIN_S

    return (
        any(
            ours(f"field:{name}") and not alike(value, remote.fields.get(name), traits.alters)
            for name, value in report.fields.items()
        )
        or any(
            ours(f"audience:{name}") and remote.audiences.get(name) != member
            for name, member in report.audiences.items()
        )
        or any(
            ours(f"consent:{purpose}") and unlike(held, remote.consents.get(purpose))
            for purpose, held in report.consents.items()
        )
    )
