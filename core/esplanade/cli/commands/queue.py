"""What waits, what was given up, and sending it again."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

from esplanade.cli.operator import OperationError, Wanted, moment
from esplanade.cli.output import Table, counted, talk
from esplanade.cli.reach import operator
from esplanade.cli.session import Session, command
from esplanade.errors import EventError

F = TypeVar("F", bound=Callable[..., Any])
KINDS = ("profile", "consent", "trigger", "webhook", "fetch", "fold")
_DELIVERY = (
    "id",
    "connector",
    "kind",
    "subject",
    "email",
    "state",
    "urgency",
    "attempts",
    "due_at",
    "reason",
    "last_error",
)
_ATTEMPT = ("at", "took s", "outcome", "request", "sent", "error")
WAITING = ["pending", "in_flight", "parked"]
DEAD = ["dead"]


def _moment(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    try:
        return None if value is None else moment(value)
    except ValueError as problem:
        raise click.BadParameter(str(problem), context, parameter) from None


def filters(function: F) -> F:
    """The options that choose deliveries."""
    options = [
        click.option("--connector", metavar="NAME", help="Of this connector."),
        click.option("--kind", type=click.Choice(KINDS), help="Of this kind."),
        click.option("--email", help="Of this person."),
        click.option("--reason", help="That carry this reason, such as outcome-unknown."),
        click.option(
            "--since",
            metavar="TIME",
            callback=_moment,
            help="First tried since: RFC 3339, or how long ago, such as 2h.",
        ),
        click.option("--until", metavar="TIME", callback=_moment, help="First tried until: RFC 3339, or how long ago."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def pages(function: F) -> F:
    """The options that go through long lists."""
    limit = click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many.")
    return limit(click.option("--after", metavar="ID", default=None, help="Those after this id.")(function))


@command("queue", "deliveries that wait")
@filters
@pages
def queue(session: Session, **chosen: Any) -> int:
    """List the deliveries that wait, run, or are parked."""
    return _list(session, WAITING, "nothing waits", chosen)


@command("dead", "deliveries that were given up")
@filters
@pages
def dead(session: Session, **chosen: Any) -> int:
    """List the deliveries that were given up, with the vendor's last error."""
    return _list(session, DEAD, "no dead letters", chosen)


@command("delivery", "one delivery, with every attempt at it")
@click.argument("delivery", metavar="d-12")
def delivery(session: Session, delivery: str) -> int:
    """Show one delivery with the log of its attempts: when, how long, what was sent and what the vendor said.

    Of a request only its shape is kept, of an answer only the start, and neither with addresses or secrets in it.
    """
    from esplanade.views import one_delivery_view

    try:
        with session.reading() as reader:
            view = one_delivery_view(reader, delivery, now=time.time())
    except EventError as problem:
        raise click.BadParameter(problem.message, param_hint="d-12") from None
    if view is None:
        raise OperationError(f"there is no delivery {delivery}; finished ones are kept for hub.retention")
    log = view["log"]
    session.out.show(view, _deliveries([view]), Table(columns=_ATTEMPT, rows=[_attempt(each) for each in log]))
    if not log:
        talk("no call was made for it yet")
    return 0


@command("replay", "send deliveries again")
@click.option("--id", "ids", multiple=True, metavar="d-12", help="This delivery; may be repeated.")
@filters
@click.option(
    "--force", is_flag=True, help="With --id: also a trigger that was delivered, or whose outcome is unknown."
)
def replay(session: Session, *, ids: tuple[str, ...], force: bool, **chosen: Any) -> int:
    """Send deliveries again. At least one filter must say which."""
    wanted = _wanted(session, {**chosen, "ids": list(ids) or None})
    if wanted == Wanted():
        raise click.UsageError(
            "say which: give at least one of --id, --connector, --kind, --email, --reason, --since, --until"
        )
    if force and not ids:
        raise click.UsageError("--force may send a person the same mail twice, so name each delivery with --id")
    _see_that_they_exist(session, ids)

    async def work() -> int:
        async with operator(session) as hub:
            return await hub.replay(wanted, force=force)

    replayed = session.run(work())
    session.out.show({"replayed": replayed}, f"{counted(replayed, 'delivery', 'deliveries')} will be sent again")
    return 0


def _see_that_they_exist(session: Session, ids: tuple[str, ...]) -> None:
    """Raise OperationError naming the deliveries that are not there, so that none is sent when one was mistyped."""
    from esplanade.views import delivery_number

    if not ids:
        return
    numbers = sorted(set(map(delivery_number, ids)))
    with session.reading() as reader:
        missing = [f"d-{number}" for number in numbers if reader.delivery(number) is None]
    if missing:
        raise OperationError(f"there is no delivery {', '.join(missing)}")


def _list(session: Session, states: list[str], nothing: str, chosen: dict[str, Any]) -> int:
    from msgspec.structs import replace

    from esplanade.views import deliveries_view, delivery_number

    limit, after = chosen.pop("limit"), chosen.pop("after")
    wanted = replace(_wanted(session, chosen).filter(), states=states)
    first = delivery_number(after) if after else 0
    with session.reading() as reader:
        view = deliveries_view(reader, wanted, now=time.time(), after=first, limit=limit)
    found = view["deliveries"]
    session.out.show(view, _deliveries(found))
    if session.as_json:
        return 0
    if not found:
        talk(nothing)
    if view["next"]:
        talk(f"there are more: --after {view['next']}")
    return 0


def _deliveries(found: list[dict[str, Any]]) -> Table:
    rows = [[one[name] for name in _DELIVERY] for one in found]
    return Table(columns=[name.replace("_", " ") for name in _DELIVERY], rows=rows)


def _attempt(one: dict[str, Any]) -> list[Any]:
    exchange = one["exchange"] or {}
    call = " ".join(str(exchange[part]) for part in ("method", "path", "status") if exchange.get(part) is not None)
    return [one["at"], one["took_s"], one["outcome"], call, exchange.get("sent"), one["error"]]


def _wanted(session: Session, chosen: dict[str, Any]) -> Wanted:
    if chosen.get("connector") is not None:
        session.connector(chosen["connector"])
    wanted = Wanted(**chosen)
    try:
        wanted.filter()
    except EventError as problem:
        raise click.UsageError(f"{problem.path.removeprefix('$.')}: {problem.message}") from None
    return wanted
