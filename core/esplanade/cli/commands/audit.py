"""Whether the consent ledger is still what was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, assert_never

import click
import msgspec

from esplanade.cli.output import Table, talk
from esplanade.cli.progress import Progress, progress
from esplanade.cli.session import Session, command, global_options
from esplanade.sync.audit import Audit, Break, Head, LedgerEnd, LinkedRow, verify

if TYPE_CHECKING:
    from esplanade.store.port import Reader

FAILED = 1
PAGE = 1_000
FIRST = -(2**63)
"""The least id that a row can have. The hub begins at 1; a row below it was put there by somebody else."""
MISCOPIED = "First see that the head was copied right."
REMEDY = (
    "Nothing was repaired, and the hub goes on: it adds rows behind what is there. Stop it, keep this store as it is for "
    "whoever looks into this, and restore a backup that verifies."
)


@click.group("audit", short_help="whether the consent ledger was tampered with")
def audit() -> None:
    """Verify the consent ledger: the record of who agreed to what."""


@command("verify", "compare every row of the consent ledger with its chain")
@click.option(
    "--head", "text", metavar="HEAD", help="A head noted earlier, to tell whether all rows of then are there."
)
def verify_ledger(session: Session, text: str | None) -> int:
    """Verify that no row of the consent ledger was changed, removed, added or moved since it was recorded.

    Prints the ledger's head. Note it down outside this machine: with --head, a later run tells whether the rows of then
    are all there still. Reads only, beside a running hub or without one.
    """
    noted = _head(text) if text is not None else None
    with session.reading() as reader:
        end = reader.ledger_end()
        with progress("verify", Head.of(end.tips).rows, silent=session.as_json) as shown:
            found = verify(_rows(reader, end, shown), end, noted)
    session.out.show(_document(found, noted), *_said(found, noted))
    if found.intact:
        return 0
    if not found.broken:  # only the noted head says that something is wrong
        talk(MISCOPIED)
    talk(REMEDY)
    return FAILED


audit.params.extend(global_options())
audit.add_command(verify_ledger)


def _head(text: str) -> Head:
    try:
        return Head.parse(text)
    except ValueError as problem:
        raise click.UsageError(f"--head {text!r}: {problem}") from None


def _rows(reader: Reader, end: LedgerEnd, shown: Progress) -> Iterator[LinkedRow]:
    """Every row up to the end, page by page, so that neither memory nor a transaction grows with the ledger."""
    if end.last is None:
        return
    first, done = FIRST, 0
    while page := reader.ledger_page(first, end.last, PAGE):
        yield from page
        done += len(page)
        shown.at(done, f"{done} rows")
        if page[-1].id == end.last:
            return
        first = page[-1].id + 1


def _document(found: Audit, noted: Head | None) -> dict[str, Any]:
    return {
        "intact": found.intact,
        "rows": found.rows,
        "erased": found.erased,
        "chains": found.chains,
        "head": str(found.head),
        "noted": {"head": str(noted), "state": found.noted} if noted is not None else None,
        "broken": [{**msgspec.to_builtins(one), "what": _what(one)} for one in found.broken],
    }


def _said(found: Audit, noted: Head | None) -> Iterator[Table | str]:
    columns = ("rows", "chains", "erased", "head", "intact")
    row = (found.rows, found.chains, found.erased, str(found.head), found.intact)
    yield Table(columns=columns, rows=[row])
    if noted is not None:
        yield _since(noted, found)
    broken = [(one.chain, one.row, _what(one)) for one in found.broken]
    yield Table(title="Broken chains", columns=("chain", "from row", "what is wrong"), rows=broken)


def _since(noted: Head, found: Audit) -> str:
    match found.noted:
        case "held" | None:
            return f"since {noted}: nothing before it was touched; rows added: {found.rows - noted.rows}"
        case "cut":
            return f"since {noted}: the ledger was cut; rows missing: {noted.rows - found.rows}"
        case "rewritten":
            return f"since {noted}: the first {noted.rows} rows are not what they were then"
        case _:
            assert_never(found.noted)


def _what(one: Break) -> str:
    match one.problem:
        case "unlinked":
            return "the row was not written by the hub: it has no link"
        case "not-following":
            return "the row was changed, or one was changed, removed, added or moved between it and the row before it"
        case "words-changed":
            return "the method, source or evidence of the row is not what was recorded"
        case "words-missing":
            return "the method, source and evidence of the row are gone, but no erasure took them"
        case "salt-missing":
            return "the row has words that nothing vouches for: their salt is gone, as after an erasure"
        case "cut":
            where = "behind this one" if one.row is not None else "all that this chain had"
            return f"rows are missing, {where}: {one.missing}"
        case "added":
            return "rows up to this one were added, or the chain's end was set back"
        case "tip-changed":
            return "where the chain ends was changed: it is not the link of its last row"
        case _:
            assert_never(one.problem)
