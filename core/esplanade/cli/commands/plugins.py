"""The installed plugins, and the schema that follows from them."""

from __future__ import annotations

from pathlib import Path

import click

from esplanade.cli.output import Table, talk
from esplanade.cli.session import Session, command
from esplanade.errors import PluginLoadError


@command("plugins", "the installed plugins")
def plugins(session: Session) -> int:
    """List the plugins: version, hooks, methods, and whether this configuration uses them."""
    from esplanade.runtime import plugin_report

    found = plugin_report(session.loaded)
    columns = ("name", "version", "hooks", "methods", "tier", "state")
    rows = [
        [*(one[name] for name in columns[:-1]), f"failed: {one['reason']}" if one["reason"] else one["state"]]
        for one in found
    ]
    session.out.show({"plugins": found}, Table(columns=columns, rows=rows))
    return 0


@command("schema", "JSON Schema of connectors.yaml")
def schema(session: Session) -> int:
    """Print the JSON Schema of connectors.yaml for the plugins that are installed."""
    from esplanade.config import PluginTypes, as_json, load_schema
    from esplanade.registry import find, installed, types_of

    types: dict[str, PluginTypes | str] = {}
    for one in installed():
        try:
            types[one.name] = types_of(find(one.name, Path()))
        except PluginLoadError as problem:
            talk(f"left out: {problem}")
    click.echo(as_json(load_schema(types)), nl=False)
    return 0
