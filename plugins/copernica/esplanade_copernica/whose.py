"""Whose a call is that names what changed by a bare number, which may be a profile's or a subprofile's (fact 11, shape A)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from .calls import Call

if TYPE_CHECKING:
    from .client import Database, Row


async def whose(call: Call, database: Database, *, reads_subprofiles: bool) -> Call:
    """The call with its profile, subprofile and collection, as far as the vendor can tell them; without its bare number.

    A call without the address is about a subprofile; it is asked for only where subprofiles are read (``reads_subprofiles``).
    One with an address and without interests may be about either: taken for the wrong one, it would change somebody else.
    """
    number = call.bare
    if number is None or (call.email is None and not reads_subprofiles):
        return call
    found = replace(call, bare=None)
    if call.kind == "delete":  # what is deleted shows no fields any more, so only a profile that is still there tells
        is_there = call.email is not None and await database.profile(number) is not None
        return _below(found, number) if is_there or call.email is None else found
    row = await database.subprofile(number)
    return _below(found, number, row) if row is not None and _has_fields_of(row, call) else found


def _below(call: Call, number: str, row: Row | None = None) -> Call:
    profile, collection = (str((row or {}).get(name) or "") or None for name in ("profile", "collection"))
    return replace(call, subprofile=number, profile=profile, collection=collection, email=None, previous_email=None)


def _has_fields_of(row: Row, call: Call) -> bool:
    fields = row.get("fields")
    return isinstance(fields, dict) and {name.lower() for name in fields} == {name.lower() for name in call.values}
