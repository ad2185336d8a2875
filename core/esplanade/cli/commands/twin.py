"""One vendor's twin on its own."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from pathlib import Path
from typing import Any

import click
import msgspec

from esplanade.cli.operator import OperationError
from esplanade.cli.ports import listener
from esplanade.cli.session import Session, command
from esplanade.config.problems import remedy
from esplanade.errors import ConfigError

INTERRUPTED = 130


@command("twin", "run a vendor's twin on its own")
@click.argument("name")
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="The port to listen on; else a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--faults", type=click.Path(path_type=Path), help="A JSON file of scripted faults.")
def twin(session: Session, name: str, *, port: int, host: str, faults: Path | None) -> int:
    """Run a vendor's twin until it is stopped; NAME is a plugin, or a connector of the configuration.

    Prints its base URL and credentials as one line of JSON.
    """
    return session.run(_serve(session, name, host, port, _faults(faults)), level="info")


async def _serve(session: Session, name: str, host: str, port: int, faults: list[Any]) -> int:
    from esplanade.registry import find

    reference, base = _reference(session, name)
    made = find(reference, base).twin()
    if made is None:
        raise OperationError(f"the plugin {reference} has no twin")
    running = made(made.demo_settings(), faults=faults)
    stop: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(code: int) -> None:
        if not stop.done():
            stop.set_result(code)

    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, INTERRUPTED)):
        asyncio.get_running_loop().add_signal_handler(number, end, code)
    try:
        try:
            origin = await running.start(host, port)
        except OSError as problem:
            who = listener(port) if problem.errno == errno.EADDRINUSE else None
            why = f"is in use by {who or 'another program'}" if problem.errno == errno.EADDRINUSE else problem.strerror
            raise OperationError(f"cannot listen on {host}:{port}: {why}; choose another --port") from None
        line = {"twin": running.name, "base_url": origin, **running.credentials()}
        click.echo(msgspec.json.encode(line).decode())
        return await stop
    finally:
        await running.stop()


def _reference(session: Session, name: str) -> tuple[str, Path]:
    """The plugin that a name means, and where paths begin."""
    from esplanade.config import read
    from esplanade.registry import installed

    names = [one.name for one in installed()]
    if name in names:
        return name, session.path.parent
    try:
        connectors = read(session.path, os.environ).plugins()
    except ConfigError:
        connectors = {}
    if name in connectors:
        return connectors[name], session.path.parent
    hint = remedy(name, dict.fromkeys([*names, *connectors]), otherwise="there are")
    raise click.UsageError(f"there is no plugin or connector {name!r}; {hint}")


def _faults(path: Path | None) -> list[Any]:
    from esplanade.testing import load_faults

    if path is None:
        return []
    try:
        return list(load_faults(path))
    except OSError as problem:
        raise OperationError(f"--faults {path}: cannot be read: {problem.strerror}") from None
    except ValueError as problem:
        raise OperationError(f"--faults {path}: {problem}; it must be a JSON list of faults") from None
