"""CO2: double opt-in, where the vendor asks the person to confirm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esplanade.conformance.check import check, require, same
from esplanade.conformance.trial import Trial

from .consents import EMAIL, HOUR_S, PLAIN, held

if TYPE_CHECKING:
    from esplanade.conformance.rig import Rig

LOST: list[dict[str, Any]] = [{"action": "after", "status": 500}, {"action": "cut-after"}, {"action": "hang-after"}]
"""The vendor acts, and its answer says something else or does not come."""


@check("CO2")
async def a_plain_grant_asks_once_and_is_none_until_confirmed(trial: Trial) -> None:
    """Said twice, with a profile and a pull in between: one question, and nobody takes it for a grant."""
    async with trial.hub() as rig:
        purpose = asking(rig)
        for _ in range(2):
            await rig.consent(EMAIL, "granted", purpose, **PLAIN)
            await rig.profile(EMAIL, fields={trial.text: "Breda"})
            await rig.hear()
        same(rig.side.asked(EMAIL), 1, f"how often the person was asked to confirm {purpose}")
        await require_pending(rig, EMAIL, purpose)


@check("CO2")
async def the_confirmation_grants_and_is_on_record(trial: Trial) -> None:
    """The click, however the vendor tells of it, is a grant by double opt-in that names the vendor as its witness."""
    async with trial.hub() as rig:
        purpose = asking(rig)
        await rig.consent(EMAIL, "granted", purpose, **PLAIN)
        await rig.later(HOUR_S)
        require(rig.side.confirm(EMAIL), "the vendor sent no mail in which the person could confirm")
        await rig.hear()
        person = await rig.person(EMAIL)
        standing = person.consents[purpose] if person is not None else None
        require(
            standing is not None and standing.state == "granted",
            f"{purpose} is not granted in the hub although the person confirmed it",
        )
        assert standing is not None  # it was required
        same(standing.method, "double", f"the method of {purpose} once the person confirmed it")
        require(standing.evidence, f"{purpose} was confirmed, and no evidence of that is kept")
        same(held(rig, EMAIL, purpose), "granted", f"{purpose} at the vendor once the person confirmed it")
        same(rig.side.asked(EMAIL), 1, f"how often the person was asked to confirm {purpose}")


@check("CO2")
async def a_question_whose_answer_is_lost_is_not_asked_again(trial: Trial) -> None:
    """The vendor asks the person, and what it says of that is an error, or never comes: still one question."""
    for number, fault in enumerate(LOST):
        async with trial.hub(connector={"timeout": "300ms"}, folder=trial.folder / str(number)) as rig:
            purpose = asking(rig)
            await rig.profile(EMAIL)  # so that the question is all that is left to write
            spoilt = rig.spoil_writes(**fault)
            await rig.consent(EMAIL, "granted", purpose, **PLAIN)
            same(spoilt.times, 0, "requests that were to ask the person, and that went wrong")
            await rig.later(HOUR_S)
            what = f"how often the person was asked when the answer was lost ({fault['action']})"
            require(rig.side.asked(EMAIL) <= 1, f"{what}: expected once, found {rig.side.asked(EMAIL)}")
            await require_pending(rig, EMAIL, purpose)
            if rig.side.confirm(EMAIL):
                await rig.hear()
                same(await rig.state_of(EMAIL, purpose), "granted", f"{purpose} in the hub after the confirmation")


@check("CO2")
async def one_who_does_not_answer_is_opted_out_or_in_as_before(trial: Trial) -> None:
    """A question over an opt-out that is never answered leaves the opt-out; an opt-out ends the question."""
    async with trial.hub() as rig:
        purpose = asking(rig)
        await rig.consent(EMAIL, "granted", purpose)
        await rig.consent(EMAIL, "denied", purpose)
        await rig.later(HOUR_S)
        await rig.consent(EMAIL, "granted", purpose, **PLAIN)
        await require_pending(rig, EMAIL, purpose)
        await rig.later(HOUR_S)
        await rig.consent(EMAIL, "denied", purpose)
        await rig.hear()
        same(await rig.state_of(EMAIL, purpose), "denied", f"{purpose} after an opt-out that followed the question")


# What these share.


def asking(rig: Rig) -> str:
    """A purpose for which the vendor lets people confirm."""
    found = next((name for name, target in rig.config.consents.items() if target.asks_to_confirm()), None)
    require(found, "the sample has no purpose with double opt-in; give it one, or say in skips why CO2 does not apply")
    assert found is not None  # it was required
    return found


async def require_pending(rig: Rig, email: str, purpose: str) -> None:
    """Fail where a question that nobody has answered counts for anything."""
    same(await rig.state_of(email, purpose), "pending", f"{purpose} in the hub until the person confirms")
    require(
        held(rig, email, purpose) != "granted", f"{purpose} counts as granted at the vendor before the person confirmed"
    )
