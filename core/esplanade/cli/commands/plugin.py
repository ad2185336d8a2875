"""One plugin, tried against the rules that every plugin is held to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from esplanade.cli.output import talk
from esplanade.cli.session import Session, command, global_options
from esplanade.config.problems import printable, remedy

if TYPE_CHECKING:
    from esplanade.conformance import Quality, Result, Tier
    from esplanade.connector import Connector

FAILED = 1
TIERS = ("bronze", "silver", "gold", "platinum")


@click.group("plugin", short_help="try a plugin against the rules")
def plugin() -> None:
    """Try a plugin against the rules that every plugin is held to."""


@command("test", "run the conformance suite and print the tier reached")
@click.argument("name")
@click.option("--tier", type=click.Choice(TIERS), default="silver", show_default=True, help="The tier to reach.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the report goes, as JSON; else conformance-NAME.json.",
)
def try_plugin(session: Session, name: str, *, tier: Tier, report: Path | None) -> int:
    """Try every rule up to a tier; NAME is an installed plugin, or ./path/to/plugin.py with a quality.yaml beside it.

    Each rule is shown with what became of it as soon as that is known; the report holds the same as JSON. Ends with 1
    where a rule failed, or has no check yet.
    """
    from esplanade.conformance import Report, load_quality, tier_of
    from esplanade.registry import find, version_of

    reference = _reference(name)
    found = find(reference, Path())
    quality = load_quality(found)
    results = session.run(_run(session, reference, found, quality, tier))
    reached = tier_of(results)
    title = Path(name).stem if reference != name else name
    whole = Report(plugin=title, version=version_of(reference), tier=reached, results=results)
    path = report or Path(f"conformance-{title}.json")
    path.write_bytes(msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n")
    wrong = [each.id for each in results if each.status in {"failed", "missing"}]
    words = (
        f"{title} {whole.version} reaches {reached}" if reached else f"{title} {whole.version} does not reach bronze"
    )
    counts = Counter(each.status for each in results)
    counted = ", ".join(f"{many} {what}" for what, many in counts.items())
    session.out.show(msgspec.to_builtins(whole), f"{words}: {counted}")
    talk(f"the report is in {path}")
    return FAILED if wrong else 0


async def _run(session: Session, name: str, found: type[Connector[Any]], quality: Quality, tier: Tier) -> list[Result]:
    """Try the rules and show each. What their hubs log is of interest only to somebody who asks for it."""
    from contextlib import nullcontext

    from esplanade.conformance import run
    from esplanade.conformance.logs import captured

    results = []
    with nullcontext() if session.log_level else captured():
        async for each in run(name, found, quality, up_to=tier):
            results.append(each)
            if not session.as_json:
                click.echo(f"{each.id:4} {each.tier:8} {each.status:8} {each.rule}")
                if each.detail:
                    click.echo(f"     {printable(each.detail)}")
    return results


def _reference(name: str) -> str:
    """What ``plugin:`` of a connectors.yaml would say. Raises click.UsageError with the nearest name."""
    from esplanade.registry import installed
    from esplanade.registry.find import is_file

    if is_file(name):
        path = Path(name)
        if not path.is_file():
            raise click.UsageError(f"there is no file {name}")
        return str(path.resolve())
    names = dict.fromkeys(each.name for each in installed())
    if name not in names:
        raise click.UsageError(f"there is no plugin {name!r}; {remedy(name, names, otherwise='there are')}")
    return name


plugin.params.extend(global_options())
plugin.add_command(try_plugin)
