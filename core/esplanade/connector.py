"""The base of every plugin: what it declares, and the methods that the core or an operator may ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

from msgspec import Meta, Struct, convert, field

from .context import Context
from .model import (
    Alters,
    AudienceTarget,
    CheckResult,
    ConsentTarget,
    Discovery,
    InboundRequest,
    Page,
    PersonRef,
    Report,
    TriggerEvent,
    TriggerTarget,
    ValueType,
    Webhooks,
)

if TYPE_CHECKING:
    from .testing.twin import Twin

S = TypeVar("S", bound=Struct)

AddressChange: TypeAlias = Literal["new-contact", "rename", "merge"]
"""``new-contact``: the contact of an address keeps it; a new address makes a new contact, and the hub takes the old one off
every list. ``rename``: ``on_profile`` moves the contact when it is told ``previous_email``; where two contacts turn out to be one
person, the hub takes one off every list. ``merge``: telling ``previous_email`` is enough even then."""


TriggerRepeat: TypeAlias = Literal["safe", "check", "never"]
"""What is done after a trigger whose outcome is unknown. ``safe``: it is sent again, for the vendor itself tells repeats apart.
``check``: the vendor is asked (``was_sent``), and it is sent again only if it was not. ``never``: it is left to a person."""


class HeaderAuth(Struct, frozen=True, kw_only=True):
    """A fixed header on every request, such as an API key."""

    name: str
    value: str

    def __repr__(self) -> str:
        return f"HeaderAuth(name={self.name!r}, value=***)"


class OAuth2ClientCredentials(Struct, frozen=True, kw_only=True):
    """OAuth2 client credentials: one token for all callers, renewed early, asked anew once after a 401."""

    token_url: str
    client_id: str
    client_secret: str
    scope: str | None = None
    early_s: float = 60.0

    def __repr__(self) -> str:
        return f"OAuth2ClientCredentials(token_url={self.token_url!r}, client_id={self.client_id!r}, client_secret=***)"


class TokenExchange(Struct, frozen=True, kw_only=True):
    """A key that is exchanged for a bearer token: one token for all callers, renewed early, asked anew once it is refused.

    Refused means 401, 403, or 400 with a word of the token. A JWT's own ``exp`` counts before ``lifetime_s``.
    """

    token_url: str
    form: dict[str, str]
    """What is posted there, as a form; its values are secret."""
    lifetime_s: float = 86_400.0
    early_s: float = 600.0

    def __repr__(self) -> str:
        return f"TokenExchange(token_url={self.token_url!r}, form=***)"


Auth: TypeAlias = HeaderAuth | OAuth2ClientCredentials | TokenExchange


class Endpoint(Struct, frozen=True, kw_only=True):
    """Where a connector's requests go. Only ``base_url``'s origin, the token's and ``origins`` may be reached."""

    base_url: str
    auth: Auth | None = None
    headers: dict[str, str] = field(default_factory=dict)
    """On every request that may carry credentials. A Content-Type among them replaces the one that a body has by itself."""
    origins: list[str] = field(default_factory=list)
    log_paths: bool = True
    """Whether paths may stand in logs; False where the path itself is the credential."""


class Manifest(Struct, frozen=True, kw_only=True):
    """What a plugin says of itself."""

    title: str
    vendor_api: str
    """The version or date of the vendor's API that it was written against."""
    owner: str
    homepage: str
    core: str = ">=0.1,<0.2"
    licence: str = "Apache-2.0"


class Connector(Generic[S]):
    """One account at one vendor. The core builds one instance per connector in connectors.yaml.

    A plugin sets the class attributes that differ from these, implements the hooks of ``hookspecs.py`` that it can, each
    marked ``@hookimpl``, and overrides the methods below that its vendor can answer; the core finds out which by itself.
    This class defines no hooks.
    """

    manifest: ClassVar[Manifest]
    Settings: ClassVar[type[Struct]]
    Consent: ClassVar[type[ConsentTarget] | None] = None
    Audience: ClassVar[type[AudienceTarget] | None] = None
    Trigger: ClassVar[type[TriggerTarget] | None] = None

    all_fields: ClassVar[bool] = False
    """Without ``fields:`` in connectors.yaml: every hub field under its own name (True), or none (False)."""
    read_only_fields: frozenset[str] = frozenset()
    """Vendor fields that can be read but never set. An instance may have its own, where settings rename them."""
    alters: Mapping[ValueType, Alters] = MappingProxyType({})
    """What the vendor does to values, by the type of field, so that its form of a value is not taken for a change."""
    address_change: ClassVar[AddressChange] = "new-contact"
    """What the vendor can do when a person has another address."""
    can_fetch: bool = True
    """Whether ``fetch`` has an answer with these settings. An instance may have its own."""
    registers_webhooks: bool = True
    """Whether ``register_webhooks`` can do its work with these settings. An instance may have its own."""
    trigger_repeat: ClassVar[TriggerRepeat] = "never"
    """What is done after a trigger whose outcome is unknown."""
    batch_items: int = 100
    """How many events a batch hook takes at most. An instance may have its own."""
    batch_bytes: ClassVar[int] = 1_000_000

    def __init__(self, settings: S) -> None:
        self.settings = settings

    def endpoint(self) -> Endpoint:
        """Where and with which credentials to call the vendor, derived from the settings."""
        raise NotImplementedError(f"{type(self).__name__} must say where its vendor is")

    @classmethod
    def twin(cls) -> type[Twin[Any]] | None:
        """The class of this plugin's twin, imported only when asked for; None when it has none."""
        return None

    async def verify(self, request: InboundRequest, ctx: Context) -> bool:
        """Whether an inbound webhook is the vendor's: its signature or token. Asked before the request is stored."""
        raise NotImplementedError

    async def check(self, ctx: Context) -> CheckResult:
        """Whether credentials, account and rights are in order, told apart."""
        raise NotImplementedError

    async def discover(self, ctx: Context) -> Discovery:
        """The vendor's fields, groups, purposes and published mailings."""
        raise NotImplementedError

    async def pull(self, cursor: str | None, ctx: Context) -> Page:
        """One page of everything the vendor holds, from ``cursor`` (None: from the start)."""
        raise NotImplementedError

    async def fetch(self, person: PersonRef, ctx: Context) -> Report | None:
        """What the vendor holds for one person now; None when it has no such person."""
        raise NotImplementedError

    async def erase(self, person: PersonRef, ctx: Context) -> bool:
        """Erase everything that the vendor holds of one person; False when it has no such person.

        With ``remote_id`` that contact is meant, without it everybody whom the vendor has under the address. Asked again, it finds
        nobody and does no harm. Where the plugin has ``fetch``, the hub reads back. Raise the delivery errors for what could not
        be done: it is not tried again by itself, and whoever ordered the erasure is told to.
        """
        raise NotImplementedError

    async def was_sent(self, event: TriggerEvent[Any], ctx: Context) -> bool:
        """Whether the vendor has acted on a trigger of which it did not say so. Needed where ``trigger_repeat`` is ``check``.

        Asked only after the time that a call may take has passed. Raise OutcomeUnknown where the vendor cannot tell: then a
        person decides.
        """
        raise NotImplementedError

    async def register_webhooks(self, url: str, ctx: Context) -> Webhooks:
        """Make the vendor call ``url``, which is secret, for all that ``on_inbound_webhook`` reads.

        What the hub made before is found and, where it differs, mended; what is missing is made; what is no longer wanted is
        removed. A webhook of somebody else is never touched. Asked again, it finds nothing to do. Whoever has this has
        ``remove_webhooks`` too.
        """
        raise NotImplementedError

    async def remove_webhooks(self, ctx: Context) -> Webhooks:
        """Remove what ``register_webhooks`` made, and nothing else."""
        raise NotImplementedError


METHODS = ("verify", "check", "discover", "pull", "fetch", "erase", "was_sent", "register_webhooks", "remove_webhooks")


def methods_of(plugin: type[Connector[Any]]) -> list[str]:
    """The optional methods that a plugin overrides, in a fixed order."""
    return [name for name in METHODS if getattr(plugin, name) is not getattr(Connector, name)]


class Traits(Struct, frozen=True, kw_only=True):
    """What the core must know of a plugin to decide what to send, and how. The default is a plugin that could not be loaded."""

    read_only: frozenset[str] = frozenset()
    alters: dict[ValueType, Alters] = field(default_factory=dict)
    address_change: AddressChange = "rename"
    can_fetch: bool = False
    registers_webhooks: bool = False
    trigger_repeat: TriggerRepeat = "never"
    batch_items: Annotated[int, Meta(ge=1)] = 1
    batch_bytes: Annotated[int, Meta(ge=1)] = 1


def traits_of(plugin: Connector[Any]) -> Traits:
    """What a plugin's instance says of itself. Raises TypeError, ValidationError for what is none of it."""
    methods = methods_of(type(plugin))
    if plugin.trigger_repeat == "check" and "was_sent" not in methods:
        raise TypeError("trigger_repeat is 'check', so was_sent must be there to say whether a trigger was sent")
    if ("register_webhooks" in methods) != ("remove_webhooks" in methods):
        raise TypeError("register_webhooks and remove_webhooks go together: what is made must be possible to remove")
    return convert(
        {
            "read_only": frozenset(plugin.read_only_fields),
            "alters": dict(plugin.alters),
            "address_change": plugin.address_change,
            "can_fetch": bool(plugin.can_fetch) and "fetch" in methods,
            "registers_webhooks": bool(plugin.registers_webhooks) and "register_webhooks" in methods,
            "trigger_repeat": plugin.trigger_repeat,
            "batch_items": plugin.batch_items,
            "batch_bytes": plugin.batch_bytes,
        },
        Traits,
    )
