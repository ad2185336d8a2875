"""The hub's own webhooks at a vendor: registered and removed by hand."""

from __future__ import annotations

import click
import msgspec

from esplanade.cli.output import Table, talk
from esplanade.cli.reach import operator
from esplanade.cli.session import Session, command
from esplanade.model import Webhooks


@command("webhooks", "register a connector's webhooks at its vendor")
@click.argument("connector")
@click.option("--remove", is_flag=True, help="Remove at the vendor what the hub registered there.")
def webhooks(session: Session, connector: str, *, remove: bool) -> int:
    """Register a connector's webhooks at its vendor, now, so that it calls this hub.

    What is missing is made, and what the hub made before is mended or, if it is no longer wanted, removed. Webhooks of others
    are never touched. A hub that runs does this by itself, unless the connector says `webhooks: manual`.
    """
    name = session.connector(connector)

    async def work() -> Webhooks:
        async with operator(session) as hub:
            return await hub.webhooks(name, remove=remove)

    found = session.run(work())
    rows = [(words, done) for done in Webhooks.__struct_fields__ for words in getattr(found, done)]
    nothing = [] if rows else [f"{name}: there was no webhook to {'remove' if remove else 'register'}"]
    session.out.show(msgspec.to_builtins(found), Table(columns=("webhook", "what was done"), rows=rows), *nothing)
    if remove and session.config.connectors[name].webhooks == "auto":
        talk(f"set `webhooks: manual` for {name}, or the hub registers them again when it starts, and once a day")
    return 0
