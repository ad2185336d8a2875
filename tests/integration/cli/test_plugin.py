"""``esplanade plugin test``: the conformance suite without pytest."""

import json

import pytest

from esplanade.cli.commands.plugin import TIERS
from esplanade.conformance import catalogue

TRIED = ("PK3", "SE1", "DC1")
"""The rules of bronze that these tests run; all take only moments."""
QUALITY = """\
owner: me
contact: me@example.com
sample: {settings: {}}
skips:
"""
README = "# crm\n" + "".join(
    f"## {name}\nx\n"
    for name in ("Setup", "Permissions", "Fields", "Limits", "Known limitations", "Troubleshooting", "Removal")
)


@pytest.fixture
def quality(project):
    """Write the quality file of the project's plugin: of bronze only a few rules apply."""
    project.write("README.md", README)
    skips = [rule.id for rule in catalogue.RULES.values() if rule.tier == "bronze" and rule.id not in TRIED]
    project.write("quality.yaml", QUALITY + "".join(f"  {each}: left out of this test\n" for each in skips))


@pytest.fixture
def public(project):
    """Give the project's plugin a URL setting, so that it keeps all rules that are tried."""
    source = (project.folder / "crm.py").read_text()
    source = source.replace(
        'status: str = "ok"', 'status: str = "ok"\n    base_url: Origin = Origin("https://crm.example")'
    )
    project.write("crm.py", source.replace("Manifest, Outcome,", "Manifest, Origin, Outcome,"))


def test_its_tiers_are_those_of_the_catalogue():
    assert TIERS == catalogue.TIERS


def test_a_plugin_that_keeps_the_rules_reaches_its_tier(esplanade, project, quality, public):
    ended = esplanade("plugin", "test", "./crm.py", "--tier", "bronze")
    assert ended.code == 0, ended.out
    lines = ended.out.splitlines()
    assert [line.split()[:3] for line in lines if line.startswith(TRIED)] == [
        [each, "bronze", "passed"] for each in TRIED
    ]
    assert "PK1  bronze   skipped  It installs beside" in ended.out
    assert "     left out of this test" in lines
    assert lines[-1].startswith("crm local reaches bronze: ")
    assert ended.err == "the report is in conformance-crm.json\n"
    report = json.loads((project.folder / "conformance-crm.json").read_bytes())
    assert (report["plugin"], report["version"], report["tier"]) == ("crm", "local", "bronze")
    assert {each["tier"] for each in report["results"]} == {"bronze"}


def test_a_rule_that_is_broken_ends_with_1(esplanade, project, quality):
    ended = esplanade("plugin", "test", "./crm.py", "--tier", "bronze", "--report", "report.json")
    assert ended.code == 1
    assert "SE1  bronze   failed   Private addresses" in ended.out
    assert "     no setting leads to another address" in ended.out
    assert ended.out.splitlines()[-1].startswith("crm local does not reach bronze: ")
    assert json.loads((project.folder / "report.json").read_bytes())["tier"] is None


def test_the_report_is_the_result_too(esplanade, project, quality, public):
    ended = esplanade("plugin", "test", "crm.py", "--tier", "bronze", "--json")
    assert ended.code == 0
    assert ended.json == json.loads((project.folder / "conformance-crm.json").read_bytes())


def test_a_plugin_that_nobody_has_is_usage(esplanade):
    ended = esplanade("plugin", "test", "webpowr")
    assert ended.code == 2
    assert "there is no plugin 'webpowr'; did you mean webpower?" in ended.err
    ended = esplanade("plugin", "test", "./gone.py")
    assert ended.code == 2
    assert "there is no file ./gone.py" in ended.err


def test_a_plugin_without_a_quality_file_is_told_what_to_write(esplanade):
    ended = esplanade("plugin", "test", "./crm.py")
    assert ended.code == 1
    assert "has no quality.yaml; write one" in ended.err
