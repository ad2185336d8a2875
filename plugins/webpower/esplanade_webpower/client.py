"""The calls of one Webpower campaign, and what its answers mean."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Struct

from esplanade import Http, PermanentError, Response, TemporaryError
from esplanade.http import redact

from .mapping import has_wildcard, same_address, with_foreign_fields

if TYPE_CHECKING:
    from .settings import Removal, WebpowerSettings

SMALL_PAGE = 100
"""The page length that every licence takes."""

WILDCARD_PAGES = 20
"""Pages of matches to read for an address that ``match`` takes for a pattern."""

Row = dict[str, Any]


class NoContactError(TemporaryError):
    """The campaign has no contact with this id (any more)."""

    def __init__(self) -> None:
        super().__init__("Webpower no longer has this contact, although it was there a moment ago")


class NoGroupError(PermanentError):
    """The contact is there, so it must be a group that the campaign does not have."""

    def __init__(self) -> None:
        super().__init__("Webpower has no such contact group; correct the group's id in connectors.yaml")


class NoListError(PermanentError):
    """The vendor answers 404 or 405 for a whole list: this licence does not have it, or something above it is gone."""

    def __init__(self, path: str) -> None:
        super().__init__(f"Webpower has no list at {path}; correct path_overrides or group_contacts_path")


class Listing(Struct, frozen=True, kw_only=True):
    """One page of a list. ``next`` is the path and query of the following page, None on the last."""

    rows: list[Row]
    total: int | None = None
    next: str | None = None
    unread: int = 0
    """How many rows were left out because they have no id: whoever they are, they are there."""


class Campaign:
    """One campaign at the vendor: each method is one kind of call. Raises what ``Http`` raises."""

    def __init__(self, settings: WebpowerSettings, http: Http) -> None:
        self.settings = settings
        self.http = http

    # Lists.

    async def first_page(self, path: str, *, extra: dict[str, str] | None = None) -> Listing:
        """The first page of a list; raises NoListError."""
        length = self.settings.page_length
        answer = await self._page(path, length, extra)
        if answer.status in {400, 422} and length > SMALL_PAGE:
            answer = await self._page(path, SMALL_PAGE, extra)
        if answer.status in {404, 405}:
            raise NoListError(path)
        return self._listing(answer, of=path)

    async def page_at(self, place: str) -> Listing:
        """The page that ``next`` of an earlier one named."""
        path, params = split(place)
        answer = await self.http.get(path, params=params, allow=(400, 404, 405, 422))
        return self._listing(answer, of=place)

    async def every(self, path: str) -> list[Row]:
        """All rows of a short list, each id once, by id."""
        page = await self.first_page(path)
        rows, seen = list(page.rows), {path}
        while page.next and page.next not in seen:
            seen.add(page.next)
            page = await self.page_at(page.next)
            rows += page.rows
        unique = {number: row for row in rows if (number := as_id(row.get("id"))) is not None}
        return [unique[number] for number in sorted(unique)]

    async def _page(self, path: str, length: int, extra: dict[str, str] | None) -> Response:
        params: dict[str, str | int] = {"page": 1, "pagelength": length, **(extra or {})}
        return await self.http.get(path, params=params, allow=(400, 404, 405, 422))

    def _listing(self, answer: Response, *, of: str) -> Listing:
        if answer.status >= 400:
            refused(answer, "a list")
        body = read_json(answer)
        if isinstance(body, list):  # row 9 answers a plain list
            return _listed(body)
        rows = body.get("result") if isinstance(body, dict) else None
        if not isinstance(rows, list):
            raise TemporaryError("Webpower answered a list without 'result'")
        total = body.get("totalRecords")
        following = self._inside(str(body["next"])) if body.get("next") else None
        if following == of:
            raise PermanentError("Webpower's list names itself as its next page; report this to the vendor")
        return _listed(rows, total=total if isinstance(total, int) else None, next=following)

    def _inside(self, following: str) -> str:
        """``next`` as a path from the origin. Another origin would be told our token, so it is refused."""
        there, here = urlsplit(following), urlsplit(self.settings.origin)
        if (there.scheme or there.netloc) and (there.scheme, there.netloc.lower()) != (
            here.scheme,
            here.netloc.lower(),
        ):
            raise PermanentError("Webpower's list continues on another host, which is not followed; report this")
        if not there.path.startswith("/"):
            raise PermanentError("Webpower's list continues at a place that is no path; report this to the vendor")
        return f"{there.path}?{there.query}" if there.query else there.path

    # Contacts.

    async def find(self, email: str) -> Row | None:
        """The contact with exactly this address, without regard to case."""
        path = self.settings.path("contacts")
        params = {"match": json.dumps({"email": email}, ensure_ascii=False)}
        page = self._listing(await self.http.get(path, params=params), of=path)
        for _ in range(WILDCARD_PAGES if has_wildcard(email) else 1):
            found = [row for row in page.rows if same_address(row.get("email"), email) and as_id(row.get("id"))]
            if found:
                return next((row for row in found if row["email"] == email), found[0])
            if not page.next:
                return None
            if has_wildcard(email):
                page = await self.page_at(page.next)
        raise PermanentError("Webpower's lookup by address answers other contacts; check path_overrides.contacts")

    async def read(self, contact: int) -> Row:
        """A contact; raises NoContactError."""
        answer = await self.http.get(self.settings.path("contact", id=contact), allow=(404,))
        if answer.status == 404:
            raise NoContactError
        body = read_json(answer)
        if not isinstance(body, dict):
            raise TemporaryError("Webpower answered a contact that is not an object")
        return body

    async def create(self, body: Row) -> int | None:
        """Make a contact; None when the address has one already."""
        answer = await self.http.post(
            self.settings.path("contacts"), json=body, allow=(400, 409, 422), repeatable=True
        )  # twice does no harm: the second finds the first
        if answer.status == 409:
            return None
        if answer.status >= 400:
            refused(answer, "a new contact", sent=body)
        return id_in(answer)

    async def update(self, contact: int, body: Row) -> bool:
        """Write a contact; False when its new address belongs to another one. Raises NoContactError."""
        if self.settings.contact_update_mode == "full":
            body = with_foreign_fields(body, await self.read(contact))
        answer = await self.http.put(self.settings.path("contact", id=contact), json=body, allow=(400, 404, 409, 422))
        if answer.status == 404:
            raise NoContactError
        if answer.status in {400, 422}:
            refused(answer, "the contact", sent=body)
        return answer.status != 409

    async def subscribe(self, body: Row) -> Response | None:
        """Ask the vendor to send its confirmation mail; None when it says that it knows the address already."""
        answer = await self.http.post(self.settings.path("subscribe"), json=body, allow=(400, 404, 409, 422))
        if answer.status == 409:
            return None
        if answer.status >= 400:
            refused(answer, "the subscription", sent=body)
        return answer

    async def unsubscribe(self, contact: int, email: str) -> None:
        """Call ``unsubscribe_path``; raises NoContactError."""
        path, in_path = self.settings.unsubscribe_path, "{id}" in self.settings.unsubscribe_path
        body = None if in_path else {"contact": {"email": email}}
        answer = await self.http.post(
            self.settings.rest(path, id=contact), json=body, allow=(400, 404, 405, 422), repeatable=True
        )
        if answer.status in {404, 405}:
            await self.read(contact)
            raise PermanentError(f"Webpower has no call {path}; correct unsubscribe_path or change unsubscribe_mode")
        if answer.status >= 400:
            refused(answer, "the opt-out")

    # Groups.

    async def groups_of(self, contact: int) -> set[int]:
        """Ids of the groups that hold a contact; raises NoContactError."""
        path = self.settings.path("contact_groups", id=contact)
        answer = await self.http.get(path, allow=(404,))
        if answer.status == 404:
            raise NoContactError
        page = self._listing(answer, of=path)
        rows = list(page.rows)
        while page.next:
            page = await self.page_at(page.next)
            rows += page.rows
        return {number for row in rows if (number := as_id(row.get("id"))) is not None}

    async def join(self, contact: int, groups: list[int]) -> None:
        """Add a contact to groups. Raises NoContactError or NoGroupError."""
        bodies: dict[str, Any] = {
            "array": groups,
            "object": {"groups": groups},
            "objects": [{"id": group} for group in groups],
        }
        path = self.settings.path("contact_groups", id=contact)
        answer = await self.http.post(
            path, json=bodies[self.settings.group_add_body], allow=(400, 404, 409, 422), repeatable=True
        )
        if answer.status == 404:
            await self.groups_of(contact)
            raise NoGroupError
        if answer.status in {400, 422}:
            refused(answer, "the group membership")

    async def leave(self, contact: int, group: int, way: Removal) -> bool:
        """Try one way to take a contact out of a group; False when the vendor answers 404 or 405."""
        body = None if way.body is None else msgspec.json.decode(way.body.replace("{gid}", str(group)))
        answer = await self.http.request(
            way.method,
            self.settings.rest(way.path, id=contact, gid=group),
            json=body,
            allow=(404, 405),
            repeatable=True,
        )
        return answer.status < 400

    async def create_group(self, name: str) -> int | None:
        """Make a group; None when the vendor says that the name is taken."""
        body = {"name": name, "is_test": False, "is_active": True, "remarks": "managed by Esplanade"}
        answer = await self.http.post(self.settings.path("groups"), json=body, allow=(400, 409, 422))
        if answer.status == 409:
            return None
        if answer.status >= 400:
            refused(answer, f"the group {name!r}")
        return id_in(answer)

    # Sends. These are never repeatable: the vendor knows no idempotency key.

    async def send(self, call: str, body: Row, **parts: int) -> Response:
        """POST one of the send calls; the answer may be a refusal for the caller to read."""
        allow = (400, 402, 403, 404, 409, 422, 500)
        return await self.http.post(self.settings.path(call, **parts), json=body, allow=allow)


def _listed(found: list[Any], **more: Any) -> Listing:
    rows = [row for row in found if isinstance(row, dict) and as_id(row.get("id")) is not None]
    return Listing(rows=rows, unread=len(found) - len(rows), **more)


def split(place: str) -> tuple[str, dict[str, str | int]]:
    """A path with a query as the path and its parameters, so that nothing is escaped twice."""
    parts = urlsplit(place)
    return parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))


def as_id(value: object) -> int | None:
    """A vendor's id, given as number or text; None when it is neither."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        number = int(value)
    except ValueError:
        return None
    return number if number > 0 else None


def id_in(answer: Response) -> int | None:
    """The id that an answer to a POST holds, if it holds one."""
    try:
        body = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return as_id(body.get("id")) if isinstance(body, dict) else None


def read_json(answer: Response) -> Any:
    """The body of a good answer. A page in place of JSON is the front proxy's doing, so it is temporary."""
    try:
        return msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise TemporaryError(f"Webpower answered {answer.status} with something that is not JSON") from None


def words_of(answer: Response, sent: object = None) -> str:
    """What a refusal says, in one line, without addresses, numbers of people and the values that were ``sent``.

    The shape of a refusal is not documented, so every known one is tried.
    """
    try:
        body = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = re.sub(r"<[^>]*>", " ", answer.text())
    found: list[str] = []
    _collect(body, found)
    line = re.sub(r"\s+", " ", "; ".join(found)).strip()
    for value in sorted(_values(sent), key=len, reverse=True):
        line = line.replace(value, "[value]")
    return redact(line)[:300]


def refused(answer: Response, what: str, *, sent: object = None) -> NoReturn:
    """Raise what a 4xx means. A 400 about the token is a matter of time, not of this call."""
    words = words_of(answer, sent)
    if answer.status == 400 and re.search(r"\b(access[ _]token|invalid_token|invalid_grant)\b", words, re.IGNORECASE):
        raise TemporaryError(f"Webpower refused the access token with a 400: {words}")
    raise PermanentError(f"Webpower refused {what} ({answer.status}): {words or 'it gave no reason'}")


def _collect(body: object, found: list[str], depth: int = 0) -> None:
    if isinstance(body, str):
        found.append(body)
    elif depth < 3 and isinstance(body, list):
        for item in body[:10]:
            _collect(item, found, depth + 1)
    elif depth < 3 and isinstance(body, dict):
        for key in ("error", "message", "error_description", "title", "detail", "errors", "status"):
            if key in body:
                _collect(body[key], found, depth + 1)


def _values(sent: object) -> set[str]:
    """The texts of a body that may be somebody's: values, not the names of fields."""
    match sent:
        case str() if len(sent) > 2:
            return {sent}
        case list():
            return set().union(*map(_values, sent))
        case dict():
            return set().union(*(_values(value) for key, value in sent.items() if key not in {"field", "lang"}))
        case _:
            return set()
