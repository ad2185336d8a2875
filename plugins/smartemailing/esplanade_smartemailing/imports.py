"""Imports: contacts with equal flags in one request, and what became of each (section 5)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from esplanade import Outcome, PermanentError, RateLimited

from .batches import SINGLY, chunks, in_halves, put_off
from .client import RefusedError
from .echoes import LARGE
from .mapping import import_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esplanade import Clock

    from .batches import Result
    from .client import Account, Row
    from .echoes import Echoes, Recent
    from .layout import Layout
    from .settings import DoubleOptIn


class Flags(Struct, frozen=True, kw_only=True):
    """What holds for a whole request."""

    preserve: bool = True
    """Whether whoever opted out stays so."""
    asking: DoubleOptIn | None = None
    """The mail that asks to confirm; what is imported is stored only after the click in it."""


class Imports:
    """The imports into one account."""

    def __init__(self, account: Account, layout: Layout, echoes: Echoes, recent: Recent, clock: Clock) -> None:
        self._account = account
        self._layout = layout
        self._echoes = echoes
        self._recent = recent
        self._clock = clock

    async def store(self, rows: Sequence[Row], flags: Flags) -> list[Result]:
        """Import contacts, each another address; an Outcome with the contact's id for each, or why it was not stored."""
        results: list[Result] = []
        for chunk in chunks(rows, self._account.settings.import_batch):
            results += await in_halves(chunk, partial(self._store, flags=flags))
        return results

    async def _store(self, rows: Sequence[Row], flags: Flags) -> list[Result]:
        """One request. An invalid address is skipped by the vendor without a word, so whoever is missing is imported alone."""
        settings, asks = self._account.settings, flags.asking is not None
        skip = settings.skip_invalid_emails and len(rows) > 1 and not asks  # who is asked is missing as well
        is_large = len(rows) >= LARGE and not asks
        addresses = [row["emailaddress"] for row in rows] if is_large else []
        self._echoes.expect(addresses, self._clock)
        said = import_settings(settings, preserve=flags.preserve, skip=skip, asking=flags.asking)
        try:
            ids = await self._account.import_(said, list(rows), repeatable=not asks)
        except (RefusedError, RateLimited) as problem:
            self._echoes.forget(addresses)
            if isinstance(problem, RefusedError):
                self._layout.doubt()
            raise
        if is_large:
            self._echoes.expect(ids.values(), self._clock)
        if len(rows) == 1 and len(ids) == 1:  # the vendor may write the address in its own way
            ids = {rows[0]["emailaddress"].lower(): number for number in ids.values()}
        found = [ids.get(row["emailaddress"].lower()) for row in rows]
        if not asks:
            self._recent.note(ids, self._clock)
        if asks:
            return [
                Outcome(status="pending", remote_id=each, reason="already-known" if each else None) for each in found
            ]
        return await self._alone(rows, found, flags)

    async def _alone(self, rows: Sequence[Row], found: list[str | None], flags: Flags) -> list[Result]:
        results: list[Result] = []
        left = SINGLY
        for row, number in zip(rows, found, strict=True):
            if number is not None:
                results.append(Outcome(remote_id=number))
            elif len(rows) == 1:
                results.append(PermanentError("SmartEmailing took an import of one contact and did not store it"))
            elif left:
                left -= 1
                results += await in_halves([row], partial(self._store, flags=flags))
            else:
                results.append(put_off())
        return results
