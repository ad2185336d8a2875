"""What is told of a body: its shape, none of its values, and not more than is worth reading."""

import enum
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.http.redact import Redactor, redact
from esplanade.http.shape import SHAPE_CHARS, shape


class Person(msgspec.Struct, rename="camel"):
    first_name: str
    born: datetime
    tags: list[str] = []


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, ""),
        ({}, "{}"),
        ([], "[]"),
        (
            {"email": "ada@example.com", "age": 36, "vip": True, "gone": None},
            '{"email":"text","age":"number","vip":"boolean","gone":"null"}',
        ),
        ([{"id": 1}], '[{"id":"number"}]'),
        ([{"id": 1}, {"id": 2}, {"other": 3}], '[{"id":"number"},"and 2 more"]'),
        ({"a": {"b": [1.5, 2.5]}}, '{"a":{"b":["number","and 1 more"]}}'),
        (("x", "y"), '["text","and 1 more"]'),
        ("just words", '"text"'),
        (b"\x00\x01", '"2 bytes"'),
        (b'{"email":"ada@example.com"}', '{"email":"text"}'),
        ('[{"n":1},{}]', '[{"n":"number"},"and 1 more"]'),
        (msgspec.Raw(b'{"n":1}'), '{"n":"number"}'),
        ({"at": datetime.now(UTC), "colour": Colour.RED}, '{"at":"text","colour":"text"}'),
        (Person("Ada", datetime.now(UTC), ["x"]), '{"firstName":"text","born":"text","tags":["text"]}'),
        ({1: "x"}, '{"1":"text"}'),
    ],
)
def test_fields_keep_their_names_and_values_only_their_types(content, told):
    assert shape(content, redact) == told


def test_a_form_is_told_like_anything_else():
    assert shape({"grant_type": "client_credentials", "n": "1"}, redact) == '{"grant_type":"text","n":"text"}'


@pytest.mark.parametrize("name", ["ada@example.com", "s/hush-hush", "x" * 57 + "ada@example.com"])
def test_a_name_that_is_an_address_or_a_secret_is_not_told(name):
    told = shape({name: {"n": 1}}, Redactor(["s/hush-hush"]))
    assert "ada" not in told
    assert "hush" not in told
    assert told.endswith(':{"n":"number"}}')


def test_an_address_at_the_cut_is_not_told_by_half():
    for length in range(470, 500):
        told = shape(
            {"a" * 60 + str(at): 1 for at in range(6)} | {"b" * (length - 470): 1, "ada@example.com": 1}, redact
        )
        assert "ada" not in told


def test_it_is_never_longer_than_can_be_read():
    for content in (
        {f"field{at}": at for at in range(1_000)},
        [[[[[[[["x"] * 9] * 9] * 9] * 9] * 9] * 9] * 9] * 9,
        {"x" * 60: {"y" * 60: {"z" * 60: {"x" * 60: {"y" * 60: {"z" * 60: {"x" * 60: {"y" * 60: 1}}}}}}}},
    ):
        told = shape(content, redact)
        assert len(told) <= SHAPE_CHARS
    assert shape({f"field{at}": at for at in range(1_000)}, redact).endswith("…")


def test_nesting_without_end_comes_to_one():
    content = []
    for _ in range(100_000):
        content = [content]
    assert shape(content, redact).startswith("[[[[")
    assert shape("[" * 20_000 + "]" * 20_000, redact)


class Endless(Mapping):
    """Counts how much of it is looked at."""

    def __init__(self):
        self.looked_at = 0

    def __len__(self):
        return 10**9

    def __iter__(self):
        while True:
            self.looked_at += 1
            yield f"field{self.looked_at}"

    def __getitem__(self, name):
        return self


def test_a_huge_body_is_not_walked_through():
    endless = Endless()
    assert len(shape(endless, redact)) <= SHAPE_CHARS
    assert endless.looked_at < 200
    assert shape([{"email": "x"}] * 5_000_000, redact) == '[{"email":"text"},"and 4999999 more"]'
    assert shape(b'{"a":1}' + b" " * 100_000, redact) == '"100007 bytes"'
    assert shape('{"a":1}' + " " * 100_000, redact) == '"text"'


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
names = st.text(max_size=80) | st.integers()


@given(st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(names, inner)))
def test_any_body_has_a_shape(content):
    told = shape(content, redact)
    assert len(told) <= SHAPE_CHARS
    told.encode()


@given(
    st.dictionaries(
        st.sampled_from(["email", "name", "list"]), st.lists(st.just("canary"), max_size=3) | st.just("canary")
    )
)
def test_no_value_is_ever_told(content):
    assert "canary" not in shape(content, redact)
    assert "canary" not in shape(msgspec.json.encode(content), redact)
