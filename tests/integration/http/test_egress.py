"""The guard in front of real sockets: names, literals and rebinding."""

import asyncio
import socket

import pytest

from esplanade import TemporaryError
from esplanade.errors import EgressRefused


async def test_the_hubs_own_twins_may_be_called_and_their_neighbours_not(vendor, other_vendor, opened):
    http = opened(vendor.origin, allow=(), exempt=[vendor.origin], origins=[other_vendor.origin])
    assert (await http.get("/")).status == 200
    with pytest.raises(EgressRefused, match=r"^egress-refused: 127\.0\.0\.1 .*hub\.egress\.allow"):
        await http.get(f"{other_vendor.origin}/")
    assert other_vendor.requests == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "10.0.0.1",
        "100.64.0.1",
        "224.0.0.1",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_private_hosts_are_refused_in_any_notation(vendor, opened, host, scheme):
    port = vendor.origin.rpartition(":")[2]
    with pytest.raises(EgressRefused, match=r"^egress-refused: .*hub\.egress\.allow"):
        await opened(f"{scheme}://{host}:{port}", allow=(), timeout_s=5).get("/latest/meta-data")
    assert vendor.requests == []


class Names:
    """getaddrinfo of a world where a name resolves as told, each time differently if told so."""

    def __init__(self, monkeypatch, *answers):
        self.answers = list(answers)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.getaddrinfo, raising=False)

    async def getaddrinfo(self, host, port, **_):
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        families = [socket.AF_INET6 if ":" in each else socket.AF_INET for each in addresses]
        return [
            (family, socket.SOCK_STREAM, 6, "", (each, port, 0, 0) if family == socket.AF_INET6 else (each, port))
            for family, each in zip(families, addresses, strict=True)
        ]


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "::1"])
async def test_a_public_name_for_a_private_address_is_refused(opened, monkeypatch, address):
    Names(monkeypatch, [address])
    with pytest.raises(EgressRefused, match=r"egress-refused: vendor\.example is at"):
        await opened("https://vendor.example", allow=()).get("/")


async def test_a_name_is_judged_by_the_address_that_is_connected_to_each_time(vendor, opened, monkeypatch):
    port = vendor.origin.rpartition(":")[2]
    Names(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    first = opened(f"http://vendor.example:{port}", allow=["127.0.0.1/32"])
    assert (await first.get("/")).status == 200
    rebound = opened(f"http://vendor.example:{port}", allow=["127.0.0.1/32"])
    with pytest.raises(EgressRefused, match=r"egress-refused: vendor\.example is at 127\.0\.0\.2"):
        await rebound.get("/")


async def test_of_several_addresses_only_the_allowed_ones_are_tried(vendor, opened, monkeypatch):
    port = vendor.origin.rpartition(":")[2]
    Names(monkeypatch, ["::1", "10.0.0.1", "127.0.0.1"])
    http = opened(f"http://vendor.example:{port}", allow=["127.0.0.1/32"])
    assert (await http.get("/")).status == 200


async def test_an_allowed_address_that_is_down_is_temporary_whatever_else_was_refused(opened, monkeypatch):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        Names(monkeypatch, ["::1", "127.0.0.1"])
        http = opened(f"http://vendor.example:{held.getsockname()[1]}", allow=["127.0.0.1/32"])
        with pytest.raises(TemporaryError, match="cannot be reached"):
            await http.post("/", json={})


async def test_several_private_addresses_are_refused_together(opened, monkeypatch):
    Names(monkeypatch, ["10.0.0.1", "::1", "192.168.0.1"])
    with pytest.raises(EgressRefused, match="egress-refused"):
        await opened("https://vendor.example", allow=()).get("/")


async def test_a_public_address_without_tls_is_refused(opened, monkeypatch):
    Names(monkeypatch, ["93.184.216.34"])
    with pytest.raises(EgressRefused, match=r"egress-refused: vendor\.example .*without TLS; use https"):
        await opened("http://vendor.example", allow=()).get("/")
