"""One connector, connected: its plugin's instance, its session, its twin when it has one, and its two lanes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, Literal, TypeVar

import structlog
from msgspec import Struct
from msgspec.structs import replace

from esplanade.clock import Clock
from esplanade.config.model import ConnectorConfig, Hub, Pace
from esplanade.connector import Connector, Traits, methods_of, traits_of
from esplanade.context import Context, Log
from esplanade.delivery.breaker import Breaker
from esplanade.delivery.desk import Desk
from esplanade.delivery.dispatch import NEVER_AT_ONCE, Dispatch
from esplanade.delivery.health import Health, Unmoved
from esplanade.delivery.inbound import InboundDesk
from esplanade.delivery.lane import Lane, Listeners
from esplanade.delivery.outbound import OutboundDesk
from esplanade.delivery.pace import PacedHttp, Pacer
from esplanade.delivery.pull import Puller
from esplanade.delivery.verdict import Pause
from esplanade.errors import DeliveryError, EsplanadeError, MissingMethodError, PluginError, PluginLoadError
from esplanade.http.session import Session
from esplanade.http.ssrf import EgressGuard
from esplanade.ingest.accept import Intake
from esplanade.ingest.world import World
from esplanade.model import InboundRequest
from esplanade.observe.metrics import Metrics
from esplanade.registry import Registry
from esplanade.store.port import Store
from esplanade.testing.twin import Furnishing, Twin

R = TypeVar("R")

GRACE_S = 0.5
"""So much longer than one request a hook may take: who ends it first shall be the session, which knows what became of it."""
OUTBOUND_HOOKS = tuple(f"on_{kind}{form}" for kind in ("profile", "consent", "trigger") for form in ("", "_batch"))


class Shared(Struct, kw_only=True):
    """What every connection uses of the hub."""

    hub: Hub
    store: Store
    intake: Intake
    clock: Clock
    registry: Registry
    world: Callable[[], World]
    hook_keys: Callable[[], Mapping[str, str]]
    alert: Callable[[str, str], None]
    on_pause: Callable[[str, Pause], None]
    on_journalled: Callable[[int], None]
    rng: Random
    metrics: Metrics
    doubtful_before: float
    """State that was queued before this is sent whatever the vendor is thought to hold: the store was not closed in order."""


class StoredValues:
    """A connector's own durable values."""

    def __init__(self, store: Store, connector: str) -> None:
        self._store = store
        self._connector = connector

    async def get(self, key: str) -> Any:
        """The value, or None."""
        return await self._store.read(lambda reader: reader.value(self._connector, key))

    async def set(self, key: str, value: Any) -> None:
        """Keep a value; None removes it. Durable once this returns."""
        await self._store.run(lambda unit: unit.set_value(self._connector, key, value))


class Connection:
    """A connector that runs. Made by ``open``."""

    def __init__(
        self,
        config: ConnectorConfig,
        plugin: Connector[Any],
        session: Session,
        ctx: Context,
        twin: Twin[Any] | None,
        traits: Traits,
        pacer: Pacer,
    ) -> None:
        self.config = config
        self.plugin = plugin
        self.ctx = ctx
        self.twin = twin
        self.methods = methods_of(type(plugin))
        self.puller: Puller | None = None
        self.traits = traits
        self.parked: frozenset[str] = frozenset()
        """Mapped fields that the vendor no longer has as it had them."""
        self.pacer = pacer
        self._session = session
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, config: ConnectorConfig, plugin: type[Connector[Any]], shared: Shared) -> Connection:
        """Start the twin, build the plugin, open its session. Raises PluginLoadError naming connector and cause."""
        log: Log = structlog.get_logger("esplanade.connector").bind(connector=config.name)
        twin: Twin[Any] | None = None
        try:
            twin = await _start_twin(config, plugin, shared.clock)
            instance = plugin(twin.rewired(config.settings) if twin is not None else config.settings)
            shared.registry.register(config.name, instance)
            traits = traits_of(instance)
            guard = EgressGuard(shared.hub.egress.allow, exempt=[twin.origin] if twin else [])
            session = Session(
                instance.endpoint(),
                connector=config.name,
                timeout_s=config.timeout,
                guard=guard,
                clock=shared.clock,
                log=log,
                connections=config.pace.concurrency,
            )
        except (Exception, SystemExit) as problem:  # the boundary: a plugin's constructor may raise anything
            if twin is not None:
                await twin.stop()
            shared.registry.unregister(config.name)
            if isinstance(problem, PluginLoadError):
                raise
            said = f"{type(problem).__name__}: {problem}"
            raise PluginLoadError(
                f"connector {config.name}: plugin {config.plugin} could not be started: {said}; "
                "repair the plugin or set enabled: false"
            ) from problem
        pacer = Pacer(config.pace, shared.clock)
        ctx = Context(
            connector=config.name,
            http=session if pacer.unlimited else PacedHttp(session, pacer),
            kv=StoredValues(shared.store, config.name),
            log=log,
            clock=shared.clock,
            fields=config.fields,
            consents=config.consents,
            audiences=config.audiences,
            triggers=config.triggers,
            language=shared.hub.language,
            timezone=shared.hub.timezone,
        )
        connection = cls(config, instance, session, ctx, twin, traits, pacer)
        connection._prepare(shared, log)
        return connection

    def _prepare(self, shared: Shared, log: Log) -> None:
        hooks = {hook: bound for hook in OUTBOUND_HOOKS if (bound := shared.registry.hook(self.config.name, hook))}
        repeat, traits = self.traits.trigger_repeat, self.traits
        dispatch = Dispatch(
            hooks,
            self.ctx,
            was_sent=self.plugin.was_sent if "was_sent" in self.methods else None,
            batch_items=traits.batch_items,
            batch_bytes=traits.batch_bytes,
            triggers_at_once=NEVER_AT_ONCE if repeat == "never" else traits.batch_items,
        )
        outbound = OutboundDesk(
            self.config,
            dispatch,
            world=shared.world,
            clock=shared.clock,
            repeat=repeat,
            rng=shared.rng,
            doubtful_before=shared.doubtful_before,
        )
        inbound = InboundDesk(
            self.config,
            hook=shared.registry.hook(self.config.name, "on_inbound_webhook"),
            verify=self.plugin.verify if "verify" in self.methods else None,
            fetch=self.plugin.fetch if self.traits.can_fetch else None,
            ctx=self.ctx,
            clock=shared.clock,
            rng=shared.rng,
            hook_key=shared.hook_keys().get(self.config.name, ""),
        )
        unpaced = Pacer(Pace(), shared.clock)  # what reading a webhook asks the vendor is paced like the rest
        self.outbound = self._lane(outbound, self.pacer, self.config.pace.concurrency, Health, shared, log)
        self.inbound = self._lane(inbound, unpaced, 1, Unmoved, shared, log)
        if "pull" in self.methods or "fetch" in self.methods:
            self.puller = Puller(
                self.config,
                self.plugin,
                self.ctx,
                store=shared.store,
                intake=shared.intake,
                world=shared.world,
                clock=shared.clock,
                log=log,
                alert=shared.alert,
            )

    def _lane(
        self, desk: Desk[Any], pacer: Pacer, concurrency: int, health: type[Health], shared: Shared, log: Log
    ) -> Lane:
        breaker = Breaker(self.config.breaker)
        return Lane(
            desk,
            shared.store,
            clock=shared.clock,
            log=log,
            pacer=pacer,
            concurrency=concurrency,
            timeout_s=self.config.timeout + GRACE_S,
            health=health(breaker, lane=desk.lane, retry=self.config.retry, rng=shared.rng, log=log),
            listeners=Listeners(
                on_pause=lambda verdict: shared.on_pause(self.config.name, verdict),
                on_journalled=shared.on_journalled,
                alert=shared.alert,
                metrics=shared.metrics,
            ),
        )

    def lane(self, name: str) -> Lane:
        """One of its lanes, by the name that the lane has in the store."""
        return self.outbound if name == self.config.name else self.inbound

    @property
    def present_traits(self) -> Traits:
        """What the plugin says of itself; fields that are parked are not sent, like those that can only be read."""
        if not self.parked:
            return self.traits
        return replace(self.traits, read_only=self.traits.read_only | self.parked)

    def require(self, method: Literal["pull", "discover", "check"]) -> None:
        """Raise MissingMethodError when the plugin does not have an optional method."""
        if method not in self.methods:
            done = {"pull": "pulled", "discover": "discovered", "check": "checked"}[method]
            raise MissingMethodError(
                f"{self.config.name} cannot be {done}: the plugin {self.config.plugin} has no {method}"
            )

    def require_webhooks(self) -> None:
        """Raise MissingMethodError when the plugin, or the plugin with these settings, registers no webhooks."""
        if not self.traits.registers_webhooks:
            has = "register_webhooks" in self.methods
            why = (
                "registers none with these settings; its README says what that takes"
                if has
                else "has no register_webhooks"
            )
            raise MissingMethodError(
                f"{self.config.name} cannot register webhooks: the plugin {self.config.plugin} {why}. Register them by hand at "
                "the vendor, with the URL that `esplanade connectors` shows"
            )

    async def verify(self, request: InboundRequest) -> bool | None:
        """Whether a webhook is the vendor's; None when that cannot be told just now."""
        if "verify" not in self.methods:
            return True
        try:
            async with asyncio.timeout(self.config.timeout):
                return await asked(self.plugin.verify(request, self.ctx))
        except DeliveryError:
            return None
        except (EsplanadeError, TimeoutError) as problem:
            self.ctx.log.error("verify_failed", error=type(problem.__cause__ or problem).__name__)
            return None

    def start(self) -> None:
        """Let the lanes run."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(lane.run(), name=f"lane {lane.name}") for lane in (self.outbound, self.inbound)]

    async def stop(self, registry: Registry, *, within_s: float) -> None:
        """Settle what is under way, for so long at most, then close everything."""
        if self._tasks:
            try:
                async with asyncio.timeout(within_s):
                    await asyncio.gather(self.outbound.drain(), self.inbound.drain())
            except TimeoutError:
                self.ctx.log.warning("not_drained")
                await asyncio.gather(self.outbound.abandon(), self.inbound.abandon())
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        registry.unregister(self.config.name)
        if self.twin is not None:
            await self.twin.stop()


async def _start_twin(config: ConnectorConfig, plugin: type[Connector[Any]], clock: Clock) -> Twin[Any] | None:
    if not config.twin:
        return None
    kind = plugin.twin()
    if kind is None:
        raise PluginLoadError(f"connector {config.name}: plugin {config.plugin} has no twin; set `twin: false`")
    twin = kind(config.settings, clock=clock)
    twin.furnish(furnishing_of(config))
    await twin.start()
    return twin


def furnishing_of(config: ConnectorConfig) -> Furnishing:
    """What must exist at the vendor for this connector."""
    return Furnishing(
        fields=list(config.fields.values()),
        consents=config.consents,
        audiences=config.audiences,
        triggers=config.triggers,
    )


async def asked(answer: Awaitable[R]) -> R:
    """Await a plugin's method; what it raises beyond the core's own errors becomes a PluginError."""
    try:
        return await answer
    except EsplanadeError:
        raise
    except (Exception, SystemExit) as problem:
        raise PluginError(f"the plugin raised {type(problem).__name__}: {problem}") from problem
