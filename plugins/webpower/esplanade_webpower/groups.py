"""Contact groups: which one is an audience's, how people get in, and how they get out."""

from __future__ import annotations

import asyncio

from esplanade import Context, PermanentError, ProfileEvent

from .client import Campaign, NoContactError, NoGroupError, NoListError, as_id
from .settings import Removal, WebpowerAudience, WebpowerConsent, WebpowerSettings

WAY_OUT = "group_remove"
"""Key of the removal call that is known to work at this licence."""

MAX_NAME = 80


class Groups:
    """The contact groups of one campaign. One object per connector, so that its lock means something."""

    def __init__(self, settings: WebpowerSettings) -> None:
        self.settings = settings
        self._lock = asyncio.Lock()
        self._system: frozenset[int] | None = None

    async def writable(self, group: int, where: str, campaign: Campaign) -> int:
        """The same id, unless the group is one of Webpower's own: writing to those sends mails or lifts opt-outs."""
        own = {self.settings.optin_group_id, *self.settings.refusals}
        if group not in own:
            own |= await self._system_groups(campaign)
        if group in own:
            raise PermanentError(f"{where}: {group} is a system group of Webpower; choose a contact group of your own")
        return group

    async def known(self, name: str, target: WebpowerAudience, ctx: Context) -> int | None:
        """The group of an audience as far as this connector knows without asking the vendor."""
        return target.group if target.group is not None else as_id(await ctx.kv.get(_key(name)))

    async def resolve(self, name: str, target: WebpowerAudience, campaign: Campaign, ctx: Context) -> int:
        """The group of an audience, found by its exact name or made. Concurrent calls make one group."""
        if target.group is not None:
            return await self.writable(target.group, f"audiences.{name}", campaign)
        async with self._lock:
            group = as_id(await ctx.kv.get(_key(name)))
            if group is None:
                group = await self._by_name(name, campaign) or await self._make(name, campaign)
                await ctx.kv.set(_key(name), group)
                ctx.log.info("contact group of audience", audience=name, group=group)
            return group

    async def find(self, name: str, target: WebpowerAudience, campaign: Campaign, ctx: Context) -> int | None:
        """The group of an audience, or None: who leaves an audience makes no group for it."""
        if target.group is not None:
            return await self.writable(target.group, f"audiences.{name}", campaign)
        return await self.known(name, target, ctx) or await self._by_name(name, campaign)

    async def join(
        self, contact: int, audiences: dict[str, WebpowerAudience], campaign: Campaign, ctx: Context
    ) -> None:
        """Add a contact to the groups of audiences, in one call. Raises NoContactError."""
        groups = [await self.resolve(name, target, campaign, ctx) for name, target in audiences.items()]
        if not groups:
            return
        try:
            await campaign.join(contact, groups)
        except NoGroupError:
            for name, target in audiences.items():
                await self._join_again(contact, name, target, campaign, ctx)

    async def leave(self, contact: int, group: int, campaign: Campaign, ctx: Context) -> None:
        """Take a contact out of a group; that it was not in it is as good. Raises NoContactError."""
        remembered = await ctx.kv.get(WAY_OUT)
        for way in sorted(self.settings.group_remove, key=lambda each: each != remembered):
            if await campaign.leave(contact, group, Removal.parse(way)):
                if way != remembered:
                    await ctx.kv.set(WAY_OUT, way)
                return
            # A 404 may also mean: no member. Another way is not tried on a guess, because a server that ignores the
            # body of a DELETE would take the contact out of every group.
            if group not in await campaign.groups_of(contact):
                return
        raise PermanentError(
            f"Webpower did not take the contact out of group {group}: it answered 404 or 405 to all of group_remove; "
            "ask the vendor for the call and set group_remove"
        )

    async def move(
        self, old: int, new: int, event: ProfileEvent[WebpowerAudience], campaign: Campaign, ctx: Context
    ) -> None:
        """Give the mapped memberships of one contact to another; a consent only if it is known as granted there."""
        try:
            held = await campaign.groups_of(old)
        except NoContactError:
            return
        granted: dict[int, bool] = {}
        for purpose, target in ctx.consents.items():
            if isinstance(target, WebpowerConsent):
                granted[target.group] = granted.get(target.group, False) or event.held.get(purpose) == "granted"
        audiences = {
            group
            for name, target in ctx.audiences.items()
            if isinstance(target, WebpowerAudience) and (group := await self.known(name, target, ctx))
        }
        taken = {
            await self.writable(group, "consents or audiences", campaign) for group in held & (audiences | set(granted))
        }
        refusals = set(self.settings.refusals)
        lawful = not refusals or refusals.isdisjoint(await campaign.groups_of(new))
        given = sorted(group for group in taken if (lawful if granted.get(group) else group not in granted))
        if given:
            await campaign.join(new, given)
        for group in sorted(taken):
            await self.leave(old, group, campaign, ctx)

    async def _join_again(
        self, contact: int, name: str, target: WebpowerAudience, campaign: Campaign, ctx: Context
    ) -> None:
        try:
            await campaign.join(contact, [await self.resolve(name, target, campaign, ctx)])
        except NoGroupError:
            if target.group is not None:
                raise PermanentError(
                    f"audiences.{name}: Webpower has no contact group {target.group}; correct its id"
                ) from None
            await ctx.kv.set(_key(name), None)  # somebody deleted it there
            await campaign.join(contact, [await self.resolve(name, target, campaign, ctx)])

    async def _system_groups(self, campaign: Campaign) -> frozenset[int]:
        if self._system is None:
            try:
                rows = await campaign.every(self.settings.path("groups"))
            except NoListError:
                rows = []
            self._system = frozenset(int(row["id"]) for row in rows if row.get("is_system"))
        return self._system

    def _name(self, audience: str) -> str:
        name = self.settings.audience_group_prefix + audience
        if len(name) > MAX_NAME:
            raise PermanentError(f"audiences.{audience}: a group's name has at most {MAX_NAME} characters; give its id")
        return name

    async def _by_name(self, audience: str, campaign: Campaign) -> int | None:
        name = self._name(audience)
        for row in await campaign.every(self.settings.path("groups")):
            if row.get("name") == name:
                if row.get("is_system"):
                    raise PermanentError(
                        f"audiences.{audience}: {name!r} is a system group of Webpower; set the id of another group"
                    )
                return as_id(row["id"])
        return None

    async def _make(self, audience: str, campaign: Campaign) -> int:
        made = await campaign.create_group(self._name(audience)) or await self._by_name(audience, campaign)
        if made is None:
            raise PermanentError(f"audiences.{audience}: Webpower neither made nor shows its group; set its group id")
        return made


def _key(audience: str) -> str:
    return f"group:{audience}"
