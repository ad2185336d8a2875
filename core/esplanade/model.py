"""The nouns that the core and its plugins share: people's values, events, outcomes, reports.

Everything here is a frozen value. Times are aware UTC datetimes; ``person`` is the hub's own id (``p-1``), safe in logs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct, field

from .values import Duration

Scalar: TypeAlias = str | int | float | bool
Value: TypeAlias = Scalar | list[Scalar] | None
"""A field's value. ``None`` clears it; leaving a field out says nothing about it."""

Kind: TypeAlias = Literal["profile", "consent", "trigger"]
KINDS: tuple[Kind, ...] = ("profile", "consent", "trigger")

State: TypeAlias = Literal["granted", "denied", "pending"]
Held: TypeAlias = Literal["granted", "denied", "pending", "absent"]
"""What a vendor holds for a purpose. ``absent`` means: it does not have the person's subscription, and says no more."""

Regrant: TypeAlias = Literal["confirmed", "reported", "never"]


class ConsentTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a purpose lives at a vendor. Plugins add their own keys."""

    regrant: Regrant = "confirmed"
    """What this vendor's word is worth over an earlier ``denied``."""

    def asks_to_confirm(self) -> bool:
        """Whether a plain grant makes the vendor ask the person to confirm it (double opt-in)."""
        return False


class AudienceTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an audience lives at a vendor. Plugins add their own keys."""


class TriggerTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a trigger starts at a vendor. Plugins add their own keys."""

    requires: Annotated[str, Meta(examples=["newsletter"])] | None = None
    """The purpose that a person must have granted; without the grant the trigger is not sent."""
    expires: Duration | None = None
    """How long after it happened a trigger still makes sense, such as ``6h``."""
    fanout: bool = False
    """Said on every connector that maps this trigger, when more than one shall act on it."""


C = TypeVar("C", bound=ConsentTarget)
A = TypeVar("A", bound=AudienceTarget)
T = TypeVar("T", bound=TriggerTarget)


class Product(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One item of a product set."""

    id: str
    title: str | None = None
    price: float | None = None
    currency: str | None = None
    url: str | None = None
    image_url: str | None = None
    quantity: int | None = None
    language: str | None = None


class ProductSet(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The products that a trigger carries into its e-mail, in order."""

    items: list[Product]
    set: str | None = None
    language: str | None = None


class AudienceChange(Struct, Generic[A], frozen=True, kw_only=True):
    """Memberships to add and to remove, by audience name, with the vendor's target of each."""

    add: dict[str, A] = field(default_factory=dict)
    remove: dict[str, A] = field(default_factory=dict)


class ProfileEvent(Struct, Generic[A], frozen=True, kw_only=True):
    """A person's fields or memberships differ from what the vendor holds. Field names are the vendor's."""

    delivery_id: str
    person: str
    cdp_id: str | None = None
    email: str
    previous_email: str | None = None
    """The address under which the vendor knows this person, when that is another one."""
    remote_id: str | None = None
    changed: dict[str, Value] = field(default_factory=dict)
    cleared: list[str] = field(default_factory=list)
    desired: dict[str, Value] = field(default_factory=dict)
    """Every mapped field as it should be, for vendors whose write replaces the whole."""
    audiences: AudienceChange[A] = field(default_factory=AudienceChange)
    held: dict[str, Held] = field(default_factory=dict)
    """What the vendor is known to hold for each purpose that it has acknowledged or reported."""
    at: datetime
    """When it fell due; the same for every attempt."""


class ConsentEvent(Struct, Generic[C], frozen=True, kw_only=True):
    """One purpose of a person differs from what the vendor holds.

    ``pending`` asks the vendor to send its confirmation; ``granted`` needs none; ``denied`` is an opt-out.
    """

    delivery_id: str
    person: str
    email: str
    remote_id: str | None = None
    purpose: str
    target: C
    state: State
    method: str | None = None
    desired: dict[str, Value] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    """What the vendor is known to hold for each purpose; ``denied`` too where it may: an earlier call about it ended in doubt."""
    said_at: datetime
    at: datetime


class TriggerEvent(Struct, Generic[T], frozen=True, kw_only=True):
    """Something happened that shall reach the person, or this connector, now and once."""

    delivery_id: str
    person: str
    email: str
    remote_id: str | None = None
    trigger: str
    target: T
    trigger_id: str
    language: str | None = None
    data: dict[str, object] = field(default_factory=dict)
    products: ProductSet | None = None
    desired: dict[str, Value] = field(default_factory=dict)
    expires_at: datetime | None = None
    at: datetime


class InboundRequest(Struct, frozen=True, kw_only=True):
    """A vendor's webhook as it came in. Header names are lower case; ``path`` and ``query`` are raw, as they were sent.

    Signatures may cover the path. It holds the connector's unguessable key, so it belongs in no log.
    """

    method: str
    path: str = ""
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    received_at: datetime


class Outcome(Struct, frozen=True, kw_only=True):
    """How a hook ended.

    ``delivered``: the vendor acknowledged. ``unchanged``: there was nothing to do, ``reason`` says why.
    ``pending``: the vendor asked the person, nothing is stored there until they answer.
    ``remote_id`` is the vendor's id of the person when it became known.
    ``acknowledged`` holds field values as the vendor has them now: of a profile those that differ from what was sent, of a
    consent those that went along with it.
    """

    status: Literal["delivered", "unchanged", "pending"] = "delivered"
    remote_id: str | None = None
    acknowledged: dict[str, Value] | None = None
    reason: str | None = None


class Report(Struct, frozen=True, kw_only=True):
    """What a vendor says it holds for a person: from a webhook, a pull or a fetch. Field names are the vendor's.

    ``email`` or ``remote_id`` is required. ``at`` is the vendor's own clock for the change, None where it gives none.
    ``confirmed`` says that this report itself is the person's confirmation (a double opt-in click, a re-subscribe event).
    """

    email: str | None = None
    previous_email: str | None = None
    remote_id: str | None = None
    fields: dict[str, Value] = field(default_factory=dict)
    consents: dict[str, Held] = field(default_factory=dict)
    audiences: dict[str, bool] = field(default_factory=dict)
    at: datetime | None = None
    read_at: datetime | None = None
    """When the plugin began to ask the vendor for this, where a webhook only said whom to ask about. None: the call says it."""
    event_id: str | None = None
    confirmed: bool = False
    evidence: dict[str, Scalar] = field(default_factory=dict)
    deleted: bool = False


class Happening(Struct, frozen=True, kw_only=True):
    """Something that happened at a vendor (opened, clicked, reward unlocked): a trigger for whoever maps ``name``."""

    name: str
    email: str
    data: dict[str, object] = field(default_factory=dict)
    at: datetime | None = None
    event_id: str | None = None


Inbound: TypeAlias = Report | Happening


class Page(Struct, frozen=True, kw_only=True):
    """One page of a pull. ``cursor`` is where the next page begins, None after the last.

    ``covers`` names the purposes whose holders this pull has listed one and all, once it ended. Somebody whom
    the vendor held for such a purpose and whom no page reported has left it.
    A pull that reads only what changed may list in ``present`` the remote ids that the vendor still has. Once ``whole`` says
    that the pages have listed all of them, somebody whose id was not among them has left every purpose that they held.
    """

    reports: list[Report]
    cursor: str | None = None
    covers: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    whole: bool = False


class PersonRef(Struct, frozen=True, kw_only=True):
    """A person as a vendor may know them."""

    person: str
    """The hub's own id; empty for somebody whom a webhook names and whom the hub perhaps does not know yet."""
    email: str
    remote_id: str | None = None


ValueType: TypeAlias = Literal["text", "number", "boolean", "date", "datetime", "multi-select"]
"""What a value is, as it shows itself: nobody says of which type a field is."""


class Alters(Struct, frozen=True, kw_only=True):
    """What a vendor does to values of one type before it holds them. Two values that come to the same are no change.

    The type is what the value itself looks like. A choice cannot be told from text so, nor an integer from a number: what
    is done to them is declared for ``text`` and ``number``.
    """

    trim: bool = False
    """Outer blanks are lost, and runs of blanks inside become one."""
    ignores_case: bool = False
    """Text comes back in lower case, in capitals, or with a capital in front."""
    max_length: int | None = None
    """Longer text is cut after so many characters."""
    decimals: int | None = None
    """Numbers are rounded to so many decimals."""
    formats: list[str] = field(default_factory=list)
    """How dates come back, as for ``strptime``; ISO 8601 is always understood. Local times are those of ``timezone``."""
    timezone: str = "UTC"
    only_date: bool = False
    """The time of day is lost."""
    true: list[str] = field(default_factory=list)
    """Words for true, beside true, yes and 1, in any case."""
    false: list[str] = field(default_factory=list)
    """Words for false, beside false, no and 0."""
    separator: str = ","
    """What stands between the choices of a list that comes back as text. Their order never matters."""

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 1:
            raise ValueError("max_length: expected 1 or more characters")
        if self.decimals is not None and not 0 <= self.decimals <= 30:
            raise ValueError("decimals: expected 0 to 30")
        if not self.separator:
            raise ValueError("separator: is empty; give what stands between two choices, such as ','")
        try:
            ZoneInfo(self.timezone)
        except (KeyError, OSError, ValueError):
            raise ValueError(f"timezone: {self.timezone!r} is not known; give a name such as Europe/Prague") from None
        for form in self.formats:
            _check_date_format(form)


def _check_date_format(form: str) -> None:
    example = datetime(2026, 12, 31, 23, 59, 58, tzinfo=UTC)
    try:
        read = datetime.strptime(example.strftime(form), form)  # noqa: DTZ007 - only its digits matter
    except ValueError as why:
        raise ValueError(f"formats: {form!r} cannot be read back: {why}") from None
    if (read.month, read.day) != (example.month, example.day):
        raise ValueError(f"formats: {form!r} must show the day and the month, as %d and %m do")


class FieldInfo(Struct, frozen=True, kw_only=True):
    """One field at the vendor. ``type``: text, integer, number, boolean, date, datetime, select, multi-select."""

    name: str
    type: str = "text"
    label: str | None = None
    options: list[str] = field(default_factory=list)
    required: bool = False
    read_only: bool = False
    max_length: int | None = None


class Choice(Struct, frozen=True, kw_only=True):
    """Something an operator can point at in connectors.yaml: a group, a list, a purpose, a published mailing."""

    id: str
    name: str
    detail: str | None = None


class Discovery(Struct, frozen=True, kw_only=True):
    """What an account at a vendor offers, in stable order."""

    fields: list[FieldInfo] = field(default_factory=list)
    groups: list[Choice] = field(default_factory=list)
    purposes: list[Choice] = field(default_factory=list)
    mailings: list[Choice] = field(default_factory=list)


class Webhooks(Struct, frozen=True, kw_only=True):
    """What became of the webhooks that the hub has at a vendor: of each the vendor's words, such as ``update of database 31``.

    Never a URL: the hub's is secret.
    """

    kept: list[str] = field(default_factory=list)
    """They were there, as they should be."""
    made: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    """They were there, and differed."""
    removed: list[str] = field(default_factory=list)


class CheckResult(Struct, frozen=True, kw_only=True):
    """What a connection check found: ``ok``, or which of the known ways it failed, and a sentence for the operator."""

    status: Literal["ok", "bad-credentials", "no-permission", "wrong-account", "vendor-down", "wrong-fields"] = "ok"
    """``wrong-fields`` is the hub's own finding: of what is mapped, the vendor lacks some, or it has another type by now."""
    detail: str = ""


class Exchange(Struct, frozen=True, kw_only=True):
    """A call to a vendor that failed, as far as it may be told: shapes and masked words, no values and no secrets."""

    method: str
    path: str
    """Without its query, addresses and ids masked; ``***`` where the path itself is the credential."""
    status: int | None
    """None when there was no answer."""
    took_s: float
    """From the call to its end, the wait for a token included."""
    sent: str
    """The shape of the body: its fields and their types, such as ``{"email":"text"}``. At most 500 characters."""
    answered: str
    """The vendor's own words, redacted. At most 300 characters."""
