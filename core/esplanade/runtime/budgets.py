"""What connectors have spent of their day's requests, kept so that a restart gives nobody a second day."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from esplanade.delivery.pace import Spent
from esplanade.store.port import Store

from .connection import Connection

_encode = msgspec.json.Encoder().encode
_spent = msgspec.json.Decoder(Spent).decode


class Budgets:
    """Saves from time to time what was spent, where ``pace.daily`` sets a limit.

    A hub that is killed forgets what it has sent since the last time, at most.
    """

    def __init__(self, connections: Mapping[str, Connection], store: Store) -> None:
        self._connections = connections
        self._store = store
        self._saved: dict[str, Spent] = {}

    async def restore(self, connection: Connection) -> None:
        """Let a connector go on with what is left of its day."""
        if connection.pacer.spent is None:
            return
        found = await self._store.read(lambda reader: reader.meta(_key(connection)))
        if found is not None:
            connection.pacer.spent = self._saved[connection.config.name] = _spent(found)

    async def save(self) -> None:
        """Keep what was spent since the last time."""
        for connection in list(self._connections.values()):
            await self.save_one(connection)

    async def save_one(self, connection: Connection) -> None:
        """Keep what one connector has spent."""
        name, spent = connection.config.name, connection.pacer.spent
        if spent is not None and spent != self._saved.get(name):
            await self._store.run(lambda unit: unit.set_meta(_key(connection), _encode(spent).decode()))
            self._saved[name] = spent


def _key(connection: Connection) -> str:
    return f"spent:{connection.config.name}"
