"""A folder as an operator has it, the program run in it, and a hub that serves it from this process."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest
import structlog
from msgspec import Struct

from esplanade import runtime
from esplanade.cli.program import run
from esplanade.observe.logging import configure

CONNECTORS = """\
hub:
  listen: 127.0.0.1:0
  public_url: http://127.0.0.1:8600
  admin_token: an-admin-token-of-tests
  secret: a-secret-of-the-tests
sources:
  shop: {token: a-token-of-the-shop-1, may: [profile, consent, trigger]}
  site: {token: a-token-of-the-site-1, may: [profile]}
connectors:
  crm:
    plugin: ./crm.py
    settings: {status: "${CRM_STATUS:-ok}"}
    fields: {firstname: FIRST_NAME}
    consents: {newsletter: {}}
  cdp:
    plugin: webhook
    twin: true
    settings: {url: "https://cdp.example/hooks", secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}
    consents: {newsletter: {}}
    audiences: {vip: {}}
    triggers: {"*": {}}
    fields: {firstname: firstname, city: city}
"""

CRM = """\
from msgspec import Struct

from esplanade import (
    AuthenticationError, CheckResult, Choice, Connector, ConsentTarget, Discovery, Endpoint, FieldInfo, Manifest, Outcome,
    Page, PermanentError, Report, Webhooks, hookimpl,
)


class CrmSettings(Struct, frozen=True):
    status: str = "ok"


class Crm(Connector[CrmSettings]):
    manifest = Manifest(title="Crm", vendor_api="1", owner="me", homepage="https://crm.example")
    Settings = CrmSettings
    Consent = ConsentTarget

    def endpoint(self):
        return Endpoint(base_url="https://crm.example")

    @hookimpl
    async def on_profile(self, event, ctx):
        if event.email.startswith("refused"):
            raise PermanentError("the vendor does not like this address")
        return Outcome()

    @hookimpl
    async def on_consent(self, event, ctx):
        return Outcome()

    async def check(self, ctx):
        if self.settings.status == "raises":
            raise ZeroDivisionError("a bug")
        if self.settings.status == "unauthorized":
            raise AuthenticationError("the key is refused")
        return CheckResult(status=self.settings.status, detail="as told")

    async def discover(self, ctx):
        fields = [FieldInfo(name="FIRST_NAME", label="First name"), FieldInfo(name="City", type="text"), FieldInfo(name="x")]
        return Discovery(fields=fields, groups=[Choice(id="7", name="News")])

    async def register_webhooks(self, url, ctx):
        if self.settings.status == "unauthorized":
            raise AuthenticationError("the key is refused")
        kept = await ctx.kv.get("url") == url
        await ctx.kv.set("url", url)
        return Webhooks(kept=["update"]) if kept else Webhooks(made=["update"])

    async def remove_webhooks(self, ctx):
        there = await ctx.kv.get("url") is not None
        await ctx.kv.set("url", None)
        return Webhooks(removed=["update"] if there else [])

    async def pull(self, cursor, ctx):
        return Page(reports=[Report(email="pulled@example.com", fields={"FIRST_NAME": "Pia"})])
"""


class Ended(Struct, frozen=True):
    """How a run of the program ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """What stdout says, as JSON."""
        return json.loads(self.out)


class Project:
    """A folder with a connectors.yaml."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[asyncio.subprocess.Process] = []
        self.config = folder / "connectors.yaml"
        self.write("connectors.yaml", CONNECTORS)
        self.write("crm.py", CRM)

    def write(self, name: str, text: str | bytes) -> Path:
        """Put a file into the folder."""
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def environment(self, **more: str) -> dict[str, str]:
        """What a subprocess sees."""
        kept = {name: value for name, value in os.environ.items() if name not in {"ESPLANADE_CONFIG", "NO_COLOR"}}
        return {**kept, "ESPLANADE_CONFIG": str(self.config), **more}

    async def start(self, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
        """The program in a process of its own."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "esplanade.cli",
            *arguments,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=self.environment(**environment),
            cwd=self.folder,
        )
        self.started.append(process)
        return process

    async def apart(self, *arguments: str, stdin: str = "", **environment: str) -> Ended:
        """Run the program in a process of its own until it ends."""
        process = await self.start(*arguments, **environment)
        out, err = await process.communicate(stdin.encode())
        return Ended(process.returncode, out.decode(), err.decode())

    @contextlib.asynccontextmanager
    async def hub(self, **options: bool):
        """A hub that runs on this folder's store."""
        hub = await runtime.Hub.start(runtime.load(self.config, {}), **options)
        try:
            yield hub
        finally:
            await hub.stop()


@pytest.fixture(autouse=True)
def log(capsys):
    """Errors only, on stderr, for this test; its stderr is closed afterwards."""
    configure("error")
    yield
    structlog.reset_defaults()


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path)
    yield project
    for process in project.started:
        if process.returncode is None:  # its test failed before it ended it
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
def esplanade(project, capsys, monkeypatch):
    """Run the program within this process, in the project's folder."""
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("ESPLANADE_CONFIG", raising=False)

    def program(*arguments: str) -> Ended:
        code = run(arguments)
        configure("error")  # the command's level held for a hub in this process too, which stops after stderr is closed
        return Ended(code, *capsys.readouterr())

    return program
