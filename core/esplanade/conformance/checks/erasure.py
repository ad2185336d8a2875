"""ER: erasing a person, of which the certificate says what is left to do, and after which nobody brings them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esplanade.conformance.check import check, require, same
from esplanade.conformance.rig import NAME
from esplanade.conformance.trial import Trial

if TYPE_CHECKING:
    from esplanade.conformance.rig import Rig
    from esplanade.web.port import Certified, Erased

EMAIL, OTHER, NEW = "noor@example.net", "pim@example.net", "noor.new@example.net"
HOUR_S = 3_600.0


@check("ER1")
async def the_certificate_says_what_is_left_to_do(trial: Trial) -> None:
    """Of the connector: erased there, or which contact a person must erase by hand. Of somebody never told: that."""
    async with trial.hub() as rig:
        await rig.welcome(EMAIL)
        contact = rig.held(EMAIL).remote_id
        certified = of_this(await erased(rig, EMAIL))
        require(
            certified.result == "unsupported",
            f"the certificate says {certified.result!r} of somebody whose contact the vendor still has",
        )
        require(
            EMAIL in certified.detail or contact in certified.detail,
            f"the certificate names neither the address nor the vendor's id of what is left to erase: {certified.detail}",
        )
        same(await rig.person(EMAIL), None, "whom the hub knows by the address of somebody who was erased")
        again = of_this(await erased(rig, EMAIL))
        same(again.result, certified.result, "what the certificate says when it is asked for once more")


@check("ER1")
async def an_earlier_contact_is_named_too(trial: Trial) -> None:
    """Somebody who has had another address: whatever the vendor may still hold under it is in the certificate."""
    async with trial.hub() as rig:
        await rig.welcome(EMAIL)
        await rig.later(HOUR_S)
        await rig.profile(NEW, previous_email=EMAIL)
        held = [each for each in rig.side.contacts() if each.email.lower() in {EMAIL, NEW}]
        certified = of_this(await erased(rig, NEW))
        unnamed = [
            each.email for each in held if each.email not in certified.detail and each.remote_id not in certified.detail
        ]
        same(unnamed, [], "contacts that are left at the vendor and not in the certificate")


@check("ER1")
async def a_pull_brings_nobody_back(trial: Trial) -> None:
    """The vendor still has the contact, and tells of it in every way that it has: the hub does not know the person."""
    async with trial.hub() as rig:
        for email in (EMAIL, OTHER):
            await rig.welcome(email, audiences=dict.fromkeys(trial.audiences, True))
        await rig.later(HOUR_S)
        await erased(rig, EMAIL)
        rig.requests()
        await rig.hear()
        await gone(rig, "a pull")
        if "on_inbound_webhook" in trial.hooks:
            rig.side.tell(EMAIL)
            await rig.at_rest()
            await gone(rig, "a webhook")
        rig.side.edit(EMAIL, {trial.fields[trial.text]: "Breda"})
        rig.side.opt_out(EMAIL, trial.purposes[0])
        await rig.later(HOUR_S)
        await rig.hear()
        await gone(rig, "a change at the vendor")
        same([f"{each.method} {each.path}" for each in rig.writes()], [], "writes after somebody was erased")
        same(await rig.state_of(OTHER), "granted", "what the hub holds of somebody else")


@check("ER1")
async def who_comes_back_is_known_again(trial: Trial) -> None:
    """Nothing but a grant with evidence that was said after the erasure lifts it; then the contact is theirs again."""
    async with trial.hub() as rig:
        await rig.welcome(EMAIL)
        await rig.later(HOUR_S)
        await erased(rig, EMAIL)
        await rig.later(HOUR_S)
        await rig.profile(EMAIL, fields={trial.text: "Breda"})
        await gone(rig, "a profile")
        await rig.welcome(EMAIL, fields={trial.text: "Gouda"})
        same(await rig.state_of(EMAIL), "granted", "what the hub holds of somebody who has come back")
        same(
            rig.held(EMAIL).fields.get(trial.fields[trial.text]),
            "Gouda",
            "what the vendor holds of somebody who has come back",
        )
        contacts = [each for each in rig.side.contacts() if each.email.lower() == EMAIL]
        same(len(contacts), 1, "contacts of somebody who has come back")


# What these share.


async def erased(rig: Rig, email: str) -> Erased:
    """Erase somebody, and everything that follows from it."""
    found = await rig.hub.erase(email)
    require(found is not None, "the hub knows nobody to erase by an address that it was told")
    assert found is not None  # it was required
    await rig.at_rest()
    return found


def of_this(found: Erased) -> Certified:
    """What the certificate says of the connector."""
    mine = [each for each in found.certificate if each.connector == NAME]
    same(len(mine), 1, "how often the certificate speaks of the connector")
    return mine[0]


async def gone(rig: Rig, by: str) -> None:
    """Fail where the hub knows somebody again who was erased."""
    same(await rig.person(EMAIL), None, f"whom the hub knows after {by} spoke of somebody who was erased")
    remotes = await rig.hub.store.read(lambda reader: reader.held_by(NAME))
    same(
        [each.email for each in remotes if each.email != OTHER],
        [],
        f"contacts that the hub knows after {by} spoke of them",
    )
