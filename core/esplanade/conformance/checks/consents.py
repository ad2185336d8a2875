"""CO: consents, as the vendor holds them and as it tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esplanade.conformance.check import check, require, same
from esplanade.conformance.trial import Trial

if TYPE_CHECKING:
    from esplanade.conformance.rig import Rig
    from esplanade.model import Regrant

EMAIL, OTHER = "noor@example.net", "pim@example.net"
DAY_S = 86_400.0
HOUR_S = 3_600.0
PLAIN = {"method": None}
"""A grant that the vendor still has to let the person confirm."""


# CO1: each state, both ways.


@check("CO1")
async def what_is_said_to_the_hub_the_vendor_holds(trial: Trial) -> None:
    """A grant, an opt-out and a grant once more, of every purpose."""
    async with trial.hub() as rig:
        for purpose in trial.purposes:
            await rig.consent(EMAIL, "granted", purpose)
            same(held(rig, EMAIL, purpose), "granted", f"{purpose} at the vendor after a grant")
            await rig.later(HOUR_S)
            await rig.consent(EMAIL, "denied", purpose)
            require(held(rig, EMAIL, purpose) in OUT, f"{purpose}: an opt-out did not reach the vendor")
            await rig.later(HOUR_S)
            await rig.consent(EMAIL, "granted", purpose)
            same(
                held(rig, EMAIL, purpose), "granted", f"{purpose} at the vendor after a grant that followed an opt-out"
            )


@check("CO1")
async def what_the_vendor_holds_the_hub_hears(trial: Trial) -> None:
    """A sign-up at the vendor, and an opt-out there."""
    async with trial.hub() as rig:
        rig.side.sign_up(EMAIL, {}, trial.purposes)
        await rig.hear()
        if not trial.hears_of_consent:
            heard = [each for each in trial.purposes if await rig.state_of(EMAIL, each) is not None]
            same(
                heard, [], "purposes of which the hub heard, though quality.yaml declares that the vendor tells of none"
            )
            return
        for purpose in trial.purposes:
            same(await rig.state_of(EMAIL, purpose), "granted", f"{purpose} in the hub after a sign-up at the vendor")
        await rig.later(HOUR_S)
        for purpose in trial.purposes:
            rig.side.opt_out(EMAIL, purpose)
        await rig.hear()
        for purpose in trial.purposes:
            same(await rig.state_of(EMAIL, purpose), "denied", f"{purpose} in the hub after an opt-out at the vendor")


@check("CO1")
async def a_vendors_grant_is_worth_what_regrant_says(trial: Trial) -> None:
    """Somebody who opted out with the hub opts in at the vendor, with each of the three settings."""
    regrants: tuple[Regrant, ...] = ("never", "reported", "confirmed") if trial.hears_of_consent else ()
    for regrant in regrants:
        targets = {purpose: {**trial.target("consents", purpose), "regrant": regrant} for purpose in trial.purposes}
        async with trial.hub(connector={"consents": targets}, folder=trial.folder / regrant) as rig:
            for purpose in trial.purposes:
                await rig.consent(EMAIL, "granted", purpose)
                await rig.consent(EMAIL, "denied", purpose)
            await rig.later(HOUR_S)
            for purpose in trial.purposes:
                rig.side.opt_in(EMAIL, purpose)
            await rig.hear()
            await rig.later(DAY_S)
            for purpose in trial.purposes:
                now = await rig.state_of(EMAIL, purpose)
                what = f"{purpose} after an opt-in at the vendor, with regrant: {regrant}"
                if regrant != "confirmed":  # there it depends on whether the vendor's word is the person's own
                    same(now, "granted" if regrant == "reported" else "denied", f"{what}, in the hub")
                agree(now, held(rig, EMAIL, purpose), what)


@check("CO1")
async def a_complaint_is_an_opt_out(trial: Trial) -> None:
    """Whoever reports a mail as spam is opted out of everything, and stays so."""
    async with trial.hub() as rig:
        if rig.lacks("CO1", "complain"):
            return
        for purpose in trial.purposes:
            await rig.consent(EMAIL, "granted", purpose)
        await rig.later(HOUR_S)
        rig.side.complain(EMAIL)
        await rig.hear()
        await rig.profile(EMAIL, fields={trial.text: "Breda"})
        await rig.hear()
        for purpose in trial.purposes:
            same(await rig.state_of(EMAIL, purpose), "denied", f"{purpose} in the hub after a complaint")
            require(held(rig, EMAIL, purpose) in OUT, f"{purpose}: the vendor mails somebody again who complained")


@check("CO1")
async def a_bounce_grants_nothing(trial: Trial) -> None:
    """What the vendor makes of an address that bounces is no consent, and hub and vendor do not quarrel over it."""
    async with trial.hub() as rig:
        if rig.lacks("CO1", "bounce"):
            return
        first, *rest = trial.purposes
        await rig.consent(EMAIL, "granted", first)
        for purpose in rest:
            await rig.consent(EMAIL, "denied", purpose)
        await rig.later(HOUR_S)
        rig.side.bounce(EMAIL)
        for _ in range(3):
            await rig.hear()
            await rig.later(HOUR_S)
        rig.requests()
        await rig.hear()
        same(rig.writes(), [], "writes upon hearing once more of an address that bounced")
        for purpose in rest:
            same(await rig.state_of(EMAIL, purpose), "denied", f"{purpose} in the hub after the address bounced")
        for purpose in trial.purposes:
            agree(await rig.state_of(EMAIL, purpose), held(rig, EMAIL, purpose), f"{purpose} after a bounce")


# CO3: late words.


@check("CO3")
async def an_older_word_changes_nothing(trial: Trial) -> None:
    """A grant from before a denial, and a denial from before a grant, each told late."""
    purpose = trial.purposes[0]
    async with trial.hub() as rig:
        now = rig.clock.time()
        await rig.consent(EMAIL, "granted", purpose, at=now - 7_200)
        same(held(rig, EMAIL, purpose), "granted", f"{purpose} at the vendor after a grant")
        await rig.consent(EMAIL, "denied", purpose, at=now - 3_600)
        require(held(rig, EMAIL, purpose) in OUT, "an opt-out did not reach the vendor")
        rig.requests()
        await rig.consent(EMAIL, "granted", purpose, at=now - 5_400)
        same(rig.writes(), [], "writes upon a grant that is older than the denial")
        same(await rig.state_of(EMAIL, purpose), "denied", f"{purpose} in the hub")
        await rig.consent(EMAIL, "granted", purpose, at=now - 1_800)
        same(
            held(rig, EMAIL, purpose), "granted", f"{purpose} at the vendor after a grant that is newer than the denial"
        )
        rig.requests()
        await rig.consent(EMAIL, "denied", purpose, at=now - 2_700)
        same(rig.writes(), [], "writes upon a denial that is older than the grant")
        same(await rig.state_of(EMAIL, purpose), "granted", f"{purpose} in the hub")


@check("CO3")
async def a_vendors_older_grant_that_comes_late_lifts_no_denial(trial: Trial) -> None:
    """A sign-up at the vendor of which it tells only after the person has opted out with the hub."""
    async with trial.hub() as rig:
        rig.twin.hold()
        rig.side.sign_up(EMAIL, {}, trial.purposes)
        await rig.later(HOUR_S)
        for purpose in trial.purposes:
            await rig.consent(EMAIL, "denied", purpose)
        await rig.later(HOUR_S)
        rig.twin.release()
        await rig.hear()
        for purpose in trial.purposes:
            same(await rig.state_of(EMAIL, purpose), "denied", f"{purpose} in the hub after an older grant")
            require(
                held(rig, EMAIL, purpose) in OUT, f"{purpose}: the vendor holds a grant that is older than a denial"
            )


@check("CO3")
async def a_vendors_older_opt_out_that_comes_late_ends_in_agreement(trial: Trial) -> None:
    """With a clock of its own it is older than the grant, without one it counts: either way both hold the same."""
    if not trial.hears_of_consent:
        return  # nor late
    async with trial.hub() as rig:
        for purpose in trial.purposes:
            await rig.consent(EMAIL, "granted", purpose)
        await rig.later(HOUR_S)
        rig.twin.hold()
        for purpose in trial.purposes:
            rig.side.opt_out(EMAIL, purpose)
        await rig.later(HOUR_S)
        for purpose in trial.purposes:
            await rig.consent(EMAIL, "granted", purpose)
        await rig.later(HOUR_S)
        rig.twin.release()
        await rig.hear()
        await rig.later(DAY_S)
        for purpose in trial.purposes:
            now = await rig.state_of(EMAIL, purpose)
            agree(now, held(rig, EMAIL, purpose), f"{purpose} after an opt-out that was told late")


# CO4: each purpose for itself.


@check("CO4")
async def purposes_are_kept_apart(trial: Trial) -> None:
    """What is said of one purpose, here or at the vendor, says nothing of another."""
    first, second = two_of(trial)
    async with trial.hub() as rig:
        await rig.consent(EMAIL, "granted", first)
        require(held(rig, EMAIL, second) != "granted", f"a grant of {first} made the vendor hold {second} as granted")
        same(await rig.state_of(EMAIL, second), None, f"{second} in the hub after a grant of {first}")
        await rig.consent(EMAIL, "granted", second)
        await rig.consent(EMAIL, "denied", first)
        require(held(rig, EMAIL, first) in OUT, f"the vendor still holds {first} as granted after its denial")
        same(held(rig, EMAIL, second), "granted", f"{second} at the vendor after a denial of {first}")
        await rig.hear()
        same(await rig.state_of(EMAIL, second), "granted", f"{second} in the hub after a denial of {first}")


@check("CO4")
async def purposes_are_kept_apart_when_the_vendor_tells_of_them(trial: Trial) -> None:
    """An opt-out of one purpose at the vendor leaves the other, and a sign-up for one grants one."""
    first, second = two_of(trial)
    async with trial.hub() as rig:
        rig.side.sign_up(OTHER, {}, [second])
        for purpose in (first, second):
            await rig.consent(EMAIL, "granted", purpose)
        await rig.later(HOUR_S)
        rig.side.opt_out(EMAIL, first)
        await rig.hear()
        same(await rig.state_of(EMAIL, first), "denied", f"{first} in the hub after an opt-out of it at the vendor")
        same(await rig.state_of(EMAIL, second), "granted", f"{second} in the hub after an opt-out of {first}")
        same(await rig.state_of(OTHER, second), "granted", f"{second} in the hub after a sign-up for it")
        same(await rig.state_of(OTHER, first), None, f"{first} in the hub after a sign-up for {second}")
        same(held(rig, EMAIL, second), "granted", f"{second} at the vendor after an opt-out of {first}")


# CO5: nothing without consent.


@check("CO5")
async def a_profile_sets_no_consent(trial: Trial) -> None:
    """Somebody who has said nothing of consent is on no list for it, whatever else is said of them."""
    async with trial.hub() as rig:
        await rig.profile(EMAIL, audiences=dict.fromkeys(trial.audiences, True))
        await rig.profile(EMAIL, fields={trial.text: "Breda"}, audiences=dict.fromkeys(trial.audiences, False))
        found = rig.side.find(EMAIL)
        consents = found.consents if found is not None else {}
        same([name for name, state in consents.items() if state == "granted"], [], "purposes granted without consent")


@check("CO5")
async def a_connector_that_requires_a_purpose_hears_of_nobody_without_it(trial: Trial) -> None:
    """With ``requires``, nothing at all is written of somebody without the grant; with the grant, it is."""
    purpose = trial.purposes[0]
    async with trial.hub(connector={"requires": purpose}) as rig:
        rig.requests()
        await rig.profile(EMAIL, audiences=dict.fromkeys(trial.audiences, True))
        for trigger in trial.triggers:
            await rig.trigger(EMAIL, f"early-{trigger}", trigger)
        for other in trial.purposes[1:]:
            await rig.consent(EMAIL, "granted", other)
        same([f"{each.method} {each.path}" for each in rig.writes()], [], f"writes without the grant of {purpose}")
        require("no-consent" in await rig.reasons(EMAIL), "nobody can see why nothing was sent (reason no-consent)")
        await rig.consent(EMAIL, "granted", purpose)
        same(held(rig, EMAIL, purpose), "granted", f"{purpose} at the vendor once it is granted")
        if "trigger" in trial.kinds:
            await rig.trigger(EMAIL, "in-time")
            require("in-time" in sent_to(rig, EMAIL), "a trigger was not sent although its purpose is granted")
            await rig.consent(EMAIL, "denied", purpose)
            await rig.trigger(EMAIL, "too-late")
            same(sent_to(rig, EMAIL), ["in-time"], "triggers that were sent after all")


@check("CO5")
async def a_trigger_that_requires_a_purpose_needs_its_grant(trial: Trial) -> None:
    """With ``requires`` at a trigger: no mail without the grant, while it is pending, or after an opt-out."""
    if "trigger" not in trial.kinds:
        return  # it sends no mails
    purpose, trigger = trial.purposes[0], trial.triggers[0]
    target = {**trial.target("triggers", trigger), "requires": purpose}
    async with trial.hub(connector={"triggers": {trigger: target}}) as rig:
        await rig.trigger(EMAIL, "before", trigger)
        if rig.config.consents[purpose].asks_to_confirm():
            await rig.consent(EMAIL, "granted", purpose, **PLAIN)
            await rig.trigger(EMAIL, "while pending", trigger)
        await rig.consent(EMAIL, "granted", purpose)
        await rig.trigger(EMAIL, "with the grant", trigger)
        await rig.later(HOUR_S)
        await rig.consent(EMAIL, "denied", purpose)
        await rig.trigger(EMAIL, "after the opt-out", trigger)
        same(sent_to(rig, EMAIL), ["with the grant"], f"mails for which {purpose} is needed")


# What these share.

OUT = {None, "denied", "absent"}
"""What a vendor may hold of a purpose whose person wants no mail for it."""


def held(rig: Rig, email: str, purpose: str) -> str | None:
    """What the vendor holds of a person for a purpose; None also where it has no such contact."""
    found = rig.side.find(email)
    return None if found is None else found.consents.get(purpose)


def agree(hub: str | None, vendor: str | None, what: str) -> None:
    """Fail unless hub and vendor hold the same consent."""
    require(
        (vendor in OUT) == (hub in {None, "denied"}),
        f"{what}: the hub holds {hub}, and the vendor {vendor}; one of the two must give in",
    )


def two_of(trial: Trial) -> tuple[str, str]:
    """Two purposes."""
    require(len(trial.purposes) > 1, "the sample has one purpose; give it a second, or say in skips why it cannot")
    return trial.purposes[0], trial.purposes[1]


def sent_to(rig: Rig, email: str) -> list[str | None]:
    """The ids of the triggers whose mails a person got."""
    return [each.trigger_id for each in rig.side.mails() if each.email.lower() == email]
