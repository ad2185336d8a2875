"""The tables of docs/explanation/consent.md, read out of the page and tried row by row."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from esplanade.ingest.world import World
from esplanade.model import ConsentTarget, Outcome
from esplanade.sync import consent

from .conftest import Asks, connector

PAGE = Path(__file__).parents[4] / "docs" / "explanation" / "consent.md"
PROOF = {"form": "footer"}
DAY = 86_400
ADA, EVE = "ada@example.com", "eve@example.com"


def table(heading):
    """The rows of the one table below a heading."""
    section = PAGE.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = re.findall(r"^\|(.+)\|$", section, re.MULTILINE)
    return [tuple(cell.strip() for cell in line.split("|")) for line in lines[2:]]


SINGLE, DOUBLE, MERGED = (table(each) for each in ("Truth table", "Double opt-in", "Two people who are one"))


# What arrives, under the words of the page.


def event(**more):
    async def say(hub, at, email):
        (name,) = await hub.consent("granted", email, at=at, **more)
        return name

    return say


def denial():
    async def say(hub, at, email):
        (name,) = await hub.consent("denied", email, at=at)
        return name

    return say


def profile(**more):
    async def say(hub, at, email):
        (name,) = await hub.profile(email, consents={"newsletter": "granted"}, at=at, **more)
        return name

    return say


def report(vendor, held="granted", **more):
    async def say(hub, at, email):
        return await hub.reports(vendor, email, consents={"newsletter": held}, **{"at": at, **more})

    return say


UNPROVEN, PROVEN = event(), event(evidence=PROOF)
IN_PROFILE, IN_IMPORT = profile(), profile(imported=True)
ELSEWHERE = event(evidence=PROOF, method="double")
CONFIRMED = report("webpower", confirmed=True)
CONFIRMED_WHEN_ASKED = report("webpower")
SAYS = {
    "a grant of any kind": [UNPROVEN, PROVEN, IN_PROFILE, IN_IMPORT, ELSEWHERE, CONFIRMED, report("webpower")],
    "a grant with evidence": [PROVEN, ELSEWHERE],
    "a grant without evidence": [UNPROVEN],
    "a grant in a profile": [IN_PROFILE],
    "a grant in an import": [IN_IMPORT],
    "a grant that was confirmed elsewhere": [ELSEWHERE],
    "a plain grant, with or without evidence": [UNPROVEN, PROVEN, IN_PROFILE, event(method="double")],
    "a plain grant without evidence": [UNPROVEN, IN_PROFILE, event(method="double")],
    "a plain grant with evidence": [PROVEN],
    "a vendor's confirmation": [CONFIRMED],
    "a vendor's unconfirmed grant": [report("webpower")],
    "the vendor's confirmation": [CONFIRMED, CONFIRMED_WHEN_ASKED],
    "another vendor's confirmation": [report("sparkloop", confirmed=True)],
    "another vendor's unconfirmed grant": [report("sparkloop")],
    "a denial": [denial(), report("webpower", "denied")],
    "a pull that does not find the person": [report("webpower", "absent", pulled=True, at=None)],
}
WHEN = {"earlier": -DAY, "at the same moment": 0, "later": DAY}


async def tell_vendors(hub):
    """Let every connector deliver; webpower asks the person wherever it is told to."""
    sent = await hub.deliver("webpower", Outcome(status="pending"))
    await hub.deliver("sparkloop")
    return [each for each in sent if getattr(each, "state", None) == "pending"]


# What was recorded before, under the words of the page; each leaves the hub a moment after its last word.


STORIES = {
    "nothing": [],
    "granted with evidence": [ELSEWHERE],
    "granted without evidence": [IN_IMPORT],
    "denied": [denial()],
    "denied, then granted with evidence": [denial(), ELSEWHERE],
    "pending": [UNPROVEN],
    "pending over denied": [denial(), PROVEN],
}


async def before(hub, words, email=ADA):
    """Make it so, one word a day, the last of them now."""
    story, *changes = re.split(r", and |; ", words)
    for number, say in enumerate(STORIES[story]):
        await hub.passes(DAY if number else 0)
        await say(hub, hub.clock.time(), email)
        if "not yet told to the vendor" not in changes:
            await tell_vendors(hub)
    for change in changes:
        match change:
            case "expired":
                await hub.passes(hub.world.hub.pending_expiry)
            case "no connector asks any more":
                plain = {name: connector(name) for name in hub.world.connectors}
                hub.world = hub.fold.world = World(hub=hub.world.hub, connectors=plain)
            case "not yet told to the vendor":
                pass
            case unheard:
                raise KeyError(unheard)


def holds(words):
    """State, state under it, the reason that is recorded, and whether somebody is asked."""
    read = re.fullmatch(
        r"(granted|denied|nothing|pending over (?P<under>nothing|denied))"
        r"(, reason `(?P<reason>[a-z-]+)`)?(; (?P<asks>nobody is asked|the vendor asks))?",
        words,
    )
    assert read, f"the page says {words!r}, which nobody here understands"
    state = {"nothing": None}.get(read[1], read[1].partition(" ")[0])
    under = read["under"] if read["under"] == "denied" else None
    return state, under, read["reason"], read["asks"] == "the vendor asks"


async def stands(hub, email=ADA):
    person = await hub.person(email)
    standing = person and person.consents.get("newsletter")
    return (standing.state, standing.under) if standing else (None, None)


async def rows(hub, email=ADA):
    person = await hub.person(email)
    return await hub.store.read(lambda reader: reader.ledger(person.id, "newsletter")) if person else []


def law(rows, hub):
    standing = consent.stand(rows, pending_expiry=hub.world.hub.pending_expiry)
    return (standing.state, standing.under) if standing else (None, None)


# Trying them.


def parts(words):
    """What is said, how much later than what was recorded, and what the vendor's word is worth."""
    said, _, when = words.rpartition(", ") if words.endswith(tuple(WHEN)) else (words, "", "later")
    said, _, regrant = said.partition(" with `regrant: ")
    return said, WHEN[when], regrant.rstrip("`") or "confirmed"


def tried(rows):
    return [
        pytest.param(*row, number, id=f"{row[0]} | {row[1]} | {number}")
        for row in rows
        for number in range(len(SAYS[parts(row[1])[0]]))
    ]


async def try_row(hub, recorded, words, outcome, number):
    said, distance, _ = parts(words)
    await before(hub, recorded)
    at = hub.clock.time() + distance
    await hub.passes(max(distance, 0))
    name = await SAYS[said][number](hub, at, ADA)
    state, under, reason, asks = holds(outcome)
    assert await stands(hub) == (state, under)
    if state is not None:
        reasons = {each for _, _, each in await hub.notes(event=name)}
        assert reasons & {"not-evidenced", "stale"} == {reason} & {"not-evidenced", "stale"}
        assert reason is None or reason in reasons
    assert bool(await tell_vendors(hub)) is asks
    assert {law(order, hub) for order in itertools.permutations(await rows(hub))} == {(state, under)}


@pytest.mark.parametrize(("recorded", "words", "outcome", "number"), tried(SINGLE))
async def test_the_truth_table_holds(house, recorded, words, outcome, number):
    target = ConsentTarget(regrant=parts(words)[2])
    hub = await house(webpower={"consents": {"newsletter": target}}, sparkloop={})
    await try_row(hub, recorded, words, outcome, number)


@pytest.mark.parametrize(("recorded", "words", "outcome", "number"), tried(DOUBLE))
async def test_the_table_of_double_opt_in_holds(house, recorded, words, outcome, number):
    target = Asks(regrant=parts(words)[2])
    hub = await house(webpower={"consents": {"newsletter": target}}, sparkloop={})
    await try_row(hub, recorded, words, outcome, number)


@pytest.mark.parametrize(("one", "other", "outcome"), MERGED)
async def test_the_table_of_two_people_who_are_one_holds(house, one, other, outcome):
    hub = await house(webpower={"consents": {"newsletter": Asks()}}, sparkloop={})
    other, distance, _ = parts(other)
    await hub.passes(DAY)
    await before(hub, one)
    days, began = max(len(STORIES[other]) - 1, 0), hub.clock.time()
    hub.clock.set(began + distance - days * DAY)
    await before(hub, other, EVE)
    hub.clock.set(max(began, hub.clock.time()))
    await hub.profile(ADA, previous_email=EVE)
    assert await stands(hub) == await stands(hub, EVE) == holds(outcome)[:2]
    assert {law(order, hub) for order in itertools.permutations(await rows(hub))} == {holds(outcome)[:2]}


def test_every_word_that_is_understood_here_is_said_on_the_page():
    assert {parts(words)[0] for _, words, _ in SINGLE + DOUBLE} == SAYS.keys()
    recorded = {re.split(r", and |; ", words)[0] for words, _, _ in SINGLE + DOUBLE + MERGED}
    assert recorded == STORIES.keys()
