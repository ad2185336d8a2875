"""Everything that is logged, as it would be printed, for checks of what is said and what is not."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from esplanade.observe.logging import configure


class Logs:
    """What was logged so far."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        """All of it, with what libraries log."""
        return self._stream.getvalue()

    def everything(self) -> list[dict[str, Any]]:
        """The hub's lines, in order."""
        return [json.loads(each) for each in self.text.splitlines() if each.startswith("{")]

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The hub's lines of one event."""
        return [each for each in self.everything() if each.get("event") == event]

    def alerts(self) -> list[str]:
        """The keys of the alerts, in order."""
        return [each["key"] for each in self.lines("alert")]


@contextmanager
def captured() -> Iterator[Logs]:
    """Catch all logs, debug lines too, of hubs that are started meanwhile; then what was configured before is in force again."""
    before = structlog.get_config() if structlog.is_configured() else None
    root, scheduler = logging.getLogger(), logging.getLogger("apscheduler")
    levels = root.level, scheduler.level
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    configure("debug", as_json=True, stream=stream)
    try:
        yield Logs(stream)
    finally:
        root.removeHandler(handler)
        root.setLevel(levels[0])
        scheduler.setLevel(levels[1])
        if before is None:
            structlog.reset_defaults()
        else:
            structlog.configure(**before)
