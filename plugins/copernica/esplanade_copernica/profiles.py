"""Making a profile hold what the hub says, whether it is there, gone, renamed or another one's by now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from .client import Database, NotThereError, Saved, same_address
from .layout import BIG
from .mapping import COLLECTION
from .values import as_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esplanade import Context, Value

    from .layout import Layout


class Who(Struct, frozen=True, kw_only=True):
    """A person as the hub names them to the vendor."""

    email: str
    remote_id: str | None = None
    previous_email: str | None = None

    @property
    def renamed(self) -> bool:
        """Whether the address is another one than the vendor knows, not only written otherwise."""
        return self.previous_email is not None and not same_address(self.previous_email, self.email)


async def save(who: Who, fields: Mapping[str, str], database: Database, ctx: Context) -> Saved:
    """Create or update a profile. ``fields`` are all that this hub maps; those of other owners stay as they are.

    Where the new address of a person has a profile of its own already, that is the one: the caller's hub takes the other off
    every list.
    """
    known = await _known(who, database)
    if who.renamed:
        others = [each for each in await database.find(who.email) if each != known]
        if others:
            ctx.log.info("address belongs to another profile", profile=others[0], replaced=known)
            known = others[0]
    if known is not None:
        try:
            await database.update(known, {database.settings.email_field: who.email, **fields})
            return Saved(known)
        except NotThereError:
            ctx.log.info("profile is gone", profile=known)
    return await database.upsert(who.email, fields)


async def erase(who: Who, database: Database) -> bool:
    """Remove the known profile, or every one with the address; whether there was any."""
    profiles = [who.remote_id] if who.remote_id is not None else await database.find(who.email)
    removed = [await database.remove_profile(each) for each in profiles]
    return any(removed)


async def keep_values(profile: str, values: Mapping[str, Value], layout: Layout, database: Database) -> dict[str, str]:
    """Write the fields of the one subprofile with a profile's values; returns what was written. All is made that is missing."""
    if not values:
        return {}
    collection = await layout.collection(COLLECTION, dict.fromkeys(values, BIG), database)
    written = as_fields(values, layout.types_in(collection), database.settings.timezone)
    await database.keep_one(profile, collection, written)
    return written


async def find(who: Who, database: Database) -> str | None:
    """The id of a person's profile: the known one, unchecked, or the oldest with the address."""
    return who.remote_id or next(iter(await database.find(who.email)), None)


async def _known(who: Who, database: Database) -> str | None:
    if who.remote_id is not None or not who.renamed or who.previous_email is None:
        return who.remote_id
    return next(iter(await database.find(who.previous_email)), None)
