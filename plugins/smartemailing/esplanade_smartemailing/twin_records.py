"""The records of the twin's account. Times are Unix seconds; ``twin_answers.py`` shows them as the vendor does."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, field

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

DAY_S = 86_400
_MONTHS = {"months": 1, "years": 12}


class Membership(Struct, kw_only=True):
    """A contact's place on a list: ``confirmed`` or ``unsubscribed``; whoever is removed has none."""

    id: int
    status: str
    added: float
    updated: float | None = None


class Contact(Struct, kw_only=True):
    """A contact. ``values`` are its own keys, ``custom`` what it holds in custom fields: a text, or ids of options."""

    id: int
    guid: str
    emailaddress: str
    values: dict[str, str] = field(default_factory=dict)
    custom: dict[int, str | list[int]] = field(default_factory=dict)
    custom_rows: dict[int, int] = field(default_factory=dict)
    lists: dict[int, Membership] = field(default_factory=dict)
    blacklisted: int = 0
    softbounced: int = 0
    hardbounced: int = 0
    is_confirmed: int = 1
    created: float
    updated: float | None = None
    last_opened: float | None = None
    last_clicked: float | None = None


class CustomField(Struct, kw_only=True):
    """A custom field."""

    id: int
    name: str
    type: str


class Option(Struct, kw_only=True):
    """One choice of a composite custom field."""

    id: int
    customfield_id: int
    order: int
    name: str


class ContactList(Struct, kw_only=True):
    """A contact list; whom its mails are from belongs to it."""

    id: int
    name: str
    publicname: str | None = None
    sendername: str
    senderemail: str
    replyto: str
    category: str | None = None
    signature: str | None = None
    segment_id: int | None = None
    created: float


class Period(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a purpose lasts."""

    value: int
    unit: Literal["days", "months", "years"]


class Purpose(Struct, kw_only=True):
    """A processing purpose: why a contact's data may be used, and for how long."""

    id: int
    name: str
    created_at: float
    lawful_basis: str = "consent"
    duration: Period = Period(value=5, unit="years")
    notes: str | None = None

    def end_of(self, begins: float, zone: ZoneInfo) -> float:
        """When a connection to this purpose ends that begins then."""
        if self.duration.unit == "days":
            return begins + self.duration.value * DAY_S
        then = datetime.fromtimestamp(begins, zone)
        month = then.month - 1 + self.duration.value * _MONTHS[self.duration.unit]
        year, day = then.year + month // 12, min(then.day, 28)
        return then.replace(year=year, month=month % 12 + 1, day=day).timestamp()


class Connection(Struct, kw_only=True):
    """One interval in which a contact is connected to a purpose: the consent log (section 6)."""

    id: int
    contact_id: int
    purpose_id: int
    created_at: float
    valid_from: float
    valid_to: float
    details: dict[str, str] = field(default_factory=dict)


class Email(Struct, kw_only=True):
    """An e-mail that can be sent."""

    id: int
    name: str
    title: str
    htmlbody: str
    textbody: str
    created: float
    template: bool = False

    @property
    def asks_to_confirm(self) -> bool:
        """Whether it has the link of a double opt-in (section 4)."""
        return "{{confirmlink}}" in self.htmlbody.replace(" ", "")


class Question(Struct, kw_only=True):
    """A double opt-in request that waits for the click: what was imported, to be stored then (section 6)."""

    id: str
    email: str
    email_id: int
    row: Any
    """The row of the import, read."""
    settings: Any
    """The import's settings."""
    at: float
    valid_to: float | None = None
