"""Any ring or mesh of connectors goes quiet, agrees, and keeps every opt-out, whatever order things arrive in.

The bound: an input, a report told twice, a call that failed or was cut, and each row of a re-report or a pull cause at most one
profile write and one write per mapped purpose at each vendor. No smaller one holds: a new person with consents causes just that.
A chain among vendors that lie goes round ``max_hops`` times after its first round.

What is fair: every vendor can be pulled; a membership that the hub was to give counts as given by the hub; while a consent is
pending a vendor may go on claiming a grant of its own; a confirmation without a clock counts as said when it arrives.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, given, settings

from esplanade.sync import consent, mapping
from esplanade.sync.alike import alike

from .inputs import (
    CAUSES,
    DONE,
    JOINED,
    MOVED,
    OUT_OF_SIGHT,
    SAID,
    STRENGTHENS,
    WENT,
    WRONG,
    apart,
    chances,
    dens,
    meshes,
    purpose,
    steps,
    take,
    talking,
    who,
)
from .mesh import Mesh

LONG = os.environ.get("ESPLANADE_PROFILE") == "long"
any_mesh = settings(
    max_examples=5_000 if LONG else 40,
    derandomize=not LONG,
    phases=tuple(Phase) if LONG else (Phase.explicit, Phase.generate),  # the long profile finds the smallest case
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def differences(mesh):
    """Where a vendor does not hold what the hub holds, and nothing says why.

    What has gone round too often, among vendors that tell no times, is kept as a loop for a human to decide on: a person's
    values are not passed on then, and a vendor that says otherwise each time it is told of a denial is not told again.
    """
    loops = [one for one in mesh.queue("parked") if one.reason == "loop"]
    told_too_often = {(one.person, one.lane, one.subject) for one in loops if one.kind == "consent"}
    round_and_round = {one.person for one in loops}
    found = [
        (person, name, look, what, wanted, held)
        for person in mesh.people()
        for name in mesh.vendors
        for look in (fields, audiences, consents, former_contacts)
        for what, wanted, held in look(mesh, person, name)
    ]
    return [
        (person.name, name, what, wanted, held)
        for person, name, look, what, wanted, held in found
        if not (look in {fields, audiences} and person.id in round_and_round)
        and not (look is consents and (person.id, name, what) in told_too_often)
    ]


def fields(mesh, person, name):
    config, vendor, remote = mesh.world.connectors[name], mesh.vendors[name], mesh.remote(person, name)
    contact = mesh.contact(person, name)
    kept = contact.fields if contact else {}
    for field, wanted in mapping.desired_fields(person, config, frozenset()).items():
        refused = field in remote.rejected and alike(remote.rejected[field], wanted, vendor.alters)
        if not refused and not alike(vendor.keeps(field, wanted), kept.get(field), vendor.alters):
            yield field, wanted, kept.get(field)


def audiences(mesh, person, name):
    contact, remote = mesh.contact(person, name), mesh.remote(person, name)
    members = contact.audiences if contact else set()
    for audience, wanted in mapping.desired_audiences(person, mesh.world.connectors[name]).items():
        foreign = not wanted and contact is not None and audience not in remote.owned
        if wanted != (audience in members) and not foreign:
            yield audience, wanted, audience in members


def consents(mesh, person, name):
    contact = mesh.contact(person, name)
    for about in mesh.world.connectors[name].consents:
        standing = person.consents.get(about)
        if standing is not None and standing.state == "pending":
            continue  # a vendor may go on claiming a grant of its own; the hub neither believes it nor calls it a denial
        state = consent.effective(standing)
        held = contact.consents.get(about, "absent") if contact else "absent"
        if (held == "granted") != (state == "granted"):
            yield about, state, held


def former_contacts(mesh, person, name):
    """Only one contact of a person is mailed."""
    for email in person.emails:
        contact = mesh.vendors[name].find(email)
        config = mesh.world.connectors[name]
        if contact is not None:
            yield from (
                (purpose, "off the list", email)
                for purpose in config.consents
                if contact.consents.get(purpose) == "granted"
            )
            yield from (
                (each, "off the list", email)
                for each in contact.audiences - contact.by_hand
                if each in config.audiences
            )


def live(mesh, some):
    """Do the steps; returns how many of them may cause writes, each as often as it may."""
    causes = 0
    for one in some:
        causes += reach(mesh, one)
        take(mesh, one)
    return causes


def reach(mesh, step):
    """How many changes a step can bring about: one, but for a vendor that tells of all its contacts once more."""
    kind, *rest = step
    if kind in {"tell all", "pull"}:
        names = list(mesh.vendors)
        return len(mesh.vendors[names[rest[0] % len(names)]].contacts)
    return kind in CAUSES


@any_mesh
@given(meshes, steps(SAID, DONE, WENT, WRONG, most=25), chances)
def test_after_any_input_the_mesh_goes_quiet_and_agrees(sites, some, chance):
    mesh = Mesh(sites, chance)
    live(mesh, some)
    mesh.settles()
    mesh.days_pass(2)
    assert differences(mesh) == []
    assert mesh.queue("pending", "in_flight") == []


@any_mesh
@given(meshes, steps(SAID, DONE, WENT, WRONG, most=25), chances)
def test_what_is_told_again_once_all_is_quiet_causes_no_write(sites, some, chance):
    mesh = Mesh(sites, chance)
    live(mesh, some)
    mesh.settles()
    mesh.days_pass(2)
    before = mesh.writes
    mesh.tells_all_again()
    assert mesh.writes == before


@any_mesh
@given(meshes, steps(SAID, DONE, WENT, WRONG, most=25), chances)
def test_each_input_causes_at_most_one_profile_and_one_write_of_each_purpose_at_each_vendor(sites, some, chance):
    mesh = Mesh(sites, chance)
    causes = live(mesh, some)
    mesh.settles()
    assert mesh.writes <= causes * sum(1 + len(site.purposes) for site in mesh.sites.values())


@any_mesh
@given(
    meshes,
    steps(SAID, DONE, WENT, WRONG, most=15),
    who,
    purpose,
    steps(SAID, DONE, WENT, WRONG, most=15, without=STRENGTHENS),
    chances,
)
def test_an_opt_out_outlives_everything_but_a_later_proven_grant(sites, before, email, about, after, chance):
    mesh = Mesh(sites, chance)
    live(mesh, before)
    mesh.settles()  # a click that comes late and without a clock cannot be told from a later one
    mesh.says("consent", {"email": email, "purpose": about, "state": "denied"})
    live(mesh, after)
    mesh.settles()
    mesh.days_pass(2)
    assert mesh.person(email).consents[about].state == "denied"
    assert "granted" not in {vendor.holds_consent(email, about) for vendor in mesh.vendors.values()}


@any_mesh
@given(talking, steps(SAID, DONE, WENT, WRONG, most=25, without=OUT_OF_SIGHT), chances)
def test_an_opt_out_waits_for_no_pull(sites, some, chance):
    mesh = Mesh(sites, chance)
    live(mesh, some)
    mesh.settles()
    for person in mesh.people():
        left = [purpose for purpose, standing in person.consents.items() if standing.state == "denied"]
        told = [vendor.holds_consent(person.email, purpose) for vendor in mesh.vendors.values() for purpose in left]
        assert "granted" not in told


@any_mesh
@given(apart, steps(SAID, DONE, WENT, MOVED, most=15), chances)
def test_people_who_move_are_on_lists_at_one_address_only(sites, some, chance):
    mesh = Mesh(sites, chance)
    live(mesh, some)
    mesh.settles()
    mesh.days_pass(2)
    assert differences(mesh) == []


@any_mesh
@given(meshes, steps(JOINED, WENT, most=30), chances)
def test_members_whom_others_added_stay_on_their_lists(sites, some, chance):
    mesh = Mesh(sites, chance)
    live(mesh, some)
    mesh.settles()
    mesh.days_pass(2)
    assert [vendor.robbed for vendor in mesh.vendors.values() if vendor.robbed] == []


@any_mesh
@given(meshes, steps(SAID, DONE, WENT, WRONG, most=25), chances)
def test_only_a_source_has_a_mail_sent_and_only_once(sites, some, chance):
    mesh = Mesh(sites, chance)
    live(mesh, some)
    mesh.settles()
    mesh.days_pass(2)
    for vendor in mesh.vendors.values():
        assert len(set(vendor.mails)) == len(vendor.mails) <= mesh.triggers


@any_mesh
@given(dens, steps(SAID, DONE, WENT, most=10), chances)
def test_a_chain_among_vendors_that_lie_ends_and_is_told(sites, some, chance):
    mesh = Mesh(sites, chance)
    live(mesh, some)
    mesh.settles()
    most = (mesh.world.hub.max_hops + 1) * sum(1 + len(site.purposes) for site in mesh.sites.values())
    assert max(mesh.chains.values(), default=0) <= most
    for parked in mesh.queue("parked"):
        assert parked.reason == "loop"
        assert any(parked.root in message for key, message in mesh.alerts if key.startswith("loop:"))


@any_mesh
@given(dens, steps(SAID, DONE, WENT, most=10), who, chances)
def test_an_opt_out_gets_through_to_honest_vendors_among_those_that_lie(sites, some, email, chance):
    mesh = Mesh(sites, chance)
    live(mesh, some)
    mesh.settles()
    mesh.says("consent", {"email": email, "purpose": "newsletter", "state": "denied"})
    mesh.settles()
    honest = [vendor for vendor in mesh.vendors.values() if vendor.habits.lie != "flips"]
    assert "granted" not in {vendor.holds_consent(email, "newsletter") for vendor in honest}
