"""What stands behind a dollar sign."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.config.interpolate import interpolate

ENV = {"NAME": "ada", "EMPTY": "", "DOLLARS": "a${NAME}$$b"}


def no_file(name):
    raise FileNotFoundError(2, "No such file or directory")


def text_of(text, read_file=no_file):
    found = interpolate(text, ENV, read_file)
    assert found.problems == []
    return found.text


def problem_of(text, read_file=no_file):
    (only,) = interpolate(text, ENV, read_file).problems
    return only


@given(st.text().filter(lambda text: "$" not in text))
def test_text_without_a_dollar_sign_stays_as_it_is(text):
    found = interpolate(text, ENV, no_file)
    assert (found.text, found.used, found.problems) == (text, False, [])


@given(st.text())
def test_doubled_dollar_signs_come_back_single(text):
    found = interpolate(text.replace("$", "$$"), ENV, no_file)
    assert (found.text, found.used, found.problems) == (text, False, [])


@given(st.text(alphabet="${}:-?NAMEfile/ \n"))
def test_any_text_gives_text_or_problems_and_never_an_error(text):
    interpolate(text, ENV, no_file)


@given(st.text(), st.text(alphabet="ab:-?{ "))
def test_a_default_is_used_only_without_a_value(value, default):
    found = interpolate(f"${{X:-{default}}}", {"X": value}, no_file)
    assert found.text == (value or default)
    assert found.defaulted is not bool(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${NAME}", "ada"),
        ("<${NAME}-${NAME}>", "<ada-ada>"),
        ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"),
        ("${NAME:-x}", "ada"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:b/c?d}", "a:b/c?d"),
        ("${UNSET:-a$$b}", "a$b"),
        ("${NAME:?give one}", "ada"),
        ("$NAME costs $5", "$NAME costs $5"),
        ("$${NAME}", "${NAME}"),
        ("trailing $", "trailing $"),
        ("${DOLLARS}", "a${NAME}$$b"),
    ],
)
def test_what_is_put_in(text, expected):
    assert text_of(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${UNSET}", "environment variable UNSET is not set"),
        ("${UNSET:?ask the shop}", "environment variable UNSET is not set: ask the shop"),
        ("${EMPTY:?ask the shop}", "EMPTY is not set: ask the shop"),
        ("${NAME", "without its closing }"),
        ("${}", "malformed"),
        ("${1A}", "malformed"),
        ("${NAME-x}", "malformed ${NAME…}"),
        ("${NAME:x}", "malformed ${NAME…}"),
        ("${UNSET:-${NAME}}", "cannot hold another ${…}"),
        ("${file:}", "names no file"),
        ("${file:/nowhere}", "cannot read /nowhere: No such file or directory"),
    ],
)
def test_what_is_wrong_is_said_with_a_remedy(text, words):
    assert words in problem_of(text)


def test_every_problem_of_a_value_is_found():
    assert len(interpolate("${A} ${B} ${C", {}, no_file).problems) == 3


def test_a_file_loses_its_last_newline_only():
    assert text_of("${file:/key}", lambda name: f" one\ntwo ({name})\r\n") == " one\ntwo (/key)"


def test_a_file_that_is_no_text_is_a_problem():
    def binary(name):
        return b"\xff".decode()

    assert problem_of("${file:/key}", binary) == "cannot read /key: not UTF-8 text"
