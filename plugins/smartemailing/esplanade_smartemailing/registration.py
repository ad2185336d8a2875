"""The hub's own web-hooks in the account: found, made, mended, removed (section 8a).

Each is for one event. The hub's carry a marker in the query of their URL, made once for this connector, by which they are told
from everybody else's, after a change of the hub's own URL too. There is no call that changes a web-hook, and none that shows the
credentials that it carries: what differs is made anew first and deleted then, so that nothing goes unheard in between.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

from esplanade import TemporaryError, Webhooks

from .client import RefusedError, as_id
from .settings import EVENT_PARAMETER, SECRET_PARAMETER

if TYPE_CHECKING:
    from esplanade import Context

    from .client import Account, Row

MARKER = "hub"
"""Query parameter of the marker, and its key in the connector's store."""
SEALED = "webhook-credentials"
"""Key of a digest of the credentials that the web-hooks were made with, and of the marker."""


class Registration:
    """The web-hooks of one connector."""

    def __init__(self, account: Account, ctx: Context) -> None:
        self._account = account
        self._settings = account.settings
        self._ctx = ctx

    async def register(self, url: str) -> Webhooks:
        """See to it that the account calls ``url`` of all that is read."""
        marker = await self._marker()
        mine: dict[str, list[Row]] = {}
        for row in await self._listed():
            if self._is_mine(row, marker, url):
                mine.setdefault(str(row.get("event")), []).append(row)
        is_sealed = await self._ctx.kv.get(SEALED) == self._seal(marker)
        told = Webhooks()
        for event in self._settings.webhook_events:
            wanted, there = self._url(url, event, marker), mine.pop(event, [])
            good = [row for row in there if is_sealed and row.get("url") == wanted and _is_active(row)]
            if not good:
                await self._make(wanted, event)
            (told.kept if len(good) == len(there) == 1 else told.mended if there else told.made).append(event)
            for row in [each for each in there if each not in good[:1]]:
                await self._delete(row)
        for unwanted, rows in sorted(mine.items()):
            for row in rows:
                await self._delete(row)
            told.removed.append(unwanted)
        await self._ctx.kv.set(SEALED, self._seal(marker))
        return told

    async def remove(self) -> Webhooks:
        """Remove all that bear the marker."""
        marker, told = await self._marker(), Webhooks()
        for row in await self._listed():
            if self._is_mine(row, marker, None):
                await self._delete(row)
                told.removed.append(str(row.get("event")))
        return told

    async def _marker(self) -> str:
        known = await self._ctx.kv.get(MARKER)
        if not isinstance(known, str):
            known = secrets.token_hex(6)
            await self._ctx.kv.set(MARKER, known)
        return known

    def _is_mine(self, row: Row, marker: str, url: str | None) -> bool:
        """By its marker, or by the hub's own URL, which nobody else knows."""
        text = str(row.get("url", ""))
        marked = (MARKER, marker) in parse_qsl(urlsplit(text).query)
        return marked or (url is not None and text.partition("?")[0] == url.partition("?")[0])

    def _url(self, url: str, event: str, marker: str) -> str:
        query = {EVENT_PARAMETER: event, MARKER: marker}
        if self._settings.webhook_shared_secret:
            query[SECRET_PARAMETER] = self._settings.webhook_shared_secret.reveal()
        return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"

    def _seal(self, marker: str) -> str:
        """Stands for the credentials, which are shown nowhere."""
        login, password = self._credentials() or ("", "")
        return hashlib.sha256(f"{marker}\0{login}\0{password}".encode()).hexdigest()[:32]

    def _credentials(self) -> tuple[str, str] | None:
        auth = self._settings.basic_auth
        return None if auth is None else (auth.login, auth.password.reveal())

    # The calls.

    async def _listed(self) -> list[Row]:
        more = dict(parse_qsl(self._settings.extra_query.get("web-hooks", "")))
        rows = (await self._account.ask("GET", "web-hooks", params=more)).get("data")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise TemporaryError("SmartEmailing answered web-hooks without its rows")
        return rows

    async def _make(self, url: str, event: str) -> None:
        """Whether it was made is seen in the list, where no answer came: then the next time finds it."""
        body: Row = {"target_url": url, "event": event}
        credentials = self._credentials()
        if credentials is not None:
            body["basic_auth"] = dict(zip(("login", "password"), credentials, strict=True))
        await self._account.ask("POST", "web-hooks", body=body)

    async def _delete(self, row: Row) -> None:
        number = as_id(row)
        if number is None:
            raise TemporaryError("SmartEmailing answered a web-hook without an id")
        try:
            await self._account.ask("DELETE", f"web-hooks/{number}")
        except RefusedError as refused:
            if refused.status != 404:  # somebody was faster
                raise


def _is_active(row: Row) -> bool:
    """Whether it calls at all; that it is switched off after failures is inferred (section 8a)."""
    return str(row.get("active", True)).lower() not in {"0", "false"}
