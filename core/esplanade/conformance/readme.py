"""A plugin's README and changes, as they lie in its folder or in the metadata of its distribution."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from .quality import paper_of

if TYPE_CHECKING:
    from esplanade.connector import Connector

_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_FENCE = re.compile(r"^\s*(```+|~~~+)")
_VERSION = re.compile(r"\[?v?(\d+\.\d+(?:\.\d+)?[\w.]*)")


class Section(Struct, frozen=True):
    """A heading and what stands beneath it, the sections within it too."""

    level: int
    title: str
    text: str


def readme_of(plugin: type[Connector[Any]], description: str) -> str:
    """The README beside ``quality.yaml``, else the description that the plugin's distribution carries."""
    return _file_of(plugin, "README.md") or description


def changes_of(plugin: type[Connector[Any]], description: str) -> list[tuple[str, str]]:
    """Each version with its note, in the order of CHANGELOG.md, else of the README's section Changes."""
    whole = _file_of(plugin, "CHANGELOG.md")
    if not whole:
        parts = [
            each.text
            for each in sections_of(readme_of(plugin, description))
            if each.title.lower() in {"changes", "changelog"}
        ]
        whole = "\n".join(parts)
    notes = [(_VERSION.match(each.title), each.text) for each in sections_of(whole)]
    return [(found[1], text) for found, text in notes if found]


def sections_of(markdown: str) -> list[Section]:
    """The sections of a document; what stands in fences is no heading."""
    lines, fence = markdown.splitlines(), ""
    headings: list[tuple[int, int, str]] = []
    for at, line in enumerate(lines):
        if mark := _FENCE.match(line):
            fence = "" if fence == mark[1][:3] else fence or mark[1][:3]
        elif not fence and (found := _HEADING.match(line)):
            headings.append((at, len(found[1]), found[2]))
    sections = []
    for index, (at, level, title) in enumerate(headings):
        end = next((there for there, other, _ in headings[index + 1 :] if other <= level), len(lines))
        sections.append(Section(level, title, "\n".join(lines[at + 1 : end]).strip()))
    return sections


def blocks_of(markdown: str, language: str) -> list[str]:
    """The fenced blocks of a language, each without the indentation that it has as a whole."""
    pattern = rf"^([ \t]*)```{language}[^\n]*\n(.*?)^\1```"
    return [textwrap.dedent(each[2]) for each in re.finditer(pattern, markdown, re.DOTALL | re.MULTILINE)]


def _file_of(plugin: type[Connector[Any]], name: str) -> str:
    path = paper_of(plugin, name)
    return path.read_text("utf-8") if path is not None else ""
