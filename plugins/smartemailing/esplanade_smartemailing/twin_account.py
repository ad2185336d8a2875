"""What the twin of a SmartEmailing account holds, and the rules that the vendor keeps. No HTTP in here."""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from .twin_records import (
    Connection,
    Contact,
    ContactList,
    CustomField,
    Email,
    Membership,
    Option,
    Purpose,
    Question,
)
from .twin_values import COMPOSITE, SIMPLE, RefusedError, address_of, local

if TYPE_CHECKING:
    from collections.abc import Callable

    from .twin_habits import Habits

SOURCE = "API import"
"""What ``details`` of a purpose connection says that an import made."""


class Account:
    """One account. What happens to contacts is told to ``tell``; who comes onto a list, to ``joined``."""

    def __init__(self, now: Callable[[], float], habits: Habits) -> None:
        self.now = now
        self.habits = habits
        self.id = 2
        self.tell: Callable[[str, Contact], None] = lambda event, contact: None
        self.joined: Callable[[Contact, int], None] = lambda contact, number: None
        self.contacts: dict[int, Contact] = {}
        self.lists: dict[int, ContactList] = {}
        self.fields: dict[int, CustomField] = {}
        self.options: dict[int, Option] = {}
        self.purposes: dict[int, Purpose] = {}
        self.connections: dict[int, Connection] = {}
        self._connected: dict[int, dict[int, Connection]] = {}
        """The same by contact."""
        self._connection_ids = itertools.count(1)
        self.emails: dict[int, Email] = {}
        self.questions: dict[str, Question] = {}
        """Double opt-in requests that nobody has clicked in yet, by their ids."""
        self.asked: list[tuple[str, float]] = []
        """Addresses to which a confirmation mail was sent, and when, in order."""
        self.mails: list[dict[str, Any]] = []
        """Every other mail and SMS, in order: what sends and scenarios had sent."""
        self._by_email: dict[str, int] = {}
        self._ids = itertools.count(5_001)
        self._rows = itertools.count(1)
        self._furnish()

    def _furnish(self) -> None:
        for number, name in ((7, "Newsletter"), (9, "Service messages"), (12, "VIP")):
            self.add_list(name, number)
        for number, name, kind in (
            (1, "loyalty_tier", "text"),
            (2, "points", "numeric"),
            (3, "member_since", "date"),
            (4, "wants_paper", "bool"),
        ):
            self.add_field(name, kind, number=number)
        self.add_field("interests", "checkbox", ["red", "blue", "green"], number=5)
        self.add_field("size", "select", ["S", "M", "L"], number=6)
        self.add_purpose("Newsletter", number=2)
        self.add_email("Confirm your address", 41, html="<a href='{{confirmlink}}'>Yes, it is me</a>")
        self.add_email("Order confirmation", 71)
        self.add_email("Abandoned cart", 72)

    @property
    def zone(self) -> ZoneInfo:
        """The zone of all times."""
        return ZoneInfo(self.habits.timezone)

    def shown(self, at: float | None) -> str | None:
        """A time as the vendor shows it, null where there is none."""
        return None if at is None else local(at, self.zone)

    # Lists, custom fields, purposes, e-mails.

    def list_of(self, number: int, status: int = 404) -> ContactList:
        """A list by id; in what is imported a wrong id is a wrong value, elsewhere it is not found."""
        if number not in self.lists:
            raise RefusedError(f"Contactlist {number} does not exist.", status)
        return self.lists[number]

    def field_of(self, number: int, status: int = 404) -> CustomField:
        """A custom field by id."""
        if number not in self.fields:
            raise RefusedError(f"Customfield {number} does not exist.", status)
        return self.fields[number]

    def field_named(self, name: str) -> CustomField | None:
        """The first custom field of a name."""
        return next((each for each in self.fields.values() if each.name == name), None)

    def options_of(self, number: int) -> list[Option]:
        """The options of a custom field, in their order."""
        found = [each for each in self.options.values() if each.customfield_id == number]
        return sorted(found, key=lambda each: (each.order, each.id))

    def add_list(self, name: str, number: int | None = None, **more: Any) -> ContactList:
        """Make a list."""
        self._check_name(name, [each.name for each in self.lists.values()])
        sender = {"sendername": "Shop", "senderemail": "news@shop.example", "replyto": "help@shop.example", **more}
        made = ContactList(id=number or _next(self.lists), name=name, created=self.now(), **sender)
        self.lists[made.id] = made
        return made

    def add_field(
        self, name: str, kind: str = "text", options: list[str] | None = None, *, number: int | None = None
    ) -> CustomField:
        """Make a custom field, with the options that it has."""
        self._check_name(name, [each.name for each in self.fields.values()])
        if kind not in {*SIMPLE, *COMPOSITE}:
            raise RefusedError(f"Type {kind} is not a type of customfields.")
        made = CustomField(id=number or _next(self.fields), name=name, type=kind)
        self.fields[made.id] = made
        for order, each in enumerate(options or []):
            self.add_option(made, each, order)
        return made

    def add_option(self, owner: CustomField, name: str, order: int) -> Option:
        """Add an option to a composite custom field."""
        if owner.type not in COMPOSITE:
            raise RefusedError(f"Customfield {owner.id} of type {owner.type} has no options.")
        made = Option(id=_next(self.options), customfield_id=owner.id, order=order, name=name)
        self.options[made.id] = made
        return made

    def remove_field(self, number: int) -> None:
        """Delete a custom field with its options and all that contacts hold in it."""
        del self.fields[number]
        self.options = {key: each for key, each in self.options.items() if each.customfield_id != number}
        for contact in self.contacts.values():
            contact.custom.pop(number, None)

    def remove_option(self, number: int) -> None:
        """Delete an option; contacts have it no longer."""
        owner = self.options.pop(number).customfield_id
        for contact in self.contacts.values():
            held = contact.custom.get(owner)
            if isinstance(held, list) and number in held:
                held.remove(number)

    def add_purpose(self, name: str, *, number: int | None = None, **more: Any) -> Purpose:
        """Make a processing purpose."""
        self._check_name(name, [each.name for each in self.purposes.values()])
        made = Purpose(id=number or _next(self.purposes), name=name, created_at=self.now(), **more)
        self.purposes[made.id] = made
        return made

    def add_email(self, name: str, number: int | None = None, *, html: str = "<p>Hello {{df_name}}</p>") -> Email:
        """Make an e-mail."""
        made = Email(
            id=number or _next(self.emails), name=name, title=name, htmlbody=html, textbody=name, created=self.now()
        )
        self.emails[made.id] = made
        return made

    def email_of(self, number: int, status: int = 422) -> Email:
        """An e-mail by id; in what is sent a wrong id is a wrong value."""
        if number not in self.emails:
            raise RefusedError(f"E-mail {number} does not exist.", status)
        return self.emails[number]

    def _check_name(self, name: str, taken: list[str]) -> None:
        if not name.strip() or (self.habits.unique_names and name in taken):
            raise RefusedError(f"Name {name!r} is empty or already in use.")

    # Contacts.

    def find(self, email: str) -> Contact | None:
        """A contact by its address, without regard to case."""
        number = self._by_email.get(email.lower())
        return None if number is None else self.contacts[number]

    def contact(self, number: int) -> Contact:
        """A contact by id; 404 when there is none."""
        if number not in self.contacts:
            raise RefusedError(f"Contact {number} does not exist.", 404)
        return self.contacts[number]

    def create(self, email: str) -> Contact:
        """A contact that has nothing but its address; the caller has seen that there is none of it."""
        number, address = next(self._ids), self._as_stored(email)
        made = Contact(
            id=number, guid=str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))), emailaddress=address, created=self.now()
        )
        self.contacts[number] = made
        self._by_email[address.lower()] = number
        return made

    def rename(self, old: str, new: str) -> None:
        """Give a contact another address; 409 where that belongs to somebody else (section 5, the code is inferred)."""
        contact, other = self.find(old), self.find(address_of(new))
        if contact is None:
            raise RefusedError(f"Contact {old} does not exist.", 404)
        if other is not None and other is not contact:
            raise RefusedError(f"Contact {new} already exists.", 409)
        with self.changing(contact):
            del self._by_email[contact.emailaddress.lower()]
            contact.emailaddress = self._as_stored(new)
            self._by_email[new.lower()] = contact.id

    def forget(self, contact: Contact) -> None:
        """Erase a contact with its connections to purposes and what waits for its click (section 5)."""
        del self.contacts[contact.id], self._by_email[contact.emailaddress.lower()]
        for each in self._connected.pop(contact.id, {}):
            del self.connections[each]
        mine = contact.emailaddress.lower()
        self.questions = {key: each for key, each in self.questions.items() if each.email.lower() != mine}

    def changing(self, contact: Contact, *, is_new: bool = False) -> Change:
        """Within this a contact is written to; at its end ``updated`` moves, and web-hooks are told, if anything changed."""
        return Change(self, contact, is_new=is_new)

    def _as_stored(self, email: str) -> str:
        return email.lower() if self.habits.lowers_addresses else email

    # Lists of a contact, and purposes.

    def subscribe(self, contact: Contact, number: int, status: str, *, preserve: bool = False) -> None:
        """Set a contact's status on a list. With ``preserve`` nobody who left it comes back, nor anybody blacklisted."""
        held = contact.lists.get(number)
        if preserve and held is not None and held.status == "unsubscribed":
            return
        if preserve and contact.blacklisted and status == "confirmed":
            status = "unsubscribed"
        if status == "removed":
            contact.lists.pop(number, None)
        elif held is None:
            contact.lists[number] = Membership(id=next(self._rows), status=status, added=self.now())
        elif held.status != status:
            held.status, held.updated = status, self.now()

    def blacklist(self, contact: Contact) -> None:
        """Never mail again, and unsubscribe from all lists (sections 5 and 6)."""
        contact.blacklisted = 1
        for number in contact.lists:
            self.subscribe(contact, number, "unsubscribed")

    def connect(self, contact: Contact, purpose: int, begins: float | None, ends: float | None) -> Connection:
        """Put a lawful basis on record: from now, for the purpose's duration, unless told; an exact repeat is skipped."""
        begins = self.now() if begins is None else begins
        ends = self.purposes[purpose].end_of(begins, self.zone) if ends is None else ends
        mine = self._connected.setdefault(contact.id, {})
        for each in mine.values():
            if (each.purpose_id, each.valid_from, each.valid_to) == (purpose, begins, ends):
                return each
        made = Connection(
            id=next(self._connection_ids),
            contact_id=contact.id,
            purpose_id=purpose,
            created_at=self.now(),
            valid_from=begins,
            valid_to=ends,
            details={"source": SOURCE},
        )
        self.connections[made.id] = mine[made.id] = made
        return made

    def connections_of(self, contact: Contact) -> list[Connection]:
        """What is on record of a contact, the oldest first."""
        return list(self._connected.get(contact.id, {}).values())

    def revoke(self, number: int) -> bool:
        """Delete a record; False where there is none."""
        found = self.connections.pop(number, None)
        if found is not None:
            del self._connected[found.contact_id][number]
        return found is not None

    def mailed(self, contact: Contact, **what: Any) -> None:
        """Put a mail or SMS on record as sent, and tell web-hooks of it."""
        flags = dict.fromkeys(("opened", "clicked", "unsubscribed", "bounced"), False)
        who = {"contact_id": contact.id, "emailaddress": contact.emailaddress, "at": self.now()}
        self.mails.append({**what, **who, **flags})
        self.tell("sent_email", contact)

    def held_by(self, number: int) -> list[Contact]:
        """The contacts on a list, whatever their status."""
        return [each for each in self.contacts.values() if number in each.lists]

    def row_id(self, contact: Contact, number: int) -> int:
        """The id of what a contact holds in a custom field; all options of one have it in common, as in the samples."""
        return contact.custom_rows.setdefault(number, next(self._rows))


class Change:
    """One change of one contact, from before to after."""

    def __init__(self, account: Account, contact: Contact, *, is_new: bool) -> None:
        self._account = account
        self._contact = contact
        self._is_new = is_new
        self._before = b""
        self._statuses: dict[int, str] = {}

    def __enter__(self) -> None:
        if not self._is_new:
            self._before = msgspec.json.encode(self._contact)
            self._statuses = {number: each.status for number, each in self._contact.lists.items()}

    def __exit__(self, kind: object, why: object, trace: object) -> None:
        account, contact = self._account, self._contact
        if self._is_new or account.habits.unchanged_counts or self._before != msgspec.json.encode(contact):
            contact.updated = None if self._is_new else account.now()
            account.tell("new_contact" if self._is_new else "updated_contact", contact)
        if not self._is_new and self._now("unsubscribed"):
            account.tell("unsubscribed_contact", contact)
        for number in self._now("confirmed"):
            account.joined(contact, number)

    def _now(self, status: str) -> list[int]:
        """The lists on which the contact has this status since just now."""
        held = self._contact.lists.items()
        return [number for number, each in held if each.status == status != self._statuses.get(number)]


def _next(known: dict[int, Any]) -> int:
    return max(known, default=0) + 1
