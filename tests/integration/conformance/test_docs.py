"""What the checks of DC and QT find in plugins whose papers are not in order."""

import asyncio

import msgspec
import pytest
from tests.integration.conformance.catching import QUALITY, plugin

from esplanade.conformance import CheckFailed
from esplanade.conformance.checks import docs
from esplanade.conformance.readme import blocks_of, sections_of
from esplanade.conformance.trial import Trial
from esplanade.registry import find

README = """# wrong

## Setup

Set `license`, `client_id`, `client_secret`, `campaign_id`; each consent has a `group`, each trigger a `mailing`.

## Permissions at the vendor
All.
## Fields
Any.
## Limits
None.
## Known limitations
None.
## Troubleshooting
None.
## Removal
Delete it.
"""

EXAMPLE = """
1. Like this:

   ```yaml
   connectors:
     crm:
       plugin: ./wrong.py
       settings: {{ license: demo, client_id: demo, client_secret: "${{CRM_SECRET}}", campaign_id: {number} }}
     other: {{ plugin: webhook, settings: {{ url: "https://crm.example", secret: "${{OTHER}}" }} }}
   ```
"""


async def said(check, folder, readme="", body="pass", **quality):
    """What one check says of a plugin beside this README; empty when it passes."""
    reference = plugin(folder, body)
    (folder / "README.md").write_text(readme)
    made = await asyncio.to_thread(find, reference, folder)
    try:
        await check(Trial(reference, made, msgspec.structs.replace(QUALITY, **quality), folder))
    except CheckFailed as problem:
        return str(problem)
    return ""


async def test_a_readme_that_is_whole(tmp_path):
    assert not await said(docs.the_readme_is_whole, tmp_path, README)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("## Limits\nNone.\n", "", "the README has no section Limits"),
        ("None.\n## Known", "## Known", "the section Limits of the README is empty"),
        ("`client_id`", "", "the README does not name client_id"),
        (README, "", "there is no README.md beside quality.yaml"),
    ],
)
async def test_a_readme_with_gaps(tmp_path, old, new, words):
    assert words in await said(docs.the_readme_is_whole, tmp_path, README.replace(old, new))


async def test_an_example_that_works(tmp_path):
    assert not await said(docs.every_example_works, tmp_path, README + EXAMPLE.format(number=42))


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (EXAMPLE.format(number="many"), "example 1 of the README is refused"),
        (EXAMPLE.format(number=42).replace("plugin: ./wrong.py", "plugin: ./right.py"), "the README has no example"),
        ("```yaml\nconnectors: {a: b: c}\n```\n", "example 1 of the README is not YAML"),
        ("", "the README has no example"),
    ],
)
async def test_an_example_that_does_not(tmp_path, example, words):
    assert words in await said(docs.every_example_works, tmp_path, README + example)


async def test_an_example_that_does_not_pass_its_check(tmp_path):
    body = "async def check(self, ctx):\n    return CheckResult(status='no-permission', detail='ask for rights')"
    found = await said(docs.every_example_works, tmp_path, README + EXAMPLE.format(number=42), body)
    assert "the check of crm (ask for rights): expected 'ok', found 'no-permission'" in found


async def test_a_plugin_that_cannot_start_its_example(tmp_path):
    body = "def endpoint(self):\n    raise RuntimeError('never')"
    found = await said(docs.every_example_works, tmp_path, README + EXAMPLE.format(number=42), body)
    assert "does not start" in found
    assert "never" in found


async def test_a_function_without_types(tmp_path):
    assert "wrong.py:9 shade" in await said(docs.it_is_typed, tmp_path, body="def shade(self, colour): ...")


async def test_an_owner_who_cannot_be_reached(tmp_path):
    assert "beside the owner of quality.yaml" in await said(
        docs.its_owner_can_be_reached, tmp_path, owner="Somebody else"
    )
    for contact in ("somewhere", "http://crm.example", "ada@", ""):
        assert "is neither an e-mail address nor an https URL" in await said(
            docs.its_owner_can_be_reached, tmp_path, contact=contact
        )
    assert not await said(docs.its_owner_can_be_reached, tmp_path, contact="plugins@example.com")


def test_headings_in_fences_are_none():
    text = "# A\n\n```sh\n# no heading\n```\n\n## B ##\n\nb\n\n# C\n"
    assert [(each.level, each.title) for each in sections_of(text)] == [(1, "A"), (2, "B"), (1, "C")]
    assert sections_of(text)[0].text.endswith("b")
    assert blocks_of(text, "sh") == ["# no heading\n"]
