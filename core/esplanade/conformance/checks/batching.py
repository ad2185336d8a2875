"""DL4: calls that carry many items, each with an answer of its own."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from esplanade.conformance.check import check, require, same
from esplanade.conformance.rig import NAME, Rig
from esplanade.conformance.tales import SOON, calm
from esplanade.conformance.trial import Trial
from esplanade.model import Kind

MOST = 1_000
"""So many people at most, however much a call may carry."""
LONG = 30_000
"""Characters of a value, with which few items fill a call."""


@check("DL4")
async def one_bad_item_fails_alone(trial: Trial) -> None:
    """More people than a call may carry, and one among them whom the vendor refuses: each of the others is told right."""
    for kind in _batched(trial):
        async with trial.hub(connector=SOON, folder=trial.folder / kind) as rig:
            size = rig.hub.connections[NAME].traits.batch_items
            people = [f"person{number}@example.net" for number in range(min(2 * size + 1, MOST))]
            bad = rig.side.refused_address()
            everybody = [*people[: size // 2], bad, *people[size // 2 :]]
            await _prepare(rig, kind, everybody if kind == "trigger" else people)
            rig.requests()
            await rig.say(kind, *(_event(trial, kind, email, str(number)) for number, email in enumerate(everybody)))
            await calm(rig)
            calls = len(rig.writes())
            require(
                calls < len(everybody), f"{calls} calls were made for {len(everybody)} items, so they carry one each"
            )
            said = {email: str(number) for number, email in enumerate(everybody)}
            mails = Counter(each.email for each in rig.side.mails())
            wrong = [email for email in people if not _is_held(rig, kind, email, said[email], mails)]
            same(wrong, [], f"people of whom the vendor does not hold what was said ({kind})")
            for email in people:
                remote, contact = await rig.remote(email), rig.held(email)
                known = remote.remote_id if remote is not None else None
                require(
                    known in {None, contact.remote_id}, f"the hub takes {contact.remote_id} for the contact {known}"
                )
            refused = await rig.deliveries(kind=kind, email_key=bad)
            same(
                [each.state for each in refused],
                ["dead"],
                f"what became of the one item that the vendor refuses ({kind})",
            )
            failed = [each.id for each in await rig.deliveries(kind=kind) if each.last_error]
            same(failed, [each.id for each in refused], f"items that failed, where one was bad ({kind})")


@check("DL4")
async def no_call_is_too_long(trial: Trial) -> None:
    """Items so many, or so long, that they fill several calls: each is ended before the vendor's limit."""
    for kind in _batched(trial):
        for length in (1, LONG):
            async with trial.hub(connector=SOON, folder=trial.folder / f"{kind}{length}") as rig:
                traits = rig.hub.connections[NAME].traits
                fill = traits.batch_items if length == 1 else math.ceil(traits.batch_bytes / length)
                people = [f"person{number}@example.net" for number in range(min(2 * fill + 1, MOST))]
                await _prepare(rig, kind, people)
                rig.requests()
                await rig.say(kind, *(_event(trial, kind, email, "x" * length) for email in people))
                await calm(rig)
                what = f"{len(people)} items of {length} characters ({kind})"
                same({each.state for each in await rig.deliveries(kind=kind)}, {"done"}, f"what became of {what}")
                refused = [each.status for each in rig.requests() if each.status >= 400]
                same(refused, [], f"calls that the vendor did not take, of those with {what}")


def _batched(trial: Trial) -> list[Kind]:
    """What is told in calls that carry many items."""
    kinds = [kind for kind in trial.kinds if f"on_{kind}_batch" in trial.hooks]
    require(kinds, "no hook carries many items; quality.yaml says so under skips, with DL4")
    return kinds


async def _prepare(rig: Rig, kind: Kind, people: list[str]) -> None:
    """What the vendor must hold before something of this kind is said."""
    needs = {"profile": ["consent"], "consent": [], "trigger": ["consent", "profile"]}[kind]
    for each in needs:
        if each in rig.trial.kinds:
            await rig.say(
                "profile" if each == "profile" else "consent",
                *(_event(rig.trial, each, email, "0") for email in people),
            )
            await calm(rig)


def _event(trial: Trial, kind: str, email: str, word: str) -> dict[str, Any]:
    match kind:
        case "profile":
            return {"email": email, "fields": {trial.text: f"v{word}"}}
        case "consent":
            proof = {"method": "double", "evidence": {"form": "footer"}}
            return {"email": email, "purpose": trial.purposes[0], "state": "granted", **proof}
        case _:
            return {"email": email, "trigger": trial.triggers[0], "trigger_id": email, "data": {"word": word}}


def _is_held(rig: Rig, kind: Kind, email: str, word: str, mails: Counter[str]) -> bool:
    contact = rig.side.find(email)
    match kind:
        case "profile":
            return contact is not None and contact.fields.get(rig.trial.fields[rig.trial.text]) == f"v{word}"
        case "consent":
            return contact is not None and contact.consents.get(rig.trial.purposes[0]) == "granted"
        case "trigger":
            return mails[email] == 1
