"""Merging people, and counting those in each audience."""

from __future__ import annotations

import sqlite3

import msgspec

from esplanade.records import AudienceRun

from .shelf import UNKNOWN, Shelf, Unknown

_encode = msgspec.msgpack.Encoder().encode
_run = msgspec.msgpack.Decoder(AudienceRun).decode

LINEAGE = "UPDATE people SET merged_into = :into WHERE merged_into = :gone"
POINT_EMAILS = "UPDATE emails SET person = :into WHERE person = :gone"
POINT_CDP_IDS = "UPDATE cdp_ids SET person = :into WHERE person = :gone"
POINT_FORMER = "UPDATE former_contacts SET person = :into WHERE person = :gone"
POINT_TIMELINE = "UPDATE timeline SET person = :into WHERE person = :gone"
END_STATE = (
    "UPDATE deliveries SET state = 'done', outcome = 'unchanged', reason = 'merged', done_at = :now "
    "WHERE person = :gone AND state = 'pending' AND kind IN ('profile', 'consent') AND payload = x'' "
    "AND id NOT IN (SELECT delivery FROM claims)"
)
POINT_DELIVERIES = "UPDATE deliveries SET person = :into WHERE person = :gone"
DROP_PENDING = "DELETE FROM pending_consents WHERE person = :gone"
DROP_REMOTES = "DELETE FROM remotes WHERE person = :gone"
DROP_DECISIONS = "DELETE FROM decisions WHERE person = :gone"
MERGE = (
    LINEAGE,
    POINT_EMAILS,
    POINT_CDP_IDS,
    POINT_FORMER,
    POINT_TIMELINE,
    END_STATE,
    POINT_DELIVERIES,
    DROP_PENDING,
    DROP_REMOTES,
    DROP_DECISIONS,
)
AUDIENCE = "SELECT record FROM audiences WHERE connector = ? AND audience = ?"
SAVE_AUDIENCE = "INSERT OR REPLACE INTO audiences (connector, audience, record) VALUES (?, ?, ?)"


def merge_person(db: sqlite3.Connection, gone: int, into: int, now: float) -> None:
    """Point everything that led to one person to another. Nothing may be unwritten before, nor remembered after."""
    for statement in MERGE:
        db.execute(statement, {"gone": gone, "into": into, "now": now})


class AudienceWrites:
    """Counting those in each audience."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._audiences: Shelf[tuple[str, str], bytes | None] = Shelf(1_024)

    def audience(self, connector: str, audience: str) -> AudienceRun:
        record = self._audiences.get((connector, audience), UNKNOWN)
        if isinstance(record, Unknown):
            row = self.db.execute(AUDIENCE, (connector, audience)).fetchone()
            record = row[0] if row else None
            self._audiences.learn((connector, audience), record)
        return AudienceRun() if record is None else _run(record)

    def save_audience(self, connector: str, audience: str, run: AudienceRun) -> None:
        self._audiences.put((connector, audience), _encode(run))

    def write_audiences(self) -> None:
        """Write what is still to be written."""
        for (connector, audience), record in self._audiences.take().items():
            self.db.execute(SAVE_AUDIENCE, (connector, audience, record))

    def forget_audiences(self) -> None:
        """What is remembered may be wrong."""
        self._audiences.forget()
