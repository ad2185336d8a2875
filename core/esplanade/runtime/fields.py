"""The vendors' fields, looked at every hour: one that is gone, or of another type, is reported and left alone; the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import msgspec
from msgspec import Struct, field

from esplanade.config.model import ConnectorConfig
from esplanade.context import Log
from esplanade.errors import EsplanadeError
from esplanade.model import CheckResult, Discovery
from esplanade.store.port import Store, Unit

from .alerts import Alerts
from .connection import Connection, asked

FIELDS_S = 3600.0
"""How often the vendors are asked for their fields."""


class Known(Struct, kw_only=True):
    """What is kept of a connector's mapped fields between runs."""

    types: dict[str, str] = field(default_factory=dict)
    """The type of each that the vendor was seen to have."""
    parked: dict[str, str | None] = field(default_factory=dict)
    """Those that are not sent, with the type that they have now; None: they are gone."""


class Fields:
    """Compares what is mapped with what the vendor has. Only what was there before is parked: the rest is said by ``check``."""

    def __init__(
        self,
        connections: Mapping[str, Connection],
        store: Store,
        alert: Alerts,
        log: Log,
        *,
        on_change: Callable[[], None],
        on_parked: Callable[[str], Awaitable[object]],
        on_back: Callable[[str, list[str]], Awaitable[object]],
    ) -> None:
        self._connections = connections
        self._store = store
        self._alert = alert
        self._log = log
        self._on_change = on_change
        self._on_parked = on_parked
        self._on_back = on_back
        self._turn = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()

    async def restore(self, connection: Connection) -> None:
        """Let what was parked before a restart be parked after it."""
        connection.parked = frozenset((await self._load(connection.config.name)).parked)

    async def look(self) -> None:
        """Ask every vendor for its fields, and heed what has become of those that are mapped."""
        self._idle.clear()
        try:
            looked_at = [each for each in self._connections.values() if is_looked_at(each)]
            await asyncio.gather(*map(self._look, looked_at))
        finally:
            self._idle.set()

    async def done(self) -> None:
        """Return once no vendor is being asked."""
        await self._idle.wait()

    async def _look(self, connection: Connection) -> None:
        """Ask one vendor. That it cannot be asked just now is no news."""
        name = connection.config.name
        state = await self._store.read(lambda reader: reader.connector_state(name))
        if state.state != "ok":
            return
        try:
            async with asyncio.timeout(connection.config.timeout):
                found = await asked(connection.plugin.discover(connection.ctx))
        except (EsplanadeError, TimeoutError) as problem:
            self._log.debug("fields_not_read", connector=name, error=type(problem).__name__)
            return
        await self._heed(connection, found)

    async def accept(self, name: str) -> None:
        """Somebody has looked at the fields whose type is another one: they are sent again."""
        async with self._turn:
            known = await self._load(name)
            changed = {each: now for each, now in known.parked.items() if now is not None}
            if changed:
                known.types.update(changed)
                await self._set(name, known, {each: now for each, now in known.parked.items() if now is None})

    async def judged(self, connection: Connection, result: CheckResult) -> CheckResult:
        """A connector's check, that was good so far, completed by what is wrong with its fields."""
        if result.status != "ok" or not is_looked_at(connection):
            return result
        try:
            found = await asked(connection.plugin.discover(connection.ctx))
        except EsplanadeError:
            return result
        changed = {
            each: now for each, now in (await self._load(connection.config.name)).parked.items() if now is not None
        }
        return judge(connection.config, found, result, changed)

    async def _heed(self, connection: Connection, found: Discovery) -> None:
        name = connection.config.name
        types = {each.name: each.type for each in found.fields}
        if not types:
            return  # this vendor does not say
        async with self._turn:
            known = await self._load(name)
            mapped = set(connection.config.fields.values())
            known.types = {
                each: known.types.get(each) or types[each] for each in mapped if each in known.types or each in types
            }
            parked = {each: types.get(each) for each, was in known.types.items() if types.get(each) != was}
            for each in parked.keys() - known.parked.keys():
                self._tell(connection.config, each, known.types[each], parked[each])
            await self._set(name, known, parked)

    async def _set(self, name: str, known: Known, parked: dict[str, str | None]) -> None:
        """Park these and no others, and have everybody told what they were not told meanwhile."""
        begun, back = sorted(parked.keys() - known.parked.keys()), sorted(known.parked.keys() - parked.keys())
        known.parked = parked
        await self._store.run(partial(_keep, name=name, known=known))
        if not begun and not back:
            return
        if name in self._connections:
            self._connections[name].parked = frozenset(parked)
        self._on_change()
        if begun:
            await self._on_parked(name)  # what was refused because of them goes out without them
        if back:
            for each in back:
                self._alert.clear(_alert_key(name, each))
            self._log.info("fields_are_back", connector=name, fields=back)
            await self._on_back(name, back)

    def _tell(self, connector: ConnectorConfig, vendor: str, was: str, now: str | None) -> None:
        hub = next((hub for hub, each in connector.fields.items() if each == vendor), vendor)
        what = "the vendor no longer has" if now is None else f"of type {now} instead of {was} is now"
        ends = (
            "make it there again, or take it out of `fields`"
            if now is None
            else f"give it its former type again, or let it be as it is with `esplanade resume {connector.name}`"
        )
        self._alert(
            _alert_key(connector.name, vendor),
            f"{connector.name}: {what} the field {vendor}, to which {hub} is mapped. It is not sent meanwhile; all other fields "
            f"are. Either {ends}",
        )

    async def _load(self, name: str) -> Known:
        kept = await self._store.read(lambda reader: reader.meta(_key(name)))
        return Known() if kept is None else msgspec.json.decode(kept, type=Known)


def is_looked_at(connection: Connection) -> bool:
    """Whether a connector has mapped fields, and a plugin that can say which ones there are."""
    return "discover" in connection.methods and bool(connection.config.fields)


def judge(
    connector: ConnectorConfig, found: Discovery, result: CheckResult, changed: Iterable[str] = ()
) -> CheckResult:
    """The result of a check that was good, or what is wrong with the mapped fields. ``changed`` have another type than before."""
    names = {each.name for each in found.fields}
    missing = sorted(each for each in connector.fields.values() if names and each not in names)
    said = [f"the vendor has no field {', '.join(missing)}"] if missing else []
    if others := sorted(set(changed) - set(missing)):
        said.append(f"another type than before has the field {', '.join(others)}")
    if not said:
        return result
    return CheckResult(status="wrong-fields", detail="; ".join([*said, *filter(None, [result.detail])]))


def _keep(unit: Unit, name: str, known: Known) -> None:
    unit.set_meta(_key(name), msgspec.json.encode(known).decode())


def _key(name: str) -> str:
    return f"fields:{name}"


def _alert_key(name: str, vendor: str) -> str:
    return f"field:{name}:{vendor}"
