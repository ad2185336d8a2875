"""What an operator may say of one Webpower campaign. What the vendor does not publish is a key, with a best guess."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from esplanade import AudienceTarget, ConsentTarget, Origin, Secret, TriggerTarget

PATHS = {
    "token": "/admin/oauth2/token.php",
    "rest_root": "/admin/api/index.php/rest",
    "campaigns": "/campaign",
    "campaign": "/campaign/{cid}",
    "contacts": "/{cid}/contact",
    "contact": "/{cid}/contact/{id}",
    "contact_groups": "/{cid}/contact/{id}/group",
    "groups": "/{cid}/group",
    "fields": "/{cid}/field",
    "subscribe": "/{cid}/contact/subscribe",
    "mailings": "/{cid}/mailing",
    "send_single": "/{cid}/mailing/{mailing}/sendSingle",
    "send_single_mail": "/{cid}/contact/sendSingleMail",
}
"""Every call by name. All but the first two are below ``rest_root``."""

REMOVALS = ["DELETE /{cid}/contact/{id}/group/{gid}", "DELETE /{cid}/contact/{id}/group [{gid}]"]

TopicMeaning = Literal["contact", "unsubscribed", "deleted", "happening", "ignore"]


class WebpowerConsent(ConsentTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contact group that holds everybody who gave this consent."""

    group: int
    """Id of the contact group."""
    opt_in: Literal["single", "double"] = "single"
    """``double``: Webpower sends its confirmation mail (subscribe_confirm) before anybody is added."""

    def asks_to_confirm(self) -> bool:
        return self.opt_in == "double"


class WebpowerAudience(AudienceTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contact group that holds the audience."""

    group: int | None = None
    """Id of the contact group; without one it is found by the audience's name, or made."""


class WebpowerTrigger(TriggerTarget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mailing that the trigger sends."""

    mailing: int
    """Id of a published mailing of the campaign."""


class PublishedFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which property of a mailing says that it is published."""

    property: Annotated[str, Meta(examples=["status"])]
    """Name of the property in the mailing list."""
    values: Annotated[list[str | int | bool], Meta(examples=[["published"]])]
    """The values that mean published."""


class Removal(Struct, frozen=True, kw_only=True):
    """One way to take a contact out of a group, read from ``group_remove``."""

    method: str
    path: str
    body: str | None

    @classmethod
    def parse(cls, template: str) -> Removal:
        """Read ``METHOD /path [body]``; raises ValueError with the remedy."""
        found = re.fullmatch(r"(DELETE|POST|PUT|PATCH) (/\S*)(?: (\S.*))?", template)
        if not found:
            raise ValueError(f"group_remove: {template!r} is not 'METHOD /path [JSON body]', such as {REMOVALS[0]!r}")
        removal = cls(method=found[1], path=found[2], body=found[3])
        if "{gid}" not in template or "{id}" not in removal.path:
            raise ValueError(f"group_remove: {template!r} must name {{id}} in its path and {{gid}}")
        if "/contacts/group/" in removal.path:
            raise ValueError(f"group_remove: {template!r} moves everybody of a group; name one contact's call")
        if removal.body is not None:
            try:
                msgspec.json.decode(removal.body.replace("{gid}", "1"))
            except msgspec.DecodeError:
                raise ValueError(f"group_remove: the body of {template!r} is not JSON once {{gid}} is filled") from None
        return removal


class WebpowerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One campaign of one Webpower licence."""

    license: Annotated[str, Meta(examples=["demo"])] | None = None
    """Name of the licence: the first label of https://<license>.webpower.eu."""
    base_url: Origin | None = None
    """The vendor's origin, in place of the one derived from the licence, such as https://acme.webpower.asia."""
    client_id: str
    """Client id from Admin > REST credentials in Webpower."""
    client_secret: Secret
    """Client secret that belongs to the client id."""
    campaign_id: Annotated[int, Meta(examples=[42])]
    """Id of the campaign whose contacts, groups and mailings are used."""
    path_overrides: Annotated[dict[str, str], Meta(examples=[{"mailings": "/{cid}/mailings"}])] = field(
        default_factory=dict
    )
    """Calls whose path differs at this licence, by name, such as {mailings: "/{cid}/mailings"}."""
    contact_update_mode: Literal["merge", "full"] = "merge"
    """``merge`` sends every mapped field; ``full`` first reads the contact and sends its other fields back too."""
    group_add_body: Literal["array", "object", "objects"] = "array"
    """Body that adds a contact to groups: [135], {"groups": [135]} or [{"id": 135}]."""
    group_remove: list[str] = field(default_factory=lambda: list(REMOVALS))
    """Calls that take a contact out of a group, tried in order until one is supported; {gid} is the group."""
    audience_group_prefix: Annotated[str, Meta(examples=["CDP - "])] = ""
    """Put before an audience's name when its group is found or made by name."""
    subscribe_extra_body: Annotated[dict[str, object], Meta(examples=[{"groups": ["{group}"]}])] = field(
        default_factory=dict
    )
    """Merged into the body of the subscribe call; the text "{group}" stands for the consent group's id."""
    unsubscribe_mode: Literal["group", "endpoint", "field", "none"] = "group"
    """How an opt-out is told: leave the group, call unsubscribe_path, write unsubscribe_field, or not at all."""
    unsubscribe_path: str = "/{cid}/contact/{id}/unsubscribe"
    """Call of mode ``endpoint``; without {id} the address is sent in the body."""
    unsubscribe_field: Annotated[str, Meta(examples=["optout_{purpose}"])] | None = None
    """Custom field of mode ``field``; {purpose} in it stands for the purpose."""
    unsubscribe_value: str = "true"
    """What mode ``field`` writes for an opt-out; a later grant empties the field."""
    unsubscribe_group_id: Annotated[int, Meta(examples=[61])] | None = None
    """Id of the system group of unsubscribed contacts; its members are read as opted out of every mapped purpose."""
    complaint_group_id: int | None = None
    """Id of the system group of those who reported a mail as spam; its members are read in the same way."""
    optin_group_id: int = 60
    """Id of the system opt-in group, which is never written to because that sends opt-in mails."""
    page_length: int = 500
    """How many rows to ask for at once; 100 is used instead when Webpower refuses this many."""
    contacts_since_param: Annotated[str, Meta(examples=["modified_since"])] | None = None
    """Query parameter that limits the contact list to what changed since a time, if the licence has one."""
    group_contacts_path: str = "/{cid}/group/{gid}/contact"
    """Call that lists a group's contacts; where it is missing, each contact's groups are read one by one."""
    trigger_call: Literal["sendSingle", "sendSingleMail"] = "sendSingle"
    """What sends to somebody without a contact: sendSingle creates it first, sendSingleMail does both in one."""
    published_filter: PublishedFilter | None = None
    """Which mailings count as published; without it those whose ``published`` or ``is_published`` is not false."""
    product_encoding: Literal["flat", "json", "html"] = "flat"
    """Product sets as DMD_product1_title and so on, as DMD_products (JSON), or as DMD_products_html (one block)."""
    credit_error_words: list[str] = field(default_factory=lambda: ["credit", "tegoed"])
    """Words in a refusal of a send that mean that the licence has no sending credits."""
    webhook_secret: Secret = Secret("")
    """Secret of the MailPro webhook subscriber; without it signed webhooks are refused."""
    webhook_topics: dict[str, TopicMeaning] = field(default_factory=dict)
    """What further webhook and callback topics mean: contact, unsubscribed, deleted, happening or ignore."""
    callback_token: Secret = Secret("")
    """Token that callbacks of Webpower's own triggers carry as ``token``; without it callbacks are refused."""
    default_lang: Annotated[str, Meta(examples=["nl"])] | None = None
    """Language of new contacts, two letters, when no field is mapped to ``lang``."""

    def __post_init__(self) -> None:
        self._check_account()
        self._check_calls()
        if self.unsubscribe_mode == "field" and not self.unsubscribe_field:
            raise ValueError("unsubscribe_field: mode 'field' needs the name of the custom field for opt-outs")
        if self.unsubscribe_mode == "field" and not self.unsubscribe_value:
            raise ValueError("unsubscribe_value: must not be empty, or an opt-out would look like a field left out")
        if self.default_lang is not None and not re.fullmatch(r"[a-z]{2}", self.default_lang):
            raise ValueError("default_lang: expected two small letters, such as nl")
        if not all(word.strip() for word in self.credit_error_words):
            raise ValueError("credit_error_words: an empty word would match every refusal; remove it")

    def _check_account(self) -> None:
        if not self.license and not self.base_url:
            raise ValueError("license: give the licence name (https://<license>.webpower.eu), or base_url instead")
        if self.license and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", self.license):
            raise ValueError("license: expected the first label of https://<license>.webpower.eu; else use base_url")
        if not self.client_id:
            raise ValueError("client_id: is empty; make a pair in Webpower under Admin > REST credentials")
        if not self.client_secret:
            raise ValueError("client_secret: is empty; make a pair in Webpower under Admin > REST credentials")
        if self.campaign_id <= 0:
            raise ValueError("campaign_id: expected the number of the campaign in Webpower, such as 42")
        if not 1 <= self.page_length <= 10_000:
            raise ValueError("page_length: expected 1 to 10000")

    def _check_calls(self) -> None:
        for name, path in self.path_overrides.items():
            if name not in PATHS:
                raise ValueError(f"path_overrides: unknown call {name!r}; known are {', '.join(PATHS)}")
            _check_path(f"path_overrides.{name}", path, like=PATHS[name])
        _check_path("group_contacts_path", self.group_contacts_path, like="{gid}")
        _check_path("unsubscribe_path", self.unsubscribe_path, like="")
        if not self.group_remove:
            raise ValueError(f"group_remove: name at least one call, such as {REMOVALS[0]!r}")
        for template in self.group_remove:
            Removal.parse(template)

    @property
    def origin(self) -> str:
        """Where the licence lives."""
        return self.base_url or f"https://{self.license}.webpower.eu"

    @property
    def refusals(self) -> list[int]:
        """The system groups whose members want no mail."""
        return [group for group in (self.unsubscribe_group_id, self.complaint_group_id) if group is not None]

    def path(self, call: str, **parts: int) -> str:
        """The path of a call of ``PATHS``, from the origin, with its parts filled in."""
        return self.rest(self.path_overrides.get(call, PATHS[call]), **parts)

    def rest(self, template: str, **parts: int) -> str:
        """A path template below the REST root, with ``{cid}`` and ``parts`` filled in."""
        for name, value in {"cid": self.campaign_id, **parts}.items():
            template = template.replace(f"{{{name}}}", str(value))
        return self.path_overrides.get("rest_root", PATHS["rest_root"]) + template

    @property
    def token_url(self) -> str:
        """Where access tokens come from."""
        return self.origin + self.path_overrides.get("token", PATHS["token"])


def _check_path(where: str, path: str, *, like: str) -> None:
    if not path.startswith("/") or path.startswith("//") or re.search(r"[\s?#]", path):
        raise ValueError(f"{where}: expected a path that begins with one slash, without query")
    missing = [part for part in re.findall(r"\{\w+\}", like) if part not in path and part != "{cid}"]
    if missing:
        raise ValueError(f"{where}: {path!r} must hold {', '.join(missing)}")
