"""IN5: the hub's own webhooks at the vendor, and those of others."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from esplanade.conformance.check import check, require, same
from esplanade.conformance.logs import captured
from esplanade.conformance.rig import NAME, Rig
from esplanade.conformance.tales import STEP_S
from esplanade.conformance.trial import Trial
from esplanade.errors import EsplanadeError
from esplanade.model import Webhooks
from esplanade.testing import FakeClock
from esplanade.testing.faults import Action

THEIRS = "https://somebody-else.example/hooks/1"
FIRST, SECOND = "https://first.example", "https://second.example"


@check("IN5")
async def registered_once(trial: Trial) -> None:
    """However often it is asked, each of its webhooks is there once, and the second time there is nothing to do."""
    async with _registered(trial) as (rig, own):
        for _ in range(2):
            rig.requests()
            found = await rig.hub.webhooks(NAME)
            same(
                (found.made, found.mended, found.removed),
                ([], [], []),
                "what was done about webhooks that were in order",
            )
            require(found.kept, "of the webhooks that are there, the plugin says nothing (Webhooks.kept)")
            same(
                [f"{each.method} {each.path}" for each in rig.writes()], [], "writes about webhooks that were in order"
            )
            same(_own(rig), own, "the hub's webhooks after they were registered again")


@check("IN5")
async def repaired(trial: Trial) -> None:
    """Somebody deletes them, or changes them so that they no longer call: the next time, they are as they were."""
    async with _registered(trial) as (rig, own):
        url = _url(rig)
        rig.side.drop_webhook(url)
        same(_own(rig), [], "the hub's webhooks after somebody deleted them")
        found = await rig.hub.webhooks(NAME)
        require(found.made, "webhooks that were gone were made, and the plugin does not say so (Webhooks.made)")
        same(_own(rig), own, "the hub's webhooks after somebody deleted them")
        rig.side.spoil_webhook(url)
        before = rig.side.webhooks()
        found = await rig.hub.webhooks(NAME)
        require(found.mended or found.made, f"webhooks that somebody changed were left as they are: {before}")
        same(_own(rig), own, "the hub's webhooks after somebody changed them")


@check("IN5")
async def others_are_left_alone(trial: Trial) -> None:
    """What somebody else registered is there, as it was, whatever the hub does with its own."""
    async with _registered(trial) as (rig, own):
        rig.side.add_webhook(THEIRS)
        theirs = [each for each in rig.side.webhooks() if each not in own]
        require(theirs, "VendorSide.add_webhook added nothing")
        await rig.hub.webhooks(NAME)
        rig.side.drop_webhook(_url(rig))
        await rig.hub.webhooks(NAME)
        same(_own(rig), own, "the hub's webhooks beside those of somebody else")
        found = await rig.hub.webhooks(NAME, remove=True)
        require(found.removed, "webhooks were removed, and the plugin does not say so (Webhooks.removed)")
        same(rig.side.webhooks(), theirs, "webhooks that are there once the hub has removed its own")
        found = await rig.hub.webhooks(NAME, remove=True)
        same(found.removed, [], "webhooks that were removed although there were none left")
        same(rig.side.webhooks(), theirs, "webhooks that are there after a second removal")


@check("IN5")
async def registered_through_failures(trial: Trial) -> None:
    """Its calls fail half-way, and the answer to one that was done is lost: in the end each is there once.

    Where the vendor cannot be asked what is registered, quality.yaml says so under ``IN5 lost answer``.
    """
    lost: tuple[Action, ...] = () if "IN5 lost answer" in trial.quality.declared else ("cut-after", "after")
    async with _registered(trial) as (rig, own):
        for action in ("cut-before", *lost):
            rig.side.drop_webhook(_url(rig))
            rig.spoil_writes(action, status=500, times=1)
            with contextlib.suppress(EsplanadeError):
                await rig.hub.webhooks(NAME)
            rig.twin.faults.clear()
            await rig.advance(STEP_S)
            await rig.hub.webhooks(NAME)
            same(_own(rig), own, f"the hub's webhooks after a call about them was lost ({action})")


@check("IN5")
async def moved(trial: Trial) -> None:
    """The hub answers elsewhere from now on: its webhooks call there, and none the old address."""
    clock = FakeClock()
    async with trial.twin(clock) as twin:
        async with trial.hub(clock=clock, at=twin, public_url=FIRST) as rig:
            await rig.hub.webhooks(NAME)
            first = _at(rig, FIRST)
            require(first, f"no webhook calls {FIRST} after they were registered there")
        async with trial.hub(clock=clock, at=twin, public_url=SECOND) as rig:
            await rig.hub.webhooks(NAME)
            same(len(_at(rig, SECOND)), len(first), "webhooks that call the hub's new address")
            same(_at(rig, FIRST), [], "webhooks that call the hub's old address")


@check("IN5")
async def the_url_is_not_told(trial: Trial) -> None:
    """What the plugin says of its webhooks, and what is logged of them, does not hold the secret end of the URL."""
    with captured() as logs:
        async with _registered(trial) as (rig, _):
            secret = _url(rig).rpartition("/")[2]
            said = [await rig.hub.webhooks(NAME)]
            rig.side.drop_webhook(_url(rig))
            said += [await rig.hub.webhooks(NAME), await rig.hub.webhooks(NAME, remove=True)]
    require(
        secret not in "".join(map(_words, said)), "what the plugin says of its webhooks holds the secret of their URL"
    )
    require(secret not in logs.text, "the log holds the secret of the webhooks' URL")


@contextlib.asynccontextmanager
async def _registered(trial: Trial) -> AsyncIterator[tuple[Rig, list[str]]]:
    """A hub that has registered its webhooks, and those."""
    async with trial.hub() as rig:
        await rig.hub.webhooks(NAME)
        own = _own(rig)
        require(own, "after registering, no webhook at the vendor calls the hub")
        yield rig, own


def _url(rig: Rig) -> str:
    return rig.twin.hook_url or ""


def _own(rig: Rig) -> list[str]:
    return sorted(each for each in rig.side.webhooks() if _url(rig) in each)


def _at(rig: Rig, origin: str) -> list[str]:
    return [each for each in rig.side.webhooks() if f"{origin}/" in each]


def _words(found: Webhooks) -> str:
    return "\n".join([*found.kept, *found.made, *found.mended, *found.removed])
