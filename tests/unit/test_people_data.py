"""tests/data/people.csv is what its script writes, and holds the variety that the other tests and the demo count on."""

import csv
import importlib.util
import io
import re
import unicodedata
from datetime import date
from pathlib import Path

import pytest
from email_validator import validate_email

DATA = Path(__file__).parents[1] / "data"
OPTIONAL = [
    "id",
    "firstname",
    "lastname",
    "birthdate",
    "phone",
    "city",
    "ltv",
    "consent:newsletter",
    "consent:service",
    "audience:vip",
    "audience:churn-risk",
]


@pytest.fixture(scope="module")
def people():
    text = (DATA / "people.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def values(people, column):
    return [person[column] for person in people if person[column]]


def in_script(text, script):
    return any(unicodedata.name(c, "").startswith(script) for c in text)


def test_the_script_writes_the_same_bytes_again():
    spec = importlib.util.spec_from_file_location("make_people", DATA / "make_people.py")
    make_people = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_people)
    assert make_people.people_csv() == (DATA / "people.csv").read_bytes(), "run `make data`"


def test_there_are_enough_people_and_the_columns_that_import_reads(people):
    assert len(people) == 2_048
    assert list(people[0]) == ["email", *OPTIONAL]


def test_every_address_is_valid_and_belongs_to_one_person_only(people):
    normalised = [
        validate_email(p["email"], check_deliverability=False, globally_deliverable=False).normalized for p in people
    ]
    assert len({address.casefold() for address in normalised}) == len({a.lower() for a in normalised}) == len(people)


def test_no_address_can_be_anybodys(people):
    for email in values(people, "email"):
        assert re.search(r"@(.+\.)?(example\.com|example\.net|example\.org|example)$", email), email


@pytest.mark.parametrize(
    ("kind", "has_it", "at_least"),
    [
        ("a tag", lambda local, domain: "+" in local, 100),
        ("upper-case letters", lambda local, domain: local.isupper(), 100),
        ("mixed case", lambda local, domain: local != local.lower() and not local.isupper(), 100),
        ("an apostrophe", lambda local, domain: "'" in local, 20),
        ("a local part that is not ASCII", lambda local, domain: not local.isascii(), 10),
        ("a domain that is not ASCII", lambda local, domain: not domain.isascii(), 100),
        ("a domain in its ASCII form", lambda local, domain: "xn--" in domain, 20),
        ("a subdomain", lambda local, domain: domain.count(".") >= 2, 100),
    ],
)
def test_addresses_vary(people, kind, has_it, at_least):
    assert sum(has_it(*email.split("@")) for email in values(people, "email")) >= at_least, kind


@pytest.mark.parametrize(
    ("kind", "has_it", "at_least"),
    [
        ("a comma", lambda name: "," in name, 50),
        ("a double quote", lambda name: '"' in name, 50),
        ("an apostrophe", lambda name: "'" in name, 100),
        ("Greek letters", lambda name: in_script(name, "GREEK"), 300),
        ("Czech letters", lambda name: any(c in "řŘšŠčČžŽěýťŽ" for c in name), 200),
        ("German letters", lambda name: any(c in "äöüßÖ" for c in name), 200),
        ("letters of Dutch", lambda name: any(c in "ëïéç" for c in name), 30),
        ("plain ASCII", str.isascii, 300),
        ("an emoji", lambda name: any(unicodedata.category(c) == "So" for c in name), 10),
        ("an emoji of several code points", lambda name: "\u200d" in name or "\ufe0f" in name, 3),
    ],
)
def test_names_vary(people, kind, has_it, at_least):
    assert sum(has_it(person["firstname"] + person["lastname"]) for person in people) >= at_least, kind


@pytest.mark.parametrize("column", OPTIONAL)
def test_every_optional_column_is_empty_for_some_and_filled_for_some(people, column):
    filled = len(values(people, column))
    assert 100 <= filled <= len(people) - 100


def test_a_tenth_has_no_id_and_the_other_ids_are_unique(people):
    ids = values(people, "id")
    assert len(ids) == len(set(ids)) == 1_844
    assert all(re.fullmatch(r"u-\d+", one) for one in ids)


def test_birthdates_are_dates_with_leap_days_and_some_before_1970(people):
    dates = [date.fromisoformat(text) for text in values(people, "birthdate")]
    assert sum(day.month == 2 and day.day == 29 for day in dates) >= 10
    assert sum(day.year < 1970 for day in dates) >= 300
    assert sum(day.year >= 1970 for day in dates) >= 300


@pytest.mark.parametrize("prefix", ["+31", "+420", "+30"])
def test_phones_are_e164_from_three_countries(people, prefix):
    phones = values(people, "phone")
    assert all(re.fullmatch(r"\+[1-9]\d{7,14}", phone) for phone in phones)
    assert sum(phone.startswith(prefix) for phone in phones) >= 300


def test_lifetime_values_are_whole_numbers_amounts_and_zero(people):
    amounts = values(people, "ltv")
    assert all(float(amount) >= 0 for amount in amounts)
    assert amounts.count("0") >= 100
    assert sum("." in amount for amount in amounts) >= 100


@pytest.mark.parametrize("column", ["consent:newsletter", "consent:service"])
def test_consents_are_granted_denied_or_not_said(people, column):
    said = [person[column] for person in people]
    assert set(said) == {"granted", "denied", ""}
    assert min(said.count(state) for state in set(said)) >= 50


@pytest.mark.parametrize("column", ["audience:vip", "audience:churn-risk"])
def test_audiences_are_joined_left_or_not_said(people, column):
    said = [person[column] for person in people]
    assert set(said) == {"true", "false", ""}
    assert min(said.count(word) for word in set(said)) >= 100
