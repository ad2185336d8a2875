"""The gate: what comes in is judged item by item, and what is good becomes journal entries and is committed.

Nothing is looked up here and nothing waits, but for the commit and, in ``wait_for_room``, for the fold. An item that is
not good costs nobody else anything: it is reported with its place, and its neighbours go on.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from hashlib import blake2b

import msgspec
from msgspec import Raw, Struct, field

from esplanade.clock import Clock
from esplanade.errors import EventError
from esplanade.model import Kind
from esplanade.records import Answered, Entry
from esplanade.store.port import Store
from esplanade.sync.identity import normalise

from .blame import MalformedError, blame, refuse_bulky, refuse_controls, refuse_huge
from .shapes import SHAPES, Incoming, JournalledProfile, ProfileIn, TriggerIn, WebhookIn

MAX_BACKLOG = 200_000
"""Unfolded entries above which nothing more is taken."""
ROOM = 500
"""Unfolded entries that imports and pulls leave at most, so that an opt-out never queues behind them."""
IMPORT = "import"
"""The origin of what an operator imports."""

_AHEAD_S = 300.0
_LAST_S = 253_402_300_800.0  # the end of the year 9999
_SLICE = 500
_decoders = {kind: msgspec.json.Decoder(shape) for kind, shape in SHAPES.items()}
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

    ``wake`` is called after each commit, so that the fold runs. Whoever appends to the journal beside this class says
    so with ``added``; the fold says ``folded``.
    """

    def __init__(self, store: Store, clock: Clock, *, wake: Callable[[], None] = lambda: None) -> None:
        self.wake = wake
        self._store = store
        self._clock = clock
        self._unfolded = 0
        self._waiting: list[asyncio.Future[None]] = []

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
        judge = _Judge(source=source, kind=kind, may=may, backfill=backfill, imported=imported, now=self._clock.time())
        for index, item in enumerate(items, first):
            try:
                admission.entries.append(judge.entry(bytes(item)))
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
        return Entry(kind="webhook", origin=connector, id=_random_id(), at=self._clock.time(), body=_encode(webhook))

    # Committing.

    async def accept(self, entries: list[Entry], answered: Answered | None = None) -> None:
        """Return once the entries, and the answer given for them, are on disk. Raises StorageFull, StoreError."""
        self._unfolded += len(entries)
        try:
            await self._store.accept(entries, answered)
        except Exception:
            self.folded(len(entries))
            raise
        self.wake()

    # Room.

    async def start(self) -> None:
        """Count what an earlier run left unfolded."""
        self._unfolded = await self._store.read(lambda reader: reader.backlog())

    @property
    def unfolded(self) -> int:
        """About how many journal entries wait to be folded."""
        return self._unfolded

    def full(self) -> bool:
        """Whether the fold is so far behind that senders must wait."""
        return self._unfolded > MAX_BACKLOG

    def added(self, count: int) -> None:
        """Entries were appended to the journal without ``accept``."""
        self._unfolded += count

    def folded(self, count: int) -> None:
        """The fold is done with entries. Called on the event loop."""
        self._unfolded = max(0, self._unfolded - count)
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


class _Judge:
    """One request's kind, source and moment, applied to item after item."""

    def __init__(
        self, *, source: str, kind: Kind, may: Collection[Kind], backfill: bool, imported: bool, now: float
    ) -> None:
        self._source = source
        self._kind = kind
        self._consents = "consent" in may
        self._backfill = backfill
        self._imported = imported
        self._now = now
        self._scope = source.encode() + b"\0"
        self._decoder = _decoders[kind]
        self._random = _random_ids()

    def entry(self, raw: bytes) -> Entry:
        """The journal entry of one item. Raises EventError with the place, and nothing else."""
        try:
            item = self._decoder.decode(raw)
        except (ValueError, RecursionError, OverflowError) as why:
            raise blame(raw, self._decoder, why) from why
        if b"\\" in raw or b"\x7f" in raw:  # no other JSON text holds a control character
            refuse_controls(item)
        refuse_bulky(raw, item)
        self._address(item)
        self._times(item)
        if isinstance(item, ProfileIn) and item.consents and not self._consents:
            raise EventError(
                "$.consents", "this source may not send consents; give it the right `consent` or leave them out"
            )
        return Entry(
            kind=self._kind,
            origin=self._source,
            id=self._id(item.event_id),
            at=self._now,
            body=self._body(item),
            backfill=self._backfill,
            dedupe=item.event_id is not None,
        )

    def _address(self, item: Incoming) -> None:
        if item.email is not None:
            item.email = normalise(item.email).given
        elif item.id is None:
            raise EventError("$.email", "neither email nor id is given; a profile needs one of them")
        if isinstance(item, ProfileIn) and item.previous_email is not None:
            try:
                item.previous_email = normalise(item.previous_email).given
            except EventError as why:
                raise EventError("$.previous_email", why.message) from why

    def _times(self, item: Incoming) -> None:
        if item.at is not None:
            said = _seconds("$.at", item.at)
            item.at = self._now if said > self._now + _AHEAD_S else said
        if isinstance(item, TriggerIn) and item.expires_at is not None:
            item.expires_at = _seconds("$.expires_at", item.expires_at)

    def _id(self, event_id: str | None) -> str:
        if event_id is None:
            return next(self._random)
        return "e-" + blake2b(self._scope + event_id.encode(), digest_size=16).hexdigest()

    def _body(self, item: Incoming) -> bytes:
        kept = item
        if self._imported and isinstance(item, ProfileIn):
            kept = JournalledProfile(**msgspec.structs.asdict(item), imported=True)
        try:
            body = _encode(kept)
        except OverflowError:
            refuse_huge(item)
            raise
        if b"\xcf" in body:  # msgpack's mark of an integer past 2^63, or a byte that looks like one
            refuse_huge(item)
        return body


def _seconds(path: str, said: datetime | float) -> float:
    """Epoch seconds of a time that was given as such, or as RFC 3339."""
    try:
        seconds = said.timestamp() if isinstance(said, datetime) else float(said)
    except OverflowError:
        seconds = -1.0
    if not 0 <= seconds < _LAST_S:
        raise EventError(
            path, "the time is outside the years 1970 to 9999; give RFC 3339 with a zone, or epoch seconds"
        )
    return seconds


def _random_ids() -> Iterator[str]:
    """Random ids, drawn from the system many at a time."""
    batch = 1
    while True:
        drawn = os.urandom(16 * batch).hex()
        for start in range(0, len(drawn), 32):
            yield "e-" + drawn[start : start + 32]
        batch = 64


def _random_id() -> str:
    return "e-" + os.urandom(16).hex()
