"""Contacts whose address changes: renamed, or made one with the contact that the new address has already (section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .client import CONFIRMED, REMOVED, UNSUBSCRIBED, RefusedError, as_id, same_address
from .mapping import import_settings, on_list, statuses

if TYPE_CHECKING:
    from esplanade import Context, ProfileEvent

    from .client import Account, Row
    from .settings import SmartEmailingAudience


def is_renamed(event: ProfileEvent[SmartEmailingAudience]) -> bool:
    """Whether the vendor knows the person under another address, not only one written otherwise."""
    return event.previous_email is not None and not same_address(event.previous_email, event.email)


async def move(event: ProfileEvent[SmartEmailingAudience], account: Account, ctx: Context) -> list[Row]:
    """Give the contact its new address. Returns places on lists that the contact at that address takes over, if it had one.

    Done again, it finds nothing to do.
    """
    previous = event.previous_email
    assert previous is not None
    try:
        await account.rename(previous, event.email)
    except RefusedError:
        old = await account.find(previous)
        if old is None:
            return []  # it is gone, or was moved by an earlier attempt
        other = await account.find(event.email)
        if other is None:
            raise
        ctx.log.info("address belongs to another contact", contact=as_id(other), replaced=as_id(old))
        return await leave(old, account)
    return []


async def leave(old: Row, account: Account) -> list[Row]:
    """Take a contact off every list; returns its places, for the one that takes over from it.

    It stays unsubscribed where it was, and so shall the other be: an opt-out goes along with the person.
    """
    places = statuses(old)
    leaving = [on_list(number, REMOVED) for number, status in places.items() if status == CONFIRMED]
    if leaving:
        row = {"emailaddress": old["emailaddress"], "contactlists": leaving}
        said = import_settings(account.settings, preserve=True, skip=False, asking=None)
        await account.import_(said, [row], repeatable=True)
    return [on_list(number, status) for number, status in places.items() if status in {CONFIRMED, UNSUBSCRIBED}]
