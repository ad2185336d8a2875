"""DL7: kill -9 of a hub that runs in a process of its own, while the vendor has its calls in hand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from esplanade.clock import SystemClock
from esplanade.conformance.check import check, require, same
from esplanade.conformance.processes import Life, hub_process, until
from esplanade.conformance.rig import NAME
from esplanade.conformance.tales import Tale, sayings
from esplanade.conformance.trial import Trial
from esplanade.connector import traits_of
from esplanade.runtime.connection import furnishing_of
from esplanade.testing import Fault, Twin, VendorSide
from esplanade.testing.faults import Action

QUICK = {
    "retry": {"base": "50ms", "cap": "1s"},
    "timeout": "4s",
    "breaker": {"failures": 1000},
    "pace": {"concurrency": 8},
}
ROUNDS = 12
KILLS = (0.25, 0.6)
"""How much of its load the hub has behind it when it is killed, once after the other."""
SLOW_S = 0.01


@check("DL7")
async def killed_with_calls_in_hand(trial: Trial) -> None:
    """The vendor has a call of each kind in hand, and has acted on it or not, when the hub is killed."""
    async with _vendor(trial) as scene:
        told = [Tale(said=said, number=number) for number in range(2) for said in sayings(trial)]
        async with hub_process(scene.config) as life:
            await scene.prepare(life, told)
        half = len(told) // 2
        for acted, tales in ((False, told[:half]), (True, told[half:])):
            scene.spoil("hang-after" if acted else "hang", times=len(tales))
            held = scene.twin.under_way
            async with hub_process(scene.config) as life:
                for tale in tales:
                    require(await life.say(*tale.event(trial)), f"the hub did not accept {tale.words}")
                await until(partial(_has, scene, held + len(tales)), "not all calls reached the vendor")
                await life.kill()
            scene.twin.faults.clear()
            async with hub_process(scene.config) as life:
                await until(life.at_rest, "the hub did not come to rest after it was killed")
                parked = await _parked(life)
            for tale in tales:
                what = f"{tale.words} that the vendor {'had acted on' if acted else 'had not acted on'} when the hub was killed"
                scene.holds(tale, parked, what, mails=int(acted))


@check("DL7")
async def killed_under_load(trial: Trial) -> None:
    """A hub that is killed twice in the middle of its work: whatever it had accepted is done, and nothing too often."""
    async with _vendor(trial) as scene:
        told = [Tale(said=said, number=number) for number in range(ROUNDS) for said in sayings(trial)]
        async with hub_process(scene.config) as life:
            await scene.prepare(life, told)
        before, shop = scene.twin.request_count, _Shop(trial, told)
        scene.twin.faults.append(Fault(action="pass", delay_s=SLOW_S, times=None))
        for share in KILLS:
            many = before + int(share * len(told))
            async with hub_process(scene.config) as life:
                telling = asyncio.create_task(shop.tell(life))
                await until(partial(_counted, scene, many), "the hub makes no calls")
                await life.kill()
                await telling
        scene.twin.faults.clear()
        async with hub_process(scene.config) as life:
            await shop.tell(life)
            await until(life.at_rest, "the hub did not come to rest after it was killed twice")
            parked = await _parked(life)
        for tale in told:
            scene.holds(tale, parked, f"{tale.words} after two kills")


class _Shop:
    """Says everything in its order, and says again what was not accepted for certain."""

    def __init__(self, trial: Trial, told: Iterable[Tale]) -> None:
        self._trial = trial
        self._left = list(told)

    async def tell(self, life: Life) -> None:
        """Say what is left, until all of it is said or the hub is gone."""
        while self._left:
            tale = self._left[0]
            kind, event = tale.event(self._trial)
            if not await life.say(kind, {**event, "event_id": f"{tale.said}-{tale.number}"}):
                return
            self._left.pop(0)


class _Scene:
    """A vendor, and where the hub's file is."""

    def __init__(self, trial: Trial, twin: Twin[Any], side: VendorSide[Any], config: Path, token_path: str) -> None:
        self.trial = trial
        self.twin = twin
        self.side = side
        self.config = config
        self.repeat = traits_of(trial.plugin(twin.settings)).trigger_repeat
        self._writes = rf"^(?!GET )\S+ (?!{re.escape(token_path)}(\?|$))" if token_path else r"^(?!GET )"

    def spoil(self, action: Action, *, times: int) -> None:
        """Let so many calls that change something go wrong."""
        self.twin.faults.append(Fault(match=self._writes, action=action, times=times))

    async def prepare(self, life: Life, told: Iterable[Tale]) -> None:
        """Let the vendor hold what it must before."""
        for kind, event in _before(self.trial, told):
            await life.say(kind, event)
        await until(life.at_rest, "the hub did not come to rest, although nothing was wrong")

    def holds(self, tale: Tale, parked: set[str], what: str, *, mails: int | None = None) -> None:
        """Require that the vendor holds what it shall; of a mail that may not be repeated, that it is one or somebody is asked."""
        if tale.said != "trigger" or self.repeat != "never":
            require(tale.is_held(self), f"{what}: the vendor does not hold it, or not once")
            return
        found = tale.mails(self)
        require(found <= 1, f"{what}: it had {found} mails sent, although trigger_repeat is 'never'")
        if mails is not None:
            same(found, mails, f"mails of {what}")
            require(tale.email in parked, f"{what}: nobody is asked whether it was sent")
        require(found or tale.email in parked, f"{what}: it had no mail sent, and nobody is asked about it")


@asynccontextmanager
async def _vendor(trial: Trial) -> AsyncIterator[_Scene]:
    async with trial.twin(SystemClock()) as twin:
        loaded = await trial.load(at=twin, connector=QUICK)
        config = loaded.config.connectors[NAME]
        auth = trial.plugin(config.settings).endpoint().auth
        token_path = urlsplit(getattr(auth, "token_url", "")).path
        side = twin.side(furnishing_of(config))
        yield _Scene(trial, twin, side, trial.folder / "connectors.yaml", token_path)


def _before(trial: Trial, told: Iterable[Tale]) -> Iterator[tuple[str, dict[str, Any]]]:
    for tale in told:
        for kind, events in tale.before(trial).items():
            for event in events:
                yield kind, event


async def _has(scene: _Scene, many: int) -> bool:
    return scene.twin.under_way >= many


async def _counted(scene: _Scene, many: int) -> bool:
    return scene.twin.request_count >= many


async def _parked(life: Life) -> set[str]:
    """Whose triggers wait for somebody to say whether they were sent."""
    found = (await life.shown("/v1/deliveries?state=parked&limit=1000"))["deliveries"]
    return {row["email"] for row in found if row["reason"] == "outcome-unknown"}
