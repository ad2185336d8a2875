"""Webhook signatures: good, bad, missing, old, of a rotated key, of another account, of a body written anew."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.http import hmac_hex, same, sign_standard_webhook, verify_standard_webhook

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
OTHER = "whsec_" + base64.b64encode(b"another account's secret").decode()
BODY = b'{"type":"profile.updated","timestamp":"2026-01-15T10:00:00Z","data":{"email":"ada@example.com"}}'
AT = 1_768_471_200
HEADERS = {
    "webhook-id": "msg_hub0001",
    "webhook-timestamp": str(AT),
    "webhook-signature": "v1,ZHx5HkjQoKIx/sRXqpNPrEA7nfHqChqmcd2w6988dI4=",
}


def verifies(headers=HEADERS, *, secrets=(SECRET,), body=BODY, now=AT, **more):
    return verify_standard_webhook(secrets, headers, body, now, **more)


def test_our_signature_is_the_one_of_the_published_vector():
    assert sign_standard_webhook(SECRET, "msg_hub0001", AT, BODY) == HEADERS


def test_the_vector_verifies_in_any_case_of_header_names():
    assert verifies()
    assert verifies({name.title(): value for name, value in HEADERS.items()})


def test_another_accounts_secret_does_not_verify():
    assert not verifies(secrets=[OTHER])
    assert not verifies(secrets=[])


def test_old_and_new_secret_both_verify_during_rotation():
    assert verifies(secrets=[OTHER, SECRET])
    assert verifies(secrets=[SECRET, OTHER])


def test_one_good_signature_among_several_is_enough():
    several = f"v1a,abc v1,{'A' * 43}= {HEADERS['webhook-signature']}"
    assert verifies({**HEADERS, "webhook-signature": several})


def test_a_body_serialised_anew_does_not_verify():
    assert not verifies(body=BODY.replace(b":", b": ", 1))


@pytest.mark.parametrize("name", list(HEADERS))
@pytest.mark.parametrize(
    "value", [None, "", "x", "v1", "v1,", "v1,\u00e9", "v2,abc", ",", "1e9", "-1", "9" * 40, "١٢٣"]
)
def test_missing_or_malformed_headers_are_a_no(name, value):
    headers = {key: each for key, each in HEADERS.items() if key != name}
    if value is not None:
        headers[name] = value
    assert not verifies(headers)


@pytest.mark.parametrize(("late", "good"), [(300, True), (-300, True), (301, False), (-301, False)])
def test_a_timestamp_counts_for_five_minutes_either_way(late, good):
    assert verifies(now=AT + late) is good


def test_the_tolerance_can_be_set():
    assert verifies(now=AT + 301, tolerance_s=400)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!", "not base64 at all é"])
def test_a_useless_secret_never_verifies_and_cannot_sign(secret):
    assert not verifies(secrets=[secret])
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the library's
        sign_standard_webhook(secret, "m", AT, BODY)


def test_a_body_that_is_not_text_does_not_verify():
    assert not verifies(body=b"\xff\xfe")


@given(st.dictionaries(st.sampled_from(list(HEADERS)), st.text()), st.binary(max_size=50))
def test_no_headers_and_body_break_verification(headers, body):
    assert verifies(headers, body=body) is False


@given(body=st.text().map(str.encode), at=st.integers(min_value=0, max_value=4_000_000_000))
def test_what_we_sign_verifies(body, at):
    assert verifies(sign_standard_webhook(SECRET, "m-1", at, body), body=body, now=at)


def test_hmac_hex_is_the_plain_hmac_of_rfc_4231():
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hmac_hex("Jefe", b"what do ya want for nothing?") == expected
    assert hmac_hex(b"Jefe", b"what do ya want for nothing?") == expected


def test_same_compares_text_and_bytes_of_any_kind():
    assert same("é", "é".encode())
    assert not same("é", "e")
    assert not same("", "a")
