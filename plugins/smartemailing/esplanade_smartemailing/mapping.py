"""From the hub's events to the rows of an import, and from a contact to a report. Pure: no I/O, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esplanade import Held, PermanentError, Report

from .client import CONFIRMED, UNSUBSCRIBED, Row, as_id
from .settings import BUILT_IN, SmartEmailingConsent
from .values import READ_ONLY, WITH_OPTIONS, custom, knows, own, shown_custom, shown_own

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esplanade import ConsentTarget, Value

    from .settings import DoubleOptIn, SmartEmailingSettings
    from .values import CustomField


def contact_row(
    email: str, values: Mapping[str, Value], fields: Mapping[str, CustomField], settings: SmartEmailingSettings
) -> Row:
    """One contact of an import with these values. Raises PermanentError naming the field that cannot be written."""
    row: Row = {"emailaddress": email}
    custom_fields = []
    for name, value in values.items():
        if name in BUILT_IN:
            row[name] = own(name, value, settings)
        elif name in fields:
            custom_fields.append(custom(fields[name], value, settings))
        else:
            raise PermanentError(
                f"SmartEmailing has no custom field {name}; make it there, or correct its name in connectors.yaml"
            )
    if custom_fields:
        row["customfields"] = custom_fields
    return row


def acknowledged(
    values: Mapping[str, Value], row: Row, fields: Mapping[str, CustomField], settings: SmartEmailingSettings
) -> dict[str, Value] | None:
    """Where the vendor holds a value in another form than the hub has it, such as a time cut to its day; None when nowhere.

    ``row`` is what was made of the values.
    """
    written = {"customfields": [], **row}
    options: list[Row] = []
    for each in written["customfields"]:
        if "options" in each:
            options += [{"customfield_id": each["id"], "customfield_options_id": number} for number in each["options"]]
        else:
            options.append({"customfield_id": each["id"], "value": each["value"]})
    shown = shown_values({**row, "customfields": options}, values, fields, settings.esp_timezone)
    return {name: held for name, held in shown.items() if held != values[name]} or None


def on_list(number: int, status: str) -> Row:
    """A contact's place on a list."""
    return {"id": number, "status": status}


def import_settings(settings: SmartEmailingSettings, *, preserve: bool, skip: bool, asking: DoubleOptIn | None) -> Row:
    """The settings of an import, each of them said, for the vendor's defaults write over what the hub owns (section 5).

    ``preserve``: whoever opted out stays so. ``asking``: what is imported is stored only after a click (section 6).
    """
    said: Row = {
        "update": True,
        "add_namedays": settings.add_namedays,
        "add_genders": settings.add_genders,
        "add_salutions": settings.add_salutions,
        "preserve_unsubscribed": preserve,
        "skip_invalid_emails": skip,
    }
    if asking is None:
        return said
    campaign: Row = {
        "email_id": asking.email_id,
        "sender_credentials": {
            "from": asking.from_address,
            "sender_name": asking.sender_name,
            "reply_to": asking.reply_to,
        },
    }
    if asking.thank_you_page is not None:
        campaign["confirmation_thank_you_page_url"] = asking.thank_you_page
    # new-in-database stores whom the vendor knows without a click, which must not lift an opt-out
    mode = asking.mode if preserve else "all"
    silence = {"unit": "seconds", "value": int(asking.silence)}
    return {
        **said,
        "double_opt_in_settings": {"campaign": campaign, "send_to_mode": mode, "silence_period": silence},
    }


# From the vendor.


def report(
    row: Row,
    *,
    names: Iterable[str],
    fields: Mapping[str, CustomField],
    consents: Mapping[str, ConsentTarget],
    audiences: Mapping[str, int],
    zone: str,
    absences: bool,
) -> Report:
    """What a whole contact holds of ``names``. ``audiences``: their lists. ``absences`` says so of lists that it is not on."""
    return Report(
        remote_id=as_id(row),
        email=row["emailaddress"],
        fields=shown_values(row, names, fields, zone),
        consents=held(row, consents, absences=absences),
        audiences={name: statuses(row).get(number) == CONFIRMED for name, number in audiences.items()},
    )


def held(row: Row, consents: Mapping[str, ConsentTarget], *, absences: bool) -> dict[str, Held]:
    """What a contact holds for each purpose; whoever is blacklisted gets no mail at all (section 6)."""
    found: dict[str, Held] = {}
    on, gets_none = statuses(row), is_blacklisted(row)
    for purpose, target in consents.items():
        if not isinstance(target, SmartEmailingConsent):
            continue
        status = on.get(target.list)
        if gets_none or status == UNSUBSCRIBED:
            found[purpose] = "denied"
        elif status == CONFIRMED:
            found[purpose] = "granted"
        elif absences:
            found[purpose] = "absent"
    return found


def is_blacklisted(row: Row) -> bool:
    """Whether a contact is never to be mailed again."""
    return str(row.get("blacklisted")) in {"1", "True"}


def statuses(row: Row) -> dict[int, str]:
    """What a contact is on each list, by the list's id."""
    rows = ((as_id(each, "contactlist_id"), each.get("status")) for each in row["contactlists"])
    return {int(number): str(status) for number, status in rows if number is not None}


def shown_values(row: Row, names: Iterable[str], fields: Mapping[str, CustomField], zone: str) -> dict[str, Value]:
    """What a contact says of these fields; of those that it does not show, or shows with options not known, nothing."""
    found: dict[str, Value] = {}
    for name in names:
        if name in BUILT_IN or name in READ_ONLY:
            if name in row:
                found[name] = shown_own(name, row[name], zone)
        elif name in fields:
            mine = _of(fields[name], row)
            if knows(fields[name], mine):
                found[name] = shown_custom(fields[name], mine, zone)
    return found


def is_outdated(rows: Iterable[Row], fields: Mapping[str, CustomField]) -> bool:
    """Whether contacts have options that are not known."""
    chosen = [each for each in fields.values() if each.type in WITH_OPTIONS]
    return not all(knows(each, _of(each, row)) for row in rows for each in chosen)


def _of(field: CustomField, row: Row) -> list[Row]:
    number = str(field.id)
    return [each for each in row["customfields"] if as_id(each, "customfield_id") == number]
