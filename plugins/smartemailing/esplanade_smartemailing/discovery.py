"""What an account at SmartEmailing offers, and whether a connection to it is in order (sections 2 and 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esplanade import (
    AuthenticationError,
    CheckResult,
    Choice,
    DeliveryError,
    Discovery,
    FieldInfo,
    PermanentError,
    UnreadableAnswer,
)

from .client import RefusedError, as_id
from .layout import Layout, custom_field
from .senders import sender
from .settings import BUILT_IN, SmartEmailingAudience, SmartEmailingConsent, SmartEmailingTrigger
from .triggers import event_name
from .values import DATES, READ_ONLY, SEEN, SEEN_TIMES

if TYPE_CHECKING:
    from esplanade import Context

    from .client import Account, Row
    from .values import CustomField

TYPES = {
    "date": "datetime",
    "numeric": "number",
    "bool": "boolean",
    "checkbox": "multi-select",
    "radio": "select",
    "select": "select",
}
"""Of the vendor's types of custom fields (section 4); all others are text. A date has its time of day."""


async def check(account: Account, ctx: Context) -> CheckResult:
    """Tell bad credentials, missing rights, lists that the account does not have and a vendor that is down apart."""
    layout = Layout()  # nothing that was read before counts
    try:
        said = await account.ask("GET", "check-credentials")
        for purpose, target in ctx.consents.items():
            if isinstance(target, SmartEmailingConsent):
                await layout.require(target, f"consents.{purpose}", account, ctx.clock)
        for name, audience in ctx.audiences.items():
            if isinstance(audience, SmartEmailingAudience):
                await layout.list_of(name, audience, account, ctx, makes=False)
        await _check_triggers(account, layout, ctx)
    except AuthenticationError as error:
        told = error.exchange.status if error.exchange is not None else None
        return CheckResult(status="no-permission" if told == 403 else "bad-credentials", detail=str(error))
    except (RefusedError, UnreadableAnswer) as error:
        return CheckResult(status="vendor-down", detail=str(error))
    except PermanentError as error:
        return CheckResult(status="wrong-account", detail=str(error))
    except DeliveryError as error:
        return CheckResult(status="vendor-down", detail=str(error))
    number = as_id(said, "account_id")
    return CheckResult(detail=f"account {number}" if number is not None else "")


async def _check_triggers(account: Account, layout: Layout, ctx: Context) -> None:
    targets = {name: each for name, each in ctx.triggers.items() if isinstance(each, SmartEmailingTrigger)}
    wanted = {name: each.email_id for name, each in targets.items() if each.email_id is not None}
    emails = {as_id(row) for row in await account.rows("emails")} if wanted else set()
    for name, target in targets.items():
        if target.event is not None:
            event_name(target.event, account.settings)
        elif str(target.email_id) not in emails:
            raise PermanentError(
                f"triggers.{name}: SmartEmailing has no e-mail {target.email_id}; correct its id in connectors.yaml"
            )
        else:
            await sender(account, layout, ctx, purpose=target.requires)


async def discover(account: Account) -> Discovery:
    """Fields, contact lists, purposes and e-mails, each in a stable order."""
    custom = [custom_field(row) for row in await account.rows("customfields", expand="customfield_options")]
    asking = {as_id(row) for row in await account.rows("confirmation-emails")}
    return Discovery(
        fields=[*_own(), *sorted((_custom(each) for each in custom), key=lambda each: each.name)],
        groups=[_choice(row, "contact list") for row in await account.rows("contactlists")],
        purposes=[_choice(row, _basis(row)) for row in await account.rows("purposes")],
        mailings=[
            _choice(row, "e-mail that asks to confirm" if as_id(row) in asking else "e-mail")
            for row in await account.rows("emails")
        ],
    )


def _own() -> list[FieldInfo]:
    types = dict.fromkeys(DATES, "date") | dict.fromkeys(SEEN, "boolean") | dict.fromkeys(SEEN_TIMES, "datetime")
    settable = [FieldInfo(name=name, type=types.get(name, "text")) for name in BUILT_IN]
    seen = [
        FieldInfo(name=name, type=types.get(name, "text"), required=name == "emailaddress", read_only=True)
        for name in READ_ONLY
    ]
    return sorted([*settable, *seen], key=lambda each: each.name)


def _custom(field: CustomField) -> FieldInfo:
    return FieldInfo(name=field.name, type=TYPES.get(field.type, "text"), options=list(field.options))


def _basis(row: Row) -> str:
    return str(row.get("lawful_basis") or "processing purpose")


def _choice(row: Row, detail: str) -> Choice:
    return Choice(id=as_id(row) or "", name=str(row.get("name") or row.get("title") or ""), detail=detail)
