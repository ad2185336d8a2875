"""Whatever the file says, the answer is a Config or problems with places, never another error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esplanade.config import build, read
from esplanade.errors import ConfigError

SHIPPED = (Path(__file__).parents[3] / "connectors.yaml").read_text("utf-8").splitlines()
GOLDEN = Path(__file__).parents[2] / "golden" / "config"
LINES = [line for path in sorted(GOLDEN.glob("*.yaml")) for line in path.read_text("utf-8").splitlines()]
WORDS = [
    "{}",
    "[]",
    "~",
    "''",
    "3",
    "1.5",
    "true",
    "no",
    "${A}",
    "${A:-}",
    "*x",
    "&x y",
    "!!int 3",
    "[[{a: [b]}]]",
    "6h",
    "<<",
    "\U00012544:",
]
PLACE = re.compile(r"^connectors\.yaml:\d+:\d+: \S")


@pytest.fixture
def judged(tmp_path, types, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def _judged(text: str) -> None:
        path = Path("connectors.yaml")
        path.write_text(text, "utf-8")
        problems = None
        try:
            build(read(path, {}), {**types, "webpower": types["acme"], "webhook": types["small"]})
        except ConfigError as error:
            problems = error.problems
        assert problems != []
        assert all(PLACE.match(line) and "\n" not in line for line in problems or ())

    return _judged


fuzz = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(st.lists(st.sampled_from(LINES), max_size=12))
def test_lines_of_broken_files_in_any_order(judged, lines):
    judged("\n".join(lines))


@fuzz
@given(st.integers(0, len(SHIPPED) - 1), st.sampled_from(WORDS))
def test_the_shipped_file_with_one_value_replaced(judged, index, word):
    lines = list(SHIPPED)
    lines[index] = (
        re.sub(r"(?<=: )\S.*$", lambda _: word, lines[index]) if ": " in lines[index] else lines[index] + " " + word
    )
    judged("\n".join(lines))


@fuzz
@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_any_text_at_all(judged, text):
    judged(text)
    judged(f"connectors: {text}")
