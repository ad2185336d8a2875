"""Consent at SmartEmailing: a list holds those who gave it, a purpose puts it on record, a confirmation mail asks (section 6).

Flags hold for a whole request, so people go in groups that have the same: a grant that lifts an opt-out never shares one with
anybody else's, and whoever is asked to confirm waits apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from msgspec import Struct
from msgspec.structs import replace

from esplanade import Context, DeliveryError, Outcome

from .addresses import leave
from .batches import SINGLY, put_off
from .client import CONFIRMED, UNSUBSCRIBED, same_address
from .imports import Flags, Imports
from .mapping import contact_row, on_list
from .values import local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esplanade import ConsentEvent

    from .batches import Result
    from .client import Account, Row
    from .echoes import Echoes
    from .layout import Layout
    from .settings import SmartEmailingConsent

NOT_THERE = Outcome(status="unchanged", reason="not-at-vendor")


class Line(Struct, frozen=True, kw_only=True):
    """One contact of an import, and whose event it is about."""

    at: int
    row: Row
    flags: Flags


class Consents:
    """Opt-ins and opt-outs of one account."""

    def __init__(self, account: Account, layout: Layout, ctx: Context, echoes: Echoes) -> None:
        self._account = account
        self._layout = layout
        self._ctx = ctx
        self._imports = Imports(account, layout, echoes, ctx.clock)
        self._singly = SINGLY

    async def write(self, events: Sequence[ConsentEvent[SmartEmailingConsent]]) -> list[Result]:
        """A result for each event; opt-outs go first."""
        results: dict[int, Result] = {}
        groups: dict[Flags, list[Line]] = {}
        for at, event in sorted(enumerate(events), key=lambda pair: pair[1].state != "denied"):
            try:
                line = await self._line(at, event)
            except DeliveryError as problem:
                results[at] = problem
                continue
            if line is None:
                results[at] = NOT_THERE
            else:
                groups.setdefault(line.flags, []).append(line)
        for flags, lines in groups.items():
            stored = await self._imports.store([line.row for line in lines], flags)
            for line, result in zip(lines, stored, strict=True):
                results[line.at] = await self._finish(events[line.at], result)
        return [results[at] for at in range(len(events))]

    async def _line(self, at: int, event: ConsentEvent[SmartEmailingConsent]) -> Line | None:
        """What to import; None for an opt-out of somebody whom the vendor does not have."""
        target, settings = event.target, self._account.settings
        await self._layout.require(target, f"consents.{event.purpose}", self._account, self._ctx.clock)
        if event.state == "denied":
            email = event.email if event.remote_id is not None else await self._address(event.email)
            if email is None:
                return None
            opt_out: Row = {"emailaddress": email, "contactlists": [on_list(target.list, UNSUBSCRIBED)]}
            return Line(at=at, row=opt_out, flags=Flags())
        lifts = event.held.get(event.purpose) == "denied"
        row: Row = await self._new_row(event) if event.remote_id is None else {"emailaddress": event.email}
        row["contactlists"] = [on_list(target.list, CONFIRMED)]
        if target.purpose is not None:  # without its time each repeat would add another record
            row["purposes"] = [{"id": target.purpose, "valid_from": local(event.said_at, settings.esp_timezone)}]
        if lifts and event.state == "granted":
            row["blacklisted"] = 0
        asking = target.double_opt_in if event.state == "pending" else None
        return Line(at=at, row=row, flags=Flags(preserve=settings.preserve_unsubscribed and not lifts, asking=asking))

    async def _new_row(self, event: ConsentEvent[SmartEmailingConsent]) -> Row:
        """With the fields, for a contact that may have to be made; of a known one they are the profile's business."""
        fields = await self._layout.fields(event.desired, self._account, self._ctx.clock)
        return contact_row(event.email, event.desired, fields, self._account.settings)

    async def _address(self, email: str) -> str | None:
        self._go_alone()
        found = await self._account.find(email)
        return None if found is None else str(found["emailaddress"])

    async def _finish(self, event: ConsentEvent[SmartEmailingConsent], result: Result) -> Result:
        if not isinstance(result, Outcome) or result.remote_id is None:
            return result
        try:
            if event.remote_id is not None and event.remote_id != result.remote_id:
                await self._see_to_former(event, event.remote_id)
            match event.state:
                case "denied":
                    if event.target.purpose is not None:
                        self._go_alone()
                        await self._account.revoke(result.remote_id, event.target.purpose)
                    return result
                case "granted":
                    return replace(result, acknowledged=dict(event.desired) if event.remote_id is None else None)
                case "pending":
                    return result
                case _ as never:
                    assert_never(never)
        except DeliveryError as problem:
            return problem

    async def _see_to_former(self, event: ConsentEvent[SmartEmailingConsent], contact: str) -> None:
        """The address has another contact than the hub knew: the former one is opted out as well, or leaves its lists."""
        self._go_alone()
        former = await self._account.read(contact)
        if former is None or same_address(former["emailaddress"], event.email):
            return
        if event.state != "denied":
            await leave(former, self._account)
            return
        row = {"emailaddress": former["emailaddress"], "contactlists": [on_list(event.target.list, UNSUBSCRIBED)]}
        (result,) = await self._imports.store([row], Flags())
        if isinstance(result, Exception):
            raise result

    def _go_alone(self) -> None:
        if not self._singly:
            raise put_off()
        self._singly -= 1
