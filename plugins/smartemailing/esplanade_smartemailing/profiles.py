"""Fields, addresses and audiences of many people, in as few calls as the vendor takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from esplanade import Context, DeliveryError, Outcome, PermanentError

from .addresses import is_renamed, move, take_over
from .batches import SINGLY, put_off
from .client import CONFIRMED, REMOVED, same_address
from .imports import Flags, Imports
from .mapping import acknowledged, contact_row, on_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esplanade import ProfileEvent, Value

    from .batches import Result
    from .client import Account, Row
    from .echoes import Echoes, Recent
    from .layout import Layout
    from .settings import SmartEmailingAudience
    from .values import CustomField


class Profiles:
    """Writes profiles into one account."""

    def __init__(self, account: Account, layout: Layout, ctx: Context, echoes: Echoes, recent: Recent) -> None:
        self._account = account
        self._layout = layout
        self._ctx = ctx
        self._imports = Imports(account, layout, echoes, recent, ctx.clock)
        self._singly = SINGLY
        self._replaced: set[str] = set()
        """People whose contact was taken over by the one at their new address."""

    async def write(self, events: Sequence[ProfileEvent[SmartEmailingAudience]]) -> list[Result]:
        """A result for each event."""
        try:
            fields = await self._fields(events)
        except DeliveryError as problem:
            return [problem] * len(events)
        results: dict[int, Result] = {}
        rows: dict[int, Row] = {}
        for at, event in enumerate(events):
            try:
                rows[at] = await self._row(event, fields)
            except DeliveryError as problem:
                results[at] = problem
        stored = await self._imports.store(list(rows.values()), Flags())
        results |= dict(zip(rows, stored, strict=True))
        await self._make_whole(events, rows, fields, results)
        return [self._told(event, rows.get(at), fields, results[at]) for at, event in enumerate(events)]

    async def _fields(self, events: Sequence[ProfileEvent[SmartEmailingAudience]]) -> Mapping[str, CustomField]:
        """The fields, read again where somebody's values do not fit them: an option may have been added there."""
        names = {name for event in events for name in (*event.desired, *event.cleared)}
        fields = await self._layout.fields(names, self._account, self._ctx.clock)
        try:
            for event in events:
                values = _values(event, whole=event.remote_id is None)
                contact_row(event.email, values, fields, self._account.settings)
        except PermanentError:
            self._layout.doubt()
            fields = await self._layout.fields(names, self._account, self._ctx.clock)
        return fields

    def _told(
        self,
        event: ProfileEvent[SmartEmailingAudience],
        row: Row | None,
        fields: Mapping[str, CustomField],
        result: Result,
    ) -> Result:
        if row is None or not isinstance(result, Outcome):
            return result
        values = _values(event, whole=event.remote_id is None)
        return replace(result, acknowledged=acknowledged(values, row, fields, self._account.settings))

    async def _row(self, event: ProfileEvent[SmartEmailingAudience], fields: Mapping[str, CustomField]) -> Row:
        """What to import; a contact that has another address is given this one first."""
        row = contact_row(event.email, _values(event, whole=event.remote_id is None), fields, self._account.settings)
        places = await self._places(event)
        if is_renamed(event):
            if not self._singly:
                raise put_off()
            self._singly -= 1
            if await move(event, self._account, self._ctx):
                self._replaced.add(event.person)
        if places:
            row["contactlists"] = places
        return row

    async def _places(self, event: ProfileEvent[SmartEmailingAudience]) -> list[Row]:
        found = []
        for name, target in event.audiences.add.items():
            number = await self._layout.list_of(name, target, self._account, self._ctx, makes=True)
            found.append(on_list(number or 0, CONFIRMED))
        for name, target in event.audiences.remove.items():
            number = await self._layout.list_of(name, target, self._account, self._ctx, makes=False)
            if number is not None:
                found.append(on_list(number, REMOVED))
        return found

    async def _make_whole(
        self,
        events: Sequence[ProfileEvent[SmartEmailingAudience]],
        rows: Mapping[int, Row],
        fields: Mapping[str, CustomField],
        results: dict[int, Result],
    ) -> None:
        """Where a contact turns out to be another one than the hub knew, it lacks what was not sent; and the former one must not
        stay on its lists, should it be there still. Of somebody who only leaves audiences nothing is taken along: that may be
        how the hub takes a former contact off its lists."""
        others: dict[int, Row] = {}
        for at, row in rows.items():
            event, result = events[at], results[at]
            if event.remote_id is None or not isinstance(result, Outcome) or result.remote_id == event.remote_id:
                continue
            try:
                is_done = event.person in self._replaced
                former = None if is_done else await self._former(event.remote_id, event.email)
                if not _only_leaves(event):
                    if former is not None:
                        await take_over(former, event.email, self._account)
                    others[at] = contact_row(event.email, _values(event, whole=True), fields, self._account.settings)
                    others[at]["contactlists"] = row.get("contactlists", [])
                elif former is not None:
                    others[at] = {"emailaddress": former["emailaddress"], "contactlists": row.get("contactlists", [])}
            except DeliveryError as problem:
                results[at] = problem
        stored = await self._imports.store(list(others.values()), Flags())
        results |= dict(zip(others, stored, strict=True))

    async def _former(self, contact: str, email: str) -> Row | None:
        """A contact that the hub knew, if it is there still under another address."""
        if not self._singly:
            raise put_off()
        self._singly -= 1
        found = await self._account.read(contact)
        return None if found is None or same_address(found["emailaddress"], email) else found


def _only_leaves(event: ProfileEvent[SmartEmailingAudience]) -> bool:
    return not (event.changed or event.cleared or event.audiences.add or is_renamed(event))


def _values(event: ProfileEvent[SmartEmailingAudience], *, whole: bool) -> dict[str, Value]:
    """What is to be written: all where the vendor has nothing yet, else what differs, so that no change there is written over."""
    return {**(event.desired if whole else event.changed), **dict.fromkeys(event.cleared)}
