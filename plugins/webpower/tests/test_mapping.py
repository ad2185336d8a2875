"""Values on their way to Webpower and back."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from esplanade import Product
from esplanade_webpower.mapping import (
    MAX_VALUE,
    acknowledged,
    contact_body,
    custom_entries,
    fields_of,
    product_data,
    same_address,
    stored,
    with_foreign_fields,
)

SCALARS = st.one_of(
    st.text(max_size=60), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.one_of(st.none(), SCALARS, st.lists(SCALARS, max_size=4))
NAMES = st.text(alphabet="abcdefgRH_0123456789", min_size=1, max_size=12).filter(lambda name: name != "id")


@given(st.dictionaries(st.one_of(NAMES, st.just("mobile_nr")), VALUES, max_size=6))
def test_a_report_of_what_was_sent_equals_what_was_acknowledged(fields):
    body = json.loads(json.dumps(contact_body("a@example.net", fields)))
    held = {**fields, **(acknowledged(fields) or {})}
    assert fields_of(body, set(fields)) == held


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_sending_what_was_reported_changes_nothing(fields):
    once = contact_body("a@example.net", fields)
    again = fields_of(once, set(fields))
    assert contact_body("a@example.net", again) == once
    assert acknowledged(again) is None


@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_every_value_leaves_as_text(fields):
    assert all(isinstance(entry["value"], str) for entry in contact_body("a@example.net", fields)["custom"])


@given(st.dictionaries(NAMES, st.text(max_size=9), max_size=5), st.dictionaries(NAMES, st.text(max_size=9), max_size=5))
def test_the_fields_of_others_survive_a_replacing_write(ours, theirs):
    held = {"custom": [{"field": name, "value": value} for name, value in theirs.items()]}
    whole = with_foreign_fields(contact_body("a@example.net", ours), held)
    after = {entry["field"]: entry["value"] for entry in custom_entries(whole)}
    assert after == {**theirs, **ours}
    assert len(whole["custom"]) == len(after)


def test_empty_and_nothing_are_the_same_at_webpower():
    assert acknowledged({"city": ""}) == {"city": None}
    assert acknowledged({"city": None}) is None
    assert fields_of({"custom": [{"field": "city", "value": ""}]}, {"city"}) == {"city": None}
    assert fields_of({"custom": []}, {"city"}) == {}, "a field that is not listed says nothing"


def test_a_language_is_kept_without_its_country():
    assert [stored("lang", each) for each in ("nl", "NL", "nl-BE", "Dutch", None)] == ["nl", "nl", "nl", "Dutch", None]


def test_addresses_compare_without_regard_to_case():
    assert same_address("Noor@Example.net", "noor@example.NET")
    assert not same_address("strasse@example.net", "straße@example.net")
    assert not same_address(None, "noor@example.net")


@given(st.integers(0, 3000))
def test_a_product_set_that_is_too_long_loses_its_last_products(count):
    items = [Product(id=f"SKU-{number}", title="x" * 80) for number in range(count)]
    for encoding, name in (("json", "DMD_products"), ("html", "DMD_products_html")):
        data = product_data(items, encoding)
        assert len(data[name]) <= MAX_VALUE
        shown = int(data["DMD_product_count"])
        assert data[name].count("SKU-" if encoding == "json" else '<div class="product">') == shown
        assert shown == count or len(data[name]) > MAX_VALUE - 200
