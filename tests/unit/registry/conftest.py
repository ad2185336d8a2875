"""Plugins as operators have them: real files, and real distributions on the path."""

import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import pytest

from esplanade.errors import PluginLoadError
from esplanade.registry import find

HEAD = """\
from msgspec import Struct

from esplanade import Connector, ConsentTarget, Manifest, Outcome, hookimpl


class CrmSettings(Struct, frozen=True):
    key: str = "k"


class Crm(Connector[CrmSettings]):
    manifest = Manifest(title="Crm", vendor_api="1", owner="me", homepage="https://crm.example")
    Settings = CrmSettings
"""
"""The start of a plugin of one screen; what follows it is indented into the class."""


def plugin_source(body: str = "") -> str:
    """A plugin whose class ends with ``body``."""
    return HEAD + textwrap.indent(textwrap.dedent(body), "    ")


GOOD = plugin_source("""
    @hookimpl
    async def on_profile(self, event, ctx):
        return Outcome(remote_id=self.settings.key)
""")


class Environment:
    """A directory of plugin files, and one of installed distributions."""

    def __init__(self, path: Path) -> None:
        self.base = path / "config"
        self.site = path / "site"
        self.base.mkdir()
        self.site.mkdir()

    def write(self, text: str, name: str = "crm.py") -> str:
        """Put a plugin's file beside connectors.yaml; returns the reference to it."""
        (self.base / name).write_text(text)
        return f"./{name}"

    def install(self, name: str, text: str, *, target: str = "", version: str = "1.2.3", distribution: str = "") -> str:
        """Install a distribution with one entry point, as pip would leave it; returns the entry point's name."""
        distribution = distribution or f"esplanade-{name}"
        module = distribution.replace("-", "_")
        (self.site / f"{module}.py").write_text(text)
        self.metadata(distribution, f"[esplanade]\n{name} = {target or f'{module}:Crm'}\n", version=version)
        return name

    def metadata(self, distribution: str, entry_points: str, *, version: str = "1.2.3") -> None:
        """Leave a distribution's metadata only."""
        info = self.site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points)

    @contextmanager
    def alone(self):
        """Make this the only place where distributions are found; the tests' own environment has plugins too."""
        before, modules = sys.path, set(sys.modules)
        sys.path = [str(self.site), *(each for each in before if "site-packages" not in each)]
        try:
            yield
        finally:
            sys.path = before
            for name in set(sys.modules) - modules:
                if name.startswith("esplanade_") and not name.startswith("esplanade_local_"):
                    del sys.modules[name]

    def find(self, reference: str):
        """What ``find`` answers here."""
        with self.alone():
            return find(reference, self.base)

    def refusal(self, reference: str) -> str:
        """The message with which ``find`` refuses, with this environment's directories written as CONFIG and SITE."""
        with pytest.raises(PluginLoadError) as caught:
            self.find(reference)
        return str(caught.value).replace(str(self.base), "CONFIG").replace(str(self.site), "SITE")


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path.resolve())
