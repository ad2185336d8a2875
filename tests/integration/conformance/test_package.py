"""What the checks of PK and VS2 find in plugins that are badly packaged."""

import asyncio
import sys

import pytest
from tests.integration.conformance.catching import HEAD, QUALITY, plugin

from esplanade.conformance import CheckFailed
from esplanade.conformance.checks import package
from esplanade.conformance.trial import Trial
from esplanade.errors import PluginLoadError
from esplanade.registry import find
from esplanade_webpower.plugin import WebpowerConnector

MANIFEST = 'manifest = Manifest(title="Wrong", vendor_api="2", owner="me", homepage="https://crm.example"{more})'


async def said(check, reference, folder):
    """What one check says of a plugin; empty when it passes."""
    made = await asyncio.to_thread(find, reference, folder)
    return await judged(check, reference, made, folder)


async def judged(check, reference, made, folder):
    try:
        await check(Trial(reference, made, QUALITY, folder / "trial"))
    except CheckFailed as problem:
        return str(problem)
    return ""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a distribution that offers webpower's connector with another body, as pip would leave it."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))

    def install(
        body="pass", *, version="0.1.0", requires=("esplanade>=0.1,<0.2",), licence="Apache-2.0", changes="", before=""
    ):
        home = site / "esplanade_wrong"
        home.mkdir(parents=True)
        (home / "__init__.py").write_text("")
        (home / "CHANGELOG.md").write_text(changes)
        (home / "plugin.py").write_text(before + HEAD + "".join(f"    {line}\n" for line in body.splitlines()))
        info = site / f"esplanade_wrong-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.4", "Name: esplanade-wrong", f"Version: {version}", "Requires-Python: >=3.11"]
        lines += [f"License-Expression: {licence}", *(f"Requires-Dist: {each}" for each in requires)]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text("[esplanade]\nwrong = esplanade_wrong.plugin:Wrong\n")
        return "wrong"

    yield install
    for name in [each for each in sys.modules if each.startswith("esplanade_wrong")]:
        del sys.modules[name]


async def test_a_plugin_that_is_a_file_is_not_installed(tmp_path):
    reference = plugin(tmp_path, "pass")
    for check in (
        package.what_it_requires_is_there,
        package.it_pins_nothing_of_the_core,
        package.its_version_has_a_note,
    ):
        assert "is a file and not installed" in await said(check, reference, tmp_path)


@pytest.mark.parametrize(
    ("requires", "words"),
    [
        (["esplanade>=0.1,<0.2", "esplanade-nobody>=1"], "esplanade-nobody>=1, which is not installed"),
        (["esplanade>=0.1,<0.2", "msgspec<0.10"], "it requires msgspec<0.10, and"),
    ],
)
async def test_requirements_that_do_not_hold(tmp_path, installed, requires, words):
    name = installed(requires=requires)
    assert words in await said(package.what_it_requires_is_there, name, tmp_path)


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("import logging\nlogging.getLogger('wrong').addHandler(logging.NullHandler())\n", "importing it changes logging"),
        ("import os\nos.environ['WRONG'] = '1'\n", "importing it changes the environment"),
        ("import sys\nsys.path.append('elsewhere')\n", "importing it changes sys.path"),
        ("import socket\nline = socket.socket()\n", "importing it changes sockets"),
        ("from threading import *\nThread(target=Event().wait, daemon=True).start()\n", "importing it changes threads"),
        ("import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\n", "importing it changes signal handlers"),
        ("print('hello')\n", "importing it prints 'hello"),
        ("import warnings\nwarnings.warn('old', DeprecationWarning)\n", "importing it warns: DeprecationWarning: old"),
    ],
)  # fmt: skip
async def test_an_import_with_side_effects(tmp_path, before, words):
    path = tmp_path / "wrong.py"
    path.write_text(f"import sys\nif 'pytest' not in sys.modules:\n{_indented(before)}{HEAD}    pass\n")
    assert words in await said(package.importing_it_is_quick_and_quiet, str(path), tmp_path)


async def test_an_import_that_takes_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(package, "IMPORT_MS", 0.0)
    found = await said(package.importing_it_is_quick_and_quiet, plugin(tmp_path, "pass"), tmp_path)
    assert "ms at best, more than 0 ms" in found


async def test_a_plugin_that_hinders_others(tmp_path, installed):
    before = "import sys\nif 'pytest' not in sys.modules:\n    sys.modules['esplanade_sparkloop'] = None\n"
    name = installed(before=before)
    found = await said(package.it_lives_beside_the_others, name, tmp_path)
    assert "others cannot be: {'sparkloop'" in found


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('manifest = Manifest(title="W", vendor_api="the newest", owner="me", homepage="https://crm.example")', "vendor_api: give"),
        ('manifest = Manifest(title=" ", vendor_api="2", owner="me", homepage="https://crm.example")', "manifest.title is empty"),
        ('manifest = Manifest(title="W", vendor_api="2", owner="me", homepage="crm.example")', "manifest.homepage: expected"),
    ],
)  # fmt: skip
async def test_a_manifest_with_gaps(tmp_path, installed, body, words):
    assert words in await said(package.the_manifest_is_whole, installed(body), tmp_path)


async def test_a_distribution_that_says_otherwise(tmp_path, installed):
    name = installed(licence="MIT")
    found = await said(package.the_manifest_agrees_with_the_distribution, name, tmp_path)
    assert "license in pyproject.toml, beside manifest.licence: expected 'Apache-2.0', found 'MIT'" in found


async def test_a_range_of_the_core_that_differs(tmp_path, installed):
    name = installed(requires=["esplanade>=0.1,<0.9"])
    found = await said(package.the_manifest_agrees_with_the_distribution, name, tmp_path)
    assert "the range of esplanade" in found


async def test_a_host_that_is_not_public(tmp_path):
    body = "def endpoint(self):\n    return Endpoint(base_url='http://crm.example', origins=['https://10.0.0.1'])"
    assert "expected https" in await said(package.its_hosts_are_public, plugin(tmp_path, body), tmp_path)


async def test_a_hook_that_is_none(tmp_path):
    class Wrong(WebpowerConnector):
        async def on_profil(self, event, ctx): ...

    assert "on_profil is not a hook; did you mean on_profile?" in await judged(
        package.its_hooks_are_known, "wrong", Wrong, tmp_path
    )
    with pytest.raises(PluginLoadError, match="on_profil is not a hook"):
        find(plugin(tmp_path, "async def on_profil(self, event, ctx): ..."), tmp_path)


async def test_a_plugin_that_delivers_nothing(tmp_path):
    body = "@hookimpl\nasync def on_profile(self, event, ctx):\n    raise PermanentError('no')\n"
    body += "@hookimpl\nasync def on_consent(self, event, ctx):\n    raise PermanentError('no')"
    assert "nothing is delivered" in await said(package.a_broken_plugin_stops_nobody, plugin(tmp_path, body), tmp_path)


@pytest.mark.parametrize(
    ("requires", "words"),
    [
        (["esplanade>=0.1,<0.2", "aiohttp==3.13.0"], "it pins aiohttp==3.13.0, which is the core's own"),
        (["esplanade>=0.1"], "give esplanade a range with both ends"),
        (["esplanade @ https://example.com/esplanade.whl"], "from a URL"),
    ],
)
async def test_requirements_that_bind_the_core(tmp_path, installed, requires, words):
    assert words in await said(package.it_pins_nothing_of_the_core, installed(requires=requires), tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("# Changes\n\nMany.\n", "has a heading for any version"),
        ("## 0.2.0\n\nNew.\n\n## 0.1.0\n\nFirst.\n", "the version of the newest note"),
        ("## 0.3.0\n\nNew.\n\n## 0.2.0\n\nNewer; nothing to do.\n\n## 0.2.1\n\nx\n", "versions in the order of their notes"),
        ("## 0.3.0\n\n`colour` is gone.\n\n## 0.2.0\n\nFirst.\n", "its note needs a word on migrating"),
        ("## 0.3.0\n\nMigrating: say `shade` for `colour`.\n\n## 0.2.0\n\nFirst.\n", ""),
        ("## [0.3.0] - 2026-01-15\n\nNew.\n\n## 0.3.0rc1\n\nFirst.\n", ""),
    ],
)  # fmt: skip
async def test_a_version_without_a_note(tmp_path, installed, changes, words):
    found = await said(package.its_version_has_a_note, installed(version="0.3.0", changes=changes), tmp_path)
    assert found.find(words) >= 0
    assert bool(words) == bool(found)


def _indented(text):
    return "".join(f"    {line}\n" for line in text.splitlines())
