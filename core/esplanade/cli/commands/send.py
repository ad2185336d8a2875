"""One event, or many from stdin, sent in as one of the sources."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import IO, Any

import click
import msgspec

from esplanade.cli.flags import event_options, from_flags
from esplanade.cli.operator import OperationError, Refusal, Taken, batches
from esplanade.cli.output import talk
from esplanade.cli.reach import operator
from esplanade.cli.session import Session, command, global_options
from esplanade.config.problems import remedy
from esplanade.model import Kind


@click.group("send", short_help="send a profile, consent or trigger in")
def send() -> None:
    """Send events in, from flags or as JSON on stdin (-)."""


@command("profile", "fields, audiences and consents of a person")
@event_options("profile")
def send_profile(session: Session, **given: Any) -> int:
    """Send a person's fields, audiences and consents."""
    return _send(session, "profile", given)


@command("consent", "what a person said about a purpose")
@event_options("consent")
def send_consent(session: Session, **given: Any) -> int:
    """Send what a person said about a purpose."""
    return _send(session, "consent", given)


@command("trigger", "what shall reach a person now")
@event_options("trigger")
def send_trigger(session: Session, **given: Any) -> int:
    """Send what happened and shall reach the person now."""
    return _send(session, "trigger", given)


send.params.extend(global_options())
for kind_of_event in (send_profile, send_consent, send_trigger):
    send.add_command(kind_of_event)


def _send(session: Session, kind: Kind, given: dict[str, Any]) -> int:
    stdin, wanted = given.pop("stdin"), given.pop("source")
    flags = {name: value for name, value in given.items() if value not in {None, ()}}
    if stdin and flags:
        raise click.UsageError("with - the events come from stdin; leave the other flags out")
    if not stdin and not flags:
        raise click.UsageError("say what to send, with flags or with - and JSON on stdin; see --help")
    event = None if stdin else msgspec.json.encode(from_flags(kind, flags))
    source = _source(session, kind, wanted)
    items = iter([event]) if event is not None else _items(sys.stdin.buffer)

    async def work() -> Taken:
        whole = Taken()
        async with operator(session) as hub:
            for batch in batches(items, len):
                whole = _joined(whole, await hub.send(source, kind, batch))
        return whole

    taken = session.run(work())
    session.out.show(msgspec.to_builtins(taken), *taken.ids)
    for one in taken.rejected:
        where = f"item {one.index}: " if stdin else ""
        talk(f"{where}{one.path}: {one.error}")
    return 0 if taken.accepted and not taken.rejected else 1


def _source(session: Session, kind: Kind, wanted: str | None) -> str:
    sources = session.config.sources
    if wanted is not None and wanted not in sources:
        raise click.UsageError(
            f"there is no source {wanted!r} in {session.path}; {remedy(wanted, sources, otherwise='there are')}"
        )
    name = wanted or next((name for name, one in sources.items() if kind in one.may), None)
    if name is None:
        raise OperationError(f"no source in {session.path} may send a {kind}; add {kind} to a source's may")
    if kind not in sources[name].may:
        raise OperationError(f"source {name} may not send a {kind}; add {kind} to sources.{name}.may in {session.path}")
    return name


def _items(stream: IO[bytes]) -> Iterator[bytes]:
    """An array's items, a single object however it is laid out, or one item a line."""
    start = b""
    while not start.strip():
        start = stream.readline()
        if not start:
            raise OperationError("nothing came on stdin; expected a JSON object, an array, or one object a line")
    if _is_whole(start):
        yield start.strip()
        yield from filter(None, map(bytes.strip, stream))
        return
    rest = start + stream.read()
    try:
        found = msgspec.json.decode(rest, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
    except ValueError as problem:
        raise OperationError(f"what came on stdin is not JSON: {problem}") from None
    # One line each, however it was laid out.
    for item in found if isinstance(found, list) else [rest]:
        yield msgspec.json.format(bytes(item), indent=-1)


def _is_whole(line: bytes) -> bool:
    """Whether a line is a JSON object by itself."""
    try:
        return isinstance(msgspec.json.decode(line), dict)
    except ValueError:
        return False


def _joined(whole: Taken, more: Taken) -> Taken:
    """Both answers as one to all items."""
    first = whole.accepted + len(whole.rejected)
    shifted = [Refusal(index=one.index + first, path=one.path, error=one.error) for one in more.rejected]
    return Taken(accepted=whole.accepted + more.accepted, ids=whole.ids + more.ids, rejected=whole.rejected + shifted)
