"""The gate: what comes in is judged item by item, and what is good becomes journal entries and is committed.

Nothing is looked up here and nothing waits, but for the commit and, in ``wait_for_room``, for the fold. An item that is
not good costs nobody else anything: it is reported with its place, and its neighbours go on.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec
from msgspec import Raw, Struct, field

from esplanade.clock import Clock
from esplanade.errors import EventError
from esplanade.model import Kind
from esplanade.records import Answered, Entry
from esplanade.store.port import Store

from .blame import MalformedError
from .judge import Judges
from .shapes import WebhookIn

MAX_BACKLOG = 200_000
"""Unfolded entries above which nothing more is taken."""
ROOM = 500
"""Unfolded entries that imports and pulls leave at most, so that an opt-out never queues behind them."""
IMPORT = "import"
"""The origin of what an operator imports."""

_SLICE = 500
_DRAWN = 64
_encode = msgspec.msgpack.Encoder().encode


class Rejected(Struct, frozen=True, kw_only=True):
    """An item that was not taken: its position in the request, the JSON path of the mistake, and what is wrong."""

    index: int
    path: str
    error: str


class Admission(Struct, kw_only=True):
    """What a request holds that can be taken, in order, and what cannot.

    ``malformed`` counts the rejected items that are not JSON at all.
    """

    entries: list[Entry] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    malformed: int = 0

    @property
    def ids(self) -> list[str]:
        """One id per item that was taken."""
        return [entry.id for entry in self.entries]


class Intake:
    """Turns what comes in into journal entries, commits them, and says when there is no room for more.

    ``on_accepted`` hears from whom how many events of which kind were taken, once they are on disk. Whoever appends to the
    journal beside this class says so with ``added``; the fold says ``folded``.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        on_accepted: Callable[[str, str, int], None] = lambda _source, _kind, _many: None,
    ) -> None:
        self._on_accepted = on_accepted
        self._store = store
        self._clock = clock
        self._unfolded = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._ids = _random_ids()
        self._judges = Judges(self._ids)

    # Judging.

    def admit(
        self,
        source: str,
        kind: Kind,
        items: Sequence[bytes | Raw],
        *,
        may: Collection[Kind],
        backfill: bool = False,
        imported: bool = False,
        first: int = 0,
    ) -> Admission:
        """Judge items of one kind from one source. Never raises over what is in them.

        ``may`` are the source's rights: without ``consent`` a profile must carry none. ``imported`` gives the consents
        of profiles the method ``import``. ``first`` is the position of the first item in its request.
        """
        admission = Admission()
        judge = self._judges.of(source, kind, may=may, backfill=backfill, imported=imported)
        now, entries = self._clock.time(), admission.entries
        for index, item in enumerate(items, first):
            try:
                entries.append(judge.entry(bytes(item), now))
            except EventError as why:
                admission.rejected.append(Rejected(index=index, path=why.path, error=why.message))
                admission.malformed += isinstance(why, MalformedError)
        return admission

    async def admit_all(
        self,
        source: str,
        kind: Kind,
        items: Sequence[bytes | Raw],
        *,
        may: Collection[Kind],
        backfill: bool = False,
        imported: bool = False,
    ) -> Admission:
        """``admit`` for a large request: others get their turn between slices of it."""
        whole = self.admit(source, kind, items[:_SLICE], may=may, backfill=backfill, imported=imported)
        for first in range(_SLICE, len(items), _SLICE):
            await asyncio.sleep(0)
            part = items[first : first + _SLICE]
            more = self.admit(source, kind, part, may=may, backfill=backfill, imported=imported, first=first)
            whole.entries += more.entries
            whole.rejected += more.rejected
            whole.malformed += more.malformed
        return whole

    def entry_for_webhook(self, connector: str, webhook: WebhookIn) -> Entry:
        """A vendor's raw request as a journal entry."""
        return Entry(kind="webhook", origin=connector, id=next(self._ids), at=self._clock.time(), body=_encode(webhook))

    # Committing.

    async def accept(self, entries: list[Entry], answered: Answered | None = None) -> None:
        """Return once the entries, and the answer given for them, are on disk. Raises StorageFull, StoreError."""
        self._unfolded += len(entries)
        try:
            await self._store.accept(entries, answered)
        except Exception:
            self.folded(len(entries))
            raise
        if entries and entries[0].kind != "webhook":  # the entries of one request are of one kind and origin
            self._on_accepted(entries[0].origin, entries[0].kind, len(entries))

    # Room.

    async def start(self) -> None:
        """Count what an earlier run left unfolded."""
        self._unfolded = await self._store.read(lambda reader: reader.backlog())

    @property
    def unfolded(self) -> int:
        """About how many journal entries wait to be folded."""
        return max(0, self._unfolded)

    def full(self) -> bool:
        """Whether the fold is so far behind that senders must wait."""
        return self._unfolded > MAX_BACKLOG

    def added(self, count: int) -> None:
        """Entries were appended to the journal without ``accept``."""
        self._unfolded += count

    def folded(self, count: int) -> None:
        """The fold is done with entries. Called on the event loop."""
        self._unfolded -= count  # below zero, where the fold was quicker than whoever is to say ``added``
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    async def wait_for_room(self, limit: int = ROOM) -> None:
        """Return once at most ``limit`` entries are unfolded."""
        while self._unfolded > limit:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn


def _random_ids() -> Iterator[str]:
    """Random ids for what has none of its own, drawn from the system many at a time."""
    while True:
        drawn = os.urandom(16 * _DRAWN).hex()
        for start in range(0, len(drawn), 32):
            yield "e-" + drawn[start : start + 32]
