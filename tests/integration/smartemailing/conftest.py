"""A page of docs/how-to as an operator follows it: its connectors on twins, its files, and its commands beside the running hub."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest
import structlog
from ruamel.yaml import YAML

from esplanade import runtime
from esplanade.cli.program import run
from esplanade.model import Kind
from esplanade.observe.logging import configure
from esplanade.records import DeliveryFilter
from esplanade.testing import FakeClock
from esplanade_smartemailing.twin import SmartEmailingTwin
from esplanade_webhook.twin import Triggered, WebhookTwin

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
HUB = """\
hub: {listen: "127.0.0.1:0", timezone: Europe/Amsterdam, language: nl}
sources: {shop: {token: a-token-of-the-shop-1}}
"""
ADA = "ada@example.com"


class Page:
    """One page, and what an operator takes from it."""

    def __init__(self, name: str) -> None:
        self.text = (HOW_TO / f"{name}.md").read_text("utf-8")

    def blocks(self, language: str) -> list[str]:
        """The blocks of a language, in order."""
        return re.findall(rf"^```{language}\n(.*?)^```", self.text, re.DOTALL | re.MULTILINE)

    def connectors(self, variant: int = 0) -> str:
        """A block that is a connectors.yaml; the first, or a later one."""
        return self.blocks("yaml")[variant]

    @property
    def files(self) -> dict[str, str]:
        """What is to be saved, by the name that stands before it."""
        return dict(re.findall(r"`([\w-]+\.json)`:\n\n```json\n(.*?)```", self.text, re.DOTALL))

    def bodies(self) -> dict[str, str]:
        """What is to be pasted, by the heading that it stands under."""
        return dict(re.findall(r"^#{3,4} ([^\n]+)\n\n```json\n(.*?)```", self.text, re.DOTALL | re.MULTILINE))

    def commands(self) -> dict[str, list[list[str]]]:
        """The commands of each block of sh, by the heading that it stands under."""
        found: dict[str, list[list[str]]] = {}
        heading = ""
        for line in re.findall(r"^#+ [^\n]+|^```sh\n.*?^```", self.text, re.DOTALL | re.MULTILINE):
            if line.startswith("#"):
                heading = line.lstrip("# ")
                continue
            lines = line.removeprefix("```sh\n").removesuffix("```").replace("\\\n", " ").splitlines()
            found.setdefault(heading, []).extend(shlex.split(each, comments=True) for each in lines if each.strip())
        return found


class World:
    """A hub on the connectors of a page, with a clock that is moved by hand."""

    def __init__(self, page: Page, folder: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.page = page
        self.folder = folder
        self.clock = clock
        self.loaded = runtime.load(folder / "connectors.yaml", {})
        self.hub: runtime.Hub
        self._patch = monkeypatch

    async def start(self) -> None:
        self.hub = await runtime.Hub.start(self.loaded, clock=self.clock)
        await self.hub.webhooks("smartemailing")  # after those that it has registered by itself at its start
        await self.rest()

    @property
    def mailer(self) -> SmartEmailingTwin:
        twin = self.hub.connections["smartemailing"].twin
        assert isinstance(twin, SmartEmailingTwin)
        return twin

    @property
    def cdp(self) -> WebhookTwin:
        twin = self.hub.connections["cdp"].twin
        assert isinstance(twin, WebhookTwin)
        return twin

    async def rest(self) -> None:
        """Return once nobody has anything more to say."""
        async with asyncio.timeout(20):
            while True:
                before = self.mailer.request_count, self.mailer.calls_made
                await self.hub.settled()
                await self.mailer.settled()
                await self.hub.settled()
                if before == (self.mailer.request_count, self.mailer.calls_made):
                    return

    async def later(self, seconds: float) -> None:
        """So much later, of which the last minute is gone through sleeper by sleeper."""
        self.clock.set(self.clock.time() + max(seconds - 60, 0))
        await self.clock.advance(min(seconds, 60))
        await self.rest()

    async def do(self, heading: str, *, only: str = "", without: str = "nothing") -> None:
        """Run the commands under a heading as they stand: ``only`` those with a word in them, or those without one."""
        said = [(each, " ".join(each)) for each in self.page.commands()[heading]]
        chosen = [each for each, text in said if only in text and without not in text]
        assert chosen
        for command in chosen:
            await self.run(*command)

    async def run(self, *command: str) -> None:
        """Run one command beside the hub, and let everything follow that follows from it."""
        assert command[0] == "esplanade"
        arguments = list(command[1:])
        if "<" in arguments:
            at = arguments.index("<")
            content = (self.folder / arguments[at + 1]).read_bytes()
            self._patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
            del arguments[at : at + 2]
        code = await asyncio.to_thread(run, arguments)
        configure("error")
        assert code == 0, command
        await self.rest()

    async def send(self, kind: Kind, *events: Mapping[str, Any]) -> None:
        """Take events in as the shop sends them, and let everything follow that follows from them."""
        admission = self.hub.intake.admit("shop", kind, [msgspec.json.encode(each) for each in events], may={kind})
        assert not admission.rejected
        await self.hub.intake.accept(admission.entries)
        await self.rest()

    # What came of it.

    def contact(self, email: str = ADA) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.mailer.snapshot()["contacts"].get(email)
        return found

    def statuses(self, email: str = ADA) -> dict[str, str]:
        """What a contact is on each list, by the list's name."""
        lists = self.mailer.snapshot()["lists"]
        contact = self.contact(email)
        return {lists[number]: status for number, status in contact["lists"].items()} if contact else {}

    def mails(self, email: str = ADA) -> list[dict[str, Any]]:
        return [each for each in self.mailer.account.mails if each["emailaddress"] == email]

    def told(self, email: str = ADA) -> list[tuple[str, dict[str, Any]]]:
        """The triggers that the CDP was told of: name and data."""
        return [(each.trigger, each.data) for each in self.triggers(email)]

    def triggers(self, email: str = ADA) -> list[Triggered]:
        return [each for each in self.cdp.triggers if each.email == email]

    async def reasons(self, email: str = ADA, *, connector: str = "smartemailing") -> list[str | None]:
        """Why something was not sent to a connector for a person."""
        person = await self.hub.store.run(lambda unit: unit.person_by_email(email))
        assert person is not None
        notes = await self.hub.store.run(lambda unit: unit.timeline(person.id))
        return [each.reason for each in notes if each.what == "not-sent" and each.connector == connector]

    async def field(self, name: str, email: str = ADA) -> Any:
        """What the hub itself holds of a person."""
        person = await self.hub.store.run(lambda unit: unit.person_by_email(email))
        assert person is not None
        return person.fields[name].value

    async def calls(self) -> list[tuple[str, str | None]]:
        """How each call of SmartEmailing ended: its state and its last error."""
        wanted = DeliveryFilter(connector="smartemailing", kind="webhook")
        found = await self.hub.store.run(lambda unit: unit.deliveries(wanted, limit=1_000))
        return [(each.state, each.last_error) for each, _ in found]


class Follow(Protocol):
    """Follow a page: write its connectors.yaml and its files as they stand, and run a hub there."""

    def __call__(self, name: str, variant: int = 0, *, begins: datetime | None = None) -> Awaitable[World]: ...


@pytest.fixture(autouse=True)
def quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Errors only, on stderr."""
    configure("error")
    yield
    structlog.reset_defaults()


@pytest.fixture
async def follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Follow]:
    """Whoever follows pages, within this test."""
    worlds: list[World] = []
    monkeypatch.chdir(tmp_path)
    for name in ("ESPLANADE_CONFIG", *(each for each in os.environ if each.startswith(("SMARTEMAILING_", "CDP_")))):
        monkeypatch.delenv(name, raising=False)

    async def started(name: str, variant: int = 0, *, begins: datetime | None = None) -> World:
        page = Page(name)
        (tmp_path / "connectors.yaml").write_text(HUB + page.connectors(variant), "utf-8")
        for file, content in page.files.items():
            (tmp_path / file).write_text(content, "utf-8")
        clock = FakeClock() if begins is None else FakeClock(begins.timestamp())
        world = World(page, tmp_path, clock, monkeypatch)
        assert world.loaded.config.warnings == []
        await world.start()
        worlds.append(world)
        return world

    yield started
    for world in worlds:
        await world.hub.stop()


def read_yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)
