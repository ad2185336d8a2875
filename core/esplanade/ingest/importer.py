"""Reading people from CSV or NDJSON, row by row: each is a profile event, or the reason why it is none.

Pure: takes lines as bytes, gives rows. The file is never held whole. An event id is made from the file's digest, the
columns' meaning and the row's line, so that the same file read again counts as repeats, wherever the first run stopped.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from esplanade.errors import EsplanadeError

Form = Literal["csv", "ndjson"]
REJECTED = ".rejected.csv"
"""What the name of the file with the bad rows ends with."""
MAX_LINE_BYTES = 1024 * 1024

_KEYS = ("email", "id", "previous_email")
_OBJECTS = ("fields", "audiences", "consents")
_STATES = {
    **dict.fromkeys(("granted", "yes", "true", "1"), "granted"),
    **dict.fromkeys(("denied", "no", "false", "0"), "denied"),
    "pending": "pending",
}
_TRUTHS = {**dict.fromkeys(("true", "yes", "1"), True), **dict.fromkeys(("false", "no", "0"), False)}
_DELIMITERS = ",;\t"
_QUOTED = re.compile('"[^"]*"')
_ESCAPED = re.compile("[\udc80-\udcff]")
_SPARKLOOP_DATE = re.compile(r"(\d\d)/(\d\d)/(\d{4})(?: (\d\d:\d\d))?")


class ImportFileError(EsplanadeError):
    """A file as a whole cannot be imported; the message says where and what to do."""


class Row(Struct, frozen=True, kw_only=True):
    """One row: an ``event`` as the HTTP API takes profiles, or else the ``reason`` why it is none."""

    line: int
    """Where it begins, from 1."""
    cells: list[str]
    """As they stood in the file; undecodable bytes as surrogate escapes."""
    event: dict[str, Any] | None = None
    reason: str = ""


class Columns(Struct, frozen=True, kw_only=True):
    """What a file's columns mean.

    ``names`` goes from a column to ``email``, ``id``, ``previous_email``, ``consent:<purpose>``, ``audience:<name>`` or a
    field; a column that is not there means itself. ``readers`` turn a column's text into its field's, or raise ValueError.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    readers: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    """Columns that the operator named, so that a misspelt one is an error."""

    def meaning(self, column: str) -> str:
        """What a column means."""
        return self.names.get(column, column)

    def cell(self, column: str, text: str) -> str:
        """A cell's text as its field has it."""
        reader = self.readers.get(column)
        return reader(text) if reader else text


def sparkloop_date(text: str) -> str:
    """``31/12/2025 23:59`` as ``2025-12-31T23:59``; SparkLoop's files say no time zone (help article 5871255)."""
    found = _SPARKLOOP_DATE.fullmatch(text.strip())
    if not found:
        raise ValueError("expected DD/MM/YYYY or DD/MM/YYYY HH:MM")
    day, month, year, time = found.groups()
    return f"{year}-{month}-{day}" + (f"T{time}" if time else "")


PRESETS: dict[str, Columns] = {
    "sparkloop": Columns(
        names={
            "Email": "email",
            "Name": "name",
            "Registration Date": "registration_date",
            "IP Address": "ip_address",
            "Referrer": "referrer",
            "Source": "source",
        },
        readers={"Registration Date": sparkloop_date},
    )
}
"""Files of others, by the name that ``--from`` takes."""


def form_of(name: str, start: bytes) -> Form:
    """Whether a file is CSV or NDJSON, by its name's ending, else by its first bytes."""
    if name.lower().endswith((".ndjson", ".jsonl")):
        return "ndjson"
    return "ndjson" if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in {b"{", b"["} else "csv"


class People:
    """A file of people: its ``header`` (the columns of ``Row.cells``), and its rows, to be gone through once.

    ``digest`` stands for the whole content. Raises ImportFileError, here or on the way, when no row can make sense.
    """

    def __init__(
        self, lines: Iterable[bytes], form: Form, *, digest: str, columns: Columns, skip_verdict: bool = False
    ) -> None:
        self._lines = _decoded(lines)
        self._columns = columns
        said = repr((sorted(columns.names.items()), sorted(columns.readers)))
        self._run = blake2b(f"{digest}\0{said}".encode(), digest_size=16).hexdigest()
        self._form = form
        self._skip = 0
        self._delimiter = ","
        if form == "ndjson":
            self.header = ["row"]
            return
        self.header = self._csv_header()
        if skip_verdict and self.header[:2] == ["line", "reason"]:
            self._skip = 2
            self.header = self.header[2:]
        self._check_header()

    def __iter__(self) -> Iterator[Row]:
        return self._ndjson() if self._form == "ndjson" else self._csv()

    # CSV.

    def _csv_header(self) -> list[str]:
        self._first, line = next(((number, line) for number, line in self._lines if line.strip()), (0, ""))
        if not line:
            raise ImportFileError("the file is empty; its first line must name the columns, such as: email,firstname")
        if "\0" in line or "\udcff\udcfe" in line or "\udcfe\udcff" in line:
            raise ImportFileError("line 1 is not UTF-8 but looks like UTF-16; save the file as UTF-8")
        if _ESCAPED.search(line):
            raise ImportFileError(f"line {self._first}: the columns' names are not UTF-8; save the file as UTF-8")
        if "\r" in line.rstrip("\r\n"):
            raise ImportFileError("the lines end in a bare carriage return; save the file with LF or CRLF")
        bare = _QUOTED.sub("", line)
        self._delimiter = max(_DELIMITERS, key=bare.count)
        return [name.strip() for name in next(csv.reader([line], delimiter=self._delimiter))]

    def _check_header(self) -> None:
        known: dict[str, str] = {}
        for name in filter(None, self.header):
            means = self._columns.meaning(name)
            if means in known:
                raise ImportFileError(
                    f"the columns {known[means]!r} and {name!r} both mean {means!r}; rename one, or use --map"
                )
            known[means] = name
        if not {"email", "id"} & set(known):
            near = next((name for name in self.header if name.lower() in {"email", "e-mail", "mail"}), "COLUMN")
            raise ImportFileError(
                f"no column is email or id; there are {', '.join(filter(None, self.header))}; say --map {near!r}=email"
            )
        if missing := [name for name in self._columns.required if name not in self.header]:
            raise ImportFileError(f"--map names {missing[0]!r}, but the columns are {', '.join(self.header)}")

    def _csv(self) -> Iterator[Row]:
        before = 0
        reader = csv.reader((line for _, line in self._lines), delimiter=self._delimiter)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as problem:
                line, before = self._first + before + 1, reader.line_num
                yield Row(line=line, cells=[], reason=f"not readable as CSV: {problem}; is a quote not closed?")
                continue
            line, ended, before = self._first + before + 1, self._first + reader.line_num, reader.line_num
            if cells:
                yield self._csv_row(line, ended, cells[self._skip :])

    def _csv_row(self, line: int, ended: int, cells: list[str]) -> Row:
        reason = ""
        if len(cells) != len(self.header):
            reason = f"has {len(cells)} cells where the header has {len(self.header)}"
            reason += f", and goes on to line {ended}; is a quote not closed?" if ended > line else ""
        elif broken := [name for name, text in zip(self.header, cells, strict=True) if _ESCAPED.search(text)]:
            reason = f"{broken[0]}: not UTF-8; save the file as UTF-8"
        elif nameless := [at for at, text in enumerate(cells, 1) if text and not self.header[at - 1]]:
            reason = f"column {nameless[0]} has no name, but a value"
        if reason:
            return Row(line=line, cells=cells, reason=reason)
        return self._row(line, cells, zip(self.header, cells, strict=True))

    # NDJSON.

    def _ndjson(self) -> Iterator[Row]:
        for line, text in self._lines:
            if text.strip():
                yield self._ndjson_row(line, text.strip())

    def _ndjson_row(self, line: int, text: str) -> Row:
        if _ESCAPED.search(text):
            return Row(line=line, cells=[text], reason="not UTF-8; save the file as UTF-8")
        try:
            found = msgspec.json.decode(text)
        except (ValueError, RecursionError) as problem:
            return Row(line=line, cells=[text], reason=f"not JSON: {problem}")
        if not isinstance(found, dict):
            hint = "; write one object a line, without [ ] around them" if text[0] in "[]" else ""
            return Row(line=line, cells=[text], reason=f"not a JSON object{hint}")
        if any(isinstance(found.get(name), dict) for name in _OBJECTS):
            return Row(line=line, cells=[text], event={"event_id": self._event_id(line), **found})
        return self._row(line, [text], found.items())

    # Both.

    def _row(self, line: int, cells: list[str], values: Iterable[tuple[str, Any]]) -> Row:
        event: dict[str, Any] = {"event_id": self._event_id(line)}
        try:
            for column, value in values:
                if not isinstance(value, str) or value.strip():
                    self._put(event, column, value)
        except ValueError as problem:
            return Row(line=line, cells=cells, reason=str(problem))
        if not {"email", "id"} & set(event):
            return Row(line=line, cells=cells, reason="has neither email nor id")
        return Row(line=line, cells=cells, event=event)

    def _put(self, event: dict[str, Any], column: str, value: Any) -> None:
        means = self._columns.meaning(column)
        kind, _, name = means.partition(":")
        if means in _KEYS:
            event[means] = value.strip() if isinstance(value, str) else value
        elif kind == "consent" and name:
            event.setdefault("consents", {})[name] = _word(column, value, _STATES, "granted, denied or pending")
        elif kind == "audience" and name:
            event.setdefault("audiences", {})[name] = _word(column, value, _TRUTHS, "true or false")
        else:
            try:
                found = self._columns.cell(column, value) if isinstance(value, str) else value
            except ValueError as problem:
                raise ValueError(f"{column}: {value!r} is not readable; {problem}") from None
            event.setdefault("fields", {})[means] = found

    def _event_id(self, line: int) -> str:
        return f"{self._run}:{line}"


def _word(column: str, value: Any, words: Mapping[str, Any], expected: str) -> Any:
    text = str(value).strip().lower()
    if text not in words:
        raise ValueError(f"{column}: {str(value)[:40]!r} is not {expected}")
    return words[text]


def _decoded(lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """Numbered lines as text; bytes that are not UTF-8 become surrogate escapes, a byte order mark is dropped."""
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE_BYTES:
            raise ImportFileError(f"line {number} is longer than 1 MiB; is this file CSV or NDJSON?")
        text = line.decode("utf-8", "surrogateescape")
        yield number, text.removeprefix("\ufeff") if number == 1 else text
