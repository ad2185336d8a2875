"""The hub: everything put together, started, watched over and stopped."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import structlog
from aiohttp import web

from esplanade import __version__
from esplanade.clock import Clock, SystemClock
from esplanade.config.model import Config, ConnectorConfig
from esplanade.delivery.pull import PullResult
from esplanade.errors import EsplanadeError, PluginError, StoreError
from esplanade.ingest.accept import Intake
from esplanade.ingest.fold import Fold
from esplanade.ingest.world import World
from esplanade.model import CheckResult, Discovery, InboundRequest, Webhooks
from esplanade.observe.metrics import Metrics
from esplanade.records import DeliveryFilter
from esplanade.registry import Registry, version_of
from esplanade.schedule import Job, Schedule
from esplanade.store.locate import open_store
from esplanade.store.port import Committed
from esplanade.store.sqlite.store import SqliteStore
from esplanade.web.app import listen, make_app, make_runner
from esplanade.web.port import ConnectorFacts, Erased, PullSummary

from .alerts import Alerts
from .audit import log_head
from .budgets import Budgets
from .catch_up import CatchUp
from .connection import Connection, Shared, asked
from .connections import Connections
from .erasing import Erasing
from .fields import FIELDS_S, Fields
from .jobs import jobs
from .keys import hook_keys, load_secret
from .load import Loaded
from .pausing import Pausing
from .replay import replay
from .retention import prune
from .stopping import closed, opened
from .tasks import Tasks
from .vendors import Vendors
from .webhooks import Registering

SWEEP_S = 0.25
BUDGETS_S = 1.0
PRUNE_S = 600.0


class Hub:
    """A hub that runs. Made by ``start``."""

    def __init__(self, loaded: Loaded, store: SqliteStore, clock: Clock) -> None:
        self.loaded = loaded
        self.store = store
        self.clock = clock
        self.log = structlog.get_logger("esplanade.hub")
        self.registry = Registry()
        self.metrics = Metrics(__version__)
        self.intake = Intake(store, clock, on_accepted=self.metrics.accepted)
        self.alert = Alerts(loaded.config.hub, clock, self.log)
        self.connections: dict[str, Connection] = {}
        """Those that run, by name."""
        self.url = ""
        self._world = World.of(self.config, {})
        self._fold = Fold(store, self.intake, self._world, self.log, alert=self.alert)
        self._schedule = Schedule(store, clock, self.log)
        self._secret = b""
        self._tasks = Tasks(clock, self.log)
        shared = (self.connections, store, clock, self.alert, self._tasks, self.log)
        self._registering = Registering(*shared, self._called_at)
        self._pausing = Pausing(*shared, self._registering.begin)
        self._budgets = Budgets(self.connections, store)
        self._connections = Connections(
            self.connections,
            registry=self.registry,
            pausing=self._pausing,
            budgets=self._budgets,
            log=self.log,
            shared=self._shared,
        )
        vendors = Vendors(lambda: self.loaded, self._vendor_of, self.log)
        self._erasing = Erasing(store, clock, self.log, self.alert, vendors, dropped=self._fold.dropped)
        self._catch_up = CatchUp(store, clock, self.log, self._tasks, lambda: self._world)
        self._fields = Fields(
            self.connections,
            store,
            self.alert,
            self.log,
            on_change=self._set_world,
            on_parked=self._send_refused,
            on_back=self._catch_up.again,
        )
        self._runner: web.AppRunner | None = None
        self._delivers = False
        self._ready = False
        self._doubtful_before = 0.0

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.loaded.config

    @property
    def world(self) -> World:
        """What the fold and the lanes know of the configuration."""
        return self._world

    @property
    def failures(self) -> Mapping[str, str]:
        """Why enabled connectors do not run, by name."""
        return self._connections.failures

    @property
    def ready(self) -> bool:
        """Whether events are taken and delivered."""
        return self._ready and self.store.failed is None

    # Starting and stopping.

    @classmethod
    async def start(
        cls, loaded: Loaded, *, clock: Clock | None = None, listen: bool = True, deliver: bool = True
    ) -> Hub:
        """Open the store and run. Without ``listen`` nothing is served, without ``deliver`` nothing leaves.

        Raises StoreLocked naming the holder, StoreError, OSError when the port is busy.
        """
        what = f"esplanade run on {loaded.config.hub.listen}" if listen else "an esplanade command"
        store = await open_store(loaded.config.hub.store, loaded.folder, what=what)
        hub = cls(loaded, store, clock or SystemClock())
        try:
            await hub._start(listen=listen, deliver=deliver)
        except BaseException:
            await hub.stop()
            raise
        return hub

    async def _start(self, *, listen: bool, deliver: bool) -> None:
        self.store.on_commit = self._on_commit
        await self.intake.start()
        self._doubtful_before = await self.store.run(partial(opened, now=self.clock.time()))
        self._secret = await load_secret(self.config, self.store)
        await self._catch_up.mark(self.config)
        self._tasks.spawn(self._erasing.resume())
        self._delivers = deliver
        if listen:
            await self._listen()
        if deliver:
            for connector in self.config.connectors.values():
                await self._connect(connector)
            self._set_world()
        self._fold.start()  # it knows what the connectors take
        if deliver:
            await self._fold.caught_up()  # nothing leaves that says less than what was accepted before
            for connection in self.connections.values():
                connection.start()
            self._catch_up.begin(self.connections)
            await self._schedule.start(self._jobs())
            self._tasks.every(SWEEP_S, self._connections.sweep)
            self._tasks.every(BUDGETS_S, self._budgets.save)
            self._tasks.every(PRUNE_S, self._prune)
            self._tasks.every(FIELDS_S, self._fields.look)
        await log_head(self.store, self.log)
        self._ready = True
        for name in self.connections:
            self._registering.begin(name)

    async def stop(self) -> None:
        """Take nothing more, settle what is under way, close everything."""
        ran, self._ready = self._ready, False
        try:
            if self._runner is not None:
                await self._runner.cleanup()
            self._schedule.stop()
            await self._close(self.connections.values())
            await self._tasks.stop()
            await self.alert.close()
            if ran:
                await log_head(self.store, self.log)
                await self.store.run(closed)
        except StoreError as problem:
            self.log.error(
                "not_closed_in_order", error=str(problem)
            )  # the next start takes what vendors hold as doubtful
        finally:
            await self.store.close()

    async def reload(self, loaded: Loaded) -> None:
        """Go on with another configuration; what did not change goes on undisturbed. Raises EsplanadeError."""
        if loaded.config.hub.listen != self.config.hub.listen or loaded.config.hub.store != self.config.hub.store:
            raise EsplanadeError("hub.listen and hub.store cannot change while the hub runs; restart it")
        same_hub = loaded.config.hub == self.config.hub
        self.loaded = loaded
        self.alert.hub = loaded.config.hub
        self._secret = await load_secret(self.config, self.store)
        await self._catch_up.mark(self.config)
        wanted = loaded.config.connectors
        await self._close(
            connection
            for name, connection in self.connections.items()
            if not (same_hub and wanted.get(name) == connection.config and self._is_current(connection))
        )
        for name in self.failures.keys() - wanted.keys():
            del self._connections.failures[name]
        for connector in wanted.values():
            if connector.name not in self.connections:
                await self._connect(connector)
                self._set_world()  # its lanes must know what it hides
                if connector.name in self.connections:
                    self.connections[connector.name].start()
                    self._registering.begin(connector.name)
        self._set_world()
        self._catch_up.begin(self.connections)
        await self._schedule.replace(self._jobs())

    async def settled(self) -> None:
        """Return once everything accepted is folded and, where this hub delivers, nothing that is due is left."""
        await self._until(self._connections.quiet)

    async def still(self) -> None:
        """Return once everything accepted is folded, and nothing is left that will be done before time passes.

        Unlike ``settled``, it does not wait for what is due and must wait: for a vendor's patience, the breaker or the pace.
        """
        await self._until(self._connections.still)

    # What the web and the commands ask.

    def connectors(self) -> list[ConnectorFacts]:
        """Every connector of the file, running or not."""
        public = self.config.hub.public_url or self.url or f"http://{self.config.hub.listen}"
        return [
            ConnectorFacts(
                name=connector.name,
                plugin=connector.plugin,
                version=version_of(connector.plugin),
                enabled=connector.enabled,
                failure=self.failures.get(connector.name),
                hook_url=self._hook_url(connector.name, public),
                breaker=self.connections[connector.name].outbound.health
                if connector.name in self.connections
                else "closed",
                next_pull=self._schedule.next_slot(connector.name, "pull"),
            )
            for connector in self.config.connectors.values()
        ]

    def hook_keys(self) -> Mapping[str, str]:
        """The unguessable part of each connector's hook URL: its own ``hook_key``, or derived from the hub's secret."""
        return hook_keys(self.config, self._secret)

    async def verify(self, connector: str, request: InboundRequest) -> bool | None:
        """Whether a webhook is the vendor's; None when that cannot be told just now."""
        connection = self.connections.get(connector)
        return None if connection is None else await connection.verify(request)

    async def pause(self, connector: str, reason: str) -> None:
        """Stop calling a vendor; what is due for it is kept."""
        await self._pausing.pause(connector, reason)

    async def resume(self, connector: str) -> None:
        """Go on calling a vendor, with its fields as they are now."""
        await self._pausing.resume(connector)
        await self._fields.accept(connector)

    async def pull(self, connector: str, progress: Callable[[PullResult], None] = lambda _: None) -> PullSummary:
        """Read everything a vendor holds, now. Raises PluginError, DeliveryError."""
        connection = await self._connection(connector)
        connection.require("pull")
        assert connection.puller is not None
        result = await asked(connection.puller.pull(progress))
        return PullSummary(pages=result.pages, read=result.read, changed=result.changed, held=result.held)

    async def discover(self, connector: str) -> Discovery:
        """What the account at the vendor offers. Raises PluginError, DeliveryError."""
        connection = await self._connection(connector)
        connection.require("discover")
        return await asked(connection.plugin.discover(connection.ctx))

    async def check(self, connector: str) -> CheckResult:
        """Whether a connector's credentials, account, rights and fields are in order. Raises PluginError, DeliveryError."""
        connection = await self._connection(connector)
        connection.require("check")
        return await self._fields.judged(connection, await asked(connection.plugin.check(connection.ctx)))

    async def webhooks(self, connector: str, *, remove: bool = False) -> Webhooks:
        """Register its webhooks at the vendor, or remove them. Raises PluginError, DeliveryError, NoPublicUrl."""
        connection = await self._connection(connector)
        return await (self._registering.remove(connection) if remove else self._registering.register(connection))

    async def erase(self, email: str) -> Erased | None:
        """Erase who has this address, or had it; None: nobody. Raises EventError, StoreError."""
        return await self._erasing.erase(email)

    async def replay(self, wanted: DeliveryFilter, *, force: bool) -> int:
        """Send matching parked, dead and (by id) delivered work again, now and whatever the vendor is thought to hold."""
        now = self.clock.time()
        return await replay(self.store, wanted, force=force, now=now, on_journalled=self.intake.added)

    # Inside.

    async def _until(self, at_rest: Callable[[], Awaitable[None]]) -> None:
        while True:
            before = self._progress()
            await self._fold.caught_up()
            if not self._delivers:
                return
            await self._fields.done()
            await self._catch_up.done()
            await at_rest()
            if self._progress() == before:
                return

    async def _send_refused(self, connector: str) -> None:
        wanted = DeliveryFilter(connector=connector, kind="profile", reason="rejected", states=["dead"])
        await self.replay(wanted, force=False)

    def _progress(self) -> int:
        """Grows with every entry folded and every work settled."""
        return self._fold.done + sum(lane.done for lane in self._connections.lanes)

    def _set_world(self) -> None:
        self._world = World.of(self.config, self._connections.traits)
        self._fold.world = self._world

    async def _connection(self, name: str) -> Connection:
        if name not in self.connections and not self._delivers:
            await self._connect(self.config.connectors[name])
        connection = self.connections.get(name)
        if connection is None:
            raise PluginError(self.failures.get(name) or f"connector {name} is disabled; set `enabled: true`")
        return connection

    async def _vendor_of(self, name: str) -> Connection:
        """A connection to a vendor that remembers: a twin of a hub that delivers nothing would be empty. Raises PluginError."""
        if not self._delivers and self.config.connectors[name].twin:
            raise PluginError(
                f"connector {name} has a twin for its vendor, which lives in the hub; start `esplanade run`"
            )
        return await self._connection(name)

    async def _connect(self, connector: ConnectorConfig) -> None:
        connection = await self._connections.open(connector, self.loaded.plugins[connector.plugin])
        if connection is not None:
            await self._fields.restore(connection)
        if connection is not None and connection.twin is not None and self.url:
            connection.twin.hook_url = self._hook_url(connector.name, self.url)

    async def _close(self, connections: Iterable[Connection]) -> None:
        closing = list(connections)
        for connection in closing:
            self._registering.leave(connection)
        await self._connections.close(closing, within_s=self.config.hub.drain_timeout)

    def _is_current(self, connection: Connection) -> bool:
        """Whether its plugin is still the one that was loaded last: an edited file gives a new class."""
        return type(connection.plugin) is self.loaded.plugins[connection.config.plugin]

    def _shared(self) -> Shared:
        return Shared(
            hub=self.config.hub,
            store=self.store,
            intake=self.intake,
            clock=self.clock,
            registry=self.registry,
            world=lambda: self._world,
            hook_keys=self.hook_keys,
            alert=self.alert,
            on_pause=self._pausing.on_verdict,
            on_journalled=self.intake.added,
            rng=random.Random(),
            doubtful_before=self._doubtful_before,
            metrics=self.metrics,
        )

    async def _listen(self) -> None:
        hub = self.config.hub
        self._runner = make_runner(make_app(self), shutdown_timeout=float(hub.drain_timeout))
        try:
            self.url = await listen(self._runner, hub.host, hub.port)
        except OSError as problem:
            raise StoreError(
                f"cannot listen on {hub.listen}: {problem.strerror or problem}; is another hub running there?"
            ) from None
        self.store.describe(f"esplanade run on {self.url}", self.url)

    def _hook_url(self, connector: str, origin: str) -> str:
        return f"{origin.rstrip('/')}/hooks/{connector}/{self.hook_keys()[connector]}"

    def _called_at(self, connection: Connection) -> str | None:
        """Where its vendor can call it: a twin on this machine, all others where the file says; None where it does not."""
        origin = self.config.hub.public_url if connection.twin is None else self.url
        return self._hook_url(connection.config.name, origin) if origin else None

    def _jobs(self) -> list[Job]:
        zone = self.config.hub.timezone
        return jobs(self.connections.values(), zone, pull=self.pull, registering=self._registering)

    def _on_commit(self, committed: Committed) -> None:
        self.metrics.committed([committed.took_s])
        for (connector, _, reason), many in committed.noted.items():
            if reason == "echo":
                self.metrics.echoed(connector, many)
        self._connections.tell(committed)

    async def _prune(self) -> None:
        await prune(self.store, self.clock.time(), self.config.hub.retention)
