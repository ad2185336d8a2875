"""The fold: from journal entries to people and to work in the lanes, behind the answer, in the order of acceptance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec
from msgspec import Struct, field

from esplanade.context import Log
from esplanade.errors import EsplanadeError, StoreError
from esplanade.records import FOLD_LANE, Delivery, Entry
from esplanade.store.port import Store, Unit
from esplanade.sync.identity import normalise

from .accept import Intake
from .changes import Effects, cause_of, skip
from .events import fold_consent, fold_happening, fold_profile, fold_trigger, opt_out
from .reports import fold_report
from .resolve import IdentityConflict
from .shapes import ConsentIn, HappeningIn, JournalledProfile, ReportIn, TriggerIn
from .world import World

SLICE = 200
BUDGET_S = 0.004
"""How long one step may keep the writer from the next commit."""
AHEAD = 4
"""How many steps wait at the writer while the fold is behind, so that it never idles until a busy event loop asks again."""
RETRY_S = 1.0

_profile = msgspec.msgpack.Decoder(JournalledProfile).decode
_consent = msgspec.msgpack.Decoder(ConsentIn).decode
_trigger = msgspec.msgpack.Decoder(TriggerIn).decode
_report = msgspec.msgpack.Decoder(ReportIn).decode
_happening = msgspec.msgpack.Decoder(HappeningIn).decode
_encode = msgspec.msgpack.Encoder().encode


class _Addressed(Struct):
    email: str | None = None


_addressed = msgspec.msgpack.Decoder(_Addressed).decode


class Step(Struct, kw_only=True):
    """What one step of the fold did."""

    folded: int = 0
    effects: Effects = field(default_factory=Effects)
    failed: list[str] = field(default_factory=list)
    more: bool = False
    """Whether it stopped before the end of the journal."""


class Fold:
    """Runs behind the journal until it is folded to its end, then waits to be woken."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        world: World,
        log: Log,
        *,
        on_work: Callable[[set[str]], None],
        alert: Callable[[str, str], None],
    ) -> None:
        self.world = world
        self.done = 0
        """How many entries were folded since the start."""
        self._store = store
        self._intake = intake
        self._log = log
        self._on_work = on_work
        self._alert = alert
        self._woken = asyncio.Event()
        self._caught_up = asyncio.Event()

    def wake(self) -> None:
        """There is something new in the journal."""
        self._caught_up.clear()
        self._woken.set()

    async def caught_up(self) -> None:
        """Return once everything accepted before this call is folded."""
        self.wake()
        await self._caught_up.wait()

    async def run(self) -> None:
        """Fold until cancelled. A store that fails is asked again; nothing is skipped."""
        ahead = 1
        while True:
            self._woken.clear()
            # undone with its cursor, a step is done again
            asked = [self._store.run(self._step, durable=False) for _ in range(ahead)]
            told = await asyncio.gather(*asked, return_exceptions=True)
            steps = [self._heed(step) for step in told if isinstance(step, Step)]
            problems = [problem for problem in told if isinstance(problem, BaseException)]
            for problem in problems:
                if not isinstance(problem, StoreError):
                    raise problem
                self._log.error("fold_failed", error=str(problem))
            ahead = AHEAD if steps and all(step.more for step in steps) else 1
            if problems:
                await asyncio.sleep(RETRY_S)
                self._woken.set()
            elif not any(step.folded for step in steps) and not self._woken.is_set():
                self._caught_up.set()
                await self._woken.wait()

    def _heed(self, step: Step) -> Step:
        for why in step.failed:
            self._log.error("fold_parked", error=why)
        if step.folded:
            self.done += step.folded
            self._intake.folded(step.folded)
            self._on_work(step.effects.lanes)
        for key, message in step.effects.alerts.items():
            self._alert(key, message)
        return step

    def _step(self, unit: Unit) -> Step:
        began = time.monotonic()
        step = Step()
        position = None
        for following, entry in unit.next_entries(SLICE):
            self._fold(unit, entry, step)
            position = following
            step.folded += 1
            if time.monotonic() - began > BUDGET_S:
                step.more = True
                break
        if position is not None:
            unit.move_cursor(position, step.folded)
        step.more = step.more or step.folded == SLICE
        return step

    def _fold(self, unit: Unit, entry: Entry, step: Step) -> None:
        problem = fold_or_park(unit, self.world, entry, step.effects)
        if problem is not None:
            step.failed.append(f"{entry.kind} {entry.id} from {entry.origin}: {problem}")


def fold_or_park(unit: Unit, world: World, entry: Entry, effects: Effects) -> str | None:
    """Fold one entry; one that cannot be folded is kept for a human, its opt-outs apart. Returns why, without personal data."""
    own = Effects()
    problem = unit.attempt(lambda: fold_entry(unit, world, entry, own))
    if problem is None:
        effects.lanes |= own.lanes
        effects.alerts |= own.alerts
        return None
    conflict = isinstance(problem, IdentityConflict)
    unit.enqueue(
        Delivery(
            id=0,
            lane=FOLD_LANE,
            kind="fold",
            state="parked",
            reason="identity-conflict" if conflict else "fold-failed",
            due_at=entry.at,
            first_at=entry.at,
            event_id=entry.id,
            payload=_encode(entry),
        )
    )
    if isinstance(problem, IdentityConflict):
        _note_conflict(unit, world, entry, problem, effects)
    return str(problem) if isinstance(problem, EsplanadeError) else type(problem).__name__


def _note_conflict(unit: Unit, world: World, entry: Entry, problem: IdentityConflict, effects: Effects) -> None:
    """Say so to everybody whom it may be about; an opt-out in it counts for each of them, for nobody may be mailed in doubt."""
    cause = cause_of(entry, entry.at)
    denials = _denials(world, entry)
    for person in problem.people:
        unit.note(cause.note(person, "failed", reason="identity-conflict", detail=str(problem)))
        for purpose, said_at in denials.items():
            opt_out(unit, world, person, purpose, said_at, cause, effects)


def _denials(world: World, entry: Entry) -> dict[str, float]:
    """The opt-outs in an event, with when they were said."""
    match entry.kind:
        case "profile":
            profile = _profile(entry.body)
            return {name: _said(profile.at, entry) for name, state in profile.consents.items() if state == "denied"}
        case "consent":
            said = _consent(entry.body)
            return {said.purpose: _said(said.at, entry)} if said.state == "denied" else {}
        case "report":
            report = _report(entry.body)
            mapped = world.connector(entry.origin).consents if entry.origin in world.connectors else {}
            gone = {name for name, held in report.consents.items() if held == "denied" and name in mapped}
            return dict.fromkeys(gone, _said(report.at, entry))
        case _:
            return {}


def _said(at: object, entry: Entry) -> float:
    return min(float(at), entry.at) if isinstance(at, int | float) else entry.at


def fold_entry(unit: Unit, world: World, entry: Entry, effects: Effects) -> None:
    """Fold one entry. Raises IdentityConflict, EsplanadeError for one that cannot be folded."""
    if entry.dedupe and not unit.first_time(entry.id, entry.at):
        _note_repeat(unit, entry)
        return
    match entry.kind:
        case "profile":
            fold_profile(unit, world, entry, _profile(entry.body), effects)
        case "consent":
            fold_consent(unit, world, entry, _consent(entry.body), effects)
        case "trigger":
            fold_trigger(unit, world, entry, _trigger(entry.body), effects)
        case "report":
            fold_report(unit, world, entry, _report(entry.body), effects)
        case "happening":
            fold_happening(unit, world, entry, _happening(entry.body), effects)
        case "webhook":
            unit.enqueue(webhook_delivery(entry))
            effects.lanes.add(f"{entry.origin}:in")


def webhook_delivery(entry: Entry) -> Delivery:
    """A vendor's request as work for its connector's inbound lane."""
    return Delivery(
        id=0,
        lane=f"{entry.origin}:in",
        kind="webhook",
        due_at=entry.at,
        first_at=entry.at,
        root=entry.id,
        event_id=entry.id,
        payload=entry.body,
    )


def _note_repeat(unit: Unit, entry: Entry) -> None:
    email = _addressed(entry.body).email
    person = unit.person_by_email(normalise(email).key) if email else None
    if person is not None:
        skip(unit, cause_of(entry, entry.at), person, "", "duplicate")
