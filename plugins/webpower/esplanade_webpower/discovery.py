"""Whether a campaign can be used, and what it offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esplanade import (
    AuthenticationError,
    CheckResult,
    Choice,
    Context,
    DeliveryError,
    Discovery,
    FieldInfo,
    PermanentError,
)

from .client import Campaign, Row, as_id, read_json, words_of
from .mapping import MAX_VALUE, TOP_LEVEL

if TYPE_CHECKING:
    from .settings import PublishedFilter

TYPES = {
    "varchar": "text",
    "string": "text",
    "text": "text",
    "int": "integer",
    "integer": "integer",
    "float": "number",
    "decimal": "number",
    "bool": "boolean",
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
    "select": "select",
    "enum": "select",
    "multiselect": "multi-select",
    "set": "multi-select",
}
"""Only varchar is documented; what is unknown is text, which every value fits."""

BUILT_IN = [
    FieldInfo(name="email", label="E-mail address", required=True, read_only=True),
    FieldInfo(name="mobile_nr", label="Mobile number, international with +"),
    FieldInfo(name="lang", label="Language, two letters", max_length=2),
]

NO = {False, "0", "false", "no"}


async def check(campaign: Campaign) -> CheckResult:
    """Tell bad credentials, missing rights, a wrong campaign and a vendor that is down apart."""
    settings = campaign.settings
    try:
        answer = await campaign.http.get(settings.path("campaigns"), params={"page": 1}, allow=(403, 404))
        if answer.status == 404:
            return CheckResult(
                status="wrong-account", detail=f"{settings.origin} has no MailPro API; check license or base_url"
            )
        if answer.status == 200:
            read_json(answer)
            answer = await campaign.http.get(settings.path("campaign"), allow=(403, 404))
        if answer.status == 403:
            remedy = "give its owner rights on the campaign and the client its grants"
            return CheckResult(status="no-permission", detail=f"Webpower says: {words_of(answer)}; {remedy}")
        if answer.status == 404:
            return CheckResult(status="wrong-account", detail=f"there is no campaign {settings.campaign_id}")
        return _judged(read_json(answer), settings.campaign_id)
    except AuthenticationError as error:
        return CheckResult(status="bad-credentials", detail=str(error))
    except PermanentError as error:
        return CheckResult(status="wrong-account", detail=str(error))
    except DeliveryError as error:
        return CheckResult(status="vendor-down", detail=str(error))


async def discover(campaign: Campaign, ctx: Context) -> Discovery:
    """The fields, groups and published mailings of the campaign, each in a stable order."""
    settings = campaign.settings
    fields = [_field(row) for row in await campaign.every(settings.path("fields")) if isinstance(row.get("name"), str)]
    groups = [_group(row) for row in await campaign.every(settings.path("groups"))]
    mailings = [
        _mailing(row)
        for row in await campaign.every(settings.path("mailings"))
        if is_published(row, settings.published_filter)
    ]
    ctx.log.debug("discovered", fields=len(fields), groups=len(groups), mailings=len(mailings))
    return Discovery(
        fields=[
            *BUILT_IN,
            *sorted((each for each in fields if each.name not in TOP_LEVEL), key=lambda each: each.name),
        ],
        groups=groups,
        mailings=mailings,
    )


def is_published(mailing: Row, rule: PublishedFilter | None) -> bool:
    """Whether a mailing may be offered. The vendor does not document which property says so."""
    if str(mailing.get("optin_confirm_candidate", False)).lower() in {"true", "1"}:
        return False
    if rule is not None:
        said = str(mailing.get(rule.property)).lower()
        return said in {str(value).lower() for value in rule.values}
    return not any(mailing[key] in NO for key in ("published", "is_published") if _is_scalar(mailing.get(key)))


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float)


def _judged(campaign: Any, number: int) -> CheckResult:
    if isinstance(campaign, dict) and _is_scalar(campaign.get("is_active")) and campaign["is_active"] in NO:
        return CheckResult(status="wrong-account", detail=f"campaign {number} is not active in Webpower")
    name = campaign.get("name") if isinstance(campaign, dict) else None
    return CheckResult(detail=f"campaign {number}" + (f", {name}" if isinstance(name, str) else ""))


def _field(row: Row) -> FieldInfo:
    length = as_id(row.get("length"))
    options = row.get("options")
    return FieldInfo(
        name=row["name"],
        type=TYPES.get(str(row.get("type", "")).lower(), "text"),
        label=_label(row.get("description")),
        options=[str(option) for option in options] if isinstance(options, list) else [],
        required=row.get("required") in {True, "1", "true"},
        max_length=min(length, MAX_VALUE) if length else None,
    )


def _label(description: object) -> str | None:
    """A field is described once per language, as a list of ``{lang, description}``."""
    if isinstance(description, list):
        texts = [each.get("description") for each in description if isinstance(each, dict)]
        description = next((text for text in texts if text), None)
    return description if isinstance(description, str) and description else None


def _group(row: Row) -> Choice:
    notes = [note for key, note in (("is_system", "system, never written to"), ("is_test", "test")) if row.get(key)]
    if row.get("is_active") in NO and "is_active" in row:
        notes.append("inactive")
    return Choice(id=str(row["id"]), name=str(row.get("name", row["id"])), detail=", ".join(notes) or None)


def _mailing(row: Row) -> Choice:
    detail = ", ".join(str(row[key]) for key in ("lang", "subject") if row.get(key))
    return Choice(id=str(row["id"]), name=str(row.get("name", row["id"])), detail=detail or None)
