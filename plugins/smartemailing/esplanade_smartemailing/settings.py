"""What an operator may say of one SmartEmailing account. What the vendor does not publish is a key, with the stated default.

Facts are of the project's fact sheet of SmartEmailing's API v3; "section 5" and the like are its sections.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct, field

from esplanade import AudienceTarget, BodyPath, ConsentTarget, Duration, Origin, Secret, TriggerTarget

API = "/api/v3"
"""Where the API begins, after the vendor's origin."""
MAX_BATCH = 500
"""The most that an import takes and that a page shows (sections 3 and 5)."""
EVENT_PARAMETER = "event_name"
"""Query parameter of the hub's URL that says which web-hook calls, as its body does not surely say it (section 8a)."""
SECRET_PARAMETER = "k"  # noqa: S105 - the parameter's name
"""Query parameter of the hub's URL that carries ``webhook_shared_secret``."""

TEXTS = (
    "name",
    "surname",
    "titlesbefore",
    "titlesafter",
    "salution",
    "company",
    "street",
    "town",
    "postalcode",
    "country",
    "phone",
    "cellphone",
    "notes",
)
BUILT_IN = (*TEXTS, "language", "gender", "nameday", "birthday")
"""A contact's own keys, all of which an import may set; every other field is a custom field, known by its name (section 5)."""
COLLECTIONS = (
    "contacts",
    "contactlists",
    "customfields",
    "purposes",
    "purpose-connections",
    "emails",
    "confirmation-emails",
    "web-hooks",
)
EMAIL_PATHS = ("emailaddress", "email", "contact.emailaddress", "data.emailaddress", "data[0].emailaddress")
CONTACT_ID_PATHS = ("contact_id", "id", "contact.id", "data.contact_id", "data[0].contact_id")
"""Where a call's contact may stand (section 8a, and the same places for the id)."""

WebhookEvent: TypeAlias = Literal[
    "new_contact",
    "updated_contact",
    "unsubscribed_contact",
    "delivery_status",
    "sent_email",
    "newsletter_sending_started",
    "newsletter_sending_finished",
    "scoring_result_changed",
]
_SENDER = {"from_address": "from"}
_RANGES = {
    "import_batch": (1, MAX_BATCH, ", the most that an import takes"),
    "trigger_batch": (1, MAX_BATCH, ", the most that clients send"),
    "transactional_batch": (1, 5, ", the most that a send takes"),
    "page_size": (2, MAX_BATCH, ", the most that a page holds"),
    "max_payload_bytes": (1_024, 1_048_576, " bytes"),
}


class Sender(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=_SENDER):
    """Whom a mail says it is from."""

    from_address: Annotated[str, Meta(examples=["news@shop.example"])]
    """Address that the mail is from; one that SmartEmailing has confirmed for this account."""
    sender_name: Annotated[str, Meta(examples=["Shop"])]
    """Name beside that address."""
    reply_to: Annotated[str, Meta(examples=["help@shop.example"])]
    """Address that answers go to."""

    def __post_init__(self) -> None:
        for name, address in (("from", self.from_address), ("reply_to", self.reply_to)):
            if not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
                raise ValueError(f"{name}: {address!r} is no e-mail address; give one such as news@shop.example")
        if not self.sender_name.strip():
            raise ValueError("sender_name: is empty; give the name that people see, such as Shop")


class DoubleOptIn(Sender, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=_SENDER):
    """The mail that asks somebody to confirm; what was imported is stored only after the click in it."""

    email_id: Annotated[int, Meta(examples=[41])]
    """Id of an e-mail that contains {{confirmlink}}, from `discover` or the list of confirmation e-mails."""
    mode: Literal["all", "new-in-database"] = "all"
    """Who is asked: everybody, or only whom SmartEmailing does not have yet; the others it then takes without a click. Whom the
    hub knows there is asked anyway."""
    silence: Duration = Duration(86_400.0)
    """Whoever got such a mail within this time gets no other one, and what came with it is not stored."""
    thank_you_page: Annotated[str, Meta(examples=["https://shop.example/thanks"])] | None = None
    """Page that the click leads to; without one it is SmartEmailing's own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_id("email_id", self.email_id, "the confirmation e-mail")
        if self.silence % 1:
            raise ValueError("silence: SmartEmailing counts whole seconds; give such as 1d or 2h")
        if self.thank_you_page is not None and not self.thank_you_page.startswith(("http://", "https://")):
            raise ValueError("thank_you_page: expected a URL that begins with https://")


class SmartEmailingConsent(ConsentTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contact list of those who gave this consent, and what SmartEmailing keeps on record of it."""

    list: Annotated[int, Meta(examples=[7])]
    """Id of the contact list: `confirmed` there is a grant, `unsubscribed` an opt-out."""
    purpose: Annotated[int, Meta(examples=[2])] | None = None
    """Id of the processing purpose that a grant is recorded under, and that an opt-out revokes."""
    double_opt_in: DoubleOptIn | None = None
    """The mail that asks to confirm a grant without proof; without it such a grant is stored at once."""

    def __post_init__(self) -> None:
        _check_id("list", self.list, "the contact list")
        if self.purpose is not None:
            _check_id("purpose", self.purpose, "the processing purpose")

    def asks_to_confirm(self) -> bool:
        return self.double_opt_in is not None


class SmartEmailingAudience(AudienceTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contact list that holds the audience."""

    list: Annotated[int, Meta(examples=[12])] | None = None
    """Id of the contact list; without one it is found by the audience's name, or made."""

    def __post_init__(self) -> None:
        if self.list is not None:
            _check_id("list", self.list, "the contact list")


class SmartEmailingTrigger(TriggerTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a trigger starts: the scenarios that listen for an event, or one transactional e-mail."""

    event: Annotated[str, Meta(examples=["abandoned-cart"])] | None = None
    """Name of the event that the scenarios in SmartEmailing listen for."""
    email_id: Annotated[int, Meta(examples=[71])] | None = None
    """Id of the e-mail that is sent at once, as a transactional one."""

    def __post_init__(self) -> None:
        if (self.event is None) == (self.email_id is None):
            raise ValueError("event: a trigger needs an event or an email_id, one of the two")
        if self.event is not None and not self.event.strip():
            raise ValueError("event: is empty; give the name that a scenario listens for, such as abandoned-cart")
        if self.email_id is not None:
            _check_id("email_id", self.email_id, "the e-mail")


class BasicAuth(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A login and its password, which the vendor's calls carry."""

    login: Annotated[str, Meta(examples=["hub"])]
    """Login, made up for this."""
    password: Secret
    """Password, made up for this."""

    def __post_init__(self) -> None:
        if not self.login or ":" in self.login:
            raise ValueError("login: is empty or has a colon, which HTTP Basic does not allow; choose another one")
        if not self.password:
            raise ValueError("password: is empty; choose a long one, nobody has to type it")


class SmartEmailingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One SmartEmailing account."""

    username: Annotated[str, Meta(examples=["marketing@shop.example"])]
    """E-mail address with which the account logs in."""
    api_key: Secret
    """API key, from Settings > Data sources > API keys in SmartEmailing, where it is shown once only."""
    base_url: Origin = Origin("https://app.smartemailing.cz")
    """The vendor's origin."""
    esp_timezone: str = "Europe/Prague"
    """The zone of the vendor's times, which carry none."""
    sender: Sender | None = None
    """Who transactional mails are from, and the lists that the hub makes; without it whom a purpose's mails are from."""
    import_batch: int = MAX_BATCH
    """How many contacts go into one import, 500 at most."""
    trigger_batch: int = MAX_BATCH
    """How many events go into one call of triggers."""
    transactional_batch: int = 5
    """How many transactional mails go into one call, 5 at most."""
    page_size: int = MAX_BATCH
    """How many rows to ask for at once, 500 at most."""
    skip_invalid_emails: bool = True
    """Whether the vendor passes over invalid addresses; who is missing is then imported alone, and reported in its words. If
    not, it refuses the whole import, which is halved until the address is found."""
    event_name_regex: str = "[a-z0-9-]+"
    """What names of events look like; those of triggers are put into this form, or refused where they cannot be."""
    max_payload_bytes: int = 32_768
    """How large the data of one trigger may be, as JSON; products that do not fit are left out."""
    since_query_template: Annotated[str, Meta(examples=["filter[updated][gte]={since}"])] = ""
    """Query that limits the list of contacts to what changed since {since}, should the account have one; empty: read all."""
    extra_query: Annotated[dict[str, str], Meta(examples=[{"emails": "name=Spring"}])] = field(default_factory=dict)
    """Query to add to the reading of a collection, by its name, such as {emails: "name=Spring"}."""
    contact_read_mode: Literal["filter", "email", "id"] = "filter"
    """How one contact is read: by a filter on its address, by its address in the path, or by its id there (older)."""
    clear_value: Literal["empty", "null"] = "empty"
    """What is written to clear a field: an empty text, or null."""
    preserve_unsubscribed: bool = True
    """Whether an opt-out that only SmartEmailing knows of outlasts a grant. One that the hub knows of, and that a later
    grant with evidence lifts, does not."""
    add_namedays: bool = False
    """Whether SmartEmailing works out the nameday from the first name, and writes over what is stored."""
    add_genders: bool = False
    """Whether it does so with the gender."""
    add_salutions: bool = False
    """Whether it does so with the salutation; the spelling is the vendor's."""
    webhook_events: list[WebhookEvent] = field(
        default_factory=lambda: ["new_contact", "updated_contact", "unsubscribed_contact"]
    )
    """What the hub registers web-hooks for, one for each. Those of mails call once for each mail, and each call has its contact
    read again: with `delivery_status` a newsletter costs as many requests as it has readers."""
    webhook_shared_secret: Secret = Secret("")
    """Secret that the vendor's calls carry as `k` in the query of the hub's URL; without one it is not asked for."""
    basic_auth: BasicAuth | None = None
    """What the vendor's calls carry as HTTP Basic; without it none is asked for."""
    webhook_email_paths: list[BodyPath] = field(default_factory=lambda: [BodyPath(each) for each in EMAIL_PATHS])
    """Where the address may stand in the body of a web-hook, in the order in which to look."""
    webhook_contact_id_paths: list[BodyPath] = field(
        default_factory=lambda: [BodyPath(each) for each in CONTACT_ID_PATHS]
    )
    """Where the contact's id may stand in the body of a web-hook, where there is no address; beside one only paths that end in
    `contact_id` count."""

    def __post_init__(self) -> None:
        if not self.username or ":" in self.username:
            raise ValueError("username: expected the e-mail address with which the account logs in, without a colon")
        if not self.api_key:
            raise ValueError("api_key: is empty; make one in SmartEmailing under Settings > Data sources > API keys")
        for name, (least, most, why) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name}: expected {least} to {most}{why}")
        try:
            ZoneInfo(self.esp_timezone)
        except (KeyError, OSError, ValueError):
            raise ValueError(
                f"esp_timezone: {self.esp_timezone!r} is not known; give a name such as Europe/Prague"
            ) from None
        self._check_queries()
        self._check_webhooks()

    def _check_queries(self) -> None:
        try:
            re.compile(self.event_name_regex)
        except re.error as why:
            raise ValueError(f"event_name_regex: {why}; expected a regular expression such as [a-z0-9-]+") from None
        if self.since_query_template and "{since}" not in self.since_query_template:
            raise ValueError("since_query_template: must hold {since}, which stands for the time; or leave it empty")
        for name, query in self.extra_query.items():
            if name not in COLLECTIONS:
                raise ValueError(f"extra_query: unknown collection {name!r}; known are {', '.join(COLLECTIONS)}")
            if not parse_qsl(query) or query.startswith("?"):
                raise ValueError(f"extra_query.{name}: expected a query without question mark, such as name=Spring")

    def _check_webhooks(self) -> None:
        if len(set(self.webhook_events)) < len(self.webhook_events):
            raise ValueError("webhook_events: one of them is named twice; each has one web-hook")
        if not self.webhook_email_paths and not self.webhook_contact_id_paths:
            raise ValueError("webhook_email_paths: without a path here or in webhook_contact_id_paths no call is read")

    @property
    def api_url(self) -> str:
        """Where the calls of the API are."""
        return self.base_url + API


def _check_id(key: str, number: int, what: str) -> None:
    if number <= 0:
        raise ValueError(f"{key}: expected the number of {what} in SmartEmailing, such as 7")
