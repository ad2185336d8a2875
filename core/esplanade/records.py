"""The rows of the store as the rest of the core sees them. Times are epoch seconds."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Literal, NamedTuple

from msgspec import Struct, field

from .model import Exchange, Held, State, Value
from .reasons import PluginReason, Reason


class Urgency(IntEnum):
    """What a lane serves first: the lower the number, the more urgent."""

    OPT_OUT = 0
    TRIGGER = 1
    LIVE = 2
    BACKFILL = 3

    @property
    def word(self) -> str:
        """As it appears outside."""
        return self.name.lower().replace("_", "-")


DeliveryKind = Literal["profile", "consent", "trigger", "webhook", "fetch", "fold"]
"""``webhook``: one that waits to be read; ``fetch``: a person to read again; ``fold``: a journal entry that could not be folded."""
DeliveryState = Literal["pending", "in_flight", "parked", "dead", "done"]

EntryKind = Literal["profile", "consent", "trigger", "webhook", "report", "happening"]


class Entry(Struct, frozen=True, kw_only=True, array_like=True):
    """One thing in the journal, accepted and not necessarily folded yet."""

    kind: EntryKind
    origin: str
    """The source that sent it, or the connector that reported it."""
    id: str
    at: float
    body: bytes
    """msgpack of the event, in the shape that its kind has."""
    root: str = ""
    """The id of the first event of this chain; empty: this one is the first."""
    hops: int = 0
    backfill: bool = False
    dedupe: bool = False
    """Whether ``id`` was derived from the sender's own event id, so that a repeat has the same."""


class Answered(Struct, frozen=True, kw_only=True):
    """The answer once given under an Idempotency-Key."""

    source: str
    key: str
    digest: bytes
    status: int
    answer: bytes


class Clocked(Struct, frozen=True, array_like=True):
    """A value and the moment it was said."""

    value: Value
    at: float


class Standing(Struct, frozen=True, kw_only=True):
    """Where a person stands on one purpose, as the law computed it from the ledger."""

    state: State
    under: Literal["granted", "denied"] | None = None
    """While pending: the state that holds underneath, None when there is none."""
    method: str | None = None
    at: float
    source: str
    evidence: dict[str, Any] = field(default_factory=dict)


class Person(Struct, kw_only=True):
    """One human as the hub knows them. ``id`` prints as ``p-<id>``; ``email`` is empty while only the CDP's id is known."""

    id: int
    email: str
    email_key: str
    cdp_id: str | None = None
    emails: list[str] = field(default_factory=list)
    """Earlier addresses, as they were given, oldest first."""
    fields: dict[str, Clocked] = field(default_factory=dict)
    audiences: dict[str, Clocked] = field(default_factory=dict)
    consents: dict[str, Standing] = field(default_factory=dict)
    created_at: float = 0.0
    email_at: float = 0.0
    """When somebody last said that this is the address; 0: it was only ever used."""
    doubted: dict[str, dict[str, float]] = field(default_factory=dict)
    """By purpose: whose vendors no longer list the person, and since when, while the guard asks a human whether that is so."""
    lineage: list[int] = field(default_factory=list)
    """Those who turned out to be this person, and were merged into them."""
    merged_into: int | None = None

    @property
    def name(self) -> str:
        """The person's id as it appears outside, safe in logs."""
        return f"p-{self.id}"


class LedgerRow(Struct, frozen=True, kw_only=True):
    """One thing said about a person's consent. Rows are never changed."""

    person: int
    purpose: str
    state: State
    method: str | None
    source: str
    evidence: dict[str, Any]
    said_at: float
    recorded_at: float
    lifts: bool
    """Whether this grant may stand over an earlier denial."""


class Contact(Struct, kw_only=True):
    """A contact at a vendor under a former address of a person, which the hub takes off every list."""

    email: str | None = None
    remote_id: str | None = None
    fields: dict[str, Value] = field(default_factory=dict)
    consents: dict[str, Held] = field(default_factory=dict)
    audiences: list[str] = field(default_factory=list)
    """The memberships that the hub gave it, and has not yet ended."""
    told: dict[str, float] = field(default_factory=dict)
    """Purposes for which the hub has opted it out, and when: a report of that is no word of the person's."""


class Remote(Struct, kw_only=True):
    """What one connector's vendor is known to hold for a person: the base of the three-way merge."""

    person: int
    connector: str
    remote_id: str | None = None
    email: str | None = None
    """The address under which the vendor knows the person; None: it does not, as far as we know."""
    unknown: bool = False
    """A call was cut or timed out, so the fields below may be wrong: nothing counts as unchanged."""
    fields: dict[str, Value] = field(default_factory=dict)
    consents: dict[str, Held] = field(default_factory=dict)
    audiences: dict[str, bool] = field(default_factory=dict)
    owned: list[str] = field(default_factory=list)
    """The audiences in which the hub itself put the person here, and which it may therefore take them out of."""
    sent: dict[str, list[Clocked]] = field(default_factory=dict)
    """Values sent lately per ``field:``, ``consent:`` or ``audience:`` key, for telling echoes."""
    confirmed: list[str] = field(default_factory=list)
    """Fields whose last write the vendor has reported back whole: what comes after that is no cut value."""
    perhaps_denied: list[str] = field(default_factory=list)
    """Purposes that the vendor may hold as denied: a call about them ended in doubt, and their base is gone."""
    asked: dict[str, Held | None] = field(default_factory=dict)
    """Purposes the vendor was asked to have confirmed, with what it held before."""
    rejected: dict[str, Value] = field(default_factory=dict)
    """Values that the vendor refused: not sent again until they change."""
    acked_at: float = 0.0
    root: str = ""
    hops: int = 0
    former: list[Contact] = field(default_factory=list)
    """Other contacts that turned out to be this person, the latest last."""


class AudienceRun(Struct, kw_only=True):
    """An audience at one vendor: how many the hub put there, and how many the present run has taken out."""

    members: int = 0
    began_at: float = 0.0
    began_with: int = 0
    """How many members there were when the run began."""
    removed: int = 0


FOLD_LANE = ":fold"
"""Where events of sources are kept that could not be folded; those of a connector stay in its inbound lane."""


def inbound_lane(connector: str) -> str:
    """The lane of what comes from a connector's vendor."""
    return f"{connector}:in"


def connector_of(lane: str) -> str:
    """The connector whose lane it is, towards its vendor or from it."""
    return lane.removesuffix(":in")


class Delivery(Struct, kw_only=True):
    """A piece of work towards a vendor, or (kind ``webhook``) one from it that waits to be read."""

    id: int
    lane: str
    kind: DeliveryKind
    person: int | None = None
    subject: str = ""
    """The purpose of a consent, the name of a trigger; empty otherwise."""
    urgency: int = 2
    state: DeliveryState = "pending"
    rev: int = 0
    due_at: float = 0.0
    first_at: float = 0.0
    attempts: int = 0
    root: str = ""
    hops: int = 0
    event_id: str = ""
    expires_at: float | None = None
    payload: bytes = b""
    outcome: str | None = None
    reason: Reason | None = None
    last_error: str | None = None
    force: bool = False
    """Sent by hand: goes out even when it equals what the vendor holds."""
    unsure: bool = False
    """A call of it may have been acted on, so that a trigger is looked up before it is sent once more."""
    took_s: float | None = None
    """How long the call took that ended it."""


class Place(NamedTuple):
    """Where a delivery stands in its lane: places sort as they are served, urgency first, then age."""

    urgency: int
    due_at: float
    delivery: int
    person: int | None


class Attempt(Struct, frozen=True, kw_only=True):
    """One call of a hook for one delivery. Of a success only that it was one is kept."""

    delivery: int
    at: float
    took_s: float
    outcome: str
    error: str | None = None
    exchange: Exchange | None = None
    """The request that failed, as far as it may be told."""


class Note(Struct, frozen=True, kw_only=True):
    """One row of a person's timeline, and the reason why something was or was not done."""

    person: int
    at: float
    what: Literal["accepted", "merged", "sent", "not-sent", "reported", "failed"]
    connector: str = ""
    kind: str = ""
    event_id: str = ""
    reason: Reason | PluginReason | None = None
    detail: str = ""


class ConnectorState(Struct, frozen=True, kw_only=True):
    """What is kept of a connector between runs."""

    name: str
    state: Literal["ok", "paused", "auth", "gone"] = "ok"
    reason: str | None = None
    since: float = 0.0
    last_error: str | None = None
    last_error_at: float | None = None


class QueueCounts(Struct, kw_only=True):
    """How many deliveries a connector has in each state, and how old the oldest due one is."""

    due: int = 0
    scheduled: int = 0
    in_flight: int = 0
    parked: int = 0
    dead: int = 0
    oldest_due_at: float | None = None


class DeliveryFilter(Struct, frozen=True, kw_only=True):
    """Which deliveries an operator means. All given parts must hold; times compare with the first attempt."""

    ids: list[int] | None = None
    connector: str | None = None
    kind: DeliveryKind | None = None
    email_key: str | None = None
    reason: str | None = None
    states: list[str] | None = None
    since: float | None = None
    until: float | None = None

    def is_empty(self) -> bool:
        """Whether it would mean everything."""
        return not any(
            part is not None
            for part in (self.ids, self.connector, self.kind, self.email_key, self.reason, self.since, self.until)
        )
