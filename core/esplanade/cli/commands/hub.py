"""The configuration and its connectors: valid, working, paused, and what their vendors hold."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from esplanade.cli.operator import Pulled
from esplanade.cli.output import Table, counted, talk
from esplanade.cli.progress import waiting
from esplanade.cli.reach import operator
from esplanade.cli.session import Session, command, warn
from esplanade.cli.suggest import suggestions
from esplanade.errors import PluginLoadError

CHECK_FAILED = 4


@command("check", "validate the configuration, and with --online the connections")
@click.option("--online", is_flag=True, help="Also ask each enabled connector's vendor whether all is in order.")
def check(session: Session, *, online: bool) -> int:
    """Validate the configuration; every problem at once, with its place."""
    config = session.config
    document: dict[str, Any] = {"path": str(config.path), "warnings": config.warnings}
    warn(session)
    failed = _unloaded(session)
    for name, why in failed.items():
        talk(f"connector {name} cannot run: {why}")
    if online:
        from esplanade.cli.vendor import check_all

        results = session.run(check_all(session))
        failed |= {one["name"]: one["detail"] for one in results if one["status"] != "ok"}
        document["connectors"] = results
        rows = [(one["name"], one["status"], one["detail"]) for one in results]
        session.out.show(document, Table(columns=("connector", "check", "detail"), rows=rows))
    else:
        session.out.show(
            document, f"{config.path} is valid: {counted(len(config.connectors), 'connector', 'connectors')}"
        )
    return CHECK_FAILED if failed else 0


@command("connectors", "state of each connector")
def connectors(session: Session) -> int:
    """Show each connector: its state, queue, lag, breaker, last error, and the URL for its vendor's webhooks."""
    from esplanade.cli.vendor import connectors as ask

    view = session.run(ask(session))
    found = view["connectors"]
    columns = ("name", "state", "due", "scheduled", "in flight", "parked", "dead", "lag s", "breaker")
    rows = [
        (
            *(one[name] for name in ("name", "state")),
            *(one["queue"][name] for name in ("due", "scheduled", "in_flight", "parked", "dead")),
            *(one[name] for name in ("lag_s", "breaker")),
        )
        for one in found
    ]
    said = [f"{one['name']}: {text}" for one in found for text in _besides(one)]
    session.out.show(view, Table(columns=columns, rows=rows), *(["", *said] if said else []))
    return 0


@command("pause", "stop sending to a connector")
@click.argument("name")
def pause(session: Session, name: str) -> int:
    """Stop sending to a connector; its backlog is kept."""
    return _switch(session, session.connector(name), "paused")


@command("resume", "send to a paused connector again")
@click.argument("name")
def resume(session: Session, name: str) -> int:
    """Send to a paused connector again, at once."""
    return _switch(session, session.connector(name), "ok")


@command("discover", "a vendor's fields, lists and mailings")
@click.argument("connector")
def discover(session: Session, connector: str) -> int:
    """Show what a vendor's account offers: fields, groups, purposes, mailings, and which hub fields fit."""
    from esplanade.cli.vendor import discover as ask

    view = session.run(ask(session, session.connector(connector)))
    config = session.config.connectors[connector]
    mapped = {vendor: hub for hub, vendor in config.fields.items()}
    known = {hub for one in session.config.connectors.values() for hub in one.fields} - set(config.fields)
    found = suggestions(view.get("fields", []), mapped, sorted(known))
    proposed = {vendor: f"({hub}?)" for hub, vendor in found.items()}
    columns = ("field", "type", "label", "options", "notes", "mapped from")
    rows = [
        (
            *(one.get(name) for name in ("name", "type", "label", "options")),
            _notes(one),
            mapped.get(one["name"]) or proposed.get(one["name"]),
        )
        for one in view.get("fields", [])
    ]
    tables = [Table(title="Fields", columns=columns, rows=rows)]
    tables += [
        Table(
            title=part.capitalize(),
            columns=("id", "name", "detail"),
            rows=[(one["id"], one["name"], one.get("detail")) for one in view.get(part, [])],
        )
        for part in ("groups", "purposes", "mailings")
    ]
    session.out.show({**view, "suggested": found}, *tables)
    if missing := sorted(set(mapped) - {one["name"] for one in view.get("fields", [])}):
        talk(f"mapped in {session.path}, but not among the vendor's fields: {', '.join(missing)}")
    return 0


@command("pull", "read everything a vendor holds, now")
@click.argument("connector")
def pull(session: Session, connector: str) -> int:
    """Read everything the vendor holds, now. A pull that was cut goes on where it stopped."""
    name = session.connector(connector)

    async def work() -> Pulled:
        async with operator(session) as hub:
            with waiting(f"pulling {name}", silent=session.as_json) as said:
                return await hub.pull(name, said)

    pulled = session.run(work())
    table = Table(columns=("pages", "read", "changed"), rows=[(pulled.pages, pulled.read, pulled.changed)])
    held = [f"{pulled.held} held by the guard: see the alert"] if pulled.held else []
    session.out.show(msgspec.to_builtins(pulled), table, *held)
    return 0


def _switch(session: Session, name: str, state: str) -> int:
    async def work() -> None:
        async with operator(session) as hub:
            await (hub.pause(name) if state == "paused" else hub.resume(name))

    session.run(work())
    session.out.show({"name": name, "state": state}, f"{name} is {'paused' if state == 'paused' else 'running again'}")
    return 0


def _besides(one: dict[str, Any]) -> list[str]:
    """What does not fit into a connector's row."""
    pull = f", next pull {one['next_pull']}" if one["next_pull"] else ""
    plugin = f"plugin {one['plugin']} {one['version']}{pull}"
    error = f"last error: {one['last_error']}" if one["last_error"] else None
    return [text for text in (plugin, one["reason"], error, one["hook_url"]) if text]


def _unloaded(session: Session) -> dict[str, str]:
    """The enabled connectors whose plugin could not be loaded, with the reason."""
    plugins = session.loaded.plugins
    found = {name: plugins.get(one.plugin) for name, one in session.config.connectors.items() if one.enabled}
    return {name: str(why) for name, why in found.items() if isinstance(why, PluginLoadError)}


def _notes(one: dict[str, Any]) -> str:
    notes = [word.replace("_", " ") for word in ("required", "read_only") if one.get(word)]
    return ", ".join([*notes, *([f"at most {one['max_length']}"] if one.get("max_length") else [])])
