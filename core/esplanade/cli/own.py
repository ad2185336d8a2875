"""A quiet hub of one's own, for commands that write while no hub runs: it takes and folds, and delivers nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

import msgspec

from esplanade.connector import methods_of
from esplanade.errors import DeliveryError, PluginLoadError
from esplanade.ingest.accept import IMPORT, Admission
from esplanade.model import KINDS, Kind, Webhooks

from .facts import facts
from .operator import OperationError, Pulled, Refusal, Taken, Wanted

if TYPE_CHECKING:
    from esplanade.runtime import Hub, Loaded


@asynccontextmanager
async def own_hub(loaded: Loaded) -> AsyncIterator[OwnHub]:
    """A hub that holds the store within the block; leaving it waits until everything accepted is folded.

    Raises StoreLocked naming the holder.
    """
    from esplanade.runtime import Hub

    hub = await Hub.start(loaded, listen=False, deliver=False)
    try:
        yield OwnHub(hub)
        await hub.settled()
    finally:
        await hub.stop()


class OwnHub:
    """An Operator on the store itself."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def send(self, source: str, kind: Kind, items: Sequence[bytes]) -> Taken:
        may = self._hub.config.sources[source].may
        return await self._commit(await self._hub.intake.admit_all(source, kind, items, may=may))

    async def take_people(self, items: Sequence[bytes]) -> Taken:
        await self._hub.intake.wait_for_room()
        admission = await self._hub.intake.admit_all(IMPORT, "profile", items, may=KINDS, backfill=True, imported=True)
        return await self._commit(admission)

    async def pause(self, connector: str) -> None:
        await self._hub.pause(connector, "by hand")

    async def resume(self, connector: str) -> None:
        await self._hub.resume(connector)

    async def pull(self, connector: str, said: Callable[[str], None]) -> Pulled:
        # A twin of our own would be empty, and all whom the hub knows there would count as gone.
        self._require_vendor(connector, "pull")
        with _told_of(connector):
            found = await self._hub.pull(connector, lambda done: said(f"{done.pages} pages, {done.read} people"))
        return Pulled(pages=found.pages, read=found.read, changed=found.changed, held=found.held)

    async def webhooks(self, connector: str, *, remove: bool) -> Webhooks:
        self._require_vendor(connector, "register_webhooks")
        with _told_of(connector):
            return await self._hub.webhooks(connector, remove=remove)

    async def connectors(self) -> dict[str, Any]:
        """The state of each connector, in the shape of ``GET /v1/connectors``."""
        from esplanade.views import connectors_view

        found = facts(self._hub.loaded, {one.name: one.hook_url for one in self._hub.connectors()})
        now = self._hub.clock.time()
        return await self._hub.store.read(lambda reader: connectors_view(found, reader, now))

    async def replay(self, wanted: Wanted, *, force: bool) -> int:
        return await self._hub.replay(wanted.filter(), force=force)

    async def erase(self, email: str) -> dict[str, Any] | None:
        await self._hub.settled()  # what was accepted is folded first, and is not left for the next start
        return cast("dict[str, Any] | None", msgspec.to_builtins(await self._hub.erase(email)))

    def _require_vendor(self, connector: str, method: str) -> None:
        """Refuse to ask a twin, when the plugin has the method at all."""
        config = self._hub.config.connectors[connector]
        plugin = self._hub.loaded.plugins[config.plugin]
        if config.twin and not isinstance(plugin, PluginLoadError) and method in methods_of(plugin):
            raise OperationError(
                f"connector {connector} has a twin for its vendor, which lives in the hub; start `esplanade run`"
            )

    async def _commit(self, admission: Admission) -> Taken:
        if admission.entries:
            await self._hub.intake.accept(admission.entries)
        rejected = [msgspec.convert(each, Refusal, from_attributes=True) for each in admission.rejected]
        return Taken(accepted=len(admission.entries), ids=admission.ids, rejected=rejected)


@contextmanager
def _told_of(connector: str) -> Iterator[None]:
    """Say what a vendor answered as what it is: a failure of the operation."""
    try:
        yield
    except DeliveryError as problem:
        raise OperationError(f"connector {connector}: {type(problem).__name__}: {problem}") from None
