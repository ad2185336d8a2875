"""PR and ID: profiles, and who is whom."""

from __future__ import annotations

from esplanade.conformance.check import check, require, same
from esplanade.conformance.trial import Trial

EMAIL = "noor@example.net"


@check("PR1")
async def created_changed_left_alone_and_cleared(trial: Trial) -> None:
    """Each of the four, as the vendor holds it afterwards."""
    field = trial.text
    theirs = trial.fields[field]
    async with trial.hub() as rig:
        await rig.welcome(EMAIL, fields={field: "Delft"})
        same(rig.held(EMAIL).fields.get(theirs), "Delft", f"{theirs} of a new contact")
        await rig.profile(EMAIL, fields={field: "Breda"})
        same(rig.held(EMAIL).fields.get(theirs), "Breda", f"{theirs} after a change")
        rig.requests()
        await rig.profile(EMAIL, fields={field: "Breda"})
        same(rig.writes(), [], "writes where nothing changed")
        await rig.profile(EMAIL, fields={field: None})
        same(rig.held(EMAIL).fields.get(theirs), None, f"{theirs} after it was cleared")
        same(len([each for each in rig.side.contacts() if each.email.lower() == EMAIL]), 1, "contacts of one person")


@check("PR2")
async def said_twice_is_sent_once(trial: Trial) -> None:
    """Everything that can be said of a person, said again: no request that changes anything."""
    async with trial.hub() as rig:
        for time in ("first", "second"):
            audiences = dict.fromkeys(trial.audiences, True)
            await rig.profile(EMAIL, audiences=audiences)
            for purpose in trial.purposes:
                await rig.consent(EMAIL, "granted", purpose)
            if time == "first":
                require(rig.writes(), "nothing was sent the first time")
        same([f"{each.method} {each.path}" for each in rig.writes()], [], "writes the second time")


@check("PR3")
async def a_profile_leaves_consents_alone(trial: Trial) -> None:
    """Who opted out, at the vendor or with the hub, stays out through later profiles."""
    async with trial.hub() as rig:
        for purpose in trial.purposes:
            await rig.consent(EMAIL, "granted", purpose)
        granted = rig.held(EMAIL).consents
        same(granted, dict.fromkeys(trial.purposes, "granted"), "consents at the vendor after grants")
        await rig.profile(EMAIL)
        same(rig.held(EMAIL).consents, granted, "consents at the vendor after a profile")
        for purpose in trial.purposes:
            await rig.consent(EMAIL, "denied", purpose)
        await rig.profile(EMAIL, fields={trial.text: "Breda"})
        for purpose in trial.purposes:
            require(
                rig.held(EMAIL).consents.get(purpose) != "granted",
                f"a profile that came after an opt-out made the vendor hold {purpose} as granted",
            )
