"""Whoever turns out to be whom, in whatever order: each vendor has one live contact of a person, where they are now."""

from __future__ import annotations

import os
from collections import defaultdict

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esplanade.sync import consent, mapping

from .mesh import Mesh, Site
from .vendor import Habits, Vendor

LONG = os.environ.get("ESPLANADE_PROFILE") == "long"
PEOPLE, ADDRESSES = range(2), range(3)
HOUR_S = 3_600


class Mover(Vendor):
    """A vendor that has one contact per address, and moves, merges or makes contacts as its kind does."""

    def _moved(self, event):
        old = self.find(event.previous_email)
        meant = self.find(event.email) or self.contacts.get(event.remote_id or "") or old
        if meant is not None:
            meant.email = event.email
        if self.habits.address_change == "merge" and old is not None and old is not meant:
            del self.contacts[old.id]
        return meant

    def moves(self, old: str, new: str) -> None:
        """Somebody gives a contact another address by hand; one that is taken is refused.

        Without an id nothing shows that the contact is the same; a vendor like that has another contact from now on.
        """
        contact = self.find(old)
        if contact is not None and self.find(new) is None and self.habits.names_contacts:
            contact.email = new
            self._post(self.says(contact, at=self._clock.time()))


class Movers(Mesh):
    """A mesh of movers."""

    def _open(self, name, config):
        site = self.sites[name]
        self.vendors[name] = Mover(name, site.habits, self.clock, self._posting(name))
        self.vendors[name].purposes, self.vendors[name].audiences = site.purposes, site.audiences
        super()._open(name, config)


def address(person: int, number: int) -> str:
    return f"{'ab'[person]}{number}@example.com"


# What may happen. Nobody ever speaks of two people as of one, or of one person by two ids.

who, which = st.sampled_from(PEOPLE), st.sampled_from(ADDRESSES)
vendor = st.integers(0, 2)
STEPS = [
    st.tuples(st.just("known"), who, which, st.booleans()),
    st.tuples(st.just("renamed"), who, which, which, st.booleans()),
    st.tuples(st.just("value"), who, which, st.sampled_from(["Ada", "Bea", "Cy"])),
    st.tuples(st.just("member"), who, which, st.booleans()),
    st.tuples(st.just("grant"), who, which),
    st.tuples(st.just("deny"), who, which),
    st.tuples(st.just("moves"), vendor, who, which, which),
    st.tuples(st.just("leaves"), vendor, who, which),
    st.tuples(st.just("call"), vendor),
    st.tuples(st.just("answer"), vendor),
    st.tuples(st.just("arrive"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("fault"), vendor, st.sampled_from(["before", "after", "busy"])),
    st.tuples(st.just("pull"), vendor),
    st.tuples(st.just("pass"), st.sampled_from([1, 90, HOUR_S])),
    st.tuples(st.just("rest")),
    st.tuples(st.just("die")),
]
JOINS = st.tuples(st.just("joins"), vendor, who, which)
"""Somebody signs up at a vendor by hand."""
histories = st.lists(st.one_of([*STEPS, JOINS]), min_size=2, max_size=14)
of_sources = st.lists(st.one_of(STEPS), min_size=2, max_size=14)


@st.composite
def worlds(draw):
    """One vendor of each kind, each with habits of its own.

    One that tells neither when something was so nor, when asked, what is: of that a late word of an absence is an opt-out.
    """
    clocks = [
        [0.0, -2.0, None] if fetches else [0.0, -2.0]
        for fetches in draw(st.lists(st.booleans(), min_size=3, max_size=3))
    ]
    return [
        Site(
            habits=Habits(
                address_change=kind,
                names_contacts=draw(st.booleans()),
                tells=draw(st.booleans()),
                fetches=None in clock,
                webhooks=draw(st.sampled_from(["whole", "changed"])),
                skew_s=draw(st.sampled_from(clock)),
            )
        )
        for kind, clock in zip(("new-contact", "rename", "merge"), clocks, strict=True)
    ]


class Story:
    """Plays a history, and remembers who said what of consent."""

    def __init__(self, sites):
        self.mesh = Movers(sites)
        self.said = defaultdict(list)

    def play(self, history):
        for name, *arguments in history:
            getattr(self, name)(*arguments)
        self.mesh.settles()
        self.mesh.days_pass(2)

    def known(self, person, number, has_id):
        self._profile({"email": address(person, number), **({"id": f"u-{person}"} if has_id else {})})

    def renamed(self, person, old, new, has_id):
        more = {"id": f"u-{person}"} if has_id else {}
        self._profile({"email": address(person, new), "previous_email": address(person, old), **more})

    def value(self, person, number, value):
        self._profile({"email": address(person, number), "fields": {"name": value}})

    def member(self, person, number, member):
        self._profile({"email": address(person, number), "audiences": {"club": member}})

    def grant(self, person, number):
        self._consent("granted", address(person, number))

    def deny(self, person, number):
        self._consent("denied", address(person, number))

    def moves(self, vendor, person, old, new):
        self._vendor(vendor).moves(address(person, old), address(person, new))

    def leaves(self, vendor, person, number):
        if self._vendor(vendor).holds_consent(address(person, number), "newsletter") == "granted":
            self.mesh.passes(120)
            self._vendor(vendor).opts(address(person, number), "newsletter", "denied", confirmed=False)
            self.said[address(person, number)].append((self.mesh.clock.time(), "denied"))
            self.mesh.passes(120)

    def joins(self, vendor, person, number):
        self._vendor(vendor).opts(address(person, number), "newsletter", "granted", confirmed=False)

    def call(self, vendor):
        self.mesh.calls(f"v{vendor}")

    def answer(self, vendor):
        self.mesh.answers(f"v{vendor}")

    def arrive(self, which, stays):
        self.mesh.arrives(which, stays=stays)

    def fault(self, vendor, fault):
        self._vendor(vendor).faults.append(fault)

    def pull(self, vendor):
        self.mesh.pulls(f"v{vendor}")

    def rest(self):
        self.mesh.settles()

    def die(self):
        self.mesh.dies()

    def _vendor(self, number):
        return self.mesh.vendors[f"v{number}"]

    def _profile(self, body):
        self.mesh.says("profile", body)

    def _consent(self, state, email):
        proof = {"evidence": {"form": "footer"}} if state == "granted" else {}
        self.mesh.says("consent", {"email": email, "purpose": "newsletter", "state": state, **proof})
        self.said[email].append((self.mesh.clock.time(), state))


setattr(Story, "pass", lambda story, seconds: story.mesh.passes(seconds))


any_world = settings(
    max_examples=20_000 if LONG else 80,
    derandomize=not LONG,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def addresses_of(person):
    return [person.email, *person.emails]


def is_live(contact):
    return contact.consents.get("newsletter") in {"granted", "pending"} or bool(contact.audiences - contact.by_hand)


@any_world
@given(worlds(), histories)
def test_each_vendor_has_one_live_contact_of_a_person_at_their_current_address(sites, history):
    story = Story(sites)
    story.play(history)
    mesh = story.mesh
    for name, one in mesh.vendors.items():
        for contact in one.contacts.values():
            person = mesh.person(contact.email)
            if is_live(contact):
                assert person is not None, (name, contact)
                assert contact.email == person.email, (name, contact.email, person.email)
        for person in mesh.people():
            if not person.email:
                continue
            contact = one.find(person.email)
            assert contact is not None, (name, person.email)
            config = mesh.world.connectors[name]
            desired = mapping.desired_fields(person, config, frozenset())
            assert {field: contact.fields.get(field) for field in desired} == desired, (name, person.email)
            members = mapping.desired_audiences(person, config)
            assert {each: each in contact.audiences for each in members} == members, (name, person.email)
            held = contact.consents.get("newsletter") == "granted"
            assert held == consent.granted(person, "newsletter"), (name, person.email)


@any_world
@given(worlds(), histories)
def test_nobody_is_granted_who_opted_out_after_their_last_grant(sites, history):
    story = Story(sites)
    story.play(history)
    for person in story.mesh.people():
        said = sorted(each for email in addresses_of(person) for each in story.said[email])
        if said and said[-1][1] == "denied":
            assert not consent.granted(person, "newsletter")
            for one in story.mesh.vendors.values():
                assert not [each for each in addresses_of(person) if one.holds_consent(each, "newsletter") == "granted"]


@any_world
@given(worlds(), of_sources)
def test_a_grant_that_nobody_withdrew_holds_wherever_the_person_moves(sites, history):
    story = Story(sites)
    story.play(history)
    for person in story.mesh.people():
        states = {state for email in addresses_of(person) for _, state in story.said[email]}
        if states == {"granted"}:
            assert consent.granted(person, "newsletter")


# Any order.


def dated(number, draw):
    person = draw(who)
    body = {"at": 1_000 + number}
    kind = draw(st.sampled_from(["known", "renamed", "id only", "consent", "value"]))
    has_id = draw(st.booleans())
    if kind != "id only":
        body["email"] = address(person, draw(which))
    if has_id or kind == "id only":
        body["id"] = f"u-{person}"
    if kind == "renamed":
        body["previous_email"] = address(person, draw(which))
    if kind == "consent":
        state = draw(st.sampled_from(["granted", "denied"]))
        return "consent", {**body, "purpose": "newsletter", "state": state, "evidence": {"form": "x"}}
    if kind == "value":
        body |= {"fields": {"name": f"name {number}"}, "audiences": {"club": draw(st.booleans())}}
    return "profile", body


@st.composite
def shuffled(draw):
    said = [dated(number, draw) for number in range(draw(st.integers(2, 9)))]
    return said, draw(st.permutations(said))


def people_of(said):
    mesh = Mesh([])
    for kind, body in said:
        mesh.says(kind, body)
    found = []
    for person in mesh.people():
        assert all(mesh.person(email).id == person.id for email in person.emails)
        assert person.cdp_id is None or mesh.unit.person_by_cdp_id(person.cdp_id).id == person.id
        held = consent.effective(person.consents.get("newsletter"))
        values = {name: each.value for name, each in {**person.fields, **person.audiences}.items()}
        found.append((person.cdp_id or "", person.email, sorted(person.emails), held, values))
    return sorted(found, key=msgspec.json.encode)


@settings(any_world, max_examples=20_000 if LONG else 150)
@given(shuffled())
def test_the_same_dated_events_give_the_same_people_in_any_order(orders):
    said, otherwise = orders
    assert people_of(said) == people_of(otherwise)


# Between two pages of a pull.


def test_who_was_seen_in_a_pull_and_then_turned_out_to_be_another_is_not_missed():
    mesh = Movers([Site(habits=Habits(address_change="rename", webhooks="none"))])
    told = [address(0, 0), address(0, 1), address(1, 0)]
    mesh.says("profile", {"email": told[0]})
    for email in told[1:]:
        proof = {"evidence": {"form": "footer"}}
        mesh.says("consent", {"email": email, "purpose": "newsletter", "state": "granted", **proof})
    mesh.settles()
    mesh.passes(HOUR_S)
    one = mesh.vendors["v0"]
    read = one.pull

    async def pull(cursor, ctx):
        if cursor is not None:  # the first page was read, with both on it, and the grant of the second
            mesh.says("profile", {"email": told[1], "previous_email": told[0]})
        return await read(cursor, ctx)

    one.pull = pull
    mesh.pulls("v0")
    merged = mesh.person(told[0])
    assert merged.lineage == [2]
    assert consent.granted(merged, "newsletter")
    mesh.settles()
    assert one.holds_consent(told[1], "newsletter") == "granted"
