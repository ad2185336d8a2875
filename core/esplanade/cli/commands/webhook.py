"""A captured webhook, tried against what connectors.yaml says of how to read it."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import click
import msgspec

from esplanade.bodies import FORMS
from esplanade.cli.output import Table
from esplanade.cli.session import Session, command, global_options

if TYPE_CHECKING:
    from esplanade.bodies import Form, Found
    from esplanade.cli.trying import Tried
    from esplanade.model import Report

FAILED = 1


@click.group("webhook", short_help="try how a captured webhook is read")
def webhook() -> None:
    """Try how a captured webhook is read."""


@command("try", "show what a captured webhook would become")
@click.argument("file", type=click.File("rb"))
@click.option("--connector", help="Whose webhook it is; else the only connector that has a `webhook:`.")
@click.option("--content-type", type=click.Choice(FORMS), help="What the body is, whatever the connector says.")
@click.option("--online", is_flag=True, help="Also read the contact at the vendor, as the hub would.")
def try_(session: Session, file: IO[bytes], *, connector: str | None, content_type: Form | None, online: bool) -> int:
    """Show what a captured webhook would become, by the connector's `webhook:`. Nothing is stored or sent.

    FILE, or - for stdin, is the raw HTTP request (its first line, headers, an empty line, the body), or the body alone.
    Whether the request is the vendor's (its secret, its signature) is not asked. Ends with 1 where the request cannot be read.
    """
    from esplanade.cli.captured import captured
    from esplanade.cli.trying import try_webhook

    name = _connector(session, connector)
    request = captured(file.read())
    tried = session.run(try_webhook(session, name, request, content_type, online=online))
    columns = ("what", "found")
    session.out.show(
        msgspec.to_builtins(tried),
        Table(columns=columns, rows=_read(tried)),
        "",
        _title(tried),
        Table(columns=columns, rows=_comes(tried)),
    )
    return FAILED if tried.goes_to == "dead letter" else 0


def _connector(session: Session, wanted: str | None) -> str:
    if wanted is not None:
        return session.connector(wanted)
    having = [name for name, one in session.config.connectors.items() if one.webhook is not None]
    if len(having) == 1:
        return having[0]
    among = f"there are {', '.join(having)}" if having else f"no connector in {session.path} has a `webhook:`"
    raise click.UsageError(f"say whose webhook it is with --connector; {among}")


def _read(tried: Tried) -> list[tuple[str, object]]:
    read = tried.read
    form = f"{read.form}, {read.bytes} bytes" if read.form else "none"
    if read.broken:
        form = f"{read.form}, but {read.broken}" if read.form else read.broken
    known = ", ".join(tried.events) or "none, the connector has no `webhook:`"
    return [
        ("connector", tried.connector),
        ("call", " ".join(filter(None, (read.method, read.content_type)))),
        ("body", form),
        *((f"  {key}", value) for key, value in _lines(read.body)),
        *([("query has", read.query)] if read.query else []),
        ("event", _where(tried.event)),
        *([("address", _where(tried.address))] if tried.address else []),
        ("rule", tried.rule or f"none; there are rules for: {known}"),
    ]


def _lines(body: object) -> list[tuple[str, object]]:
    return [(key, _words(value)) for key, value in body.items()] if isinstance(body, dict) else []


def _words(value: object) -> object:
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value


def _where(found: Found | None) -> str:
    if found is None:
        return "none"
    return f"{found.value}, " + (
        f"at {found.path} in the {found.where}" if found.path else f"the only one in the {found.where}"
    )


def _title(tried: Tried) -> str:
    match tried.goes_to, tried.contact:
        case "plugin", _:
            asked = "" if tried.asked else "; --online shows what it makes of it"
            return f"No rule is for it, so the plugin gets the call as it came{asked}."
        case "dead letter", _:
            return "The call is kept as a dead letter: no rule is for it, and the plugin reads no webhooks."
        case _, None:
            return "The contact is read again first; where the vendor has none, nothing of this counts."
    return "The vendor has the contact, and this follows."


def _comes(tried: Tried) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    if tried.contact is not None:
        rows += [(f"contact: {name}", value) for name, value in tried.contact.fields.items()]
        rows += [(f"contact: {purpose}", held) for purpose, held in tried.contact.consents.items()]
        rows += [(f"contact: {name}", member) for name, member in tried.contact.audiences.items()]
    for report in tried.reports:
        rows += [("contact", _who(report))] if tried.goes_to == "plugin" else []
        rows += [(f"field {name}", value) for name, value in report.fields.items()]
        rows += [(f"consent {purpose}", _consent(tried, held)) for purpose, held in report.consents.items()]
    for each in tried.triggers:
        rows.append((f"trigger {each.name}", _words(each.data)))
        rows.append(("  repeats", "count once, by its event_id" if each.event_id else "count each"))
    return rows


def _who(report: Report) -> str:
    return ", ".join(filter(None, (report.email, report.remote_id, "deleted" if report.deleted else "")))


def _consent(tried: Tried, held: str) -> str:
    return "granted, where the contact shows it" if held == "granted" and tried.contact is None else held


webhook.params.extend(global_options())
webhook.add_command(try_)
