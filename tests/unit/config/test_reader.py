"""From the file to nodes with places."""

from __future__ import annotations

from pathlib import Path

import pytest

from esplanade.config import read
from esplanade.config.nodes import find, place_of
from esplanade.config.problems import Place, Problems
from esplanade.errors import ConfigError


@pytest.fixture
def document(tmp_path):
    def _document(text, **environ):
        path = tmp_path / "connectors.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(path, environ)

    return _document


def lines(document):
    return Problems(document.problems).lines("f")


def test_a_missing_file_is_one_line_with_a_remedy():
    with pytest.raises(ConfigError) as caught:
        read(Path("/nowhere/connectors.yaml"), {})
    assert caught.value.problems == [
        "/nowhere/connectors.yaml: no such file; name yours with --config or ESPLANADE_CONFIG"
    ]


def test_a_folder_is_one_line_with_a_remedy(tmp_path):
    with pytest.raises(ConfigError, match="Is a directory"):
        read(tmp_path, {})


def test_every_key_and_value_has_its_place(document):
    found = document("hub:\n  listen:   a\nconnectors:\n  x: {plugin: [b, c]}\n")
    assert find(found.root, ("hub", "listen")).place == Place(2, 3)
    assert find(found.root, ("hub", "listen")).value.place == Place(2, 13)
    assert place_of(found.root, ("connectors", "x", "plugin", "[1]")) == Place(4, 19)


def test_a_place_that_does_not_exist_is_that_of_what_is_around_it(document):
    found = document("hub:\n  guard: {}\n")
    assert place_of(found.root, ("hub", "guard", "max_removals")) == Place(2, 3)
    assert place_of(found.root, ("sources",)) == Place(1, 1)


def test_plugins_are_named_by_the_connector_unless_it_says_otherwise(document):
    found = document("connectors:\n  acme: {}\n  b: {plugin: ./b.py, enabled: false}\n  c: {plugin: '${P:-acme}'}\n")
    assert found.plugins() == {"acme": "acme", "b": "./b.py", "c": "acme"}
    assert [found.enabled(name) for name in ("acme", "b", "c", "unknown")] == [True, False, True, True]


@pytest.mark.parametrize("text", ["", "- a\n", "connectors: 3\n", "connectors: {a: 3}\n", "a: [\n"])
def test_plugins_of_a_broken_file_are_none(document, text):
    assert document(text).plugins() == {}


def test_enabled_may_be_a_variable(document):
    assert document("connectors: {a: {enabled: '${ON}'}}\n", ON="false").enabled("a") is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f:1:1: the file is empty; begin with the keys hub, sources and connectors"),
        ("# only words\n", "f:1:1: the file is empty; begin with the keys hub, sources and connectors"),
        ("- a\n", "f:1:1: expected the keys hub, sources and connectors"),
        ("hub:\n\tlisten: a\n", "f:2:1: a tab; YAML is indented with spaces only"),
        (
            "hub: {a: ${B}}\n",
            "f:1:11: not valid YAML: expected ',' or '}', but got '{'; inside { } and [ ] put ${…} in quotes",
        ),
        ("hub: {}\nhub: {}\n", "f:2:1: hub: duplicate key; it is already on line 1, keep one of them"),
        ("a: &x 1\n", "f:1:4: a: anchors (&x) are not allowed; remove it and write values out"),
        ("&x a: 1\n", "f:1:1: anchors (&x) are not allowed; remove it"),
        ("a:\n  <<: {b: 1}\n", "f:2:3: a.<<: merge keys are not allowed; write the values out"),
        ("a: !env B\n", "f:1:4: a: YAML tags are not allowed; remove it, the key says what the type is"),
        ("a: !!map {}\n", "f:1:4: a: YAML tags are not allowed; remove it, the key says what the type is"),
        ("[a]: 1\n", "f:1:1: a key must be text; a list or mapping cannot be one"),
        ("'': 1\n", "f:1:1: a key is empty; give it a name or remove the line"),
        ("${A}: 1\n", "f:1:1: keys are not interpolated; ${…} works in values only"),
        ("a: 1\n---\nb: 1\n", "f:2:1: a second document; keep one and remove the --- line"),
        ("a:\n  b: ${C}\n", "f:2:6: a.b: environment variable C is not set; set it, or write ${C:-default}"),
        ("a: 'open\n", "f:2:1: not valid YAML: found unexpected end of stream"),
        ("a: x\x01y\n", "f:1:5: a character that YAML does not allow; remove it"),
        ("[" * 200, "f:1:1: nested too deeply"),
        (b"a: b\nc: \xff\n", "f:2:4: not UTF-8 text; save the file as UTF-8"),
    ],
)
def test_what_yaml_may_not_say_is_refused_with_its_place(document, text, expected):
    assert lines(document(text)) == [expected]


def test_an_alias_is_refused_where_it_stands(document):
    found = lines(document("a: &x {b: 1}\nc: *x\n"))
    assert found[1] == "f:2:4: c: aliases (*x) are not allowed; write the value out"


def test_a_byte_order_mark_is_no_part_of_the_first_key(document):
    assert document(b"\xef\xbb\xbfhub: {}\n").problems == []


def test_a_problem_is_one_line_whatever_the_key_holds(document):
    (line,) = lines(document('"a\\nb": 1\n"a\\nb": 2\n'))
    assert "\n" not in line


def test_yaml_1_1_is_read_as_1_2_all_the_same(document):
    found = document("%YAML 1.1\n---\na: no\n")
    assert found.problems == []


def test_a_file_beside_this_one_can_be_put_in(document, tmp_path):
    (tmp_path / "key").write_text("s3cret\n")
    assert find(document("a: ${file:key}\n").root, ("a",)).value.text == "s3cret"
