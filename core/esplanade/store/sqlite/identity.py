"""Ways to find a person that are not theirs alone: merged people, and former contacts at vendors."""

from __future__ import annotations

import sqlite3

import msgspec

from esplanade.records import AudienceRun

_encode = msgspec.msgpack.Encoder().encode
_run = msgspec.msgpack.Decoder(AudienceRun).decode

BY_FORMER = (
    "SELECT p.record FROM former_contacts f JOIN people p ON p.id = f.person WHERE f.connector = ? AND f.remote_id = ?"
)
ADD_FORMER = "INSERT OR REPLACE INTO former_contacts (connector, remote_id, person) VALUES (?, ?, ?)"
LINEAGE = "UPDATE people SET merged_into = :into WHERE merged_into = :gone"
POINT_EMAILS = "UPDATE emails SET person = :into WHERE person = :gone"
POINT_CDP_IDS = "UPDATE cdp_ids SET person = :into WHERE person = :gone"
POINT_FORMER = "UPDATE former_contacts SET person = :into WHERE person = :gone"
POINT_TIMELINE = "UPDATE timeline SET person = :into WHERE person = :gone"
END_STATE = (
    "UPDATE deliveries SET state = 'done', outcome = 'unchanged', reason = 'merged', done_at = :now "
    "WHERE person = :gone AND state = 'pending' AND kind IN ('profile', 'consent') AND payload = x''"
)
POINT_DELIVERIES = "UPDATE deliveries SET person = :into WHERE person = :gone"
DROP_PENDING = "DELETE FROM pending_consents WHERE person = :gone"
DROP_REMOTES = "DELETE FROM remotes WHERE person = :gone"
DROP_DECISIONS = "DELETE FROM decisions WHERE person = :gone"
AUDIENCE = "SELECT record FROM audiences WHERE connector = ? AND audience = ?"
SAVE_AUDIENCE = "INSERT OR REPLACE INTO audiences (connector, audience, record) VALUES (?, ?, ?)"
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


class IdentityWrites:
    """Merging people, and counting those in each audience."""

    db: sqlite3.Connection

    def audience(self, connector: str, audience: str) -> AudienceRun:
        row = self.db.execute(AUDIENCE, (connector, audience)).fetchone()
        return _run(row[0]) if row else AudienceRun()

    def save_audience(self, connector: str, audience: str, run: AudienceRun) -> None:
        self.db.execute(SAVE_AUDIENCE, (connector, audience, _encode(run)))

    def merge_person(self, gone: int, into: int, now: float) -> None:
        for statement in MERGE:
            self.db.execute(statement, {"gone": gone, "into": into, "now": now})
