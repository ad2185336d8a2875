"""What the web asks of the hub that it serves."""

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct

from esplanade.clock import Clock
from esplanade.config.model import Config
from esplanade.ingest.accept import Intake
from esplanade.ingest.world import World
from esplanade.model import CheckResult, Discovery, InboundRequest, Webhooks
from esplanade.observe.metrics import Metrics
from esplanade.records import DeliveryFilter
from esplanade.store.port import Store
from esplanade.views import ConnectorFacts

__all__ = ["Certified", "ConnectorFacts", "Erased", "HubPort", "PullSummary"]


class PullSummary(Struct, frozen=True, kw_only=True):
    """What a pull read and what of it was new."""

    pages: int
    read: int
    changed: int
    held: int
    """Opt-outs that the guard holds back until a human has looked."""


class Certified(Struct, frozen=True, kw_only=True):
    """What became of an erased person at one connector's vendor, and what a human must still do there."""

    connector: str
    result: Literal["erased", "not-found", "unsupported", "failed"]
    """``unsupported``: by hand, for the plugin cannot; ``failed``: it could not be done now, so ask again."""
    detail: str


class Erased(Struct, frozen=True, kw_only=True):
    """The answer to an erasure. Only here does an address of the person appear once more."""

    person: str
    erased_at: str
    certificate: list[Certified]
    unread: int = 0
    """Webhooks that wait to be read, speak of the person and of others too, and so were kept."""


class HubPort(Protocol):
    """The running hub."""

    @property
    def config(self) -> Config:
        """Replaced as a whole when the file is read again."""
        ...

    @property
    def store(self) -> Store:
        """The store of this hub."""
        ...

    @property
    def intake(self) -> Intake:
        """The gate of this hub."""
        ...

    @property
    def clock(self) -> Clock:
        """The clock of this hub."""
        ...

    @property
    def world(self) -> World:
        """What is sent where, as the running connectors have it."""
        ...

    @property
    def metrics(self) -> Metrics:
        """What this hub has counted since it started."""
        ...

    @property
    def ready(self) -> bool:
        """Whether events are taken and delivered."""
        ...

    def connectors(self) -> list[ConnectorFacts]: ...
    def hook_keys(self) -> Mapping[str, str]:
        """The unguessable part of each connector's hook URL."""
        ...

    async def verify(self, connector: str, request: InboundRequest) -> bool | None:
        """Whether a webhook is the vendor's; None when that cannot be told just now, so it is verified before use."""
        ...

    async def pause(self, connector: str, reason: str) -> None: ...
    async def resume(self, connector: str) -> None: ...
    async def pull(self, connector: str) -> PullSummary:
        """Pull now. Raises DeliveryError, PluginError; MissingMethodError when the plugin has no pull."""
        ...

    async def discover(self, connector: str) -> Discovery:
        """What the account offers. Raises as ``pull`` does."""
        ...

    async def check(self, connector: str) -> CheckResult: ...
    async def webhooks(self, connector: str, *, remove: bool) -> Webhooks:
        """Register its webhooks at the vendor, or remove them. Raises as ``pull`` does, and NoPublicUrl."""
        ...

    async def erase(self, email: str) -> Erased | None:
        """Erase who has this address, or had it; None: nobody. Raises EventError for what is no address."""
        ...

    async def replay(self, wanted: DeliveryFilter, *, force: bool) -> int: ...
