"""What an operator says about one SparkLoop account. Docstrings of fields become the help texts of schema and docs."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from esplanade import Origin, Secret

Mode: TypeAlias = Literal["api_v2", "incoming_webhook"]


class FieldNames(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The vendor side of ``fields:`` for what SparkLoop knows of a person; by default as its guide has it."""

    subid: str = "RH_SUBID"
    """SparkLoop's id of the subscriber."""
    code: str = "RH_CODE"
    """The subscriber's referral code."""
    reflink: str = "RH_REFLINK"
    """The subscriber's referral link."""
    isref: str = "RH_ISREF"
    """Whether somebody referred the subscriber."""
    totref: str = "RH_TOTREF"
    """How many people the subscriber has referred."""
    coupon: str = "RH_COUPON"
    """The coupon code won most recently."""
    lastreward: str = "RH_LASTREWARD"
    """The id of the reward won last."""

    def all(self) -> tuple[str, ...]:
        """The names, in the order of SparkLoop's guide."""
        return (self.subid, self.code, self.reflink, self.isref, self.totref, self.coupon, self.lastreward)

    def __post_init__(self) -> None:
        if not all(name.strip() for name in self.all()):
            raise ValueError("a name is blank; give it one, or leave its key out to keep the RH_ name")
        if len(set(self.all())) < len(self.all()):
            raise ValueError("two of them are the same; every value needs a field of its own")


class SparkLoopSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One SparkLoop account."""

    outbound_mode: Mode | None = None
    """How SparkLoop is told: api_v2, or incoming_webhook (the default when only incoming_webhook_url is given)."""
    incoming_webhook_url: Secret = Secret("")
    """The account's own URL from SparkLoop's Integrations page. Whoever knows it may write: treat it as a password."""
    base_url: Origin = Origin("https://api.sparkloop.app")
    """Where SparkLoop's API is; change it only to point at a stand-in."""
    api_key: Secret = Secret("")
    """The API key from Account settings > Integrations; needed by api_v2."""
    campaign_uuid: str | None = None
    """The referral campaign (MF…) that people join; left out, none is joined and SparkLoop decides."""
    ensure_membership: bool = True
    """Whether to add each subscriber to campaign_uuid (api_v2)."""
    webhook_token: Secret = Secret("")
    """The token from Account settings > Integrations > Webhooks, which SparkLoop sends with each of its webhooks."""
    require_token: bool = True
    """Whether webhooks without a token are refused. A wrong token always is."""
    extra_headers: Annotated[dict[str, Secret], Meta(examples=[{"X-Gateway-Key": "${GATEWAY_KEY}"}])] = field(
        default_factory=dict
    )
    """Headers to add to every request, for a gateway in between."""
    referral_link_template: Annotated[str, Meta(examples=["https://mywebsite.com?rh_ref={code}"])] | None = None
    """Builds the referral link where the API gives only the code, such as https://mywebsite.com?rh_ref={code}."""
    field_names: FieldNames = field(default_factory=FieldNames)
    """Other names for the RH_ fields, as the vendor side of fields: shall call them."""
    send_country_code: bool = False
    """Whether a mapped country_code (two letters) goes along when a subscriber is created (api_v2)."""

    @property
    def mode(self) -> Mode:
        """How SparkLoop is told, once the default is applied."""
        if self.outbound_mode is not None:
            return self.outbound_mode
        return "incoming_webhook" if self.incoming_webhook_url and not self.api_key else "api_v2"

    def __post_init__(self) -> None:
        if self.mode == "api_v2" and not self.api_key:
            raise ValueError(
                "api_key: outbound_mode api_v2 needs it; copy it from SparkLoop's Account settings > Integrations, "
                "or give incoming_webhook_url and set outbound_mode: incoming_webhook"
            )
        if self.mode == "incoming_webhook" and not self.incoming_webhook_url:
            raise ValueError(
                "incoming_webhook_url: outbound_mode incoming_webhook needs it; copy it from SparkLoop's "
                "Integrations page"
            )
        if self.incoming_webhook_url and not _is_url(self.incoming_webhook_url.reveal()):
            raise ValueError(
                "incoming_webhook_url: expected the whole https:// URL from SparkLoop's Integrations page, "
                "without user name or fragment"
            )
        if self.referral_link_template is not None and "{code}" not in self.referral_link_template:
            raise ValueError(
                "referral_link_template: it must hold {code} where the referral code goes, "
                "such as https://mywebsite.com?rh_ref={code}"
            )


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(
            parts.scheme in {"http", "https"}
            and parts.hostname
            and not parts.username
            and not parts.fragment
            and parts.port != 0
        )
    except ValueError:
        return False
