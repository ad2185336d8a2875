"""The generated page has every key."""

from __future__ import annotations

from esplanade.config import reference


def test_every_key_stands_in_it_with_type_default_and_help(types):
    page = reference(types)
    assert "| `max_hops` | a whole number | `4` | How often" in page
    assert "| `guard.max_removals` | a percent such as 2% | `2%` |" in page
    assert "| `alerts[].webhook` | text |" in page
    assert "| `api_key` | a secret | required | The key from Acme's console. |" in page
    assert "| `region.code` | one of eu, us | `eu` | The region's code. |" in page


def test_each_plugin_has_its_part_and_says_what_it_has_not(types):
    page = reference(types)
    assert "## Plugin `acme`\n\nReceives profile, consent, trigger; it can be pulled." in page
    small = page[page.index("## Plugin `small`") :]
    assert "### `audiences.NAME`\n\nThis plugin has none." in small
    assert "## Plugin `gone`" not in page


def test_every_table_has_four_columns(types):
    rows = [line for line in reference(types).splitlines() if line.startswith("| `") and not line.startswith("| `$")]
    assert len(rows) > 60
    assert {line.replace("\\|", "").count("|") for line in rows} == {5}
