"""The calls of one Copernica database (REST v2 to v4), and what its answers mean.

Version 4 takes a token in a header, which the session sees to; up to version 3 the API token goes along in each query, which
no log and no error holds.

Every write that selects profiles goes through ``Filter``, because the vendor updates every profile of the database where a filter
is empty or names only fields that it does not know (facts 5 and 6.1).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from esplanade import AuthenticationError, Http, PermanentError, Response, TemporaryError
from esplanade.http import redact, without_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .settings import CopernicaSettings

Row = dict[str, Any]

TOKEN_IN_HEADER = 4
"""The version of the API from which on the token is in a header (fact 3)."""
LIST_LIMIT = 1_000
"""The most rows that the vendor gives at once on this host (fact 5)."""
ABOUT_TOKEN = "access token"  # noqa: S105 - the words, not one
"""What a 400 says that is about the token (fact 3)."""
REMOVED = "already been removed"
GONE = (
    "no entity with supplied id",
    "no profile with supplied id",
    "no subprofile with supplied id",
    "subprofile could not be created",
    REMOVED,
)
"""What a 400 says that is about something that is not there (facts 5 and 9)."""
OTHER_PATHS = {"draganddrop": "ms", "html": "publisher"}
"""New names of the mailing calls, and their old ones (fact 2)."""


class NotThereError(TemporaryError):
    """The vendor no longer has this profile or subprofile."""

    def __init__(self) -> None:
        super().__init__("Copernica no longer has this profile, although it was there a moment ago")


class Filter(Struct, frozen=True):
    """Which rows a call is about: those whose field equals a value. Neither may be empty."""

    field: str
    value: str

    def __post_init__(self) -> None:
        if not self.field.strip() or not self.value.strip():
            raise PermanentError("a filter with an empty field or value would match every profile, so nothing is sent")

    @property
    def text(self) -> str:
        """As ``fields[]`` takes it: no blanks around the operator (fact 5)."""
        return f"{self.field}=={self.value}"


class Found(Struct, frozen=True, kw_only=True):
    """One page of a list. ``next`` is the id from which the next page starts, None where the vendor names none."""

    rows: list[Row]
    next: str | None = None


class Saved(Struct, frozen=True):
    """A profile that was written. ``made``: it is new, so what was not written is the fields' default."""

    id: str
    made: bool = False


class Database:
    """One database at the vendor: each method is one kind of call. Raises what ``Http`` raises."""

    def __init__(self, settings: CopernicaSettings, http: Http) -> None:
        self.settings = settings
        self.http = http

    # Anything.

    async def read(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """What a GET answers. Raises NotThereError for an entity that is not there."""
        return (await self._ask("GET", path, params=params)).json()

    async def rows(self, path: str) -> list[Row]:
        """All rows of a short list, in order of id."""
        found: list[Row] = []
        while True:
            page = listing(await self.read(path, {"start": len(found), "limit": LIST_LIMIT}))
            found += page.rows
            if len(page.rows) < LIST_LIMIT:
                return sorted(found, key=lambda row: as_id(row) or 0)

    async def create(self, path: str, body: Row) -> str:
        """POST what is new; returns its id."""
        answer = await self._ask("POST", path, body=body)
        made = created_in(answer)
        if made is None:
            raise TemporaryError(f"Copernica answered {answer.status} to a POST without naming what it made")
        return made

    async def put(self, path: str, body: Row) -> None:
        """PUT to an entity that is there. Raises NotThereError."""
        await self._ask("PUT", path, body=body)

    async def delete(self, path: str) -> None:
        """DELETE an entity. Raises NotThereError where it is gone."""
        await self._ask("DELETE", path)

    # The database.

    async def identity(self) -> Row:
        """The account: id, name, description, company (fact 4)."""
        found = await self.read("/identity")
        if not isinstance(found, dict) or as_id(found) is None:
            raise TemporaryError("Copernica answered without the id of the account")
        return found

    async def fields(self) -> list[Row]:
        """The database's fields."""
        return await self.rows(self._database("/fields"))

    async def collections(self) -> list[Row]:
        """The database's collections."""
        return await self.rows(self._database("/collections"))

    # Profiles.

    async def find(self, email: str) -> list[str]:
        """The ids of the profiles with exactly this address, oldest first: the vendor keeps duplicates (fact 6.1)."""
        found = await self.page(Filter(self.settings.email_field, email), limit=LIST_LIMIT)
        mine = [row for row in found.rows if same_address(self.address(row), email)]
        return [str(number) for number in sorted(as_id(row) or 0 for row in mine)]

    async def page(self, *filters: Filter | str, limit: int, order: str = "id") -> Found:
        """One page of profiles, in order; ``filters`` all hold."""
        params: list[tuple[str, str]] = [("fields[]", each if isinstance(each, str) else each.text) for each in filters]
        params += [
            ("limit", str(limit)),
            ("total", "false"),
            ("dataonly", "true"),
            ("orderby", order),
            ("order", "asc"),
        ]
        return _whole(listing(await self.read(self._database("/profiles") + query(params))))

    async def profile_ids(self, *, start: int, limit: int) -> list[str]:
        """Some of the ids of all profiles, by offset: this call knows no filter."""
        found = await self.read(self._database("/profileids"), {"start": start, "limit": limit})
        if not isinstance(found, list):
            raise TemporaryError("Copernica answered profileids with something else than a list")
        return [str(each) for each in found]

    async def subprofile_page(self, collection: str, after: int, *, limit: int) -> Found:
        """One page of a collection's subprofiles, each with its ``profile``, in order of id."""
        params = [("fields[]", f"id>{after}"), ("limit", str(limit)), ("total", "false"), ("dataonly", "true")]
        params += [("orderby", "id"), ("order", "asc")]
        return _whole(listing(await self.read(f"/collection/{collection}/subprofiles" + query(params))))

    async def profile(self, profile: str) -> Row | None:
        """One profile whole; None for one that is removed or was never there (fact 9)."""
        return await self._one(f"/profile/{profile}")

    async def subprofile(self, subprofile: str) -> Row | None:
        """One subprofile, with its ``profile`` and ``collection``; None for one that is removed or was never there."""
        return await self._one(f"/subprofile/{subprofile}")

    async def update(self, profile: str, fields: Mapping[str, str]) -> None:
        """Write fields of one profile. Raises NotThereError where the vendor says that it is gone."""
        await self._ask("PUT", f"/profile/{profile}", body={"fields": dict(fields)})

    async def remove_profile(self, profile: str) -> bool:
        """Remove one profile completely, so that not even its row stays; False where it is gone (facts 4 and 9)."""
        try:
            await self._ask("DELETE", f"/profile/{profile}", body={"completely": True})
        except NotThereError:
            return False
        return True

    async def merge_interests(self, profile: str, flags: Mapping[str, bool]) -> None:
        """Give interests to one profile, and take others away; those that are not named stay (fact 4: POST merges)."""
        await self._ask("POST", f"/profile/{profile}/interests", body={name: int(has) for name, has in flags.items()})

    async def upsert(self, email: str, fields: Mapping[str, str]) -> Saved:
        """Write fields of the profiles with this address, or make one; of several the oldest is returned."""
        settings = self.settings
        by_address = Filter(settings.email_field, email)
        body = {"fields": {settings.email_field: email, **fields}}  # the filter's value is not copied (fact 6.1)
        path = self._database("/profiles") + query([("fields[]", by_address.text), ("create", "1"), ("async", "0")])
        made = created_in(await self._ask("PUT", path, body=body))
        if made is not None:
            return Saved(made, made=True)
        found = await self.find(email)
        if not found:
            raise TemporaryError("Copernica took a profile and shows none with its address")
        return Saved(found[0])

    async def update_all(self, email: str, fields: Mapping[str, str]) -> None:
        """Write fields of every profile with this address, and make none."""
        path = self._database("/profiles") + query(
            [("fields[]", Filter(self.settings.email_field, email).text), ("async", "0")]
        )
        await self._ask("PUT", path, body={"fields": dict(fields)})

    async def unsubscribe(self, profile: str) -> None:
        """Run the database's unsubscribe behaviour for one profile."""
        await self._ask("PUT", f"/profile/{profile}/unsubscribe", body={})

    async def unsubscribe_behaviour(self) -> str:
        """``nothing``, ``remove`` or ``update``; empty where the vendor does not say."""
        found = await self.read(self._database("/unsubscribe"))
        said = found.get("behavior") if isinstance(found, dict) else None
        return said.lower() if isinstance(said, str) else ""

    # Subprofiles.

    async def subprofiles(self, profile: str, collection: str) -> list[Row]:
        """A profile's subprofiles in one collection, oldest first."""
        return await self.rows(f"/profile/{profile}/subprofiles/{collection}")

    async def upsert_subprofile(self, profile: str, collection: str, by: Filter, fields: Mapping[str, str]) -> None:
        """Write the subprofile that a key names, or make it (fact 6.3: the body is flat)."""
        path = f"/profile/{profile}/subprofiles/{collection}" + query([("fields[]", by.text), ("create", "1")])
        await self._ask("PUT", path, body={by.field: by.value, **fields})

    async def keep_one(self, profile: str, collection: str, fields: Mapping[str, str]) -> None:
        """Write the one subprofile that a profile has in a collection, or make it."""
        row = next(iter(await self.subprofiles(profile, collection)), None)
        number = as_id(row) if row is not None else None
        if number is None:
            await self.create(f"/profile/{profile}/subprofiles/{collection}", dict(fields))
        else:
            await self.update_subprofile(str(number), fields)

    async def update_subprofile(self, subprofile: str, fields: Mapping[str, str]) -> None:
        """Write fields of one subprofile."""
        await self._ask("PUT", f"/subprofile/{subprofile}/fields", body=dict(fields))

    # Mailings.

    async def mailing_call(self, method: str, path: str, body: Row | None = None) -> Response:
        """A mailing call by its new name, or by its old one where the account has only that (fact 2).

        A 400 or 404 says that nothing was done, so the other name is tried after it even where the first one sends.
        """
        names = [path, _old(path)] if self.settings.mail_path_style == "draganddrop" else [_old(path), path]
        answer = await self._raw(method, names[0], body)
        if answer.status in {400, 404} and "invalid method" in words_of(answer).lower():
            answer = await self._raw(method, names[1], body)
        try:
            return self._understood(answer, f"{method} {path.partition('?')[0]}", body)
        except NotThereError:
            what = [f"{kind} {body[kind]}" for kind in ("template", "document") if body and kind in body]
            raise PermanentError(
                f"Copernica has no such {' '.join(what) or 'template, document'} or target: "
                f"{self._told(answer, body) or answer.status}; correct the number in connectors.yaml"
            ) from None

    # Inside.

    def _database(self, path: str) -> str:
        return f"/database/{self.settings.database_id}{path}"

    async def _one(self, path: str) -> Row | None:
        try:
            found = await self.read(path)
        except NotThereError:
            return None
        return found if isinstance(found, dict) and not found.get("removed") else None

    async def _ask(
        self, method: str, path: str, *, body: Row | None = None, params: Mapping[str, str | int] | None = None
    ) -> Response:
        answer = await self._raw(method, path, body, params)
        return self._understood(answer, f"{method} {path.partition('?')[0]}", body)

    async def _raw(
        self, method: str, path: str, body: Row | None = None, params: Mapping[str, str | int] | None = None
    ) -> Response:
        settings = self.settings
        if settings.api_version < TOKEN_IN_HEADER:
            params = {**(params or {}), "access_token": settings.api_token.reveal()}
        # 303 after a PUT is how version 2 says that it was done (fact 2)
        answer = await self.http.request(
            method, f"/v{settings.api_version}{path}", json=body, params=params, allow=(303, 400, 404, 422)
        )
        if answer.status == 400 and ABOUT_TOKEN in words_of(answer).lower():
            raise AuthenticationError(
                f"Copernica refuses the API token for version {settings.api_version} of its API; check the API key, its rights, "
                "and from which addresses it may be used"
            )
        return answer

    def _understood(self, answer: Response, what: str, sent: Row | None) -> Response:
        """An answer that says that it was done. Raises NotThereError, PermanentError with the vendor's words."""
        if answer.status < 400:
            return answer
        words = words_of(answer).lower()
        if answer.status == 404 or words.startswith(GONE) or REMOVED in words:
            raise NotThereError
        raise PermanentError(
            f"Copernica refused {redact(what)} with {answer.status}: {self._told(answer, sent) or 'no words'}"
        )

    def _told(self, answer: Response, sent: Row | None) -> str:
        """The vendor's words, as far as they may be told: they may quote what was sent and, from the query, the token."""
        words = words_of(answer).replace(self.settings.api_token.reveal(), "[secret]")
        return redact(without_values(words, sent))

    def address(self, row: Row) -> str:
        """The address in a profile; empty where it has none. Field names come in any case (fact 5)."""
        return field_of(row, self.settings.email_field) or ""


def query(params: Sequence[tuple[str, str]]) -> str:
    """A query string in which ``fields[]`` may stand more than once."""
    return "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in params)


def field_of(row: Row, name: str) -> str | None:
    """One field of a profile or subprofile, by its name in any case; None where it is not shown."""
    fields = row.get("fields")
    if not isinstance(fields, dict):
        return None
    value = fields.get(name)
    if value is None:
        wanted = name.lower()
        value = next((each for key, each in fields.items() if isinstance(key, str) and key.lower() == wanted), None)
    return None if value is None else str(value)


def as_id(row: Row) -> int | None:
    """The id of anything: ``ID`` on data, ``id`` elsewhere, as text or number (fact 5)."""
    found = row.get("ID", row.get("id"))
    text = str(found) if isinstance(found, int | str) and not isinstance(found, bool) else ""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) and int(text) > 0 else None


def listing(answer: Any) -> Found:
    """One page of a list: its envelope (fact 5), or a plain array."""
    rows = answer.get("data") if isinstance(answer, dict) else answer
    if not isinstance(rows, list):
        raise TemporaryError("Copernica answered a list without 'data'")
    if not all(isinstance(row, dict) for row in rows):
        raise TemporaryError("Copernica answered a list with a row that is none")
    following = answer.get("nextid") if isinstance(answer, dict) else None
    return Found(rows=rows, next=str(following) if following else None)


def _whole(page: Found) -> Found:
    """The page. Raises TemporaryError for a row without id or fields: passed over, it would count as a profile that is gone."""
    for row in page.rows:
        if as_id(row) is None or not isinstance(row.get("fields"), dict):
            raise TemporaryError("Copernica answered a page of profiles with one that has no id or no fields")
    return page


def created_in(answer: Response) -> str | None:
    """The id of what a call made (fact 5: ``X-Created``); None where it made nothing."""
    found = answer.headers.get("x-created", "").strip()
    return found if re.fullmatch(r"[0-9]{1,18}", found) else None


def words_of(answer: Response) -> str:
    """The vendor's message, ``{"error": {"message": "..."}}``; empty where there is none."""
    try:
        said = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    error = said.get("error") if isinstance(said, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""


def same_address(one: object, other: str) -> bool:
    """Whether two addresses are one to the hub, however they are written."""
    return isinstance(one, str) and one.strip().lower() == other.strip().lower()


def _old(path: str) -> str:
    for new, old in OTHER_PATHS.items():
        path = path.replace(f"/{new}/", f"/{old}/")
    return path
