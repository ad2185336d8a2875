"""Connectors' states and jobs, plugins' own values, and keeping the file small."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import msgspec

from esplanade.records import ConnectorState

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_state = msgspec.msgpack.Decoder(ConnectorState).decode

STATE = "SELECT record FROM connector_states WHERE name = ?"
SAVE_STATE = "INSERT OR REPLACE INTO connector_states (name, record) VALUES (?, ?)"
META = "SELECT value FROM meta WHERE key = ?"
SET_META = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
VALUE = "SELECT value FROM plugin_values WHERE connector = ? AND key = ?"
SET_VALUE = "INSERT OR REPLACE INTO plugin_values (connector, key, value) VALUES (?, ?, ?)"
DROP_VALUE = "DELETE FROM plugin_values WHERE connector = ? AND key = ?"
CURSOR = "SELECT cursor FROM cursors WHERE connector = ? AND job = ?"
SET_CURSOR = "INSERT OR REPLACE INTO cursors (connector, job, cursor) VALUES (?, ?, ?)"
DROP_CURSOR = "DELETE FROM cursors WHERE connector = ? AND job = ?"
LAST_TICK = "SELECT slot FROM ticks WHERE connector = ? AND job = ?"
CLAIM_TICK = (
    "INSERT INTO ticks (connector, job, slot) VALUES (?, ?, ?) "
    "ON CONFLICT (connector, job) DO UPDATE SET slot = excluded.slot WHERE excluded.slot > slot"
)
MARK_SEEN = "INSERT OR REPLACE INTO seen (connector, purpose, person, run) VALUES (?, ?, ?, ?)"
WAS_SEEN = "SELECT 1 FROM seen WHERE connector = ? AND purpose = ? AND person = ? AND run = ?"
FORGET_RUN = "DELETE FROM seen WHERE connector = ?"
OLD_SEGMENTS = (
    "SELECT j.id, length(j.payload) FROM (SELECT * FROM journal ORDER BY id LIMIT 100) j, fold_cursor c "
    "WHERE j.at < ? AND (j.id < c.segment OR (j.id = c.segment AND j.entries <= c.done)) ORDER BY j.id"
)
"""Of the first hundred, so that a journal in which nothing is old is not read through."""
PRUNE_JOURNAL = "DELETE FROM journal WHERE id IN (SELECT value FROM json_each(?))"
OLD_DELIVERIES = "SELECT id FROM deliveries WHERE done_at < ? ORDER BY done_at, id LIMIT 100"
PRUNE_ATTEMPTS = "DELETE FROM attempts WHERE delivery IN (SELECT value FROM json_each(?))"
PRUNE_DELIVERIES = "DELETE FROM deliveries WHERE id IN (SELECT value FROM json_each(?))"
PRUNE_EVENT_IDS = "DELETE FROM event_ids WHERE id IN (SELECT id FROM event_ids WHERE at < ? ORDER BY at LIMIT 200)"
PRUNE_ANSWERS = (
    "DELETE FROM answers WHERE (source, key) IN (SELECT source, key FROM answers WHERE at < ? ORDER BY at LIMIT 200)"
)
PRUNED_BYTES = 250_000
"""How much of the journal one unit deletes, but for a segment that alone is larger: it is overwritten as well."""


class OperationReads:
    """Questions about connectors and jobs."""

    db: sqlite3.Connection

    def connector_state(self, name: str) -> ConnectorState:
        row = self.db.execute(STATE, (name,)).fetchone()
        return _state(row[0]) if row else ConnectorState(name=name)

    def meta(self, key: str) -> str | None:
        row = self.db.execute(META, (key,)).fetchone()
        return row[0] if row else None

    def value(self, connector: str, key: str) -> Any:
        row = self.db.execute(VALUE, (connector, key)).fetchone()
        return _decode(row[0]) if row else None

    def cursor(self, connector: str, job: str) -> str | None:
        row = self.db.execute(CURSOR, (connector, job)).fetchone()
        return row[0] if row else None

    def last_tick(self, connector: str, job: str) -> float | None:
        row = self.db.execute(LAST_TICK, (connector, job)).fetchone()
        return row[0] if row else None


class OperationWrites(OperationReads):
    """Changing what is kept of connectors and jobs."""

    def save_connector_state(self, state: ConnectorState) -> None:
        self.db.execute(SAVE_STATE, (state.name, _encode(state)))

    def set_meta(self, key: str, value: str) -> None:
        self.db.execute(SET_META, (key, value))

    def set_value(self, connector: str, key: str, value: Any) -> None:
        if value is None:
            self.db.execute(DROP_VALUE, (connector, key))
        else:
            self.db.execute(SET_VALUE, (connector, key, _encode(value)))

    def set_cursor(self, connector: str, job: str, cursor: str | None) -> None:
        if cursor is None:
            self.db.execute(DROP_CURSOR, (connector, job))
        else:
            self.db.execute(SET_CURSOR, (connector, job, cursor))

    def claim_tick(self, connector: str, job: str, slot: float) -> bool:
        return self.db.execute(CLAIM_TICK, (connector, job, slot)).rowcount == 1

    def mark_seen(self, connector: str, run: str, purpose: str, person: int) -> None:
        self.db.execute(MARK_SEEN, (connector, purpose, person, run))

    def was_seen(self, connector: str, run: str, purpose: str, person: int) -> bool:
        return self.db.execute(WAS_SEEN, (connector, purpose, person, run)).fetchone() is not None

    def forget_run(self, connector: str) -> None:
        self.db.execute(FORGET_RUN, (connector,))

    def prune(self, *, kept_since: float, ids_since: float) -> int:
        gone = self._prune_journal(kept_since) + self._prune_deliveries(kept_since)
        gone += self.db.execute(PRUNE_EVENT_IDS, (ids_since,)).rowcount
        return gone + self.db.execute(PRUNE_ANSWERS, (ids_since,)).rowcount

    def _prune_journal(self, before: float) -> int:
        size, chosen = 0, list[int]()
        for number, length in self.db.execute(OLD_SEGMENTS, (before,)).fetchall():
            if chosen and size + length > PRUNED_BYTES:
                break
            chosen.append(number)
            size += length
        return self.db.execute(PRUNE_JOURNAL, (json.dumps(chosen),)).rowcount

    def _prune_deliveries(self, before: float) -> int:
        old = json.dumps([row[0] for row in self.db.execute(OLD_DELIVERIES, (before,))])
        self.db.execute(PRUNE_ATTEMPTS, (old,))
        return self.db.execute(PRUNE_DELIVERIES, (old,)).rowcount
