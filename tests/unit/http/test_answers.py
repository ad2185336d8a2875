"""What a vendor's answer means, without any vendor."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade import (
    AuthenticationError,
    EndpointGone,
    OutcomeUnknown,
    PermanentError,
    RateLimited,
    TemporaryError,
)
from esplanade.http.answers import EXCERPT_CHARS, LONGEST_WAIT_S, error_for, excerpt, retry_after_s
from esplanade.http.redact import redact

NOW = 1_768_471_200.0


def error(status, headers=None, *, repeatable=True):
    return error_for(status, headers or {}, what=f"it answered {status}", words="", repeatable=repeatable, now=NOW)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "12"}, 12),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after": formatdate(NOW + 90, usegmt=True)}, 90),
        ({"retry-after": formatdate(NOW - 90, usegmt=True)}, 0),
        ({"retry-after": formatdate(NOW + 9 * 86_400, usegmt=True)}, LONGEST_WAIT_S),
        ({"retry-after": "99999999999999999"}, LONGEST_WAIT_S),
        ({"retry-after": "soon", "ratelimit-reset": "30"}, 30),
        ({"ratelimit-reset": "30", "x-ratelimit-reset": "40"}, 30),
        ({"x-ratelimit-reset": str(int(NOW) + 40)}, 40),
        ({"x-ratelimit-reset": str(int(NOW) - 40)}, 0),
        ({"x-ratelimit-reset": str(int(NOW * 1000) + 40_000)}, 40),
        ({"retry-after": "12", "x-ratelimit-reset": "40"}, 12),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "Wed, 99 Jan 9999 99:99:99 GMT"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
def test_the_wait_a_vendor_asks_for_is_read_in_all_its_forms(headers, seconds):
    assert retry_after_s(headers, NOW) == (None if seconds is None else pytest.approx(seconds))


@given(
    name=st.sampled_from(["retry-after", "ratelimit-reset", "x-ratelimit-reset"]),
    value=st.one_of(
        st.text(), st.integers().map(str), st.floats().map(str), st.from_regex(r"[A-Z][a-z]{2}, [0-9 :A-Z+-]+")
    ),
    now=st.floats(min_value=0, max_value=4e9),
)
def test_no_text_in_a_wait_header_breaks_the_parser_or_leaves_0_to_24_h(name, value, now):
    wait = retry_after_s({name: value}, now)
    assert wait is None or 0 <= wait <= LONGEST_WAIT_S


@given(at=st.integers(min_value=0, max_value=int(LONGEST_WAIT_S)))
def test_a_date_and_its_seconds_mean_the_same_wait(at):
    by_date = retry_after_s({"retry-after": formatdate(NOW + at, usegmt=True)}, NOW)
    assert by_date == retry_after_s({"retry-after": str(at)}, NOW)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(status):
    assert error(status) is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, PermanentError),
        (302, PermanentError),
        (304, PermanentError),
        (400, PermanentError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, PermanentError),
        (408, TemporaryError),
        (409, PermanentError),
        (410, EndpointGone),
        (422, PermanentError),
        (425, TemporaryError),
        (429, RateLimited),
        (451, PermanentError),
    ],
)
@pytest.mark.parametrize("repeatable", [True, False])
def test_a_status_below_500_was_not_acted_on_so_repeatable_or_not_is_all_the_same(status, kind, repeatable):
    assert type(error(status, repeatable=repeatable)) is kind


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 520, 599, 999])
def test_a_5xx_may_have_been_acted_on(status):
    assert type(error(status, repeatable=True)) is TemporaryError
    assert type(error(status, repeatable=False)) is OutcomeUnknown


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_503_with_retry_after_is_a_wait_and_not_a_doubt(repeatable):
    found = error(503, {"retry-after": "7"}, repeatable=repeatable)
    assert type(found) is RateLimited
    assert found.retry_after == 7


def test_a_503_whose_retry_after_is_unreadable_stays_in_doubt():
    assert type(error(503, {"retry-after": "later"}, repeatable=False)) is OutcomeUnknown
    assert type(error(503, {"x-ratelimit-reset": "5"}, repeatable=False)) is OutcomeUnknown


def test_a_429_carries_its_wait():
    assert error(429, {"retry-after": "7"}).retry_after == 7
    assert error(429).retry_after is None


def test_words_of_the_vendor_are_one_short_redacted_line():
    words = excerpt(b'{"error": "no such contact: ada@example.com",\n "code": 17}', redact)
    assert words == '{"error":"no such contact: [email]","code":17}'
    assert len(excerpt(b"no way. " * 10_000, redact)) == EXCERPT_CHARS


def test_an_address_behind_a_json_escape_is_found():
    assert "example" not in excerpt(rb'{"e": "ada\u0040example.com"}', redact)
    assert "example" not in excerpt(rb'{"e": "ada\u0040example.com", broken', redact)


def test_an_html_page_is_read_without_its_markup():
    page = b"<!doctype html><style>p{color:red}</style><p>Mail <b>ada&#64;example.com</b> failed</p>"
    assert excerpt(page, redact) == "Mail [email] failed"


def test_half_an_address_at_the_cut_does_not_escape():
    for pad in range(4_060, 4_100):
        assert "ada.lovelace" not in excerpt(b"w" + b" " * pad + b"ada.lovelace@example.com", redact)


@given(body=st.binary(max_size=400))
def test_no_bytes_break_the_excerpt(body):
    words = excerpt(body, redact)
    assert len(words) <= EXCERPT_CHARS
    assert words.isprintable()


def test_json_that_is_nested_too_deep_is_text():
    assert excerpt(b"[" * 60_000, redact).startswith("[[[")
