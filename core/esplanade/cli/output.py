"""Data on stdout, talk on stderr: JSON, or tables that fit whoever reads them."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
import msgspec
from msgspec import Struct

from esplanade.config.problems import printable


class Table(Struct, frozen=True, kw_only=True):
    """Rows under columns; a column whose values are numbers stands to the right. ``title`` when there are several."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""


class Output:
    """Prints results, as one JSON document or as text."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def show(self, document: Any, *parts: Table | str) -> None:
        """Print ``document`` as JSON, or else the tables and lines that say the same to a human."""
        if self.as_json:
            click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
            return
        first = True
        for part in parts:
            if isinstance(part, str):
                click.echo(printable(part))
                first = False
            elif part.rows:
                if part.title:
                    click.echo(("" if first else "\n") + part.title)
                _show_table(part)
                first = False


def talk(text: str) -> None:
    """Say something to the human, on stderr."""
    click.echo(text, err=True)


def is_terminal(stream: Any) -> bool:
    """Whether a human looks at a stream."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


def cell(value: Any) -> str:
    """A value as a table has it: one line, no control characters, which vendors' messages could smuggle in."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(f"{name}={cell(each)}" for name, each in value.items()) or "-"
        case list() | tuple():
            return ", ".join(map(cell, value)) or "-"
    return printable(str(value)) or "-"


def plain(table: Table) -> str:
    """A table as aligned text."""
    rows = [[cell(each) for each in row] for row in table.rows]
    widths = [max(map(_width, column)) for column in zip(table.columns, *rows, strict=True)]
    right = _numeric(table)
    lines = []
    for row in [list(table.columns), *rows]:
        padded = [
            " " * (width - _width(text)) + text if at in right else text + " " * (width - _width(text))
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _show_table(table: Table) -> None:
    if not is_terminal(sys.stdout) or not _show_rich(table):
        click.echo(plain(table))


def _show_rich(table: Table) -> bool:
    """Draw a table; False when that cannot be done here."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text
    except ImportError:
        return False
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    right = _numeric(table)
    for at, name in enumerate(table.columns):
        drawn.add_column(Text(name), justify="right" if at in right else "left", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*(Text(cell(each)) for each in row))
    console = Console(highlight=False)  # follows NO_COLOR by itself
    if console.measure(drawn, options=console.options.update(width=10_000)).maximum > console.width:
        return False  # a drawn table would cut what does not fit
    console.print(drawn)
    return True


def _numeric(table: Table) -> set[int]:
    return {
        at
        for at in range(len(table.columns))
        if table.rows and all(isinstance(row[at], int | float) and not isinstance(row[at], bool) for row in table.rows)
    }


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) != 0 for letter in text)


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun, such as ``1 delivery`` or ``2 deliveries``."""
    return f"{number} {one if number == 1 else many}"


def lines(title: str, texts: Iterable[str]) -> list[str]:
    """A title with lines beneath it; nothing when there are none."""
    found = [f"  {text}" for text in texts]
    return ["", title, *found] if found else []
