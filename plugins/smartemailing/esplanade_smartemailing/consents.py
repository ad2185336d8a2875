"""Consent at SmartEmailing: a list holds those who gave it, a purpose puts it on record, a confirmation mail asks (section 6).

Flags hold for a whole request, so people go in groups that have the same: a grant that lifts an opt-out never shares one with
anybody else's, and whoever is asked to confirm waits apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from msgspec import Struct
from msgspec.structs import replace

from esplanade import Context, DeliveryError, Outcome, PermanentError

from .addresses import take_over
from .batches import SINGLY, put_off
from .client import CONFIRMED, UNSUBSCRIBED, RefusedError, same_address
from .imports import Flags, Imports
from .mapping import acknowledged, contact_row, on_list
from .settings import SmartEmailingConsent
from .values import local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esplanade import ConsentEvent, Value

    from .batches import Result
    from .client import Account, Row
    from .echoes import Echoes, Recent
    from .layout import Layout

BARE = ("emailaddress", "contactlists", "purposes", "blacklisted")
"""What a consent itself writes."""
NOT_THERE = Outcome(status="unchanged", reason="not-at-vendor")


class Line(Struct, frozen=True, kw_only=True):
    """One contact of an import, and whose event it is about."""

    at: int
    row: Row
    flags: Flags
    held: dict[str, Value] | None = None
    """What the vendor holds of the fields that go along, once it has taken them."""


class Consents:
    """Opt-ins and opt-outs of one account."""

    def __init__(self, account: Account, layout: Layout, ctx: Context, echoes: Echoes, recent: Recent) -> None:
        self._account = account
        self._layout = layout
        self._ctx = ctx
        self._imports = Imports(account, layout, echoes, recent, ctx.clock)
        self._recent = recent
        self._taken: set[str] = set()
        """Opt-outs whose contact was taken to be there, and was not looked up."""
        self._singly = self._revocable = SINGLY

    async def write(self, events: Sequence[ConsentEvent[SmartEmailingConsent]]) -> list[Result]:
        """A result for each event; opt-outs go first."""
        results: dict[int, Result] = {}
        groups: dict[Flags, list[Line]] = {}
        for at, event in sorted(enumerate(events), key=lambda pair: pair[1].state != "denied"):
            try:
                lines = await self._lines(at, event)
            except DeliveryError as problem:
                results[at] = problem
                continue
            if not lines:
                results[at] = NOT_THERE
            for line in lines:
                groups.setdefault(line.flags, []).append(line)
        for flags, lines in groups.items():
            stored = await self._store(lines, flags)
            for line, result in zip(lines, stored, strict=True):
                finished = await self._finish(events[line.at], line, result)
                if line.at not in results or isinstance(finished, Exception):  # of two contacts both must be written
                    results[line.at] = finished
        return [results[at] for at in range(len(events))]

    async def _store(self, lines: Sequence[Line], flags: Flags) -> list[Result]:
        """Import them; a consent whose fields the vendor refuses goes without, for they are the profile's business."""
        stored = await self._imports.store([line.row for line in lines], flags)
        again = [at for at, each in enumerate(stored) if isinstance(each, RefusedError) and lines[at].held is not None]
        bare = [{key: each for key, each in lines[at].row.items() if key in BARE} for at in again]
        for at, result in zip(again, await self._imports.store(bare, flags), strict=True):
            stored[at] = replace(result, acknowledged={}) if isinstance(result, Outcome) else result
        return stored

    async def _lines(self, at: int, event: ConsentEvent[SmartEmailingConsent]) -> list[Line]:
        """What to import; nothing for an opt-out of somebody whom the vendor does not have."""
        where = f"consents.{event.purpose}"
        await self._layout.require(event.target, where, self._account, self._ctx.clock, state=event.state)
        if event.state != "denied":
            return [await self._grant(at, event)]
        places = [on_list(event.target.list, UNSUBSCRIBED)]
        return [
            Line(at=at, row={"emailaddress": email, "contactlists": places}, flags=Flags())
            for email in await self._addresses(event)
        ]

    async def _addresses(self, event: ConsentEvent[SmartEmailingConsent]) -> list[str]:
        """Where the vendor has the person: under the id, whatever its address is there by now, and under the address.

        They are looked up, for an import would make a contact where there is none. Whom the hub itself has just imported it need
        not look up, or an import of many who have opted out would take hours.
        """
        if event.remote_id is not None and self._recent.has(event.email, event.remote_id, self._ctx.clock):
            self._taken.add(event.delivery_id)
            return [event.email]
        self._go_alone()
        known = await self._account.read(event.remote_id) if event.remote_id is not None else None
        if known is not None and same_address(known["emailaddress"], event.email):
            return [str(known["emailaddress"])]
        found = await self._account.find(event.email)
        return [str(each["emailaddress"]) for each in (known, found) if each is not None]

    async def _grant(self, at: int, event: ConsentEvent[SmartEmailingConsent]) -> Line:
        target, settings = event.target, self._account.settings
        row: Row = {"emailaddress": event.email}
        held: dict[str, Value] | None = None
        if event.remote_id is None:  # it may have to be made; the fields of a known one are the profile's business
            fields = await self._layout.fields(event.desired, self._account, self._ctx.clock)
            try:
                row = contact_row(event.email, event.desired, fields, settings)
                held = {**event.desired, **(acknowledged(event.desired, row, fields, settings) or {})}
            except PermanentError:
                self._ctx.log.info("fields are left to the profile, one cannot be written", delivery=event.delivery_id)
        row["contactlists"] = [on_list(target.list, CONFIRMED)]
        if target.purpose is not None:  # without its time each repeat would add another record
            row["purposes"] = [{"id": target.purpose, "valid_from": local(event.said_at, settings.esp_timezone)}]
        lifts = event.held.get(event.purpose) == "denied"
        if lifts and event.state == "granted" and self._may_be_blacklisted(event):
            row["blacklisted"] = 0
        asking = target.double_opt_in if event.state == "pending" else None
        if asking is not None and event.remote_id is not None:
            # the hub itself has made this contact, who is in the database and has agreed to nothing
            asking = replace(asking, mode="all")
        flags = Flags(preserve=settings.preserve_unsubscribed and not lifts, asking=asking)
        return Line(at=at, row=row, flags=flags, held=held)

    def _may_be_blacklisted(self, event: ConsentEvent[SmartEmailingConsent]) -> bool:
        """Whether the denial may be the vendor's blacklist: that denies all purposes, and only the vendor may know of it yet."""
        mine = [name for name, each in self._ctx.consents.items() if isinstance(each, SmartEmailingConsent)]
        return all(event.held.get(name) == "denied" for name in mine)

    async def _finish(self, event: ConsentEvent[SmartEmailingConsent], line: Line, result: Result) -> Result:
        if not isinstance(result, Outcome) or result.remote_id is None:
            return result
        try:
            match event.state:
                case "denied":
                    await self._opt_out_former(event, result.remote_id)
                    if event.target.purpose is not None:
                        await self._revoke(result.remote_id, event.target.purpose)
                    return result
                case "granted":
                    await self._replace_former(event, result.remote_id)
                    return replace(result, acknowledged=line.held if result.acknowledged is None else None)
                case "pending":
                    await self._replace_former(event, result.remote_id)
                    return result
                case _ as never:
                    assert_never(never)
        except DeliveryError as problem:
            return problem

    async def _opt_out_former(self, event: ConsentEvent[SmartEmailingConsent], contact: str) -> None:
        """Where the address has another contact than the hub knew, that one is opted out as well, if it is there still."""
        former = await self._former(event, contact) if event.delivery_id in self._taken else None
        if former is not None:
            row = {"emailaddress": former["emailaddress"], "contactlists": [on_list(event.target.list, UNSUBSCRIBED)]}
            (result,) = await self._imports.store([row], Flags())
            if isinstance(result, Exception):
                raise result

    async def _replace_former(self, event: ConsentEvent[SmartEmailingConsent], contact: str) -> None:
        """Where the address has another contact than the hub knew, the former one must not stay on its lists."""
        former = await self._former(event, contact)
        if former is not None:
            await take_over(former, event.email, self._account)

    async def _former(self, event: ConsentEvent[SmartEmailingConsent], contact: str) -> Row | None:
        if event.remote_id is None or event.remote_id == contact:
            return None
        self._go_alone()
        former = await self._account.read(event.remote_id)
        return None if former is None or same_address(former["emailaddress"], event.email) else former

    async def _revoke(self, contact: str, purpose: int) -> None:
        if not self._revocable:
            raise put_off()
        self._revocable -= 1
        await self._account.revoke(contact, purpose)

    def _go_alone(self) -> None:
        if not self._singly:
            raise put_off()
        self._singly -= 1
