"""When two values are the same at a vendor: by type, and for whatever a vendor does to whatever it is given."""

from __future__ import annotations

import copy
import itertools
import os
import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.regenerate import ROOT

from esplanade.model import Alters
from esplanade.sync.alike import alike

LONG = os.environ.get("ESPLANADE_PROFILE") == "long"
many = settings(max_examples=5_000 if LONG else 150)

AMSTERDAM = "Europe/Amsterdam"
TIDY = {"text": Alters(trim=True)}
SHOUTING = {"text": Alters(ignores_case=True)}
SHORT = {"text": Alters(trim=True, max_length=5)}
CENTS = {"number": Alters(decimals=2)}
DUTCH = {
    "date": Alters(formats=["%d-%m-%Y"], timezone=AMSTERDAM),
    "datetime": Alters(formats=["%Y-%m-%d %H:%M:%S", "%d-%m-%Y %H:%M"], timezone=AMSTERDAM),
}
ONLY_DATE = {"date": Alters(only_date=True, timezone=AMSTERDAM)}
ALWAYS_ONLY_DATE = {"datetime": Alters(only_date=True)}
EVERYTHING = {
    "text": Alters(trim=True, ignores_case=True, max_length=4),
    "number": Alters(decimals=1),
    "boolean": Alters(true=["ja"], false=["nee"]),
    "date": Alters(formats=["%d.%m.%Y"], only_date=True, timezone="Asia/Tokyo"),
    "datetime": Alters(formats=["%d/%m/%y %H:%M"], timezone=AMSTERDAM, only_date=True),
    "multi-select": Alters(separator="; ", ignores_case=True),
}

WORDS = st.text("abcXYZ éÉžŽřŘΣσςß\t\n0123456789-:", max_size=12)
TEXTS = WORDS | st.text(max_size=12) | st.text(st.characters(categories=["Cs", "Lu", "Zs"]), max_size=4)
NUMBERS = st.integers() | st.floats() | st.decimals(-1000, 1000, places=3).map(float)
MOMENTS = st.datetimes(datetime.fromisoformat("1000-01-02"), datetime.fromisoformat("9999-12-30"))
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))])
DATES = st.one_of(
    MOMENTS.map(lambda at: at.date().isoformat()),
    MOMENTS.map(lambda at: at.isoformat(" ", "seconds")),
    st.builds(lambda at, zone: at.replace(tzinfo=zone).isoformat(), MOMENTS, ZONES),
    MOMENTS.map(lambda at: at.strftime("%d.%m.%Y")),
)
SCALARS = st.booleans() | NUMBERS | TEXTS | DATES
VALUES = st.none() | SCALARS | st.lists(SCALARS, max_size=4)
RULES = st.sampled_from([{}, EVERYTHING, TIDY, SHOUTING, SHORT, CENTS, DUTCH, ONLY_DATE, ALWAYS_ONLY_DATE])
TEXT_RULES = st.builds(Alters, trim=st.booleans(), ignores_case=st.booleans(), max_length=st.none() | st.integers(1, 6))


# By type.

SAME = {
    "nothing and empty": [(None, ""), (None, []), ("", []), ("", [""])],
    "a number and its text": [(12, "12"), (12.0, 12), (12.0, "12"), (12.5, "12.50"), (1000, "1e3"), (1e16, "1e+16")],
    "a decimal comma": [(12.5, "12,5"), (-0.5, "-0,500"), (1234.5, "1234,500")],
    "what is no number like itself": [(float("nan"), float("nan")), (float("nan"), "nan"), (float("inf"), "inf")],
    "a float and all its digits": [(1e23, f"{1e23:.2f}")],
    "true and its words": [
        (True, "true"),
        (True, "Yes"),
        (True, "1"),
        (True, 1),
        (False, "NO"),
        (False, "0"),
        (False, 0),
    ],
    "choices in any order": [(["a", "b"], ["b", "a"]), (["a", "b"], "b, a"), ([1, 2.0], "2,1"), (["a"], "a")],
    "one letter written as two": [("\u00e9", "e\u0301"), (["\u00e9"], ["e\u0301"])],
    "one moment": [
        ("2026-01-15T10:00:00Z", "2026-01-15T11:00:00+01:00"),
        ("2026-01-15T10:00:00Z", "2026-01-15 10:00"),
        ("2026-01-15T10:00:00Z", "2026-01-15t10:00:00.000z"),
        ("2026-01-15", "2026-01-15T00:00:00"),
    ],
}
OTHER = {
    "text": [("Ada", "ada"), ("Ada", "Ada "), ("Ada  B", "Ada B"), ("e", "\u00e9"), ("Ada", None), (" ", "")],
    "text that looks like a number": [("012", "12"), ("1.0", "1"), ("yes", "true"), ("12", "12.0")],
    "numbers": [(12, "12.5"), (12, 13), (12.5, 12.51), (None, "0"), (None, 0), (0.1, ".2"), (12, "12 EUR"), (1, "١")],
    "a comma that may part thousands": [(1.5, "1,500"), (1500, "1,500"), (-123.456, "-123,456")],
    "true and false": [(True, "false"), (True, False), (False, None), (True, "2"), (True, 2), (True, "ja"), (True, "")],
    "lists": [(["a", "b"], ["a"]), (["a", "b"], "a;b"), (["a"], ["A"]), (["a"], None), ("a,b", "b,a")],
    "moments": [
        ("2026-01-15T10:00:00Z", "2026-01-15T10:00:00+01:00"),
        ("2026-01-15T10:00:00Z", "2026-01-15T10:00:01Z"),
        ("2026-01-15T10:00:00Z", "2026-01-15"),
        ("2026-01-15", "15-01-2026"),
        ("2026-02-30", "2026-03-02"),
    ],
}


def pairs(table):
    return [pytest.param(*pair, id=f"{what} {pair}") for what, all_pairs in table.items() for pair in all_pairs]


@pytest.mark.parametrize(("one", "other"), pairs(SAME))
def test_without_a_declaration_the_same_value_in_another_form_is_alike(one, other):
    assert alike(one, other)
    assert alike(other, one)


@pytest.mark.parametrize(("one", "other"), pairs(OTHER))
def test_without_a_declaration_different_values_are_not(one, other):
    assert not alike(one, other)
    assert not alike(other, one)


DECLARED = {
    "blanks": (TIDY, [(" Ada\u00a0 B\n", "Ada B"), ("  ", None)], [("Ada", "ada"), ("AdaB", "Ada B")]),
    "case": (
        SHOUTING,
        [("Straße", "STRASSE"), ("ΟΔΟΣ", "οδος"), ("İ", "İ".lower()), ("ılık", "ILIK"), ("\u00c9", "e\u0301")],
        [("Ada", "Ada "), ("e", "\u00e9")],
    ),
    "length": (
        SHORT,
        [("Katherine", "Kathe"), ("Ada, Countess", "Ada,"), ("Ada B", "Ada B Lovelace")],
        [("Ada", "Ad")],
    ),
    "decimals": (
        CENTS,
        [(1.005, 1.0), (1.005, "1.01"), (-2.675, -2.67), (12.344, "12,34"), (12.34, 12.3400001)],
        [(1.005, 1.02), (12.34, 12.35), (12, 13), (2.665, 2.675), (1, "one")],
    ),
    "words": (
        EVERYTHING,
        [(True, "Ja"), (False, " nee "), (True, "yes")],
        [(True, "nee"), (False, "ja"), (True, "jawohl")],
    ),
    "a separator": (EVERYTHING, [(["a", "b"], "B; a")], [(["a", "b"], "a,b")]),
    "forms of dates": (
        DUTCH,
        [
            ("2026-01-15", "15-01-2026"),
            ("2026-07-15T10:00:37+00:00", "2026-07-15 12:00:37"),
            ("2026-07-15T10:00:37.5Z", "2026-07-15 12:00:37"),
            ("2026-07-15T10:00:37Z", "15-07-2026 12:00"),
            ("15-01-2026 10:00", "2026-01-15 10:00:00"),
            ("2026-01-15T23:30:00Z", "16-01-2026"),
            ("2026-01-15", "2026-01-14T23:00:00Z"),
        ],
        [("2026-01-15", "16-01-2026"), ("2026-07-15T10:00:37Z", "2026-07-15 10:00:37"), ("2026-01-15", "01-15-2026")],
    ),
    "the hour that comes twice": (
        DUTCH,
        [("2026-10-25T00:30:00Z", "2026-10-25 02:30:00"), ("2026-10-25T01:30:00Z", "2026-10-25 02:30:00")],
        [("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z")],
    ),
    "dates without a time": (
        ONLY_DATE,
        [
            ("2026-01-15T10:00:00Z", "2026-01-15"),
            ("2026-01-15T23:30:00Z", "2026-01-16"),
            ("2026-01-15T23:30:00Z", "2026-01-15"),
            ("2026-01-15T10:00:00Z", "2026-01-15 00:00:00"),
        ],
        [("2026-01-15T10:00:00Z", "2026-01-16"), ("2026-01-15T10:00:00Z", "2026-01-15T11:00:00Z")],
    ),
    "times that are lost": (
        ALWAYS_ONLY_DATE,
        [("2026-01-15T10:00:00Z", "2026-01-15T11:00:00Z")],
        [("2026-01-15T10:00:00Z", "2026-01-16T10:00:00Z")],
    ),
    "dates where text is cut": (
        {"text": Alters(max_length=10)},
        [("2026-01-15T10:00:00Z", "2026-01-15")],
        [("2026-01-15", "2026-01-16"), ("2026-01-15T10:00:00Z", "2026-01-15T11:00:00Z")],
    ),
}


@pytest.mark.parametrize("what", DECLARED)
def test_what_a_vendor_declares_makes_values_alike_and_nothing_else_does(what):
    rules, same, other = DECLARED[what]
    for pair in same:
        assert alike(*pair, rules), pair
        assert alike(*reversed(pair), rules), pair
    for pair in other:
        assert not alike(*pair, rules), pair
        assert not alike(*reversed(pair), rules), pair


@pytest.mark.parametrize(
    "pair", [("a", "a "), ("a", "A"), ("katherine", "kath"), (1.23, 1.2), ("15.01.2026", "2026-01-15")]
)
def test_without_the_declaration_none_of_it_counts(pair):
    assert alike(*pair, EVERYTHING)
    assert not alike(*pair)


# For any values at all.

AWKWARD = [10**5000, -(10**400), float("nan"), float("-inf"), "9" * 5000, "1e9999", "\ud800", "x" * 70_000]
AWKWARD += ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01", "9999-12-31", "2026-01-15T24:61Z"]


@pytest.mark.parametrize("rules", [{}, EVERYTHING, DUTCH], ids=["given", "everything", "dutch"])
def test_no_two_values_are_too_awkward_to_compare(rules):
    for one in AWKWARD:
        for other in [*AWKWARD, None, True, 0, 0.5, [10**5000, "\ud800"]]:
            assert alike(one, other, rules) is alike(other, one, rules)


@many
@given(VALUES, RULES)
def test_every_value_is_like_itself(value, rules):
    assert alike(value, copy.deepcopy(value), rules)


@many
@given(VALUES, VALUES, RULES)
def test_likeness_goes_both_ways(one, other, rules):
    assert alike(one, other, rules) is alike(other, one, rules)


@many
@given(SCALARS.filter(lambda value: not isinstance(value, bool)))
def test_a_number_or_text_is_like_its_text(value):
    assert alike(value, str(value))


@many
@given(st.lists(st.text("aAß \u00e9e\u0301", max_size=3), min_size=8, max_size=8), TEXT_RULES)
def test_texts_that_are_like_the_same_text_are_like_each_other(texts, rules):
    for one, two, three in itertools.permutations(texts, 3):
        if alike(one, two, {"text": rules}) and alike(two, three, {"text": rules}):
            assert alike(one, three, {"text": rules})


@many
@given(TEXTS.filter(str.strip), TEXT_RULES)
def test_however_short_text_is_cut_it_is_never_like_nothing(text, rules):
    assert not alike(text, "", {"text": rules})
    assert not alike(text, None, {"text": rules})


@many
@given(st.text("aAbB ", max_size=5), st.text("aAbB ", max_size=5), TEXT_RULES)
def test_two_texts_of_which_a_vendor_makes_different_ones_are_not_alike(one, other, rules):
    assert alike(one, other, {"text": rules}) is (written(one, rules, str.lower) == written(other, rules, str.lower))


# Whatever a vendor does to whatever it is given.


def written(text, rules, case=str):
    """What a vendor that does all that is declared holds of a text."""
    text = re.sub(r"\s+", " ", text).strip() if rules.trim else text
    text = case(text) if rules.ignores_case else text
    text = text if rules.max_length is None else text[: rules.max_length]
    return text.strip() if rules.trim else text


CASES = [str.lower, str.upper, str.capitalize, str.title, str.swapcase]


@many
@given(st.text("abcXYZ éÉžŽřŘőïΣσςάß\t\n0123456789-:", max_size=12) | DATES, TEXT_RULES, st.sampled_from(CASES))
@example("2026-01-15T10:00:00Z", Alters(max_length=10), str.lower)
def test_text_that_a_vendor_tidies_is_like_what_was_given(text, rules, case):
    text = unicodedata.normalize("NFC", text)
    assert alike(text, written(text, rules, case), {"text": rules})


ROUNDINGS = [
    lambda value, decimals: round(value, decimals),
    lambda value, decimals: f"{value:.{decimals}f}",
    lambda value, decimals: float(Decimal(str(value)).quantize(Decimal((0, (1,), -decimals)), ROUND_HALF_UP)),
]


@many
@given(
    st.floats(-1e9, 1e9) | st.decimals(-1000, 1000, places=3).map(float), st.integers(0, 6), st.sampled_from(ROUNDINGS)
)
def test_a_number_that_a_vendor_rounds_is_like_what_was_given(value, decimals, held):
    assert alike(value, held(value, decimals), {"number": Alters(decimals=decimals)})


@many
@given(st.floats(-1e6, 1e6), st.floats(0.0102, 1e6))
def test_numbers_further_apart_than_rounding_takes_them_are_not_alike(value, apart):
    assert not alike(value, value + apart, CENTS)


FORMS = ["%Y-%m-%d %H:%M:%S", "%d/%m/%Y %H:%M", "%d.%m.%y %H:%M:%S", "%m/%d/%Y %I:%M %p", "%d %B %Y", "%Y%m%dT%H%M%S%z"]


@many
@given(MOMENTS, ZONES, st.sampled_from(FORMS), st.sampled_from([AMSTERDAM, "UTC", "America/New_York"]))
@example(datetime(2026, 10, 25, 1, 30, tzinfo=UTC), UTC, FORMS[0], AMSTERDAM)
def test_a_time_that_a_vendor_writes_in_its_own_form_is_like_what_was_given(at, zone, form, vendor_zone):
    at = at.replace(tzinfo=zone)
    held = at.astimezone(ZoneInfo(vendor_zone)).strftime(form)
    assert alike(at.isoformat(), held, {"datetime": Alters(formats=[form], timezone=vendor_zone)})


@many
@given(MOMENTS, ZONES, st.sampled_from([AMSTERDAM, "Asia/Tokyo"]))
def test_a_time_of_which_a_vendor_keeps_the_day_is_like_what_was_given(at, zone, vendor_zone):
    at = at.replace(tzinfo=zone)
    rules = {"date": Alters(only_date=True, timezone=vendor_zone)}
    assert alike(at.isoformat(), at.astimezone(ZoneInfo(vendor_zone)).date().isoformat(), rules)
    assert alike(at.isoformat(), at.isoformat()[:10], rules)


@many
@given(
    st.lists(st.text("abcABC é", max_size=5) | st.integers(), max_size=5),
    st.sampled_from([",", ";", "|", ", "]),
    st.randoms(),
)
def test_choices_that_a_vendor_shuffles_and_joins_are_like_what_was_given(choices, separator, random):
    rules = {"multi-select": Alters(separator=separator, ignores_case=True)}
    shuffled = random.sample(choices, len(choices))
    assert alike(choices, shuffled, rules)
    assert alike(choices, separator.join(str(choice).upper() for choice in shuffled), rules)


# The declaration.


@pytest.mark.parametrize(
    ("wrong", "about"),
    [
        ({"max_length": 0}, "max_length"),
        ({"decimals": -1}, "decimals"),
        ({"separator": ""}, "separator"),
        ({"timezone": "Europe/Atlantis"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"formats": ["%H:%M"]}, "formats"),
        ({"formats": ["%d.%m.%Y", "%Q"]}, "formats"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(wrong, about):
    with pytest.raises(ValueError, match=f"^{about}: "):
        Alters(**wrong)


def test_everything_that_can_be_declared_is_in_the_table_of_the_docs():
    page = (ROOT / "docs/explanation/echoes-and-loops.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    named = set(re.findall(r"`([a-z_]+)`", " ".join(row.split("|")[2] for row in rows)))
    assert {each.name for each in msgspec.structs.fields(Alters)} <= named
