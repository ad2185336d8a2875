"""Values: what the hub sends and the account takes comes back alike, and what cannot be said names its field."""

import re
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from esplanade import PermanentError
from esplanade.testing import FakeClock
from esplanade_smartemailing.mapping import acknowledged, contact_row, is_outdated, shown_values
from esplanade_smartemailing.settings import BUILT_IN
from esplanade_smartemailing.twin import SmartEmailingTwin
from esplanade_smartemailing.twin_answers import contact_row as told
from esplanade_smartemailing.twin_values import RefusedError
from esplanade_smartemailing.values import CustomField, local

from .test_settings import settings

PLAIN = settings()
ADA = "ada@example.com"


def account():
    return SmartEmailingTwin(SmartEmailingTwin.demo_settings(), clock=FakeClock())


def fields_of(twin):
    known = twin.account
    return {
        each.name: CustomField(
            id=each.id, name=each.name, type=each.type, options={o.name: o.id for o in known.options_of(each.id)}
        )
        for each in known.fields.values()
    }


def there_and_back(values, *, habit="both", changed=PLAIN, before=None):
    """What is held after values were imported, and what the plugin said would be."""
    twin = account()
    twin.habits.cleared_by = habit
    fields = fields_of(twin)
    for each in (before, values):
        if each is not None:
            row = contact_row(ADA, each, fields, changed)
            twin.importer.run(
                {"settings": dict.fromkeys(("add_genders", "add_namedays", "add_salutions"), False), "data": [row]}
            )
    contact = twin.account.find(ADA)
    shown = shown_values(told(twin.account, contact, "", expanded=True), values, fields, changed.esp_timezone)
    return shown, {**values, **(acknowledged(values, row, fields, changed) or {})}


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).filter(lambda text: text == text.strip())


class TestWhatIsSentComesBack:
    @given(st.sampled_from([*BUILT_IN[:13], "loyalty_tier"]), texts)
    def test_texts(self, name, text):
        shown, said = there_and_back({name: text})
        assert shown == {name: text or None}
        assert said[name] == (text or None)

    @given(st.integers(-(10**14), 10**14) | st.floats(allow_nan=False, allow_infinity=False, width=32))
    def test_numbers(self, number):
        shown, said = there_and_back({"points": number})
        assert said == shown
        assert float(shown["points"]) == pytest.approx(float(number))

    @given(st.booleans())
    def test_yes_and_no(self, value):
        shown, said = there_and_back({"wants_paper": value})
        assert shown == said == {"wants_paper": value}

    @given(st.dates())
    def test_dates(self, day):
        values = {"birthday": day.isoformat(), "nameday": day.isoformat(), "member_since": day.isoformat()}
        shown, said = there_and_back(values)
        assert shown == said == values

    @given(
        st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds it
        st.sampled_from(["Europe/Prague", "UTC", "America/New_York", "Asia/Kathmandu"]),
    )
    def test_times(self, moment, zone):
        sent = moment.replace(microsecond=0).isoformat()
        shown, said = there_and_back({"member_since": sent}, changed=settings(esp_timezone=zone))
        assert shown == said, "whatever form it comes back in is told"
        if len(said["member_since"]) > 10:
            gap = abs(datetime.fromisoformat(shown["member_since"]) - datetime.fromisoformat(sent))
            assert gap.total_seconds() in {0, 3_600}, "an hour that comes twice is told apart by nobody"

    @given(st.lists(st.sampled_from(["red", "blue", "green"]), unique=True))
    def test_several_options(self, chosen):
        shown, said = there_and_back({"interests": chosen})
        assert set(shown["interests"] or []) == set(chosen)
        assert said == shown

    @given(st.sampled_from(["S", "M", "L"]))
    def test_one_option(self, chosen):
        shown, said = there_and_back({"size": chosen})
        assert shown == said == {"size": chosen}

    @given(
        st.dictionaries(
            st.sampled_from([*BUILT_IN, "loyalty_tier", "points", "member_since", "wants_paper", "interests", "size"]),
            st.none() | texts | st.booleans() | st.integers() | st.lists(texts, max_size=3),
            max_size=4,
        )
    )
    def test_whatever_is_taken_is_told_as_it_is_held(self, values):
        try:
            shown, said = there_and_back(values)
        except RefusedError:
            reject()
        except PermanentError as why:
            if not any(str(why).startswith(f"{name}:") for name in values):
                raise
            return
        assert said == shown


@pytest.mark.parametrize(
    ("sent", "held"),
    [
        ("2026-01-15T10:00:00Z", "2026-01-15T10:00:00Z"),
        ("2026-07-15T10:00:00+02:00", "2026-07-15T08:00:00Z"),
        ("2026-01-15 10:00:00", "2026-01-15T09:00:00Z"),  # without a zone it is the vendor's
        ("2026-01-14T23:00:00Z", "2026-01-15"),  # midnight in Prague is a date
        ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"),  # 2:30 comes twice in Prague
        ("2026-10-25T01:30:00Z", "2026-10-25T01:30:00Z"),
        ("0987-01-02", "0987-01-02"),
    ],
)
def test_a_time_is_the_vendors_own_and_what_becomes_of_it_is_told(sent, held):
    shown, said = there_and_back({"member_since": sent})
    assert shown == said == {"member_since": held}


@pytest.mark.parametrize(
    ("sent", "held"), [("1990-12-10T23:30:00Z", "1990-12-11"), ("1990-12-10T08:30:00", "1990-12-10")]
)
def test_a_birthday_is_the_day_in_the_vendors_zone(sent, held):
    assert there_and_back({"birthday": sent})[0] == {"birthday": held}


@pytest.mark.parametrize(
    ("habit", "clear_value"), [("empty", "empty"), ("null", "null"), ("both", "empty"), ("both", "null")]
)
@pytest.mark.parametrize("nothing", [None, "", []])
def test_a_field_is_cleared_as_the_account_has_it(habit, clear_value, nothing):
    full = {
        "town": "Brno",
        "gender": "F",
        "birthday": "1990-12-10",
        "language": "cs_CZ",
        "loyalty_tier": "gold",
        "points": 7,
        "member_since": "2026-01-15",
        "wants_paper": True,
        "interests": ["red"],
        "size": "M",
    }
    changed = settings(clear_value=clear_value)
    shown, said = there_and_back(dict.fromkeys(full, nothing), habit=habit, changed=changed, before=full)
    assert shown == said == dict.fromkeys(full)


@pytest.mark.parametrize("clear_value", ["empty", "null"])
def test_a_gender_is_cleared_with_null_for_it_is_never_empty(clear_value):
    row = contact_row(ADA, {"gender": "", "town": ""}, {}, settings(clear_value=clear_value))
    assert row["gender"] is None
    assert row["town"] == ("" if clear_value == "empty" else None)


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [
        ("gender", " f ", "F"),
        ("language", "en-GB", "en_GB"),
        ("loyalty_tier", ["a", "b"], "a, b"),
        ("loyalty_tier", True, "1"),
        ("points", "1e3", 1000),
        ("points", 1e-7, 0.0000001),
        ("points", 1e22, "10000000000000000000000"),
        ("points", "+7.50", 7.5),
        ("wants_paper", "YES", True),
        ("wants_paper", "off", False),
        ("interests", "Red, GREEN", ["red", "green"]),
        ("interests", ["green", "red", "green"], ["red", "green"]),
        ("size", ["m"], "M"),
        ("town", "naïve 🎈 & = ? #", "naïve 🎈 & = ? #"),
        ("town", "x" * 100_000, "x" * 100_000),
    ],
)
def test_values_are_put_as_the_field_takes_them(name, value, held):
    shown, said = there_and_back({name: value})
    assert shown == said == {name: held}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("gender", "woman-42", "gender: SmartEmailing knows M and F"),
        ("birthday", "tenth-of-42", "birthday: takes a date such as 1990-12-10"),
        ("birthday", "0001-01-01T00:00:00+23:00", "birthday: the date is out of range"),
        ("member_since", "soon-42", "member_since: takes a date"),
        ("wants_paper", "perhaps-42", "wants_paper: takes yes or no"),
        ("points", "many-42", "points: takes a number such as 24.5"),
        ("points", "nan", "points: takes a number"),
        ("points", "1e99999999", "points: takes a number"),
        ("points", [1, 2], "points: takes a number"),
        ("interests", "purple-42", "interests: SmartEmailing has no such option there, only red, blue, green"),
        ("size", ["S", "M"], "size: takes one option"),
        ("loyalty_tier", "é-42" * 20_000, "loyalty_tier: a custom field holds 64 KB at most"),
        ("lost", "x-42", "SmartEmailing has no custom field lost; make it there"),
        ("hardbounced", "x-42", "SmartEmailing has no custom field hardbounced"),
    ],
)
def test_what_cannot_be_said_names_the_field_and_nothing_of_the_person(name, value, words):
    with pytest.raises(PermanentError, match=re.escape(words)) as why:
        contact_row(ADA, {name: value}, fields_of(account()), PLAIN)
    assert "42" not in str(why.value)
    assert ADA not in str(why.value)


class TestOptions:
    RED = CustomField(id=1, name="colours", type="checkbox", options={"Red": 1, "red": 2, "blue, dark": 3, "blue": 4})

    @pytest.mark.parametrize(
        ("value", "ids"),
        [
            ("Red", [1]),
            ("red", [2]),
            ("RED", [1]),
            ("blue, dark", [3]),
            ("blue,red", [4, 2]),
            (["blue, dark", ""], [3]),
        ],
    )
    def test_a_name_to_the_letter_comes_first(self, value, ids):
        assert contact_row(ADA, {"colours": value}, {"colours": self.RED}, PLAIN)["customfields"] == [
            {"id": 1, "options": ids}
        ]

    def test_an_option_that_is_not_known_yet_says_nothing_rather_than_that_it_is_not_chosen(self):
        rows = [{"customfield_id": 1, "customfield_options_id": number} for number in (2, 77)]
        row = {"emailaddress": ADA, "customfields": rows}
        assert shown_values(row, ["colours"], {"colours": self.RED}, "UTC") == {}
        assert is_outdated([row], {"colours": self.RED})

    def test_one_without_any_has_none(self):
        with pytest.raises(PermanentError, match="only none at all; add it there"):
            contact_row(ADA, {"e": "x"}, {"e": CustomField(id=2, name="e", type="radio")}, PLAIN)


def test_what_the_vendor_holds_in_a_form_of_its_own_is_told_as_it_is():
    fields = fields_of(account())
    rows = [{"customfield_id": number, "value": text} for number, text in ((2, "12,5"), (3, "last spring"), (4, "0"))]
    row = {
        "customfields": rows,
        "hardbounced": 1,
        "blacklisted": 0,
        "created": "2026-01-15 11:00:02",
        "last_opened": None,
    }
    names = [
        "points",
        "member_since",
        "wants_paper",
        "hardbounced",
        "blacklisted",
        "created",
        "last_opened",
        "town",
        "x",
    ]
    assert shown_values(row, names, fields, "Europe/Prague") == {
        "points": "12,5",
        "member_since": "last spring",
        "wants_paper": False,
        "hardbounced": True,
        "blacklisted": False,
        "created": "2026-01-15T10:00:02Z",
        "last_opened": None,
    }, "and of what it does not show, nothing"


def test_moments_are_written_on_the_vendors_clock():
    assert local(datetime(2026, 7, 1, 22, 30, tzinfo=UTC), "Europe/Prague") == "2026-07-02 00:30:00"
    assert local(datetime.combine(date(2026, 1, 15), datetime.min.time(), UTC), "UTC") == "2026-01-15 00:00:00"
