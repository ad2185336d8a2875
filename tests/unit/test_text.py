"""Values as text."""

import pytest

from esplanade import as_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("", ""),
        ("naïve ☕", "naïve ☕"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (7.0, "7"),
        (7.5, "7.5"),
        (1e15, "1000000000000000.0"),
        ([], ""),
        (["a", 1, None, True], "a,1,,true"),
        ([["a"]], '[["a"]]'),
        ({"a": 1}, '{"a":1}'),
    ],
)
def test_each_kind_of_value_has_one_text(value, text):
    assert as_text(value) == text


def test_a_vendor_may_have_words_of_its_own():
    assert as_text([True, False], true="1", false="0", separator=";") == "1;0"
