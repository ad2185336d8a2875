"""Contacts whose address changes: renamed, or made one with the contact that the new address has already (section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .client import CONFIRMED, REMOVED, UNSUBSCRIBED, RefusedError, as_id, same_address
from .mapping import import_settings, is_blacklisted, on_list, statuses

if TYPE_CHECKING:
    from esplanade import Context, ProfileEvent

    from .client import Account, Row
    from .settings import SmartEmailingAudience


def is_renamed(event: ProfileEvent[SmartEmailingAudience]) -> bool:
    """Whether the vendor knows the person under another address, not only one written otherwise."""
    return event.previous_email is not None and not same_address(event.previous_email, event.email)


async def move(event: ProfileEvent[SmartEmailingAudience], account: Account, ctx: Context) -> bool:
    """Give the contact its new address; a contact that has that already takes its place, which is told by True.

    Done again, it finds nothing to do.
    """
    previous = event.previous_email
    assert previous is not None
    try:
        await account.rename(previous, event.email)
    except RefusedError:
        old = await account.find(previous)
        if old is None:
            return False  # it is gone, or was moved by an earlier attempt
        other = await account.find(event.email)
        if other is None:
            raise
        ctx.log.info("address belongs to another contact", contact=as_id(other), replaced=as_id(old))
        await take_over(old, event.email, account)
        return True
    return False


async def take_over(old: Row, email: str, account: Account) -> None:
    """Let the contact at an address take the place of another one: it comes onto its lists, then the other leaves them.

    In this order, so that after a failure in between it can be done again. An opt-out goes along with the person, and the other
    contact stays unsubscribed where it was.
    """
    places = statuses(old)
    taken = [on_list(number, status) for number, status in places.items() if status in {CONFIRMED, UNSUBSCRIBED}]
    row: Row = {"emailaddress": email, "contactlists": taken}
    if is_blacklisted(old):
        row["blacklisted"] = 1
    if taken or is_blacklisted(old):
        await _import(row, account)
    leaving = [on_list(number, REMOVED) for number, status in places.items() if status == CONFIRMED]
    if leaving:
        await _import({"emailaddress": old["emailaddress"], "contactlists": leaving}, account)


async def _import(row: Row, account: Account) -> None:
    said = import_settings(account.settings, preserve=True, skip=False, asking=None)
    await account.import_(said, [row], repeatable=True)
