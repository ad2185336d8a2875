"""CN3 and SE1: where the plugin goes: to its vendor, through the session that it is given, and nowhere else."""

from __future__ import annotations

import ast
import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from esplanade.config.kinds import Key, is_secret, members, unwrap
from esplanade.conformance.check import check, require, same
from esplanade.conformance.checks.connection import everything
from esplanade.conformance.quality import modules_of
from esplanade.conformance.rig import NAME
from esplanade.conformance.trial import Trial
from esplanade.conformance.written import all_keys, holds_text
from esplanade.testing import Fault
from esplanade.values import Origin

EMAIL = "noor@example.net"
OTHER = "ada@example.net"

NETWORK = frozenset({
    "aiodns", "aiohttp", "dns", "ftplib", "grpc", "http.client", "httpcore", "httplib2", "httpx", "imaplib", "paramiko",
    "poplib", "pycares", "pycurl", "requests", "smtplib", "socket", "socketserver", "ssl", "subprocess", "telnetlib",
    "urllib.request", "urllib3", "websocket", "websockets", "xmlrpc.client",
})  # fmt: skip
"""Modules with which somebody reaches the network past the session."""
CONNECTS = frozenset({
    "create_connection", "create_datagram_endpoint", "create_subprocess_exec", "create_subprocess_shell", "getaddrinfo",
    "getnameinfo", "open_connection", "open_unix_connection", "sock_connect",
})  # fmt: skip
"""What of asyncio does."""

PRIVATE = (
    "0.0.0.0",  # noqa: S104 - it is called, not listened on
    "127.0.0.1", "127.1", "0", "2130706433", "0x7f.0.0.1", "10.0.0.7", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "localhost", "[::1]", "[::]", "[fe80::1]", "[fd00::1]", "[::ffff:127.0.0.1]", "[64:ff9b::a00:7]",
)  # fmt: skip
"""Hosts that are not of the internet at large."""
URL = re.compile(r"(^|_)(url|uri|origin|endpoint|host)$")


@check("CN3")
async def it_has_no_network_of_its_own(trial: Trial) -> None:
    """No module but those of the twin imports what opens connections."""
    declared = trial.declared("CN3")
    found = await asyncio.to_thread(lambda: list(_network_uses(trial)))
    wrong = [f"{where} uses {name}" for where, name in found if name not in declared]
    require(not wrong, f"{'; '.join(wrong)}: call the vendor with ctx.http, or declare `CN3 module` with the reason")
    stale = [name for name in declared if name not in {name for _, name in found}]
    require(not stale, f"quality.yaml declares {', '.join(stale)} for CN3, which the plugin does not use")


@check("CN3")
async def every_call_goes_to_the_vendor(trial: Trial) -> None:
    """Everything said and asked: no connection but to the twin, and no host in the endpoint that the settings do not lead to."""
    with _connections() as made:
        async with trial.hub() as rig:
            endpoint = rig.hub.connections[NAME].plugin.endpoint()
            urls = [endpoint.base_url, *endpoint.origins, getattr(endpoint.auth, "token_url", endpoint.base_url)]
            elsewhere = sorted({_origin(each) for each in urls} - {rig.twin.origin})
            require(not elsewhere, f"the endpoint names {', '.join(elsewhere)} although the settings lead elsewhere")
            await everything(rig, EMAIL)
            ours = {urlsplit(each).port for each in (rig.twin.origin, rig.hub.url)}
    strange = sorted({f"{host}:{port}" for host, port in made if port not in ours})
    require(not strange, f"connections past the session, to {', '.join(strange)}")


@check("CN3")
async def no_redirect_is_followed(trial: Trial) -> None:
    """A vendor that sends everybody elsewhere: nobody comes there, and nothing counts as delivered."""
    visits = 0

    def visited(_: Any, writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1
        writer.close()

    server = await asyncio.start_server(visited, "127.0.0.1", 0)
    async with server, trial.hub() as rig:
        await rig.welcome(OTHER)
        there = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/elsewhere"
        rig.twin.faults[:] = [Fault(match=rig.own_calls, status=302, headers={"Location": there}, times=None)]
        last = await rig.hub.store.read(lambda reader: reader.last_delivery())
        await rig.welcome(EMAIL)
        await rig.profile(OTHER, fields={trial.text: "Breda"})
        for trigger in trial.triggers:
            await rig.trigger(OTHER, f"t-{trigger}", trigger)
        same(visits, 0, "visits at the place that a redirect names")
        done = [each for each in await rig.deliveries(states=["done"]) if each.id > last]
        told = [each.kind for each in done if each.outcome == "delivered"]
        same(told, [], "what counts as delivered although the vendor only answered with a redirect")


# Private addresses.


@check("SE1")
async def private_addresses_are_refused(trial: Trial) -> None:
    """Every URL setting at private, loopback and link-local addresses, in all their spellings."""
    keys = dict(await asyncio.to_thread(lambda: list(all_keys(trial.plugin.Settings, "settings"))))
    urls = {where: key for where, key in keys.items() if _is_url(key)}
    deep = [where for where in urls if where.count(".") > 1]
    require(not deep, f"{', '.join(deep)}: only keys right under settings are judged, so move it there")
    require(urls, "no setting leads to another address, such as a twin's; add base_url: Origin")
    beside, tried = dict[str, dict[str, Any]](), dict[str, tuple[str, str]]()
    for where, key in urls.items():
        for host in PRIVATE:
            name = f"private-{len(beside)}"
            settings = {**trial.sample().get("settings", {}), key.name: f"https://{host}/in"}
            beside[name] = {"plugin": trial.name, "settings": settings}
            tried[name] = (where, host)
    problems = await trial.problems(beside=beside, egress={"allow": []})
    for name, (where, host) in tried.items():
        refused = [each for each in problems if f": connectors.{name}.{where}: " in each]
        require(refused, f"{where}: https://{host}/in is not refused although hub.egress.allow is empty")
        shown = is_secret(urls[where].kind) and any(f"{host}/in" in each for each in refused)
        require(not shown, f"{where} is secret, and its error shows it")


# Inside.


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@contextmanager
def _connections() -> Iterator[list[tuple[str, int]]]:
    """Note every connection that is made from this process meanwhile, to a host and a port."""
    made: list[tuple[str, int]] = []
    kept = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex")}

    def noting(original: Any) -> Any:
        def connect(self: socket.socket, address: Any) -> Any:
            if isinstance(address, tuple):
                made.append((str(address[0]), int(address[1])))
            return original(self, address)

        return connect

    for name, original in kept.items():
        setattr(socket.socket, name, noting(original))
    try:
        yield made
    finally:
        for name, original in kept.items():
            setattr(socket.socket, name, original)


def _network_uses(trial: Trial) -> Iterator[tuple[str, str]]:
    """File and line, and what is used there, in the plugin's modules."""
    for path in modules_of(trial.plugin):
        if path.name.startswith("twin"):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        unused = {id(each) for node in ast.walk(tree) if _is_for_types(node) for each in ast.walk(node)}
        for node in ast.walk(tree):
            if id(node) not in unused:
                yield from ((f"{path.name}:{getattr(node, 'lineno', 0)}", name) for name in _reaches(node))


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _reaches(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            found = [each.name for each in names]
        case ast.ImportFrom(module=str(module), level=0, names=names):
            found = [module if _is_network(module) else f"{module}.{each.name}" for each in names]
        case ast.Attribute(attr=attr) if attr in CONNECTS:
            return [attr]
        case _:
            return []
    return [each for each in dict.fromkeys(found) if _is_network(each)]


def _is_network(module: str) -> bool:
    parts = module.split(".")
    return any(".".join(parts[:length]) in NETWORK for length in range(1, len(parts) + 1))


def _is_url(key: Key) -> bool:
    is_origin = any(unwrap(each)[0] is Origin for each in members(key.kind))
    named = URL.search(key.name) is not None and (holds_text(key.kind) or is_secret(key.kind))
    return is_origin or named
