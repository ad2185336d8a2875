"""What the twin of a Copernica account holds, and the rules that the vendor keeps. No HTTP in here.

Facts are of the REST v4 pages of the vendor's documentation; what is only inferred says so.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from .twin_fields import FIELD_TYPES, Condition, Field, RefusedError, as_text, local, named, written

MailEventType = Literal["click", "open", "delivery", "bounce", "failure"]
EventType = Literal["create", "update", "delete", "unsubscribe"] | MailEventType
T = TypeVar("T")


class Unsubscribing(Struct, kw_only=True):
    """What a database does when somebody unsubscribes: nothing, remove the profile, or write fields."""

    behavior: str = "nothing"
    fields: dict[str, str] = field(default_factory=dict)


class Table(Struct, kw_only=True):
    """A database, or a collection: then ``database`` is the number of the database that it belongs to."""

    id: int
    name: str
    description: str = ""
    database: int | None = None
    fields: list[Field] = field(default_factory=list)
    interests: list[str] = field(default_factory=list)
    """Names of interests that were made; those that profiles have are there too."""
    unsubscribing: Unsubscribing = field(default_factory=Unsubscribing)

    @property
    def kind(self) -> str:
        return "database" if self.database is None else "collection"


class Record(Struct, kw_only=True):
    """A profile, or a subprofile: then ``collection`` and ``profile`` say where it belongs. Times are Unix seconds."""

    id: int
    database: int
    collection: int | None = None
    profile: int | None = None
    fields: dict[str, str]
    interests: list[str] = field(default_factory=list)
    secret: str
    created: float
    modified: float
    removed: float | None = None
    forgotten: bool = False
    """Removed so that the vendor shows nothing of it; its id goes to nobody else."""

    @property
    def kind(self) -> str:
        return "profile" if self.collection is None else "subprofile"


class Event(Struct, frozen=True, kw_only=True):
    """Something happened to a profile or subprofile, of which webhooks and callbacks may tell."""

    type: EventType
    record: Record
    """The record right after it happened; of a deleted one, right before."""
    caller: str
    """Who did it: ms, publisher, rest, import and so on."""
    at: float
    parameters: dict[str, str] = field(default_factory=dict)
    """The values that the action was called with."""
    before: dict[str, str] = field(default_factory=dict)
    """The fields before it happened."""
    mailing: int | None = None
    message: int | None = None
    """The one mail that a click and the like are about; statistics call it ``destination``."""
    details: dict[str, Any] = field(default_factory=dict)
    """Of a click and the like: ``recipient``, ``tags``, and what belongs to its kind."""


class Unsubscribed(Struct, frozen=True, kw_only=True):
    """Somebody left by the link in a mail: a line of the statistics, whatever the database does upon it."""

    id: int
    profile: int
    mailing: int
    message: int
    caller: str
    at: float


class Template(Struct, kw_only=True):
    """A template (Marketing Suite), or a document (Publisher)."""

    id: int
    name: str
    subject: str = ""
    archived: bool = False


class Account:
    """One account. Each change is told to ``tell``. Removed records stay, without fields, and are never found."""

    def __init__(self, now: Callable[[], float], database: int, email_field: str) -> None:
        self.now = now
        self.tell: Callable[[Event], None] = lambda event: None
        self.id = 771
        self.email_field = email_field
        self.databases: dict[int, Table] = {}
        self.collections: dict[int, Table] = {}
        self.profiles: dict[int, Record] = {}
        self.subprofiles: dict[int, Record] = {}
        self.templates: dict[int, Template] = {}
        self.documents: dict[int, Template] = {}
        self.mails: list[dict[str, Any]] = []
        self.unsubscribes: list[Unsubscribed] = []
        self.blocked: set[str] = set()
        """Mail domains that the database keeps out: creating such a profile fails."""
        self.tidy: Callable[[str], str] = str
        """What becomes of every text that is written to a field of type text, as where a follow-up puts names right."""
        self.announces_unchanged = False
        """Whether an update that changes no value fires webhooks, too; the vendor does not say."""
        self._last_field = 20_990
        self._last_mailing = 900
        self._last_message = 70_000
        self._furnish(database)

    def _furnish(self, number: int) -> None:
        table = self.databases[number] = Table(id=number, name="Relations")
        self.add_field(table, self.email_field, "email")
        for name in ("Firstname", "Lastname", "City"):
            self.add_field(table, name)
        self.add_field(table, "Newsletter", "select", "yes\nno")
        self.add_field(table, "Points", "integer")
        self.add_field(table, "Score", "float")
        self.add_field(table, "Birthdate", "empty_date")

    # Databases, collections, fields.

    def database(self, key: str | int) -> Table:
        """A database by id or name."""
        return _found(self.databases, key, "No database with supplied ID")

    def collection(self, key: str | int, database: int | None = None) -> Table:
        """A collection by id or name, within one database if that is given."""
        tables = {each.id: each for each in self.collections.values() if database in {None, each.database}}
        return _found(tables, key, "No collection with given ID")

    def add_collection(self, database: int, name: str, description: str = "") -> Table:
        """Make a collection; refused where the name holds anything but letters and underscores, or is in use."""
        taken = {each.name.lower() for each in self.collections.values() if each.database == database}
        if not re.fullmatch(r"[A-Za-z_]+", name) or name.lower() in taken:
            raise RefusedError("Invalid data provided")
        table = Table(id=max(self.collections, default=87) + 1, name=name, description=description, database=database)
        self.collections[table.id] = table
        return table

    def add_field(self, table: Table, name: str, kind: str = "text", value: str = "", **more: Any) -> Field:
        """Make a field; refused where the name is in use, the type unknown, or a second e-mail field would come to be."""
        has_email = any(each.type == "email" for each in table.fields)
        if not name.strip() or named(table.fields, name) or kind not in FIELD_TYPES or (kind == "email" and has_email):
            raise RefusedError("Invalid data provided")
        self._last_field += 1
        made = Field(id=self._last_field, name=name, type=kind, value=value, **more)
        table.fields.append(made)
        for record in self.records(table):
            record.fields[made.name] = made.default()
        return made

    def remove_field(self, table: Table, name: str) -> None:
        """Delete a field with all that it holds."""
        gone = named(table.fields, name)
        if gone is None:
            raise RefusedError("No entity with supplied ID")
        table.fields.remove(gone)
        for record in self.records(table):
            del record.fields[gone.name]

    # Profiles and subprofiles.

    def profile(self, key: str | int) -> Record:
        """A profile by id, removed ones too."""
        return _found(self.profiles, key, "No entity with supplied ID")

    def subprofile(self, key: str | int) -> Record:
        """A subprofile by id, removed ones too."""
        return _found(self.subprofiles, key, "No subprofile with supplied ID")

    def table_of(self, record: Record) -> Table:
        """The database or collection that a record stands in."""
        return self.databases[record.database] if record.collection is None else self.collections[record.collection]

    def records(self, table: Table, profile: int | None = None) -> list[Record]:
        """The records of a table that are not removed, of one profile if that is given, by id."""
        if table.database is None:
            return [each for each in self.profiles.values() if each.database == table.id and each.removed is None]
        return [
            each
            for each in self.subprofiles.values()
            if each.collection == table.id and each.removed is None and profile in {None, each.profile}
        ]

    def matching(self, records: Iterable[Record], conditions: list[Condition]) -> list[Record]:
        """Those for which every condition holds; with no condition, all."""
        found = list(records)
        for one in conditions:
            if one.pseudo and one.field == "id" and (holds := one.of_number()) is not None:
                found = [each for each in found if holds(each.id)]  # pages go by id, through many records
            else:
                found = [each for each in found if one.holds(value_of(each, one.field, pseudo=one.pseudo))]
        return found

    def email_of(self, record: Record) -> str:
        """The address of a profile, or of the profile that a subprofile belongs to."""
        profile = record if record.profile is None else self.profiles[record.profile]
        return next(
            (
                profile.fields.get(each.name, "")
                for each in self.databases[record.database].fields
                if each.type == "email"
            ),
            "",
        )

    def interests(self, table: Table) -> list[str]:
        """The names of a database's interests."""
        return sorted({*table.interests, *(name for each in self.records(table) for name in each.interests)})

    def create(
        self,
        table: Table,
        values: dict[str, Any],
        *,
        caller: str,
        profile: int | None = None,
        interests: dict[str, bool] | None = None,
    ) -> Record:
        """A new record, even where another has the same values."""
        held = {each.name: each.default() for each in table.fields} | self._written(table, values)
        self._keep_out(table, held)
        now, kept = self.now(), self.profiles if table.database is None else self.subprofiles
        record = Record(
            id=next(reversed(kept), 50_410 if table.database is None else 609) + 1,
            database=table.id if table.database is None else table.database,
            collection=None if table.database is None else table.id,
            profile=profile,
            fields=held,
            interests=sorted(name for name, has in (interests or {}).items() if has),
            secret=secrets.token_hex(16),
            created=now,
            modified=now,
        )
        kept[record.id] = record
        self._tell("create", record, caller, parameters=_called_with(table, values))
        return record

    def _keep_out(self, table: Table, held: dict[str, str]) -> None:
        address = next((held[each.name] for each in table.fields if each.type == "email"), "")
        if table.database is None and address.rpartition("@")[2].lower() in self.blocked:
            raise RefusedError("Failed to create profile")

    def change(
        self, record: Record, values: dict[str, Any], *, caller: str, interests: dict[str, bool] | None = None
    ) -> None:
        """Write values, and add or take away interests. ``modified`` moves only where something changes."""
        if record.removed is not None:
            raise RefusedError("No entity with supplied ID")
        table, before, had = self.table_of(record), dict(record.fields), list(record.interests)
        record.fields.update(self._written(table, values))
        wanted = {**dict.fromkeys(had, True), **(interests or {})}
        record.interests = sorted(name for name, has in wanted.items() if has)
        changed = (record.fields, record.interests) != (before, had)
        if changed:
            record.modified = self.now()
        if changed or self.announces_unchanged:
            self._tell("update", record, caller, parameters=_called_with(table, values), before=before)

    def _written(self, table: Table, values: dict[str, Any]) -> dict[str, str]:
        texts = {each.name for each in table.fields if each.type == "text"}
        held = written(table.fields, values)
        return {name: self.tidy(text) if name in texts else text for name, text in held.items()}

    def remove(self, record: Record, *, caller: str, completely: bool = False) -> None:
        """Delete; a profile's subprofiles go with it, unannounced. ``completely``: not even the id stays (both inferred)."""
        if record.removed is not None:
            raise RefusedError(f"{record.kind.capitalize()} has already been removed")
        self._tell("delete", record, caller, before=dict(record.fields))
        below = [each for each in self.subprofiles.values() if each.profile == record.id and record.profile is None]
        for each in (record, *below):
            each.removed = each.removed or self.now()
            each.fields, each.interests = {}, []
            each.forgotten = completely

    def unsubscribe(self, record: Record, *, caller: str, mailing: int | None = None) -> None:
        """Run the database's behaviour on a profile, and tell of the unsubscribe before what follows from it.

        Statistics count those who clicked in a mail, and not who is unsubscribed through the API (inferred).
        """
        if record.removed is not None:
            raise RefusedError("No entity with supplied ID")
        mailing, message = self._mail_of(record, mailing)
        if caller != "rest":
            number = len(self.unsubscribes) + 1
            said = {"id": number, "profile": record.id, "mailing": mailing, "message": message}
            self.unsubscribes.append(Unsubscribed(**said, caller=caller, at=self.now()))
        self._tell("unsubscribe", record, caller, mailing=mailing)
        rule = self.databases[record.database].unsubscribing
        if rule.behavior == "remove":
            self.remove(record, caller=caller)
        elif rule.behavior == "update":
            self.change(record, rule.fields, caller=caller)

    def mail_event(
        self, kind: MailEventType, record: Record, *, caller: str, mailing: int | None = None, **details: Any
    ) -> None:
        """Something happens to a mail that a profile was sent: the last one, unless a mailing is given."""
        if record.removed is not None:
            raise RefusedError("No entity with supplied ID")
        mailing, message = self._mail_of(record, mailing)
        details = {"recipient": self.email_of(record), "tags": [], **details}
        self._tell(kind, record, caller, mailing=mailing, message=message, details=details)

    def _mail_of(self, record: Record, mailing: int | None) -> tuple[int, int]:
        """The mailing and the message that a person answers; numbers of their own where the twin sent none."""
        sent = [each for each in self.mails if each["profile"] == record.id and mailing in {None, each["mailing"]}]
        return (sent[-1]["mailing"], sent[-1]["destination"]) if sent else (mailing or 912, 69_000 + record.id % 1_000)

    def _tell(self, kind: EventType, record: Record, caller: str, **more: Any) -> None:
        seen = replace(record, fields=dict(record.fields), interests=list(record.interests))
        self.tell(Event(type=kind, record=seen, caller=caller, at=self.now(), **more))

    # Mail.

    def mail(self, kind: str, number: Any, target_type: str, target: Any, settings: dict[str, Any]) -> int:
        """Send template or document ``number`` to a profile, a subprofile, or all of a database or collection; its mailing's id.

        Who has no address gets none.
        """
        known = self.templates if kind == "template" else self.documents
        what = _found(known, as_text(number), "No entity with supplied ID")
        if what.archived:
            raise RefusedError("Invalid data provided")
        records = self._targets(target_type, as_text(target))
        self._last_mailing += 1
        for record in records:
            email = self.email_of(record)
            if "@" in email:
                self._last_message += 1
                sent = {"mailing": self._last_mailing, kind: what.id, "targettype": target_type, "target": record.id}
                sent["destination"] = self._last_message
                more = {"profile": record.profile or record.id, "email": email, "settings": settings, "at": self.now()}
                self.mails.append({**sent, **more})
        return self._last_mailing

    def _targets(self, target_type: str, key: str) -> list[Record]:
        match target_type:
            case "profile" | "subprofile":
                record = self.profile(key) if target_type == "profile" else self.subprofile(key)
                if record.removed is not None:
                    raise RefusedError("No entity with supplied ID")
                return [record]
            case "database":
                return self.records(self.database(key))
            case "collection":
                return self.records(self.collection(key))
            case _:
                raise RefusedError("Invalid data provided")


def value_of(record: Record, name: str, *, pseudo: bool) -> str:
    """What a filter or an order looks at: a field, or ``id``, ``code`` (the secret), ``modified``."""
    if not pseudo:
        return record.fields.get(name, "")
    return {"id": str(record.id), "code": record.secret, "modified": local(record.modified)}[name]


def _called_with(table: Table, values: dict[str, Any]) -> dict[str, str]:
    """Values as they were sent, before the vendor made of them what the field holds."""
    known = ((named(table.fields, name), value) for name, value in values.items())
    return {field.name: as_text(value) for field, value in known if field is not None}


def _found(known: dict[int, T], key: str | int, message: str) -> T:
    if str(key).isdecimal():
        found = known.get(int(key))
    else:
        found = next((each for each in known.values() if getattr(each, "name", None) == key), None)
    if found is None or getattr(found, "forgotten", False):
        raise RefusedError(message)
    return found
