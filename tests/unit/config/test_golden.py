"""Broken files and all that is said about each: ``tests/golden/config/NN_name.yaml`` beside ``NN_name.txt``.

``ESPLANADE_REGENERATE=1 pytest tests/unit/config/test_golden.py`` writes the texts anew; read the difference before
you keep it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from esplanade.config import build, read
from esplanade.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "golden" / "config"
FILES = sorted(FOLDER.glob("*.yaml"))


def test_there_are_golden_files():
    assert len(FILES) >= 10
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_problem_of_a_broken_file_is_told(path, types, monkeypatch):
    monkeypatch.chdir(FOLDER)
    with pytest.raises(ConfigError) as caught:
        build(read(Path(path.name), {"SET": "a value", "EMPTY": ""}), types)
    said = "".join(f"{line}\n" for line in caught.value.problems)
    expected = path.with_suffix(".txt")
    if os.environ.get("ESPLANADE_REGENERATE") == "1":
        expected.write_text(said, "utf-8")
    assert said == expected.read_text("utf-8")
