"""How far something long has come, on stderr: a bar for a human, else a line for every tenth part."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from .output import is_terminal, talk


class Progress(Protocol):
    """Told how far the work has come."""

    def at(self, done: int, note: str) -> None:
        """``done`` of the total is done, more where it has grown meanwhile; ``note`` says what that means to a human."""
        ...


class Silence:
    """No progress, for those who asked for JSON."""

    def at(self, done: int, note: str) -> None:
        """Say nothing."""


class Tenths:
    """A line for every tenth part."""

    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = total
        self._said = 0

    def at(self, done: int, note: str) -> None:
        """Say it when another tenth is done."""
        tenth = min(10, 10 * done // self._total) if self._total else 10
        if tenth > self._said:
            self._said = tenth
            talk(f"{self._title}: {tenth * 10} %, {note}")


@contextmanager
def progress(title: str, total: int, *, silent: bool) -> Iterator[Progress]:
    """Show progress within the block."""
    if silent:
        yield Silence()
        return
    if not is_terminal(sys.stderr):
        yield Tenths(title, total)
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
    except ImportError:
        yield Tenths(title, total)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(title, total=max(total, 1), note="")

        class Bar:
            def at(self, done: int, note: str) -> None:
                bars.update(task, completed=min(done, max(total, 1)), note=note)

        yield Bar()


@contextmanager
def waiting(title: str, *, silent: bool) -> Iterator[Callable[[str], None]]:
    """Show within the block that something goes on whose end cannot be told; call it with how far it has come."""
    if silent:
        yield lambda _: None
        return
    if is_terminal(sys.stderr):
        try:
            from rich.console import Console
        except ImportError:
            pass
        else:
            with Console(stderr=True).status(title) as status:
                yield lambda note: status.update(f"{title}: {note}")
            return
    talk(f"{title} …")
    yield lambda _: None
