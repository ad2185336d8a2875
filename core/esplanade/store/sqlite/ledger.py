"""The consent ledger: append-only, every row linked to the one before it in its chain."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from esplanade.errors import StoreError
from esplanade.records import LedgerRow
from esplanade.sync import audit

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

LEDGER = (
    "SELECT person, purpose, state, method, source, evidence, said_at, recorded_at, lifts FROM ledger "
    "WHERE person IN (SELECT ?1 UNION ALL SELECT id FROM people WHERE merged_into = ?1) "
    "AND (?2 IS NULL OR purpose = ?2) ORDER BY id"
)
END = (
    "SELECT (SELECT max(id) FROM ledger), chain, CAST(links AS INTEGER), CAST(link AS BLOB) "
    "FROM (SELECT 1) LEFT JOIN ledger_tips"
)
PAGE = (
    "SELECT l.id, l.person, l.purpose, l.state, l.said_at, l.recorded_at, l.lifts, l.method, l.source, l.evidence, "
    "s.salt, l.chain, l.seal, l.digest "
    "FROM ledger l LEFT JOIN ledger_salts s ON s.person = l.person AND s.since <= l.id "
    "WHERE l.id >= ? AND l.id <= ? ORDER BY l.id LIMIT ?"
)
BEFORE = (
    "SELECT (SELECT max(id) FROM ledger), (SELECT salt FROM ledger_salts WHERE person = ?1), "
    "(SELECT links FROM ledger_tips WHERE chain = ?2), (SELECT link FROM ledger_tips WHERE chain = ?2)"
)
ADD_LEDGER = (
    "INSERT INTO ledger "
    "(id, person, purpose, state, said_at, recorded_at, lifts, method, source, evidence, chain, seal, digest) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
MOVE_TIP = "INSERT OR REPLACE INTO ledger_tips (chain, links, link) VALUES (?, ?, ?)"
ADD_SALT = "INSERT INTO ledger_salts (person, since, salt) VALUES (?, ?, ?)"
LINEAGE = "SELECT ?1 UNION ALL SELECT id FROM people WHERE merged_into = ?1"
ERASE_WORDS = (
    "UPDATE ledger SET method = ?, source = ?, evidence = ? "
    "WHERE person = ? AND id >= (SELECT since FROM ledger_salts WHERE person = ?)"
)
DROP_SALT = "DELETE FROM ledger_salts WHERE person = ?"
UNLINKED = (
    "SELECT id, person, purpose, state, said_at, recorded_at, lifts, method, source, evidence FROM ledger "
    "WHERE id > ? ORDER BY id LIMIT 1000"
)
LINK = "UPDATE ledger SET chain = ?, seal = ?, digest = ? WHERE id = ?"


class LedgerReads:
    """Questions about what was said about consent."""

    db: sqlite3.Connection

    def ledger(self, person: int, purpose: str | None = None) -> list[LedgerRow]:
        return [
            LedgerRow(
                person=row[0],
                purpose=row[1],
                state=row[2],
                method=row[3],
                source=row[4],
                evidence=_decode(row[5]),
                said_at=row[6],
                recorded_at=row[7],
                lifts=bool(row[8]),
            )
            for row in self.db.execute(LEDGER, (person, purpose))
        ]

    def ledger_end(self) -> audit.LedgerEnd:
        with _readable():
            rows = self.db.execute(END).fetchall()
        tips = {chain: audit.Tip(links, link) for _, chain, links, link in rows if chain is not None}
        return audit.LedgerEnd(last=rows[0][0], tips=tips)

    def ledger_page(self, first: int, last: int, limit: int = 1_000) -> list[audit.LinkedRow]:
        with _readable():
            return [
                audit.LinkedRow(facts=row[:7], words=row[7:10], salt=row[10], chain=row[11], seal=row[12], link=row[13])
                for row in self.db.execute(PAGE, (first, last, limit))
            ]


class LedgerWrites(LedgerReads):
    """Adding to what was said about consent, and erasing its words."""

    def append_ledger(self, row: LedgerRow) -> None:
        chain = audit.chain_of(row.person)
        last, salt, links, before = self.db.execute(BEFORE, (row.person, chain)).fetchone()
        number = (last or 0) + 1
        if salt is None:
            salt = os.urandom(audit.SALT_BYTES)
            self.db.execute(ADD_SALT, (row.person, number, salt))
        # As they will be read back: SQLite makes 3 of a REAL column 3.0, and -0.0 of it 0.0.
        said, recorded = row.said_at + 0.0, row.recorded_at + 0.0
        facts = (number, row.person, row.purpose, row.state, said, recorded, int(row.lifts))
        words = (row.method, row.source, _encode(row.evidence))
        sealed = audit.seal(salt, words)
        link = audit.link(audit.Tip(links or 0, before or b""), facts, sealed)
        self.db.execute(ADD_LEDGER, (*facts, *words, chain, sealed, link))
        self.db.execute(MOVE_TIP, (chain, (links or 0) + 1, link))

    def erase_ledger_words(self, person: int) -> int:
        erased = 0
        for (each,) in self.db.execute(LINEAGE, (person,)).fetchall():
            erased += self.db.execute(ERASE_WORDS, (*audit.ERASED, each, each)).rowcount
            self.db.execute(DROP_SALT, (each,))
        return erased


def link_all(db: sqlite3.Connection) -> None:
    """Link the rows that were written before there were chains. Once, within the migration that makes the chains."""
    tips: dict[int, audit.Tip] = {}
    salts: dict[int, bytes] = {}
    last = 0
    while page := db.execute(UNLINKED, (last,)).fetchall():
        for row in page:
            facts, words = row[:7], row[7:]
            last, person = facts[0], facts[1]
            if person not in salts:
                salts[person] = os.urandom(audit.SALT_BYTES)
                db.execute(ADD_SALT, (person, last, salts[person]))
            chain = audit.chain_of(person)
            before = tips.get(chain, audit.Tip())
            sealed = audit.seal(salts[person], words)
            tips[chain] = audit.Tip(before.rows + 1, audit.link(before, facts, sealed))
            db.execute(LINK, (chain, sealed, tips[chain].link, last))
    db.executemany(MOVE_TIP, [(chain, tip.rows, tip.link) for chain, tip in tips.items()])


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as problem:
        raise StoreError(
            f"the consent ledger cannot be read: {problem}; a store of an earlier version is brought up to date when "
            "`esplanade run` of this one opens it; a damaged one has to come from a backup"
        ) from None
