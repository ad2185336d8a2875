"""The hub: everything put together, started, watched over and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import hmac
import os
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

import msgspec
import structlog
from aiohttp import web

from esplanade.clock import Clock, SystemClock
from esplanade.config.model import Config, ConnectorConfig
from esplanade.delivery.pull import Puller, PullResult
from esplanade.delivery.verdict import Pause
from esplanade.errors import DeliveryError, EsplanadeError, PluginError, PluginLoadError, StoreError
from esplanade.ingest.accept import Intake
from esplanade.ingest.fold import Fold
from esplanade.ingest.world import World
from esplanade.model import CheckResult, Discovery, InboundRequest
from esplanade.records import FOLD_LANE, Delivery, DeliveryFilter, Entry
from esplanade.registry import Registry, version_of
from esplanade.schedule import Job, Schedule, Timing
from esplanade.store.locate import open_store
from esplanade.store.port import Unit
from esplanade.store.sqlite.store import SqliteStore
from esplanade.web.app import make_app, make_runner
from esplanade.web.port import ConnectorFacts, PullSummary

from .alerts import Alerts
from .connection import Connection, Shared
from .load import Loaded

R = TypeVar("R")

SWEEP_S = 0.25
PRUNE_S = 600.0
PROBE_FIRST_S, PROBE_CAP_S = 60.0, 3600.0
"""How far apart a connector that is paused for its credentials is tried."""


class Hub:
    """A hub that runs. Made by ``start``."""

    def __init__(self, loaded: Loaded, store: SqliteStore, clock: Clock) -> None:
        self.loaded = loaded
        self.store = store
        self.clock = clock
        self.log = structlog.get_logger("esplanade.hub")
        self.registry = Registry()
        self.intake = Intake(store, clock, wake=self._wake_fold)
        self.alert = Alerts(loaded.config.hub, clock, self.log)
        self.connections: dict[str, Connection] = {}
        self.failures: dict[str, str] = {}
        self.url = ""
        self._world = self._make_world()
        self._fold = Fold(store, self.intake, self._world, self.log, on_work=self._wake_lanes)
        self._schedule = Schedule(store, clock, self.log)
        self._secret = b""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._probes: dict[str, asyncio.Task[Any]] = {}
        self._runner: web.AppRunner | None = None
        self._delivers = False
        self._ready = False

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.loaded.config

    @property
    def ready(self) -> bool:
        """Whether events are taken and delivered."""
        return self._ready

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
        await self.intake.start()
        self._secret = await self._load_secret()
        self._spawn(self._fold.run())
        self._delivers = deliver
        if listen:
            await self._listen()
        if deliver:
            for connector in self.config.connectors.values():
                await self._connect(connector)
            self._set_world()
            for connection in self.connections.values():
                connection.start()
            await self._schedule.start(self._jobs())
            self._spawn(self._every(SWEEP_S, self._sweep))
            self._spawn(self._every(PRUNE_S, self._prune))
        self._ready = True

    async def stop(self) -> None:
        """Take nothing more, settle what is under way, close everything."""
        self._ready = False
        if self._runner is not None:
            await self._runner.cleanup()
        self._schedule.stop()
        await self._disconnect(self.connections.values())
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.alert.close()
        await self.store.close()

    async def reload(self, loaded: Loaded) -> None:
        """Go on with another configuration; what did not change goes on undisturbed. Raises EsplanadeError."""
        if loaded.config.hub.listen != self.config.hub.listen or loaded.config.hub.store != self.config.hub.store:
            raise EsplanadeError("hub.listen and hub.store cannot change while the hub runs; restart it")
        same_hub = loaded.config.hub == self.config.hub
        self.loaded = loaded
        self.alert.hub = loaded.config.hub
        self._secret = await self._load_secret()
        wanted = loaded.config.connectors
        await self._disconnect(
            connection
            for name, connection in self.connections.items()
            if not (same_hub and wanted.get(name) == connection.config and self._is_current(connection))
        )
        self.failures = {name: why for name, why in self.failures.items() if name in wanted}
        for connector in wanted.values():
            if connector.name not in self.connections:
                await self._connect(connector)
                self._set_world()  # its lanes must know what it hides
                if connector.name in self.connections:
                    self.connections[connector.name].start()
        self._set_world()
        await self._schedule.replace(self._jobs())

    async def settled(self) -> None:
        """Return once everything accepted is folded and, where this hub delivers, nothing that is due is left."""
        while True:
            before = self._progress()
            await self._fold.caught_up()
            if not self._delivers:
                return
            for connection in self.connections.values():
                for lane in connection.lanes:
                    await lane.quiet()
            if self._progress() == before:
                return

    # What the web and the commands ask.

    def connectors(self) -> list[ConnectorFacts]:
        """Every connector of the file, running or not."""
        keys = self.hook_keys()
        return [
            ConnectorFacts(
                name=connector.name,
                plugin=connector.plugin,
                version=version_of(connector.plugin),
                enabled=connector.enabled,
                failure=self.failures.get(connector.name),
                hook_url=self._hook_url(connector.name, keys),
                breaker=self.connections[connector.name].outbound.health
                if connector.name in self.connections
                else "closed",
                next_pull=self._schedule.next_slot(connector.name, "pull"),
            )
            for connector in self.config.connectors.values()
        ]

    def hook_keys(self) -> Mapping[str, str]:
        """The unguessable part of each connector's hook URL: its own ``hook_key``, or derived from the hub's secret."""
        keys = {}
        for connector in self.config.connectors.values():
            derived = hmac.new(self._secret, b"hook\0" + connector.name.encode(), hashlib.sha256).hexdigest()[:32]
            keys[connector.name] = connector.hook_key.reveal() or derived
        return keys

    async def verify(self, connector: str, request: InboundRequest) -> bool | None:
        """Whether a webhook is the vendor's; None when that cannot be told just now."""
        connection = self.connections.get(connector)
        if connection is None or "verify" not in connection.methods:
            return None if connection is None else True
        try:
            async with asyncio.timeout(connection.config.timeout):
                return await self._asked(connection.plugin.verify(request, connection.ctx))
        except DeliveryError:
            return None
        except (EsplanadeError, TimeoutError) as problem:
            self.log.error("verify_failed", connector=connector, error=type(problem.__cause__ or problem).__name__)
            return None

    async def pause(self, connector: str, reason: str) -> None:
        """Stop calling a vendor; what is due for it is kept."""
        await self._set_state(connector, "paused", reason)
        if connector in self.connections:
            self.connections[connector].outbound.paused = True

    async def resume(self, connector: str) -> None:
        """Go on calling a vendor."""
        self.alert.clear(f"paused:{connector}")
        await self._resume(connector)

    async def _resume(self, connector: str) -> None:
        await self._set_state(connector, "ok", None)
        if connector in self.connections:
            lane = self.connections[connector].outbound
            lane.paused = False
            lane.wake()

    async def pull(self, connector: str, progress: Callable[[PullResult], None] = lambda _: None) -> PullSummary:
        """Read everything a vendor holds, now. Raises PluginError, DeliveryError."""
        connection = await self._connection(connector)
        connection.require("pull")
        assert connection.puller is not None
        result = await self._asked(connection.puller.pull(progress))
        return PullSummary(pages=result.pages, read=result.read, changed=result.changed)

    async def discover(self, connector: str) -> Discovery:
        """What the account at the vendor offers. Raises PluginError, DeliveryError."""
        connection = await self._connection(connector)
        connection.require("discover")
        return await self._asked(connection.plugin.discover(connection.ctx))

    async def check(self, connector: str) -> CheckResult:
        """Whether a connector's credentials, account and rights are in order. Raises PluginError, DeliveryError."""
        connection = await self._connection(connector)
        connection.require("check")
        return await self._asked(connection.plugin.check(connection.ctx))

    async def replay(self, wanted: DeliveryFilter, *, force: bool) -> int:
        """Send matching parked, dead and (by id) delivered work again, now and whatever the vendor is thought to hold."""
        now = self.clock.time()
        replayed, lanes = await self.store.run(lambda unit: _replay(unit, wanted, force=force, now=now))
        self._wake_lanes(lanes)
        self._wake_fold()
        return replayed

    # Inside.

    def _progress(self) -> int:
        """Grows with every entry folded and every work settled."""
        lanes = [lane for connection in self.connections.values() for lane in connection.lanes]
        return self._fold.done + sum(lane.done for lane in lanes)

    def _make_world(self) -> World:
        read_only = {name: connection.read_only for name, connection in self.connections.items()}
        return World.of(self.config, read_only)

    def _set_world(self) -> None:
        self._world = self._make_world()
        self._fold.world = self._world

    async def _connection(self, name: str) -> Connection:
        if name not in self.connections and not self._delivers:
            await self._connect(self.config.connectors[name])
        connection = self.connections.get(name)
        if connection is None:
            raise PluginError(self.failures.get(name) or f"connector {name} is disabled; set `enabled: true`")
        return connection

    async def _connect(self, connector: ConnectorConfig) -> None:
        if not connector.enabled:
            return
        plugin = self.loaded.plugins[connector.plugin]
        try:
            if isinstance(plugin, PluginLoadError):
                raise plugin
            connection = await Connection.open(connector, plugin, self._shared())
        except PluginLoadError as problem:
            self.failures[connector.name] = str(problem)
            self.log.error("connector_failed", connector=connector.name, error=str(problem))
            return
        self.failures.pop(connector.name, None)
        self.connections[connector.name] = connection
        state = await self.store.read(lambda reader: reader.connector_state(connector.name))
        if state.state != "ok":
            connection.outbound.paused = True
            if state.state == "auth":
                self._start_probe(connector.name)
        if connection.twin is not None and self.url:
            connection.twin.hook_url = self._local_hook_url(connector.name)

    async def _disconnect(self, connections: Iterable[Connection]) -> None:
        """Stop connections, all at once; they are swept until they have stopped."""

        async def stop(connection: Connection) -> None:
            await connection.stop(self.registry, within_s=self.config.hub.drain_timeout)
            self.connections.pop(connection.config.name, None)

        await asyncio.gather(*[stop(connection) for connection in connections])

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
            alert=self.alert,
            on_pause=self._on_pause,
            on_journalled=self._on_journalled,
            rng=random.Random(),
        )

    async def _listen(self) -> None:
        hub = self.config.hub
        self._runner = make_runner(make_app(self), shutdown_timeout=float(hub.drain_timeout))
        await self._runner.setup()
        site = web.TCPSite(self._runner, hub.host, hub.port, backlog=1024)
        try:
            await site.start()
        except OSError as problem:
            raise StoreError(
                f"cannot listen on {hub.listen}: {problem.strerror or problem}; is another hub running there?"
            ) from None
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.store.describe(f"esplanade run on {self.url}", self.url)

    def _hook_url(self, connector: str, keys: Mapping[str, str]) -> str:
        public = self.config.hub.public_url or self.url or f"http://{self.config.hub.listen}"
        return f"{public.rstrip('/')}/hooks/{connector}/{keys[connector]}"

    def _local_hook_url(self, connector: str) -> str:
        return f"{self.url}/hooks/{connector}/{self.hook_keys()[connector]}"

    async def _load_secret(self) -> bytes:
        given = self.config.hub.secret.reveal()
        if given:
            return given.encode()

        def keep(unit: Unit) -> str:
            held = unit.meta("secret")
            if held is None:
                held = os.urandom(32).hex()
                unit.set_meta("secret", held)
            return held

        return (await self.store.run(keep)).encode()

    def _jobs(self) -> list[Job]:
        jobs = []
        for name, connection in self.connections.items():
            schedule, zone = connection.config.schedule, self.config.hub.timezone
            if schedule.pull is not None and "pull" in connection.methods:
                timing = Timing(schedule.pull, zone)
                jobs.append(Job(connector=name, name="pull", timing=timing, action=functools.partial(self.pull, name)))
            if schedule.pending_check is not None and "fetch" in connection.methods and connection.puller is not None:
                timing = Timing(f"{schedule.pending_check:f}s", zone)
                action = functools.partial(self._reread_pending, connection.puller)
                jobs.append(Job(connector=name, name="pending_check", timing=timing, action=action))
        return jobs

    async def _reread_pending(self, puller: Puller) -> None:
        await self._asked(puller.reread_pending())

    def _on_pause(self, connector: str, verdict: Pause) -> None:
        self.alert(f"paused:{connector}", f"{connector} is paused ({verdict.state}): {verdict.error}")
        if verdict.state == "auth":
            self._start_probe(connector)

    def _start_probe(self, connector: str) -> None:
        """One probe for each: several calls may be refused at once."""
        if connector in self._probes:
            self._probes.pop(connector).cancel()
        self._probes[connector] = self._spawn(self._probe(connector))

    async def _probe(self, connector: str) -> None:
        """Try the credentials of a paused connector until they are taken again."""
        wait = PROBE_FIRST_S
        while True:
            await self.clock.sleep(wait)
            state = await self.store.read(lambda reader: reader.connector_state(connector))
            if connector not in self.connections or state.state != "auth":
                return
            if await self._takes_credentials(self.connections[connector]):
                self.log.info("resumed", connector=connector)
                await self._resume(connector)  # the alert is not cleared: refused again, it would be no news
                return
            wait = min(wait * 2, PROBE_CAP_S)

    async def _takes_credentials(self, connection: Connection) -> bool:
        if "check" not in connection.methods:
            return True  # the next call shows
        with contextlib.suppress(EsplanadeError, TimeoutError):
            async with asyncio.timeout(connection.config.timeout):
                return (await self._asked(connection.plugin.check(connection.ctx))).status == "ok"
        return False

    async def _set_state(self, connector: str, state: Literal["ok", "paused"], reason: str | None) -> None:
        now = self.clock.time()

        def keep(unit: Unit) -> None:
            held = unit.connector_state(connector)
            unit.save_connector_state(msgspec.structs.replace(held, state=state, reason=reason, since=now))

        await self.store.run(keep)

    async def _asked(self, answer: Awaitable[R]) -> R:
        """Await a plugin's method; what it raises beyond the delivery errors becomes a PluginError."""
        try:
            return await answer
        except EsplanadeError:
            raise
        except (Exception, SystemExit) as problem:
            raise PluginError(f"the plugin raised {type(problem).__name__}: {problem}") from problem

    def _wake_fold(self) -> None:
        self._fold.wake()

    def _on_journalled(self, entries: int) -> None:
        self.intake.added(entries)
        self._fold.wake()

    def _wake_lanes(self, lanes: set[str]) -> None:
        for name in lanes:
            connection = self.connections.get(name.removesuffix(":in"))
            if connection is not None:
                connection.lanes[name.endswith(":in")].wake()

    def _sweep(self) -> None:
        for connection in self.connections.values():
            for lane in connection.lanes:
                lane.sweep()

    async def _prune(self) -> None:
        now = self.clock.time()
        before = now - self.config.hub.retention
        journal_before = min(before, now - 30 * 86_400)
        pruned = 1
        while pruned:
            pruned = await self.store.run(lambda unit: unit.prune(journal_before=journal_before, done_before=before))

    async def _every(self, seconds: float, action: Callable[[], Any]) -> None:
        while True:
            await self.clock.sleep(seconds)
            try:
                result = action()
                if asyncio.iscoroutine(result):
                    await result
            except EsplanadeError as problem:
                self.log.error("housekeeping_failed", error=str(problem))

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.log.critical("task_died", error=repr(task.exception()))


def _replay(unit: Unit, wanted: DeliveryFilter, *, force: bool, now: float) -> tuple[int, set[str]]:
    replayed, after, lanes = 0, 0, set[str]()
    while True:
        page = unit.deliveries(wanted, after=after, limit=500)
        for delivery, _ in page:
            after = delivery.id
            if _may_replay(delivery, force=force and wanted.ids is not None):
                _again(unit, delivery, now)
                lanes.add(delivery.lane)
                replayed += 1
        if len(page) < 500:
            return replayed, lanes


def _may_replay(delivery: Delivery, *, force: bool) -> bool:
    match delivery.state:
        case "in_flight":
            return False
        case "pending":
            return True
        case "dead" | "parked":
            unknown = delivery.kind == "trigger" and delivery.reason == "outcome-unknown"
            return force or not unknown
        case "done":
            return force or delivery.kind in {"profile", "consent"}


def _again(unit: Unit, delivery: Delivery, now: float) -> None:
    if delivery.lane == FOLD_LANE:
        unit.append([msgspec.msgpack.decode(delivery.payload, type=Entry)])
        delivery.state, delivery.outcome = "done", "delivered"
        unit.save_delivery(delivery)
        return
    remote = unit.remote(delivery.person, delivery.lane) if delivery.person is not None else None
    if remote is not None and remote.rejected:
        remote.rejected = {}
        unit.save_remote(remote)
    delivery.state, delivery.due_at, delivery.force = "pending", now, True
    delivery.attempts, delivery.reason, delivery.outcome = 0, None, None
    unit.save_delivery(delivery)
