"""What an operator may say of one Copernica database. What the vendor does not publish is a key, with the stated default."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct, field

from esplanade import AudienceTarget, ConsentTarget, Origin, Secret, TriggerTarget

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCESS_URL = "https://authenticate.copernica.com"
_FIELD = re.compile(r"[^\s=<>!~][^=<>!~]*")
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_COLLECTION = re.compile(r"[A-Za-z_]+")
_CALLER = re.compile(r"[a-z]+")
_RANGES = {
    "page_size": (1, 1_000, ", which is the most that Copernica gives"),
    "products": (1, 50, ""),
    "max_age_s": (60, 86_400, " seconds"),
}
WebhookTrigger: TypeAlias = Literal[
    "create", "update", "delete", "unsubscribe", "click", "open", "delivery", "bounce", "failure"
]
_KEY_ID = re.compile(r"[^\s\",=]{1,253}")


class CopernicaConsent(ConsentTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The profile field that holds one purpose's consent, and what it holds for each state.

    Values are compared without regard to case and surrounding space; any other value says nothing.
    """

    field: str
    """Name of the database field."""
    granted: str = "yes"
    """Value of those who gave this consent."""
    denied: str = "no"
    """Value of those who withdrew it, or never gave it and said no."""
    unknown: Annotated[str, Meta(examples=["unknown"])] = ""
    """Value of those who never said anything; read, never written."""
    pending: str | None = None
    """Value of those who are asked to confirm; a follow-up in Copernica on this value mails the question."""
    opt_in: Literal["single", "double"] = "single"
    """``double``: a grant without proof first writes ``pending``, or sends ``confirmation`` to the profile."""
    confirmation: Annotated[int, Meta(examples=[17])] | None = None
    """Id of the template that asks for confirmation; without one the pending value's follow-up does."""

    def __post_init__(self) -> None:
        if "." in self.field:
            raise ValueError(
                f"field: {self.field!r} is no field of the profile, where consent is kept; give the name of one, without a dot"
            )
        granted, denied, pending = (_compared(each) for each in (self.granted, self.denied, self.pending))
        if denied == granted:
            raise ValueError(
                "denied: is the same as granted, so no opt-out could be told from a grant; give two values"
            )
        if pending in {granted, denied}:
            other = "granted" if pending == granted else "denied"
            raise ValueError(
                f"pending: is the same as {other}, so nobody who is asked could be told apart; give it a value of its own"
            )
        if self.opt_in == "double" and self.pending is None and self.confirmation is None:
            raise ValueError("opt_in: double needs pending, or confirmation: without one of them nobody is asked")

    def asks_to_confirm(self) -> bool:
        return self.opt_in == "double"


class CopernicaAudience(AudienceTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An audience, kept in the profile's subprofile in the audiences collection, or as an interest of the profile."""

    id: int | None = None
    """The audience's number in that subprofile; without one its name stands there."""
    interest: str | None = None
    """An interest of the database, which profiles have in place of a number in that subprofile; made where it is missing."""

    def __post_init__(self) -> None:
        if self.interest is not None and (self.id is not None or not self.interest.strip()):
            raise ValueError("interest: is a name, and in place of an id; give one of the two")


class CopernicaTrigger(TriggerTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a trigger reaches the person."""

    route: Literal["subprofile", "mailing"] = "subprofile"
    """``subprofile``: a row in the triggers collection, mailed by a follow-up there; ``mailing``: a template is sent at once."""
    template: int | None = None
    """Id of the template (Marketing Suite) of route ``mailing``."""
    document: Annotated[int, Meta(examples=[77])] | None = None
    """Id of the document (Publisher) of route ``mailing``."""

    def __post_init__(self) -> None:
        named = (self.template is not None) + (self.document is not None)
        if named != (self.route == "mailing"):
            raise ValueError("route: mailing needs a template or a document, one of them; subprofile needs none")


class CopernicaSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One database of one Copernica account."""

    api_token: Secret
    """API token, from the Marketing Suite's dashboard under access tokens."""
    api_version: Literal[2, 3, 4] = 4
    """Version of the REST API. Up to 3 the API token itself goes along in the query of each call."""
    database_id: int
    """Id of the database whose profiles are used."""
    email_field: str = "Email"
    """Name of the database's e-mail field."""
    customer_id_field: str | None = "SqueezelyCustomerId"
    """Name of the field for the customer's id in the CDP; made with the first id where it is missing. null: none is kept."""
    base_url: Origin = Origin("https://api.copernica.com")
    """The vendor's origin."""
    auth_url: str = ACCESS_URL
    """Where the API token is exchanged for a token of 24 hours, with version 4."""
    mail_path_style: Literal["draganddrop", "ms"] = "draganddrop"
    """Names of the mailing calls: ``draganddrop`` (and html) or ``ms`` (and publisher); the others are tried after a 400 or 404."""
    collection_prefix: str = "SQ_"
    """Put before profile, audiences, triggers and products: the collections that hold what the hub says of a profile."""
    product_layout: Literal["flat", "json", "rows"] = "flat"
    """Product sets as p1_title and so on, as one JSON text, or as rows of the products collection."""
    products: int = 6
    """How many products of a set are written in layout ``flat``."""
    unsubscribe_call: bool = False
    """Whether an opt-out also runs the database's unsubscribe behaviour; never where that removes the profile."""
    inbound_mode: Literal["webhook", "callback", "both"] = "both"
    """Which of the vendor's two kinds of calls are read: webhooks (Marketing Suite), callback URLs (Publisher), or both."""
    webhook_callers: list[str] = field(default_factory=lambda: ["ms", "publisher"])
    """What may fire the hub's webhooks, where they are registered through the API. Without ``rest`` its own writes fire none."""
    webhook_triggers: list[WebhookTrigger] = field(
        default_factory=lambda: ["create", "update", "delete", "unsubscribe"]
    )
    """What the hub registers webhooks for; of mails, which call for each: ``click open delivery bounce failure``."""
    signature_mode: Literal["require", "log", "off"] = "require"
    """What is done with a webhook whose signature is wrong or missing: refused, let in and logged, or not even looked at."""
    signature_keys: Annotated[dict[str, str], Meta(examples=[{"one._domainkey.copernica.com": "MIIBIjANBgkqh…"}])] = (
        field(default_factory=dict)
    )
    """Public keys by key id, as p= of their DNS record or as PEM. For these key ids DNS is not asked."""
    max_age_s: int = 300
    """How old a signed request may be, in seconds."""
    require_nonce: bool = True
    """Whether the signature must cover X-Nonce."""
    public_host: Annotated[str, Meta(examples=["hub.example.net"])] | None = None
    """Host name under which Copernica calls the hub, where a proxy in front of it changes the Host header."""
    dns_server: Annotated[str, Meta(examples=["192.0.2.53:53"])] | None = None
    """DNS server that is asked for the keys of signatures, as address:port; without one the system's."""
    pull_mode: Literal["full", "incremental"] = "full"
    """``incremental`` reads what changed since the last pull, and now and then everything."""
    page_size: int = 1_000
    """How many profiles to ask for at once, 1000 at most."""
    timezone: str = "Europe/Amsterdam"
    """The zone of the vendor's times, which carry none."""

    def __post_init__(self) -> None:
        if not self.api_token:
            raise ValueError("api_token: is empty; make one in the Marketing Suite's dashboard under access tokens")
        if self.database_id <= 0:
            raise ValueError("database_id: expected the number of the database in Copernica, such as 31")
        for name in ("email_field", "customer_id_field"):
            value = getattr(self, name)
            if value is not None and not _FIELD.fullmatch(value):
                raise ValueError(
                    f"{name}: {value!r} is no field name; it stands in filters, so it holds no = < > ! or ~"
                )
        if self.collection_prefix and not _COLLECTION.fullmatch(self.collection_prefix):
            raise ValueError("collection_prefix: Copernica takes letters and underscores only, such as SQ_")
        for name, (least, most, unit) in _RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name}: expected {least} to {most}{unit}")
        if self.public_host is not None and not _HOST.fullmatch(self.public_host):
            raise ValueError(f"public_host: {self.public_host!r} is no host name; write it without https:// and path")
        self._check_webhooks()
        try:
            ZoneInfo(self.timezone)
        except (KeyError, OSError, ValueError):
            raise ValueError(
                f"timezone: {self.timezone!r} is not known; give a name such as Europe/Amsterdam"
            ) from None
        if self.signature_keys:
            _check_keys(self.signature_keys)

    def _check_webhooks(self) -> None:
        for caller in self.webhook_callers:
            if not _CALLER.fullmatch(caller):
                raise ValueError(
                    f"webhook_callers: {caller!r} is no word of Copernica's; expected such as ms or publisher"
                )
        if len(set(self.webhook_triggers)) < len(self.webhook_triggers):
            raise ValueError("webhook_triggers: one of them is named twice; each has one webhook")

    def collection(self, name: str) -> str:
        """The name of one of the hub's collections."""
        return self.collection_prefix + name


def _compared(value: str | None) -> str | None:
    """A consent value without what makes no difference."""
    return None if value is None else value.strip().lower()


def _check_keys(keys: Mapping[str, str]) -> None:
    from .keys import public_key

    for key_id, text in keys.items():
        if not _KEY_ID.fullmatch(key_id):
            raise ValueError(
                f"signature_keys: {key_id!r} is no key id; copy keyId of the Signature header, such as one._domainkey.copernica.com"
            )
        if public_key(text) is None:
            raise ValueError(
                f"signature_keys: what stands at {key_id} is no RSA public key of 1024 bits or more; "
                "give p= of its DNS record, or PEM that begins with -----BEGIN PUBLIC KEY-----"
            )
