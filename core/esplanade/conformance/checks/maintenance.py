"""DL8: a vendor that is away for a day."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_plus

from esplanade.conformance.check import check, require, same
from esplanade.conformance.rig import Rig
from esplanade.conformance.tales import Tale, calm, tales
from esplanade.conformance.trial import Trial
from esplanade.testing import Fault
from esplanade.testing.twin import Recorded

DAY_S, HOUR_S = 86_400.0, 3_600.0
LAST_S = 120.0
"""So much of each hour passes second by second; the rest is skipped, for nothing is due in it."""
ROUNDS = 6


@check("DL8")
async def away_until_a_time_that_it_names(trial: Trial) -> None:
    """Maintenance, announced from hour to hour: then everything arrives, and opt-outs first, though they were said last."""
    async with trial.hub(connector={"pace": {"concurrency": 1}}) as rig:
        told = [tale for each in await tales(rig, ROUNDS) for tale in each if tale.said != "trigger"]
        opted_out = [tale for tale in told if tale.said == "denial"]
        others = [tale for tale in told if tale.said != "denial"]
        words = {tale.email: _words_of(rig, tale) for tale in told}
        rig.twin.faults.append(Fault(status=503, headers={"Retry-After": f"{HOUR_S:.0f}"}, times=None))
        await _a_day(rig, [*others, *opted_out])
        rig.twin.faults.clear()
        rig.requests()
        await calm(rig, within_s=2 * HOUR_S)
        for tale in told:
            require(tale.is_held(rig), f"{tale.words} from a day of maintenance did not reach the vendor")
        order = [
            tale.said for request in rig.writes() for tale in told if re.search(words[tale.email], _shown(request))
        ]
        first = order[: len(opted_out)]
        same(
            [each for each in first if each != "denial"], [], "what was told before all opt-outs, after the maintenance"
        )


@check("DL8")
async def away_without_a_word(trial: Trial) -> None:
    """A day of failures of which nobody says when they end: within two hours after that, everything has arrived."""
    async with trial.hub() as rig:
        told = [tale for each in await tales(rig, ROUNDS) for tale in each if tale.said != "trigger"]
        rig.twin.faults.append(Fault(status=503, times=None))
        await _a_day(rig, told)
        rig.twin.faults.clear()
        await calm(rig, within_s=2 * HOUR_S)
        for tale in told:
            require(tale.is_held(rig), f"{tale.words} from a day of failures did not reach the vendor")


async def _a_day(rig: Rig, told: list[Tale]) -> None:
    """A day passes, and what there is to say is said in its first half."""
    for hour in range(int(DAY_S / HOUR_S)):
        for tale in told[hour * 2 : hour * 2 + 2]:
            kind, event = tale.event(rig.trial)
            await rig.say(kind, event)
        await rig.at_rest()
        rig.clock.set(rig.clock.time() + HOUR_S - LAST_S)
        await rig.advance(LAST_S)
    same(len(told[hour * 2 + 2 :]), 0, "what was left to say at the end of the day")


def _shown(request: Recorded) -> str:
    return f"{request.path} {unquote_plus(request.query)} {request.body!r}"


def _words_of(rig: Rig, tale: Tale) -> str:
    """By what a request is seen to be about a person, as a pattern."""
    contact = rig.side.find(tale.email)
    known = {tale.email, quote(tale.email, safe=""), *([contact.remote_id] if contact is not None else [])}
    return "|".join(rf"(?<!\w){re.escape(each)}(?!\w)" for each in known)
