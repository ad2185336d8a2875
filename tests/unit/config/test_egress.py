"""Which vendor URLs the file may hold."""

from __future__ import annotations

import pytest

from esplanade.config.egress import loopback, network, refused

LOOPBACK = [network("127.0.0.0/8")]


@pytest.mark.parametrize(
    "url", ["https://api.acme.example", "https://8.8.8.8/x", "https://[2606:4700::1]", "https://bücher.example"]
)
def test_public_https_is_fine(url):
    assert refused(url, []) is None


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://127.0.0.1:8443", "127.0.0.1/32"),
        ("https://localhost", "127.0.0.1/32"),
        ("https://a.localhost.", "127.0.0.1/32"),
        ("https://10.1.2.3", "10.1.2.3/32"),
        ("https://169.254.169.254", "169.254.169.254/32"),
        ("https://100.64.0.1", "100.64.0.1/32"),
        ("https://0.0.0.0", "0.0.0.0/32"),
        ("https://224.0.0.1", "224.0.0.1/32"),
        ("https://[::1]", "::1/128"),
        ("https://[fd00::1]", "fd00::1/128"),
        ("https://[fe80::1]", "fe80::1/128"),
        ("https://[::ffff:10.0.0.1]", "10.0.0.1/32"),
        ("https://[64:ff9b::7f00:1]", "127.0.0.1/32"),
        ("https://2130706433", "127.0.0.1/32"),
        ("https://0x7f.1", "127.0.0.1/32"),
        ("https://127.1", "127.0.0.1/32"),
        ("https://１２７.0.0.1", "127.0.0.1/32"),
    ],
)
def test_a_private_address_names_what_would_allow_it(url, address):
    said = refused(url, [])
    assert said is not None
    assert f'hub.egress.allow: ["{address}"]' in said
    assert refused(url, [network(address)]) is None


def test_http_is_only_for_allowed_hosts():
    assert "expected https" in (refused("http://api.acme.example", []) or "")
    assert "expected https" in (refused("http://8.8.8.8", LOOPBACK) or "")
    assert refused("http://127.0.0.1:1", LOOPBACK) is None
    assert refused("http://localhost:1", LOOPBACK) is None


def test_a_name_over_http_may_be_private_and_is_judged_when_connecting():
    assert refused("http://crm.internal", LOOPBACK) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "acme",
        "ftp://acme.example",
        "https://",
        "https://a b",
        "https://a:99999",
        "https://[::1",
        "https://127%2e0.0.1",
    ],
)
def test_what_is_no_url_is_refused(url):
    assert refused(url, LOOPBACK) == "expected a URL such as https://api.vendor.example"


def test_a_secret_url_is_not_shown():
    said = refused("https://10.9.8.7/secret", [], hidden=True)
    assert said is not None
    assert "10.9" not in said


@pytest.mark.parametrize(
    ("text", "words"), [("10.0.0.1/8", "did you mean 10.0.0.0/8?"), ("internal", "such as 127.0.0.0/8")]
)
def test_a_range_that_is_none_is_refused(text, words):
    with pytest.raises(ValueError, match="address") as caught:
        network(text)
    assert words in str(caught.value)


def test_loopback_hosts():
    assert [
        host
        for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "hub")
        if loopback(host)
    ] == [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "localhost",
    ]
