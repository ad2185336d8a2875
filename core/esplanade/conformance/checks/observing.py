"""OB: what can be seen of the plugin's work from outside, and what must not be.

The core has metrics, reasons and logs; it makes no spans of its own yet, so none are looked for.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any
from urllib.parse import quote, unquote_plus

from prometheus_client.parser import text_string_to_metric_families

from esplanade.conformance.check import check, require, same
from esplanade.conformance.logs import captured
from esplanade.conformance.rig import NAME, Rig
from esplanade.conformance.tales import calm, resumed, tales
from esplanade.conformance.trial import Trial
from esplanade.errors import EsplanadeError
from esplanade.model import Kind
from esplanade.records import Note
from esplanade.testing import Fault
from esplanade.testing.faults import Action

EMAIL = "q7.zonneschijn@example.net"
NEWCOMER = "q8.regenbui@example.org"
VALUES = ("Wijkbijduurstede", "Baarlenassau", "Sluisaardenburg", "Bergenopzoom")
"""What a field is set to; no words that a log would use by chance."""
DATA, PROOF = "lantaarnpaal", "handtekening"
"""What a trigger and a grant carry."""
MINUTES = 60
QUOTING = (400, 401, 403, 404, 409, 410, 422, 429, 500, 503)
CUTS: tuple[Action, ...] = ("cut-before", "cut-after")
DOWN: dict[str, tuple[Action, int]] = {"it answers 503": ("before", 503), "it cuts every call": ("cut-before", 500)}


@check("OB1")
async def everything_is_counted(trial: Trial) -> None:
    """Events, deliveries by outcome and their time, and webhooks: each with a count that agrees with what was done."""
    async with trial.hub() as rig:
        said = await _story(rig)
        genuine = list(rig.side.calls().values())
        forged = [each for each in rig.side.forgeries().values() if each.method != "GET"]
        for call in [*genuine, *forged]:
            await rig.post(call)
        await rig.at_rest()
        counts = await _Counts.of(rig)
        for kind, many in said.items():
            found = counts.value("esplanade_events_accepted_total", source="shop", kind=kind)
            same(found, many, f"the count of accepted events of the kind {kind}")
        for kind in trial.kinds:
            many = len([each for each in await rig.deliveries(kind=kind) if each.outcome == "delivered"])
            require(many, f"nothing of the kind {kind} was delivered")
            found = counts.value("esplanade_deliveries_total", connector=NAME, kind=kind, outcome="delivered")
            require(found >= many, f"{many} deliveries of the kind {kind} were made, and {found:g} are counted")
            found = counts.value("esplanade_delivery_seconds_count", connector=NAME, kind=kind)
            require(
                found >= many, f"{many} deliveries of the kind {kind} were made, and the time of {found:g} is counted"
            )
        for result, calls in (("accepted", genuine), ("refused", forged)):
            found = counts.value("esplanade_webhooks_total", connector=NAME, result=result)
            require(found >= len(calls), f"{len(calls)} webhooks were {result}, and {found:g} are counted so")


@check("OB1")
async def what_is_not_sent_has_a_reason(trial: Trial) -> None:
    """Everything that is said leaves a trace for this connector: that it was sent, or why it was not."""
    async with trial.hub() as rig:
        for kind, event in [*_said(trial), *_said(trial)]:  # the second time is to have its reason too
            before = len(await _decisions(rig))
            await rig.say(kind, event)
            await rig.at_rest()
            require(
                len(await _decisions(rig)) > before,
                f"an event of the kind {kind} left no trace: it was not sent, and nothing says why not",
            )
        for note in await _decisions(rig):
            what = f"what was said of the kind {note.kind} ({note.detail}) was {note.what}"
            require(note.what == "sent" or note.reason, f"{what}, and there is no reason")


@check("OB1")
async def no_line_holds_personal_data(trial: Trial) -> None:
    """Everything works, then everything fails at a vendor that quotes what it is sent; no log line says of whom or what."""
    with captured() as logs:
        async with trial.hub(connector={"retry": {"base": "1s", "cap": "2s"}}) as rig:
            await _story(rig)
            calls = [*rig.side.calls().values(), *rig.side.forgeries().values(), rig.side.unheard_of()]
            for call in calls:
                await rig.post(call)
            await rig.at_rest()
            for number, status in enumerate(QUOTING):
                await _ill(rig, number, Fault(match=rig.own_calls, status=status, echo=True, times=None))
            for number, action in enumerate(CUTS, len(QUOTING)):
                await _ill(rig, number, Fault(match=rig.own_calls, action=action, times=None))
            await _ill(rig, 99, Fault(status=400, echo=True, times=None))  # so that a token is refused, too
    require("http request" in logs.text, "nothing was logged, so that nothing is proven")
    told = b" ".join(call.body + b" " + call.query.encode() for call in calls).decode("utf-8", "replace")
    addresses = re.findall(r"[\w.+-]+@[\w-]+\.[\w.-]+", unquote_plus(told))
    names = {each.partition("@")[0] for each in (EMAIL, NEWCOMER)}
    for needle in {EMAIL, NEWCOMER, *names, *VALUES, DATA, PROOF, *addresses}:
        for form in {needle, quote(needle), json.dumps(needle)[1:-1]}:
            line = next((each for each in logs.text.splitlines() if form.lower() in each.lower()), None)
            require(line is None, f"the log holds {form!r}: {line}")


@check("OB2")
async def an_outage_is_two_lines(trial: Trial) -> None:
    """The vendor is away for an hour, and work goes on coming: one line when it is gone, and one when it is back."""
    for how, (action, status) in DOWN.items():
        with captured() as logs:
            async with trial.hub(folder=trial.folder / action, connector={"retry": {"cap": "1m"}}) as rig:
                told = [tale for each in await tales(rig, 6) for tale in each if tale.said != "trigger"]
                start = len(logs.everything())
                rig.twin.faults.append(Fault(action=action, status=status, times=None))
                for minute in range(MINUTES):
                    if minute < len(told):
                        await told[minute].tell(rig)
                    await rig.advance(60.0)
                gone = [each["event"] for each in logs.everything()[start:] if each["level"] != "debug"]
                same(gone, ["vendor_unavailable"], f"what an operator reads in the log while {how}")
                start = len(logs.everything())
                rig.twin.faults.clear()
                await calm(rig, within_s=600.0)
                back = [each["event"] for each in logs.everything()[start:] if each["level"] != "debug"]
                same(
                    back,
                    ["vendor_available"],
                    f"what an operator reads in the log once the vendor is well, after {how}",
                )
                for tale in told:
                    require(tale.is_held(rig), f"{tale.words} from the time in which {how} did not reach the vendor")


class _Counts:
    """The hub's metrics at one moment."""

    def __init__(self, text: str) -> None:
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    @classmethod
    async def of(cls, rig: Rig) -> _Counts:
        return cls(await rig.shown("/metrics"))

    def value(self, name: str, **labels: str) -> float:
        """A sample's value; 0 where there is none."""
        found = (each.value for each in self._samples if each.name == name and each.labels == labels)
        return next(found, 0.0)


def _said(trial: Trial) -> list[tuple[Kind, dict[str, Any]]]:
    """What the shop says in the story, in order."""
    said: list[tuple[Kind, dict[str, Any]]] = []
    if "consent" in trial.kinds:
        grant = {"state": "granted", "method": "double", "evidence": {"form": PROOF}}
        said += [("consent", {"email": EMAIL, "purpose": each, **grant}) for each in trial.purposes]
    if "profile" in trial.kinds:
        audiences = dict.fromkeys(trial.audiences, True)
        said += [("profile", {"email": EMAIL, "fields": {trial.text: VALUES[0]}, "audiences": audiences})]
    if "trigger" in trial.kinds:
        data = {"cart_id": DATA}
        said += [
            ("trigger", {"email": EMAIL, "trigger": each, "trigger_id": each, "data": data}) for each in trial.triggers
        ]
    return said


async def _story(rig: Rig) -> dict[str, int]:
    """A life with the vendor in which all goes well; how many events of each kind were said."""
    said = _said(rig.trial)
    for kind, event in said:
        await rig.say(kind, event)
        await rig.at_rest()
    rig.side.sign_up(NEWCOMER, {rig.trial.fields[rig.trial.text]: VALUES[1]}, rig.trial.purposes[:1])
    await rig.hear()
    kinds = [kind for kind, _ in said]
    return {kind: kinds.count(kind) for kind in rig.trial.kinds}


async def _ill(rig: Rig, number: int, fault: Fault) -> None:
    """Everything is said while the vendor is not well; then it is, and somebody has sent again what was given up."""
    trial = rig.trial
    rig.twin.faults.append(fault)
    if "profile" in trial.kinds:
        await rig.profile(EMAIL, fields={trial.text: VALUES[2 + number % 2]})
    if "consent" in trial.kinds:
        await rig.consent(EMAIL, "denied" if number % 2 else "granted", trial.purposes[-1], evidence={"form": PROOF})
    if "trigger" in trial.kinds:
        await rig.trigger(EMAIL, f"ill-{number}", trial.triggers[-1], data={"cart_id": DATA})
    for what in ("check", "discover", "pull"):
        if what in trial.methods:
            await _asked(rig, what)
    rig.twin.faults.clear()
    await resumed(rig)
    await calm(rig)


async def _asked(rig: Rig, what: str) -> None:
    """An operator asks something of the vendor, and hears of its illness."""
    with contextlib.suppress(EsplanadeError):
        await getattr(rig.hub, what)(NAME)


async def _decisions(rig: Rig) -> list[Note]:
    """What became of all that was said of the person of the story, for this connector or for all."""
    person = await rig.person(EMAIL)
    if person is None:
        return []
    notes = await rig.hub.store.read(lambda reader: reader.timeline(person.id))
    return [each for each in notes if each.connector in {NAME, ""} and each.what in {"sent", "not-sent", "failed"}]
