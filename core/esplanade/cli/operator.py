"""What commands that write ask for, whoever does it, and the shapes that go in and come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct, field

from esplanade.errors import EsplanadeError
from esplanade.model import Kind, Webhooks

if TYPE_CHECKING:
    from esplanade.records import DeliveryFilter

BATCH_ITEMS = 500
BATCH_BYTES = 4 * 1024 * 1024
T = TypeVar("T")


class OperationError(EsplanadeError):
    """What was asked could not be done; the message says why and what to do."""


class Refusal(Struct, frozen=True, kw_only=True):
    """An item that was not taken: its position, the JSON path of the mistake, what is wrong."""

    index: int
    path: str = "$"
    error: str = ""


class Taken(Struct, frozen=True, kw_only=True):
    """The answer to items that were sent in."""

    accepted: int = 0
    ids: list[str] = field(default_factory=list)
    rejected: list[Refusal] = field(default_factory=list)


class Pulled(Struct, frozen=True, kw_only=True):
    """What a pull read and what of it was new."""

    pages: int = 0
    read: int = 0
    changed: int = 0
    held: int = 0
    """Opt-outs that the guard holds back until a human has looked."""


class Wanted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which deliveries are meant, in the shape of ``POST /v1/deliveries/replay``."""

    ids: list[str] | None = None
    connector: str | None = None
    kind: str | None = None
    email: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def filter(self) -> DeliveryFilter:
        """The same for a store. Raises EventError naming the word that means nothing."""
        from esplanade.views import delivery_filter

        return delivery_filter(
            ids=self.ids,
            connector=self.connector,
            kind=self.kind,
            email=self.email,
            reason=self.reason,
            since=self.since.timestamp() if self.since else None,
            until=self.until.timestamp() if self.until else None,
        )


class Operator(Protocol):
    """What commands that write ask for."""

    async def send(self, source: str, kind: Kind, items: Sequence[bytes]) -> Taken:
        """Send events in, as a source."""
        ...

    async def take_people(self, items: Sequence[bytes]) -> Taken:
        """Import profiles, once there is room for them."""
        ...

    async def pause(self, connector: str) -> None: ...
    async def resume(self, connector: str) -> None: ...
    async def pull(self, connector: str, said: Callable[[str], None]) -> Pulled:
        """Read everything the vendor holds; ``said`` hears how far it has come, where that can be told."""
        ...

    async def webhooks(self, connector: str, *, remove: bool) -> Webhooks:
        """Register a connector's webhooks at its vendor, or remove them."""
        ...

    async def replay(self, wanted: Wanted, *, force: bool) -> int: ...
    async def erase(self, email: str) -> dict[str, Any] | None:
        """Erase a person; the certificate in the shape of ``DELETE /v1/people/{email}``, None when nobody is known."""
        ...


def batches(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """What goes in together: at most 500 items and 4 MiB, of which an item has ``size`` bytes."""
    batch: list[T] = []
    total = 0
    for item in items:
        if batch and (len(batch) == BATCH_ITEMS or total + size(item) > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size(item)
    if batch:
        yield batch


def moment(text: str) -> datetime:
    """RFC 3339 with a zone, or how long ago, such as ``2h``. Raises ValueError."""
    from datetime import timedelta

    from esplanade.values import Duration

    try:
        return datetime.now(UTC) - timedelta(seconds=Duration.parse(text))
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError("expected a time with its zone, such as 2026-01-15T10:00:00Z, or how long ago, such as 2h")
    return found
