"""The audit of the consent ledger: how its rows are linked, and whether they are still what was recorded.

Each row belongs to one of 64 chains, by the person it was recorded for, so that several writers need not queue for one end.
What it says in words is sealed: a digest under its person's salt. Its link is a digest over its facts, its seal and the link
before it. An erasure deletes the words and the salt: nobody can check a guess at the words any more, and the chain, which
needs the seal only, still holds.

Digests are SHA-256 over MessagePack arrays, so that anybody can compute them again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct, field

CHAINS = 64
SALT_BYTES = 16
HEAD = re.compile(r"([0-9]{1,18})-([0-9a-f]{32})")

Column: TypeAlias = int | float | str | bytes | None
"""What a database may hold in a column, also where somebody wrote into it who should not."""
Facts: TypeAlias = tuple[int, Column, Column, Column, Column, Column, Column]
"""What stays of a row for ever: id, person, purpose, state, said_at, recorded_at, lifts (0 or 1)."""
Words: TypeAlias = tuple[Column, Column, Column]
"""What an erasure takes away: method, source, and the evidence as MessagePack."""

Problem = Literal[
    "unlinked", "not-following", "words-changed", "words-missing", "salt-missing", "cut", "added", "tip-changed"
]

_encode = msgspec.msgpack.Encoder().encode

ERASED: Words = (None, "", _encode({}))
"""The words of a row after an erasure."""


class LinkedRow(Struct, frozen=True, kw_only=True):
    """A row of the ledger as the store holds it now, whoever wrote it."""

    facts: Facts
    words: Words
    salt: Column
    """What its words are sealed with; None where an erasure deleted it."""
    chain: Column
    seal: Column
    link: Column

    @property
    def id(self) -> int:
        """Its place in the ledger."""
        return self.facts[0]


class Tip(Struct, frozen=True):
    """Where a chain ends: how many rows it has, and the link of the last."""

    rows: int = 0
    link: bytes = b""


class LedgerEnd(Struct, frozen=True, kw_only=True):
    """Where the ledger ended at one moment: the id of its last row, and the tip of each chain that has rows."""

    last: int | None
    tips: dict[int, Tip]


class Head(Struct, frozen=True):
    """The whole ledger at one moment in one value to note down. Prints as ``<rows>-<32 hexadecimal digits>``."""

    rows: int
    digest: str

    def __str__(self) -> str:
        return f"{self.rows}-{self.digest}"

    @classmethod
    def of(cls, tips: Mapping[int, Tip]) -> Head:
        """The head of a ledger with these tips; a chain that is left out is empty."""
        every = [tips.get(chain, Tip()) for chain in range(CHAINS)]
        digest = sha256(_encode([[tip.rows, tip.link] for tip in every])).hexdigest()
        return cls(sum(tip.rows for tip in every), digest[:32])

    @classmethod
    def parse(cls, text: str) -> Head:
        """A head as somebody noted it. Raises ValueError."""
        found = HEAD.fullmatch(text.strip().lower())
        if found is None:
            raise ValueError("expected a head as `audit verify` prints it: the number of rows, a hyphen and 32 digits")
        return cls(int(found[1]), found[2])


class Break(Struct, frozen=True, kw_only=True):
    """The first thing that is wrong with a chain."""

    chain: int
    row: int | None
    """The id of the first row that is wrong; for what is wrong at the end, of the last one there; None: there is none."""
    problem: Problem
    missing: int = 0
    """How many rows were cut off its end."""


class Audit(Struct, frozen=True, kw_only=True):
    """What a verification found."""

    rows: int
    erased: int
    """How many of the rows have lost their words to an erasure."""
    chains: int
    """How many chains have rows."""
    head: Head
    broken: list[Break] = field(default_factory=list)
    noted: Literal["held", "cut", "rewritten"] | None = None
    """What became of the ledger of which the noted head was taken; None: no head was given."""

    @property
    def intact(self) -> bool:
        """Whether the ledger is what was recorded, as far as can be told."""
        return not self.broken and self.noted in {None, "held"}


def chain_of(person: int) -> int:
    """The chain of the rows that are recorded for a person."""
    return person % CHAINS


def seal(salt: Column, words: Words) -> bytes:
    """The digest of what a row says in words."""
    return sha256(_encode((salt, *words))).digest()


def link(before: Tip, facts: Facts, sealed: Column) -> bytes:
    """The digest that fastens a row to the end of its chain."""
    return sha256(_encode((before.link, before.rows + 1, *facts, sealed))).digest()


def verify(rows: Iterable[LinkedRow], end: LedgerEnd, noted: Head | None = None) -> Audit:
    """Judge a ledger by all its rows up to ``end``, in order of id; with ``noted``, whether it goes on from that head."""
    chains = [_Chain(number) for number in range(CHAINS)]
    count = erased = 0
    then = Head.of({})
    for row in rows:
        person = row.facts[1]
        # A person that is no number was put there by a stranger. Its row fits no chain, so any will do to say so.
        chains[chain_of(person) if isinstance(person, int) else 0].follow(row)
        count += 1
        erased += row.salt is None and row.words == ERASED
        if noted is not None and count == noted.rows:
            then = Head.of({chain.number: chain.tip for chain in chains})
    for chain in chains:
        chain.end(end.tips.get(chain.number, Tip()))
    return Audit(
        rows=count,
        erased=erased,
        chains=sum(chain.last is not None for chain in chains),
        head=Head.of(end.tips),
        broken=[chain.broken for chain in chains if chain.broken is not None],
        noted=None if noted is None else "cut" if count < noted.rows else "held" if then == noted else "rewritten",
    )


class _Chain:
    """One chain as far as it was followed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.tip = Tip()
        self.last: int | None = None
        self.broken: Break | None = None
        self._lost = False

    def follow(self, row: LinkedRow) -> None:
        """Judge the next row. Behind a link that does not hold nothing can be said about the rest."""
        self.last = row.id
        if self._lost:
            return
        expected = link(self.tip, row.facts, row.seal)
        if row.link != expected or row.chain != self.number:
            self._lost = True
            self._break("unlinked" if row.link is None else "not-following")
            return
        self.tip = Tip(self.tip.rows + 1, expected)
        if row.salt is None:
            if row.words != ERASED:
                self._break("salt-missing")
        elif seal(row.salt, row.words) != row.seal:
            self._break("words-missing" if row.words == ERASED else "words-changed")

    def end(self, recorded: Tip) -> None:
        """Compare the last row with where the chain is known to end."""
        if self._lost or self.tip == recorded:
            return
        if self.tip.rows == recorded.rows:
            self._break("tip-changed")
        elif self.tip.rows < recorded.rows:
            self._break("cut", recorded.rows - self.tip.rows)
        else:
            self._break("added")

    def _break(self, problem: Problem, missing: int = 0) -> None:
        if self.broken is None:
            self.broken = Break(chain=self.number, row=self.last, problem=problem, missing=missing)
