"""People: taking them in from a file, explaining one of them, and erasing one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from esplanade.cli.importing import Source, import_people
from esplanade.cli.operator import OperationError
from esplanade.cli.output import Table, counted, is_terminal, talk
from esplanade.cli.progress import progress
from esplanade.cli.reach import operator
from esplanade.cli.session import Session, command, global_options
from esplanade.errors import EventError
from esplanade.ingest.importer import PRESETS, Columns


@command("import", "take people in from CSV or NDJSON")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--map", "maps", multiple=True, metavar="COLUMN=FIELD", help="What a column means; may be repeated.")
@click.option("--from", "preset", type=click.Choice(sorted(PRESETS)), help="A file as this vendor gives it.")
def import_(session: Session, file: Path, maps: tuple[str, ...], preset: str | None) -> int:
    """Take people in from a CSV or NDJSON file.

    Columns: email, id, previous_email, consent:PURPOSE (granted, denied, pending), audience:NAME (true, false); every
    other column is a field. An empty cell is left out. Rows that cannot be taken go to FILE.rejected.csv with the
    reason. The same file may be imported again: what was taken before counts once.
    """
    columns = _columns(maps, preset)

    async def work() -> Any:
        with Source(file) as source, progress("import", source.size, silent=session.as_json) as shown:
            async with operator(session) as hub:
                return await import_people(source, columns, hub, shown)

    counts = session.run(work())
    table = Table(columns=("rows", "accepted", "rejected"), rows=[(counts.rows, counts.accepted, counts.rejected)])
    session.out.show(msgspec.to_builtins(counts), table)
    if counts.rejected_file:
        talk(f"{counts.rejected} rows could not be taken; each is in {counts.rejected_file} with its reason")
    return 1 if counts.rows and not counts.accepted else 0


@command("explain", "everything known of a person, and why")
@click.argument("email")
@click.argument("connector", required=False)
def explain(session: Session, email: str, connector: str | None) -> int:
    """Tell everything that is known of a person: consents and who said so, what was sent, what was not and why.

    EMAIL is any address that they have or had. With CONNECTOR only that one, and what concerns all.
    """
    from esplanade.cli.explaining import explained
    from esplanade.cli.facts import facts
    from esplanade.clock import SystemClock
    from esplanade.runtime import world_of
    from esplanade.views import explain_view, nobody

    _see_that_it_is_an_address(email)
    if connector is not None:
        session.connector(connector)
    world, known = world_of(session.loaded), facts(session.loaded)
    with session.reading() as reader:
        why = explain_view(reader, world, email, facts=known, now=SystemClock().time(), connector=connector)
        missing = nobody(reader, email) if why is None else ""
    if why is None:
        raise OperationError(f"{email}: {missing}")
    session.out.show(why, *explained(why))
    return 0


@click.group("person", short_help="erase a person")
def person() -> None:
    """What is kept of one person."""


@command("erase", "erase a person everywhere")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask first. Without a terminal nobody is asked.")
def erase(session: Session, email: str, *, yes: bool) -> int:
    """Erase a person for good: from the hub, then at each vendor whose plugin can; tell what is left to do there.

    EMAIL is any address that they have or had. Their words leave the store's files; what stays are digests that keep a
    later pull from bringing them back, and the consent ledger's rows without words. Repeat it if the answer was lost, or
    where a vendor failed: then the exit code is 1.
    """
    _see_that_it_is_an_address(email)
    if not yes and is_terminal(sys.stdin) and is_terminal(sys.stderr):
        click.confirm(f"Erase everything that is known of {email}? This cannot be undone", abort=True, err=True)

    async def work() -> dict[str, Any] | None:
        async with operator(session) as hub:
            return await hub.erase(email)

    erased = session.run(work())
    if erased is None:
        raise OperationError(f"{email}: nobody with this address is known here")
    rows = [(one["connector"], one["result"], one["detail"]) for one in erased["certificate"]]
    table = Table(title="Certificate", columns=("connector", "result", "detail"), rows=rows)
    session.out.show(erased, f"{erased['person']} is erased since {erased['erased_at']}", table)
    if erased["unread"]:
        unread = counted(
            erased["unread"], "webhook that speaks of others too waits", "webhooks that speak of others too wait"
        )
        talk(f"{unread} to be read; once that is done, erase again")
    failed = [one["connector"] for one in erased["certificate"] if one["result"] == "failed"]
    if failed:
        talk(f"not erased at the vendor of {', '.join(failed)}; the certificate says why. Erase again")
    return 1 if failed else 0


person.params.extend(global_options())
person.add_command(erase)


def _see_that_it_is_an_address(email: str) -> None:
    from esplanade.sync.identity import normalise

    try:
        normalise(email)
    except EventError as problem:
        raise click.UsageError(f"{email!r}: {problem.message}") from None


def _columns(maps: tuple[str, ...], preset: str | None) -> Columns:
    base = PRESETS[preset] if preset else Columns()
    names = dict(base.names)
    required = []
    for text in maps:
        column, sign, means = text.rpartition("=")
        if not (sign and column and means):
            raise click.UsageError(f"--map {text!r}: expected COLUMN=FIELD, such as --map 'First name=firstname'")
        names[column] = means
        required.append(column)
    readers = {name: reader for name, reader in base.readers.items() if name not in required}
    return Columns(names=names, readers=readers, required=tuple(required))
