"""What is right for an event, and what becomes of it in the journal. Pure: the moment and the ids are passed in.

A judge knows one source and one kind, and what they share is worked out once, because it is asked about every item.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec

from esplanade.errors import EventError
from esplanade.model import Kind
from esplanade.records import Entry
from esplanade.sync.identity import normalise

from .blame import blame, refuse_bulky, refuse_controls, refuse_huge
from .shapes import SHAPES, ConsentIn, JournalledProfile, ProfileIn, TriggerIn

_AHEAD_S = 300.0
_LAST_S = 253_402_300_800.0  # the end of the year 9999
_BACKSLASH, _DELETE = 0x5C, 0x7F
_UINT64 = 0xCF  # msgpack's mark of an integer past 2^63
_decoders: dict[Kind, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(shape) for kind, shape in SHAPES.items()}
_encode = msgspec.msgpack.Encoder().encode


class Judges:
    """The judges of a hub, each made when it is first asked for: as many as its sources, kinds and rights."""

    def __init__(self, ids: Iterator[str]) -> None:
        self._ids = ids
        self._known: dict[tuple[str, Kind, bool, bool, bool], Judge] = {}

    def of(self, source: str, kind: Kind, *, may: Collection[Kind], backfill: bool, imported: bool) -> "Judge":
        """The judge of a source's events of one kind, with the source's rights."""
        consents = "consent" in may
        asked = (source, kind, consents, backfill, imported)
        judge = self._known.get(asked)
        if judge is None:
            if kind == "profile":
                judge = ProfileJudge(source, consents=consents, backfill=backfill, imported=imported, ids=self._ids)
            else:
                judge = FreeJudge(source, kind, backfill=backfill, ids=self._ids)
            self._known[asked] = judge
        return judge


class Judge(ABC):
    """Judges the items of one kind from one source. ``ids`` gives one to each that has no event id."""

    def __init__(self, source: str, kind: Kind, *, backfill: bool, ids: Iterator[str]) -> None:
        self._source = source
        self._kind = kind
        self._backfill = backfill
        self._ids = ids
        self._scope = source.encode() + b"\0"
        self._decoder = _decoders[kind]

    def entry(self, raw: bytes, now: float) -> Entry:
        """The journal entry of one item. Raises EventError with the place, and nothing else."""
        try:
            item = self._decoder.decode(raw)
        except (ValueError, RecursionError, OverflowError) as why:
            raise blame(raw, self._decoder, why) from why
        if _BACKSLASH in raw or _DELETE in raw:  # no other JSON text holds a control character
            refuse_controls(item)
        body = self._body(raw, item, now)
        event_id = item.event_id
        return Entry(
            kind=self._kind,
            origin=self._source,
            id=next(self._ids) if event_id is None else self._id(event_id),
            at=now,
            body=body,
            backfill=self._backfill,
            dedupe=event_id is not None,
        )

    @abstractmethod
    def _body(self, raw: bytes, item: Any, now: float) -> bytes:
        """The item as the journal keeps it. Raises EventError."""

    def _id(self, event_id: str) -> str:
        return "e-" + blake2b(self._scope + event_id.encode(), digest_size=16).hexdigest()


class ProfileJudge(Judge):
    """Judges profiles, whose every part has a shape that decoding has checked."""

    def __init__(self, source: str, *, consents: bool, backfill: bool, imported: bool, ids: Iterator[str]) -> None:
        super().__init__(source, "profile", backfill=backfill, ids=ids)
        self._consents = consents
        self._imported = imported

    def _body(self, raw: bytes, item: ProfileIn, now: float) -> bytes:
        if item.email is not None:
            item.email = normalise(item.email).given
        elif item.id is None:
            raise EventError("$.email", "neither email nor id is given; a profile needs one of them")
        if item.previous_email is not None:
            item.previous_email = _previous(item.previous_email)
        if item.at is not None:
            item.at = _said(item.at, now)
        if item.consents and not self._consents:
            raise EventError(
                "$.consents", "this source may not send consents; give it the right `consent` or leave them out"
            )
        if self._imported:
            return _encode(JournalledProfile(**msgspec.structs.asdict(item), imported=True))
        return _encode(item)


class FreeJudge(Judge):
    """Judges consents and triggers, which carry parts of any shape."""

    def _body(self, raw: bytes, item: ConsentIn | TriggerIn, now: float) -> bytes:
        refuse_bulky(raw, item)
        item.email = normalise(item.email).given
        if item.at is not None:
            item.at = _said(item.at, now)
        if isinstance(item, TriggerIn) and item.expires_at is not None:
            item.expires_at = _seconds("$.expires_at", item.expires_at)
        try:
            body = _encode(item)
        except OverflowError:
            refuse_huge(item)
            raise
        if _UINT64 in body:  # or another byte that looks like the mark
            refuse_huge(item)
        return body


def _previous(email: str) -> str:
    try:
        return normalise(email).given
    except EventError as why:
        raise EventError("$.previous_email", why.message) from why


def _said(at: datetime | float, now: float) -> float:
    """When it was said; a time that is ahead of any clock's error is the time received."""
    said = _seconds("$.at", at)
    return now if said > now + _AHEAD_S else said


def _seconds(path: str, said: datetime | float) -> float:
    """Epoch seconds of a time that was given as such, or as RFC 3339."""
    try:
        seconds = said.timestamp() if isinstance(said, datetime) else float(said)
    except OverflowError:
        seconds = -1.0
    if not 0 <= seconds < _LAST_S:
        raise EventError(
            path, "the time is outside the years 1970 to 9999; give RFC 3339 with a zone, or epoch seconds"
        )
    return seconds
