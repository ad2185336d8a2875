"""Reads the file: YAML 1.2 without aliases, every place remembered, values interpolated, problems collected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from esplanade.errors import ConfigError

from .interpolate import interpolate
from .nodes import Entry, Mapping, Node, Scalar, Sequence, find, resolved
from .problems import Place, Problem, Problems, Where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Mapping as Environ
    from pathlib import Path

_MAX_DEPTH: Final = 32
_MAX_BYTES: Final = 4 * 1024 * 1024
_STR: Final = "tag:yaml.org,2002:str"


class Document:
    """A connectors.yaml as it was read, with the problems that can be seen without knowing any plugin."""

    def __init__(self, path: Path, root: Mapping | None, problems: list[Problem]) -> None:
        self.path = path
        self.root = root
        self.problems = problems

    def plugins(self) -> dict[str, str]:
        """Connector name to plugin reference, for every connector section, enabled or not.

        A section without ``plugin`` means the plugin of the connector's own name.
        """
        found: dict[str, str] = {}
        for name, section in self._sections().items():
            entry = section.entries.get("plugin")
            if entry is None:
                found[name] = name
            elif isinstance(entry.value, Scalar) and entry.value.text and not entry.value.broken:
                found[name] = entry.value.text
        return found

    def enabled(self, name: str) -> bool:
        """Whether a connector is to run; one that does not say is."""
        section = self._sections().get(name)
        entry = section.entries.get("enabled") if section else None
        return entry is None or not isinstance(entry.value, Scalar) or resolved(entry.value) is not False

    def _sections(self) -> dict[str, Mapping]:
        entry = find(self.root, ("connectors",))
        if entry is None or not isinstance(entry.value, Mapping):
            return {}
        return {name: each.value for name, each in entry.value.entries.items() if isinstance(each.value, Mapping)}


def read(path: Path, environ: Environ[str, str]) -> Document:
    """Read and interpolate a file; what is wrong in it is collected in the document.

    Raises ConfigError, with one line, only when the file itself cannot be read.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file; name yours with --config or ESPLANADE_CONFIG"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}; make it a readable file"]) from None
    problems = Problems()
    if len(raw) > _MAX_BYTES:
        raise ConfigError([f"{path}: larger than 4 MiB; this cannot be a connectors.yaml"])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = raw[: error.start].decode("utf-8-sig", "replace")
        place = Place(good.count("\n") + 1, len(good) - good.rfind("\n"))
        problems.add(place, (), "not UTF-8 text; save the file as UTF-8")
        return Document(path, None, problems.found)

    def read_file(name: str) -> str:
        with (path.parent / name).open(encoding="utf-8") as file:
            return file.read(_MAX_BYTES)

    root = _Builder(text, environ, read_file, problems).document()
    return Document(path, root, problems.found)


class _Builder:
    """Turns the parser's events into nodes."""

    def __init__(
        self, text: str, environ: Environ[str, str], read_file: Callable[[str], str], problems: Problems
    ) -> None:
        self._text = text
        self._environ = environ
        self._read_file = read_file
        self._problems = problems
        self._events: Iterator[Any] = iter(())

    def document(self) -> Mapping | None:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        self._events = YAML(typ="safe", pure=True).parse(self._text)
        try:
            return self._document()
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(mark.line + 1, mark.column + 1) if mark else Place()
            self._problems.add(place, (), self._syntax(error.problem or error.context or "not valid YAML", place.line))
        except YAMLError as error:
            at = getattr(error, "position", 0) or 0
            place = Place(self._text.count("\n", 0, at) + 1, at - self._text.rfind("\n", 0, at))
            self._problems.add(place, (), "a character that YAML does not allow; remove it")
        except RecursionError:
            self._problems.add(Place(), (), "nested too deeply")
        return None

    def _document(self) -> Mapping | None:
        from ruamel.yaml.events import DocumentEndEvent, DocumentStartEvent, StreamEndEvent, StreamStartEvent

        root: Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, StreamStartEvent | StreamEndEvent | DocumentEndEvent):
                continue
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents == 2:
                    self._problems.add(_place(event), (), "a second document; keep one and remove the --- line")
                continue
            node = self._node(event, ())
            if documents == 1:
                root = node
        if isinstance(root, Mapping):
            return root
        if root is None or (isinstance(root, Scalar) and resolved(root) is None and not root.broken):
            self._problems.add(Place(), (), "the file is empty; begin with the keys hub, sources and connectors")
        else:
            self._problems.add(root.place, (), "expected the keys hub, sources and connectors")
        return None

    def _node(self, event: Any, where: Where) -> Node:
        from ruamel.yaml.events import AliasEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent

        place = _place(event)
        if isinstance(event, AliasEvent):
            self._problems.add(place, where, f"aliases (*{event.anchor}) are not allowed; write the value out")
            return Scalar(place=place, text="", broken=True)
        if event.anchor is not None:
            self._problems.add(
                place, where, f"anchors (&{event.anchor}) are not allowed; remove it and write values out"
            )
        if len(where) > _MAX_DEPTH:
            raise RecursionError
        match event:
            case ScalarEvent():
                return self._scalar(event, where, place)
            case SequenceStartEvent():
                self._tag(event, where, place)
                return self._sequence(where, place)
            case MappingStartEvent():
                self._tag(event, where, place)
                return self._mapping(where, place)
        raise AssertionError(event)

    def _scalar(self, event: Any, where: Where, place: Place) -> Scalar:
        plain = event.style is None and not _tagged_text(event)
        broken = not _tagged_text(event) and self._tag(event, where, place)
        if "$" not in event.value:
            return Scalar(place=place, text=event.value, plain=plain, broken=broken)
        put = interpolate(event.value, self._environ, self._read_file)
        for what in put.problems:
            self._problems.add(place, where, what)
        return Scalar(
            place=place,
            text=put.text,
            plain=plain,
            interpolated=put.used,
            defaulted=put.defaulted,
            broken=broken or bool(put.problems),
        )

    def _sequence(self, where: Where, place: Place) -> Sequence:
        from ruamel.yaml.events import SequenceEndEvent

        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, (*where, f"[{len(items)}]")))
        return Sequence(place=place, items=items)

    def _mapping(self, where: Where, place: Place) -> Mapping:
        from ruamel.yaml.events import MappingEndEvent

        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key_place = _place(event)
            key = self._key(event, where)
            value = self._node(next(self._events), (*where, key or "?"))
            if key is None:
                continue
            if isinstance(value, Scalar) and value.plain and not value.text and not value.interpolated:
                value = msgspec.structs.replace(value, place=key_place)  # nothing was written, so there is no place
            if key == "<<":
                self._problems.add(key_place, (*where, key), "merge keys are not allowed; write the values out")
            elif key in entries:
                first = entries[key].place
                self._problems.add(
                    key_place, (*where, key), f"duplicate key; it is already on line {first.line}, keep one of them"
                )
            else:
                entries[key] = Entry(place=key_place, value=value)
        return Mapping(place=place, entries=entries)

    def _key(self, event: Any, where: Where) -> str | None:
        """A key's text as it was written; keys are never interpolated."""
        from ruamel.yaml.events import ScalarEvent

        place = _place(event)
        if not isinstance(event, ScalarEvent):
            self._node(event, (*where, "?"))
            self._problems.add(place, where, "a key must be text; a list or mapping cannot be one")
            return None
        if event.anchor is not None:
            self._problems.add(place, where, f"anchors (&{event.anchor}) are not allowed; remove it")
        if not event.value:
            self._problems.add(place, where, "a key is empty; give it a name or remove the line")
            return None
        if "${" in event.value:
            self._problems.add(place, where, "keys are not interpolated; ${…} works in values only")
            return None
        return str(event.value)

    def _tag(self, event: Any, where: Where, place: Place) -> bool:
        """Note an explicit tag such as ``!!int`` or ``!env``; the type of a value follows from its key."""
        tag = event.tag
        if tag is None or str(tag) == "!":
            return False
        self._problems.add(place, where, "YAML tags are not allowed; remove it, the key says what the type is")
        return True

    def _syntax(self, problem: str, line: int) -> str:
        lines = self._text.split("\n")
        said = lines[line - 1] if 0 < line <= len(lines) else ""
        if "\\t" in problem or "\t" in said[: len(said) - len(said.lstrip())]:
            return "a tab; YAML is indented with spaces only"
        hint = (
            "; inside { } and [ ] put ${…} in quotes"
            if "${" in said and ("{" in said.replace("${", "") or "[" in said)
            else ""
        )
        return f"not valid YAML: {problem}{hint}"


def _tagged_text(event: Any) -> bool:
    return event.tag is not None and str(event.tag) in {_STR, "!"}


def _place(event: Any) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)
