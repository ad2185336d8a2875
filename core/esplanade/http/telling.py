"""What is told of the exchanges with a vendor: a debug line each, and an ``Exchange`` with each error."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from esplanade.model import Exchange

from .redact import Redactor, path_template
from .shape import shape

if TYPE_CHECKING:
    from yarl import URL

    from esplanade.context import Log

    from .wire import Request

PATH_CHARS = 300
_LOOKED_AT_CHARS = 4_096
_DEBUG = 10


class Teller:
    """Tells of exchanges without bodies, queries, ids, addresses and secrets."""

    def __init__(self, log: Log, redactor: Redactor, *, log_paths: bool) -> None:
        self._log = log
        self._redactor = redactor
        self._log_paths = log_paths

    def is_wanted(self) -> bool:
        """Whether debug lines are written at all."""
        return self._log.is_enabled_for(_DEBUG)

    def line(self, request: Request, came_of_it: int | str, took_s: float) -> None:
        """One debug line: method, host, path without ids, what came of it, milliseconds."""
        self._log.debug(
            "http request",
            method=request.method,
            host=request.url.host,
            path=self.path(request.url),
            status=came_of_it,
            ms=round(took_s * 1000, 1),
        )

    def path(self, url: URL) -> str:
        """A URL's path as it may be told."""
        if not self._log_paths:
            return "***"
        path = path_template(url.raw_path)
        if len(path) > _LOOKED_AT_CHARS:
            # Half a secret at the cut would not be recognised as one.
            path = path[:_LOOKED_AT_CHARS].rpartition("/")[0]
        return self._redactor(path)[:PATH_CHARS]

    def exchange(self, request: Request, answered: str = "") -> Exchange:
        """What an exchange was, for the error that it has just ended in. ``answered`` is an ``excerpt``."""
        return Exchange(
            method=request.method,
            path=self.path(request.url),
            status=request.status,
            took_s=round(asyncio.get_running_loop().time() - request.began, 3),
            sent=shape(request.content, self._redactor),
            answered=answered,
        )
