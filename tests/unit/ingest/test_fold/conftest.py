"""A small house: a real store, the gate, the fold, and desks whose vendors acknowledge whatever they are sent."""

from __future__ import annotations

import contextlib
import json
from random import Random

import msgspec
import pytest

from esplanade.config.model import ConnectorConfig, Hub
from esplanade.delivery.dispatch import Dispatch
from esplanade.delivery.outbound import OutboundDesk
from esplanade.ingest.accept import Intake
from esplanade.ingest.fold import Fold
from esplanade.ingest.shapes import HappeningIn, ReportIn
from esplanade.ingest.world import World
from esplanade.model import AudienceTarget, ConsentTarget, Outcome
from esplanade.records import DeliveryFilter, Entry
from esplanade.store.sqlite.store import SqliteStore
from esplanade.testing.clock import FakeClock
from tests import desks

ALL = ("profile", "consent", "trigger")
DELIVERED = Outcome()


class Asks(ConsentTarget, frozen=True, kw_only=True):
    """A target whose vendor has each plain grant confirmed."""

    def asks_to_confirm(self):
        return True


def connector(name, **more):
    known = {
        "plugin": name,
        "receives": list(ALL),
        "sends": list(ALL),
        "fields": {"firstname": "first_name", "phone": "mobile"},
        "consents": {"newsletter": ConsentTarget()},
        "audiences": {"vip": AudienceTarget()},
    }
    return ConnectorConfig(name=name, **{**known, **more})


class Log:
    """Keeps its lines."""

    def __init__(self):
        self.lines = []

    def error(self, event, **words):
        self.lines.append((event, words))

    debug = info = warning = error


class House:
    def __init__(self, store, clock, hub, connectors, traits=None):
        self.store, self.clock, self.log = store, clock, Log()
        self.world = World(hub=hub, connectors={each.name: each for each in connectors}, traits=traits or {})
        self.lanes = set()
        if store is not None:
            store.on_commit = lambda committed: self.lanes.update(committed.places)
        self.intake = Intake(store, clock)
        self.alerts = []
        self.fold = Fold(
            store,
            self.intake,
            self.world,
            self.log,
            alert=lambda *words: self.alerts.append(words),
        )
        self.repeat = "safe"
        self._numbers = 0

    # What comes in.

    async def says(self, kind, *items, source="shop", backfill=False, imported=False):
        """A source sends events; returns their ids once they are folded."""
        raws = [json.dumps(item).encode() for item in items]
        admission = self.intake.admit(source, kind, raws, may=ALL, backfill=backfill, imported=imported)
        assert not admission.rejected
        await self.intake.accept(admission.entries)
        await self.fold.caught_up()
        return admission.ids

    async def profile(self, email="ada@example.com", source="shop", backfill=False, imported=False, **more):
        body = {"email": email, **more} if email else more
        return await self.says("profile", body, source=source, backfill=backfill, imported=imported)

    async def consent(self, state, email="ada@example.com", purpose="newsletter", source="shop", **more):
        return await self.says("consent", {"email": email, "purpose": purpose, "state": state, **more}, source=source)

    async def trigger(self, trigger, email="ada@example.com", source="shop", **more):
        return await self.says("trigger", {"email": email, "trigger": trigger, **more}, source=source)

    async def reports(self, connector, email="ada@example.com", **more):
        """A connector's plugin has read what its vendor says; returns once it is folded."""
        body = ReportIn(email=email, **{"read_at": self.clock.time(), **more})
        return await self._journals("report", connector, body)

    async def happens(self, connector, name, email="ada@example.com", trigger_id="x-1", **more):
        return await self._journals(
            "happening", connector, HappeningIn(name=name, email=email, trigger_id=trigger_id, **more)
        )

    async def _journals(self, kind, origin, body):
        self._numbers += 1
        name = f"{kind}-{self._numbers}"
        await self.append(
            Entry(kind=kind, origin=origin, id=name, at=self.clock.time(), body=msgspec.msgpack.encode(body))
        )
        return name

    async def append(self, *entries):
        await self.store.run(lambda unit: unit.append(list(entries)))
        self.intake.added(len(entries))
        await self.fold.caught_up()

    async def passes(self, seconds):
        await self.clock.advance(seconds)

    # What goes out.

    def desk(self, name, outcome=DELIVERED):
        """``outcome`` is what the vendor answers to everything, or a function of the event; an error is raised."""

        async def hook(event, ctx):
            answer = outcome(event) if callable(outcome) else outcome
            if isinstance(answer, Exception):
                raise answer
            return answer

        hooks = dict.fromkeys(("on_profile", "on_consent", "on_trigger"), hook)
        dispatch = Dispatch(hooks, None, was_sent=None, batch_items=1, batch_bytes=1, triggers_at_once=1)
        return OutboundDesk(
            self.world.connectors[name],
            dispatch,
            world=lambda: self.world,
            clock=self.clock,
            repeat=self.repeat,
            rng=Random(0),
        )

    async def claim(self, name, outcome=DELIVERED):
        """Put one round of calls in flight; returns a function that settles them and gives their events."""
        desk, now = self.desk(name, outcome), self.clock.time()
        works = await self.store.run(lambda unit: desks.claim(desk, unit, 10, now))

        async def settle():
            done = [await desks.call(desk, work, now) for work in works]
            await self.store.run(lambda unit: desks.settle(desk, unit, done, self.clock.time()))
            return [work.job.event for work in works]

        return settle

    async def deliver(self, name, outcome=DELIVERED):
        """Send everything that is due to one connector; returns the events that its plugin saw."""
        events = []
        while await self.queue(name, "pending") and (sent := await (await self.claim(name, outcome))()):
            events += sent
        return events

    async def settle(self):
        """Let every connector deliver, one second apart from what follows."""
        await self.passes(1)
        events = {name: await self.deliver(name) for name in self.world.connectors}
        await self.passes(1)
        return {name: sent for name, sent in events.items() if sent}

    # What is known.

    async def queue(self, name, *states):
        rows = await self.store.read(
            lambda reader: reader.deliveries(DeliveryFilter(connector=name, states=list(states) or None))
        )
        return [delivery for delivery, _ in rows]

    async def waits(self, name):
        """Kind and subject of what waits for a connector."""
        return [(each.kind, each.subject) if each.subject else each.kind for each in await self.queue(name, "pending")]

    async def person(self, email="ada@example.com"):
        return await self.store.read(lambda reader: reader.person_by_email(email))

    async def by_id(self, cdp_id):
        return await self.store.read(lambda reader: reader.person_by_cdp_id(cdp_id))

    async def values(self, email="ada@example.com"):
        return {name: each.value for name, each in (await self.person(email)).fields.items()}

    async def state(self, purpose="newsletter", email="ada@example.com"):
        standing = (await self.person(email)).consents.get(purpose)
        return standing and standing.state

    async def ledger(self, purpose="newsletter", email="ada@example.com"):
        person = await self.person(email)
        rows = await self.store.read(lambda reader: reader.ledger(person.id, purpose))
        return [(row.state, row.method, row.source) for row in rows]

    async def remote(self, name, email="ada@example.com"):
        person = await self.person(email)
        return await self.store.read(lambda reader: reader.remote(person.id, name))

    async def notes(self, email="ada@example.com", event=None):
        """What the timeline says, as (what, connector, reason); of one event, or of all."""
        person = await self.person(email)
        timeline = await self.store.read(lambda reader: reader.timeline(person.id))
        return [(note.what, note.connector, note.reason) for note in timeline if event in {None, note.event_id}]

    async def parked(self):
        return [(each.lane, each.reason) for each in await self.queue(None, "parked")]


@pytest.fixture
async def house(tmp_path):
    """``house(webpower={…}, sparkloop={…}, hub={…})`` opens one with these connectors; by default with plain ones.

    ``traits`` says by name what a plugin says of itself.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def open_house(hub=None, traits=None, **connectors):
            store = await SqliteStore.open(tmp_path / "esplanade.db", what="tests")
            stack.push_async_callback(store.close)
            made = [connector(name, **more) for name, more in (connectors or {"webpower": {}, "sparkloop": {}}).items()]
            opened = House(store, FakeClock(), Hub(**hub or {}), made, traits)
            opened.fold.start()
            return opened

        yield open_house


@pytest.fixture
def asks():
    return Asks()
