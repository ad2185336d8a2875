"""Writes what is generated from the code: the JSON Schema and the reference of connectors.yaml. A test compares them."""

from __future__ import annotations

import sys
from pathlib import Path

from esplanade import registry
from esplanade.config import as_json, load_schema, reference

ROOT = Path(__file__).parents[1]
EXIT_CODES = (
    "Exit codes: 0 ok · 1 the operation failed · 2 usage, an unknown connector too · 3 the configuration is not valid · "
    "4 a connector check failed · 130 interrupted. Data goes to stdout, talk to stderr.\n"
)
PLUGINS = ("sparkloop", "webhook", "webpower")


def generated() -> dict[Path, bytes]:
    """Every generated file with what it must hold."""
    types = {name: registry.types_of(registry.find(name, ROOT)) for name in PLUGINS}
    return {
        ROOT / "connectors.schema.json": as_json(load_schema(types)),
        ROOT / "docs" / "reference" / "configuration.md": reference(types).encode(),
        ROOT / "docs" / "reference" / "command-line.md": command_line().encode(),
    }


def command_line() -> str:
    """The reference of the commands, from their own help."""
    import click

    from esplanade.cli.program import esplanade

    parts = [
        "# The command line\n",
        "Generated from the commands themselves by `make docs`; `esplanade COMMAND --help` says the same.\n",
        EXIT_CODES,
    ]
    root = click.Context(esplanade, info_name="esplanade", terminal_width=100, max_content_width=100)
    for name in esplanade.list_commands(root):
        command = esplanade.get_command(root, name)
        assert command is not None
        ctx = click.Context(command, info_name=name, parent=root, terminal_width=100, max_content_width=100)
        parts.append(f"## `{name}`\n\n```text\n{command.get_help(ctx)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    for path, content in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
