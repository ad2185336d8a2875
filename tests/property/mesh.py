"""A hub and its vendors in one thread: the real fold, lanes' desks, pull and store; only vendors, time and the network are models.

Nothing here waits: each step is a plain call, and the steps decide what overtakes what.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from random import Random
from typing import Any

import msgspec

from esplanade.config.model import ConnectorConfig, Hub
from esplanade.connector import traits_of
from esplanade.delivery.desk import Desk, Finished, Work
from esplanade.delivery.dispatch import Dispatch
from esplanade.delivery.inbound import InboundDesk
from esplanade.delivery.outbound import OutboundDesk
from esplanade.delivery.pull import Puller
from esplanade.ingest.accept import Intake
from esplanade.ingest.entries import fold_entry
from esplanade.ingest.shapes import WebhookIn
from esplanade.ingest.world import World
from esplanade.model import Report
from esplanade.records import DeliveryFilter, Person, Remote
from esplanade.store.sqlite.unit import SqliteUnit
from esplanade.sync import consent
from esplanade.sync.identity import normalise
from esplanade.testing.clock import FakeClock
from tests import desks

from .sites import Site, Steady, at_once, config_of, context_of, database
from .vendor import Contact, Vendor, encode

CALLS = 4
"""How many calls of one lane are under way at most."""
ROUNDS = 3_000
"""More of them than any finite mesh needs: a mesh that is still busy then never goes quiet."""
DAY_S = 86_400.0


class RestlessError(AssertionError):
    """The mesh does not go quiet."""


class Mesh:
    """The hub with its vendors around it. Steps are the methods below ``# Steps``; each moves the clock on a little."""

    def __init__(self, sites: Iterable[Site], chance: int = 0, hub: Hub | None = None) -> None:
        self._chance = Random(chance)
        self.clock = FakeClock()
        self.db = database()
        self.unit = SqliteUnit(self.db)
        self.transit: list[tuple[str, Report]] = []
        self.vendors: dict[str, Vendor] = {}
        self.alerts: list[tuple[str, str]] = []
        self.chains: Counter[str] = Counter()
        """How many writes each root event has caused."""
        self.triggers = 0
        self.sites: dict[str, Site] = {}
        self._calls: dict[str, list[Finished]] = {}
        self._desks: dict[str, Desk] = {}
        self._pullers: dict[str, Puller] = {}
        connectors = {}
        asked = False
        sources: set[str | None] = {None}
        for number, site in enumerate(sites):
            name = f"v{number}"
            if site.source in sources:  # a source is one system
                site = msgspec.structs.replace(site, source=None)
            sources.add(site.source)
            asks = site.asks and not asked and "newsletter" in site.purposes
            asked = asked or asks
            self.sites[name] = site
            connectors[name] = config_of(name, site, asks=asks)
            self.vendors[name] = vendor = Vendor(name, site.habits, self.clock, self._posting(name))
            vendor.columns = [each.upper() for each in site.fields]
            vendor.purposes, vendor.audiences = site.purposes, site.audiences
        traits = {name: traits_of(vendor) for name, vendor in self.vendors.items()}
        self.world = World(hub=hub or Hub(), connectors=connectors, traits=traits)
        self.store = Steady(self.unit)
        self.intake = Intake(self.store, self.clock)  # type: ignore[arg-type]  # it never closes it
        for name, config in connectors.items():
            self._open(name, config)

    def _open(self, name: str, config: ConnectorConfig) -> None:
        vendor = self.vendors[name]
        ctx = context_of(config, self.clock)
        hooks = {f"on_{kind}": getattr(vendor, f"on_{kind}") for kind in ("profile", "consent", "trigger")}
        dispatch = Dispatch(hooks, ctx, was_sent=None, batch_items=1, batch_bytes=1, triggers_at_once=1)
        self._desks[name] = OutboundDesk(
            config, dispatch, world=lambda: self.world, clock=self.clock, repeat="never", rng=Random(0)
        )
        self._desks[f"{name}:in"] = InboundDesk(
            config,
            hook=vendor.on_inbound_webhook,
            verify=None,
            fetch=vendor.fetch if self.world.trait(name).can_fetch else None,
            ctx=ctx,
            clock=self.clock,
            rng=Random(0),
        )
        self._pullers[name] = Puller(
            config,
            vendor,
            ctx,
            store=self.store,  # type: ignore[arg-type]  # it never closes it
            intake=self.intake,
            world=lambda: self.world,
            clock=self.clock,
            log=ctx.log,
            alert=lambda key, message: self.alerts.append((key, message)),
        )

    def _posting(self, name: str) -> Callable[[Report], None]:
        return lambda report: self.transit.append((name, report))

    # Steps: what comes in.

    def says(self, kind: str, item: dict[str, Any], *, source: str = "shop", imported: bool = False) -> None:
        """A source sends an event; if the source is a vendor as well, that is what the vendor holds."""
        self.passes(1)
        for name, config in self.world.connectors.items():
            if config.source == source and kind != "trigger":
                item = self._holds(name, kind, item)
        self.triggers += kind == "trigger"
        may = ("profile", "consent", "trigger")
        admission = self.intake.admit(source, kind, [json.dumps(item).encode()], may=may, imported=imported)  # type: ignore[arg-type]  # given by the steps
        assert not admission.rejected
        at_once(self.intake.accept(admission.entries))
        self.fold()

    def _holds(self, name: str, kind: str, item: dict[str, Any]) -> dict[str, Any]:
        """Note at a vendor what it says as a source; returns that in the vendor's own form."""
        site, vendor = self.sites[name], self.vendors[name]
        if moved := item.get("previous_email"):
            vendor.renames(moved, item["email"], tells=False)
        if kind == "consent":
            vendor.holds(
                item["email"], {}, {}, {item["purpose"]: item["state"]} if item["purpose"] in site.purposes else {}
            )
            return item
        said = item.get("fields", {})
        fields = {each: vendor.keeps(each, value) if each in site.fields else value for each, value in said.items()}
        vendor.holds(
            item["email"],
            {each.upper(): value for each, value in fields.items() if each in site.fields},
            {each: member for each, member in item.get("audiences", {}).items() if each in site.audiences},
            {each: state for each, state in item.get("consents", {}).items() if each in site.purposes},
        )
        return {**item, "fields": fields}

    def arrives(self, which: int, *, stays: bool = False) -> None:
        """One of the webhooks under way arrives; ``stays``: and will once more."""
        if not self.transit:
            return
        self.passes(1)
        place = which % len(self.transit)
        name, report = self.transit[place] if stays else self.transit.pop(place)
        webhook = WebhookIn(method="POST", body=encode(report))
        at_once(self.intake.accept([self.intake.entry_for_webhook(name, webhook)]))
        self.fold()

    def loses(self, which: int) -> None:
        """One of the webhooks under way never arrives."""
        if self.transit:
            self.transit.pop(which % len(self.transit))

    def pulls(self, name: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """The daily pull of one vendor; ``meanwhile`` happens between its reading and its answer."""
        self.passes(1)
        self.vendors[name].meanwhile = meanwhile
        at_once(self._pullers[name].pull())
        self.fold()

    def works(self, lane: str) -> None:
        """One round of calls, and their answers."""
        self.calls(lane)
        self.answers(lane)

    # Steps: what goes out.

    def calls(self, name: str) -> list[Any]:
        """Put a round of calls in flight: the vendor acts now, the hub learns of it when they are answered."""
        self.passes(1)
        desk, under_way, now = self._desks[name], self._calls.setdefault(name, []), self.clock.time()
        works = desks.claim(desk, self.unit, CALLS - len(under_way), now, {one.work.key for one in under_way})
        for work in works:
            self._watch(name, work)
            under_way.append(at_once(desks.call(desk, work, now)))
        return works

    def answers(self, name: str) -> None:
        """The calls under way are answered."""
        self.passes(1)
        ended, self._calls[name] = self._calls.get(name, []), []
        desks.settle(self._desks[name], self.unit, ended, self.clock.time())
        self.fold()

    def dies(self) -> None:
        """The hub is killed, its calls with it, and starts again."""
        self._calls = {}
        for desk in self._desks.values():
            desk.recover(self.unit, self.clock.time())

    def passes(self, seconds: float) -> None:
        """Time passes."""
        self.clock.set(self.clock.time() + seconds)

    # Coming to rest.

    def settles(self) -> None:
        """Webhooks arrive and lanes work, in any order, until nothing is left to do; raises RestlessError if that never ends."""
        for _ in range(ROUNDS):
            moves = self._moves()
            if moves:
                self._chance.choice(moves)()
                continue
            due = [at for desk in self._desks.values() if (at := desks.next_due_at(desk, self.unit)) is not None]
            if not due:
                return
            self.clock.set(max(self.clock.time(), min(due)))
        raise RestlessError("the mesh does not go quiet")

    def _moves(self) -> list[Callable[[], object]]:
        """What can happen next."""
        moves: list[Callable[[], object]] = []
        if self.transit:
            moves.append(lambda: self.arrives(self._chance.randrange(len(self.transit))))
        for lane, desk in self._desks.items():
            if self._calls.get(lane):
                moves.append(partial(self.answers, lane))
            elif (at := desks.next_due_at(desk, self.unit)) is not None and at <= self.clock.time():
                moves.append(partial(self.calls, lane))
        return moves

    def tells_all_again(self) -> None:
        """Every vendor reports every contact once more, and is pulled, and the mesh comes to rest."""
        for vendor in self.vendors.values():
            vendor.reports_all()
        self.settles()
        for name in self.vendors:
            self.pulls(name)
        self.settles()

    def days_pass(self, days: int) -> None:
        """Each day every vendor is pulled, and the mesh comes to rest."""
        for _ in range(days):
            self.passes(DAY_S)
            for name in self.vendors:
                self.pulls(name)
            self.settles()

    def fold(self) -> None:
        """Fold the journal to its end. What the hub would park as ``fold-failed`` is raised here."""
        while True:
            batch = list(self.unit.next_entries(200))
            if not batch:
                return
            for _, entry in batch:
                alerts: dict[str, str] = {}
                problem = self.unit.attempt(partial(fold_entry, self.unit, self.world, entry, alerts))
                if problem is not None:
                    raise problem
                self.alerts += alerts.items()
            self.unit.move_cursor(batch[-1][0])

    def _watch(self, name: str, work: Work) -> None:
        """No vendor is ever told of a grant that the law does not know at that moment."""
        if name not in self.vendors:
            return
        event, delivery = work.job.event, work.delivery
        self.chains[delivery.root] += delivery.kind != "trigger"
        if getattr(event, "state", None) != "granted":
            return
        person = self.unit.person(work.key)
        assert person is not None
        assert consent.granted(person, event.purpose), f"{name} was told of a grant that there is not"

    # What is known.

    @property
    def writes(self) -> int:
        """How many calls the vendors had that were to change something."""
        return sum(vendor.writes for vendor in self.vendors.values())

    def person(self, email: str) -> Person | None:
        return self.unit.person_by_email(normalise(email).key)

    def people(self) -> list[Person]:
        self.unit.write()
        numbers = self.db.execute("SELECT id FROM people WHERE merged_into IS NULL ORDER BY id").fetchall()
        found = [self.unit.person(number) for (number,) in numbers]
        return [person for person in found if person is not None]

    def remote(self, person: Person, name: str) -> Remote:
        return self.unit.remote(person.id, name) or Remote(person=person.id, connector=name)

    def contact(self, person: Person, name: str) -> Contact | None:
        return self.vendors[name].find(person.email)

    def queue(self, *states: str) -> list[Any]:
        found = self.unit.deliveries(DeliveryFilter(states=list(states) or None), limit=10_000)
        return [delivery for delivery, _ in found]
