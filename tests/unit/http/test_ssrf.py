"""Which addresses the guard lets through."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.http.ssrf import EgressGuard

STRICT = EgressGuard([])

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%2",
    "fec0::1",
    "ff02::1",
    "not an address",
    "127.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_whatever_they_are_wrapped_in(address):
    assert STRICT.refusal(address, 443, plain=False) is not None


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]
)
def test_public_addresses_pass_over_tls_only(address):
    assert STRICT.refusal(address, 443, plain=False) is None
    assert "without TLS" in (STRICT.refusal(address, 80, plain=True) or "")


def test_an_allowed_range_passes_even_without_tls_and_in_any_wrapping():
    guard = EgressGuard(["10.1.0.0/16", "fd00::/8"])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd12::1"):
        assert guard.refusal(address, 80, plain=True) is None
    assert guard.refusal("10.2.0.1", 80, plain=True) is not None


def test_a_range_given_in_ipv6_covers_only_what_it_names():
    guard = EgressGuard(["::ffff:10.0.0.0/104"])
    assert guard.refusal("::ffff:10.0.0.1", 80, plain=True) is None
    assert guard.refusal("10.0.0.1", 80, plain=True) is not None


def test_an_exempt_origin_is_one_address_and_one_port():
    guard = EgressGuard([], exempt=["http://127.0.0.1:40123", "https://[::1]", "http://localhost:8080"])
    assert guard.refusal("127.0.0.1", 40123, plain=True) is None
    assert guard.refusal("::ffff:127.0.0.1", 40123, plain=True) is None
    assert guard.refusal("127.0.0.1", 40124, plain=True) is not None
    assert guard.refusal("127.0.0.2", 40123, plain=True) is not None
    assert guard.refusal("::1", 443, plain=False) is None
    assert guard.refusal("::1", 8080, plain=True) is None
    assert guard.refusal("127.0.0.1", 8080, plain=True) is None


def test_a_name_cannot_be_exempted_because_it_may_resolve_to_anything():
    guard = EgressGuard([], exempt=["http://vendor.example:80"])
    assert guard.refusal("127.0.0.1", 80, plain=True) is not None


def test_a_range_that_is_none_is_reported_with_its_place():
    with pytest.raises(ValueError, match=r"hub\.egress\.allow: .*10\.0\.0\.0/8"):
        EgressGuard(["ten dot everything"])


@given(
    address=st.sampled_from(
        [
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ]
    ).flatmap(lambda text: st.ip_addresses(v=4, network=IPv4Network(text))),
    wrap=st.sampled_from([0, 0xFFFF << 32, 0x0064FF9B << 96]),
)
def test_no_private_ipv4_address_passes_bare_mapped_or_translated(address: IPv4Address, wrap: int):
    shown = str(IPv6Address(wrap | int(address))) if wrap else str(address)
    assert STRICT.refusal(shown, 443, plain=False) is not None


@given(st.ip_addresses())
def test_whatever_passes_is_global(address):
    if STRICT.refusal(str(address), 443, plain=False) is None:
        assert ip_address(str(address)).is_global or address.version == 6
