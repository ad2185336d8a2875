"""CN and SE1: how the plugin reaches its vendor, what it says where it cannot, and where it must not go."""

from __future__ import annotations

import ast
import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

from esplanade.config.kinds import Key, is_secret, members, unwrap
from esplanade.conformance.check import check, require, same
from esplanade.conformance.logs import captured
from esplanade.conformance.quality import modules_of
from esplanade.conformance.rig import NAME, Rig
from esplanade.conformance.trial import Trial, reach
from esplanade.conformance.written import all_keys, holds_text
from esplanade.errors import AuthenticationError, DeliveryError
from esplanade.records import Attempt
from esplanade.runtime import Hub
from esplanade.testing import FakeClock, Fault
from esplanade.values import Origin

EMAIL = "noor@example.net"
OTHER = "ada@example.net"
NOBODY = "https://vendor.invalid"
"""A name that never resolves (RFC 6761)."""
OUTAGE_S = 1_200.0
BY_HAND = {"webhooks": "manual"}
"""A connector whose vendor is called for nothing but what a check says."""
TURNS = 100
PROBE_S = 3_600.0
"""At least so often the credentials of a paused connector are tried."""

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


# The check.


@check("CN1")
async def refusals_are_told_apart(trial: Trial) -> None:
    """The twin as it is; then everything refused, nothing allowed, broken and cut."""
    async with trial.hub() as rig:
        same(await _status(rig.hub), "ok", "the check, with everything in order")
        for fault, wanted in (
            (Fault(status=401, times=None), "bad-credentials"),
            (Fault(match=rig.own_calls, status=403, times=None), "no-permission"),
            (Fault(status=500, times=None), "vendor-down"),
            (Fault(action="cut-before", times=None), "vendor-down"),
        ):
            rig.twin.faults[:] = [fault]
            what = "cuts the connection" if fault.action == "cut-before" else f"answers {fault.status}"
            same(await _status(rig.hub), wanted, f"the check, while the vendor {what}")
        rig.twin.faults.clear()
        same(await _status(rig.hub), "ok", "the check, once everything is in order again")


@check("CN1")
async def another_account_is_told(trial: Trial) -> None:
    """Settings that name something that the account does not have."""
    clock = FakeClock()
    async with trial.twin(clock) as twin:
        async with trial.hub(clock=clock, at=twin) as rig:
            if not rig.side.offers("wrong_account"):
                why = "`wrong_account` of the twin's side gives settings of another account; where there are none, declare"
                require("wrong-account" in trial.declared("CN1"), f"{why} `CN1 wrong-account` in quality.yaml")
                return
            wrong = rig.side.wrong_account()
        settings = {**trial.sample().get("settings", {}), **wrong}
        async with trial.hub(clock=clock, at=twin, connector={"settings": settings}) as rig:
            same(await _status(rig.hub), "wrong-account", f"the check with {', '.join(wrong)} of another account")


@check("CN1")
async def a_vendor_out_of_reach_is_told(trial: Trial) -> None:
    """A name that does not resolve, a port that speaks no TLS, and a vendor that has stopped."""
    async with trial.twin(FakeClock()) as twin:
        for origin, what in (
            (NOBODY, "the vendor's name does not resolve"),
            (twin.origin.replace("http://", "https://"), "there is no TLS"),
        ):
            async with _pointed_at(
                trial, {key: _moved(value, twin.origin, origin) for key, value in reach(twin).items()}
            ) as hub:
                same(await _status(hub), "vendor-down", f"the check, where {what}")
        async with _pointed_at(trial, reach(twin)) as hub:
            await twin.stop()
            same(await _status(hub), "vendor-down", "the check, with nobody at the vendor's address")


# Refused credentials.


@check("CN2")
async def refused_credentials_are_waited_out(trial: Trial) -> None:
    """One alert, nothing lost, and everything delivered by itself once the credentials are taken again."""
    with captured() as logs:
        async with trial.hub() as rig:
            for email in (EMAIL, OTHER):
                await rig.welcome(email)
            rig.twin.faults[:] = [Fault(status=401, times=None)]
            await rig.profile(EMAIL, fields={trial.text: "Breda"})
            await rig.profile(OTHER, fields={trial.text: "Breda"})
            for purpose in trial.purposes:
                await rig.consent(OTHER, "denied", purpose)
            for trigger in trial.triggers:
                await rig.trigger(EMAIL, f"t-{trigger}", trigger)
            await rig.advance(OUTAGE_S)
            same(await _state(rig), "auth", "the connector's state while its credentials are refused")
            same(logs.alerts(), [f"paused:{NAME}"], "alerts while the credentials are refused")
            require(await _open(rig), "what was said while the credentials were refused does not wait for them")
            rig.twin.faults.clear()

            async def runs() -> bool:
                return await _state(rig) == "ok"

            require(await rig.until(runs, within_s=PROBE_S), "the connector does not go on by itself within an hour")
            await rig.at_rest()
            same(logs.alerts(), [f"paused:{NAME}"], "alerts in all")
            same([each.last_error for each in await _open(rig)], [], "what is still not delivered")
            same([each.reason for each in await rig.deliveries(states=["parked", "dead"])], [], "what was given up")
            _require_told(rig)


def _require_told(rig: Rig) -> None:
    trial = rig.trial
    if trial.text in trial.fields:
        same(rig.held(EMAIL).fields.get(trial.fields[trial.text]), "Breda", "the field that was changed meanwhile")
    for purpose in trial.purposes:
        same(rig.held(EMAIL).consents.get(purpose), "granted", f"{purpose}, of which nothing was said meanwhile")
        found = rig.side.find(OTHER)
        require(found is None or found.consents.get(purpose) != "granted", f"an opt-out of {purpose} was lost")
    if trial.triggers:
        same(
            sorted(each.trigger for each in rig.side.mails()),
            sorted(trial.triggers),
            "mails of what was triggered meanwhile",
        )


# Where it goes.


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
            await _everything(rig, EMAIL)
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


# How long it takes.


@check("CN4")
async def a_call_that_hangs_ends_in_time(trial: Trial) -> None:
    """A vendor that never answers, first where a token is fetched and then to a call: given up after the connector's timeout."""
    for part in ("first", "later"):
        with captured() as logs:
            async with trial.hub(connector=BY_HAND, folder=trial.folder / part) as rig:
                if part == "later":
                    await rig.welcome(OTHER)
                rig.twin.faults[:] = [Fault(match=rig.own_calls if part == "later" else "", action="hang")]
                await _say_all(rig)
                await rig.twin.reached(1)
                await rig.advance(float(rig.config.timeout) + 2)
                attempts = await _attempts(rig)
                late = [each for each in attempts if each.took_s >= float(rig.config.timeout)]
                require(late, f"the {part} call, which hangs, is not given up after the connector's timeout")
        require(
            not logs.lines("hook_does_not_end"),
            "the plugin holds on to a call that was given up: let CancelledError pass",
        )


@check("CN4")
async def nothing_is_left_behind(trial: Trial) -> None:
    """After a hub that stops in the middle of a call: no task, and no connection to the vendor."""
    before = asyncio.all_tasks()
    clock = FakeClock()
    async with trial.twin(clock) as twin:
        async with trial.hub(clock=clock, at=twin, connector=BY_HAND, drain_timeout="100ms") as rig:
            await _everything(rig, OTHER)
            twin.faults[:] = [Fault(action="hang", times=None)]
            await _say_all(rig)
            await twin.reached(1)
        await _some_turns()  # until the twin has noticed
        same(twin.open_connections, 0, "connections to the vendor that are open after the hub has stopped")
    await _some_turns()  # until what was cancelled has ended
    names = sorted(repr(each.get_coro()) for each in asyncio.all_tasks() - before)
    require(not names, f"tasks are left after the hub has stopped: {', '.join(names)}")


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


async def _status(hub: Hub) -> str:
    """What an operator is told, also where the plugin leaves an error of the session as it is."""
    try:
        found = await hub.check(NAME)
    except AuthenticationError:
        return "bad-credentials"
    except DeliveryError:
        return "vendor-down"
    require(found.status == "ok" or found.detail, f"the check says {found.status}, and no word of what to do about it")
    return found.status


async def _state(rig: Rig) -> str:
    return (await rig.hub.store.read(lambda reader: reader.connector_state(NAME))).state


async def _open(rig: Rig) -> list[Any]:
    return await rig.deliveries(states=["pending", "in_flight"])


@asynccontextmanager
async def _pointed_at(trial: Trial, where: dict[str, Any]) -> AsyncIterator[Hub]:
    """A hub whose connector calls what these settings say, and that stops at the end."""
    settings = {**trial.sample().get("settings", {}), **where}
    loaded = await trial.load(connector={"twin": False, "settings": settings, "timeout": "3s"})
    hub = await Hub.start(loaded, clock=FakeClock())
    try:
        yield hub
    finally:
        await hub.stop()


def _moved(value: Any, old: str, new: str) -> Any:
    return value.replace(old, new) if isinstance(value, str) else value


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _grant(email: str, purpose: str) -> dict[str, Any]:
    return {"email": email, "purpose": purpose, "state": "granted", "method": "double", "evidence": {"form": "footer"}}


async def _say_all(rig: Rig) -> None:
    """A new person, with every consent, all at once and without waiting for anything."""
    for purpose in rig.trial.purposes:
        await rig.say("consent", _grant(EMAIL, purpose))
    await rig.say("profile", {"email": EMAIL, "fields": {rig.trial.text: "Delft"}})


async def _some_turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def _attempts(rig: Rig) -> list[Attempt]:
    ids = [each.id for each in await rig.deliveries()]
    return await rig.hub.store.read(lambda reader: [one for each in ids for one in reader.attempts(each)])


async def _everything(rig: Rig, email: str) -> None:
    """All that can be said to the vendor and asked of it."""
    trial = rig.trial
    await rig.welcome(email, audiences=dict.fromkeys(trial.audiences, True))
    await rig.profile(email, fields={trial.text: "Breda"}, audiences=dict.fromkeys(trial.audiences, False))
    for trigger in trial.triggers:
        await rig.trigger(email, f"t-{trigger}", trigger)
    if "on_inbound_webhook" in trial.hooks and rig.side.offers("calls"):
        for call in rig.side.calls().values():
            await rig.post(call)
        await rig.at_rest()
    for what in ("check", "discover", "pull"):
        if what in trial.methods:
            await getattr(rig.hub, what)(NAME)
    for purpose in trial.purposes:
        await rig.consent(email, "denied", purpose)
    await rig.at_rest()


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
