"""What the twin of a Webpower campaign holds, and the rules that the vendor keeps. No HTTP in here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from esplanade import as_text

from .mapping import MAX_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPT_IN, UNSUBSCRIBED, BOUNCED, COMPLAINED = 60, 61, 62, 63
SYSTEM_GROUPS = {OPT_IN: "Opt-in", UNSUBSCRIBED: "Unsubscribed", BOUNCED: "Bounced", COMPLAINED: "Spam complaints"}

FIELDS = ("firstname", "lastname", "city")
REWARDS = ("RH_SUBID", "RH_CODE", "RH_REFLINK", "RH_ISREF", "RH_TOTREF", "RH_COUPON", "RH_LASTREWARD")


class RefusedError(Exception):
    """The vendor's no: a status and the words of its body."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(message)


class Contact(Struct, kw_only=True):
    """A contact as the campaign keeps it; custom fields that were never set are empty."""

    id: int
    email: str
    mobile_nr: str | None = None
    lang: str | None = None
    custom: dict[str, str | int] = field(default_factory=dict)
    groups: set[int] = field(default_factory=set)


class Field(Struct, kw_only=True):
    """A database field."""

    id: int
    name: str
    type: str = "varchar"
    length: int = 255
    required: bool = False
    default: str = ""
    options: list[str] = field(default_factory=list)
    description: list[dict[str, str]] = field(default_factory=list)


class Group(Struct, kw_only=True):
    """A contact group."""

    id: int
    name: str
    is_test: bool = False
    is_active: bool = True
    is_system: bool = False
    remarks: str = ""


class Mailing(Struct, kw_only=True):
    """A mailing, which only can be sent once it is published."""

    id: int
    name: str
    lang: str = "nl"
    subject: str = ""
    published: bool = True
    optin_confirm_candidate: bool = False


class Account:
    """One campaign of one licence."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.languages = {"nl", "en", "de", "fr", "cs", "es"}
        self.contacts: dict[int, Contact] = {}
        self.by_email: dict[str, int] = {}
        self.fields: dict[str, Field] = {}
        self.groups: dict[int, Group] = {}
        self.mailings: dict[int, Mailing] = {}
        self.double: set[int] = set()
        """Groups that a confirmed contact is put into."""
        self.pending: list[dict[str, Any]] = []
        self.asked: list[str] = []
        """Addresses to which the confirmation mail was sent, in order."""
        self.mails: list[dict[str, Any]] = []
        self.credits: int | None = None
        """Sends left; None for as many as are asked for."""
        self.put_replaces = False
        """Whether an update empties the fields that it does not name; the vendor does not say."""
        self._last_id = 9000
        self._furnish()

    def _furnish(self) -> None:
        for number, name in SYSTEM_GROUPS.items():
            self.groups[number] = Group(id=number, name=name, is_system=True)
        for number, name in ((135, "Newsletter"), (136, "Service messages"), (140, "VIP")):
            self.groups[number] = Group(id=number, name=name)
        self.double.add(135)
        for number, name, published in (
            (318, "Abandoned cart", True),
            (319, "Order shipped", True),
            (320, "Draft", False),
        ):
            self.mailings[number] = Mailing(id=number, name=name, subject=name, published=published)
        self.mailings[321] = Mailing(id=321, name="subscribe_confirm", subject="Confirm", optin_confirm_candidate=True)
        for name in (*FIELDS, *REWARDS):
            self.add_field(name)
        self.add_field("birthdate", kind="date", length=10)

    # Fields, groups, mailings.

    def add_field(self, name: str, kind: str = "varchar", length: int = 255, *, required: bool = False) -> Field:
        """Make a custom field unless it is there."""
        if name not in self.fields:
            number = max((each.id for each in self.fields.values()), default=499) + 1
            self.fields[name] = Field(id=number, name=name, type=kind, length=length, required=required)
        return self.fields[name]

    def add_group(self, name: str, number: int | None = None) -> Group:
        """Make a group; two may have the same name, as far as is known."""
        if len(name) > 80 or not name.strip():
            raise RefusedError(422, "name: 1 to 80 characters")
        number = number or max(200, *self.groups) + 1
        self.groups[number] = Group(id=number, name=name)
        return self.groups[number]

    def add_mailing(self, number: int, name: str, *, published: bool = True) -> Mailing:
        """Make a mailing unless it is there."""
        return self.mailings.setdefault(number, Mailing(id=number, name=name, subject=name, published=published))

    # Contacts.

    def contact(self, number: int) -> Contact:
        """A contact by id; 404 when there is none."""
        if number not in self.contacts:
            raise RefusedError(404, "Contact not found")
        return self.contacts[number]

    def find(self, email: str) -> Contact | None:
        """A contact by address, without regard to case."""
        number = self.by_email.get(email.lower())
        return None if number is None else self.contacts[number]

    def matching(self, pattern: dict[str, str]) -> Iterator[Contact]:
        """Contacts whose fields match, with ``*`` and ``?`` as wildcards, by id."""
        email = pattern.get("email")
        if email is not None and len(pattern) == 1 and not re.search(r"[*?]", email):
            found = self.find(email)
            yield from [found] if found else []
            return
        rules = {key: _wildcard(value) for key, value in pattern.items()}
        for contact in sorted(self.contacts.values(), key=lambda each: each.id):
            if all(rule.fullmatch(as_text(_value(contact, key))) for key, rule in rules.items()):
                yield contact

    def row(self, contact: Contact) -> dict[str, Any]:
        """A contact as the vendor shows it, with every field of the campaign."""
        custom = [{"field": name, "value": contact.custom.get(name, "")} for name in self.fields]
        return {
            "id": contact.id,
            "email": contact.email,
            "mobile_nr": contact.mobile_nr,
            "lang": contact.lang,
            "custom": custom,
        }

    def create(self, body: dict[str, Any]) -> Contact:
        """A new contact; 409 when the address has one. ``groups`` in the body have no effect."""
        email = _address(body)
        if self.find(email):
            raise RefusedError(409, f"A contact with address {email} already exists")
        contact = Contact(id=self._last_id + 1, email=email)
        self._write(contact, body)
        self._last_id += 1
        self.contacts[contact.id] = contact
        self.by_email[email.lower()] = contact.id
        return contact

    def update(self, contact: Contact, body: dict[str, Any]) -> None:
        """Write to a contact; 409 when its new address is another one's."""
        email = _address(body) if "email" in body else contact.email
        other = self.find(email)
        if other is not None and other.id != contact.id:
            raise RefusedError(409, f"A contact with address {email} already exists")
        if self.put_replaces:
            body = {"mobile_nr": None, "lang": None, **body}
        self._write(contact, body)
        del self.by_email[contact.email.lower()]
        contact.email = email
        self.by_email[email.lower()] = contact.id

    def remove(self, contact: Contact) -> None:
        """Delete a contact."""
        del self.contacts[contact.id]
        del self.by_email[contact.email.lower()]

    def _write(self, contact: Contact, body: dict[str, Any]) -> None:
        unknown = set(body) - {"id", "email", "mobile_nr", "lang", "custom", "groups"}
        if unknown:
            raise RefusedError(422, f"unknown keys: {', '.join(sorted(unknown))}")
        lang, mobile = body.get("lang", contact.lang), body.get("mobile_nr", contact.mobile_nr)
        if lang is not None and lang not in self.languages:
            raise RefusedError(422, f"lang: {lang} is not a language of the campaign")
        if mobile is not None and not isinstance(mobile, str):
            raise RefusedError(422, "mobile_nr: expected a string or null")
        custom = {} if self.put_replaces else dict(contact.custom)
        entries = body.get("custom", [])
        if not isinstance(entries, list):
            raise RefusedError(422, "custom: expected an array of {field, value}")
        for entry in entries:
            name, value = self._entry(entry)
            if name in self.fields:  # others are silently ignored
                custom[name] = value
        for each in self.fields.values():
            if each.required and custom.get(each.name, each.default) == "":
                raise RefusedError(422, f"{each.name}: is required")
        contact.lang, contact.mobile_nr, contact.custom = lang, mobile or None, custom

    def _entry(self, entry: Any) -> tuple[str, str | int]:
        if not isinstance(entry, dict) or set(entry) != {"field", "value"} or not isinstance(entry["field"], str):
            raise RefusedError(422, "custom: expected an array of {field, value}")
        value = entry["value"]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise RefusedError(422, f"{entry['field']}: expected a string or number")
        return entry["field"], self._converted(entry["field"], as_text(value))

    def _converted(self, name: str, text: str) -> str | int:
        known = self.fields.get(name)
        if known is None or text == "":
            return text
        if known.type == "integer":
            if not re.fullmatch(r"-?\d+", text):
                raise RefusedError(422, f"{name}: {text} is not a number")
            return int(text)
        if known.type == "date" and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise RefusedError(422, f"{name}: {text} is not a date")
        return text[: min(known.length, MAX_VALUE)]

    # Groups of contacts, opt-in, opt-out.

    def join(self, contact: Contact, groups: list[int]) -> None:
        """Add to groups, all or none. Only the opt-in group of the system's own may be written to."""
        for number in groups:
            if number not in self.groups:
                raise RefusedError(404, f"Group {number} not found")
            if self.groups[number].is_system and number != OPT_IN:
                raise RefusedError(403, f"Group {number} belongs to the system")
        if set(groups) == {OPT_IN} and not contact.groups:
            self.ask(contact, [])
            return
        contact.groups |= set(groups)

    def leave(self, contact: Contact, group: int) -> None:
        """Take out of a group; 404 when the contact is not in it."""
        if group not in contact.groups:
            raise RefusedError(404, "Contact is not in this group")
        contact.groups.discard(group)

    def ask(self, contact: Contact, groups: list[int]) -> None:
        """Send the confirmation mail (``subscribe_confirm``) and wait for the click."""
        self.asked.append(contact.email)
        self.pending = [each for each in self.pending if each["contact"] != contact.id]
        self.pending.append({"contact": contact.id, "email": contact.email, "groups": groups, "at": self.now()})

    def confirm(self, email: str) -> bool:
        """The person clicks in the confirmation mail; False when there is none."""
        asked = next((each for each in self.pending if each["email"].lower() == email.lower()), None)
        if asked is None or asked["contact"] not in self.contacts:
            return False
        self.pending.remove(asked)
        contact = self.contacts[asked["contact"]]
        contact.groups -= {UNSUBSCRIBED}
        contact.groups |= set(asked["groups"]) or self.double or {OPT_IN}
        return True

    def unsubscribe(self, contact: Contact, groups: set[int] | None = None) -> None:
        """The person, or a call, opts out: out of ``groups`` (all of the account's own), into the system's."""
        own = {number for number, group in self.groups.items() if not group.is_system}
        contact.groups = (contact.groups - (groups if groups is not None else own)) | {UNSUBSCRIBED}

    # Sends.

    def mail(self, mailing: int, contact: Contact, extra: Any) -> None:
        """Send one mail; 404 for an unknown mailing, 422 for one that is not published or without credits."""
        data: dict[str, str] = {}
        if not isinstance(extra, list):
            raise RefusedError(422, "extraContactData: expected an array")
        for entry in extra:
            if not isinstance(entry, dict) or set(entry) != {"field", "value"} or not isinstance(entry["value"], str):
                raise RefusedError(422, "extraContactData: expected {field, value} with text")
            if not str(entry["field"]).startswith("DMD_"):
                raise RefusedError(422, f"extraContactData: {entry['field']} must start with DMD_")
            if len(entry["value"]) > MAX_VALUE:
                raise RefusedError(422, f"extraContactData: {entry['field']} is too long")
            data[entry["field"]] = entry["value"]
        if mailing not in self.mailings:
            raise RefusedError(404, "Mailing not found")
        if not self.mailings[mailing].published:
            raise RefusedError(422, f"Mailing {mailing} is not published")
        if self.credits is not None:
            if self.credits <= 0:
                raise RefusedError(422, "Not enough credits to send this mailing")
            self.credits -= 1
        self.mails.append(
            {
                "mailing": mailing,
                "contact": contact.id,
                "email": contact.email,
                "extraContactData": data,
                "at": self.now(),
            }
        )


def _address(body: dict[str, Any]) -> str:
    email = body.get("email")
    if not isinstance(email, str) or not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email.strip()) or len(email) > 254:
        raise RefusedError(422, "email: is not a valid address")
    return email.strip()


def _value(contact: Contact, key: str) -> object:
    if key in {"email", "mobile_nr", "lang"}:
        return getattr(contact, key)
    return contact.custom.get(key)


def _wildcard(pattern: str) -> re.Pattern[str]:
    escaped = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(escaped, re.IGNORECASE | re.DOTALL)
