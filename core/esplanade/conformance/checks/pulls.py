"""SY: pulls, which find everybody, can be broken off at any page, and are not led astray by what changes meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from esplanade.conformance.check import CheckFailed, check, require, same
from esplanade.conformance.rig import NAME
from esplanade.conformance.trial import Trial
from esplanade.delivery.pull import JOB, PullResult, Saved
from esplanade.errors import DeliveryError, EsplanadeError, PluginError
from esplanade.model import Page, Report
from esplanade.testing import FakeClock

if TYPE_CHECKING:
    from esplanade.conformance.rig import Rig
    from esplanade.testing import Contact

EMAIL, OTHER = "noor@example.net", "pim@example.net"
HOUR_S = 3_600.0
CROWD = [f"person{number:03}@example.net" for number in range(210)]
"""People for more than one page."""
ABSURD = [
    "garbage",
    "",
    " ",
    "0",
    "-1",
    "null",
    "[]",
    "{}",
    '{"page": 1e99}',
    "💣",
    "9" * 400,
    "\x00",
    "../../contact/1",
]
"""Cursors that no plugin has given."""
ENDLESS = 200
"""More pages than these people can be."""


# SY1: going on where it stopped.


@check("SY1")
async def a_cursor_that_makes_no_sense_does_no_harm(trial: Trial) -> None:
    """Given to the plugin, nonsense is an error of errors.py or a page, from which the end is reached."""
    async with trial.hub() as rig:
        fill(rig)
        plugin, ctx = rig.hub.connections[NAME].plugin, rig.hub.connections[NAME].ctx
        first = await plugin.pull(None, ctx)
        far = [re.sub(r"\d+", "999999999", first.cursor)] if first.cursor is not None else []
        for cursor in (*ABSURD, *far):
            try:
                page = await plugin.pull(cursor, ctx)
                require(isinstance(page, Page), f"the pull with the cursor {cursor[:40]!r} is a {type(page).__name__}")
                await to_the_end(rig, page)
            except (DeliveryError, PluginError):
                continue
            except CheckFailed:
                raise
            except Exception as problem:
                raise CheckFailed(
                    f"the pull with the cursor {cursor[:40]!r} raised {type(problem).__name__}; "
                    "raise PermanentError, so that the hub starts anew"
                ) from problem


@check("SY1")
async def a_pull_that_was_broken_off_goes_on(trial: Trial) -> None:
    """A hub stops after the first page; the next one reads the others, and then everybody is known."""
    clock = FakeClock()
    async with trial.twin(clock) as twin:
        async with trial.hub(clock=clock, at=twin) as rig:
            fill(rig)
            first = await broken_off(rig)
        async with trial.hub(clock=clock, at=twin) as rig:
            rest = await rig.pull()
            full = await rig.pull()
            require(
                full.pages > 1,
                f"{len(CROWD)} people are {full.pages} pages; let the sample have smaller ones",
            )
            same(first.pages + rest.pages, full.pages, "pages that a pull read before and after it was broken off")
            same(first.read + rest.read, full.read, "rows that a pull read before and after it was broken off")
            same(full.changed, 0, "changes that were left after the pull had gone on")
            missed = [each for each in CROWD if await rig.person(each) is None]
            nobody(missed, "whom a pull missed that was broken off and went on")


@check("SY1")
async def a_cursor_of_another_time_stops_no_later_pull(trial: Trial) -> None:
    """A pull is found in the store whose cursor the plugin does not take, as after an update: the hub starts anew."""
    async with trial.hub() as rig:
        fill(rig)
        saved = msgspec.json.encode(Saved(run="of another time", began_at=rig.clock.time(), cursor="garbage")).decode()
        await rig.hub.store.run(lambda unit: unit.set_cursor(NAME, JOB, saved))
        for _ in range(2):
            with contextlib.suppress(EsplanadeError):
                await rig.pull()
        missed = [each for each in CROWD if await rig.person(each) is None]
        nobody(missed, "whom pulls miss after one whose cursor made no sense")


# SY2: the same twice, and nobody missed.


@check("SY2")
async def two_pulls_find_the_same(trial: Trial) -> None:
    """Nothing has changed between them: every report is the same, once."""
    async with trial.hub() as rig:
        fill(rig)
        one, two = await everything(rig), await everything(rig)
        same(len(two), len(one), "reports of a second pull")
        require(one == two, "two pulls of an account that did not change differ")
        missed = set(CROWD) - {(each.email or "").lower() for each in one}
        nobody(missed, "whom a pull misses")


@check("SY2")
async def nobody_is_missed_while_the_account_changes(trial: Trial) -> None:
    """Between the first two pages people are deleted, added and changed: nobody else is missed or opted out."""
    async with trial.hub() as rig:
        fill(rig)
        await rig.pull()
        held = {(each, purpose): await rig.state_of(each, purpose) for each in CROWD for purpose in trial.purposes}
        await rig.later(HOUR_S)
        gone = CROWD[:20]

        def meanwhile(_: PullResult) -> None:
            if rig.side.find(gone[0]) is not None:
                for each in gone:
                    rig.side.remove(each)
                rig.side.edit(CROWD[-1], {trial.fields[trial.text]: "Breda"})
                with rig.overhear():
                    rig.side.sign_up("new@example.net", {}, trial.purposes)

        await rig.hub.pull(NAME, meanwhile)
        await rig.at_rest()
        for purpose in trial.purposes:
            out = [each for each in CROWD[20:] if await rig.state_of(each, purpose) != held[each, purpose]]
            nobody(out, f"whom a pull opted out of {purpose} because others were deleted meanwhile")
        await rig.later(HOUR_S)
        before = {(each.email or "").lower() for each in await everything(rig)}
        nobody({*CROWD[20:], "new@example.net"} - before, "whom the next pull misses")


@check("SY2")
async def pages_that_move_lose_nobody(trial: Trial) -> None:
    """People of the first page are deleted while it is read; those who move up onto it are read all the same."""
    async with trial.hub() as rig:
        fill(rig)
        plugin, ctx = rig.hub.connections[NAME].plugin, rig.hub.connections[NAME].ctx
        page = await plugin.pull(None, ctx)
        for each in CROWD[:20]:
            rig.side.remove(each)
        found = [*page.reports, *await to_the_end(rig, page)]
        missed = set(CROWD[20:]) - {(each.email or "").lower() for each in found}
        nobody(missed, "whom a pull misses because others were deleted meanwhile")


# SY3: who is gone.


@check("SY3")
async def a_deletion_at_the_vendor_is_noticed_or_declared_not_to_be(trial: Trial) -> None:
    """The hub no longer takes the person for a subscriber there, or quality.yaml says why it cannot know."""
    async with trial.hub() as rig:
        for email in (EMAIL, OTHER):
            await rig.welcome(email, audiences=dict.fromkeys(trial.audiences, True))
        await rig.hear()
        await rig.later(HOUR_S)
        rig.side.remove(EMAIL)
        await rig.hear()
        remote, states = await rig.remote(EMAIL), [await rig.state_of(EMAIL, each) for each in trial.purposes]
        noticed = remote is None or remote.email is None or set(states) == {"denied"}
        if "deletions" in trial.declared("SY3"):
            require(not noticed, "a deletion is noticed, although quality.yaml declares that it is not; take that away")
            return
        require(
            noticed,
            "somebody was deleted at the vendor, and the hub goes on as if they were there; report them as deleted, or say "
            "under declared why that cannot be known, as `SY3 deletions`",
        )
        require(
            rig.side.find(EMAIL) is None,
            "the hub made a contact anew that was deleted at the vendor, though nobody asked",
        )
        for purpose in trial.purposes:
            same(await rig.state_of(OTHER, purpose), "granted", f"{purpose} of somebody else after a deletion")


@check("SY3")
async def a_contact_that_was_deleted_and_is_made_again_is_whole(trial: Trial) -> None:
    """Something is said of somebody who was deleted at the vendor: the new contact holds all that the old one did."""
    async with trial.hub() as rig:
        await rig.welcome(EMAIL, fields=rig.ordinary(), audiences=dict.fromkeys(trial.audiences, True))
        before = rig.held(EMAIL)
        expected = {**mapped(rig, before), trial.fields[trial.text]: rig.ordinary(1)[trial.text]}
        await rig.later(HOUR_S)
        rig.side.remove(EMAIL)
        second = rig.ordinary(1)[trial.text]
        await rig.profile(EMAIL, fields={trial.text: second})
        await rig.later(HOUR_S)
        after = rig.held(EMAIL)
        same(mapped(rig, after), expected, "fields of a contact that was made again")
        same(after.audiences, before.audiences, "audiences of a contact that was made again")
        same(after.consents, before.consents, "consents of a contact that was made again")


@check("SY3")
async def who_signs_up_again_after_a_deletion_is_subscribed_again(trial: Trial) -> None:
    """The base still has the consent of the contact that is gone, and that must not be taken for the vendor's."""
    purpose = trial.purposes[0]
    async with trial.hub() as rig:
        await rig.welcome(EMAIL)
        await rig.later(HOUR_S)
        rig.side.remove(EMAIL)
        await rig.hear()
        await rig.later(HOUR_S)
        await rig.consent(EMAIL, "granted", purpose)
        if rig.side.find(EMAIL) is None and "deletions" in trial.declared("SY3"):
            return
        same(rig.held(EMAIL).consents.get(purpose), "granted", f"{purpose} of somebody who came back after a deletion")


# What these share.


def fill(rig: Rig) -> None:
    """Let the account have many contacts of which the hub has not heard."""
    with rig.overhear():
        for email in CROWD:
            rig.side.sign_up(email, {}, rig.trial.purposes)


def mapped(rig: Rig, contact: Contact) -> dict[str, str]:
    """What a contact holds in the fields that the hub writes."""
    names = {rig.trial.fields[each] for each in rig.ordinary()}
    return {name: value for name, value in contact.fields.items() if name in names}


def nobody(found: Iterable[str], who: str) -> None:
    """Fail where there is anybody of whom something should be true of nobody."""
    names = sorted(found)
    require(not names, f"there are {len(names)} people {who}, such as {', '.join(names[:3])}")


async def broken_off(rig: Rig) -> PullResult:
    """A pull that ends after its first page; what it has read."""
    seen: list[PullResult] = []

    def after_a_page(result: PullResult) -> None:
        seen.append(msgspec.structs.replace(result))
        pulling.cancel()

    pulling = asyncio.get_running_loop().create_task(rig.hub.pull(NAME, after_a_page))
    with contextlib.suppress(asyncio.CancelledError):
        await pulling
    return seen[0]


async def everything(rig: Rig) -> list[Report]:
    """All that a pull reports."""
    first = await rig.hub.connections[NAME].plugin.pull(None, rig.hub.connections[NAME].ctx)
    return [*first.reports, *await to_the_end(rig, first)]


async def to_the_end(rig: Rig, page: Page) -> list[Report]:
    """What the pages behind a page report."""
    connection, found = rig.hub.connections[NAME], list[Report]()
    for _ in range(ENDLESS):
        if page.cursor is None:
            return found
        page = await connection.plugin.pull(page.cursor, connection.ctx)
        found += page.reports
    raise CheckFailed(f"a pull of {len(rig.side.contacts())} people has more than {ENDLESS} pages")
