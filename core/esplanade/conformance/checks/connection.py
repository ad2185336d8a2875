"""CN: how the plugin reaches its vendor, and what it does where it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from esplanade.conformance.check import check, require, same
from esplanade.conformance.logs import captured
from esplanade.conformance.rig import NAME, Rig
from esplanade.conformance.trial import Trial, reach
from esplanade.errors import AuthenticationError, DeliveryError
from esplanade.records import Attempt
from esplanade.runtime import Hub
from esplanade.testing import FakeClock, Fault

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
            await everything(rig, OTHER)
            twin.faults[:] = [Fault(action="hang", times=None)]
            await _say_all(rig)
            await twin.reached(1)
        await _some_turns()  # until the twin has noticed
        same(twin.open_connections, 0, "connections to the vendor that are open after the hub has stopped")
    await _some_turns()  # until what was cancelled has ended
    names = sorted(repr(each.get_coro()) for each in asyncio.all_tasks() - before)
    require(not names, f"tasks are left after the hub has stopped: {', '.join(names)}")


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


async def everything(rig: Rig, email: str) -> None:
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
