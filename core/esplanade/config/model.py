"""What connectors.yaml says, as frozen values. Docstrings of fields become the help of the JSON Schema and the docs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from esplanade.bodies import BodyPath, Form
from esplanade.model import AudienceTarget, ConsentTarget, Kind, TriggerTarget
from esplanade.values import Duration, Percent, Rate, Secret

Conflict = Literal["newest", "hub", "esp"]


AtLeastOne = Annotated[int, Meta(ge=1)]
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]*$"
"""Names of sources and connectors, which go into URLs, metrics and the store."""


class Alert(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where alerts go besides the log. Give either key."""

    webhook: str | None = None
    """A URL that takes the alert as JSON."""
    command: list[str] | None = None
    """A program and its arguments, which reads the alert as JSON on its standard input."""


class Egress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which private address ranges connectors may call."""

    allow: list[str] = field(default_factory=list)
    """Address ranges such as 127.0.0.0/8 or fd00::/8; to these also http is allowed. Twins need none."""


class Guard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much one run may take away before it stops and asks."""

    max_removals: Percent = Percent(0.02)
    """The share of an audience that one run may remove."""
    max_downgrades: Percent = Percent(0.01)
    """The share of a purpose's grants that one run may take back."""


class Hub(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hub itself."""

    listen: str = "127.0.0.1:8600"
    """Host and port of API, webhooks and console; port 0 takes a free one. A change needs a restart."""
    public_url: str | None = None
    """Where vendors reach this hub with their webhooks."""
    store: str = "sqlite:esplanade.db"
    """``sqlite:`` and the path of a file, seen from this file's folder. A change needs a restart."""
    timezone: str = "UTC"
    """The time zone of schedules, such as Europe/Amsterdam."""
    language: str = "en"
    """The language of triggers and product sets that name none."""
    admin_token: Secret = Secret("")
    """Opens the operator API and the console. Empty: only this machine may use them."""
    secret: Secret = Secret("")
    """Derives the hook keys. Empty: made once and kept in the store."""
    alerts: list[Alert] = field(default_factory=list)
    """Where alerts go besides the log."""
    drain_timeout: Duration = Duration(20)
    """How long calls in flight may take to end when the hub stops."""
    egress: Egress = field(default_factory=Egress)
    """Which private address ranges connectors may call; all others are refused."""
    guard: Guard = field(default_factory=Guard)
    """How much one run may take away before it stops and asks."""
    max_hops: AtLeastOne = 4
    """How often a change may pass on from one system to the next before it is parked as a loop."""
    echo_window: Duration = Duration(600)
    """How long after a write a vendor's report of the same value counts as its echo."""
    pending_expiry: Duration = Duration(30 * 86400)
    """How long a person has to confirm a consent."""
    retention: Duration = Duration(30 * 86400)
    """How long payloads and finished deliveries are kept."""

    @property
    def host(self) -> str:
        """The address to listen on."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to listen on; 0 takes a free one."""
        return int(self.listen.rpartition(":")[2])


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who may send events in."""

    token: Secret
    """What the source sends as ``Authorization: Bearer``; at least 16 random characters."""
    may: list[Kind] = field(default_factory=lambda: ["profile", "consent", "trigger"])
    """Which kinds of events it may send."""


class Pace(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast a connector may call its vendor."""

    rate: Rate | None = None
    """Calls in a span of time; left out, there is no limit."""
    burst: AtLeastOne = 10
    """How many calls may come at once after a pause."""
    concurrency: AtLeastOne = 4
    """How many calls may be under way at the same time."""
    daily: AtLeastOne | None = None
    """Calls in a day; left out, there is no limit."""


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to try again, and when to give up: only once the window and the attempts are both used up."""

    window: Duration = Duration(30 * 86400)
    """How long to go on trying."""
    min_attempts: AtLeastOne = 8
    """How many attempts are made at least."""
    base: Duration = Duration(1)
    """The longest wait before the second attempt; it doubles each time."""
    cap: Duration = Duration(3600)
    """The longest wait between two attempts."""


class BreakerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """After how many failures in a row a connector is left alone, and for how long."""

    failures: AtLeastOne = 5
    """How many failures in a row open the breaker."""
    open: Duration = Duration(30)
    """How long it stays open before one call is tried."""


class Schedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to ask the vendor what it holds."""

    pull: str | None = None
    """When to pull everything: a cron expression of five fields, or a duration such as 6h. Left out: never."""
    pending_check: Duration | None = None
    """How often people with a pending consent are read again. Left out: never."""


class WebhookRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one event of a webhook means, beside what the contact shows once it is read again."""

    trigger: Annotated[str, Meta(examples=["clicked"])] | None = None
    """The trigger that happens, for whichever other connector maps it; what the body says is its data."""
    consents: dict[str, Literal["granted", "denied"]] = field(default_factory=dict)
    """Purpose to what the person said. An opt-out counts; a grant counts where the contact, read again, shows it."""
    fields: dict[str, BodyPath] = field(default_factory=dict)
    """Hub field to where the body has its value; for what only the call tells, so none that ``fields`` maps."""
    event_id: list[BodyPath] | BodyPath = field(default_factory=list)
    """Where the body has what tells this event from others, such as an order and its status; a repeat then counts once."""


class Webhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to read webhooks that somebody has put together at the vendor. Whatever one says, its contact is read again first."""

    content_type: Form | None = None
    """What the body is. Left out: what the call's Content-Type says, else what the body looks like."""
    email: list[BodyPath] | BodyPath = field(
        default_factory=lambda: [
            BodyPath(path)
            for path in (
                "emailaddress",
                "email",
                "contact.emailaddress",
                "contact.email",
                "data.emailaddress",
                "data[0].emailaddress",
            )
        ]
    )
    """Where the contact's address is, in the query of the URL or else in the body. Several that are there must agree."""
    event: list[BodyPath] | BodyPath = field(default_factory=lambda: [BodyPath("event"), BodyPath("event_name")])
    """Where it says what happened, in the query of the URL or else in the body."""
    events: dict[str, WebhookRule]
    """What happened to what it means. Calls that say anything else go to the plugin."""


class ConnectorConfig(Struct, frozen=True, kw_only=True):
    """One account at one vendor, with its plugin's own parts already of the plugin's types."""

    name: str
    plugin: str
    """The plugin's name, or ./path/to/plugin.py. Left out: the connector's own name."""
    enabled: bool = True
    """Whether it runs. A disabled connector keeps what it knows."""
    twin: bool = False
    """Whether the plugin's own twin stands in for the vendor."""
    settings: Any = None  # None only when the plugin could not be loaded
    """The plugin's settings: account, credentials, quirks."""
    receives: list[Kind] = field(default_factory=list)
    """What is sent to the vendor. Left out: all that the plugin can."""
    sends: list[Kind] = field(default_factory=list)
    """What the vendor's webhooks and pulls may change. Left out: all."""
    fields: dict[str, str] = field(default_factory=dict)
    """Hub field to vendor field, both ways."""
    consents: dict[str, ConsentTarget] = field(default_factory=dict)
    """Purpose to where the vendor keeps it."""
    audiences: dict[str, AudienceTarget] = field(default_factory=dict)
    """Audience to where the vendor keeps it; empty braces find or make it by name."""
    triggers: dict[str, TriggerTarget] = field(default_factory=dict)
    """Trigger to what it starts at the vendor; "*" maps every trigger."""
    all_fields: bool = False
    requires: str | None = None
    """A purpose. Nothing at all goes to this connector for people who did not grant it."""
    conflict: Conflict | dict[str, Conflict] = "newest"
    """Who wins when hub and vendor both changed a field: one word for all, or one for each hub field."""
    schedule: Schedule = field(default_factory=Schedule)
    """When to ask the vendor what it holds."""
    source: str | None = None
    """The source that is this same system: its events are this connector's reports."""
    hook_key: Secret = Secret("")
    """The secret part of the webhook URL. Empty: derived from hub.secret."""
    webhooks: Literal["auto", "manual"] = "auto"
    """Whether the hub registers its webhooks at the vendor by itself, where plugin and hub.public_url allow it."""
    webhook: Webhook | None = None
    """How to read webhooks that somebody has put together at the vendor. Left out: the plugin alone reads what comes."""
    pace: Pace = field(default_factory=Pace)
    """How fast the vendor may be called."""
    retry: Retry = field(default_factory=Retry)
    """When to try again, and when to give up."""
    timeout: Duration = Duration(30)
    """How long one call may take."""
    breaker: BreakerConfig = field(default_factory=BreakerConfig)
    """When a failing vendor is left alone for a while."""


class Config(Struct, frozen=True, kw_only=True):
    """A whole connectors.yaml. ``warnings`` are printable lines about what is valid but unwise."""

    path: Path
    hub: Hub
    sources: dict[str, Source]
    connectors: dict[str, ConnectorConfig]
    warnings: list[str] = field(default_factory=list)


class PluginTypes(Struct, frozen=True, kw_only=True):
    """What the configuration reader must know of a plugin to read its connectors."""

    settings: type[Struct]
    consent: type[ConsentTarget] | None = None
    audience: type[AudienceTarget] | None = None
    trigger: type[TriggerTarget] | None = None
    receives: list[Kind] = field(default_factory=list)
    all_fields: bool = False
    methods: list[str] = field(default_factory=list)
    can_fetch: Callable[[Any], bool] = lambda _settings: True
    """Whether an instance with these settings can read one contact; asked only where ``methods`` has ``fetch``."""
