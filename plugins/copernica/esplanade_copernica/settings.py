"""What an operator may say of one Copernica database. What the vendor does not publish is a key, with the stated default."""

from __future__ import annotations

import re
from typing import Literal
from zoneinfo import ZoneInfo

from msgspec import Struct

from esplanade import AudienceTarget, ConsentTarget, Origin, Secret, TriggerTarget

ACCESS_URL = "https://authenticate.copernica.com"
_FIELD = re.compile(r"[^\s=<>!~][^=<>!~]*")
_COLLECTION = re.compile(r"[A-Za-z_]+")


class ConsentValues(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the consent field holds for each state. Compared without regard to case and surrounding space."""

    subscribed: str
    """Value of those who gave this consent."""
    unsubscribed: str
    """Value of those who withdrew it, or never gave it and said no."""
    unknown: str = ""
    """Value of those who never said anything."""
    pending: str | None = None
    """Value of those who are asked to confirm; a follow-up in Copernica on this value mails the question."""

    def __post_init__(self) -> None:
        if self.subscribed.strip().lower() == self.unsubscribed.strip().lower():
            raise ValueError(
                "values: subscribed and unsubscribed are the same, so no opt-out could be told from a grant"
            )


class CopernicaConsent(ConsentTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The profile field that holds one purpose's consent."""

    field: str
    """Name of the database field."""
    values: ConsentValues = ConsentValues(subscribed="yes", unsubscribed="no")
    """What the field holds for each state."""
    opt_in: Literal["single", "double"] = "single"
    """``double``: a grant without proof first writes ``values.pending``, or sends ``confirmation`` to the profile."""
    confirmation: int | None = None
    """Id of the template that asks for confirmation; without one the pending value's follow-up does."""

    def __post_init__(self) -> None:
        if self.opt_in == "double" and self.values.pending is None and self.confirmation is None:
            raise ValueError(
                "opt_in: double needs values.pending, or confirmation: without one of them nobody is asked"
            )

    def asks_to_confirm(self) -> bool:
        return self.opt_in == "double"


class CopernicaAudience(AudienceTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An audience, kept in the profile's subprofile in the audiences collection."""

    id: int | None = None
    """The audience's number in that subprofile; without one its name stands there."""


class CopernicaTrigger(TriggerTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a trigger reaches the person."""

    route: Literal["subprofile", "mailing"] = "subprofile"
    """``subprofile``: a row in the triggers collection, mailed by a follow-up there; ``mailing``: a template is sent at once."""
    template: int | None = None
    """Id of the template (Marketing Suite) of route ``mailing``."""
    document: int | None = None
    """Id of the document (Publisher) of route ``mailing``."""

    def __post_init__(self) -> None:
        named = (self.template is not None) + (self.document is not None)
        if named != (self.route == "mailing"):
            raise ValueError("route: mailing needs a template or a document, one of them; subprofile needs none")


class CopernicaSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One database of one Copernica account."""

    api_token: Secret
    """API token, from the Marketing Suite's dashboard under access tokens."""
    database: int
    """Id of the database whose profiles are used."""
    email_field: str = "Email"
    """Name of the database's e-mail field."""
    customer_id_field: str | None = None
    """Name of the field for the customer's id in the CDP, such as SqueezelyCustomerId."""
    base_url: Origin = Origin("https://api.copernica.com")
    """The vendor's origin."""
    auth_url: str = ACCESS_URL
    """Where the API token is exchanged for a token of 24 hours."""
    mail_paths: Literal["new", "old"] = "new"
    """Names of the mailing calls: ``new`` (draganddrop, html) or ``old`` (ms, publisher); the other is tried after a 400 or 404."""
    collection_prefix: str = "SQ_"
    """Put before profile, audiences, triggers and products: the collections that hold what the hub says of a profile."""
    fields_in: Literal["profile", "collection"] = "profile"
    """Where mapped fields live: in the profile itself, or in its subprofile in the collection ``SQ_profile``."""
    product_layout: Literal["flat", "json", "rows"] = "flat"
    """Product sets as p1_title and so on, as one JSON text, or as rows of the products collection."""
    products: int = 6
    """How many products of a set are written in layout ``flat``."""
    unsubscribe_call: bool = False
    """Whether an opt-out also runs the database's unsubscribe behaviour; never where that removes the profile."""
    inbound: Literal["webhook", "callback", "both"] = "both"
    """Which of the vendor's two kinds of calls are read: webhooks (Marketing Suite), callback URLs (Publisher), or both."""
    signature: Literal["require", "log", "off"] = "require"
    """What is done with a webhook whose signature is wrong or missing: refused, let in and logged, or not even looked at."""
    max_age: int = 300
    """How old a signed request may be, in seconds."""
    require_nonce: bool = True
    """Whether the signature must cover X-Nonce."""
    public_host: str | None = None
    """Host name under which Copernica calls the hub, where a proxy in front of it changes the Host header."""
    nameserver: str | None = None
    """DNS server that is asked for the keys of signatures, as address:port; without one the system's."""
    pull: Literal["full", "incremental"] = "full"
    """``incremental`` reads what changed since the last pull, and now and then everything."""
    page_size: int = 1_000
    """How many profiles to ask for at once, 1000 at most."""
    timezone: str = "Europe/Amsterdam"
    """The zone of the vendor's times, which carry none."""

    def __post_init__(self) -> None:
        if not self.api_token:
            raise ValueError("api_token: is empty; make one in the Marketing Suite's dashboard under access tokens")
        if self.database <= 0:
            raise ValueError("database: expected the number of the database in Copernica, such as 31")
        for name in ("email_field", "customer_id_field"):
            value = getattr(self, name)
            if value is not None and not _FIELD.fullmatch(value):
                raise ValueError(
                    f"{name}: {value!r} is no field name; it stands in filters, so it holds no = < > ! or ~"
                )
        if self.collection_prefix and not _COLLECTION.fullmatch(self.collection_prefix):
            raise ValueError("collection_prefix: Copernica takes letters and underscores only, such as SQ_")
        if not 1 <= self.page_size <= 1_000:
            raise ValueError("page_size: expected 1 to 1000, which is the most that Copernica gives")
        if not 1 <= self.products <= 50:
            raise ValueError("products: expected 1 to 50")
        try:
            ZoneInfo(self.timezone)
        except (KeyError, OSError, ValueError):
            raise ValueError(
                f"timezone: {self.timezone!r} is not known; give a name such as Europe/Amsterdam"
            ) from None
        if not 60 <= self.max_age <= 86_400:
            raise ValueError("max_age: expected 60 to 86400 seconds")

    def collection(self, name: str) -> str:
        """The name of one of the hub's collections."""
        return self.collection_prefix + name
