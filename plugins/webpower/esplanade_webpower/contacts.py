"""Making a contact hold what the hub says, whether it is there, gone, renamed or another one's by now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from esplanade import Context, TemporaryError, Value

from .client import Campaign, NoContactError, as_id
from .mapping import contact_body, same_address

if TYPE_CHECKING:
    from collections.abc import Mapping


class Who(Struct, frozen=True, kw_only=True):
    """A person as the hub names them to the vendor."""

    email: str
    remote_id: str | None = None
    previous_email: str | None = None

    @property
    def renamed(self) -> bool:
        """Whether the address is another one than the vendor knows, not only written otherwise."""
        return self.previous_email is not None and not same_address(self.previous_email, self.email)


class Saved(Struct, frozen=True, kw_only=True):
    """The contact that now holds the person; ``replaced`` is the one that did, when the new address had its own."""

    id: int
    replaced: int | None = None


async def find_id(who: Who, campaign: Campaign) -> int | None:
    """The id of a person's contact: the known one, unchecked, or the one that has the address."""
    return as_id(who.remote_id) or await _by_address(who.email, campaign)


async def save(who: Who, fields: Mapping[str, Value], campaign: Campaign, ctx: Context) -> Saved:
    """Create or update a contact. ``fields`` are all that this hub maps; those of other owners stay as they are."""
    known = as_id(who.remote_id)
    if who.renamed:
        if known is None and who.previous_email is not None:
            known = await _by_address(who.previous_email, campaign)
        other = await _by_address(who.email, campaign)
        if other is not None and other != known:
            ctx.log.info("address belongs to another contact", contact=other, replaced=known)
            await campaign.update(other, contact_body(who.email, fields))
            return Saved(id=other, replaced=known)
    if known is not None:
        try:
            return await _update(known, who, fields, campaign)
        except NoContactError:
            if who.remote_id is not None:  # deleted there; look at the addresses instead
                return await save(Who(email=who.email, previous_email=who.previous_email), fields, campaign, ctx)
    return await _by_lookup(who, fields, campaign)


async def ensure(who: Who, fields: Mapping[str, Value], campaign: Campaign) -> int:
    """The contact of an address, made if there is none. What an existing one holds is left alone."""
    found = await _by_address(who.email, campaign)
    if found is not None:
        return found
    return await _create(who.email, fields, campaign) or await _after_conflict(who.email, campaign)


async def _update(contact: int, who: Who, fields: Mapping[str, Value], campaign: Campaign) -> Saved:
    body = contact_body(who.email, fields)
    if await campaign.update(contact, body):
        return Saved(id=contact)
    other = await _after_conflict(who.email, campaign)
    if other == contact or not await campaign.update(other, body):
        raise TemporaryError("Webpower says that the address is another contact's, and shows none")
    return Saved(id=other, replaced=contact)


async def _by_lookup(who: Who, fields: Mapping[str, Value], campaign: Campaign) -> Saved:
    found = await _by_address(who.email, campaign)
    if found is None:
        made = await _create(who.email, fields, campaign)
        if made is not None:
            return Saved(id=made)
        found = await _after_conflict(who.email, campaign)  # somebody was faster
    await campaign.update(found, contact_body(who.email, fields))
    return Saved(id=found)


async def _create(email: str, fields: Mapping[str, Value], campaign: Campaign) -> int | None:
    body = contact_body(email, fields, lang=campaign.settings.default_lang)
    return await campaign.create(body)


async def _by_address(email: str, campaign: Campaign) -> int | None:
    row = await campaign.find(email)
    return None if row is None else as_id(row["id"])


async def _after_conflict(email: str, campaign: Campaign) -> int:
    found = await _by_address(email, campaign)
    if found is None:
        raise TemporaryError("Webpower says that the address has a contact, and shows none")
    return found
