"""``POST import``: many contacts at once, with double opt-in (sections 5 and 6). No HTTP in here.

Everything is looked at before anything is written: one value that is not valid refuses the whole request with 422. Only bad
addresses can be skipped, and are then silently missing from ``contacts_map``; there is no other error per row.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

from .settings import BUILT_IN, MAX_BATCH
from .twin_records import DAY_S, Contact, Question
from .twin_values import COMPOSITE, RefusedError, address_of, built_in, composite, derived, instant, is_address, read_as
from .twin_values import simple as simple_value

if TYPE_CHECKING:
    from .twin_account import Account

_UNITS = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": DAY_S, "weeks": 7 * DAY_S}
_UNITS |= {"months": 30 * DAY_S, "years": 365 * DAY_S}


class SilencePeriod(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No second confirmation mail within this time; a day where it is absent (section 6)."""

    unit: Literal["seconds", "minutes", "hours", "days", "weeks", "months", "years"] = "days"
    value: int = 1

    @property
    def seconds(self) -> float:
        """How long it is; months have 30 days."""
        return self.value * _UNITS[self.unit]


class SenderCredentials(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Whom a mail says it is from."""

    from_: str
    sender_name: str
    reply_to: str

    def checked(self) -> SenderCredentials:
        """These credentials, or 422 where an address is none."""
        address_of(self.from_)
        address_of(self.reply_to)
        return self


class Replace(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text for ``{{replace_KEY}}``."""

    key: str
    content: str


class Campaign(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The confirmation mail."""

    email_id: int
    sender_credentials: SenderCredentials
    confirmation_thank_you_page_url: str | None = None
    valid_to: str | None = None
    replace: list[Replace] = field(default_factory=list)


class DoubleOptIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How contacts are asked to confirm; ``send_to_mode`` is required, as by the clients' constructors (inferred)."""

    campaign: Campaign
    send_to_mode: Literal["all", "new-in-database"]
    silence_period: SilencePeriod = SilencePeriod()


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of an import with the vendor's defaults (section 5)."""

    update: bool = True
    add_namedays: bool = True
    add_genders: bool = True
    add_salutions: bool = True
    preserve_unsubscribed: bool = True
    skip_invalid_emails: bool = False
    double_opt_in_settings: DoubleOptIn | None = None


class OnList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A status on a list."""

    id: int
    status: Literal["confirmed", "unsubscribed", "removed"]


class InField(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value of a simple custom field, or options of a composite one."""

    id: int
    value: Any = UNSET
    options: Any = UNSET


class ForPurpose(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A lawful basis to be put on record."""

    id: int
    valid_from: str | None = None
    valid_to: str | None = None


class Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request. ``settings`` must be there, if only as ``{}``: one client marks it as required (inferred)."""

    settings: Settings
    data: list[dict[str, Any]]


class Rest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A contact's keys beside its own texts. ``tags`` is sent by some and is none of them."""

    emailaddress: str
    blacklisted: Literal[0, 1] | UnsetType = UNSET
    contactlists: list[OnList] = field(default_factory=list)
    customfields: list[InField] = field(default_factory=list)
    purposes: list[ForPurpose] = field(default_factory=list)


class Row(Struct, frozen=True, kw_only=True):
    """A contact of the request, once all of it is found to be valid."""

    email: str
    values: dict[str, str | None]
    custom: dict[int, str | list[int] | None]
    lists: list[OnList]
    purposes: list[tuple[int, float | None, float | None]]
    blacklisted: int | None


class Importer:
    """Imports into one account."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def run(self, body: Any) -> dict[str, Any]:
        """Import; returns ``contacts_map`` and ``double_opt_in_map``, of which the former is never in the request's order."""
        request = read_as(Body, body)
        if not 1 <= len(request.data) <= MAX_BATCH:
            raise RefusedError(f"Number of contacts must be between 1 and {MAX_BATCH}.")
        settings, asking = request.settings, request.settings.double_opt_in_settings
        if asking is not None:
            self._check_campaign(asking.campaign)
        rows = [self._read(each) for each in request.data if self._is_wanted(each, settings)]
        written: dict[int, str] = {}
        asked: list[dict[str, str]] = []
        for row in rows:
            known = self.account.find(row.email)
            if asking is None or not self._waits(asking, known):
                known = self.write(row, settings)
            else:
                known = self._ask(row, settings, asking, known, asked)
            if known is not None:
                written[known.id] = known.emailaddress
        contacts = [{"emailaddress": email, "contact_id": number} for number, email in written.items()]
        told = asked if self.account.habits.tells_requests else []
        return {"contacts_map": contacts[1::2] + contacts[::2], "double_opt_in_map": told}

    # Reading.

    def _is_wanted(self, raw: dict[str, Any], settings: Settings) -> bool:
        email = raw.get("emailaddress")
        if isinstance(email, str) and settings.skip_invalid_emails and not is_address(email):
            return False
        if not isinstance(email, str):
            raise RefusedError("Emailaddress is required.")
        address_of(email)
        return True

    def _read(self, raw: dict[str, Any]) -> Row:
        values = {key: self._cut(built_in(key, raw[key])) for key in BUILT_IN if key in raw}
        rest = read_as(Rest, {key: value for key, value in raw.items() if key not in BUILT_IN})
        for each in rest.contactlists:
            self.account.list_of(each.id, 422)
        return Row(
            email=rest.emailaddress,
            values=values,
            custom={each.id: self._custom(each) for each in rest.customfields},
            lists=rest.contactlists,
            purposes=[self._purpose(each) for each in rest.purposes],
            blacklisted=None if isinstance(rest.blacklisted, UnsetType) else rest.blacklisted,
        )

    def _cut(self, text: str | None) -> str | None:
        return None if text is None else text[: self.account.habits.text_length]

    def _custom(self, said: InField) -> str | list[int] | None:
        owner = self.account.field_of(said.id, 422)
        key, other = ("options", said.value) if owner.type in COMPOSITE else ("value", said.options)
        held = getattr(said, key)
        if held is UNSET or other is not UNSET:
            raise RefusedError(f"Customfield {owner.id} of type {owner.type} takes {key}.")
        if key == "options":
            return composite(owner.type, owner.id, held, [each.id for each in self.account.options_of(owner.id)])
        if held is None and self.account.habits.cleared_by != "empty":
            return None
        return simple_value(owner.type, owner.id, held)

    def _purpose(self, said: ForPurpose) -> tuple[int, float | None, float | None]:
        if said.id not in self.account.purposes:
            raise RefusedError(f"Purpose {said.id} does not exist.")
        begins, ends = (
            None if text is None else instant(text, key, self.account.zone)
            for key, text in (("valid_from", said.valid_from), ("valid_to", said.valid_to))
        )
        if ends is not None and ends < (self.account.now() if begins is None else begins):
            raise RefusedError(f"Purpose {said.id} ends before it begins.")
        return said.id, begins, ends

    def _check_campaign(self, campaign: Campaign) -> None:
        if not self.account.email_of(campaign.email_id).asks_to_confirm:
            raise RefusedError(f"E-mail {campaign.email_id} does not contain {{{{confirmlink}}}}.")
        campaign.sender_credentials.checked()
        if campaign.valid_to is not None:
            instant(campaign.valid_to, "valid_to", self.account.zone)

    # Double opt-in.

    def _waits(self, asking: DoubleOptIn, known: Contact | None) -> bool:
        return asking.send_to_mode == "all" or known is None or not self.account.habits.takes_known

    def _ask(
        self, row: Row, settings: Settings, asking: DoubleOptIn, known: Contact | None, asked: list[dict[str, str]]
    ) -> Contact | None:
        """Send the confirmation mail, and keep the row until the click; within the silence period neither happens."""
        account, now = self.account, self.account.now()
        if known is not None and known.blacklisted and settings.preserve_unsubscribed:
            return known
        since = now - asking.silence_period.seconds
        if any(email.lower() == row.email.lower() and at > since for email, at in account.asked):
            return known
        if known is None and account.habits.creates_unconfirmed:
            known = account.create(row.email)
            known.is_confirmed = 0
        ends = asking.campaign.valid_to
        question = Question(
            id=secrets.token_hex(16),
            email=row.email,
            email_id=asking.campaign.email_id,
            row=row,
            settings=settings,
            at=now,
            valid_to=None if ends is None else instant(ends, "valid_to", account.zone),
        )
        account.questions[question.id] = question
        account.asked.append((row.email, now))
        asked.append({"emailaddress": row.email, "id": question.id})
        return known

    def confirm(self, number: str) -> Contact:
        """The click: what was imported is stored now. It is the person's own word, so it lifts an opt-out from the lists in it
        (inferred), and the blacklist where the import forced its mail by ``preserve_unsubscribed: false``. 404 where nothing
        waits, or no longer."""
        question = self.account.questions.pop(number, None)
        if question is None or (question.valid_to is not None and question.valid_to <= self.account.now()):
            raise RefusedError(f"Double opt-in request {number} does not exist.", 404)
        row, settings = question.row, question.settings
        known = self.account.find(question.email)
        if known is not None:
            known.is_confirmed = 1
            if not settings.preserve_unsubscribed:
                known.blacklisted = 0
        return self.write(row, settings, preserve=False)

    # Writing.

    def write(self, row: Row, settings: Settings, *, preserve: bool | None = None) -> Contact:
        """Store a row."""
        account, contact = self.account, self.account.find(row.email)
        is_new = contact is None
        contact = account.create(row.email) if contact is None else contact
        preserve = settings.preserve_unsubscribed if preserve is None else preserve
        with account.changing(contact, is_new=is_new):
            if is_new or settings.update:
                self._write_values(contact, row, settings)
                if row.blacklisted == 0 and not preserve:
                    contact.blacklisted = 0  # that this lifts it is inferred (section 6)
            for each in row.lists:
                account.subscribe(contact, each.id, each.status, preserve=preserve)
            if row.blacklisted == 1 and (is_new or settings.update):
                account.blacklist(contact)
        return contact

    def _write_values(self, contact: Contact, row: Row, settings: Settings) -> None:
        clears, values = self.account.habits.clears, dict(row.values)
        if values.get("name"):
            wanted = {
                "nameday": settings.add_namedays,
                "gender": settings.add_genders,
                "salution": settings.add_salutions,
            }
            values |= derived(str(values["name"]), wanted)
        for key, value in values.items():
            if clears(value) or (key == "gender" and value is None):  # null is one of its values (section 5)
                contact.values.pop(key, None)
            elif value is not None:
                contact.values[key] = value
        for number, held in row.custom.items():
            if held == [] or (not isinstance(held, list) and clears(held)):
                contact.custom.pop(number, None)
            elif held is not None:
                contact.custom[number] = held
        for purpose, begins, ends in row.purposes:
            self.account.connect(contact, purpose, begins, ends)
