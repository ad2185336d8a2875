"""PR and ID: profiles, and who is whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esplanade.conformance.check import check, require, same
from esplanade.conformance.trial import Trial
from esplanade.sync.identity import address_key

if TYPE_CHECKING:
    from esplanade.conformance.rig import Rig
    from esplanade.testing import Contact

EMAIL, NEW = "noor@example.net", "noor.new@example.net"
HOUR_S = 3_600.0
WRITTEN = {
    "case": ("Noor@Example.NET", "noor@example.net"),
    "blanks": (" noor@example.net ", "noor@example.net"),
    "the form of a domain": ("noor@xn--bcher-kva.example", "noor@bücher.example"),
}
"""Two ways of writing one address, by what they differ in."""


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


@check("PR4")
async def one_address_is_one_contact_however_it_is_written(trial: Trial) -> None:
    """Said twice, each time written otherwise: one person, one contact, and a plus tag is another one."""
    field = trial.text
    for what, (first, second) in WRITTEN.items():
        async with trial.hub(folder=trial.folder / what) as rig:
            await rig.welcome(first)
            await rig.profile(second, fields={field: "Breda"})
            await rig.hear()
            found = [each for each in rig.side.contacts() if address_key(each.email) == address_key(first)]
            same(len(found), 1, f"contacts of one address that was written twice, differing in {what}")
            same(
                found[0].fields.get(trial.fields[field]),
                "Breda",
                f"what was said last of an address that differs in {what}",
            )
    async with trial.hub(folder=trial.folder / "tags") as rig:
        await rig.welcome(EMAIL)
        await rig.welcome("noor+shop@example.net")
        same(len(rig.side.contacts()), 2, "contacts of two addresses, of which one has a plus tag")


@check("PR4")
async def a_contact_that_the_vendor_writes_otherwise_is_found(trial: Trial) -> None:
    """The vendor has the address in capitals: it is that contact which is written, and its opt-out which counts."""
    async with trial.hub() as rig:
        rig.twin.hold()
        rig.side.sign_up(EMAIL.upper(), {}, trial.purposes)
        await rig.welcome(EMAIL, fields={trial.text: "Breda"})
        same([address_key(each.email) for each in rig.side.contacts()], [EMAIL], "contacts of an address in capitals")
        same(
            rig.held(EMAIL).fields.get(trial.fields[trial.text]),
            "Breda",
            "what a contact with an address in capitals holds",
        )
        rig.twin.release()
        await rig.later(HOUR_S)
        rig.side.opt_out(EMAIL, trial.purposes[0])
        await rig.hear()
        if trial.hears_of_consent:
            same(await rig.state_of(EMAIL), "denied", "what the hub holds after an opt-out of a contact in capitals")


# ID1: the vendor's id.


@check("ID1")
async def the_vendors_id_outlives_a_change_of_address(trial: Trial) -> None:
    """It is kept, and what is written goes to the contact that has it; where contacts can be renamed it stays the same."""
    async with trial.hub() as rig:
        await rig.welcome(EMAIL)
        first = rig.held(EMAIL).remote_id
        same(await id_of(rig, EMAIL), first, "the vendor's id of a contact, as the hub keeps it")
        await rig.profile(NEW, previous_email=EMAIL)
        second = rig.held(NEW).remote_id
        same(await id_of(rig, NEW), second, "the vendor's id after a change of address, as the hub keeps it")
        if trial.plugin.address_change != "new-contact":
            same(
                second,
                first,
                f"the vendor's id of a contact that was renamed (address_change: {trial.plugin.address_change})",
            )
        await rig.profile(NEW, fields={trial.text: "Breda"})
        same(rig.held(NEW).remote_id, second, "the vendor's id of the contact that was written after that")
        same(rig.held(NEW).fields.get(trial.fields[trial.text]), "Breda", "what that contact holds")


@check("ID1")
async def a_contact_that_is_renamed_at_the_vendor_is_the_same_person(trial: Trial) -> None:
    """The vendor tells of a known id with a new address: the person has it, and no second contact is made."""
    async with trial.hub() as rig:
        if rig.lacks("ID1", "readdress"):
            return
        await rig.welcome(EMAIL)
        person, contact = await rig.person(EMAIL), rig.held(EMAIL).remote_id
        await rig.later(HOUR_S)
        rig.side.readdress(EMAIL, NEW)
        await rig.hear()
        renamed = await rig.person(NEW)
        require(
            person is not None and renamed is not None,
            "the hub knows nobody by an address that was changed at the vendor",
        )
        assert person is not None  # it was required
        assert renamed is not None  # it was required
        same(
            (renamed.id, renamed.email),
            (person.id, NEW),
            "who has an address that was changed at the vendor, and as their own",
        )
        await rig.profile(NEW, fields={trial.text: "Breda"})
        same([each.remote_id for each in rig.side.contacts()], [contact], "contacts after that")


# ID2: another address.


@check("ID2")
async def a_changed_address_takes_everything_along(trial: Trial) -> None:
    """The contact is renamed, or a new one is told everything and the old one is on no list any more."""
    async with trial.hub() as rig:
        await rig.welcome(EMAIL, fields=rig.ordinary(), audiences=dict.fromkeys(trial.audiences, True))
        before = rig.held(EMAIL)
        await rig.later(HOUR_S)
        await rig.profile(NEW, fields={}, previous_email=EMAIL)
        await rig.hear()
        after = rig.held(NEW)
        same(after.consents, before.consents, "consents after a change of address")
        same(after.fields, before.fields, "fields after a change of address")
        same(after.audiences, before.audiences, "audiences after a change of address")
        off_every_list(rig.side.find(EMAIL), "the old address")
        if trial.plugin.address_change != "new-contact":
            same(len(rig.side.contacts()), 1, "contacts after one was renamed")


@check("ID2")
async def a_changed_address_lifts_no_opt_out(trial: Trial) -> None:
    """Known by the CDP's id, without the earlier address: whoever had opted out is out at the new one as well."""
    async with trial.hub() as rig:
        await rig.welcome(EMAIL, id="u-1")
        await rig.later(HOUR_S)
        purpose = trial.purposes[0]
        await rig.consent(EMAIL, "denied", purpose)
        await rig.profile(NEW, fields={trial.text: "Breda"}, id="u-1")
        await rig.hear()
        for address in (EMAIL, NEW):
            found = rig.side.find(address)
            require(
                found is None or found.consents.get(purpose) != "granted",
                f"the vendor holds {purpose} as granted for {address} after an opt-out and a change of address",
            )
        off_every_list(rig.side.find(EMAIL), "the old address")


# ID3: an address that is taken.


@check("ID3")
async def an_address_that_the_vendor_has_already_loses_nothing(trial: Trial) -> None:
    """Somebody takes an address at which the vendor has a contact that the hub does not know."""
    field = trial.text
    async with trial.hub() as rig:
        theirs = [each for each in trial.texts if each != field and each in rig.ordinary()][:1]
        await rig.welcome(EMAIL, fields={field: "Delft"}, audiences=dict.fromkeys(trial.audiences, True))
        before = rig.held(EMAIL)
        await rig.later(HOUR_S)
        rig.twin.hold()
        rig.side.sign_up(NEW, {trial.fields[each]: "Theirs" for each in theirs}, [])
        await rig.profile(NEW, fields={field: "Breda"}, previous_email=EMAIL)
        rig.twin.release()
        await rig.hear()
        after = rig.held(NEW)
        same(after.consents, before.consents, "consents at an address that the vendor had already")
        same(after.audiences, before.audiences, "audiences at an address that the vendor had already")
        same(
            after.fields.get(trial.fields[field]),
            "Breda",
            "what was said of a person at an address that the vendor had already",
        )
        for each in theirs:
            same(
                after.fields.get(trial.fields[each]), "Theirs", "what the vendor held at an address that it had already"
            )
        same(await id_of(rig, NEW), after.remote_id, "the vendor's id of the contact, as the hub keeps it")
        off_every_list(rig.side.find(EMAIL), "the old address")
        await rig.later(HOUR_S)
        rig.requests()
        await rig.hear()
        same(rig.writes(), [], "writes once everything is told")


@check("ID3")
async def an_address_that_opted_out_at_the_vendor_stays_out(trial: Trial) -> None:
    """Somebody takes an address whose contact at the vendor wants no mail, of which the hub has not heard."""
    async with trial.hub() as rig:
        if rig.lacks("CO1", "complain"):
            return
        await rig.welcome(EMAIL)
        await rig.later(HOUR_S)
        rig.twin.hold()
        rig.side.sign_up(NEW, {}, [])
        rig.side.complain(NEW)
        await rig.profile(NEW, previous_email=EMAIL)
        rig.twin.release()
        await rig.hear()
        await rig.later(HOUR_S)
        for purpose in trial.purposes:
            require(
                rig.held(NEW).consents.get(purpose) != "granted",
                f"a person who took an address made the vendor mail it for {purpose}, although it had complained",
            )
            same(await rig.state_of(NEW, purpose), "denied", f"{purpose} in the hub once it has heard of the complaint")


@check("ID3")
async def two_contacts_that_are_one_person_leave_one_on_the_lists(trial: Trial) -> None:
    """Both are known to the hub, and turn out to be one person: everything of both is at one, the other is on no list."""
    field, purpose = trial.text, trial.purposes[0]
    async with trial.hub() as rig:
        await rig.welcome(EMAIL, fields={field: "Delft"}, audiences=dict.fromkeys(trial.audiences, True))
        await rig.later(HOUR_S)
        await rig.welcome(NEW, fields={field: "Breda"})
        await rig.later(HOUR_S)
        await rig.consent(EMAIL, "denied", purpose)
        await rig.profile(NEW, fields={}, previous_email=EMAIL)
        await rig.hear()
        after = rig.held(NEW)
        same(
            after.fields.get(trial.fields[field]),
            "Breda",
            "the newer of two values of two contacts that are one person",
        )
        same(after.audiences, frozenset(trial.audiences), "audiences of two contacts that are one person")
        require(
            after.consents.get(purpose) != "granted", f"two contacts that are one person forgot an opt-out of {purpose}"
        )
        for other in trial.purposes[1:]:
            same(after.consents.get(other), "granted", f"{other} of two contacts that are one person")
        off_every_list(rig.side.find(EMAIL), "the contact that is not the person's own any more")
        await rig.later(HOUR_S)
        rig.requests()
        await rig.hear()
        same(rig.writes(), [], "writes once everything is told")


# What these share.


async def id_of(rig: Rig, email: str) -> str | None:
    """The vendor's id of a person, as the hub keeps it."""
    remote = await rig.remote(email)
    return None if remote is None else remote.remote_id


def off_every_list(contact: Contact | None, what: str) -> None:
    """Fail where a contact that should be gone is still mailed or counted."""
    if contact is None:
        return
    granted = [purpose for purpose, state in contact.consents.items() if state == "granted"]
    same(granted, [], f"purposes for which {what} is still mailed")
    same(sorted(contact.audiences), [], f"audiences in which {what} still is")
