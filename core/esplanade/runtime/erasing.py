"""Erasing a person from the hub, and the certificate that says what is left to do at the vendors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from msgspec import Struct

from esplanade.clock import Clock, rfc3339
from esplanade.config.model import Config
from esplanade.context import Log
from esplanade.ingest.suppression import suppressed
from esplanade.records import Person, Remote
from esplanade.store.erasures import Erasure
from esplanade.store.port import Reader, Store
from esplanade.store.slices import carry_through
from esplanade.sync.identity import Address, normalise
from esplanade.web.port import Certified, Erased

NEVER = "the vendor was never told of this person, as far as the hub knows"


class _Known(Struct, frozen=True, kw_only=True):
    """Who is meant by an address: somebody who is there, or somebody who was erased."""

    person: int
    remotes: list[Remote]


class Erasing:
    """Erases people, one after the other."""

    def __init__(
        self, store: Store, clock: Clock, log: Log, config: Callable[[], Config], *, dropped: Callable[[int], None]
    ) -> None:
        self._store = store
        self._dropped = dropped
        self._clock = clock
        self._log = log
        self._config = config
        self._turn = asyncio.Lock()

    async def resume(self) -> None:
        """Carry through what an earlier process had begun."""
        async with self._turn:
            for erasure in await self._store.read(lambda reader: reader.open_erasures()):
                await self._carry_through(erasure)

    async def erase(self, email: str) -> Erased | None:
        """Erase who has this address, or had it; None when nobody does. Raises EventError for what is no address.

        Who was erased before is looked for once more: an answer may have been lost, and a vendor may have spoken since.
        """
        address = normalise(email)
        async with self._turn:
            known = await self._store.read(lambda reader: _known(reader, address))
            if known is None:
                return None
            given, now = (address.given, address.key), self._clock.time()
            begun = await self._store.run(lambda unit: unit.begin_erasure(known.person, given, now))
            ended = await self._carry_through(begun)
        return Erased(
            person=f"p-{known.person}",
            erased_at=rfc3339(ended.at),
            certificate=self._certificate(known, ended, address),
            unread=ended.kept,
        )

    async def _carry_through(self, erasure: Erasure) -> Erasure:
        ended = await carry_through(self._store, erasure, dropped=self._dropped)
        self._log.info("erased", person=f"p-{ended.person}", known_at=list(ended.known_at), unread=ended.kept)
        return ended

    def _certificate(self, known: _Known, ended: Erasure, address: Address) -> list[Certified]:
        contacts = {remote.connector: _contacts(remote, address) for remote in known.remotes}
        names = sorted({*self._config().connectors, *ended.known_at})
        return [
            self._certified(name, contacts.get(name) or _perhaps(address))
            if name in ended.known_at
            else Certified(connector=name, result="not-found", detail=NEVER)
            for name in names
        ]

    def _certified(self, connector: str, todo: str) -> Certified:
        config = self._config().connectors.get(connector)
        why = (
            f"the plugin {config.plugin} cannot do it"
            if config is not None
            else "the connector is no longer in connectors.yaml"
        )
        return Certified(connector=connector, result="unsupported", detail=f"{todo}: {why}")


def _known(reader: Reader, address: Address) -> _Known | None:
    person: Person | None = reader.person_by_email(address.key)
    if person is not None:
        return _Known(person=person.id, remotes=reader.remotes(person.id))
    found = suppressed(reader, email_key=address.key)
    if found is None:
        return None
    return _Known(person=found.person, remotes=[])


def _contacts(remote: Remote, address: Address) -> str:
    """What to do about the contacts that a vendor may hold of a person."""
    known: Iterable[tuple[str | None, str | None]] = (
        (remote.remote_id, remote.email),
        *((contact.remote_id, contact.email) for contact in remote.former),
    )
    said = []
    for theirs, email in known:
        if theirs:
            said.append(f"contact {theirs} ({email})" if email else f"contact {theirs}")
        elif email:
            said.append(f"the contact with the address {email}")
    return f"erase {' and '.join(said)} at the vendor by hand" if said else _perhaps(address)


def _perhaps(address: Address) -> str:
    return f"if {address.given} is there at the vendor, erase it by hand"
