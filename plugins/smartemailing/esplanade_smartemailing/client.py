"""The calls of one SmartEmailing account (API v3), and what its answers mean.

Sections are those of the project's fact sheet. Dates carry no zone and are those of ``esp_timezone`` (section 1).
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from msgspec import Struct

from esplanade import PermanentError, Response, TemporaryError, UnreadableAnswer
from esplanade.http import redact, without_values

from .settings import API

if TYPE_CHECKING:
    from collections.abc import Mapping

    from esplanade import Http

    from .settings import SmartEmailingSettings

Row = dict[str, Any]

REFUSALS = (400, 404, 405, 409, 413, 422)
"""Statuses by which the vendor says no to a call itself (section 9); the others are the session's affair."""
UNSUBSCRIBED, CONFIRMED, REMOVED = "unsubscribed", "confirmed", "removed"
"""What a contact is on a list (section 6)."""


class RefusedError(PermanentError):
    """The vendor said no, with a status and its own words; within HTTP 200 too (section 1)."""

    def __init__(self, what: str, status: int, words: str) -> None:
        super().__init__(f"SmartEmailing refused {what} with {status}: {words or 'no words'}")
        self.status = status
        self.words = words


class Rows(Struct, frozen=True, kw_only=True):
    """One page of a collection. ``total``: how many rows there are in all, None where the vendor does not say."""

    rows: list[Row]
    total: int | None

    def is_last(self, read: int, size: int) -> bool:
        """Whether no page follows, ``read`` rows being read by now. One shorter than asked for may have another behind it."""
        if len(self.rows) >= size:
            return False
        return not self.rows or self.total is None or read >= self.total


class Account:
    """One account at the vendor: each method is one kind of call. Raises RefusedError, and what ``Http`` raises."""

    def __init__(self, settings: SmartEmailingSettings, http: Http) -> None:
        self.settings = settings
        self._http = http

    # Anything.

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        params: Mapping[str, str | int] | None = None,
        repeatable: bool | None = None,
    ) -> Row:
        """Make a call; returns the whole envelope, ``{}`` where there is none. ``path`` is below ``/api/v3/``."""
        answer = await self._http.request(
            method, f"{API}/{path}", json=body, params=params, allow=REFUSALS, repeatable=repeatable
        )
        if answer.status == 204 or (answer.status < 300 and not answer.body and answer.whole):
            return {}
        said = _envelope(answer)
        if answer.status >= 400 or said.get("status") == "error":
            raise RefusedError(redact(f"{method} {path}"), answer.status, self._told(said, body, params))
        return said

    def _told(self, said: Row, body: Any, params: Mapping[str, str | int] | None) -> str:
        """The vendor's own words, as far as they may be told: they may quote what was sent."""
        words = said.get("message")
        if not isinstance(words, str):
            return ""
        words = words.replace(self.settings.api_key.reveal(), "[secret]")
        return redact(without_values(words, body, [str(each) for each in (params or {}).values()]))[:300]

    async def rows(self, collection: str, **params: str | int) -> list[Row]:
        """All rows of a collection, in order of id."""
        found: list[Row] = []
        while True:
            page = await self.page(collection, offset=len(found), **params)
            found += page.rows
            if page.is_last(len(found), self.settings.page_size):
                return found

    async def page(self, collection: str, *, offset: int, **params: str | int) -> Rows:
        """One page of a collection, in order of id; ``offset`` counts rows (section 3)."""
        more = dict(parse_qsl(self.settings.extra_query.get(collection, "")))
        limits: dict[str, str | int] = {"limit": self.settings.page_size, "offset": offset, "sort": "id"}
        said = await self.ask("GET", collection, params=limits | params | more)
        meta = said.get("meta")
        total = meta.get("total_count") if isinstance(meta, dict) else None
        return Rows(rows=_rows(said, collection), total=_count(total))

    # Contacts.

    async def find(self, email: str) -> Row | None:
        """The contact with this address, whole; None where there is none (section 5: the filter is the safest single read)."""
        if self.settings.contact_read_mode == "email":
            try:
                said = await self.ask("GET", f"contacts/{quote(email, safe='')}", params=EXPANDED)
            except RefusedError:  # it may be any refusal, and a contact that seems gone would count as deleted
                said = {}
            data = said.get("data")
            if isinstance(data, dict) and same_address(data.get("emailaddress"), email):
                return whole(data)
        found = _rows(await self.ask("GET", "contacts", params={"emailaddress": email, **EXPANDED}), "contacts")
        return next((whole(row) for row in found if same_address(row.get("emailaddress"), email)), None)

    async def read(self, contact: str) -> Row | None:
        """The contact with this id, whole; None where there is none."""
        if self.settings.contact_read_mode == "id":
            try:
                said = await self.ask("GET", f"contacts/{quote(contact, safe='')}", params=EXPANDED)
            except RefusedError:
                said = {}
            data = said.get("data")
            if isinstance(data, dict) and as_id(data) == contact:
                return whole(data)
        found = _rows(await self.ask("GET", "contacts", params={"id": contact, **EXPANDED}), "contacts")
        return next((whole(row) for row in found if as_id(row) == contact), None)

    async def import_(self, settings: Row, contacts: list[Row], *, repeatable: bool) -> dict[str, str]:
        """Import contacts; returns their ids by address in small letters, for the answer's order is its own (section 5).

        Repeating it does no harm but where it sends confirmation mails. Whoever is missing was not stored: dropped as an invalid
        address, or asked to confirm first.
        """
        body = {"settings": settings, "data": contacts}
        said = await self.ask("POST", "import", body=body, repeatable=repeatable)
        rows = said.get("contacts_map")
        if not isinstance(rows, list):
            raise UnreadableAnswer("SmartEmailing answered an import without contacts_map")
        ids = {_key(row): as_id(row, "contact_id") for row in rows if isinstance(row, dict)}
        return {email: number for email, number in ids.items() if number is not None}

    async def rename(self, old: str, new: str) -> None:
        """Give a contact another address; what the vendor says where that has a contact already is not published (section 5)."""
        await self.ask("POST", "change-emailaddress", body={"from": old, "to": new}, repeatable=True)

    async def forget(self, contact: str) -> bool:
        """Erase a contact; False where there is none."""
        try:
            await self.ask("DELETE", f"contacts/forget/{quote(contact, safe='')}")
        except RefusedError as refused:
            if refused.status == 404:
                return False
            raise
        return True

    async def revoke(self, contact: str, purpose: int) -> None:
        """Delete every record that a contact has of a purpose (section 6: ids are looked up first)."""
        for row in await self.rows("purpose-connections", contact_id=contact, purpose_id=purpose):
            number = as_id(row)
            if number is None:
                raise TemporaryError("SmartEmailing answered a purpose connection without an id")
            try:
                await self.ask("DELETE", f"purpose-connections/{number}")
            except RefusedError as refused:
                if refused.status != 404:  # somebody was faster
                    raise


EXPANDED = {"expand": "customfields"}
PARTS = ("contactlists", "customfields")
"""What a contact has rows of: none where it says null, while one that does not say is half a contact."""


def basic(username: str, password: str) -> str:
    """The header of HTTP Basic (section 1: the login address and the API key)."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def as_id(row: Row, key: str = "id") -> str | None:
    """A number by which the vendor knows something, as text; None where the row has none."""
    found = row.get(key)
    text = str(found) if isinstance(found, int | str) and not isinstance(found, bool) else ""
    return text if text.isascii() and text.isdigit() and len(text) <= 18 and int(text) > 0 else None


def same_address(one: object, other: str) -> bool:
    """Whether two addresses are one to the hub, however they are written."""
    return isinstance(one, str) and one.strip().lower() == other.strip().lower()


def whole(row: Row) -> Row:
    """A contact as it was read. Raises TemporaryError where it lacks what a report is made of: left out, it would count as gone."""
    email = row.get("emailaddress")
    if as_id(row) is None or not isinstance(email, str) or "@" not in email:
        raise TemporaryError("SmartEmailing answered a contact without an id or an address")
    row = row | {key: [] for key in PARTS if key in row and row[key] is None}
    for key in PARTS:
        rows = row.get(key)
        if not isinstance(rows, list) or not all(isinstance(each, dict) for each in rows):
            raise TemporaryError(f"SmartEmailing answered a contact without its {key}")
    return row


def _count(said: object) -> int | None:
    text = str(said)
    return int(text) if re.fullmatch(r"\d{1,12}", text, re.ASCII) else None


def _key(row: Row) -> str:
    return str(row.get("emailaddress", "")).strip().lower()


def _envelope(answer: Response) -> Row:
    try:
        said = answer.json()
    except UnreadableAnswer:
        if answer.status < 400:
            raise
        said = {}  # a refusal that a proxy words
    if isinstance(said, dict):
        return said
    if answer.status >= 400:
        return {}
    raise UnreadableAnswer(f"SmartEmailing answered {answer.status} with JSON that is no object")


def _rows(said: Row, collection: str) -> list[Row]:
    """The rows of a collection; ``meta`` may be a list or an object (section 1)."""
    rows = said.get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TemporaryError(f"SmartEmailing answered {collection} without its rows")
    return rows
