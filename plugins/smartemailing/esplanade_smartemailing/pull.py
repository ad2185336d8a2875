"""Reading everything an account holds, page by page, from wherever an earlier run stopped.

The vendor pages by row offset over data that changes (section 3). Rows come in order of id, so the last id read says where the
next page must begin: a page that begins beyond it is preceded by rows that moved up when others were deleted, and is read again
from further back. Nobody is lost so, and nobody is told twice.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from esplanade import Context, Page, PermanentError, PersonRef, Report, TemporaryError

from .client import EXPANDED, as_id, whole
from .mapping import is_outdated, report
from .settings import SmartEmailingAudience, SmartEmailingConsent
from .values import local

if TYPE_CHECKING:
    from .client import Account, Row
    from .layout import Layout

SINCE = "pulled_since"
"""Key of when the last complete pull began, for ``since_query_template``."""
WHOLE = "pulled_whole"
"""Key of when the last one began that read all contacts."""
OVERLAP_S = 7_200.0
"""So far back is read again: clocks differ, and a local time without its zone is an hour off where one comes twice."""
WHOLE_EVERY_S = 7 * 86_400.0
"""So often all contacts are read all the same, for of those deleted nothing else tells."""


class Place(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A cursor."""

    offset: int = 0
    """The row from which to read: the last one that was read, so that it can be seen whether the list has moved."""
    last: int = 0
    """The id of the last contact that was read."""
    read: int = 0
    """How many contacts were read."""
    since: str | None = None
    """Only what changed since then is read; None for all."""
    began: float = 0.0

    def __post_init__(self) -> None:
        if min(self.offset, self.last, self.read) < 0:
            raise ValueError("a place has no negative numbers")


class Pull:
    """One page of a pull, or one person."""

    def __init__(self, account: Account, layout: Layout, ctx: Context) -> None:
        self._account = account
        self._layout = layout
        self._ctx = ctx

    async def page(self, cursor: str | None) -> Page:
        """Read the page that ``cursor`` points at, or the first."""
        place = await self._begin() if cursor is None else _decode(cursor)
        size = self._account.settings.page_size
        page = await self._account.page("contacts", offset=place.offset, **EXPANDED, **self._since(place))
        contacts = [whole(row) for row in page.rows]
        if any(_id(one) >= _id(next_) for one, next_ in pairwise(contacts)):
            raise TemporaryError(
                "SmartEmailing answered contacts that are not in order of id, so that some would be missed"
            )
        if place.offset and (not contacts or _id(contacts[0]) > place.last):
            back = place.offset - size if contacts else place.offset // 2
            return _page([], msgspec.structs.replace(place, offset=max(back, 0)))
        new = [row for row in contacts if _id(row) > place.last]
        # of a pull that reads only what changed nobody's absence from a list can be told but by themselves
        reports, read = await self._reports(new, absences=place.since is not None), place.read + len(new)
        if len(contacts) > 1 and not page.is_last(place.offset + len(contacts), size):
            onward = msgspec.structs.replace(
                place,
                offset=place.offset + len(contacts) - 1,
                last=max(place.last, _id(contacts[-1])),
                read=read,
            )
            return _page(reports, onward)
        if self._account.settings.since_query_template:
            await self._ctx.kv.set(SINCE, place.began)
            if place.since is None:
                await self._ctx.kv.set(WHOLE, place.began)
        is_filtered = place.since is not None or "contacts" in self._account.settings.extra_query
        is_short = page.total is not None and read < page.total
        if is_short:
            self._ctx.log.warning("a pull has read fewer contacts than there are", read=read, total=page.total)
        is_whole = not is_filtered and not is_short
        return Page(reports=reports, covers=self._covers() if is_whole else [])

    async def person(self, person: PersonRef) -> Report | None:
        """One contact, whole: by its id, or by its address when the id is not known or gone."""
        row = await self._account.read(person.remote_id) if person.remote_id is not None else None
        row = row or await self._account.find(person.email)
        return None if row is None else await self.report(row)

    async def report(self, row: Row) -> Report:
        """What one contact holds, absences too."""
        (found,) = await self._reports([row], absences=True)
        return found

    async def _begin(self) -> Place:
        settings, began = self._account.settings, self._ctx.clock.time()
        self._layout.doubt()
        if not settings.since_query_template:
            return Place(began=began)
        since, last_whole = await self._ctx.kv.get(SINCE), await self._ctx.kv.get(WHOLE)
        if since is None or last_whole is None or began - last_whole >= WHOLE_EVERY_S:
            return Place(began=began)
        return Place(since=local(datetime.fromtimestamp(since - OVERLAP_S, UTC), settings.esp_timezone), began=began)

    def _since(self, place: Place) -> dict[str, str]:
        if place.since is None:
            return {}
        return {name: text.replace("{since}", place.since) for name, text in self._template()}

    def _template(self) -> list[tuple[str, str]]:
        return parse_qsl(self._account.settings.since_query_template)

    def _covers(self) -> list[str]:
        """Every contact was read with all its lists."""
        return sorted(name for name, each in self._ctx.consents.items() if isinstance(each, SmartEmailingConsent))

    async def _reports(self, rows: list[Row], *, absences: bool = False) -> list[Report]:
        if not rows:
            return []
        ctx, account = self._ctx, self._account
        names = list(dict.fromkeys(ctx.fields.values()))
        fields = await self._layout.fields(names, account, ctx.clock)
        if is_outdated(rows, fields):
            self._layout.doubt()
            fields = await self._layout.fields(names, account, ctx.clock)
        audiences = await self._audiences()
        return [
            report(
                row,
                names=names,
                fields=fields,
                consents=ctx.consents,
                audiences=audiences,
                zone=account.settings.esp_timezone,
                absences=absences,
            )
            for row in rows
        ]

    async def _audiences(self) -> dict[str, int]:
        targets = {name: each for name, each in self._ctx.audiences.items() if isinstance(each, SmartEmailingAudience)}
        if any(each.list is None for each in targets.values()):
            await self._layout.know_lists(self._account, self._ctx.clock)
        known = {name: self._layout.known_list(name, each) for name, each in targets.items()}
        return {name: number for name, number in known.items() if number is not None}


def _id(row: Row) -> int:
    return int(as_id(row) or 0)


def _page(reports: list[Report], place: Place) -> Page:
    return Page(reports=reports, cursor=msgspec.json.encode(place).decode())


def _decode(cursor: str) -> Place:
    try:
        return msgspec.json.decode(cursor, type=Place)
    except (msgspec.DecodeError, ValueError):
        raise PermanentError("the cursor is none of this plugin's; start the pull anew") from None
