"""What the global options say, and the way from them to a configuration. Every command takes these options too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from esplanade.config.problems import remedy

from .output import Output, talk

if TYPE_CHECKING:
    from esplanade.config import Config
    from esplanade.runtime import Loaded
    from esplanade.store.port import Reader

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
LEVELS = ("debug", "info", "warning", "error")


class Session:
    """One run of the program: where its configuration is, how it prints, how much it logs."""

    def __init__(self) -> None:
        self.path = Path("connectors.yaml")
        self.as_json = False
        self.log_level: str | None = None

    @cached_property
    def out(self) -> Output:
        """Where results go."""
        return Output(as_json=self.as_json)

    @cached_property
    def loaded(self) -> Loaded:
        """The configuration and its plugins. Raises ConfigError."""
        from esplanade import runtime

        return runtime.load(self.path, os.environ)

    @property
    def config(self) -> Config:
        """The configuration. Raises ConfigError."""
        return self.loaded.config

    def connector(self, name: str) -> str:
        """A connector's name, when there is such a connector. Raises click.UsageError with the nearest."""
        known = self.config.connectors
        if name not in known:
            hint = remedy(name, known, otherwise="there are")
            raise click.UsageError(f"there is no connector {name!r} in {self.path}; {hint if known else 'it has none'}")
        return name

    def run(self, work: Coroutine[Any, Any, R], *, level: str = "warning") -> R:
        """Do asynchronous work, with the log on stderr from ``level`` up, unless ``--log-level`` says otherwise."""
        from esplanade.observe.logging import configure

        configure(self.log_level or level)
        with asyncio.Runner(loop_factory=_fast_loop()) as runner:
            return runner.run(work)

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """The store, read-only, beside whoever writes it. Raises StoreError when there is none yet."""
        from esplanade.store import locate

        with locate.reading(self.config.hub.store, self.config.path.parent) as reader:
            yield reader


pass_session = click.make_pass_decorator(Session, ensure=True)


def global_options(*, envvar: str | None = None) -> list[click.Parameter]:
    """``--config``, ``--json`` and ``--log-level``, which go before the command and after it."""
    return [
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path, dir_okay=False),
            envvar=envvar,
            expose_value=False,
            callback=_keep("path"),
            help="The configuration; else ESPLANADE_CONFIG, else connectors.yaml.",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            default=None,
            expose_value=False,
            callback=_keep("as_json"),
            help="Print the result as JSON, shaped as the HTTP API's.",
        ),
        click.Option(
            ["--log-level"],
            type=click.Choice(LEVELS),
            expose_value=False,
            callback=_keep("log_level"),
            help="The least that is logged, on stderr.",
        ),
    ]


def command(name: str, brief: str) -> Callable[[Callable[..., int]], click.Command]:
    """A command that takes the session first, and the global options too. ``brief`` stands in the list of commands."""

    def decorate(function: Callable[..., int]) -> click.Command:
        made: click.Command = click.command(name, short_help=brief)(pass_session(function))
        made.params.extend(global_options())
        return made

    return decorate


def warn(session: Session) -> None:
    """Say on stderr what is valid but unwise in the configuration."""
    for line in session.config.warnings:
        talk(f"warning: {line}")


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop, when it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value is not None:
            setattr(context.ensure_object(Session), name, value)

    return keep
