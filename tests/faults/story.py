"""What a shop says of its people in a test: numbered events, so that whatever becomes of each can be counted.

The events of one person are numbered from 1 in the order in which they are said, whatever their kind. A profile carries its
number as the field ``seq``, a consent in the moment at which it was said, a trigger in its id and its data.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from random import Random
from typing import Any

import msgspec
from msgspec import Struct
from tests.faults.vendor import START

from esplanade.ingest.judge import Judges
from esplanade.model import KINDS, Kind
from esplanade.runtime import Hub

SOURCE = "shop"
PURPOSES = ("newsletter", "service")
REQUIRES = {"cart": "newsletter"}
"""The purpose that a trigger needs; ``order`` needs none."""

_judges = Judges(iter(()))


class Said(Struct, frozen=True, kw_only=True):
    """One event of one person."""

    kind: Kind
    name: str
    seq: int
    purpose: str = ""
    state: str = ""
    trigger: str = ""

    @property
    def email(self) -> str:
        return f"{self.name}@example.com"

    @property
    def trigger_id(self) -> str:
        """The same for no two triggers, whoever they are for."""
        return f"{self.name}-{self.seq}" if self.kind == "trigger" else ""

    @property
    def id(self) -> str:
        """The id under which the hub keeps the event."""
        return _judges.of(SOURCE, self.kind, may=KINDS, backfill=False, imported=False).entry(self.raw(), START).id

    def body(self) -> dict[str, Any]:
        """The event as it is posted."""
        event: dict[str, Any] = {"email": self.email, "event_id": f"{self.name}-{self.seq}"}
        match self.kind:
            case "profile":
                fields = {"seq": self.seq, "town": f"town {self.seq // 5}"}
                return {**event, "at": START + self.seq, "fields": fields}
            case "consent":
                said = {"purpose": self.purpose, "state": self.state, "evidence": {"form": self.seq}}
                return {**event, "at": START + self.seq, **said}
            case "trigger":
                data = {"seq": self.seq}
                return {**event, "trigger": self.trigger, "trigger_id": self.trigger_id, "data": data}

    def raw(self) -> bytes:
        return msgspec.json.encode(self.body())


def story(seed: int, people: int, events: int, *, kinds: Collection[Kind] = KINDS) -> Iterator[list[Said]]:
    """Waves of events, each with the next one of everybody in an order of its own."""
    rng = Random(seed)
    names = [f"p{number}" for number in range(people)]
    for seq in range(1, events + 1):
        yield [_next(rng, name, seq, kinds) for name in rng.sample(names, people)]


def _next(rng: Random, name: str, seq: int, kinds: Collection[Kind]) -> Said:
    kind = rng.choices(KINDS, [(2 if each != "consent" else 1) * (each in kinds) for each in KINDS])[0]
    match kind:
        case "profile":
            return Said(kind=kind, name=name, seq=seq)
        case "consent":
            state = rng.choice(["granted", "granted", "denied"])
            return Said(kind=kind, name=name, seq=seq, purpose=rng.choice(PURPOSES), state=state)
        case "trigger":
            return Said(kind=kind, name=name, seq=seq, trigger=rng.choice(["order", "cart"]))


async def tell(hub: Hub, events: Sequence[Said]) -> None:
    """Let a hub accept events, those of each kind in one request, as a shop would send them."""
    for kind in KINDS:
        raws = [event.raw() for event in events if event.kind == kind]
        admission = hub.intake.admit(SOURCE, kind, raws, may=KINDS)
        assert not admission.rejected, admission.rejected
        await hub.intake.accept(admission.entries)
