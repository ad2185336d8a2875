"""CO: consents, as the vendor holds them and as it tells of them."""

from __future__ import annotations

from esplanade.conformance.check import check, require, same
from esplanade.conformance.trial import Trial

EMAIL = "noor@example.net"


@check("CO3")
async def an_older_word_changes_nothing(trial: Trial) -> None:
    """A grant from before a denial, and a denial from before a grant, each told late."""
    purpose = trial.purposes[0]
    async with trial.hub() as rig:
        now = rig.clock.time()
        await rig.consent(EMAIL, "granted", purpose, at=now - 7_200)
        same(rig.held(EMAIL).consents.get(purpose), "granted", f"{purpose} at the vendor after a grant")
        await rig.consent(EMAIL, "denied", purpose, at=now - 3_600)
        denied = rig.side.find(EMAIL)
        require(denied is None or denied.consents.get(purpose) != "granted", "an opt-out did not reach the vendor")
        rig.requests()
        await rig.consent(EMAIL, "granted", purpose, at=now - 5_400)
        same(rig.writes(), [], "writes upon a grant that is older than the denial")
        same(await rig.state_of(EMAIL, purpose), "denied", f"{purpose} in the hub")
