"""What the account has that the hub writes to by number: custom fields with their options, lists, purposes, e-mails.

It is read when it is first needed, and again where something is missing or the vendor refuses a number, once a minute at most.
Numbers of connectors.yaml are looked up here before anything is sent: within an import a wrong one refuses everybody.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esplanade import PermanentError, TemporaryError

from .client import as_id
from .senders import sender
from .settings import BUILT_IN, Sender, SmartEmailingAudience, SmartEmailingConsent
from .values import READ_ONLY, CustomField

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esplanade import Clock, Context, State

    from .client import Account, Row

FRESH_S = 60.0
"""For so long what was read is not read again."""


class Layout:
    """The set-up of one account, as far as it is known."""

    def __init__(self) -> None:
        self._fields: dict[str, CustomField] = {}
        self._names: dict[str, dict[int, str]] = {}
        """Names by id, of each collection that was read."""
        self._senders: dict[int, Sender] = {}
        """Whom mails to a contact list are from."""
        self._read_at: dict[str, float] = {}
        self._doubted: set[str] = set()
        self._making = asyncio.Lock()
        self._not_made: dict[str, tuple[float, str]] = {}
        """Why a list could lately not be made, and when that was, by the audience's name."""

    def doubt(self) -> None:
        """The vendor refused something: what is known may be out of date."""
        self._doubted.update(self._read_at)

    # Custom fields.

    async def fields(self, names: Iterable[str], account: Account, clock: Clock) -> Mapping[str, CustomField]:
        """The custom fields by name, of those among ``names`` that the account has; a contact's own keys are none."""
        wanted = {name for name in names if name not in BUILT_IN and name not in READ_ONLY}
        if self._is_wanting("customfields", clock, is_missing=bool(wanted - self._fields.keys())):
            rows = await account.rows("customfields", expand="customfield_options")
            found = [custom_field(row) for row in rows]
            self._fields = {each.name: each for each in reversed(found)}  # of two that share a name the older one
            self._was_read("customfields", clock)
        return {name: self._fields[name] for name in wanted if name in self._fields}

    # Lists, purposes, e-mails.

    async def require(
        self, target: SmartEmailingConsent, where: str, account: Account, clock: Clock, *, state: State = "pending"
    ) -> None:
        """Raises PermanentError where the account has not what a consent names and this state needs: an opt-out only the list."""
        numbers: list[tuple[str, int | None, str]] = [("contactlists", target.list, "contact list")]
        if state != "denied":
            numbers.append(("purposes", target.purpose, "processing purpose"))
        asking = target.double_opt_in if state == "pending" else None
        numbers.append(("confirmation-emails", asking.email_id if asking else None, "e-mail with {{confirmlink}}"))
        for collection, number, what in numbers:
            if number is not None and not await self._has(collection, number, account, clock):
                raise PermanentError(
                    f"{where}: SmartEmailing has no {what} {number}; correct its id in connectors.yaml"
                )

    async def list_of(
        self, name: str, target: SmartEmailingAudience, account: Account, ctx: Context, *, makes: bool
    ) -> int | None:
        """The list of an audience: the one it names, or that of its name, made where there is none and ``makes`` says so."""
        clock = ctx.clock
        if target.list is not None:
            if not await self._has("contactlists", target.list, account, clock):
                raise PermanentError(
                    f"audiences.{name}: SmartEmailing has no contact list {target.list}; correct its id in connectors.yaml"
                )
            return _apart(name, target.list, ctx)
        found = self._named(name)
        if self._is_wanting("contactlists", clock, is_missing=found is None):
            await self._load("contactlists", account, clock)
            found = self._named(name)
        if found is None and makes:
            found = await self._made_once(name, account, ctx)
        return None if found is None else _apart(name, found, ctx)

    async def _made_once(self, name: str, account: Account, ctx: Context) -> int:
        """Make a list, unless somebody else makes it just now. Raises PermanentError, for a while without asking again."""
        async with self._making:
            found = self._named(name)
            if found is not None:
                return found
            failed_at, why = self._not_made.get(name, (0.0, ""))
            if why and ctx.clock.monotonic() - failed_at < FRESH_S:
                raise PermanentError(why)
            try:
                await self._load("contactlists", account, ctx.clock)
                return self._named(name) or await self._make(name, account, ctx)
            except PermanentError as problem:
                self._not_made[name] = (ctx.clock.monotonic(), str(problem))
                raise

    def known_list(self, name: str, target: SmartEmailingAudience) -> int | None:
        """The list of an audience, as far as that is known without asking."""
        return target.list if target.list is not None else self._named(name)

    async def know_lists(self, account: Account, clock: Clock) -> None:
        """Read the names of the lists, where they are not known or in doubt."""
        if "contactlists" not in self._names or self._is_wanting("contactlists", clock, is_missing=False):
            await self._load("contactlists", account, clock)

    def _named(self, name: str) -> int | None:
        lists = self._names.get("contactlists", {})
        return next((number for number, each in sorted(lists.items()) if each == name), None)

    async def _make(self, name: str, account: Account, ctx: Context) -> int:
        try:
            of = await sender(account, self, ctx)
        except PermanentError as why:
            raise PermanentError(
                f"audiences.{name}: SmartEmailing has no contact list of that name, and to make one {why}; "
                f"or name the list's id as audiences.{name}.list"
            ) from None
        body = {"name": name, "sendername": of.sender_name, "senderemail": of.from_address, "replyto": of.reply_to}
        said = (await account.ask("POST", "contactlists", body=body)).get("data")
        number = as_id(said) if isinstance(said, dict) else None
        if number is None:
            raise TemporaryError("SmartEmailing made a contact list without saying its id")
        self._names.setdefault("contactlists", {})[int(number)] = name
        return int(number)

    async def sender_of(self, number: int, account: Account, clock: Clock) -> Sender | None:
        """Whom mails to a contact list are from; None where the account has no such list, or the list no such thing."""
        await self._has("contactlists", number, account, clock)
        return self._senders.get(number)

    async def _has(self, collection: str, number: int, account: Account, clock: Clock) -> bool:
        is_missing = number not in self._names.get(collection, {})
        if self._is_wanting(collection, clock, is_missing=is_missing):
            await self._load(collection, account, clock)
        return number in self._names.get(collection, {})

    async def _load(self, collection: str, account: Account, clock: Clock) -> None:
        rows = await account.rows(collection)
        self._names[collection] = {int(as_id(row) or 0): str(row.get("name", "")) for row in rows}
        if collection == "contactlists":
            self._senders = {int(as_id(row) or 0): of for row in rows if (of := _sender(row)) is not None}
        self._was_read(collection, clock)

    def _was_read(self, collection: str, clock: Clock) -> None:
        self._read_at[collection] = clock.monotonic()
        self._doubted.discard(collection)

    def _is_wanting(self, collection: str, clock: Clock, *, is_missing: bool) -> bool:
        """Whether a collection is to be read again."""
        read_at = self._read_at.get(collection)
        is_stale = read_at is None or clock.monotonic() - read_at >= FRESH_S
        return is_stale and (is_missing or collection in self._doubted)


def _apart(name: str, number: int, ctx: Context) -> int:
    """The list of an audience. Raises PermanentError for that of a purpose: to be in the audience would be to be subscribed."""
    for purpose, target in ctx.consents.items():
        if isinstance(target, SmartEmailingConsent) and target.list == number:
            raise PermanentError(
                f"audiences.{name}: contact list {number} is that of consents.{purpose}, so whoever is in the audience would be "
                "subscribed without their consent; give the audience a list of its own"
            )
    return number


def _sender(row: Row) -> Sender | None:
    address, name, reply_to = (row.get(key) for key in ("senderemail", "sendername", "replyto"))
    if not (isinstance(address, str) and isinstance(name, str)):
        return None
    try:
        return Sender(
            from_address=address, sender_name=name, reply_to=reply_to if isinstance(reply_to, str) else address
        )
    except ValueError:
        return None


def custom_field(row: Row) -> CustomField:
    """A custom field as the vendor lists it. Raises TemporaryError for a row that is none."""
    number, options = as_id(row), row.get("customfield_options")
    if number is None or not isinstance(row.get("name"), str):
        raise TemporaryError("SmartEmailing answered its custom fields with one that has no id or no name")
    listed = [each for each in options if isinstance(each, dict)] if isinstance(options, list) else []
    named = {str(each.get("name", "")): int(key) for each in sorted(listed, key=_order) if (key := as_id(each))}
    return CustomField(id=int(number), name=row["name"], type=str(row.get("type", "text")), options=named)


def _order(option: Row) -> tuple[int, int]:
    order = option.get("order")
    return (order if isinstance(order, int) else 0, int(as_id(option) or 0))
