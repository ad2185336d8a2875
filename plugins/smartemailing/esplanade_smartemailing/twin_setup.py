"""The calls of the twin about what an account is set up with: lists, custom fields, purposes, e-mails (section 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import UNSET, Struct, UnsetType

from .twin_answers import (
    EMAILS,
    FIELDS,
    LISTS,
    OPTIONS,
    PURPOSES,
    chosen,
    created,
    deleted,
    email_row,
    field_row,
    list_row,
    ok,
    option_row,
    page,
    purpose_row,
)
from .twin_records import Period
from .twin_values import RefusedError, address_of, read_as

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from aiohttp import web

    from .twin_account import Account
    from .twin_gate import Gate, Route
    from .twin_records import Option

Text = str | UnsetType


class NewList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that makes a list."""

    name: str
    sendername: str
    senderemail: str
    replyto: str
    publicname: str | None = None


class ChangedList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that changes a list."""

    name: Text = UNSET
    sendername: Text = UNSET
    senderemail: Text = UNSET
    replyto: Text = UNSET
    publicname: str | UnsetType | None = UNSET


class NewField(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that makes a custom field."""

    name: str
    type: str


class NewOption(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that makes an option."""

    customfield_id: int
    order: int
    name: str


class ChangedOption(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that changes an option."""

    order: int | UnsetType = UNSET
    name: Text = UNSET
    customfield_id: int | UnsetType = UNSET


class NewPurpose(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that makes a purpose."""

    lawful_basis: Literal[
        "consent", "contract", "legal-obligation", "legitimate-interest", "vital-interest", "public-task"
    ]
    name: str
    duration: Period
    notes: str | None = None


class SetupApi:
    """The vendor's calls about an account's set-up."""

    def __init__(self, account: Account, gate: Gate) -> None:
        self.account = account
        self.gate = gate

    def calls(self) -> Sequence[Route]:
        of_list, field, option = r"contactlists/{id:\d+}", r"customfields/{id:\d+}", r"customfield-options/{id:\d+}"
        return [
            ("GET", "contactlists", self._lists),
            ("POST", "contactlists", self._create_list),
            ("GET", of_list, self._list),
            ("PUT", of_list, self._change_list),
            ("GET", f"{of_list}/distribution", self._distribution),
            ("GET", f"{of_list}/added-contacts", self._added),
            ("POST", f"{of_list}/truncate", self._truncate),
            ("GET", "customfields", self._fields),
            ("POST", "customfields", self._create_field),
            ("GET", field, self._field),
            ("DELETE", field, self._delete_field),
            ("GET", "customfield-options", self._options),
            ("POST", "customfield-options", self._create_option),
            ("GET", option, self._read_option),
            ("PATCH", option, self._change_option),
            ("DELETE", option, self._delete_option),
            ("GET", "purposes", self._purposes),
            ("POST", "purposes", self._create_purpose),
            ("GET", "emails", self._emails),
            ("GET", r"emails/{id:\d+}", self._email),
            ("GET", "confirmation-emails", self._confirmations),
        ]

    # Lists.

    async def _lists(self, request: web.Request) -> web.Response:
        found = list(self.account.lists.values())
        return page(request, self.gate.habits, LISTS, found, lambda each: list_row(self.account, each))

    async def _list(self, request: web.Request) -> web.Response:
        return ok(chosen(request, LISTS, list_row(self.account, self.account.list_of(_number(request)))))

    async def _create_list(self, request: web.Request) -> web.Response:
        said = read_as(NewList, await self.gate.body(request))
        address_of(said.senderemail)
        address_of(said.replyto)
        made = self.account.add_list(**{name: getattr(said, name) for name in said.__struct_fields__})
        return created(list_row(self.account, made))

    async def _change_list(self, request: web.Request) -> web.Response:
        held = self.account.list_of(_number(request))
        said = read_as(ChangedList, await self.gate.body(request))
        for name in said.__struct_fields__:
            value = getattr(said, name)
            if value is not UNSET:
                setattr(held, name, address_of(value) if name in {"senderemail", "replyto"} else value)
        return ok(list_row(self.account, held))

    async def _distribution(self, request: web.Request) -> web.Response:
        number = self.account.list_of(_number(request)).id
        statuses = [each.lists[number].status for each in self.account.held_by(number)]
        return ok(
            {
                "total": len(statuses),
                "confirmed": statuses.count("confirmed"),
                "unsubscribed": statuses.count("unsubscribed"),
            }
        )

    async def _added(self, request: web.Request) -> web.Response:
        return ok({"count": len(self.account.held_by(self.account.list_of(_number(request)).id))})

    async def _truncate(self, request: web.Request) -> web.Response:
        number = self.account.list_of(_number(request)).id
        for each in self.account.held_by(number):
            del each.lists[number]
        return ok()

    # Custom fields.

    async def _fields(self, request: web.Request) -> web.Response:
        found = list(self.account.fields.values())
        return page(request, self.gate.habits, FIELDS, found, lambda each: self._field_row(request, each.id))

    async def _field(self, request: web.Request) -> web.Response:
        number = self.account.field_of(_number(request)).id
        return ok(chosen(request, FIELDS, self._field_row(request, number)))

    def _field_row(self, request: web.Request, number: int) -> dict[str, Any]:
        expanded = "customfield_options" in request.query.get("expand", "").split(",")
        return field_row(self.account, self.account.fields[number], str(request.url.origin()), expanded=expanded)

    async def _create_field(self, request: web.Request) -> web.Response:
        said = read_as(NewField, await self.gate.body(request))
        made = self.account.add_field(said.name, said.type)
        return created({"id": made.id, "options": None, "name": made.name, "type": made.type})

    async def _delete_field(self, request: web.Request) -> web.Response:
        self.account.remove_field(self.account.field_of(_number(request)).id)
        return deleted()

    async def _options(self, request: web.Request) -> web.Response:
        return page(request, self.gate.habits, OPTIONS, list(self.account.options.values()), option_row)

    def _option(self, request: web.Request) -> Option:
        found = self.account.options.get(_number(request))
        if found is None:
            raise RefusedError("Customfield option does not exist.", 404)
        return found

    async def _read_option(self, request: web.Request) -> web.Response:
        return ok(chosen(request, OPTIONS, option_row(self._option(request))))

    async def _create_option(self, request: web.Request) -> web.Response:
        said = read_as(NewOption, await self.gate.body(request))
        owner = self.account.field_of(said.customfield_id, 422)
        return created(option_row(self.account.add_option(owner, said.name, said.order)))

    async def _change_option(self, request: web.Request) -> web.Response:
        """Its name and order; it cannot be moved to another custom field (inferred)."""
        held, said = self._option(request), read_as(ChangedOption, await self.gate.body(request))
        if said.customfield_id not in {UNSET, held.customfield_id}:
            raise RefusedError("Customfield option cannot be moved.")
        held.order = held.order if isinstance(said.order, UnsetType) else said.order
        held.name = held.name if isinstance(said.name, UnsetType) else said.name
        return ok(option_row(held))

    async def _delete_option(self, request: web.Request) -> web.Response:
        self.account.remove_option(self._option(request).id)
        return deleted()

    # Purposes and e-mails.

    async def _purposes(self, request: web.Request) -> web.Response:
        found = list(self.account.purposes.values())
        return page(request, self.gate.habits, PURPOSES, found, lambda each: purpose_row(self.account, each))

    async def _create_purpose(self, request: web.Request) -> web.Response:
        said = read_as(NewPurpose, await self.gate.body(request))
        if said.duration.value < 1:
            raise RefusedError("Duration of a purpose must be at least 1.")
        more: dict[str, Any] = {"lawful_basis": said.lawful_basis, "duration": said.duration, "notes": said.notes}
        return created(purpose_row(self.account, self.account.add_purpose(said.name, **more)))

    async def _emails(self, request: web.Request) -> web.Response:
        found = list(self.account.emails.values())
        return page(request, self.gate.habits, EMAILS, found, lambda each: email_row(self.account, each))

    async def _email(self, request: web.Request) -> web.Response:
        held = self.account.email_of(_number(request), 404)
        return ok(chosen(request, EMAILS, email_row(self.account, held)))

    async def _confirmations(self, request: web.Request) -> web.Response:
        found = [each for each in self.account.emails.values() if each.asks_to_confirm]
        return page(request, self.gate.habits, EMAILS, found, lambda each: email_row(self.account, each))


def _number(request: web.Request) -> int:
    return int(request.match_info["id"])
