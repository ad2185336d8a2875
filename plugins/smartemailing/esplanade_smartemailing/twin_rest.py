"""The calls of the twin about the account and its contacts: sections 2, 3, 5 and 6 of the fact sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from .settings import API
from .twin_answers import (
    CONNECTIONS,
    CONTACTS,
    VALUES,
    Columns,
    chosen,
    connection_row,
    contact_row,
    created,
    custom_rows,
    deleted,
    ok,
    page,
)
from .twin_import import Importer
from .twin_values import RefusedError, address_of, instant, read_as

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .twin_account import Account
    from .twin_gate import Gate, Route
    from .twin_records import Contact

IN_LISTS = Columns(select=CONTACTS.select, sort=CONTACTS.sort, expand=CONTACTS.expand, more=("listIds", "status"))
IN_LIST = Columns(select=CONTACTS.select, sort=CONTACTS.sort, expand=CONTACTS.expand)


class NewAddress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """The body of ``change-emailaddress``."""

    from_: str
    to: str


class Clicked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``double-opt-in-confirmation``."""

    id: str


class RestApi:
    """The vendor's calls about contacts, on one account."""

    def __init__(self, account: Account, gate: Gate, importer: Importer) -> None:
        self.account = account
        self.gate = gate
        self.importer = importer

    def open_route(self) -> web.RouteDef:
        """``GET ping``, which asks for no credentials (section 2)."""
        return web.get(f"{API}/ping", self.gate.open(self._ping))

    def calls(self) -> Sequence[Route]:
        of_list = r"contactlists/{id:\d+}/contacts"
        return [
            ("GET", "check-credentials", self._check),
            ("POST", "check-credentials", self._check),
            ("GET", "account-info", self._info),
            ("POST", "import", self._import),
            ("GET", "contacts", self._contacts),
            ("GET", "contacts/in-lists", self._in_lists),
            ("GET", "contacts/{key}", self._contact),
            ("DELETE", r"contacts/forget/{id:\d+}", self._forget),
            ("GET", of_list, self._of_list),
            ("GET", of_list + "/{status:confirmed|unsubscribed}", self._of_list),
            ("GET", "contact-customfields", self._values),
            ("POST", "change-emailaddress", self._rename),
            ("POST", "double-opt-in-confirmation", self._confirm),
            ("GET", "purpose-connections", self._connections),
            ("DELETE", r"purpose-connections/{id:\d+}", self._revoke),
        ]

    # The account.

    async def _ping(self, request: web.Request) -> web.Response:
        return ok(message="Hi there! API version 3 here!")

    async def _check(self, request: web.Request) -> web.Response:
        return ok(message="Hi there! Your credentials are valid!", account_id=self.account.id)

    async def _info(self, request: web.Request) -> web.Response:
        who = {"firstname": "Ada", "surname": "Byron", "company": "Shop", "phone": "+420777888999"}
        account = {"account_id": self.account.id, "guid": "7e3a-acc0", "username": self.gate.username}
        return ok({**account, **who})

    # Contacts.

    async def _import(self, request: web.Request) -> web.Response:
        return created(**self.importer.run(await self.gate.body(request)))

    async def _contacts(self, request: web.Request) -> web.Response:
        """Filtered by address or id it needs no search, for that is how one contact is read most safely (section 5)."""
        habits, columns = self.gate.habits, CONTACTS
        found: list[Contact] = list(self.account.contacts.values())
        if "emailaddress" in request.query:
            one = self.account.find(request.query["emailaddress"])
            found = [] if one is None else [one]
        elif request.query.get("id", "").isdecimal():
            number = int(request.query["id"])
            found = [self.account.contacts[number]] if number in self.account.contacts else []
        if habits.since_parameter is not None:
            columns = replace(CONTACTS, more=(habits.since_parameter,))
            text = request.query.get(habits.since_parameter)
            since = 0.0 if text is None else instant(text, habits.since_parameter, self.account.zone)
            found = [each for each in found if (each.updated or each.created) >= since]
        return self._page(request, columns, found)

    async def _in_lists(self, request: web.Request) -> web.Response:
        """Contacts on any of ``listIds``, or on any list at all; of one ``status``, or of both."""
        status = request.query.get("status")
        if status not in {None, "confirmed", "unsubscribed"}:
            raise RefusedError("Status must be confirmed or unsubscribed.")
        said = [each for each in request.query.get("listIds", "").split(",") if each]
        if not all(each.isdecimal() for each in said):
            raise RefusedError("Parameter listIds must be a list of ids.")
        lists = {self.account.list_of(int(each), 422).id for each in said} or set(self.account.lists)
        found = [
            each
            for each in self.account.contacts.values()
            if any(number in lists and status in {None, held.status} for number, held in each.lists.items())
        ]
        return self._page(request, IN_LISTS, found)

    async def _of_list(self, request: web.Request) -> web.Response:
        """The contacts of a list. Unsubscribed ones include the blacklisted, and not those who bounced for good and are still
        confirmed (section 5)."""
        number, status = self.account.list_of(int(request.match_info["id"])).id, request.match_info.get("status")
        found = [each for each in self.account.held_by(number) if status in {None, _standing(each, number)}]
        return self._page(request, IN_LIST, found)

    def _page(self, request: web.Request, columns: Columns, found: list[Contact]) -> web.Response:
        return page(request, self.gate.habits, columns, found, lambda each: self._row(request, each))

    def _row(self, request: web.Request, contact: Contact) -> dict[str, Any]:
        expanded = "customfields" in request.query.get("expand", "").split(",")
        return contact_row(self.account, contact, str(request.url.origin()), expanded=expanded)

    async def _contact(self, request: web.Request) -> web.Response:
        key, takes = request.match_info["key"], self.gate.habits.contact_key
        by_id = self.account.contacts.get(int(key)) if key.isdecimal() and takes != "email" else None
        contact = by_id or (self.account.find(key) if takes != "id" else None)
        if contact is None:
            raise RefusedError(f"Contact {key} does not exist.", 404)
        return ok(chosen(request, CONTACTS, self._row(request, contact)))

    async def _forget(self, request: web.Request) -> web.Response:
        self.account.forget(self.account.contact(int(request.match_info["id"])))
        return deleted()

    async def _values(self, request: web.Request) -> web.Response:
        rows = [row for each in self.account.contacts.values() for row in custom_rows(self.account, each)]
        return page(request, self.gate.habits, VALUES, rows, lambda row: row)

    async def _rename(self, request: web.Request) -> web.Response:
        said = read_as(NewAddress, await self.gate.body(request))
        self.account.rename(address_of(said.from_), said.to)
        return created()

    async def _confirm(self, request: web.Request) -> web.Response:
        self.importer.confirm(read_as(Clicked, await self.gate.body(request)).id)
        return ok()

    # The consent log.

    async def _connections(self, request: web.Request) -> web.Response:
        found = list(self.account.connections.values())
        return page(request, self.gate.habits, CONNECTIONS, found, lambda each: connection_row(self.account, each))

    async def _revoke(self, request: web.Request) -> web.Response:
        if not self.account.revoke(int(request.match_info["id"])):
            raise RefusedError("Purpose connection does not exist.", 404)
        return deleted()


def _standing(contact: Contact, number: int) -> str:
    return "unsubscribed" if contact.blacklisted else contact.lists[number].status
