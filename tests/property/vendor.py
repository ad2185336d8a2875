"""A model vendor: a small stateful program that does what real vendors do, and some things that they should not."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from esplanade.clock import Clock, as_datetime
from esplanade.connector import AddressChange, Connector
from esplanade.errors import OutcomeUnknown, PermanentError, RateLimited, TemporaryError
from esplanade.model import Alters, Held, Outcome, Page, Report, Value, ValueType

TYPES: dict[str, ValueType] = {"name": "text", "note": "text", "points": "number", "born": "date", "vip": "boolean"}
"""The hub's fields in the mesh; a vendor keeps each under its name in capitals."""

Fault = Literal["before", "after", "busy", "patience"]
"""What becomes of the next call: a timeout before or after the vendor acted, 503 with a refused connection, 429."""
Lie = Literal["none", "invents", "rewrites", "flips", "contacts"]
"""After a write: another value nobody sent; each value kept as another; the opposite consent; somebody nobody knows."""

LATER_S = 0.5
"""How long after a write a lie is told."""

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Report).decode


class Habits(Struct, frozen=True, kw_only=True):
    """How one vendor behaves."""

    alters: dict[ValueType, Alters] = field(default_factory=dict)
    """What it does to values, as its plugin declares."""
    cuts: int | None = None
    """It cuts text after so many characters, and its plugin does not know."""
    refuses: str | None = None
    """It refuses a write that holds this text anywhere."""
    names_contacts: bool = True
    """It has ids of its own for contacts."""
    tells: bool = True
    """Its answer to a write says what it keeps, where that is not what was sent."""
    webhooks: Literal["whole", "changed", "none"] = "whole"
    skew_s: float | None = 0.0
    """How far its clock is off; None: its webhooks and pulls have none."""
    counts_events: bool = True
    """Its webhooks have event ids."""
    fetches: bool = True
    address_change: AddressChange = "new-contact"
    lie: Lie = "none"


class Contact(Struct, kw_only=True):
    """What a vendor keeps of one address."""

    id: str
    email: str
    fields: dict[str, Value] = field(default_factory=dict)
    consents: dict[str, Held] = field(default_factory=dict)
    audiences: set[str] = field(default_factory=set)
    by_hand: set[str] = field(default_factory=set)
    """Memberships that somebody set at the vendor and the hub never asked for."""


class Vendor(Connector[Any]):
    """One account. ``post`` takes what it reports by webhook."""

    def __init__(self, name: str, habits: Habits, clock: Clock, post: Callable[[Report], None]) -> None:
        super().__init__(None)
        self.name, self.habits = name, habits
        self.alters: Mapping[ValueType, Alters] = habits.alters
        self.address_change = habits.address_change  # type: ignore[misc]  # each model vendor has its own
        self.can_fetch = habits.fetches
        self.contacts: dict[str, Contact] = {}
        self.faults: deque[Fault] = deque()
        self.writes = 0
        self.mails: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None
        """What goes on while it answers a pull."""
        self.robbed: list[str] = []
        """Memberships that somebody else gave, and the hub took away."""
        self.columns: list[str] = []
        self.purposes: list[str] = []
        self.audiences: list[str] = []
        self._clock, self._post = clock, post
        self._numbers = itertools.count(1)

    # What the hub asks: the plugin's hooks and methods.

    async def on_profile(self, event, ctx):
        acts = self._begins()
        if self.habits.refuses and any(self.habits.refuses in str(value) for value in event.changed.values()):
            raise PermanentError("a value was refused")
        contact = self._moved(event) if event.previous_email else self._meant(event)
        contact = contact or self._new(event.email)
        before = msgspec.structs.replace(contact, fields=dict(contact.fields), audiences=set(contact.audiences))
        sent = {**event.changed, **dict.fromkeys(event.cleared)}
        contact.fields.update({name: self.keeps(name, value) for name, value in sent.items()})
        contact.audiences |= set(event.audiences.add)
        self.robbed += sorted(contact.by_hand & set(event.audiences.remove))
        contact.audiences -= set(event.audiences.remove)
        contact.by_hand -= set(event.audiences.add)
        self._report(contact, before)
        self._lies(contact, list(sent))
        acts()
        kept = {name: contact.fields[name] for name in sent}
        return Outcome(
            remote_id=contact.id if self.habits.names_contacts else None,
            acknowledged=kept if self.habits.tells else None,
        )

    async def on_consent(self, event, ctx):
        acts = self._begins()
        contact = self._meant(event)
        if contact is None and event.state == "denied":
            acts()
            return Outcome(status="unchanged")
        contact = contact or self._new(event.email)
        before = msgspec.structs.replace(contact, consents=dict(contact.consents))
        if (event.state, contact.consents.get(event.purpose)) != (
            "pending",
            "granted",
        ):  # it asks nobody who has confirmed
            contact.consents[event.purpose] = event.state
        self._report(contact, before)
        self._lies(contact, [], event.purpose)
        acts()
        status = "pending" if event.state == "pending" else "delivered"
        return Outcome(status=status, remote_id=contact.id if self.habits.names_contacts else None)

    async def on_trigger(self, event, ctx):
        self.mails.append(event.trigger_id)
        return Outcome()

    async def on_inbound_webhook(self, request, ctx):
        return [decode(request.body)]

    async def pull(self, cursor, ctx):
        page = sorted(self.contacts)[int(cursor or 0) :][:2]
        following = int(cursor or 0) + 2
        reports = [self.says(self.contacts[number], at=None) for number in page]
        self.meanwhile()
        return Page(
            reports=reports,
            cursor=str(following) if following < len(self.contacts) else None,
            covers=list(self.purposes),
        )

    async def fetch(self, person, ctx):
        contact = self._meant(person)
        return self.says(contact, at=None) if contact else None

    # What people do at the vendor.

    def edits(self, email: str, name: str, value: Value) -> None:
        """Somebody edits a contact by hand."""
        contact, before = self._by_hand(email)
        contact.fields[name] = self.keeps(name, value)
        self._report(contact, before)

    def opts(self, email: str, purpose: str, state: Held, *, confirmed: bool) -> None:
        """The person opts in or out at the vendor; ``confirmed``: by a click of their own that the vendor tells."""
        contact, before = self._by_hand(email)
        contact.consents[purpose] = state
        self._report(contact, before, confirmed=confirmed)

    def joins(self, email: str, audience: str, *, member: bool) -> None:
        """Somebody puts a contact on a list by hand, or takes it off."""
        contact, before = self._by_hand(email)
        _sets(contact, audience, member=member)
        self._report(contact, before)

    def renames(self, email: str, new: str, *, tells: bool = True) -> None:
        """Somebody gives a contact another address by hand, unless that is taken."""
        contact = self.find(email)
        if contact is not None and self.find(new) is None:
            before = msgspec.structs.replace(contact)
            contact.email = new
            if tells:
                self._report(contact, before, previous_email=before.email)

    def holds(
        self, email: str, fields: Mapping[str, Value], audiences: Mapping[str, bool], consents: Mapping[str, Held]
    ) -> None:
        """It is a source too: what it has just said is what it holds, and no webhook tells it again."""
        contact = self.find(email) or self._new(email)
        contact.fields.update(fields)
        contact.consents.update(consents)
        for audience, member in audiences.items():
            _sets(contact, audience, member=member)

    def reports_all(self) -> None:
        """It tells of every contact once more."""
        for contact in list(self.contacts.values()):
            self._post(self.says(contact, at=self._clock.time()))

    # Its own rules.

    def find(self, email: str) -> Contact | None:
        """The contact of an address."""
        return next((each for each in self.contacts.values() if each.email.lower() == email.lower()), None)

    def holds_consent(self, email: str, purpose: str) -> Held:
        """What it holds for a purpose that it knows."""
        contact = self.find(email)
        return contact.consents.get(purpose, "absent") if contact is not None and purpose in self.purposes else "absent"

    def keeps(self, name: str, value: Value) -> Value:
        """What becomes of a value that it is given."""
        kind = TYPES[name.lower()]
        rule = self.habits.alters.get(kind, Alters())
        if value is None or value == "":
            return None if kind != "text" else ""
        match kind:
            case "text":
                text = " ".join(str(value).split()) if rule.trim else str(value)
                text = text.lower() if rule.ignores_case else text
                text = text[: rule.max_length].rstrip() if rule.max_length is not None else text
                return text[: self.habits.cuts]
            case "number" if rule.decimals is not None and isinstance(value, int | float):
                return f"{value:.{rule.decimals}f}"
            case "date" if rule.formats and isinstance(value, str):
                return _date(value, rule.formats[0])
            case "boolean" if rule.true and isinstance(value, bool):
                return rule.true[0] if value else rule.false[0]
        return value

    def says(self, contact: Contact, *, at: float | None, **more: Any) -> Report:
        """What it tells of one contact."""
        clocked = at is not None and self.habits.skew_s is not None
        return Report(
            email=contact.email,
            remote_id=contact.id if self.habits.names_contacts else None,
            fields=dict.fromkeys(self.columns) | contact.fields,
            consents={purpose: contact.consents.get(purpose, "absent") for purpose in self.purposes},
            audiences={audience: audience in contact.audiences for audience in self.audiences},
            at=as_datetime((at or 0.0) + (self.habits.skew_s or 0.0)) if clocked else None,
            event_id=f"{self.name}-{next(self._numbers)}" if at is not None and self.habits.counts_events else None,
            **more,
        )

    def _report(self, contact: Contact, before: Contact, *, after_s: float = 0.0, **more: Any) -> None:
        if self.habits.webhooks == "none":
            return
        report = self.says(contact, at=self._clock.time() + after_s, **more)
        if self.habits.webhooks == "changed":
            report = msgspec.structs.replace(
                report,
                fields={name: value for name, value in report.fields.items() if before.fields.get(name) != value},
                consents={p: held for p, held in report.consents.items() if before.consents.get(p, "absent") != held},
                audiences={a: member for a, member in report.audiences.items() if (a in before.audiences) != member},
            )
        self._post(report)

    def _lies(self, contact: Contact, written: list[str], purpose: str | None = None) -> None:
        number = next(self._numbers)
        before = msgspec.structs.replace(contact, fields=dict(contact.fields), consents=dict(contact.consents))
        match self.habits.lie:
            case "invents" | "rewrites":
                suffix = f"{self.name} lie {number}" if self.habits.lie == "invents" else None
                for name in written:
                    if TYPES[name.lower()] == "text":
                        contact.fields[name] = suffix or str(contact.fields[name]).swapcase()
                self._report(contact, before, after_s=LATER_S)
            case "flips" if purpose is not None:
                contact.consents[purpose] = "denied" if contact.consents[purpose] == "granted" else "granted"
                self._report(contact, before, after_s=LATER_S)
            case "contacts":
                stranger = self._new(f"{self.name}-{number}@example.net")
                self._report(stranger, stranger, after_s=LATER_S)

    def _meant(self, event: Any) -> Contact | None:
        return self.contacts.get(event.remote_id or "") or self.find(event.email)

    def _moved(self, event: Any) -> Contact | None:
        """The contact of somebody who has another address now; it goes along where nobody has that address."""
        old = self.contacts.get(event.remote_id or "") or self.find(event.previous_email)
        new = self.find(event.email)
        if new is None and old is not None:
            old.email = event.email
            return old
        if new is not None and old is not None and new is not old and self.habits.address_change == "merge":
            new.fields = {**old.fields, **new.fields}
            new.audiences |= old.audiences
            new.by_hand |= old.by_hand
            del self.contacts[old.id]
        return new

    def _new(self, email: str) -> Contact:
        contact = Contact(id=f"{self.name}-{next(self._numbers)}", email=email)
        self.contacts[contact.id] = contact
        return contact

    def _by_hand(self, email: str) -> tuple[Contact, Contact]:
        contact = self.find(email) or self._new(email)
        copy = msgspec.structs.replace(
            contact, fields=dict(contact.fields), consents=dict(contact.consents), audiences=set(contact.audiences)
        )
        return contact, copy

    def _begins(self) -> Callable[[], None]:
        """Count a call and let its fault come before the vendor acts, or after."""
        self.writes += 1
        fault = self.faults.popleft() if self.faults else None
        match fault:
            case "before":
                raise OutcomeUnknown("no answer")
            case "busy":
                raise TemporaryError("not now")
            case "patience":
                raise RateLimited("slower", retry_after=30.0)

        def acts() -> None:
            if fault == "after":
                raise OutcomeUnknown("no answer")

        return acts


def _date(value: str, form: str) -> str:
    try:
        return datetime.fromisoformat(value).strftime(form)
    except ValueError:
        return value


def _sets(contact: Contact, audience: str, *, member: bool) -> None:
    """Put a contact on a list by hand, or take it off; who is on it already stays there by whoever put them there."""
    if member and audience not in contact.audiences:
        contact.by_hand.add(audience)
    (contact.audiences.add if member else contact.audiences.discard)(audience)
    if not member:
        contact.by_hand.discard(audience)
