"""Writes what is generated from the code: the JSON Schema and the reference. A test compares them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from esplanade import registry
from esplanade.config import as_json, load_schema, reference
from esplanade.conformance import load_quality
from esplanade.conformance.table import replaced
from esplanade.reasons import REASONS

ROOT = Path(__file__).parents[1]
EXIT_CODES = (
    "Exit codes: 0 ok · 1 the operation failed · 2 usage, an unknown connector too · 3 the configuration is not valid · "
    "4 a connector check failed · 130 interrupted. Data goes to stdout, talk to stderr.\n"
)
TRIED = ("copernica", "smartemailing", "sparkloop", "webpower")
"""Those that the conformance suite is run against."""
PLUGINS = ("copernica", "smartemailing", "sparkloop", "webhook", "webpower")


def generated() -> dict[Path, bytes]:
    """Every generated file with what it must hold."""
    types = {name: registry.types_of(registry.find(name, ROOT)) for name in PLUGINS}
    return {
        **dict(map(conformance, TRIED)),
        ROOT / "connectors.schema.json": as_json(load_schema(types)),
        ROOT / "docs" / "reference" / "configuration.md": reference(types).encode(),
        ROOT / "docs" / "reference" / "command-line.md": command_line().encode(),
        ROOT / "docs" / "reference" / "reasons.md": reasons().encode(),
    }


def conformance(plugin: str) -> tuple[Path, bytes]:
    """A plugin's README, with the table of the rules that it keeps."""
    path = ROOT / "plugins" / plugin / "README.md"
    quality = load_quality(registry.find(plugin, ROOT))
    return path, replaced(path.read_text("utf-8"), quality).encode()


def reasons() -> str:
    """The reference of the reasons, from their table."""
    lines = [
        "# Reasons",
        "",
        "Each decision not to send, not to apply or not to take over is recorded with one of these, for the person whom it is",
        "about. `esplanade explain EMAIL` shows them. A plugin may give a reason of its own, which is shown as it is. This page is",
        "generated from `core/esplanade/reasons.py` by `make docs`.",
        "",
        "| reason | what it means | what you can do |",
        "|---|---|---|",
    ]
    lines += [f"| `{code}` | {each.means} | {each.remedy or ''} |" for code, each in sorted(REASONS.items())]
    return "\n".join(lines) + "\n"


def command_line() -> str:
    """The reference of the commands, from their own help."""
    from esplanade.cli.program import esplanade

    parts = [
        "# The command line\n",
        "Generated from the commands themselves by `make docs`; `esplanade COMMAND --help` says the same.\n",
        EXIT_CODES,
    ]
    root = click.Context(esplanade, info_name="esplanade", terminal_width=100, max_content_width=100)
    parts += _helps(esplanade, root)
    return "\n".join(parts)


def _helps(group: click.Group, parent: click.Context) -> Iterator[str]:
    """What each command of a group, and of the groups in it, says of itself."""
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None
        ctx = click.Context(command, info_name=name, parent=parent, terminal_width=100, max_content_width=100)
        path = ctx.command_path.removeprefix("esplanade ")
        yield f"{'#' * (1 + len(path.split()))} `{path}`\n\n```text\n{command.get_help(ctx)}\n```\n"
        if isinstance(command, click.Group):
            yield from _helps(command, ctx)


if __name__ == "__main__":
    for path, content in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
