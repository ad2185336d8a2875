"""LP: the hub's own writes that come back, and what only looks like them."""

from __future__ import annotations

from esplanade.conformance.check import check, same
from esplanade.conformance.trial import Trial

EMAIL = "noor@example.net"


@check("LP1")
async def an_own_write_that_comes_back_is_an_echo(trial: Trial) -> None:
    """After everything that can be written was written, what the vendor tells back changes nothing and sends nothing."""
    async with trial.hub() as rig:
        for purpose in trial.purposes:
            await rig.consent(EMAIL, "granted", purpose)
        await rig.profile(EMAIL, audiences=dict.fromkeys(trial.audiences, True))
        rig.requests()
        if "pull" in trial.methods:
            result = await rig.pull()
            same(result.changed, 0, "changes that a pull found in the hub's own writes")
        await rig.at_rest()
        same(rig.writes(), [], "writes upon the vendor's telling the hub what it wrote itself")
