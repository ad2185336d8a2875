"""The group of all commands, and what an ending means to the shell.

0 ok, 1 the operation failed, 2 usage, 3 the configuration is not valid, 4 a connector check failed, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from esplanade import __version__
from esplanade.errors import ConfigError, EsplanadeError

from .commands import COMMANDS
from .output import talk
from .session import global_options

FAILED, USAGE, CONFIG, CHECK, INTERRUPTED = 1, 2, 3, 4, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="esplanade", message="%(prog)s %(version)s")
def esplanade() -> None:
    """Keeps a customer data platform and its e-mail providers telling the same story about every person."""


esplanade.params.extend(global_options(envvar="ESPLANADE_CONFIG"))
for each in COMMANDS:
    esplanade.add_command(each)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and end the process."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has seen enough; the interpreter's own flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    sys.exit(code)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; what is expected to go wrong is said on stderr."""
    try:
        result = esplanade.main(
            args=list(arguments) if arguments is not None else None, prog_name="esplanade", standalone_mode=False
        )
    except click.exceptions.NoArgsIsHelpError as problem:
        talk(problem.format_message())
        return USAGE
    except click.ClickException as problem:
        problem.show()
        return problem.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except ConfigError as problem:
        for line in problem.problems:
            talk(line)
        return CONFIG
    except BrokenPipeError:
        raise
    except (EsplanadeError, OSError) as problem:
        talk(f"esplanade: {problem}")
        return FAILED
    return result if isinstance(result, int) else 0
