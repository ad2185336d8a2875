"""What the core asks of a store, in the words of the domain. Nothing above this package knows which database answers.

A ``Unit`` is one piece of work on the writer: it reads and writes within a transaction that is committed as a whole, and it
sees what earlier units wrote. A ``Reader`` only reads, on its own thread, beside the writer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct, field

from esplanade.errors import StoreError
from esplanade.records import (
    Answered,
    Attempt,
    AudienceRun,
    ConnectorState,
    Delivery,
    DeliveryFilter,
    Entry,
    LedgerRow,
    Note,
    Person,
    Place,
    QueueCounts,
    Remote,
)
from esplanade.sync.audit import LedgerEnd, LinkedRow

from .erasures import Erasure, Suppression, Traces

R = TypeVar("R")


class Committed(Struct, frozen=True, kw_only=True):
    """What others must know of a commit."""

    took_s: float = 0.0
    places: Mapping[str, list[Place]] = field(default_factory=dict)
    """Where work stands now that was queued or put off, by lane."""
    shuffled: Collection[str] = ()
    """The lanes in which anything else may have changed, too."""
    noted: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """How many notes were made, by connector, what and reason."""


class Reader(Protocol):
    """Questions about what the store holds."""

    def person(self, person: int) -> Person | None: ...
    def person_by_email(self, email_key: str) -> Person | None:
        """By current or earlier address."""
        ...

    def person_by_cdp_id(self, cdp_id: str) -> Person | None: ...
    def person_by_remote(self, connector: str, remote_id: str) -> Person | None:
        """By the vendor's id of their contact, or of a former one."""
        ...

    def ledger(self, person: int, purpose: str | None = None) -> list[LedgerRow]:
        """What was said about a person's consent, and about that of people merged into them, in the order recorded."""
        ...

    def ledger_end(self) -> LedgerEnd:
        """Where the ledger ends now. Raises StoreError for a store of an earlier version."""
        ...

    def ledger_page(self, first: int, last: int, limit: int = 1_000) -> list[LinkedRow]:
        """Rows with ids from ``first`` to ``last``, in order of id, for verifying them. Raises StoreError."""
        ...

    def remote(self, person: int, connector: str) -> Remote | None: ...
    def remotes(self, person: int) -> list[Remote]: ...
    def timeline(self, person: int) -> list[Note]:
        """The last 100 notes, oldest first."""
        ...

    def decisions(self, person: int) -> list[tuple[str, str, str, int, float]]:
        """Connector, kind, last reason, how often, when last."""
        ...

    def delivery(self, delivery: int) -> Delivery | None: ...
    def deliveries(
        self, wanted: DeliveryFilter, *, after: int = 0, limit: int = 100
    ) -> list[tuple[Delivery, str | None]]:
        """Matching deliveries with their person's address, in order of id."""
        ...

    def last_delivery(self) -> int:
        """The number of the delivery that was queued last; 0 where there was none."""
        ...

    def open_deliveries(self, person: int) -> dict[str, int]:
        """How many deliveries wait or run, by lane."""
        ...

    def waiting(self, lane: str, person: int) -> list[Delivery]:
        """All deliveries of one person in a lane that wait or run, in order of id."""
        ...

    def attempts(self, delivery: int) -> list[Attempt]: ...
    def durations(self) -> dict[str, list[float]]:
        """How long the latest calls took, in seconds, by lane; a thousand of each at most."""
        ...

    def oldest_due_at(self, lane: str, urgency: int, now: float) -> float | None:
        """When the delivery of one urgency that has waited longest fell due, of those that are due and not in flight."""
        ...

    def counts(self, now: float) -> dict[str, QueueCounts]:
        """By lane; a connector's inbound lane is ``NAME:in``."""
        ...

    def outcomes(self) -> dict[tuple[str, str, str], int]:
        """How many notes there are by connector, what, reason; for reports such as the demo's table."""
        ...

    def connector_state(self, name: str) -> ConnectorState: ...
    def backlog(self) -> int:
        """How many journal entries wait to be folded."""
        ...

    def last_accepted_at(self) -> float:
        """When the last journal entry was accepted that is still there; 0 where there is none."""
        ...

    def answered(self, source: str, key: str) -> Answered | None: ...
    def meta(self, key: str) -> str | None: ...
    def value(self, connector: str, key: str) -> Any: ...
    def cursor(self, connector: str, job: str) -> str | None: ...
    def last_tick(self, connector: str, job: str) -> float | None: ...
    def pending_people(self, purpose: str, *, after: int = 0, limit: int = 500) -> list[int]: ...
    def suppression(self, kind: str, text: str) -> Suppression | None:
        """Who was erased that was known by this ``email``, ``id`` or ``remote`` (connector, NUL, id); None: nobody."""
        ...

    def is_anothers(self, person: int, *, email_key: str | None = None, contact: tuple[str, str] | None = None) -> bool:
        """Whether this address, or this contact at a vendor (connector and its id), is by now that of somebody else."""
        ...

    def erasure(self, person: int) -> Erasure | None: ...
    def open_erasures(self) -> list[Erasure]:
        """Those that an earlier process did not carry through, or after which it had not asked the vendors."""
        ...

    def traces(self, erasure: Erasure) -> Traces:
        """One look for what an erasure has to remove in its present stage."""
        ...

    def held_by(self, connector: str, *, after: int = 0, limit: int = 500) -> list[Remote]:
        """What a connector's vendor holds, person by person."""
        ...


class Unit(Reader, Protocol):
    """Work on the writer, within one transaction."""

    def expect(
        self,
        *,
        email_keys: Collection[str] = (),
        cdp_ids: Collection[str] = (),
        contacts: Collection[tuple[str, str]] = (),
        event_ids: Collection[str] = (),
        people: Iterable[int] = (),
        lanes: Collection[str] = (),
    ) -> None:
        """Read together what the next questions will ask one by one. A hint: it changes no answer.

        The people are those given, and those with these addresses, CDP ids and contacts (connector, vendor's id); what
        the vendors of ``lanes`` hold of them, and what waits for them there, is read along with them.
        """
        ...

    def make_durable(self) -> None:
        """Let whoever asked for this unit hear of it only once it is on disk; durable work need not say so."""
        ...

    # journal
    def append(self, entries: Sequence[Entry]) -> None: ...
    def journal_end(self) -> tuple[int, int]:
        """The cursor position at which all is folded that was accepted until now."""
        ...

    def is_behind(self, end: tuple[int, int] | None = None) -> bool:
        """Whether the journal, up to ``end`` or all of it, holds more than is folded."""
        ...

    def next_entries(self, limit: int) -> Iterator[tuple[tuple[int, int], Entry]]:
        """The next entries to fold, each with the cursor position to move to once it is folded. Read as they are taken."""
        ...

    def move_cursor(self, position: tuple[int, int]) -> None:
        """Go on behind ``position``."""
        ...

    def attempt(self, work: Callable[[], object]) -> Exception | None:
        """Do a part of this unit under a savepoint of its own; what it raises undoes that part and is returned."""
        ...

    def first_time(self, event_id: str, now: float) -> bool:
        """Remember an event id; False when it was known already."""
        ...

    # people
    def add_person(self, email: str, email_key: str, cdp_id: str | None, at: float) -> Person:
        """A new person; both address arguments are empty for one known by the CDP's id only."""
        ...

    def save_person(self, person: Person) -> None: ...
    def add_email(self, person: int, email_key: str) -> None:
        """Let an (earlier) address find this person."""
        ...

    def merge_person(self, gone: int, into: int, now: float) -> None:
        """Let every way to one person lead to another: addresses, ids, former contacts, timeline, work under way.

        What waits for the vendors' state of the first is done; what vendors hold of it is the caller's to keep.
        """
        ...

    def audience(self, connector: str, audience: str) -> AudienceRun: ...
    def save_audience(self, connector: str, audience: str, run: AudienceRun) -> None: ...
    def append_ledger(self, row: LedgerRow) -> None:
        """Add a row and link it to its chain, as ``sync/audit.py`` says."""
        ...

    def erase_ledger_words(self, person: int) -> int:
        """Delete the words and the salt of a person's rows, and of those merged into them; returns how many rows had any."""
        ...

    def set_pending(self, person: int, purpose: str, *, pending: bool) -> None:
        """Keep whether a person's consent waits for its confirmation, for ``pending_people``."""
        ...

    def save_remote(self, remote: Remote) -> None: ...
    def note(self, note: Note) -> None: ...

    # deliveries
    def enqueue_state(self, delivery: Delivery) -> int:
        """Add work for a person's state, or raise the revision of the same that waits, or is parked for the same reason; its id."""
        ...

    def enqueue(self, delivery: Delivery) -> int:
        """Add a trigger or a webhook; returns its id."""
        ...

    def guard(self, lane: str, key: str, now: float) -> bool:
        """Keep a trigger's guard for ever; False when it is there already."""
        ...

    def places(self, lane: str, urgency: int, after: tuple[float, int], until: float, limit: int) -> list[Place]:
        """Where deliveries of one urgency stand that wait, or are under way, and are due at ``until``, in order.

        ``after`` is the due time and the id of the last one that is known already.
        """
        ...

    def park(self, delivery: Delivery) -> bool:
        """Keep work for a human to decide on; False when the person has the same parked there already."""
        ...

    def parked(self, lane: str, person: int, reason: str) -> list[Delivery]: ...

    def triggers(self, person: int) -> list[Delivery]:
        """All triggers of one person that the store still has, whatever became of them, in order of id."""
        ...

    def next_due_at(self, lane: str, urgency: int, after: float) -> float | None:
        """When the first delivery of one urgency falls due that is due later than ``after``."""
        ...

    def claim(self, delivery: Delivery) -> None:
        """Take a delivery in hand for one more attempt: it is in flight until it is saved in another state."""
        ...

    def save_delivery(self, delivery: Delivery) -> None: ...
    def hold_back(self, lane: str, person: int, until: float, after: int) -> None:
        """Let a person's later deliveries wait for an earlier one; opt-outs do not."""
        ...

    def bring_forward(self, seconds: float, now: float) -> None:
        """Let everything that waits for a moment after ``now`` wait for so much less; nothing falls due before ``now``."""
        ...

    def release(self, lane: str, person: int, now: float) -> None:
        """Let a person's deliveries go at once that only waited for an earlier one."""
        ...

    def remind(self, lane: str, person: int) -> None:
        """Tell the lane of all that waits for a person, as if it had just been queued."""
        ...

    def in_flight(self, lane: str) -> list[Delivery]: ...
    def add_attempt(self, attempt: Attempt) -> None: ...
    # operations
    def save_connector_state(self, state: ConnectorState) -> None: ...
    def set_meta(self, key: str, value: str) -> None: ...
    def set_value(self, connector: str, key: str, value: Any) -> None: ...
    def set_cursor(self, connector: str, job: str, cursor: str | None) -> None: ...
    def claim_tick(self, connector: str, job: str, slot: float) -> bool:
        """Claim a scheduled moment; False when it was claimed before."""
        ...

    def mark_seen(self, connector: str, run: str, purpose: str, person: int) -> None: ...
    def was_seen(self, connector: str, run: str, purpose: str, person: int) -> bool: ...
    def forget_run(self, connector: str) -> None: ...
    def prune(self, *, kept_since: float, ids_since: float) -> int:
        """Delete what is older, a few hundred rows a call; how many.

        ``kept_since`` is for folded journal segments and finished deliveries with their attempts, ``ids_since`` for event ids
        and answers. What waits, is parked or dead is kept, and so are guards and the ledger.
        """
        ...

    # erasure
    def begin_erasure(self, person: int, given: Iterable[str], at: float) -> Erasure:
        """Write down that a person is to be erased, and every word that they are known by; ``given`` are more addresses."""
        ...

    def erase(self, erasure: Erasure, traces: Traces) -> tuple[Erasure, int]:
        """Erase a slice; how far that is now, and how many journal entries will not be folded any more."""
        ...

    def end_erasure(self, erasure: Erasure, *, vendors_asked: bool) -> Erasure:
        """Keep of an erasure only that it was done, and whether the vendors were asked since."""
        ...

    def lift_suppression(self, person: int, email_key: str) -> None:
        """Let an erased person be known again by this address and by their ids; their other addresses stay suppressed."""
        ...


class Store(Protocol):
    """A store that is open. ``accept`` and ``run`` return once their work is on disk."""

    @property
    def on_commit(self) -> Callable[[Committed], None]:
        """Called on the event loop after each commit, before whoever asked for it hears of it."""
        ...

    @on_commit.setter
    def on_commit(self, heed: Callable[[Committed], None]) -> None: ...
    @property
    def failed(self) -> StoreError | None:
        """Why nothing is written any more, where that is so: not even undoing worked. Whatever is asked then raises it."""
        ...

    async def accept(self, entries: list[Entry], answered: Answered | None = None) -> None:
        """Append to the journal; requests in flight share one commit. Raises StorageFull, StoreError."""
        ...

    async def run(self, work: Callable[[Unit], R], *, durable: bool = True) -> R:
        """Do a unit of work on the writer, under its own savepoint; what it raises undoes it alone.

        Work that is not ``durable``, and does not say ``make_durable``, returns before it is on disk: it outlives this process,
        and a power cut may undo it with all that came after it. Only for what is repeated in that case without harm.
        """
        ...

    def follow(self, work: Callable[[Unit], R | None], told: Callable[[R | None, BaseException | None], None]) -> None:
        """Do ``work`` again and again, for as long as the journal holds more than is folded, behind what others ask for.

        ``told`` hears on the event loop what came of each time, or what it raised, which undoes it alone. Work that returns
        None has got no further, and rests before it is done again, like work that fails. It need not be durable.
        """
        ...

    async def read(self, question: Callable[[Reader], R]) -> R:
        """Ask beside the writer; sees what was committed."""
        ...

    async def scrub(self) -> None:
        """Return once nothing that was deleted before this call is left in the store's files."""
        ...

    async def close(self) -> None: ...
