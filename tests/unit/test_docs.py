"""The docs cannot lie: what is generated is current, what is shown runs, what is named exists."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from ruamel.yaml import YAML
from tests.regenerate import ROOT, generated

from esplanade import errors, hookspecs, runtime
from esplanade.cli.program import esplanade
from esplanade.conformance import Quality
from esplanade.ingest.accept import Intake

DOCS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
]
COMMANDS = set(esplanade.commands)
TUTORIAL = ROOT / "docs" / "tutorial" / "first-plugin.md"


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_what_is_generated_is_current(path: Path) -> None:
    assert path.read_bytes() == generated()[path], f"{path.name} is stale: run `make docs`"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#]+)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_shown_exists(path: Path) -> None:
    shown = re.findall(r"(?:^|[`/]|\$ )esplanade ([a-z]+)", path.read_text("utf-8"), re.MULTILINE)
    assert set(shown) <= COMMANDS


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_is_named_exists(path: Path) -> None:
    for file, name in re.findall(r"`([\w/-]+\.py)::(test_\w+)`", path.read_text("utf-8")):
        assert re.search(rf"\bdef {name}\(", (ROOT / file).read_text("utf-8")), f"{path.name} names {file}::{name}"


def test_the_tree_in_errors_shows_every_class_where_it_stands() -> None:
    _, _, tree = (errors.__doc__ or "").partition("\n\n")
    drawn = re.findall(r"^([│├└─ ]*)([A-Z]\w+)", tree, re.MULTILINE)
    classes = {name: each for name, each in vars(errors).items() if inspect.isclass(each)}
    assert {name for _, name in drawn} == set(classes)
    depth = {name: len(prefix) for prefix, name in drawn}
    for name, each in classes.items():
        if name != "EsplanadeError":
            assert depth[name] > depth[each.__bases__[0].__name__]


def test_every_hook_is_named_in_the_docstring_of_none_but_itself() -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("on_")]
    assert hooks == [
        "on_profile",
        "on_consent",
        "on_trigger",
        "on_inbound_webhook",
        "on_profile_batch",
        "on_consent_batch",
        "on_trigger_batch",
    ]


def test_the_quality_file_that_is_shown_is_one_and_has_every_key() -> None:
    text = (ROOT / "docs" / "how-to" / "hold-a-plugin-to-the-rules.md").read_text("utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    found = YAML(typ="safe", pure=True).load(shown)
    msgspec.convert(found, Quality)
    assert list(found) == list(Quality.__struct_fields__)


async def test_the_tutorial_works_to_the_letter(tmp_path: Path) -> None:
    text = TUTORIAL.read_text("utf-8")
    (plugin,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (config,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    printed: list[str] = []

    async def crm(request: web.Request) -> web.Response:
        if request.headers.get("X-Api-Key") != "key_demo":
            return web.Response(status=401)
        printed.append(f"{request.method} {request.path} {await request.text()}".strip())
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", crm)
    async with TestServer(app) as server:
        (tmp_path / "hello.py").write_text(plugin, "utf-8")
        config = config.replace("http://127.0.0.1:8700", str(server.make_url("")).rstrip("/"))
        (tmp_path / "connectors.yaml").write_text(config.replace("127.0.0.1:8600", "127.0.0.1:0"), "utf-8")
        hub = await runtime.Hub.start(runtime.load(tmp_path / "connectors.yaml", os.environ))
        try:
            assert (await hub.check("hello")).status == "ok"
            printed.clear()
            for body in re.findall(r"-d '(\{.*?\})'", text):
                kind = "consent" if '"purpose"' in body else "profile"
                await _send(hub.intake, kind, body)
                await hub.settled()
            shown = re.search(r"Hello CRM prints:\n\n```\n(.*?)```", text, re.DOTALL)
            assert shown is not None
            assert printed == shown[1].strip().splitlines()
            await _send(hub.intake, "profile", re.findall(r"-d '(\{.*?\})'", text)[0])
            await hub.settled()
            assert len(printed) == 2, "what the vendor holds already is not sent again"
        finally:
            await hub.stop()


async def _send(intake: Intake, kind: str, body: str) -> None:
    admission = intake.admit("shop", kind, [body.encode()], may={"profile", "consent"})  # type: ignore[arg-type]  # one of the page's own
    assert not admission.rejected
    await intake.accept(admission.entries)
