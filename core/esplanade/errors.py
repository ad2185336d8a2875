"""What can go wrong, as classes that say what to do next.

EsplanadeError
├── ConfigError            connectors.yaml is not valid; carries every problem with its place
├── StoreError             the store could not do what was asked
│   ├── StoreLocked        another process holds it; names the holder
│   └── StorageFull        the disk is full; nothing was accepted
├── NoPublicUrl            nobody has said where vendors reach this hub
├── EventError             an event from outside is not valid; carries the JSON path
├── PluginError            a plugin broke a rule of the framework, or raised what it should not
│   ├── MissingMethodError  it was asked for an optional method that it does not have
│   └── PluginLoadError    it could not be imported, found or registered
└── DeliveryError          raised by hooks and methods of plugins:
    ├── TemporaryError     not acted on; try again later
    │   └── RateLimited    the same, because the vendor asked for patience
    ├── PermanentError     the vendor will never take this; a dead letter keeps it
    │   ├── EgressRefused  the hub itself did not let the call leave
    │   └── UnreadableAnswer  the vendor acted, and what it answered cannot be read
    ├── AuthenticationError  the credentials are refused; the connector pauses and probes
    ├── EndpointGone       the vendor says the endpoint is gone for good; the connector pauses
    └── OutcomeUnknown     the vendor may have acted; its base is unknown from here on
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Exchange


class EsplanadeError(Exception):
    """Root of every error that Esplanade raises on purpose."""


class ConfigError(EsplanadeError):
    """connectors.yaml is not valid.

    ``problems`` holds one printable line per problem: ``file:line:column: where: what, and the remedy``.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class StoreError(EsplanadeError):
    """The store could not do what was asked of it."""


class StoreLocked(StoreError):
    """Another process holds the store. ``holder`` says who, as that process wrote it down."""

    def __init__(self, path: str, holder: str) -> None:
        self.path = path
        self.holder = holder
        super().__init__(f"{path} is in use by {holder}; stop that hub first, or point hub.store elsewhere")


class StorageFull(StoreError):
    """The disk has no room for the journal. Nothing of the request was accepted."""


class NoPublicUrl(EsplanadeError):
    """A vendor cannot be told where to call this hub, because ``hub.public_url`` does not say it."""


class EventError(EsplanadeError):
    """An event from outside is not valid. ``path`` is a JSON path into it, such as ``$.email``."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        self.message = message
        super().__init__(f"{path}: {message}")


class PluginError(EsplanadeError):
    """A plugin broke a rule of the framework, or raised something that is none of the delivery errors."""


class MissingMethodError(PluginError, NotImplementedError):
    """A plugin was asked for an optional method, such as ``pull``, that it does not have."""


class PluginLoadError(PluginError):
    """A plugin could not be found, imported or registered. The message names it and the remedy."""


LONGEST_WAIT_S = 86_400.0
"""The longest wait that is granted to a vendor who asks for one."""


class DeliveryError(EsplanadeError):
    """Root of what hooks raise to tell the core what to do next.

    ``retry_after`` is in seconds, None where the core's own schedule decides. ``exchange`` tells of the call that failed,
    where the connector's session raised the error because of one.
    Messages go to dead letters and logs, so they must hold no personal data and no secrets.
    """

    exchange: Exchange | None = None

    def __init__(self, message: str = "", *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class TemporaryError(DeliveryError):
    """The vendor did not act; the same call may well succeed later."""


class RateLimited(TemporaryError):
    """The vendor asks for patience: 429, a used-up quota, 503 with Retry-After."""


class PermanentError(DeliveryError):
    """The vendor understood and refused; repeating the call would only repeat the refusal."""


class EgressRefused(PermanentError):
    """The hub itself did not let the call leave: its address is private, or none that the plugin named."""


class UnreadableAnswer(PermanentError):
    """The vendor says that it acted, and the rest of what it says is no JSON, or too long. Asking again brings the same."""


class AuthenticationError(DeliveryError):
    """The credentials are refused (401, invalid grant, 403). Pauses the connector and raises one alert."""


class EndpointGone(DeliveryError):
    """The vendor answered 410 for the endpoint itself. Pauses the connector until a person resumes it."""


class OutcomeUnknown(DeliveryError):
    """The call may have been acted on: a timeout or cut after sending, or 500, 502, 504."""
