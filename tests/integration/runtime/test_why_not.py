"""Each call that did not get through leaves its reason in the person's timeline, whatever came of it later."""

from esplanade import AuthenticationError, Outcome, OutcomeUnknown, TemporaryError

from .conftest import moved, profile, reasons, settled, trigger


async def test_a_call_that_is_made_again_says_so(place, clock):
    hub = await place.start(clock=clock)
    place.script().once("profile", TemporaryError("later"))
    await profile(hub, "ada")
    await settled(hub)
    assert await reasons(hub, "ada") == ["retried"]
    await moved(hub, clock, 10)
    assert place.script().to("ada")[-1][0] == "profile"


async def test_a_call_that_paused_the_connector_says_so(place, clock):
    hub = await place.start(clock=clock)
    place.script().answers["profile"] = lambda _event: AuthenticationError("expired")
    await profile(hub, "ada")
    await settled(hub)
    assert await reasons(hub, "ada") == ["paused"]


async def test_a_trigger_whose_outcome_is_unknown_says_so_once_it_is_parked(place, clock):
    hub = await place.start(clock=clock)
    place.script().answers["trigger"] = lambda _event: OutcomeUnknown("no answer")
    await trigger(hub, "ada", "t-1")
    await settled(hub)
    assert "outcome-unknown" in await reasons(hub, "ada")


async def test_what_a_plugin_gives_as_its_own_reason_is_kept_as_it_is(place, clock):
    hub = await place.start(clock=clock)
    place.script().answers["profile"] = lambda _event: Outcome(status="unchanged", reason="on holiday")
    await profile(hub, "ada")
    await settled(hub)
    assert await reasons(hub, "ada") == ["on holiday"]
