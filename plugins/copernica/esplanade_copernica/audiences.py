"""Audiences at Copernica: one subprofile per profile, whose text field lists them (fact 7), and interests (fact 4)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from esplanade import AudienceChange

from .client import Database, Row, field_of
from .layout import AUDIENCES, Layout
from .settings import CopernicaAudience
from .values import local

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esplanade import Context

FIELD = "audiences"


async def change(
    profile: str, audiences: AudienceChange[CopernicaAudience], layout: Layout, database: Database, ctx: Context
) -> None:
    """Add and remove memberships of the hub's; those that others wrote into the list, and other interests, stay."""
    await _change_interests(profile, audiences, layout, database)
    audiences = AudienceChange(add=_listed(audiences.add), remove=_listed(audiences.remove))
    if not audiences.add and not audiences.remove:
        return
    collection = await layout.collection("audiences", AUDIENCES, database)
    row = next(iter(await database.subprofiles(profile, collection)), None)
    before = members(row)
    after = [each for each in before if each not in {key(name, each_) for name, each_ in audiences.remove.items()}]
    after += [each for name, target in audiences.add.items() if (each := key(name, target)) not in after]
    if after == before:
        return
    zone = database.settings.timezone
    fields = {FIELD: written(after), "updated": local(datetime.fromtimestamp(ctx.clock.time(), UTC), zone)}
    await database.keep_one(profile, collection, fields)


async def _change_interests(
    profile: str, audiences: AudienceChange[CopernicaAudience], layout: Layout, database: Database
) -> None:
    flags = {target.interest: False for target in audiences.remove.values() if target.interest is not None}
    flags |= {target.interest: True for target in audiences.add.values() if target.interest is not None}
    if flags:
        await layout.interests({name for name, has in flags.items() if has}, database)
        await database.merge_interests(profile, flags)


def _listed(targets: dict[str, CopernicaAudience]) -> dict[str, CopernicaAudience]:
    """Those that stand in the list, and are no interests."""
    return {name: target for name, target in targets.items() if target.interest is None}


def memberships(interests: Mapping[str, bool] | None, ctx: Context) -> dict[str, bool]:
    """What a profile's interests say of the mapped audiences that are interests; nothing where they are not told."""
    if interests is None:
        return {}
    return {
        name: interests.get(target.interest, False)
        for name, target in ctx.audiences.items()
        if isinstance(target, CopernicaAudience) and target.interest is not None
    }


def key(name: str, target: CopernicaAudience) -> str:
    """What stands in the list for an audience: its number, or its name without what delimits the list."""
    return str(target.id) if target.id is not None else name.replace(",", " ")


def members(row: Row | None) -> list[str]:
    """The audiences that a subprofile lists."""
    text = (field_of(row, FIELD) if row is not None else None) or ""
    return [each for part in text.split(",") if (each := part.strip())]


def written(audiences: list[str]) -> str:
    """The list as it is kept: ``,12,87,``, so that a selection can ask for ``,12,``; empty without any."""
    return f",{','.join(audiences)}," if audiences else ""
