"""A vendor that quotes what it was sent: none of its values are told on."""

import pytest
from msgspec import Raw, Struct, field

from esplanade.http.quoting import without_values


class Body(Struct):
    city: str = field(name="stad")


@pytest.mark.parametrize(
    "content",
    [
        {"city": "Delft"},
        [{"custom": [{"value": "Delft"}]}],
        {"a": {"b": ("x", {"c": "Delft"})}},
        Body(city="Delft"),
        b'{"city": "Delft"}',
        '["Delft"]',
        Raw(b'"Delft"'),
        "Delft",
    ],
)
def test_whatever_the_body_is_made_of(content):
    assert without_values("the city delft is not known", content) == "the city [value] is not known"


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("two words", "two+words"),
        ("two words", "two%20words"),
        ('say "so"', r"say \"so\""),
        ('say "so"', r"say \\\"so\\\""),
        ("Zoë", "Zo\\u00eb"),
        ("Zoë", "Zoë"),
        (" Delft ", "Delft"),
        ("O'Brien", "O&#x27;Brien"),
        (31612345678, "31612345678"),
    ],
)
def test_as_it_is_written_elsewhere(value, quoted):
    assert without_values(f"no: {quoted}!", {"v": value}) == "no: [value]!"


@pytest.mark.parametrize("value", ["nl", "", "  ", "ada@example.com", 42, None, True])
def test_what_says_nothing_of_anybody_or_is_known_otherwise_stays(value):
    words = f"no: {value}"
    assert without_values(words, {"v": value}) == words


def test_only_whole_words():
    assert without_values("cannot find scanned cans", {"v": "can"}) == "cannot find scanned cans"


def test_an_address_is_left_whole_for_others_to_know():
    assert without_values("no ada@example.com, ada", ["ada", "example"]) == "no ada@example.com, [value]"


def test_a_name_beside_an_address_is_told_on_no_more_than_without():
    assert without_values("no Ada Vries <ada@example.com>", ["Ada Vries <ada@example.com>"]).startswith(
        "no [value] [value]"
    )


def test_the_longest_first():
    assert without_values("no New York Street", ["York", "New York Street"]) == "no [value]"


def test_what_went_along_beside_the_body():
    assert without_values("no Delft", None, ["Delft"]) == "no [value]"


def test_names_of_fields_stay():
    assert without_values("city is wrong", {"city": "Delft"}) == "city is wrong"


def test_a_body_without_end_costs_no_more():
    deep = "Delft"
    for _ in range(100):
        deep = [deep]
    assert without_values("Delft", deep) == "Delft"
    assert without_values("word25000", [f"word{n}" for n in range(30_000)]) == "word25000"
