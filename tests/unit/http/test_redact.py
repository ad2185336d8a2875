"""Personal data and secrets do not survive redaction; what an operator needs does."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.http import Redactor, redact
from esplanade.http.redact import path_template


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("contact ada@example.com is unknown", "contact [email] is unknown"),
        ("ada%40example.com", "[email]"),
        ("Ľuboš.Žák+x@příklad.cz!", "[email]!"),
        ("'o''brien'@example.com", "[email]"),
        ("Authorization: Bearer abc.DEF-123", "Authorization: Bearer [secret]"),
        ("Basic dXNlcjpwYXNz", "Basic [secret]"),
        ("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "[secret]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "[secret]"),
        ("key d41d8cd98f00b204e9800998ecf8427e refused", "key [secret] refused"),
        ('{"access_token":"abc"}', '{"access_token":"[secret]"}'),
        ("client_secret=hush&x=1", "client_secret=[secret]&x=1"),
        ('"api_key": "k-1"', '"api_key": "[secret]"'),
        ("call +31 6 1234 5678 now", "call [phone] now"),
        ("call 0612345678 now", "call [phone] now"),
        ("call (020) 555-0199 or 415-555-0199", "call [phone] or [phone]"),
        ("phone 31612345678", "phone [number]"),
        (
            "see https://u:p@api.example.com/v1/x?email=a&token=b for more",
            "see https://api.example.com/v1/x?[query] for more",
        ),
    ],
)
def test_what_must_go(text, redacted):
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "field 'birthday' must be a date such as 2026-01-15",
        "at 2026-01-15T10:00:00.000Z",
        "basic authentication required",
        "the bearer token is missing",
        "trace 550e8400-e29b-41d4-a716-446655440000",
        "subscription-confirmation-required-by-policy-of-account",
        "list 4711 has 1200 members, 99.5 %, error 100234",
        "/v1/contacts/lists/members/subscriptions/confirmations",
        "the token has expired",
        "version 1.24.3.20251119",
    ],
)
def test_what_an_operator_needs_stays(text):
    assert redact(text) == text


@given(
    local=st.from_regex(r"[a-z0-9][a-z0-9._+-]{0,30}", fullmatch=True),
    domain=st.from_regex(r"[a-z0-9]{1,20}(\.[a-z]{2,8}){1,2}", fullmatch=True),
    before=st.sampled_from(["", " ", '"', "<", "email=", "mailto:", "("]),
    after=st.sampled_from(["", " ", '"', ">", "&x=1", ",", ")"]),
)
def test_no_address_survives_in_any_surrounding(local, domain, before, after):
    assert f"@{domain}" not in redact(f"{before}{local}@{domain}{after}")


@given(st.text())
def test_any_text_can_be_redacted_twice_with_one_effect(text):
    once = redact(text)
    assert redact(redact(once)) == redact(once)


@pytest.mark.parametrize(
    "unit", ["a", "a.", "1", "+1 ", "<", "https://", "secret=", "A1a", "a@", "eyJ", "bearer ", "\\u0040"]
)
def test_hostile_text_costs_linear_time(unit):
    short, long = unit * 300, unit * 3_000
    started = time.process_time()
    for _ in range(10):
        redact(short)
    middle = time.process_time()
    redact(long)
    # The same number of characters either way; quadratic cost would be ten times as much.
    assert time.process_time() - middle < 5 * (middle - started) + 0.05


def test_known_secrets_go_in_every_form_they_are_quoted_in():
    hide = Redactor(["s3cr/t+x y"])
    for form in ("s3cr/t+x y", "s3cr%2Ft%2Bx%20y", "s3cr%2Ft%2Bx+y", "s3cr\\/t+x y"):
        assert hide(f"bad {form}!") == "bad [secret]!"


def test_a_redactor_remembers_the_last_tokens():
    hide = Redactor(["fixed-one"])
    for number in range(6):
        hide.remember(f"tok-{number}-x")
    assert hide("fixed-one tok-5-x tok-2-x") == "[secret] [secret] [secret]"


def test_very_short_secrets_do_not_shred_all_text():
    assert Redactor(["a", ""])("a banana") == "a banana"


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v1/contacts/ada%40example.com/lists/7", "/v1/contacts/{email}/lists/7"),
        ("/v1/contacts/ada@example.com", "/v1/contacts/{email}"),
        ("/v1/contacts/550e8400-e29b-41d4-a716-446655440000", "/v1/contacts/{id}"),
        ("/v1/contacts/31612345678", "/v1/contacts/{id}"),
        ("/v1/subscriptions?email=ada@example.com", "/v1/subscriptions"),
        ("/" + "x" * 100, "/{id}"),
    ],
)
def test_a_path_template_holds_no_ids(path, template):
    assert path_template(path) == template
