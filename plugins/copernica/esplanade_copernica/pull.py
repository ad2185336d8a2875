"""Reading everything a database holds, page by page, from wherever an earlier run stopped (fact 9).

A full pull goes by id, so that profiles that come and go meanwhile move nobody onto a page that was read before. An incremental one
goes by the time of the last change, a quarter of an hour back, and every week a full one runs in its place.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from esplanade import Context, Page, PermanentError, PersonRef, Report

from .audiences import FIELD, key, members, memberships
from .calls import flags_of
from .client import LIST_LIMIT, Database, Row, as_id, field_of
from .mapping import COLLECTION, places
from .settings import CopernicaAudience, CopernicaConsent
from .values import local, moment_of, state_of

if TYPE_CHECKING:
    from esplanade import Value

    from .layout import Layout

Held: TypeAlias = Literal["granted", "denied", "pending", "absent"]

PULLED_AT, FULL_AT = "pulled_at", "pulled_in_full_at"
"""Keys of when the last pull, and the last full one, began."""
OVERLAP_S = 900.0
MOST_TRIES = 3
"""So often the list of ids is begun anew within one pull."""
FULL_EVERY_S = 7 * 86_400.0


class Place(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A cursor: where the next page begins."""

    began: float
    since: str | None = None
    """From which change on, in the vendor's local time; None: everything, by id."""
    after: int = 0
    """The id of the last row that was read."""
    collection: bool = False
    """Whether it is the subprofiles that hold the mapped fields, once all profiles were read."""
    ids: int | None = None
    """How many ids of profiles were listed, once everything else was read of a pull that reads only what changed."""
    last: str = ""
    """The last of them."""
    tries: int = 0
    """How often the list was begun anew, because it moved meanwhile."""


class Pull:
    """Pages of one database."""

    def __init__(self, database: Database, layout: Layout, ctx: Context) -> None:
        self._database = database
        self._layout = layout
        self._ctx = ctx
        self._where = places(ctx.fields.values(), database.settings)
        self._consents = {
            purpose: target for purpose, target in ctx.consents.items() if isinstance(target, CopernicaConsent)
        }

    async def page(self, cursor: str | None) -> Page:
        """Read the page that ``cursor`` points at, or the first. Raises PermanentError for a cursor that is none."""
        settings = self._database.settings
        place = await self._begin() if cursor is None else _decode(cursor)
        if place.ids is not None:
            return await self._ids_page(place, place.ids)
        if place.collection:
            return await self._collection_page(place)
        if place.since is None:
            found = await self._database.page(f"id>{place.after}", limit=settings.page_size)
        else:
            found = await self._database.page(f"modified>={place.since}", limit=settings.page_size, order="modified")
        following = self._next(place, found.rows) if len(found.rows) >= settings.page_size else None
        if following is None:
            following = replace(place, after=0, collection=True) if self._where.collection else self._then(place)
        return await self._turn(
            place, following, [report for row in found.rows if (report := self.report(row)) is not None]
        )

    async def _collection_page(self, place: Place) -> Page:
        """One page of the mapped fields that live in subprofiles; each names its profile by id."""
        number = await self._layout.number(COLLECTION, self._database)
        if number is None:
            return await self._turn(place, self._then(place), [])
        settings = self._database.settings
        found = await self._database.subprofile_page(number, place.after, limit=settings.page_size)
        goes_on = len(found.rows) >= settings.page_size
        following = replace(place, after=as_id(found.rows[-1]) or 0) if goes_on else self._then(place)
        reports = [
            Report(
                remote_id=str(row["profile"]),
                fields=self._where.shown_below(row),
                at=moment_of(row.get("modified"), settings.timezone),
            )
            for row in found.rows
            if row.get("profile")
        ]
        return await self._turn(place, following, reports)

    async def _ids_page(self, place: Place, known: int) -> Page:
        """Some of the ids of all profiles, so that those who are gone are noticed (fact 9.3).

        The list is read by offset, and a profile that is deleted meanwhile moves the rest. So each page begins with the last
        id of the one before; where that is another one by now, the list is read from its start.
        """
        overlap = 1 if known else 0
        ids = await self._database.profile_ids(start=known - overlap, limit=LIST_LIMIT)
        if overlap and ids[:1] != [place.last]:
            if place.tries >= MOST_TRIES:
                self._ctx.log.warning(
                    "profiles are deleted faster than their ids are listed; the next pull tries again"
                )
                return await self._turn(place, None, [])
            return await self._turn(place, replace(place, ids=0, last="", tries=place.tries + 1), [])
        more = (
            len(ids) > overlap
        )  # its end is a page with nothing new, for a vendor may give fewer than it was asked for
        following = replace(place, ids=known - overlap + len(ids), last=ids[-1]) if more else None
        return replace(await self._turn(place, following, []), present=ids, whole=not more and known > 0)

    def _then(self, place: Place) -> Place | None:
        """What is read once all changes are."""
        return None if place.since is None else replace(place, ids=0)

    async def _turn(self, place: Place, following: Place | None, reports: list[Report]) -> Page:
        """The page, and where the next begins; the purposes are covered once a full pull has ended."""
        if following is None:
            await self._ended(place)
        covers = sorted(self._consents) if place.since is None and following is None else []
        cursor = None if following is None else msgspec.json.encode(following).decode()
        return Page(reports=reports, cursor=cursor, covers=covers)

    async def person(self, person: PersonRef) -> Report | None:
        """One profile, whole: by its id, or by its address when the id is not known or gone."""
        row = await self._database.profile(person.remote_id) if person.remote_id is not None else None
        if row is None:
            number = next(iter(await self._database.find(person.email)), None)
            row = await self._database.profile(number) if number is not None else None
        report = self.report(row) if row is not None else None
        if row is None or report is None:
            return None
        profile = str(as_id(row))
        fields = {**report.fields, **await self._fields_below(profile)}
        audiences = {**report.audiences, **await self._audiences(profile)}
        return replace(report, fields=fields, audiences=audiences)

    def report(self, row: Row) -> Report | None:
        """What a profile says; None where it has no address, so that it is nobody."""
        email = self._database.address(row).strip()
        if "@" not in email:
            return None
        consents: dict[str, Held] = {
            purpose: said
            for purpose, target in self._consents.items()
            if (said := state_of(field_of(row, target.field), target)) is not None
        }
        return Report(
            email=email,
            remote_id=str(as_id(row)),
            fields=self._where.shown(row),
            consents=consents,
            audiences=memberships(flags_of(row["interests"]) if "interests" in row else None, self._ctx),
            at=moment_of(row.get("modified"), self._database.settings.timezone),
        )

    async def _fields_below(self, profile: str) -> dict[str, Value]:
        """The mapped fields that live in a profile's subprofile."""
        collection = await self._layout.known(COLLECTION, self._database) if self._where.collection else None
        rows = await self._database.subprofiles(profile, collection) if collection is not None else []
        return self._where.shown_below(rows[0]) if rows else {}

    async def _audiences(self, profile: str) -> dict[str, bool]:
        """The mapped audiences that the profile's list holds, and those that it does not."""
        targets = {
            name: each
            for name, each in self._ctx.audiences.items()
            if isinstance(each, CopernicaAudience) and each.interest is None
        }
        collection = await self._layout.known("audiences", self._database) if targets else None
        if collection is None:
            return {}
        rows = await self._database.subprofiles(profile, collection)
        listed = set(members(rows[0])) if rows and field_of(rows[0], FIELD) is not None else set()
        return {name: key(name, target) in listed for name, target in targets.items()}

    async def _begin(self) -> Place:
        now, settings = self._ctx.clock.time(), self._database.settings
        last, full = await self._ctx.kv.get(PULLED_AT), await self._ctx.kv.get(FULL_AT)
        if settings.pull_mode == "full" or last is None or full is None or now >= full + FULL_EVERY_S:
            return Place(began=now)
        names = {str(row.get("name", "")).lower() for row in await self._database.fields()}
        if "modified" in names:  # then the filter would ask for that field (fact 9)
            self._ctx.log.warning("the database has a field called modified, so every pull reads everything")
            return Place(began=now)
        return Place(began=now, since=local(datetime.fromtimestamp(last - OVERLAP_S, UTC), settings.timezone))

    def _next(self, place: Place, rows: list[Row]) -> Place | None:
        if not rows:
            return None
        last = as_id(rows[-1]) or 0
        if place.since is None:
            return replace(place, after=last)
        since = str(rows[-1].get("modified") or "")
        if since == place.since:
            self._ctx.log.warning("a whole page changed in one second, so everything is read")
            return Place(began=place.began)
        return replace(place, since=since or place.since, after=last)

    async def _ended(self, place: Place) -> None:
        await self._ctx.kv.set(PULLED_AT, place.began)
        if place.since is None:
            await self._ctx.kv.set(FULL_AT, place.began)


def _decode(cursor: str) -> Place:
    try:
        return msgspec.json.decode(cursor, type=Place)
    except msgspec.DecodeError:
        raise PermanentError("the cursor of the last pull cannot be read; pull everything anew") from None
