"""The hub's own webhooks in the account: made, found again, mended, removed (fact 10.1).

The vendor has no call that lists webhooks, so their numbers are kept in the connector's store, each as soon as it is known, with
the account that they are in. A number of another account is never called: there it would be somebody else's webhook. Those that
the hub's own writes could fire name ``webhook_callers``; nothing that a person does in a mail is left out so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from esplanade import Webhooks

from .client import NotThereError
from .layout import BIG
from .mapping import COLLECTION, places

if TYPE_CHECKING:
    from esplanade import Context

    from .client import Database, Row
    from .layout import Layout

KEPT = "webhooks"
"""Under this key the connector's store has the account's id, and the numbers of the webhooks by what they are for."""
CHANGES = ("create", "update", "delete")
"""Triggers that the hub's own writes fire too, so that they are limited to callers; and all of a subprofile's."""


class Wanted(Struct, frozen=True, kw_only=True):
    """One webhook as it should be."""

    trigger: str
    callers: list[str]
    place: dict[str, int]
    """The database or the collection that it is tied to."""

    @property
    def words(self) -> str:
        """What an operator calls it, and the key under which its number is kept."""
        (kind, number), *_ = self.place.items()
        return f"{self.trigger} of {kind} {number}"

    def body(self, url: str) -> Row:
        """What is posted to make it."""
        return {**self.change(url), **self.place}

    def change(self, url: str) -> Row:
        """What is put to mend it; its place cannot be changed."""
        callers = {"callers": self.callers} if self.callers else {}
        return {"handler": url, "trigger": self.trigger, **callers}

    def is_like(self, row: Row, url: str) -> bool:
        """Whether a webhook is as it should be."""
        callers = row.get("callers") or []
        told = sorted(callers) if isinstance(callers, list) else None
        return (row.get("handler"), row.get("trigger"), told) == (url, self.trigger, sorted(self.callers))


class Registration:
    """The webhooks of one connector."""

    def __init__(self, database: Database, layout: Layout, account: str, ctx: Context) -> None:
        self._database = database
        self._layout = layout
        self._account = account
        self._ctx = ctx
        self._numbers: dict[str, str] = {}

    async def register(self, url: str) -> Webhooks:
        """See to it that the account calls ``url`` of all that is read."""
        await self._load()
        told = Webhooks()
        wanted = {each.words: each for each in await self._wanted()}
        for words, each in wanted.items():
            (await self._see_to(each, url, told)).append(words)
        for words in [each for each in self._numbers if each not in wanted]:
            if await self._remove(words):
                told.removed.append(words)
        return told

    async def remove(self) -> Webhooks:
        """Remove all that were made."""
        await self._load()
        return Webhooks(removed=[words for words in list(self._numbers) if await self._remove(words)])

    async def _wanted(self) -> list[Wanted]:
        settings = self._database.settings
        here = {"database": settings.database_id}
        found = [
            Wanted(trigger=each, callers=settings.webhook_callers if each in CHANGES else [], place=here)
            for each in settings.webhook_triggers
        ]
        below = places(self._ctx.fields.values(), settings).collection
        if below:
            await self._layout.collection(COLLECTION, dict.fromkeys(below.values(), BIG), self._database)
            number = await self._layout.number(COLLECTION, self._database)
            if number is not None:
                there = {"collection": int(number)}
                found += [
                    Wanted(trigger=each, callers=settings.webhook_callers, place=there)
                    for each in ("create", "update")
                    if each in settings.webhook_triggers
                ]
        return found

    async def _see_to(self, wanted: Wanted, url: str, told: Webhooks) -> list[str]:
        """Find, mend or make one; returns the list of ``told`` that it belongs in."""
        number = self._numbers.get(wanted.words)
        row = await self._read(number) if number is not None else None
        if row is None:
            # Not repeatable: where no answer came nobody knows its number. A call that comes twice is told by its event's id.
            await self._keep(wanted.words, await self._database.create("/webhooks", wanted.body(url)))
            return told.made
        if wanted.is_like(row, url):
            return told.kept
        await self._database.put(f"/webhook/{number}", wanted.change(url))
        return told.mended

    async def _read(self, number: str) -> Row | None:
        try:
            found = await self._database.read(f"/webhook/{number}")
        except NotThereError:
            return None
        return found if isinstance(found, dict) else None

    async def _remove(self, words: str) -> bool:
        """Delete one; False where somebody had deleted it already."""
        is_there = True
        try:
            await self._database.delete(f"/webhook/{self._numbers[words]}")
        except NotThereError:
            is_there = False
        await self._keep(words, None)
        return is_there

    async def _load(self) -> None:
        kept: Any = await self._ctx.kv.get(KEPT)
        ours = isinstance(kept, list) and kept[0] == self._account
        self._numbers = dict(kept[1]) if ours else {}

    async def _keep(self, words: str, number: str | None) -> None:
        if number is None:
            del self._numbers[words]
        else:
            self._numbers[words] = number
        await self._ctx.kv.set(KEPT, [self._account, self._numbers])
