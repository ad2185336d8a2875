"""The scheduled pull and the re-reading of pending people: pages compared with base, and only differences journalled."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct, field

from esplanade.clock import Clock
from esplanade.config.model import ConnectorConfig
from esplanade.connector import Connector
from esplanade.context import Context, Log
from esplanade.errors import DeliveryError, PermanentError, PluginError
from esplanade.ingest import doubt
from esplanade.ingest.accept import Intake
from esplanade.ingest.rows import differs, seen_whole
from esplanade.ingest.shapes import ReportIn
from esplanade.ingest.suppression import suppressed
from esplanade.ingest.world import World
from esplanade.model import Page, PersonRef, Report
from esplanade.records import Entry, Person, Remote
from esplanade.store.port import Reader, Store, Unit
from esplanade.sync.consent import waiting
from esplanade.sync.guard import limit
from esplanade.sync.identity import address_key

from .inbound import entry, report_body
from .verdict import words

JOB = "pull"
PRESENT = ""
"""In place of a purpose: the vendor has the contact, whatever it holds."""
CHUNK = 100
"""People whom one unit looks at: few enough that it does not keep the writer from the next commit."""


class PullResult(Struct, kw_only=True):
    """What a pull read, and what of it was new. ``held`` counts opt-outs that the guard holds back."""

    pages: int = 0
    read: int = 0
    changed: int = 0
    held: int = 0


class Saved(Struct, kw_only=True):
    """Where a pull stands; kept in the same commit as what it read."""

    run: str
    began_at: float
    cursor: str | None = None
    covers: list[str] = field(default_factory=list)
    whole: bool = False
    """The pages have listed every contact that the vendor has."""
    read: bool = False
    """Every page is read; what is missing from them is still to be judged."""


class Puller:
    """Reads one connector's vendor, page by page, resumable."""

    def __init__(
        self,
        connector: ConnectorConfig,
        plugin: Connector[Any],
        ctx: Context,
        *,
        store: Store,
        intake: Intake,
        world: Callable[[], World],
        clock: Clock,
        log: Log,
        alert: Callable[[str, str], None],
    ) -> None:
        self._connector = connector
        self._plugin = plugin
        self._ctx = ctx
        self._store = store
        self._intake = intake
        self._world = world
        self._clock = clock
        self._log = log
        self._alert = alert
        self._turn = asyncio.Lock()

    async def pull(self, progress: Callable[[PullResult], None] = lambda _: None) -> PullResult:
        """Read everything, from where an interrupted pull stopped. Raises the plugin's delivery errors.

        One at a time: two would take each other's marks of whom they have seen, and then miss people who are there.
        """
        async with self._turn:
            return await self._pull(progress)

    async def _pull(self, progress: Callable[[PullResult], None]) -> PullResult:
        name = self._connector.name
        saved = await self._load()
        resumed = saved.cursor is not None
        result = PullResult()
        while not saved.read:
            await self._intake.wait_for_room()
            read_at = self._clock.time()
            try:
                page = await self._page(saved.cursor)
            except Exception as problem:
                if not resumed or _may_pass(problem):
                    raise
                # an earlier version of the plugin may have written the cursor, or the vendor have forgotten what it names
                self._log.warning("pull_begun_anew", error=words(problem))
                await self._store.run(lambda unit: _forget(unit, name))
                saved = await self._load()
                continue
            finally:
                resumed = False
            saved.cursor, saved.covers = page.cursor, sorted({*saved.covers, *page.covers})
            saved.whole = saved.whole or page.whole
            saved.read = page.cursor is None
            for first in range(0, len(page.present), CHUNK):  # before the cursor moves: who is not marked has left
                await self._store.run(partial(self._mark, run=saved.run, present=page.present[first : first + CHUNK]))
            changed = await self._store.run(partial(self._keep, saved=saved, page=page, read_at=read_at))
            self._journalled(changed)
            result.pages += 1
            result.read += len(page.reports)
            result.changed += changed
            progress(result)
        gone, held = await self._missing(saved)
        result.changed += gone
        result.held = held
        await self._store.run(lambda unit: _forget(unit, name))
        self._log.info("pulled", pages=result.pages, read=result.read, changed=result.changed, held=result.held)
        return result

    async def _page(self, cursor: str | None) -> Page:
        page: object = await self._plugin.pull(cursor, self._ctx)
        if not isinstance(page, Page):
            raise PluginError(f"pull must return a Page, not {type(page).__name__}")
        if page.cursor is not None and page.cursor == cursor:
            raise PluginError("pull returned the cursor that it was given, and would never end")
        return page

    async def reread_pending(self) -> int:
        """Ask the vendor about everybody who was asked to confirm; returns how many had something new to tell."""
        changed = 0
        for purpose, target in self._connector.consents.items():
            after = 0
            while target.asks_to_confirm():
                people = await self._store.read(partial(_pending, purpose=purpose, after=after))
                if not people:
                    break
                after = people[-1]
                for person in people:
                    try:
                        changed += await self._reread(person, purpose)
                    except PermanentError as problem:  # one of them; the others are asked all the same
                        self._log.warning("not_reread", person=f"p-{person}", error=str(problem))
        return changed

    async def _reread(self, person: int, purpose: str) -> int:
        name = self._connector.name
        known, remote, said = await self._store.read(
            lambda reader: (reader.person(person), reader.remote(person, name), reader.ledger(person, purpose))
        )
        expiry = self._world().hub.pending_expiry
        if known is None or not known.email or not waiting(said, now=self._clock.time(), pending_expiry=expiry):
            return 0
        await self._intake.wait_for_room()
        read_at = self._clock.time()
        ref = PersonRef(person=known.name, email=known.email, remote_id=remote.remote_id if remote else None)
        report = await self._plugin.fetch(ref, self._ctx)
        if report is None:
            return 0
        changed = await self._store.run(lambda unit: self._journal(unit, [report], read_at))
        self._journalled(changed)
        return changed

    async def _load(self) -> Saved:
        text = await self._store.read(lambda reader: reader.cursor(self._connector.name, JOB))
        if text is not None:
            return msgspec.json.decode(text, type=Saved)
        return Saved(run=os.urandom(8).hex(), began_at=self._clock.time())

    # On the writer.

    def _keep(self, unit: Unit, saved: Saved, page: Page, read_at: float) -> int:
        changed = self._journal(unit, page.reports, read_at, run=saved.run)
        unit.set_cursor(self._connector.name, JOB, msgspec.json.encode(saved).decode())
        return changed

    def _journal(self, unit: Unit, reports: list[Report], read_at: float, run: str | None = None) -> int:
        name = self._connector.name
        entries: list[Entry] = []
        for report in reports:
            body = report_body(report, read_at=read_at, pulled=True)
            person = _person_of(unit, name, body)
            if person is None and _is_erased(unit, name, body):
                continue
            if run is not None:
                mark = person.id if person is not None else _stranger(body.remote_id, body.email)
                for purpose, held in body.consents.items():
                    if held != "absent":
                        unit.mark_seen(name, run, purpose, mark)
            remote = unit.remote(person.id, name) if person else None
            if differs(person, remote, self._connector, body, self._world()):
                entries.append(entry(name, report, body, self._clock.time()))
            elif remote is not None and seen_whole(remote, body, self._world().trait(name).alters):
                unit.save_remote(remote)
        unit.append(entries)
        return len(entries)

    def _mark(self, unit: Unit, run: str, present: list[str]) -> None:
        for remote_id in present:
            person = unit.person_by_remote(self._connector.name, remote_id)
            if person is not None:
                unit.mark_seen(self._connector.name, run, PRESENT, person.id)

    # People who were not reported.

    async def _missing(self, saved: Saved) -> tuple[int, int]:
        """Report those whom the vendor held for a purpose and no longer lists, unless they are suspiciously many."""
        gone = held_back = 0
        for purpose in self._connector.consents if saved.whole else saved.covers:
            holders, absent = await self._count_missing(saved, purpose)
            allowed = limit(holders, self._world().hub.guard.max_downgrades)
            doubtful = absent > allowed
            if doubtful:
                held_back += absent
                self._alert(
                    f"guard:{self._connector.name}:{purpose}",
                    f"{self._connector.name} no longer lists {absent} of {holders} people for {purpose}, more than "
                    f"hub.guard.max_downgrades allows ({allowed}). Nobody was opted out, and nobody of them is mailed for it until "
                    "a pull lists them again. Look at the vendor; if they really left, `esplanade replay --reason guard` "
                    "opts them out",
                )
            found = await self._report_missing(saved, purpose, doubtful=doubtful)
            gone += 0 if doubtful else found
        return gone, held_back

    async def _count_missing(self, saved: Saved, purpose: str) -> tuple[int, int]:
        holders = absent = after = 0
        while True:
            count = partial(self._holders, saved=saved, purpose=purpose, after=after)
            part = await self._store.run(count, durable=False)
            if part is None:
                return holders, absent
            after, some, missing = part
            holders += some
            absent += len(missing)

    async def _report_missing(self, saved: Saved, purpose: str, *, doubtful: bool) -> int:
        gone = after = 0
        while True:
            await self._intake.wait_for_room()
            part = await self._store.run(
                partial(self._append_missing, saved=saved, purpose=purpose, after=after, doubtful=doubtful)
            )
            if part is None:
                return gone
            after, appended = part
            gone += appended
            if not doubtful:
                self._journalled(appended)

    def _holders(self, unit: Unit, saved: Saved, purpose: str, after: int) -> tuple[int, int, list[Any]] | None:
        remotes = unit.held_by(self._connector.name, after=after, limit=CHUNK)
        if not remotes:
            return None
        holding = [remote for remote in remotes if remote.consents.get(purpose) == "granted"]
        missing = [
            remote
            for remote in holding
            if remote.acked_at < saved.began_at and self._is_missing(unit, saved, purpose, remote)
        ]
        return remotes[-1].person, len(holding), missing

    def _is_missing(self, unit: Unit, saved: Saved, purpose: str, remote: Remote) -> bool:
        if purpose in saved.covers:
            return not self._was_seen(unit, saved.run, purpose, remote)
        return remote.remote_id is not None and not self._was_seen(unit, saved.run, PRESENT, remote)

    def _was_seen(self, unit: Unit, run: str, purpose: str, remote: Remote) -> bool:
        def seen(mark: int) -> bool:
            return unit.was_seen(self._connector.name, run, purpose, mark)

        if any(map(seen, (remote.person, _stranger(remote.remote_id, None), _stranger(None, remote.email)))):
            return True
        person = unit.person(remote.person)
        return person is not None and any(map(seen, person.lineage))  # merged since their page was read

    def _append_missing(
        self, unit: Unit, saved: Saved, purpose: str, after: int, *, doubtful: bool
    ) -> tuple[int, int] | None:
        part = self._holders(unit, saved, purpose, after)
        if part is None:
            return None
        last, _, missing = part
        now = self._clock.time()
        entries = []
        for remote in missing:
            email = remote.email or self._address(unit, remote)
            report = Report(email=email, remote_id=remote.remote_id, consents={purpose: "absent"})
            body = report_body(report, read_at=saved.began_at, pulled=True)
            entries.append(entry(self._connector.name, report, body, now))
            if doubtful:
                doubt.raise_(unit, remote.person, purpose, entries[-1], now)
        if not doubtful:
            unit.append(entries)
        return last, len(entries)

    def _address(self, unit: Unit, remote: Remote) -> str | None:
        """The address of somebody whose contact is gone at the vendor, for only that can name them."""
        person = unit.person(remote.person) if remote.remote_id is None else None
        return person.email if person is not None else None

    def _journalled(self, entries: int) -> None:
        if entries:
            self._intake.added(entries)


def _person_of(unit: Unit, connector: str, report: ReportIn) -> Person | None:
    person = unit.person_by_remote(connector, report.remote_id) if report.remote_id is not None else None
    for email in (report.email, report.previous_email):
        if person is None and email:
            key = address_key(email)
            if key is None:
                return None  # the fold parks it with the reason
            person = unit.person_by_email(key)
    return person


def _is_erased(unit: Unit, connector: str, report: ReportIn) -> bool:
    """Whether a row is about somebody who was erased, and whose words the journal must not keep again."""
    remote = None if report.remote_id is None else (connector, report.remote_id)
    return suppressed(unit, email_key=address_key(report.email or ""), remote=remote) is not None


def _stranger(remote_id: str | None, email: str | None) -> int:
    """A mark for somebody whom the fold makes a person of only after the page was read; no person has such a number."""
    named = f"id {remote_id}" if remote_id is not None else f"email {address_key(email or '') or ''}"
    return -1 - int.from_bytes(hashlib.blake2b(named.encode(), digest_size=7).digest())


def _may_pass(problem: Exception) -> bool:
    """Whether the same page may well be read later."""
    return isinstance(problem, DeliveryError) and not isinstance(problem, PermanentError)


def _forget(unit: Unit, connector: str) -> None:
    unit.set_cursor(connector, JOB, None)
    unit.forget_run(connector)


def _pending(reader: Reader, purpose: str, after: int) -> list[int]:
    return reader.pending_people(purpose, after=after, limit=CHUNK)
