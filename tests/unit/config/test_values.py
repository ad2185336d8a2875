"""Values of the types that their keys have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.config.convert import FAILED, Converter
from esplanade.config.nodes import Scalar, resolved
from esplanade.config.problems import Place, Problems
from esplanade.errors import ConfigError


def scalar(text, **more):
    return Scalar(place=Place(), text=text, **more)


def converted(text, kind, *, vendor=False, **more):
    problems = Problems()
    found = Converter(problems).value(scalar(text, **more), kind, ("x",), vendor=vendor)
    assert (found is FAILED) == bool(problems.found)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("FALSE", False),
        ("no", "no"),
        ("on", "on"),
        ("0135", 135),
        ("-7", -7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("12:30", "12:30"),
        ("2026-01-15", "2026-01-15"),
    ],
)
def test_plain_scalars_are_what_yaml_1_2_says(text, expected):
    found = resolved(scalar(text))
    assert found == expected
    assert type(found) is type(expected)
    assert resolved(scalar(text, plain=False)) == text


@given(st.text())
def test_every_plain_scalar_can_be_resolved(text):
    resolved(scalar(text))


@pytest.mark.parametrize("text", ["0135", "1.10", "00", "1e3", "318", "abc"])
def test_a_vendors_text_keeps_its_source(acme, text):
    assert acme(f"tags: [{text}]").tags == [text]
    assert acme(f'tags: ["{text}"]').tags == [text]


@pytest.mark.parametrize(
    ("text", "expected"), [("135", 135), ("0135", "0135"), ('"135"', "135"), ("1.10", "1.10"), ("eu-1", "eu-1")]
)
def test_a_vendors_number_or_text_keeps_what_a_number_would_lose(acme, text, expected):
    assert acme(f"list_id: {text}").list_id == expected


def test_text_of_the_core_is_no_number(problems):
    assert problems("hub: {language: 12}") == ["1:17: hub.language: expected text; put it in quotes"]


def test_what_is_put_in_takes_the_type_of_its_key(acme):
    found = acme(
        """
        page_size: ${SIZE}
        share: "${SHARE}"
        strict: ${STRICT:-false}
        list_id: ${LIST}
        tags: ["${SIZE}"]
        mode: ${MODE}
        """,
        SIZE="20", SHARE="1", STRICT="", LIST="0135", MODE="full",
    )  # fmt: skip
    assert (found.page_size, found.share, found.strict, found.list_id) == (20, 1.0, False, "0135")
    assert (found.tags, found.mode) == (["20"], "full")
    assert isinstance(found.share, float)


def test_what_is_put_in_empty_means_nothing_where_nothing_is_allowed(acme):
    assert acme("region: {zone: '${Z:-}'}").region.zone is None
    assert acme("code: ${C:-}").code is None


def test_any_value_may_hold_anything(acme):
    assert acme("extra: {a: [1, 2.5, true, ~, no], b: {c: '1'}}").extra == {
        "a": [1, 2.5, True, None, "no"],
        "b": {"c": "1"},
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("page_size: 0", "page_size: expected 1 or more"),
        ("page_size: 501", "page_size: expected 500 or less"),
        ("page_size: '5'", "page_size: expected a whole number; remove the quotes"),
        ("page_size: 5.5", "page_size: expected a whole number"),
        ("page_size: true", "page_size: expected a whole number"),
        ("page_size: [1]", "page_size: expected a whole number"),
        ("page_size:", "page_size: has no value; expected a whole number, or leave the key out"),
        ("share: half", "share: expected a number"),
        ("strict: no", "strict: expected true or false; write false"),
        ("strict: 1", "strict: expected true or false"),
        ("mode: ful", "mode: 'ful' is not one of merge, full; did you mean full?"),
        ("tags: a", "tags: expected a list of text, in [ ]"),
        ("tags: [a, true]", "tags[1]: expected text; put it in quotes"),
        ("extra: [a]", "extra: expected keys beneath it; write {} for none"),
        ("region: {code: au}", "region.code: 'au' is not one of eu, us"),
        ("region: {cod: eu}", "region.cod: unknown key; did you mean code?"),
        ("region: eu", "region: expected keys beneath it; write {} for none"),
        ("region: {zone: true}", "region.zone: expected a whole number or text"),
        ("code: abc", "code: expected text that matches ^[A-Z]{2}$"),
        (
            "base_url: ftp://a",
            "base_url: expected a URL such as https://api.vendor.example, without user name, query or fragment",
        ),
        ("list_id: [1]", "list_id: expected a whole number or text"),
    ],
)
def test_what_does_not_fit_is_said_in_words(acme_problems, line, expected):
    assert acme_problems(line) == [expected]


def test_a_rule_of_the_plugin_is_put_at_its_key(problems):
    text = "connectors:\n  acme:\n    settings:\n      api_key: k\n      account: forbidden\n"
    assert problems(text) == ["5:16: connectors.acme.settings.account: this one is closed; use another"]


def test_one_wrong_value_hides_no_other(acme_problems):
    found = acme_problems("page_size: x\nshare: y\nregion: {code: z}\nnothing: 1")
    assert [line.partition(":")[0] for line in found] == ["page_size", "share", "region.code", "nothing"]


@pytest.mark.parametrize("value", ["hunter2hunter2hunter2", "true", "[hunter2hunter2]"])
def test_no_problem_shows_what_is_secret(load, value):
    text = f"""
        hub: {{listen: "0.0.0.0:80", admin_token: {value}}}
        sources: {{shop: {{token: {value}, maybe: 1}}}}
        connectors:
          acme:
            settings: {{account: forbidden, api_key: {value}, mode: "${{S}}", page_size: "${{S}}", base_url: "${{S}}"}}
    """
    with pytest.raises(ConfigError) as caught:
        load(text, S="hunter2hunter2")
    assert len(caught.value.problems) >= 4
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (tuple[int, ...], "[1, 2]", (1, 2)),
        (tuple[int, str], "[1, a]", (1, "a")),
        (set[str], "[a, a]", {"a"}),
        (frozenset[int], "[3]", frozenset({3})),
        (list[list[int]], "[[1], []]", [[1], []]),
        (dict[int, str], "{1: a}", {1: "a"}),
        (dict[str, list[int]] | int, "{a: [1]}", {"a": [1]}),
        (list[int] | str, "a", "a"),
        (list[int] | str, "[1]", [1]),
        (bool | int | float | str, "1.5", 1.5),
        (int | None, "~", None),
    ],
)
def test_types_that_plugins_may_use(tmp_path, kind, text, expected):
    from esplanade.config import read

    path = tmp_path / "f.yaml"
    path.write_text(f"x: {text}\n")
    problems = Problems()
    found = Converter(problems).value(read(path, {}).root.entries["x"].value, kind, ("x",))
    assert problems.found == []
    assert found == expected
