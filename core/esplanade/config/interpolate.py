"""``${VAR}``, ``${VAR:-default}``, ``${VAR:?message}``, ``${file:/path}`` and ``$$`` in one value."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHAPES = "write ${NAME}, ${NAME:-default}, ${NAME:?message} or ${file:/path}; a plain dollar sign is $$"


class Interpolated(Struct, frozen=True, kw_only=True):
    """A value after interpolation. ``text`` is meaningless when there are problems."""

    text: str
    used: bool = False
    """Whether anything was put in, so that the text may stand for a number or a boolean."""
    defaulted: bool = False
    """Whether a default of the file was put in."""
    problems: list[str] = field(default_factory=list)


def interpolate(text: str, environ: Mapping[str, str], read_file: Callable[[str], str]) -> Interpolated:
    """Put variables and files into ``text``.

    ``read_file`` gives a file's text or raises OSError or ValueError. What is put in is never interpolated again,
    and no problem ever names a value.
    """
    out: list[str] = []
    problems: list[str] = []
    used = defaulted = False
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        out.append(text[at:dollar])
        following = text[dollar + 1 : dollar + 2]
        if following != "{":
            out.append("$")
            at = dollar + (2 if following == "$" else 1)
            continue
        end = text.find("}", dollar)
        if end < 0:
            problems.append(f"${{ without its closing }}; {_SHAPES}")
            at = len(text)
            break
        used = True
        put = _expand(text[dollar + 2 : end], environ, read_file)
        defaulted = defaulted or put.defaulted
        problems.extend(put.problems)
        out.append(put.text)
        at = end + 1
    out.append(text[at:])
    return Interpolated(text="".join(out), used=used, defaulted=defaulted, problems=problems)


def _expand(inner: str, environ: Mapping[str, str], read_file: Callable[[str], str]) -> Interpolated:
    """What stands between ``${`` and ``}``."""
    if inner.startswith("file:"):
        return _file(inner.removeprefix("file:"), read_file)
    found = _NAME.match(inner)
    if not found:
        return _wrong(f"malformed ${{…}}; {_SHAPES}")
    name, rest = found[0], inner[found.end() :]
    value = environ.get(name, "")
    match rest[:2], rest[2:]:
        case "", _:
            if name in environ:
                return Interpolated(text=value)
            return _wrong(f"environment variable {name} is not set; set it, or write ${{{name}:-default}}")
        case ((":-" | ":?"), tail) if "${" in tail:
            return _wrong(f"malformed ${{{name}…}}: a default or message cannot hold another ${{…}}")
        case ":-", default:
            if value:
                return Interpolated(text=value)
            return Interpolated(text=default.replace("$$", "$"), defaulted=True)
        case ":?", message:
            if value:
                return Interpolated(text=value)
            said = message.replace("$$", "$") or "it is required"
            return _wrong(f"environment variable {name} is not set: {said}")
        case _:
            return _wrong(f"malformed ${{{name}…}}; {_SHAPES}")


def _file(path: str, read_file: Callable[[str], str]) -> Interpolated:
    if not path:
        return _wrong("${file:} names no file; write ${file:/path}")
    try:
        return Interpolated(text=read_file(path).rstrip("\r\n"))
    except OSError as error:
        said = error.strerror or type(error).__name__
        return _wrong(f"cannot read {path}: {said}; make the file readable, or mend the path")
    except ValueError:
        return _wrong(f"cannot read {path}: not UTF-8 text")


def _wrong(what: str) -> Interpolated:
    return Interpolated(text="", problems=[what])
