"""An event from flags. ``k=v`` is text; ``k:=v`` is JSON, for numbers, booleans, lists and null."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from esplanade.model import Kind

F = TypeVar("F", bound=Callable[..., Any])
_PAIRS = "K=V or K:=JSON"
_WHO = [
    click.option("--email", help="The person's address."),
    click.option("--id", help="The person's id in the customer data platform."),
]
_WHEN = [
    click.option("--at", help="When it happened: RFC 3339 with a zone, or epoch seconds."),
    click.option("--event-id", help="Counts once under this id, however often it is sent."),
    click.option("--source", metavar="NAME", help="As which source; else the first that may."),
]
_OWN: dict[Kind, list[Callable[[Any], Any]]] = {
    "profile": [
        click.option("--previous-email", metavar="EMAIL", help="The address until now."),
        click.option("--field", "fields", multiple=True, metavar=_PAIRS, help="A field; k:=null clears it."),
        click.option("--audience", "audiences", multiple=True, metavar="NAME", help="Is in this audience."),
        click.option("--no-audience", "no_audiences", multiple=True, metavar="NAME", help="Is not in this audience."),
        click.option(
            "--consent", "consents", multiple=True, metavar="PURPOSE=STATE", help="granted, denied or pending."
        ),
    ],
    "consent": [
        click.option("--purpose", help="What it is about, such as newsletter."),
        click.option("--state", type=click.Choice(["granted", "denied", "pending"]), help="What the person said."),
        click.option("--method", help="How, such as single or double."),
        click.option("--evidence", multiple=True, metavar=_PAIRS, help="What shows it, such as ip=192.0.2.1."),
    ],
    "trigger": [
        click.option("--trigger", help="Its name, such as abandoned-cart."),
        click.option("--trigger-id", help="The person gets one mail under this id, ever."),
        click.option("--language", help="The mail's language."),
        click.option("--expires-at", help="When it is too late: RFC 3339 with a zone, or epoch seconds."),
        click.option("--data", multiple=True, metavar=_PAIRS, help="A value for the mail."),
        click.option(
            "--products",
            type=click.Path(path_type=Path, exists=True, dir_okay=False),
            help='A JSON file: {"set": …, "items": […]}, or the items alone.',
        ),
    ],
}


def event_options(kind: Kind) -> Callable[[F], F]:
    """The flags of an event, and ``-`` for stdin."""

    def decorate(function: F) -> F:
        for option in reversed([*_WHO, *_OWN[kind], *_WHEN]):
            function = option(function)
        return click.argument("stdin", type=click.Choice(["-"]), required=False, metavar="[-]")(function)

    return decorate


def from_flags(kind: Kind, flags: dict[str, Any]) -> dict[str, Any]:
    """The event as the HTTP API takes it. Raises click.UsageError for what cannot be read."""
    event = dict(flags)
    for name in ("fields", "evidence", "data"):
        if name in event:
            event[name] = dict(_pair(text) for text in event[name])
    audiences = dict.fromkeys(event.pop("audiences", ()), True) | dict.fromkeys(event.pop("no_audiences", ()), False)
    if audiences:
        event["audiences"] = audiences
    if "consents" in event:
        event["consents"] = {name: state for name, _, state in (text.rpartition("=") for text in event["consents"])}
    for name in ("at", "expires_at"):
        if name in event:
            event[name] = _time(event[name])
    if "products" in event:
        event["products"] = _products(event["products"])
    for name in {"profile": (), "consent": ("email", "purpose", "state"), "trigger": ("email", "trigger")}[kind]:
        if name not in event:
            raise click.UsageError(f"a {kind} needs --{name}")
    return event


def _pair(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name.removesuffix(":"):
        raise click.UsageError(f"{text!r}: expected K=V for text, or K:=JSON for a number, true, false, null or a list")
    if not name.endswith(":"):
        return name, value
    try:
        return name.removesuffix(":"), msgspec.json.decode(value)
    except ValueError:
        raise click.UsageError(f"{text!r}: {value!r} is not JSON; write K=V for plain text") from None


def _time(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _products(path: Path) -> Any:
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise click.UsageError(f"--products {path}: not readable as JSON: {problem}") from None
    return {"items": found} if isinstance(found, list) else found
