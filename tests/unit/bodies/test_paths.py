"""Ways into a body."""

import re

import pytest

from esplanade import BodyPath

TREE = {
    "Email": "a@b.example",
    "contact": {"e-mail": "c@d.example", "Full name": "Ada"},
    "data": [{"id": 1}, {"id": 2}],
    "form": {"0": "first"},
    "contact.phone": "12",
    "one": "x",
    "ONE": "y",
    "": "nothing",
    "no": None,
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Email", "a@b.example"),
        ("email", "a@b.example"),
        ("contact.e-mail", "c@d.example"),
        ("contact.Full name", "Ada"),
        ("data[1].id", 2),
        ("data[0]", {"id": 1}),
        ("data[2].id", None),
        ("data.id", None),
        ("form[0]", "first"),
        ("contact[0].e-mail", "c@d.example"),
        ("contact[1].e-mail", None),
        ("contact.phone", "12"),
        ("ONE", "y"),
        ("One", None),
        ("no", None),
        ("no.where", None),
        ("Email.x", None),
    ],
)
def test_a_path_leads_to_a_value_or_nowhere(path, value):
    assert BodyPath.parse(path).look_up(TREE) == value


def test_a_path_begins_with_a_list_where_the_body_is_one():
    assert BodyPath.parse("[0].email").look_up([{"email": "a@b.example"}]) == "a@b.example"


@pytest.mark.parametrize(
    "path", ["", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[-1]", "a]b", " a", "a ", "a[0]b", "a[9999999]"]
)
def test_what_cannot_lead_anywhere_is_refused_with_the_remedy(path):
    with pytest.raises(ValueError, match=re.escape("such as email, contact.email or data[0].email")):
        BodyPath.parse(path)
    assert not re.search(BodyPath.pattern, path)


def test_the_pattern_takes_its_example():
    assert re.search(BodyPath.pattern, BodyPath.example)


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("a", {"b": {"c": 1, "d": [1, {"e": 2}]}}),
        ("b.c", {"a": 0, "b": {"d": [1, {"e": 2}]}}),
        ("b.d[0]", {"a": 0, "b": {"c": 1, "d": [{"e": 2}]}}),
        ("b.d[1].e", {"a": 0, "b": {"c": 1, "d": [1]}}),
        ("b", {"a": 0}),
        ("b[0].c", {"a": 0, "b": {"d": [1, {"e": 2}]}}),
        ("x.y", {"a": 0, "b": {"c": 1, "d": [1, {"e": 2}]}}),
    ],
)
def test_a_value_can_be_left_out(path, left):
    tree = {"a": 0, "b": {"c": 1, "d": [1, {"e": 2}]}}
    assert BodyPath(path).without(tree) == left
    assert tree == {"a": 0, "b": {"c": 1, "d": [1, {"e": 2}]}}


def test_a_key_that_had_nothing_else_goes_with_its_value():
    assert BodyPath("contact.email").without({"contact": {"email": "a@b.example"}, "x": 1}) == {"x": 1}
