"""Driving an import: rows in batches to an Operator, the bad ones to FILE.rejected.csv."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

import msgspec
from msgspec import Struct

from esplanade.ingest.importer import MAX_LINE_BYTES, REJECTED, Columns, ImportFileError, People, Row, form_of

from .operator import batches

if TYPE_CHECKING:
    from .operator import Operator
    from .progress import Progress


class Counts(Struct, kw_only=True):
    """What became of a file's rows. Rows that an earlier run took count as accepted."""

    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    rejected_file: str | None = None


class Source:
    """A file to import, opened within a block; ``size`` and ``read`` are bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = 0
        try:
            self._file: IO[bytes] = path.open("rb")
            self._digest = hashlib.file_digest(self._file, "sha256").hexdigest()
            self.size = self._file.tell()
            self._file.seek(0)
        except OSError as problem:
            raise ImportFileError(f"{path}: cannot be read: {problem.strerror or problem}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def people(self, columns: Columns) -> People:
        """What the file says, row by row. Raises ImportFileError."""
        form = form_of(self.path.name, self._file.peek(64) if hasattr(self._file, "peek") else b"")
        again = self.path.name.endswith(REJECTED)
        return People(self._lines(), form, digest=self._digest, columns=columns, skip_verdict=again)

    def _lines(self) -> Iterator[bytes]:
        while line := self._file.readline(MAX_LINE_BYTES + 1):
            self.read += len(line)
            yield line


class Rejects:
    """The file of the bad rows, made when there is a first one; one of an earlier run is replaced."""

    def __init__(self, beside: Path, header: list[str]) -> None:
        self.path = beside.with_name(beside.name + REJECTED)
        self._header = header
        self._file: IO[str] | None = None
        self._writer: Any = None
        self.path.unlink(missing_ok=True)

    def add(self, row: Row, reason: str) -> None:
        """Write down a bad row with its reason."""
        if self._file is None:
            # What was not UTF-8 is written back as the bytes that it was.
            self._file = self.path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            self._writer = csv.writer(self._file)
            self._writer.writerow(["line", "reason", *self._header])
        self._writer.writerow([row.line, reason, *row.cells])

    def close(self) -> str | None:
        """Close the file; returns its name, None when there was no bad row."""
        if self._file is None:
            return None
        self._file.close()
        return str(self.path)


async def import_people(source: Source, columns: Columns, operator: Operator, progress: Progress) -> Counts:
    """Send every row of a file in. Raises ImportFileError; what was taken before stays taken."""
    counts = Counts()
    people = source.people(columns)
    rejects = Rejects(source.path, people.header)
    try:
        for batch in batches(_good(people, counts, rejects), lambda one: len(one[1])):
            await _send(batch, operator, counts, rejects)
            progress.at(source.read, f"{counts.accepted + counts.rejected} rows")
        progress.at(source.size, f"{counts.rows} rows")
    except ImportFileError as problem:
        raise ImportFileError(f"{source.path}: {problem}; {counts.accepted} rows before it were taken") from None
    finally:
        counts.rejected_file = rejects.close()
    return counts


def _good(people: People, counts: Counts, rejects: Rejects) -> Iterator[tuple[Row, bytes]]:
    """The rows that are events, as JSON; the others are written down."""
    for row in people:
        counts.rows += 1
        if row.event is None:
            counts.rejected += 1
            rejects.add(row, row.reason)
        else:
            yield row, msgspec.json.encode(row.event)


async def _send(batch: list[tuple[Row, bytes]], operator: Operator, counts: Counts, rejects: Rejects) -> None:
    taken = await operator.take_people([item for _, item in batch])
    counts.accepted += taken.accepted
    for refusal in taken.rejected:
        counts.rejected += 1
        rejects.add(batch[refusal.index][0], f"{refusal.path.removeprefix('$.')}: {refusal.error}")
