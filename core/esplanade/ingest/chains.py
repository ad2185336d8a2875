"""To which chain of events it belongs what a vendor tells, for the guard that ends loops."""

from __future__ import annotations

from esplanade.connector import Traits
from esplanade.records import Entry, Person, Remote
from esplanade.sync.alike import alike

from .changes import Cause
from .rows import unlike
from .shapes import ReportIn
from .world import World

CHAIN_S = 86_400.0
"""How long after a write of ours a vendor's contradiction belongs to its chain: two who contradict each other slowly loop too."""


def cause_of_report(world: World, entry: Entry, report: ReportIn, remote: Remote, traits: Traits) -> Cause:
    """A report soon after a write of ours belongs to that write's chain, one hop further; so does one that contradicts it later."""
    return _cause(
        world,
        entry,
        remote,
        answers_us=_is_lately(world, entry, remote) or _contradicts(report, remote, traits, entry.at),
    )


def cause_of_happening(world: World, entry: Entry, remote: Remote | None) -> Cause:
    """What happens at a vendor soon after something was sent there belongs to its chain: scenarios may set off each other."""
    if remote is None:
        return Cause(entry=entry, root=entry.id, hops=1, now=entry.at)
    return _cause(world, entry, remote, answers_us=_is_lately(world, entry, remote))


def went_round(cause: Cause, person: Person, connector: str) -> str:
    """What a human must hear of a chain that was ended."""
    return (
        f"what {connector} reports of {person.name} has gone round {cause.hops} times, more than hub.max_hops allows; it is kept "
        f"and not passed on. `esplanade queue --reason loop` shows it; root event {cause.root}"
    )


def _is_lately(world: World, entry: Entry, remote: Remote) -> bool:
    last = max((sent[-1].at for sent in remote.sent.values() if sent), default=0.0)
    return entry.at - last <= world.hub.echo_window


def _cause(world: World, entry: Entry, remote: Remote, *, answers_us: bool) -> Cause:
    answers_us = answers_us and bool(remote.root)
    hops = remote.hops + 1 if answers_us else 1
    root = remote.root if answers_us else entry.id
    return Cause(entry=entry, root=root, hops=hops, now=entry.at, parked=hops > world.hub.max_hops)


def _contradicts(report: ReportIn, remote: Remote, traits: Traits, now: float) -> bool:
    """Whether a report changes something that we wrote within a day."""

    def ours(key: str) -> bool:
        sent = remote.sent.get(key, [])
        return bool(sent) and now - sent[-1].at <= CHAIN_S

    word = report.word.consents if report.word is not None else {}
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
            for purpose, held in (*report.consents.items(), *word.items())
        )
    )
