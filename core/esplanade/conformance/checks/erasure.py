"""ER: erasing a person, of which the certificate says what is left to do, and after which nobody brings them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esplanade.conformance.check import check, require, same
from esplanade.conformance.rig import NAME
from esplanade.conformance.trial import Trial
from esplanade.testing.faults import Fault

if TYPE_CHECKING:
    from esplanade.conformance.rig import Rig
    from esplanade.testing.side import Contact
    from esplanade.web.port import Certified, Erased

EMAIL, OTHER, NEW = "noor@example.net", "pim@example.net", "noor.new@example.net"
HOUR_S = 3_600.0


@check("ER1")
async def the_certificate_says_what_became_of_the_contact(trial: Trial) -> None:
    """Erased there, and then it is; or which contact a person must erase by hand. Of somebody else nothing is lost."""
    async with trial.hub() as rig:
        for email in (EMAIL, OTHER):
            await rig.welcome(email)
        contact, other = rig.held(EMAIL).remote_id, rig.held(OTHER)
        certified = of_this(await erased(rig, EMAIL))
        same(certified.result, word_of(trial), "what the certificate says of somebody whom the vendor knew")
        require(
            EMAIL in certified.detail or contact in certified.detail,
            f"the certificate names neither the address nor the vendor's id of the contact: {certified.detail}",
        )
        same(rig.side.find(EMAIL) is None, can_erase(trial), "whether the vendor's contact is gone")
        same(await rig.person(EMAIL), None, "whom the hub knows by the address of somebody who was erased")
        again = of_this(await erased(rig, EMAIL))
        same(
            again.result,
            "not-found" if can_erase(trial) else "unsupported",
            "what the certificate says when it is asked for once more",
        )
        same(rig.held(OTHER), other, "what the vendor holds of somebody else")


@check("ER1")
async def an_earlier_contact_is_not_forgotten(trial: Trial) -> None:
    """Somebody who has had another address: what the vendor may hold under it goes too, or is in the certificate."""
    async with trial.hub() as rig:
        await rig.welcome(EMAIL)
        await rig.later(HOUR_S)
        await rig.profile(NEW, previous_email=EMAIL)
        held = theirs(rig)
        certified = of_this(await erased(rig, NEW))
        same(certified.result, word_of(trial), "what the certificate says of somebody who had another address")
        unnamed = [
            each.email for each in held if each.email not in certified.detail and each.remote_id not in certified.detail
        ]
        same(unnamed, [], "contacts that the vendor had, and that are not in the certificate")
        if can_erase(trial):
            same([each.email for each in theirs(rig)], [], "contacts that are left at the vendor")


@check("ER1")
async def a_vendor_that_is_down_has_failed_and_is_asked_again(trial: Trial) -> None:
    """The certificate says that it failed, and of whom, while the hub itself has erased; asked again, the contact goes."""
    if not can_erase(trial):
        return
    async with trial.hub() as rig:
        await rig.welcome(EMAIL)
        rig.twin.faults.append(Fault(match=rig.own_calls, status=503, times=None))
        certified = of_this(await erased(rig, EMAIL))
        rig.twin.faults.clear()
        same(certified.result, "failed", "what the certificate says while the vendor answers 503")
        require(EMAIL in certified.detail, f"the certificate does not name by whom to ask again: {certified.detail}")
        same(await rig.person(EMAIL), None, "whom the hub knows after the vendor could not erase them")
        again = of_this(await erased(rig, EMAIL))
        same(again.result, "erased", "what the certificate says once the vendor answers again")
        same(theirs(rig), [], "contacts that are left at the vendor")


@check("ER1")
async def a_pull_brings_nobody_back(trial: Trial) -> None:
    """The vendor tells of the contact in every way that it has, as long as it has it, and late: nobody is known by that."""
    async with trial.hub() as rig:
        for email in (EMAIL, OTHER):
            await rig.welcome(email, audiences=dict.fromkeys(trial.audiences, True))
        await rig.later(HOUR_S)
        with rig.overhear() as late:
            if "on_inbound_webhook" in trial.hooks:
                rig.side.tell(EMAIL)
            await rig.twin.settled()
        await erased(rig, EMAIL)
        rig.requests()
        await rig.hear()
        await gone(rig, "a pull")
        for call in late:
            await rig.post(call)
            await rig.at_rest()
            await gone(rig, "a webhook")
        if rig.side.find(EMAIL) is not None:
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


def can_erase(trial: Trial) -> bool:
    """Whether the plugin erases at its vendor, or leaves it to a person."""
    return "erase" in trial.methods


def word_of(trial: Trial) -> str:
    """What the certificate says of somebody whom the vendor knew."""
    return "erased" if can_erase(trial) else "unsupported"


def theirs(rig: Rig) -> list[Contact]:
    """The vendor's contacts of the person who is erased here."""
    return [each for each in rig.side.contacts() if each.email.lower() in {EMAIL, NEW}]


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
