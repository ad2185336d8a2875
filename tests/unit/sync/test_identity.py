"""When two e-mail addresses are the same, and what is none."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esplanade.errors import EventError
from esplanade.sync import identity
from esplanade.sync.identity import normalise


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("ada@example.com", "ada@example.com"),
        ("  Ada.Lovelace@Example.COM\r\n", "ada.lovelace@example.com"),
        ("ada+shop@example.com", "ada+shop@example.com"),
        ("ada@shop.test", "ada@shop.test"),
        ("ada@shop.example", "ada@shop.example"),
        ("info@bücher.example", "info@xn--bcher-kva.example"),
        ("info@BÜCHER.example", "info@xn--bcher-kva.example"),
        ("info@xn--bcher-kva.example", "info@xn--bcher-kva.example"),
        ("JOSÉ@example.com", "josé@example.com"),
        ("jose\u0301@example.com", "jos\u00e9@example.com"),
        ("δοκιμή@παράδειγμα.example", "δοκιμή@xn--hxajbheg2az3al.example"),
        ("O'Neil/x=1@example.com", "o'neil/x=1@example.com"),
    ],
)
def test_addresses_compare_by_their_key(written, key):
    assert normalise(written).key == key


def test_an_address_keeps_what_was_given():
    assert normalise(" Ada@Bücher.Example ").given == "Ada@Bücher.Example"


@pytest.mark.parametrize(
    "written",
    [
        "",
        "   ",
        "ada",
        "ada@",
        "@example.com",
        "ada@@example.com",
        "ada@example",
        "ada@test",
        "ada@localhost",
        "a da@example.com",
        "ada.@example.com",
        ".ada@example.com",
        "a..b@example.com",
        "ada@-example.com",
        "ada@example-.com",
        "ada@ex_ample.com",
        "ada@example.c0m.1",
        "ada@[192.0.2.1]",
        '"ada lovelace"@example.com',
        "Ada <ada@example.com>",
        "ada@example.com, bob@example.com",
        "ada\x00@example.com",
        "ada@exam\x00ple.com",
        "ada\x7f@example.com",
        "ada\u202e@example.com",
        "ada\ud800@example.com",
        "a" * 250 + "@example.com",
        "ada@" + "a" * 64 + ".com",
        "a" * 1_000_000 + "@example.com",
        "ada@xn--zzzzzzzz--.com",
    ],
)
def test_what_is_no_address_is_refused_with_the_place_and_a_remedy(written):
    with pytest.raises(EventError) as refused:
        normalise(written)
    assert refused.value.path == "$.email"
    assert refused.value.message.endswith("give one address such as ada@example.com")


ATEXT = string.ascii_letters + string.digits + "_!#$%&'*+-/=?^`{|}~"
HOST = string.ascii_letters + string.digits + "-"
LABELS = st.lists(st.text(HOST, min_size=1, max_size=70), min_size=1, max_size=4).map(".".join)
ENDS = st.sampled_from(
    ["com", "C0m", "x", "test", "TEST", "local", "Invalid", "arpa", "onion", "example", "nl", "xn--p1ai"]
)
PLAIN = st.builds(
    lambda local, domain, end: f"{local}@{domain}.{end}", st.text(ATEXT + ".", min_size=1, max_size=80), LABELS, ENDS
)


def _law(written):
    try:
        return identity._validated(written.strip(" \t\r\n\u00a0"))
    except EventError as refused:
        return refused.message


def _ours(written):
    try:
        return normalise(written)
    except EventError as refused:
        return refused.message


@given(
    PLAIN | st.text(ATEXT + ".@-", max_size=40) | st.text(max_size=40) | st.text(max_size=30).map(lambda t: f"{t}@a.nl")
)
@example("a@" + "b" * 63 + ".com")
@example("a@" + "b" * 64 + ".com")
@example("a" * 250 + "@a.nl")
@example("a" * 249 + "@a.nl")
@example("POSTMASTER@Example.com")
@example("a@b.local")
@example("a@ab--cd.com")
@example("a--b@my-shop.example")
@example("a@" + "b" * 60 + ".nl")
@example("a@" + "b" * 61 + ".nl")
@example("a@b.c.LOCALHOST")
@example("a@localhost.com")
def test_the_cheap_path_agrees_with_email_validator(written):
    assert _ours(written) == _law(written)


@given(PLAIN | st.text(min_size=1, max_size=20).map(lambda t: f"{t}@bücher.example"))
@example("µ@bücher.example")
@example("ß@bücher.example")
def test_a_key_is_its_own_key(written):
    try:
        key = normalise(written).key
    except EventError:
        return
    assert normalise(key).key == key
    if written.upper().lower() == written.lower():  # µ and ß come back from upper case as other letters
        assert normalise(written.upper()).key == key


@pytest.mark.parametrize("domain", ["example.com", "bücher.example"])
def test_a_local_part_has_at_most_64_octets(domain):
    assert normalise(f"{'a' * 64}@{domain}").key.startswith("a" * 64)
    with pytest.raises(EventError):
        normalise(f"{'a' * 65}@{domain}")
