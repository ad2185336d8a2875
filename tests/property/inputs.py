"""Any mesh, and anything that may be said and go wrong in it, as hypothesis strategies."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from esplanade.model import Alters

from .mesh import DAY_S, Mesh
from .sites import Site
from .vendor import Habits

PEOPLE = ["ada@example.com", "Bob@example.com", "ada@example.org"]
"""Addresses. Who moves from one to the other turns out to be whoever has it."""
SOURCES = ["shop", "till"]
PURPOSES = ["newsletter", "service"]
AUDIENCES = ["club", "lapsed"]
VALUES: dict[str, list[Any]] = {
    "name": ["Ada", "ADA", " Ada  Lovelace ", "Grace Brewster Murray Hopper", "bad!", "", None],
    "note": ["x", "X", "a longer note about nothing", None],
    "points": [0, 1, 2.5, "2", None],
    "born": ["1990-12-31", "1991-01-02", None],
    "vip": [True, False, None],
}
OUT_OF_SIGHT = frozenset({"return", "click", "lose"})
"""The steps after which a vendor may hold a grant of which the hub cannot know before the next pull."""
STRENGTHENS = frozenset({"grant", "click"})
"""The steps that may lift a denial."""

CAUSES = frozenset(
    [
        "move",
        "rename",
        "profile",
        "signup",
        "import",
        "deny",
        "grant",
        "trigger",
        "edit",
        "leave",
        "return",
        "click",
        "join",
        "again",
        "fault",
        "die",
    ]
)
"""The steps of which each may cause writes."""

who = st.sampled_from([*PEOPLE[:1] * 3, *PEOPLE])
purpose = st.sampled_from([*PURPOSES[:1] * 3, *PURPOSES])
audience = st.sampled_from([*AUDIENCES[:1] * 3, *AUDIENCES])
vendor = st.integers(0, 5)
chances = st.integers(0, 2**16)
"""In which order the rest happens."""
which = st.integers(0, 20)
source = st.sampled_from(SOURCES)
age = st.sampled_from([0, 0, 0, 5, 3_600, 3 * DAY_S])
"""How long ago a source says that something was said."""

values = st.dictionaries(st.sampled_from(["name", "name", *VALUES]), st.integers(0, 6), min_size=1, max_size=2).map(
    lambda picked: {name: VALUES[name][number % len(VALUES[name])] for name, number in picked.items()}
)
value = values.map(lambda some: next(iter(some.items())))
memberships = st.dictionaries(audience, st.booleans(), max_size=2)
plain = st.dictionaries(purpose, st.sampled_from(["granted", "denied"]), max_size=1)


def step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just(name), *arguments)


SAID = [
    step("profile", who, source, age, values, memberships),
    step("signup", who, source, age, plain),
    step("import", who, plain),
    step("deny", who, source, age, purpose),
    step("grant", who, source, age, purpose, st.sampled_from(["single", "double"])),
    step("trigger", who),
]
"""What sources say."""
DONE = [
    step("edit", vendor, who, value),
    step("leave", vendor, who, purpose),
    step("return", vendor, who, purpose),
    step("click", vendor, who, purpose),
    step("join", vendor, who, audience, st.booleans()),
]
"""What people do at a vendor."""
MOVED = [step("move", who, who, source, age), step("rename", vendor, who, who)]
"""People have another address, and say so to a source or at a vendor."""
JOINED = [
    step("profile", who, source, st.just(0), values, memberships),
    step("join", vendor, who, audience, st.booleans()),
]
"""Memberships, by a source and by hand."""
WENT = [
    step("call", vendor),
    step("answer", vendor),
    step("read", vendor),
    step("read", vendor),
    step("arrive", which),
    step("pass", st.sampled_from([1, 60, 700, DAY_S])),
    step("rest"),
]
"""The ordinary course of things, in any order."""
WRONG = [
    step("again", which),
    step("lose", which),
    step("tell all", vendor),
    step("pull", vendor),
    step("fault", vendor, st.sampled_from(["before", "after", "busy", "patience"])),
    step("die"),
]
"""What happens besides, and must change nothing in the end."""


def steps(*kinds: list[Any], most: int, without: frozenset[str] = frozenset()) -> st.SearchStrategy[list[Any]]:
    """A list of steps of some kinds."""
    chosen = st.one_of([each for kind in kinds for each in kind])
    return st.lists(
        chosen.filter(lambda one: one[0] not in without) if without else chosen, min_size=most // 3, max_size=most
    )


def take(mesh: Mesh, step: tuple[Any, ...]) -> None:
    """Do one step."""
    names = list(mesh.vendors)

    def at(number: int) -> Any:
        return mesh.vendors[names[number % len(names)]]

    def ago(seconds: float) -> dict[str, float]:
        return {"at": mesh.clock.time() - seconds}

    match step:
        case "profile", email, origin, seconds, fields, audiences:
            mesh.says(
                "profile", {"email": email, "fields": fields, "audiences": audiences, **ago(seconds)}, source=origin
            )
        case "signup", email, origin, seconds, consents:
            mesh.says("profile", {"email": email, "consents": consents, **ago(seconds)}, source=origin)
        case "import", email, consents:
            mesh.says("profile", {"email": email, "consents": consents}, source="import", imported=True)
        case "deny", email, origin, seconds, about:
            mesh.says("consent", {"email": email, "purpose": about, "state": "denied", **ago(seconds)}, source=origin)
        case "grant", email, origin, seconds, about, method:
            words = {"purpose": about, "state": "granted", "method": method, "evidence": {"form": "f-1"}}
            mesh.says("consent", {"email": email, **words, **ago(seconds)}, source=origin)
        case "move", old, new, origin, seconds:
            mesh.says("profile", {"email": new, "previous_email": old, **ago(seconds)}, source=origin)
        case "rename", number, old, new:
            at(number).renames(old, new)
        case "trigger", email:
            mesh.says("trigger", {"email": email, "trigger": "welcome"})
        case "edit", number, email, (name, new):
            at(number).edits(email, name.upper(), new)
        case "leave", number, email, about:
            at(number).opts(email, about, "denied", confirmed=False)
        case "return", number, email, about:
            at(number).opts(email, about, "granted", confirmed=False)
        case "click", number, email, about:
            at(number).opts(email, about, "granted", confirmed=True)
        case "join", number, email, name, member:
            at(number).joins(email, name, member=member)
        case "call", number:
            mesh.calls(at(number).name)
        case "answer", number:
            mesh.answers(at(number).name)
        case "read", number:
            mesh.works(f"{at(number).name}:in")
        case "arrive", number:
            mesh.arrives(number)
        case "again", number:
            mesh.arrives(number, stays=True)
        case "lose", number:
            mesh.loses(number)
        case "tell all", number:
            at(number).reports_all()
        case "pull", number:
            mesh.pulls(at(number).name, lambda: mesh.works(at(number).name))
        case "fault", number, kind:
            at(number).faults.append(kind)
        case "pass", seconds:
            mesh.passes(seconds)
        case ("die",):
            mesh.dies()
        case ("rest",):
            mesh.settles()
        case _:
            raise ValueError(f"no such step: {step[0]}")
    mesh.passes(1)


ALTERS = {
    "text": [Alters(trim=True), Alters(ignores_case=True), Alters(trim=True, ignores_case=True, max_length=12)],
    "number": [Alters(decimals=0), Alters(decimals=2)],
    "date": [Alters(formats=["%d-%m-%Y"]), Alters(formats=["%m/%d/%Y"])],
    "boolean": [Alters(true=["Ja"], false=["Nee"])],
}
habits = st.builds(
    Habits,
    alters=st.fixed_dictionaries({}, optional={kind: st.sampled_from(rules) for kind, rules in ALTERS.items()}),
    cuts=st.sampled_from([None, None, 8]),
    refuses=st.sampled_from([None, None, "!"]),
    names_contacts=st.booleans(),
    tells=st.booleans(),
    webhooks=st.sampled_from(["whole", "changed", "none"]),
    skew_s=st.sampled_from([0.0, None, -3_600.0, 90.0]),
    counts_events=st.booleans(),
    fetches=st.booleans(),
    address_change=st.sampled_from(["new-contact", "rename", "merge"]),
)
sites = st.builds(
    Site,
    habits=habits,
    fields=st.sampled_from([["name", "points"], ["name", "note", "born"], sorted(VALUES), ["vip", "name"], ["note"]]),
    purposes=st.sampled_from([PURPOSES[:1], PURPOSES, PURPOSES[1:], []]),
    audiences=st.sampled_from([AUDIENCES[:1], AUDIENCES, []]),
    asks=st.booleans(),
    regrant=st.sampled_from(["confirmed", "confirmed", "reported", "never"]),
    conflict=st.sampled_from(["newest", "newest", "hub", "esp"]),
    source=st.sampled_from([None, None, "till"]),
)
meshes = st.lists(sites, min_size=2, max_size=6)
apart = meshes.map(lambda some: [msgspec.structs.replace(site, source=None) for site in some])
"""Meshes in which no vendor is a source too."""
talking = meshes.map(lambda some: [_talking(site) for site in some])
"""Meshes in which every vendor has webhooks."""
liars = st.builds(
    Site,
    habits=st.builds(
        Habits,
        lie=st.sampled_from(["none", "invents", "rewrites", "flips"]),
        skew_s=st.sampled_from([0.0, None]),
        tells=st.booleans(),
        fetches=st.booleans(),
        counts_events=st.booleans(),
    ),
    fields=st.just(["name", "note"]),
    regrant=st.sampled_from(["confirmed", "never"]),
    conflict=st.sampled_from(["newest", "esp"]),
)
dens = st.lists(liars, min_size=2, max_size=6)
"""Meshes in which vendors lie."""


def _talking(site: Site) -> Site:
    webhooks = "whole" if site.habits.webhooks == "none" else site.habits.webhooks
    return msgspec.structs.replace(site, habits=msgspec.structs.replace(site.habits, webhooks=webhooks))
