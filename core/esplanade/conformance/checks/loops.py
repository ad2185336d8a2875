"""LP: the hub's own writes that come back, and what only looks like them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esplanade.conformance import mirror
from esplanade.conformance.check import CheckFailed, check, require, same
from esplanade.conformance.trial import Trial

if TYPE_CHECKING:
    from esplanade.conformance.rig import Rig

EMAIL = "noor@example.net"
MINUTE_S, HOUR_S, DAY_S = 60.0, 3_600.0, 86_400.0


# LP1: an echo.


@check("LP1")
async def an_own_write_that_comes_back_is_an_echo(trial: Trial) -> None:
    """After everything that can be written was written, what the vendor tells back changes nothing and sends nothing."""
    async with trial.hub() as rig:
        await say_everything(rig)
        known = await known_of(rig)
        rig.requests()
        if "pull" in trial.methods:
            result = await rig.pull()
            same(result.changed, 0, "changes that a pull found in the hub's own writes")
        if "on_inbound_webhook" in trial.hooks:
            rig.side.tell(EMAIL)
            await rig.at_rest()
        same(rig.writes(), [], "writes upon the vendor's telling the hub what it wrote itself")
        same(await known_of(rig), known, "what the hub holds after hearing of its own writes")


@check("LP1")
async def an_echo_is_one_long_afterwards_too(trial: Trial) -> None:
    """What the hub wrote a day ago and hears of now, after ``hub.echo_window``, is no change."""
    async with trial.hub() as rig:
        await say_everything(rig)
        await rig.later(DAY_S)
        known = await known_of(rig)
        rig.requests()
        if "on_inbound_webhook" in trial.hooks:
            rig.side.tell(EMAIL)
        await rig.hear()
        same(rig.writes(), [], "writes upon hearing of a write of the day before")
        same(await known_of(rig), known, "what the hub holds after hearing of its own writes of the day before")


@check("LP1")
async def an_echo_that_is_late_brings_no_older_value_back(trial: Trial) -> None:
    """The vendor's webhook about the first of two writes comes after the second."""
    field = trial.text
    async with trial.hub() as rig:
        await rig.consent(EMAIL, "granted")
        rig.twin.hold()
        await rig.profile(EMAIL, fields={field: "Delft"})
        if "on_inbound_webhook" in trial.hooks:
            rig.side.tell(EMAIL)
        await rig.advance(MINUTE_S)
        await rig.profile(EMAIL, fields={field: "Breda"})
        await rig.advance(MINUTE_S)
        rig.twin.release()
        await rig.hear()
        same(await value_of(rig, field), "Breda", f"{field} in the hub after a late echo")
        same(rig.held(EMAIL).fields.get(trial.fields[field]), "Breda", f"{field} at the vendor after a late echo")


# LP2: a change that looks like an echo.


@check("LP2")
async def a_real_change_to_an_earlier_value_is_taken_over(trial: Trial) -> None:
    """Somebody at the vendor goes back to what the hub wrote first: long after, and where the vendor can be read, at once."""
    field = trial.text
    theirs = trial.fields[field]
    for passes_s in (HOUR_S, MINUTE_S) if "pull" in trial.methods else (HOUR_S,):
        async with trial.hub(folder=trial.folder / f"{passes_s:g}") as rig:
            await rig.consent(EMAIL, "granted")
            for value in ("Delft", "Breda"):
                await rig.profile(EMAIL, fields={field: value})
                await rig.advance(MINUTE_S)
            await rig.later(passes_s)
            rig.side.edit(EMAIL, {theirs: "Delft"})
            await rig.hear()
            same(
                await value_of(rig, field),
                "Delft",
                f"{field} in the hub {passes_s:g} s after the hub wrote another value",
            )
            same(rig.held(EMAIL).fields.get(theirs), "Delft", f"{theirs} at the vendor after a change there")


# LP3: an echo in another form.


@check("LP3")
async def a_value_that_the_vendor_altered_is_recognised(trial: Trial) -> None:
    """It comes back cut, trimmed or in another form, at once and a day later: no change, and nothing is sent again."""
    ours = {vendor: hub for hub, vendor in trial.fields.items()}
    async with trial.hub() as rig:
        cases = rig.side.untidy()
        require(
            cases,
            "VendorSide.untidy names no value that this vendor alters; give one, or say in skips that it alters none",
        )
        for number, case in enumerate(cases):
            email, field = f"person{number}@example.net", ours[case.field]
            await rig.consent(email, "granted")
            await rig.profile(email, fields={field: case.sent})
            what = f"{case.field}, sent as {excerpt(case.sent)}"
            same(
                rig.held(email).fields.get(case.field), case.held, f"{what}: what VendorSide.untidy says it is held as"
            )
            rig.requests()
            for wait_s in (MINUTE_S, DAY_S):
                await rig.later(wait_s)
                if "on_inbound_webhook" in trial.hooks:
                    rig.side.tell(email)
                await rig.hear()
                same(lines(rig), [], f"{what}: writes upon hearing of it {wait_s:g} s later")
                same(await value_of(rig, field, email), case.sent, f"{what}: what the hub holds {wait_s:g} s later")
            if "pull" in trial.methods:
                same((await rig.pull()).changed, 0, f"{what}: changes that a later pull finds")


@check("LP3")
async def a_change_of_an_altered_value_is_still_a_change(trial: Trial) -> None:
    """Who recognises altered values must not be blind to what somebody at the vendor puts in their place."""
    ours = {vendor: hub for hub, vendor in trial.fields.items()}
    async with trial.hub() as rig:
        case = next(iter(rig.side.untidy()))
        await rig.consent(EMAIL, "granted")
        await rig.profile(EMAIL, fields={ours[case.field]: case.sent})
        await rig.later(HOUR_S)
        await rig.hear()
        rig.side.edit(EMAIL, {case.field: case.other})
        await rig.hear()
        same(await value_of(rig, ours[case.field]), case.other, f"{case.field} in the hub after a change at the vendor")


# LP4: a ring.


@check("LP4")
async def a_ring_of_three_goes_quiet(trial: Trial) -> None:
    """Beside the vendor stand one system that writes in capitals and one in small letters, and each tells all it is told.

    Whatever they say is a change, so only ``hub.max_hops`` ends it: in each round both may be believed once, and the vendor is
    told of one event at most 1 + 2 x max_hops times.
    """
    alone = await writes_of_a_change(trial, trial.folder / "alone")
    for hops in (1, 4):
        async with trial.hub(beside=ring_of(trial), max_hops=hops, folder=trial.folder / str(hops)) as rig:
            for purpose in trial.purposes:
                await rig.consent(EMAIL, "granted", purpose)
            await rig.profile(EMAIL, fields={trial.text: "Delft"})
            await goes_round(rig)
            await rig.later(DAY_S)  # what comes now is news of its own
            rig.requests()
            await rig.profile(EMAIL, fields={trial.text: "Breda"})
            rounds = await goes_round(rig)
            require(
                1 < rounds <= hops + 1,
                f"a change went round {rounds} times with hub.max_hops: {hops}; it must go round, and end after {hops + 1}",
            )
            told, bound = len(rig.writes()), (1 + 2 * hops) * alone
            require(
                told <= bound,
                f"one change made {told} writes in a ring with hub.max_hops: {hops}; the bound is {bound}",
            )
            for purpose in trial.purposes:
                await rig.consent(EMAIL, "denied", purpose)
                await goes_round(rig)
                same(await rig.state_of(EMAIL, purpose), "denied", f"{purpose} after an opt-out in a ring")
            await rig.later(DAY_S)
            rig.requests()
            await rig.hear()
            same([await goes_round(rig), *lines(rig)], [0], "rounds and writes of a ring that has gone quiet")


# What these share.

ENDLESS = 50
"""No ring goes round so often."""


async def goes_round(rig: Rig) -> int:
    """Let the two neighbours and the vendor tell what they were told, again and again until there is nothing; how often."""
    neighbours: list[Any] = [rig.hub.connections[name].twin for name in ring_of(rig.trial)]
    for rounds in range(ENDLESS):
        if not any(each.untold for each in neighbours):
            return rounds
        await rig.advance(MINUTE_S)
        for each in neighbours:
            each.tell()
        if "on_inbound_webhook" in rig.trial.hooks:
            rig.side.tell(EMAIL)
        await rig.hear()
    raise CheckFailed(f"a ring still went round after {ENDLESS} rounds")


def ring_of(trial: Trial) -> dict[str, dict[str, Any]]:
    """Two systems that contradict each other whatever they are told."""
    targets: dict[str, Any] = {"consents": {each: {} for each in trial.purposes}}
    return {
        name: {"plugin": mirror.__file__, "twin": True, "settings": {"form": form}, **targets}
        for name, form in (("loud", "upper"), ("soft", "lower"))
    }


async def say_everything(rig: Rig) -> None:
    """All purposes, all fields and all audiences of one person."""
    for purpose in rig.trial.purposes:
        await rig.consent(EMAIL, "granted", purpose)
    await rig.profile(EMAIL, fields=rig.ordinary(), audiences=dict.fromkeys(rig.trial.audiences, True))


async def known_of(rig: Rig) -> tuple[object, ...]:
    """What the hub holds of the person, without when it was said."""
    person = await rig.person(EMAIL)
    assert person is not None  # something was said of them
    clocked = {**person.fields, **person.audiences}
    return {name: each.value for name, each in clocked.items()}, person.email, person.consents


async def value_of(rig: Rig, field: str, email: str = EMAIL) -> object:
    """A field's value in the hub."""
    person = await rig.person(email)
    clocked = person.fields.get(field) if person is not None else None
    return None if clocked is None else clocked.value


async def writes_of_a_change(trial: Trial, folder: Any) -> int:
    """How many requests one change of a field takes, with no other system beside."""
    async with trial.hub(folder=folder) as rig:
        await rig.consent(EMAIL, "granted")
        await rig.profile(EMAIL, fields={trial.text: "Delft"})
        rig.requests()
        await rig.profile(EMAIL, fields={trial.text: "Breda"})
        return len(rig.writes())


def lines(rig: Rig) -> list[str]:
    """The writes since the last time, as lines."""
    return [f"{each.method} {each.path}" for each in rig.writes()]


def excerpt(text: str) -> str:
    """The beginning of a text that may be long."""
    return repr(text if len(text) <= 40 else f"{text[:40]}… ({len(text)} characters)")
