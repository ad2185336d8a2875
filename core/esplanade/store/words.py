"""The words of a person who is erased, and where they are found in what was stored as it came.

Addresses are found in any case, percent-encoded, and escaped as JSON and XML do it; in webhooks also in every character set and
form that the core reads. Ids are found as whole words only, because a short one stands in many a number.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import unquote, unquote_plus

import msgspec
from msgspec import Struct

from esplanade.records import Entry

from . import said

DISTINCT = 4
"""Shorter ids are not looked for in free text."""

_decode = msgspec.msgpack.Decoder().decode
_ADDRESS = re.compile(r"[\w.+'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_UNICODE = re.compile(r"\\u([0-9a-fA-F]{4})")
_REFERENCE = re.compile(r"&#(?:(\d{1,7})|x([0-9a-fA-F]{1,6}));")
_ESCAPE = re.compile(r"\\[nrtbf]")
_RUN = re.compile(r"[a-z0-9]+")


class Words(Struct, frozen=True, kw_only=True):
    """Everything by which a person was known."""

    addresses: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    """The CDP's."""
    contacts: tuple[tuple[str, str], ...] = ()
    """Connector and the vendor's id."""

    @classmethod
    def of(cls, addresses: Iterable[str], ids: Iterable[str] = (), contacts: Iterable[tuple[str, str]] = ()) -> Words:
        """The words, with every form that an address is written in."""
        forms = {form for address in addresses if "@" in address for form in _forms(address)}
        return cls(addresses=tuple(sorted(forms)), ids=tuple(sorted(set(ids))), contacts=tuple(sorted(set(contacts))))


class Finder:
    """Finds the words of one person. Made once for an erasure's slice."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self._known = frozenset(words.addresses)
        known = (*words.addresses, *words.ids, *(theirs for _, theirs in words.contacts))
        self._hints = [[run.encode() for run in _RUN.findall(each.lower())] for each in known]

    def may_hold(self, raw: bytes) -> bool:
        """False only when no word can be in it, however it is encoded."""
        text = raw.lower().replace(b"\0", b"")  # UTF-16 and UTF-32 have no more than NULs between
        return any(all(part in text for part in hint) for hint in self._hints) or (
            bool(self._hints) and said.may_hide(text)
        )

    def about(self, entry: Entry) -> bool:
        """Whether an event is about the person, by the address or id that it gives for its own."""
        body = decoded(entry.body)
        if entry.kind == "webhook" or not isinstance(body, Mapping):
            return False
        given = (body.get("email"), body.get("previous_email"))
        return (
            any(isinstance(each, str) and _plain(each) in self._known for each in given)
            or body.get("id") in self.words.ids
            or (entry.origin, body.get("remote_id")) in self.words.contacts
        )

    def addressed(self, stored: Any) -> bool:
        """Whether one of the addresses stands somewhere in a decoded value."""
        return any(self._addresses.search(text) for text in texts(stored)) if self._known else False

    def named(self, stored: Any, connector: str, *, distinct: int = DISTINCT) -> bool:
        """Whether one of the ids, the CDP's or this connector's, stands somewhere in a decoded value."""
        theirs = [each for name, each in self.words.contacts if name == connector]
        wanted = [each for each in (*self.words.ids, *theirs) if len(each) >= distinct]
        if not wanted:
            return False
        pattern = re.compile(rf"(?<![\w-])(?:{_any(each.lower() for each in wanted)})(?![\w-])")
        return any(pattern.search(text) for text in texts(stored))

    def alone(self, stored: Any) -> bool:
        """Whether no address of anybody else stands in a decoded value."""
        for leaf in leaves(said.spoken(stored) if isinstance(stored, Mapping) else stored):
            others = self._addresses.sub(" ", leaf)  # before a + in one of them is read as a blank
            if any(_ADDRESS.search(self._addresses.sub(" ", text)) for text in readings(others)):
                return False
        return True

    @cached_property
    def _addresses(self) -> re.Pattern[str]:
        return re.compile(rf"(?<![\w.+-])(?:{_any(self.words.addresses)})(?![\w-]|\.\w)")


def decoded(packed: bytes) -> Any:
    """What was stored as msgpack; what is none stays bytes."""
    try:
        return _decode(packed)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return packed


def texts(stored: Any) -> Iterator[str]:
    """Every text in a decoded value, keys too, in lower case and in the forms that its encodings stand for."""
    for leaf in leaves(stored):
        yield from readings(leaf)


def leaves(stored: Any) -> Iterator[str]:
    """Every text in a decoded value, keys too, in lower case and without the escapes of JSON and XML; webhooks also as read."""
    match stored:
        case str():
            yield _plain(_unescaped(stored))
        case bytes():
            yield _plain(_unescaped(stored.decode("utf-8", "replace")))
        case Mapping():
            for key, value in stored.items():
                yield from leaves(key)
                yield from leaves(value)
            for tree in said.trees(stored):
                yield from leaves(tree)
        case list() | tuple():
            for each in stored:
                yield from leaves(each)


def readings(text: str) -> Iterator[str]:
    """A text, and what it says where it is percent-encoded, as a path or as a form."""
    yield text
    if "%" in text or "+" in text:
        yield _plain(unquote(text))
        yield _plain(unquote_plus(text))


def _forms(address: str) -> set[str]:
    plain = _plain(address.strip())
    local, _, domain = plain.rpartition("@")
    forms = {plain}
    for form in ("ascii", "unicode"):
        try:
            other = domain.encode("idna").decode() if form == "ascii" else domain.encode().decode("idna")
        except UnicodeError:
            continue
        forms.add(f"{local}@{other.lower()}")
    return forms


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text.lower())


def _unescaped(text: str) -> str:
    if "&#" in text:
        text = _REFERENCE.sub(_referred, text)
    if "\\" not in text:
        return text
    text = _UNICODE.sub(lambda found: chr(int(found[1], 16)), text)
    return _ESCAPE.sub(" ", text).replace("\\/", "/")


def _referred(found: re.Match[str]) -> str:
    number = int(found[1]) if found[1] else int(found[2], 16)
    return chr(number) if number <= sys.maxunicode else found[0]


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))
