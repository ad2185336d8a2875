"""The events as they come in (CONTRACT: HTTP) and as the journal keeps them, msgpack-encoded with the same names.

In the journal ``at`` and ``expires_at`` are epoch seconds (float) or absent; addresses are valid, without outer blanks.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from esplanade.model import Held, ProductSet, Scalar, State

Text = Annotated[str, Meta(max_length=65_536)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Int = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Time = Annotated[datetime, Meta(tz=True)] | int | float
FieldValue = Text | Int | float | bool | None | list[Text | Int | float | bool]


class ProfileIn(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A person's fields, audiences and plain consents. ``email`` or ``id`` is required."""

    email: str | None = None
    id: Name | None = None
    previous_email: str | None = None
    event_id: Name | None = None
    at: Time | None = None
    fields: dict[Name, FieldValue] = field(default_factory=dict)
    audiences: dict[Name, bool] = field(default_factory=dict)
    consents: dict[Name, State] = field(default_factory=dict)


class JournalledProfile(ProfileIn, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A profile as the journal keeps it: a profile from outside decodes as it is."""

    imported: bool = False
    """Whether it came from an import, so that its consents have the method ``import``. Set by the core alone."""


class ConsentIn(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a person said about one purpose."""

    email: str
    purpose: Name
    state: State
    id: Name | None = None
    event_id: Name | None = None
    method: Name | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    at: Time | None = None


class TriggerIn(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Something that happened and shall reach a person now."""

    email: str
    trigger: Name
    id: Name | None = None
    event_id: Name | None = None
    trigger_id: Name | None = None
    language: Name | None = None
    at: Time | None = None
    expires_at: Time | None = None
    data: dict[str, Any] = field(default_factory=dict)
    products: ProductSet | None = None


class WordIn(Struct, kw_only=True, omit_defaults=True):
    """What a call told in a person's name, by the operator's rule. It says nothing of what the vendor holds."""

    fields: dict[str, Scalar | list[Scalar] | None] = field(default_factory=dict)
    """Hub fields."""
    consents: dict[str, State] = field(default_factory=dict)
    at: float
    evidence: dict[str, Scalar] = field(default_factory=dict)
    event_id: str | None = None
    """What tells this event from others: what it says counts once, but for an opt-out, which always counts."""


class ReportIn(Struct, kw_only=True, omit_defaults=True):
    """A connector's Report as the journal keeps it, with when its reading began."""

    email: str | None = None
    previous_email: str | None = None
    remote_id: str | None = None
    fields: dict[str, Scalar | list[Scalar] | None] = field(default_factory=dict)
    consents: dict[str, Held] = field(default_factory=dict)
    audiences: dict[str, bool] = field(default_factory=dict)
    at: float | None = None
    read_at: float = 0.0
    pulled: bool = False
    confirmed: bool = False
    evidence: dict[str, Scalar] = field(default_factory=dict)
    deleted: bool = False
    word: WordIn | None = None
    """What the call told for which this contact was read again."""


class HappeningIn(Struct, kw_only=True, omit_defaults=True):
    """A connector's Happening as the journal keeps it."""

    name: str
    email: str
    trigger_id: str
    data: dict[str, Any] = field(default_factory=dict)
    at: float | None = None


class WebhookIn(Struct, kw_only=True, omit_defaults=True):
    """A vendor's request, raw, as the journal and the inbound lane keep it."""

    method: str
    path: str = ""
    """Only while it is to be verified yet."""
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    verified: bool = True


EventKind = Literal["profile", "consent", "trigger"]
Incoming = ProfileIn | ConsentIn | TriggerIn
SHAPES: dict[EventKind, type[ProfileIn | ConsentIn | TriggerIn]] = {
    "profile": ProfileIn,
    "consent": ConsentIn,
    "trigger": TriggerIn,
}
