"""AU: audiences, of which the hub touches only what it made itself, and which no mistake may empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esplanade.conformance.check import check, require, same
from esplanade.conformance.logs import captured
from esplanade.conformance.rig import NAME
from esplanade.conformance.tales import calm
from esplanade.conformance.trial import Trial
from esplanade.records import DeliveryFilter
from esplanade.sync.guard import FLOOR, RUN_S

if TYPE_CHECKING:
    from esplanade.conformance.rig import Rig

EMAIL, OTHER, FOREIGN = "noor@example.net", "pim@example.net", "theirs@example.net"
CROWD = [f"person{number}@example.net" for number in range(FLOOR + 15)]
"""More people than the guard lets go at once."""


@check("AU1")
async def in_and_out_of_every_audience(trial: Trial) -> None:
    """Found or made where it is not there yet, joined and left, while those beside it stay."""
    names = audiences_of(trial)
    async with trial.hub() as rig:
        for email in (EMAIL, OTHER):
            await rig.welcome(email, audiences=dict.fromkeys(names, True))
            same(rig.held(email).audiences, frozenset(names), "audiences of somebody who was put into all of them")
        await rig.profile(EMAIL, fields={trial.text: "Breda"})
        same(rig.held(EMAIL).audiences, frozenset(names), "audiences after a change that says nothing of them")
        for name in names:
            await rig.profile(EMAIL, fields={}, audiences={name: False})
            require(name not in rig.held(EMAIL).audiences, f"somebody who left the audience {name} is still in it")
        same(rig.held(EMAIL).audiences, frozenset(), "audiences of somebody who left all of them")
        same(rig.held(OTHER).audiences, frozenset(names), "audiences of somebody else after that")


@check("AU1")
async def many_at_once_are_put_into_one_audience(trial: Trial) -> None:
    """Whatever is found or made by name is made once, also when several people need it at the same moment."""
    names = audiences_of(trial)
    async with trial.hub() as rig:
        await welcome_all(rig, CROWD, names)
        same(members(rig, names[-1]), sorted(CROWD), f"members of the audience {names[-1]}")
        rig.requests()
        await rig.hear()
        same(rig.writes(), [], "writes after all are in their audiences")


@check("AU1")
async def members_of_others_stay(trial: Trial) -> None:
    """Whom somebody put there by hand is not taken out, whether or not the hub has heard of it."""
    names = audiences_of(trial)
    async with trial.hub() as rig:
        await rig.welcome(EMAIL, audiences=dict.fromkeys(names, True))
        for name in names:
            rig.side.join(FOREIGN, name)
        await rig.hear()
        for purpose in trial.purposes:
            await rig.consent(FOREIGN, "granted", purpose)
        await rig.profile(FOREIGN, audiences=dict.fromkeys(names, False))
        await rig.profile(EMAIL, audiences=dict.fromkeys(names, False))
        same(rig.held(FOREIGN).audiences, frozenset(names), "audiences of somebody whom the hub did not put there")
        same(rig.held(EMAIL).audiences, frozenset(), "audiences of somebody whom the hub put there and who left")


@check("AU1")
async def who_left_at_the_vendor_and_joins_again_is_in_again(trial: Trial) -> None:
    """A membership that the hub gives a second time arrives, and one that is taken twice does no harm."""
    name = audiences_of(trial)[0]
    async with trial.hub() as rig:
        await rig.welcome(EMAIL)
        for member in (True, False, False, True):
            await rig.profile(EMAIL, fields={}, audiences={name: member})
            same(name in rig.held(EMAIL).audiences, member, f"whether somebody is in the audience {name}")


@check("AU2")
async def an_audience_that_empties_at_once_is_held(trial: Trial) -> None:
    """More leave than ``hub.guard.max_removals`` allows: so many do, one alert asks about the rest, and a replay lets them go."""
    name = audiences_of(trial)[0]
    with captured() as logs:
        async with trial.hub() as rig:
            await welcome_all(rig, CROWD, [name])
            same(members(rig, name), sorted(CROWD), f"members of the audience {name}")
            leave = [{"email": each, "audiences": {name: False}} for each in CROWD]
            await rig.say("profile", *leave)
            await calm(rig)
            same(len(members(rig, name)), len(CROWD) - FLOOR, f"who is left in {name} when everybody left it at once")
            kept = await rig.deliveries(states=["parked"], reason="guard")
            same(len(kept), len(CROWD) - FLOOR, "removals that wait for a person to decide on them")
            same(
                [each for each in logs.alerts() if each.startswith("guard:")],
                [f"guard:{NAME}:{name}"],
                "alerts of the guard",
            )
            await rig.say("profile", *leave)
            await calm(rig)
            same(len(members(rig, name)), len(CROWD) - FLOOR, f"who is left in {name} when the same was said once more")
            await rig.hub.replay(DeliveryFilter(connector=NAME, reason="guard"), force=False)
            await calm(rig)
            same(members(rig, name), [], f"members of {name} once a person let them go")


@check("AU2")
async def an_audience_that_empties_slowly_is_not(trial: Trial) -> None:
    """As many leave, in more than one hour: nobody is asked."""
    name = audiences_of(trial)[0]
    async with trial.hub() as rig:
        await welcome_all(rig, CROWD, [name])
        for start in range(0, len(CROWD), FLOOR):
            leave = [{"email": each, "audiences": {name: False}} for each in CROWD[start : start + FLOOR]]
            await rig.say("profile", *leave)
            await calm(rig)
            await rig.later(RUN_S)
        same(members(rig, name), [], f"members of {name} after they left a few at a time")
        same(await rig.deliveries(states=["parked"]), [], "removals that wait for a person to decide on them")


@check("AU2")
async def who_joins_again_while_the_guard_asks_stays(trial: Trial) -> None:
    """The segment is mended before anybody has decided: then the replay takes nobody out."""
    name = audiences_of(trial)[0]
    async with trial.hub() as rig:
        await welcome_all(rig, CROWD, [name])
        for member in (False, True):
            await rig.say("profile", *({"email": each, "audiences": {name: member}} for each in CROWD))
            await calm(rig)
        await rig.hub.replay(DeliveryFilter(connector=NAME, reason="guard"), force=False)
        await calm(rig)
        same(members(rig, name), sorted(CROWD), f"members of {name} after all of them joined it again")


@check("AU2")
async def a_vendor_that_reports_nobody_opts_out_nobody(trial: Trial) -> None:
    """A pull no longer finds the holders of a purpose, all of them: nobody is opted out, and a person is asked."""
    if "pull" not in trial.methods:
        return  # silence means nothing where nothing is pulled
    purpose = trial.purposes[0]
    with captured() as logs:
        async with trial.hub() as rig:
            if rig.lacks("AU2", "wipe"):
                return
            await welcome_all(rig, CROWD, [])
            await rig.later(RUN_S)
            await rig.hear()
            rig.side.wipe(purpose)
            await rig.hear()
            states = [await rig.state_of(each, purpose) for each in CROWD]
            same(states, ["granted"] * len(CROWD), f"{purpose} in the hub when nobody was listed for it any more")
            require(
                [each for each in logs.alerts() if each.startswith("guard:")],
                "nobody is told that a pull no longer found anybody",
            )


# What these share.


def audiences_of(trial: Trial) -> list[str]:
    """The audiences of the sample."""
    require(trial.audiences, "the sample has no audiences; give it some, or say in skips why AU does not apply")
    return trial.audiences


def members(rig: Rig, audience: str) -> list[str]:
    """The addresses of those who are in an audience, sorted."""
    return sorted(each.email for each in rig.side.contacts() if audience in each.audiences)


async def welcome_all(rig: Rig, emails: list[str], audiences: list[str]) -> None:
    """Grant everything to many people, and put them into audiences, all in one breath."""
    evidence = {"state": "granted", "method": "double", "evidence": {"form": "footer"}}
    grants = [{"email": email, "purpose": purpose, **evidence} for email in emails for purpose in rig.trial.purposes]
    await rig.say("consent", *grants)
    await calm(rig)
    profiles = [
        {"email": email, "fields": {rig.trial.text: "Delft"}, "audiences": dict.fromkeys(audiences, True)}
        for email in emails
    ]
    await rig.say("profile", *profiles)
    await calm(rig)
