"""SE: vendors, and those who call in their name, that mean harm."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from esplanade.clock import as_datetime
from esplanade.conformance.check import CheckFailed, check, require, same
from esplanade.conformance.foe import NESTED, Answering, Foe, plain, refusing
from esplanade.conformance.fuzz import spoiled_calls
from esplanade.conformance.logs import Logs, captured
from esplanade.conformance.rig import NAME, Rig
from esplanade.conformance.tales import SOON, STEP_S, Tale, calm, is_known, recovers, resumed, tales
from esplanade.conformance.trial import Trial
from esplanade.context import Context
from esplanade.delivery.inbound import entry, report_body
from esplanade.errors import DeliveryError, EsplanadeError, PluginError
from esplanade.ingest.shapes import HappeningIn
from esplanade.model import Inbound, InboundRequest, PersonRef, Report
from esplanade.records import Entry
from esplanade.runtime.connection import asked
from esplanade.testing import Call, FakeClock

TIMEOUT_S = 1.0
LIMIT_S = 15.0
"""So long an operator's question may take that makes several calls, each of which runs out of time."""
MOST_READ = 64 << 20
"""What a caller may take of a body without end, with what is under way in buffers of both sides."""
MOST_KEPT = 256 << 20
"""By so much the memory may grow at most."""
QUESTIONS = ("check", "discover", "pull", "fetch")
PAGE = b"<!doctype html><html><head><title>Error</title></head><body><h1>Sorry</h1><p>Try later.</p></body></html>"
SPOILED, SEED = 500, 20_260_115
EMAIL = "noor@example.net"
MISLEADING = ("rows that are none", "rows without ids", "nulls", "absurd numbers", "a page with 200")
FIRST_CALLS = 6
"""So many calls of a pull are tried at most as the first that is answered badly."""
SLOW = "half a body, and then nothing more"


def answers_of(foe: Foe) -> dict[str, Answering]:
    """Every way in which it answers, by its words."""
    return {
        "1 GB": foe.much,
        "a body without end": foe.endless,
        "1 GB packed into 1 MB": foe.bomb,
        SLOW: foe.stalling,
        "lists in lists": plain(b"[" * NESTED + b"]" * NESTED),
        "objects in objects": plain(b'{"id":' * NESTED + b"1" + b"}" * NESTED),
        "an unclosed nest": plain(b'{"result":[' * NESTED),
        "bytes that are not UTF-8": plain(b'{"id": "\xff\xfe\xc3", "email": "\xe9@example.net", "result": ["\xff"]}'),
        "another charset": plain('{"id": "é"}'.encode("utf-16"), "application/json; charset=utf-16"),
        "an unknown charset": plain(b'{"id": 1}', "application/json; charset=no-such"),
        "a page with 200": plain(PAGE, "text/html; charset=utf-8"),
        "what is no gzip": plain(b'{"id": 1}', **{"Content-Encoding": "gzip"}),
        "absurd numbers": plain(json.dumps(_odd(10**400)).encode()),
        "numbers that are none": plain(json.dumps(_odd(float("nan"))).encode()),
        "nulls": plain(json.dumps(_odd(None)).encode()),
        "rows that are none": plain(json.dumps(_rows([1, None, "x", []])).encode()),
        "rows without ids": plain(json.dumps(_rows([{"email": "who@example.net"}, {}])).encode()),
        "texts with NUL": plain(json.dumps(_odd("\x00\ud800")).encode()),
    }


@check("SE2")
async def whatever_is_answered_to_questions(trial: Trial) -> None:
    """What is asked of a hostile vendor, each way to ask: an error that is known, in time, and nothing believed."""
    async with _among_foes(trial) as (rig, foe):
        for purpose in trial.purposes:
            await rig.consent(EMAIL, "granted", purpose)
        await rig.profile(EMAIL)
        before = await rig.person(EMAIL)
        require(before is not None, "the hub does not know whom it was told of")
        for words, answering in answers_of(foe).items():
            await rig.advance(STEP_S)  # so that what is read from now on is newer than what was acknowledged
            async with _hostile(rig, foe, answering, lambda method, path: path != rig.token_path):
                questions = [what for what in QUESTIONS if what in trial.methods]
                await asyncio.gather(*(_asks(rig, what, words, EMAIL) for what in questions))
            await resumed(rig)
            await calm(rig)
            same(await rig.person(EMAIL), before, f"what the hub knows, after it asked and was answered with {words}")


@check("SE2")
async def whatever_is_answered_in_the_middle_of_a_pull(trial: Trial) -> None:
    """The first calls of a pull are answered well and those after them not: nobody is taken to have left."""
    if "pull" not in trial.methods:
        return  # nothing is read
    async with _among_foes(trial) as (rig, foe):
        for purpose in trial.purposes:
            await rig.consent(EMAIL, "granted", purpose)
        await rig.profile(EMAIL)
        before = await rig.person(EMAIL)
        for words in MISLEADING:
            for well in range(1, FIRST_CALLS):
                await rig.advance(STEP_S)
                spoils = _after(well, rig)
                async with _hostile(rig, foe, answers_of(foe)[words], spoils):
                    await _asks(rig, "pull", words, EMAIL)
                    foe.met.set()  # the pull may have ended before
                await resumed(rig)
                await calm(rig)
                what = f"what the hub knows after a pull of which call {well + 1} and those after it were answered with {words}"
                same(await rig.person(EMAIL), before, what)


@check("SE2")
async def whatever_is_answered_to_writes(trial: Trial) -> None:
    """What is written to a hostile vendor ends in a known state, and nothing is lost once it is well."""
    async with _among_foes(trial) as (rig, foe):
        answers = answers_of(foe)
        for (words, answering), told in zip(answers.items(), await tales(rig, len(answers)), strict=True):
            for tale in told:
                what = f"{tale.words} that the vendor answered with {words}"
                await _writes(
                    rig, foe, tale, answering, what, lambda method, path: method != "GET" and _is_own(rig, path)
                )
                await recovers(rig, tale, what, may_be_done=True)


@check("SE2")
async def whatever_is_answered_to_all_that_a_hook_asks(trial: Trial) -> None:
    """The same, where what a hook reads first is answered so, too."""
    async with _among_foes(trial) as (rig, foe):
        answers = answers_of(foe)
        for (words, answering), told in zip(answers.items(), await tales(rig, len(answers)), strict=True):
            for tale in told:
                what = f"{tale.words} whose every call the vendor answered with {words}"
                await _writes(rig, foe, tale, answering, what, lambda method, path: _is_own(rig, path))
                await recovers(rig, tale, what, may_be_done=True)


@check("SE2")
async def whatever_is_answered_instead_of_a_token(trial: Trial) -> None:
    """A token that is refused, and a hostile answer to the one who asks for another."""
    async with _among_foes(trial) as (rig, foe):
        if not rig.token_path:
            return  # this vendor gives no tokens
        answers = answers_of(foe)
        for (words, answering), told in zip(answers.items(), await tales(rig, len(answers)), strict=True):

            async def either(request: web.Request, answering: Answering = answering) -> web.StreamResponse:
                return await (answering if request.path == rig.token_path else refusing(401))(request)

            what = f"{told[0].words} while the vendor answered whoever asked for a token with {words}"
            await _writes(rig, foe, told[0], either, what, lambda method, path: True)
            await recovers(rig, told[0], what, may_be_done=True)


@check("SE3")
async def a_spoiled_call_is_read_or_refused(trial: Trial) -> None:
    """Calls that are malformed in many ways, past their signature: the plugin reports something sound, or says what is wrong."""
    with captured() as logs:
        async with trial.hub() as rig:
            await _read_spoiled_calls(trial, rig)
    _nothing_stumbled(logs)


async def _read_spoiled_calls(trial: Trial, rig: Rig) -> None:
    connection = rig.hub.connections[NAME]
    calls = list(rig.side.calls().values())
    for number, call in enumerate(spoiled_calls([*calls, rig.side.unheard_of()], SPOILED, SEED)):
        what = f"spoiled call {number} of the seed {SEED} ({_shown(call)})"
        request = _request(call, rig)
        if "verify" in trial.methods:
            await _sound(connection.plugin.verify(request, connection.ctx), bool, f"verify, given {what}")
        said = await _sound(
            _read(connection.plugin, request, connection.ctx), list, f"on_inbound_webhook, given {what}"
        )
        try:
            entries = [_entry(each, rig) for each in said or []]
        except PluginError as problem:
            raise CheckFailed(f"on_inbound_webhook, given {what}: {problem}") from None
        await rig.hub.intake.accept(entries)
    await rig.at_rest()


@check("SE3")
async def a_spoiled_call_is_answered(trial: Trial) -> None:
    """The same calls over the wire: each has an answer, none of them the hub's fault, and what is taken does no harm."""
    with captured() as logs:
        async with trial.hub() as rig:
            calls = list(rig.side.calls().values())
            for number, call in enumerate(spoiled_calls([*calls, rig.side.unheard_of()], SPOILED, SEED)):
                status = await _raw(rig, call)
                what = f"spoiled call {number} of the seed {SEED} ({_shown(call)})"
                require(100 <= status < 500, f"the answer to {what} is {status}")
            await rig.at_rest()
            errors = [each.last_error or "" for each in await rig.webhooks()]
            same([each for each in errors if each.startswith("PluginError")], [], "what reading spoiled calls ended in")
    _nothing_stumbled(logs)


def _nothing_stumbled(logs: Logs) -> None:
    """Require that what a plugin reported could be taken over, or was refused for what is wrong with it."""
    said = [each["error"] for each in logs.lines("fold_parked") if ": $." not in each["error"]]
    same(said, [], "what made the hub stumble of what was reported of spoiled calls")


@asynccontextmanager
async def _among_foes(trial: Trial) -> AsyncIterator[tuple[Rig, Foe]]:
    """A hub whose vendor is well until it is told otherwise; in the end, nothing was read or kept without measure."""
    clock, held = FakeClock(), _peak_bytes()
    async with trial.twin(clock) as twin:
        foe = Foe(twin.origin)
        async with foe.serving():
            twin.origin = foe.origin
            async with trial.hub(clock=clock, at=twin, connector={**SOON, "timeout": f"{TIMEOUT_S:g}s"}) as rig:
                yield rig, foe
    require(foe.most_sent <= MOST_READ, f"of a body without end {foe.most_sent} bytes were taken")
    grown = _peak_bytes() - held
    require(grown <= MOST_KEPT, f"the memory grew by {grown} bytes over hostile answers")


@asynccontextmanager
async def _hostile(rig: Rig, foe: Foe, answering: Answering, spoils: Callable[[str, str], bool]) -> AsyncIterator[None]:
    """The vendor is hostile until the end of this, and others are served all the same."""
    foe.answering, foe.spoils = answering, spoils
    foe.met.clear()
    others = asyncio.create_task(_is_served(rig, foe))
    try:
        yield
        await others
    finally:
        others.cancel()
        foe.answering = None


async def _is_served(rig: Rig, foe: Foe) -> None:
    await foe.met.wait()
    url = f"{rig.hub.url}/healthz"
    same(await rig.post(Call(method="GET"), url=url), 200, "what the hub answers others while its vendor is hostile")


async def _writes(
    rig: Rig, foe: Foe, tale: Tale, answering: Answering, what: str, spoils: Callable[[str, str], bool]
) -> None:
    async with _hostile(rig, foe, answering, spoils):
        await tale.tell(rig)
        require(foe.met.is_set(), f"{what}: nothing was asked of the vendor")
    await is_known(rig, tale, what)


async def _asks(rig: Rig, what: str, words: str, email: str) -> None:
    try:
        async with asyncio.timeout(LIMIT_S):
            await _question(rig, what, email)
    except TimeoutError:
        raise CheckFailed(f"{what} of a vendor that answered with {words} did not end within {LIMIT_S:g} s") from None
    except DeliveryError:
        pass  # as it should be
    except EsplanadeError as problem:
        raise CheckFailed(f"{what} of a vendor that answered with {words}: {problem}") from None


async def _question(rig: Rig, what: str, email: str) -> None:
    match what:
        case "check":
            await rig.hub.check(NAME)
        case "discover":
            await rig.hub.discover(NAME)
        case "pull":
            await rig.hub.pull(NAME)
        case "fetch":
            person, remote, connection = await rig.person(email), await rig.remote(email), rig.hub.connections[NAME]
            who = person.name if person is not None else "p-0"
            known = PersonRef(person=who, email=email, remote_id=remote.remote_id if remote is not None else None)
            await asked(connection.plugin.fetch(known, connection.ctx))


def _after(well: int, rig: Rig) -> Callable[[str, str], bool]:
    """Picks the calls after so many that are no calls for a token."""
    left = well

    def spoils(method: str, path: str) -> bool:
        nonlocal left
        left -= _is_own(rig, path)
        return left < 0 and _is_own(rig, path)

    return spoils


def _is_own(rig: Rig, path: str) -> bool:
    """Whether a call is not for a token."""
    return path != rig.token_path


def _peak_bytes() -> int:
    """The most that this process has held at once; 0 where that is not known."""
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _request(call: Call, rig: Rig) -> InboundRequest:
    return InboundRequest(
        method=call.method,
        path=urlsplit(rig.twin.hook_url or "").path,
        query=call.query,
        headers={name.lower(): value for name, value in call.headers.items()},
        body=call.body,
        received_at=as_datetime(rig.clock.time()),
    )


async def _read(plugin: Any, request: InboundRequest, ctx: Context) -> Any:
    return await plugin.on_inbound_webhook(request, ctx)


async def _sound(answer: Awaitable[Any], kind: type, what: str) -> Any:
    """What a plugin answers; None where it says what is wrong."""
    try:
        found = await answer
    except DeliveryError:
        return None
    except Exception as problem:
        raise CheckFailed(f"{what}, raised {type(problem).__name__}, which is none of errors.py") from problem
    require(isinstance(found, kind), f"{what}, gave a {type(found).__name__}")
    return found


def _entry(said: Inbound, rig: Rig) -> Entry:
    now = rig.clock.time()
    if isinstance(said, Report):
        return entry(NAME, said, report_body(said, read_at=now, pulled=False), now)
    at = said.at.timestamp() if said.at is not None else None
    body = HappeningIn(name=said.name, email=said.email, trigger_id=said.event_id or "e-1", data=said.data, at=at)
    return entry(NAME, said, body, now)


async def _raw(rig: Rig, call: Call) -> int:
    """Send a call with nothing put right on the way; returns the status of the answer."""
    url = urlsplit(rig.twin.hook_url or "")
    path = f"{url.path}{'?' if call.query else ''}{call.query}"
    headers = {**call.headers, "Host": url.netloc, "Content-Length": str(len(call.body)), "Connection": "close"}
    head = f"{call.method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        writer.write(head.encode("latin-1") + b"\r\n" + call.body)
        answer = await reader.readline()
        return int(answer.split()[1]) if answer.startswith(b"HTTP/") else 0
    finally:
        writer.close()


def _shown(call: Call) -> str:
    """A call as a message shows it."""
    return f"{call.method} ?{call.query[:60]} {call.body[:120]!r}"


def _rows(rows: list[Any]) -> dict[str, Any]:
    """A whole list with these rows, under the names that vendors give to such."""
    named = dict.fromkeys(("result", "results", "data", "items", "subscribers", "contacts", "profiles"), rows)
    return {**named, **dict.fromkeys(("total", "totalRecords", "count"), len(rows)), "next": None, "meta": {}}


def _odd(value: Any) -> dict[str, Any]:
    """An object that has this value wherever vendors have something that matters."""
    row = dict.fromkeys(("id", "ID", "uuid", "email", "fields", "custom", "groups", "status", "data"), value)
    more = {"result": [row, value], "data": [row, value], "total": value, "totalRecords": value, "next": value}
    return {**row, **more, "subscriber": row, "subscribers": [row], "contact": row, "meta": value, "count": value}
