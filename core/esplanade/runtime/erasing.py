"""Erasing a person: from the hub first, then at the vendors; the certificate says what became of them where."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from esplanade.clock import Clock, rfc3339
from esplanade.context import Log
from esplanade.ingest.suppression import suppressed
from esplanade.records import Person, Remote
from esplanade.store.erasures import Erasure
from esplanade.store.port import Reader, Store, Unit
from esplanade.store.slices import carry_through
from esplanade.sync.identity import Address, address_key, normalise
from esplanade.web.port import Erased

from .alerts import Alerts
from .certificate import Known
from .vendors import Vendors


class Erasing:
    """Erases people, from the store one after the other."""

    def __init__(
        self, store: Store, clock: Clock, log: Log, alert: Alerts, vendors: Vendors, *, dropped: Callable[[int], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._alert = alert
        self._vendors = vendors
        self._dropped = dropped
        self._turn = asyncio.Lock()

    async def resume(self) -> None:
        """Carry through what an earlier process had begun, as far as the hub goes: who it was, nobody knows any more."""
        async with self._turn:
            for erasure in await self._store.read(lambda reader: reader.open_erasures()):
                ended = await self._carry_through(erasure)
                if ended.known_at:
                    self._alert(
                        f"erasure:{ended.person}",
                        f"p-{ended.person} was erased here, and the hub stopped before it had heard of that from "
                        f"{', '.join(ended.known_at)}. Erase the same person again, by any address of theirs, for the certificate",
                    )
                await self._end(ended)

    async def erase(self, email: str) -> Erased | None:
        """Erase who has this address, or had it; None when nobody does. Raises EventError for what is no address.

        Who was erased before is looked for once more: an answer may have been lost, and a vendor may have spoken since, or have
        failed. What a vendor answers is in the certificate and changes nothing about the erasure here.
        """
        address = normalise(email)
        async with self._turn:
            begun = await self._store.run(lambda unit: self._begin(unit, address))
            if begun is None:
                return None
            known, erasure = begun
            ended = await self._carry_through(erasure)
        certificate = await self._vendors.erase(known, ended.known_at)
        await self._end(ended)
        return Erased(person=known.name, erased_at=rfc3339(ended.at), certificate=certificate, unread=ended.kept)

    def _begin(self, unit: Unit, address: Address) -> tuple[Known, Erasure] | None:
        known = _known(unit, address)
        if known is None:
            return None
        return known, unit.begin_erasure(known.person, (address.given, address.key), self._clock.time())

    async def _carry_through(self, erasure: Erasure) -> Erasure:
        ended = await carry_through(self._store, erasure, dropped=self._dropped)
        self._log.info("erased", person=f"p-{ended.person}", known_at=list(ended.known_at), unread=ended.kept)
        return ended

    async def _end(self, ended: Erasure) -> None:
        def end(unit: Unit) -> None:
            if unit.erasure(ended.person) == ended:  # else it was begun once more
                unit.end_erasure(ended, vendors_asked=True)

        await self._store.run(end)


def _known(reader: Reader, address: Address) -> Known | None:
    person = reader.person_by_email(address.key)
    if person is not None:
        emails = tuple(
            dict.fromkeys(filter(None, (_own(reader, person, each) for each in (person.email, *person.emails))))
        )
        return Known(
            person=person.id,
            asked_by=address,
            lineage=frozenset(person.lineage),
            emails=emails,
            remotes=[_own_contacts(reader, person, each) for each in reader.remotes(person.id)],
        )
    found = suppressed(reader, email_key=address.key)
    return None if found is None else Known(person=found.person, asked_by=address)


def _own(reader: Reader, person: Person, email: str | None) -> str | None:
    """An address, unless it is by now somebody else's, who is not to be erased with the person."""
    return email if email and not reader.is_anothers(person.id, email_key=address_key(email)) else None


def _own_contacts(reader: Reader, person: Person, remote: Remote) -> Remote:
    """What a vendor holds of a person, less the addresses and the contacts that are by now somebody else's."""

    def own_id(theirs: str | None) -> str | None:
        return theirs if theirs and not reader.is_anothers(person.id, contact=(remote.connector, theirs)) else None

    former = [
        replace(each, remote_id=own_id(each.remote_id), email=_own(reader, person, each.email))
        for each in remote.former
    ]
    return replace(remote, remote_id=own_id(remote.remote_id), email=_own(reader, person, remote.email), former=former)
