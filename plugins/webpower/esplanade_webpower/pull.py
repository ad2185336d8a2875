"""Reading everything a campaign holds, page by page, from wherever an earlier run stopped.

First all contacts (addresses and mapped fields), then the members of each consent group, then those who want no mail.
Webpower pages by number, so a row that leaves a list while it is read moves others onto a page that was read before. A
total that shrank gives it away; then the page before is read again, and nobody is lost.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from msgspec import Struct, field

from esplanade import Context, Page, PermanentError, PersonRef, Report

from .client import Campaign, Listing, NoContactError, NoListError, Row, as_id
from .mapping import custom_entries, fields_of
from .settings import WebpowerAudience, WebpowerConsent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .groups import Groups

Held: TypeAlias = Literal["granted", "denied", "pending", "absent"]

SINCE = "pulled_since"
"""Key of when the last complete pull began, for ``contacts_since_param``."""

AT_ONCE = 4
"""How many contacts' groups to ask for at a time, where a group's contacts cannot be listed."""


class Place(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A cursor: the next page to read, and what is needed to tell whether a list was read whole."""

    group: int | None = None
    """The group whose members are being listed; None while it is the contacts."""
    at: str | None = None
    """The page as ``next`` named it; None for the first."""
    before: str | None = None
    """The page before, in the same way."""
    total: int | None = None
    """What the page before said of the length of the whole list."""
    length: int = 0
    """How many rows the page before had."""
    counted: int = 0
    """How many rows the list has shown so far."""
    unread: int = 0
    """How many of them named nobody, so that whom the list does not name may be in it all the same."""
    todo: list[int] = field(default_factory=list)
    """Groups still to be listed."""
    read: list[int] = field(default_factory=list)
    """Groups listed one and all."""
    singly: bool = False
    """Whether each contact is asked for its groups, because a group's contacts cannot be listed."""
    began: float | None = None


class Pull:
    """One page of a pull."""

    def __init__(self, campaign: Campaign, ctx: Context) -> None:
        self.campaign = campaign
        self.settings = campaign.settings
        self.ctx = ctx
        self.purposes: dict[int, list[str]] = {}
        for purpose, target in ctx.consents.items():
            if isinstance(target, WebpowerConsent):
                self.purposes.setdefault(target.group, []).append(purpose)

    async def page(self, cursor: str | None) -> Page:
        """Read the page that ``cursor`` points at, or the first."""
        place = await self._begin() if cursor is None else _decode(cursor)
        try:
            page = await self._read(place)
        except NoListError:
            if place.group is None:
                raise
            self.ctx.log.warning("contact group cannot be listed, its purpose is left out", group=place.group)
            return await self._next_list(place, [], whole=False)
        reports = await self._reports(place, page)
        return await self._turn(place, page, reports)

    async def person(self, person: PersonRef, groups: Groups) -> Report | None:
        """One contact, whole: by its id, or by its address when the id is not known or gone."""
        row = await self._row(person)
        contact = as_id(row.get("id")) if row is not None else None
        if row is None or contact is None or not _has_address(row):
            return None
        held = await self._groups_of(contact)
        if held is None:
            return None
        report = self.report(contact, row, held, absences=True)
        audiences: dict[str, bool] = {}
        for name, target in self.ctx.audiences.items():
            if isinstance(target, WebpowerAudience) and (group := await groups.known(name, target, self.ctx)):
                audiences[name] = group in held
        return msgspec.structs.replace(report, audiences=audiences)

    async def _row(self, person: PersonRef) -> Row | None:
        contact = as_id(person.remote_id)
        if contact is not None:
            try:
                return await self.campaign.read(contact)
            except NoContactError:
                pass
        return await self.campaign.find(person.email)

    # Where to.

    async def _begin(self) -> Place:
        groups = await self._listable(sorted(self.purposes))
        groups += self.settings.refusals
        return Place(
            todo=groups,
            singly=bool(groups) and not await self._can_list(groups[0]),
            began=self.ctx.clock.time() if self.settings.contacts_since_param else None,
        )

    async def _listable(self, groups: list[int]) -> list[int]:
        """Those of the groups that exist: the list of any other would look like a licence that has no such lists."""
        try:
            there = {as_id(row.get("id")) for row in await self.campaign.every(self.settings.path("groups"))}
        except NoListError:
            return groups
        for group in groups:
            if group not in there:
                self.ctx.log.warning("Webpower has no such contact group, its purpose is left out", group=group)
        return [group for group in groups if group in there]

    async def _can_list(self, group: int) -> bool:
        try:
            await self.campaign.first_page(self._path(group))
        except NoListError:
            self.ctx.log.warning("contacts of a group cannot be listed, each contact is asked for its groups instead")
            return False
        return True

    def _path(self, group: int | None) -> str:
        if group is None:
            return self.settings.path("contacts")
        return self.settings.rest(self.settings.group_contacts_path, gid=group)

    async def _read(self, place: Place) -> Listing:
        if place.at is not None:
            return await self.campaign.page_at(place.at)
        extra: dict[str, str] = {}
        if place.group is None and self.settings.contacts_since_param:
            since = await self.ctx.kv.get(SINCE)
            extra = {self.settings.contacts_since_param: since} if isinstance(since, str) else {}
        return await self.campaign.first_page(self._path(place.group), extra=extra)

    async def _turn(self, place: Place, page: Listing, reports: list[Report]) -> Page:
        lost = (place.total or 0) - page.total if page.total is not None and place.at is not None else 0
        if lost > place.length:
            again = msgspec.structs.replace(place, at=None, before=None, total=None, length=0, counted=0, unread=0)
            return _page(reports, again)
        if lost > 0:
            counted = place.counted - place.length
            back = msgspec.structs.replace(place, at=place.before, before=None, total=None, length=0, counted=counted)
            return _page(reports, back)
        shown = len(page.rows) + page.unread
        counted = place.counted + shown
        unread = place.unread + page.unread + sum(not _has_address(row) for row in page.rows)
        if page.next is not None:
            onward = msgspec.structs.replace(
                place,
                at=page.next,
                before=place.at,
                total=page.total,
                length=shown,
                counted=counted,
                unread=unread,
            )
            return _page(reports, onward)
        whole = not unread and (page.total is None or counted >= page.total)
        return await self._next_list(place, reports, whole=whole)

    async def _next_list(self, place: Place, reports: list[Report], *, whole: bool) -> Page:
        read = place.read
        if place.singly:
            changed_only = self.settings.contacts_since_param and isinstance(await self.ctx.kv.get(SINCE), str)
            read = place.todo if whole and not changed_only else []
        elif place.group is not None and whole:
            read = [*read, place.group]
        todo = [] if place.singly else [group for group in place.todo if self._is_of_use(group)]
        if todo:
            onward = Place(group=todo[0], todo=todo[1:], read=read, began=place.began)
            return _page(reports, onward)
        if place.began is not None:
            await self.ctx.kv.set(SINCE, datetime.fromtimestamp(place.began, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        return Page(reports=reports, covers=sorted(self._purposes_of(read)))

    def _is_of_use(self, group: int) -> bool:
        return group in self.purposes or group in self.settings.refusals

    def _purposes_of(self, groups: Iterable[int]) -> list[str]:
        return [purpose for group in groups for purpose in self.purposes.get(group, ())]

    # What a page says.

    async def _reports(self, place: Place, page: Listing) -> list[Report]:
        rows = {contact: row for row in page.rows if (contact := as_id(row.get("id"))) and _has_address(row)}
        if place.group is not None:
            held = self._held_by_members(place.group)
            return [_report(contact, row, consents=held) for contact, row in rows.items()]
        if not place.singly:
            return [self.report(contact, row, None) for contact, row in rows.items()]
        reports: list[Report] = []
        contacts = list(rows)
        for start in range(0, len(contacts), AT_ONCE):
            reports += await self._asked_singly({each: rows[each] for each in contacts[start : start + AT_ONCE]})
        return reports

    async def _asked_singly(self, rows: dict[int, Row]) -> list[Report]:
        async with asyncio.TaskGroup() as together:
            asked = {contact: together.create_task(self._groups_of(contact)) for contact in rows}
        found = {contact: task.result() for contact, task in asked.items()}
        return [self.report(each, rows[each], groups) for each, groups in found.items() if groups is not None]

    async def _groups_of(self, contact: int) -> set[int] | None:
        try:
            return await self.campaign.groups_of(contact)
        except NoContactError:
            return None

    def report(self, contact: int, row: Row, groups: set[int] | None, *, absences: bool = False) -> Report:
        """A contact as the hub hears of it. ``absences`` says so of purposes whose group does not hold the contact."""
        consents: dict[str, Held] = {}
        for group, purposes in self.purposes.items():
            if groups is not None and group in groups:
                consents |= dict.fromkeys(purposes, "granted")
            elif groups is not None and absences:
                consents |= dict.fromkeys(purposes, "absent")
        if groups is not None and not groups.isdisjoint(self.settings.refusals):
            consents |= dict.fromkeys(self._purposes_of(self.purposes), "denied")
        consents |= dict.fromkeys(self._refused_by_field(row), "denied")
        return _report(contact, row, fields=set(self.ctx.fields.values()), consents=consents)

    def _held_by_members(self, group: int) -> dict[str, Held]:
        if group in self.settings.refusals:
            return dict.fromkeys(self._purposes_of(self.purposes), "denied")
        return dict.fromkeys(self.purposes.get(group, ()), "granted")

    def _refused_by_field(self, row: Row) -> list[str]:
        template = self.settings.unsubscribe_field
        if self.settings.unsubscribe_mode != "field" or template is None:
            return []
        shown = fields_of(row, {entry["field"] for entry in custom_entries(row)})
        names = {purpose: template.replace("{purpose}", purpose) for purpose in self._purposes_of(self.purposes)}
        return [each for each, name in names.items() if shown.get(name) == self.settings.unsubscribe_value]


def _report(contact: int, row: Row, *, consents: dict[str, Held], fields: Iterable[str] = ()) -> Report:
    return Report(
        remote_id=str(contact), email=row["email"], fields=fields_of(row, set(fields)), consents=dict(consents)
    )


def _has_address(row: Row) -> bool:
    return isinstance(row.get("email"), str) and "@" in row["email"]


def _page(reports: list[Report], place: Place) -> Page:
    return Page(reports=reports, cursor=msgspec.json.encode(place).decode())


def _decode(cursor: str) -> Place:
    try:
        place = msgspec.json.decode(cursor, type=Place)
    except msgspec.DecodeError:
        raise PermanentError("the cursor is none of this plugin's; start the pull anew") from None
    if place.at is not None and not place.at.startswith("/"):
        raise PermanentError("the cursor is none of this plugin's; start the pull anew")
    return place
