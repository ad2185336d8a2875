"""IN: what vendors call the hub with, and what only looks like it."""

from __future__ import annotations

import asyncio
import shutil
from itertools import cycle
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec

from esplanade.conformance.check import check, require, same
from esplanade.conformance.rig import NAME, Rig
from esplanade.conformance.trial import Trial
from esplanade.conformance.witness import WITNESS
from esplanade.ingest.shapes import WebhookIn
from esplanade.testing import FORGERIES, FakeClock
from esplanade.values import secrets_in

EMAIL = "noor@example.net"
SIGNATURES = tuple(each for each in FORGERIES if "token" not in each)
TOKENS = tuple(each for each in FORGERIES if "token" in each)
BURST = 200
LEAST_KEY = 22
"""So many letters hold 128 bits, written in base 64."""


@check("IN1")
async def a_genuine_call_is_believed(trial: Trial) -> None:
    """Without this, refusing what is forged proves nothing."""
    await _genuine_calls_are_read(trial)


@check("IN1")
async def a_forged_call_is_not_believed(trial: Trial) -> None:
    """Everything that can be wrong with a signature: refused, and nothing of it kept."""
    await _forgeries_are_refused(trial, "IN1", SIGNATURES)


@check("IN1")
async def a_replayed_call_changes_nothing(trial: Trial) -> None:
    """Each genuine call again, bit for bit: refused, or taken without any effect."""
    async with trial.hub(beside=trial.witness) as rig:
        for name, call in rig.side.calls().items():
            same(await rig.post(call), 200, f"the answer to a genuine call ({name})")
            await rig.at_rest()
            before = await _effects(rig)
            await rig.clock.advance(1)
            status = await rig.post(call)
            require(status in {200, 401}, f"a call that was sent twice ({name}) was answered {status}, not 200 or 401")
            await rig.at_rest()
            same(await _effects(rig), before, f"what was done after a call was sent twice ({name})")


@check("IN2")
async def the_url_cannot_be_guessed(trial: Trial) -> None:
    """Any other key than the connector's, and any other connector, is answered 404, and nothing is kept."""
    async with trial.hub() as rig:
        url = rig.twin.hook_url or ""
        start, _, key = url.rpartition("/")
        require(len(key) >= LEAST_KEY, f"the key in the hook URL has {len(key)} letters, which can be guessed")
        wrong = [key[:-1], f"{key}x", key.swapcase(), f"{key[:-1]}{'a' if key[-1] != 'a' else 'b'}", "x"]
        urls = [*(f"{start}/{each}" for each in wrong), url.replace(f"/{NAME}/", "/another/")]
        before = await rig.journalled()
        for name, call in rig.side.calls().items():
            for each in urls:
                same(await rig.post(call, url=each), 404, f"the answer to a call to another URL ({name})")
        same(await rig.journalled(), before, "what the hub keeps of calls to other URLs")


@check("IN2")
async def a_call_with_the_right_token_is_believed(trial: Trial) -> None:
    """Without this, refusing the others proves nothing."""
    await _genuine_calls_are_read(trial)


@check("IN2")
async def a_wrong_token_is_not_believed(trial: Trial) -> None:
    """A token that is wrong, or missing: refused, and nothing kept."""
    await _forgeries_are_refused(trial, "IN2", TOKENS)


@check("IN3")
async def what_is_answered_is_on_disk(trial: Trial) -> None:
    """A hub that starts on what the disk held at the moment of the answers reads every call."""
    clock, image = FakeClock(), trial.folder / "image"
    async with trial.twin(clock) as twin:
        async with trial.hub(clock=clock, at=twin) as rig:
            rig.hub.connections[NAME].inbound.paused = True  # so that nothing is read before the crash
            calls = rig.side.calls()
            for name, call in calls.items():
                same(await rig.post(call), 200, f"the answer to a genuine call ({name})")
            await asyncio.to_thread(_copy_store, trial.folder, image)
        async with trial.hub(clock=clock, at=twin, folder=image) as rig:
            await rig.at_rest()
            found = [(each.state, each.last_error) for each in await rig.webhooks()]
            same(found, [("done", None)] * len(calls), "calls that were answered before the hub was cut off")


@check("IN3")
async def late_twice_and_backwards(trial: Trial) -> None:
    """All that the vendor told of one person, from back to front and then twice over: its last word stands."""
    purpose, field = trial.purposes[0], trial.text
    theirs = trial.fields[field]
    async with trial.hub() as rig:
        with rig.overhear() as calls:
            rig.side.sign_up(EMAIL, {theirs: "Delft"}, [purpose])
            await rig.clock.advance(60)
            rig.side.edit(EMAIL, {theirs: "Breda"})
            await rig.clock.advance(60)
            rig.side.opt_out(EMAIL, purpose)
            await rig.twin.settled()
        await rig.clock.advance(60)
        there = rig.held(EMAIL)
        for call in [*reversed(calls), *calls, *calls]:
            status = await rig.post(call)
            require(status in {200, 401}, f"a call that came late was answered {status}, not 200 or 401")
            await rig.at_rest()
        await rig.hear()
        same(rig.held(EMAIL), there, "the contact at the vendor, once its calls came late, twice and backwards")
        person = await rig.person(EMAIL)
        if person is not None:
            standing = person.consents.get(purpose)
            require(
                standing is None or standing.state != "granted", f"the opt-out from {purpose} was undone in the hub"
            )
            held = person.fields.get(field)
            require(held is None or held.value == "Breda", f"{field} in the hub went back to an earlier value")


@check("IN4")
async def every_kind_and_form_is_read(trial: Trial) -> None:
    """Each kind of call, in the form in which the vendor sends it."""
    await _genuine_calls_are_read(trial)


@check("IN4")
async def a_burst_is_taken(trial: Trial) -> None:
    """200 calls at once: each is taken or told to come back later, and what was taken is read."""
    async with trial.hub() as rig:
        batches = [list(rig.side.calls().values()) for _ in range(BURST)]
        calls = [batch[turn] for turn, batch in zip(cycle(range(len(batches[0]))), batches, strict=False)]
        statuses = await asyncio.gather(*(rig.post(call) for call in calls))
        require(set(statuses) <= {200, 429, 503}, f"a burst was answered {sorted(set(statuses))}")
        await rig.at_rest()
        found = await rig.webhooks()  # the vendor may call about what the hub did upon them, too
        require(
            len(found) >= statuses.count(200), f"of {statuses.count(200)} calls that were taken {len(found)} are there"
        )
        left = sorted({f"{each.state}: {each.last_error}" for each in found if each.state != "done"})
        same(left, [], "calls of a burst that were not read")


@check("IN4")
async def an_unknown_kind_is_kept(trial: Trial) -> None:
    """A call of which nobody has told the hub what it means is taken, changes nothing, and stays there as it came."""
    async with trial.hub(beside=trial.witness) as rig:
        call = rig.side.unheard_of()
        before = await _effects(rig)
        same(await rig.post(call), 200, "the answer to a genuine call of an unknown kind")
        await rig.at_rest()
        same(await _effects(rig), before, "what was done after a call of an unknown kind")
        (kept,) = await rig.webhooks()
        require(
            kept.state == "done" or (kept.state == "dead" and "PluginError" not in (kept.last_error or "")),
            f"a call of an unknown kind is {kept.state}: {kept.last_error}",
        )
        stored = msgspec.msgpack.decode(kept.payload, type=WebhookIn)
        same(stored.body, call.body, "what is kept of the body of a call of an unknown kind")
        secret = secrets_in(rig.hub.config.connectors[NAME].settings)
        said = [pair for pair in parse_qsl(call.query) if pair[1] not in secret]
        same(parse_qsl(stored.query), said, "what is kept of the query of a call of an unknown kind")


async def _genuine_calls_are_read(trial: Trial) -> None:
    async with trial.hub() as rig:
        calls = rig.side.calls()
        require(calls, "VendorSide.calls names no call of this vendor")
        for name, call in calls.items():
            same(await rig.post(call), 200, f"the answer to a genuine call ({name})")
            await rig.at_rest()
            read = (await rig.webhooks())[-1]
            same((read.state, read.last_error), ("done", None), f"what became of a genuine call ({name})")


async def _forgeries_are_refused(trial: Trial, rule: str, kinds: tuple[str, ...]) -> None:
    async with trial.hub() as rig:
        forgeries = {name: call for name, call in rig.side.forgeries().items() if _kind(name) in kinds}
        unknown = {_kind(name) for name in rig.side.forgeries()} - set(FORGERIES)
        require(not unknown, f"VendorSide.forgeries: unknown kinds {sorted(unknown)}; they are {', '.join(FORGERIES)}")
        covered = {_kind(name) for name in forgeries}
        missing = [kind for kind in kinds if kind not in covered and f"{rule} {kind}" not in trial.quality.declared]
        require(
            not missing,
            f"VendorSide.forgeries lacks {', '.join(missing)}; where the vendor's calls cannot be forged so, quality.yaml "
            f"says why under declared, such as `{rule} {', '.join(missing[:1])}`",
        )
        before = await rig.journalled()
        for name, call in forgeries.items():
            status = await rig.post(call)
            require(status == 401, f"a forged call ({name}) was answered {status}, not 401")
            same(await rig.journalled(), before, f"what the hub keeps of a forged call ({name})")
        await rig.at_rest()


def _kind(name: str) -> str:
    return name.partition(":")[0]


async def _effects(rig: Rig) -> object:
    """All that the hub told the vendor and the witness, and what the vendor holds."""
    told = [len(await rig.deliveries(connector=each)) for each in (NAME, WITNESS)]
    webhooks = len(await rig.webhooks())
    return told[0] - webhooks, told[1], rig.snapshot()


def _copy_store(folder: Path, image: Path) -> None:
    """What a machine that is cut off just now finds on its disk."""
    image.mkdir()
    for name in ("hub.db", "hub.db-wal"):
        if (folder / name).exists():
            shutil.copyfile(folder / name, image / name)
