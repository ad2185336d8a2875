"""DL: what becomes of deliveries when the vendor answers otherwise than it should, late, or not at all."""

from __future__ import annotations

import re
from email.utils import formatdate

from esplanade.conformance.check import check, require, same
from esplanade.conformance.rig import NAME, Rig
from esplanade.conformance.tales import SOON, Answer, Tale, calm, is_known, recovers, sent_again, tales
from esplanade.conformance.trial import Trial
from esplanade.reasons import REASONS

EMAIL = "noor@example.net"
NO = '{"error": "no"}'
REFUSED = (301, 302, 400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 415, 418, 422, 423, 425, 429)
FAILED = (500, 501, 502, 503, 504, 520, 599)
MAY_PASS = {401, 408, 425, 429, *FAILED}
"""What no plugin may take for a refusal of what it sent."""
SAYS_SO_ALREADY = {404, 409}
"""By which a vendor may say that it holds already what it is told, or that there is nobody of whom to take something."""
ANSWERS = [
    *(Answer(words=str(status), status=status, body=NO) for status in (*REFUSED, *FAILED)),
    Answer(words="400 without a body", status=400),
    Answer(words="400 and a page", status=400, body="<html><body><h1>Bad request</h1></body></html>"),
    Answer(words="400 and a list", status=400, body="[null, 1]"),
    Answer(words="500 and broken JSON", status=500, body='{"error": '),
    Answer(words="204, once it had acted", action="after", status=204),
    Answer(words="200 without a body, once it had acted", action="after"),
    Answer(words="200 and an odd object, once it had acted", action="after", body='{"odd": [null, {"id": null}]}'),
    Answer(words="200 and a list, once it had acted", action="after", body="[1, null]"),
    Answer(words="200 and null, once it had acted", action="after", body="null"),
    Answer(words="200 and a page, once it had acted", action="after", body="<html><body>Welcome</body></html>"),
    Answer(words="200 and broken JSON, once it had acted", action="after", body='{"id": '),
    Answer(words="a cut before it acted", action="cut-before"),
    Answer(words="a cut once it had acted", action="cut-after"),
]
LOST = [
    Answer(words="a cut", action="cut-after"),
    Answer(words="500", action="after", status=500, body=NO),
    Answer(words="502", action="after", status=502),
    Answer(words="504", action="after", status=504),
    Answer(words="silence", action="hang-after"),
]
NEVER_DONE = [
    Answer(words="a cut", action="cut-before"),
    Answer(words="500", status=500, body=NO),
    Answer(words="silence", action="hang"),
]
HANGS = {**SOON, "timeout": "1s"}
WAIT_S = 120.0
NEAR_S = 5.0
"""So much before the vendor's time nothing may be called, and so much after it everything must have been."""


@check("DL1")
async def every_answer_has_a_meaning(trial: Trial) -> None:
    """Each status, odd body and cut, to everything that is written: a known outcome, and nothing lost once it is over."""
    async with trial.hub(connector=SOON) as rig:
        for answer, told in zip(ANSWERS, await tales(rig, len(ANSWERS)), strict=True):
            for tale in told:
                await _has_a_meaning(rig, tale, answer)


@check("DL1")
async def silence_has_a_meaning(trial: Trial) -> None:
    """No answer at all: a known outcome, and nothing lost once it is over."""
    async with trial.hub(connector=HANGS) as rig:
        for tale in (await tales(rig, 1))[0]:
            await _has_a_meaning(rig, tale, Answer(words="silence", action="hang", status=504))


@check("DL2")
async def the_vendor_says_when(trial: Trial) -> None:
    """Seconds or a date with 429 and 503, or when the quota is full again: not one call before, and everything after."""
    async with trial.hub(connector=SOON) as rig:
        wishes = [(429, "seconds"), (429, "a date"), (503, "seconds"), (503, "a date"), (429, "a reset time")]
        for (status, how), told in zip(wishes, await tales(rig, len(wishes)), strict=True):
            for tale in told:
                until = rig.clock.time() + WAIT_S
                headers = {
                    "seconds": {"Retry-After": f"{WAIT_S:.0f}"},
                    "a date": {"Retry-After": formatdate(until, usegmt=True)},
                    "a reset time": {"X-RateLimit-Reset": f"{until:.0f}"},
                }[how]
                Answer(words=how, status=status, headers=headers).spoil(rig, times=1)
                delivery = await tale.tell(rig)
                what = f"{tale.words} that the vendor answered with {status} and {how}"
                same(delivery.state, "pending", f"the state of {what} ({delivery.last_error})")
                rig.requests()
                await rig.advance(WAIT_S - NEAR_S)
                same(_lines(rig), [], f"calls before the time that the vendor named for {what}")
                await rig.advance(2 * NEAR_S)
                require(tale.is_held(rig), f"{what} was not sent again when the vendor's time had come")


@check("DL2")
async def an_endpoint_that_is_gone(trial: Trial) -> None:
    """410: nothing more is called until somebody lets it go on, and then nothing is lost."""
    async with trial.hub(connector=SOON) as rig:
        for first, second in zip(*await tales(rig, 2), strict=True):
            Answer(words="410", status=410).spoil(rig, times=1)
            same(
                (await first.tell(rig)).state,
                "pending",
                f"the state of {first.words} that the vendor answered with 410",
            )
            state = await rig.hub.store.read(lambda reader: reader.connector_state(NAME))
            same(state.state, "gone", "the connector's state after a 410")
            rig.requests()
            await second.tell(rig)
            await rig.advance(WAIT_S)
            same(_lines(rig), [], "calls to an endpoint that is gone")
            await rig.hub.resume(NAME)
            await calm(rig)
            for tale in (first, second):
                require(tale.is_held(rig), f"{tale.words} from around a 410 did not reach the vendor after all")


@check("DL2")
async def a_contact_that_is_gone(trial: Trial) -> None:
    """Somebody deletes a contact that the hub knows: what comes next makes it anew, or says plainly that it cannot be done."""
    async with trial.hub(connector=SOON) as rig:
        for tale in (await tales(rig, 1))[0]:
            if tale.said == "grant":  # of somebody whom the vendor does not know yet
                continue
            rig.side.remove(tale.email)
            await tale.tell(rig)
            await calm(rig)
            delivery = await tale.delivery(rig)
            what = f"{tale.words} of somebody whose contact was deleted"
            if delivery.state == "done":
                require(tale.is_held(rig), f"{what} counts as {delivery.outcome}, and the vendor does not hold it")
            else:
                require(delivery.reason in REASONS, f"{what} is {delivery.state} with the reason {delivery.reason!r}")
                await is_known(rig, tale, what)


@check("DL3")
async def done_and_not_said(trial: Trial) -> None:
    """The vendor acts and its answer is lost: state is told again, a trigger ends as the plugin declares."""
    async with trial.hub(connector=HANGS) as rig:
        for answer, told in zip(LOST, await tales(rig, len(LOST)), strict=True):
            for tale in told:
                await _ends_as_declared(rig, tale, answer, acted=True)


@check("DL3")
async def neither_done_nor_said(trial: Trial) -> None:
    """The same, where the vendor did not act: state is told again, and a trigger does not vanish."""
    async with trial.hub(connector=HANGS) as rig:
        for answer, told in zip(NEVER_DONE, await tales(rig, len(NEVER_DONE)), strict=True):
            for tale in told:
                await _ends_as_declared(rig, tale, answer, acted=False)


@check("DL6")
async def the_last_word_stays(trial: Trial) -> None:
    """A field that changes faster than a failing vendor takes it: no older value follows a newer one."""
    failures = [each for each in ANSWERS if each.status in {200, 408, *FAILED} and each.words != "501"]
    async with trial.hub(connector=SOON) as rig:
        for purpose in trial.purposes:
            await rig.consent(EMAIL, "granted", purpose)
        rig.requests()
        number = 0
        for answer in failures:
            answer.spoil(rig, times=2)
            for _ in range(3):
                number += 1
                await rig.profile(EMAIL, fields={trial.text: f"Order{number:03d}"})
            await rig.advance(1.0)
        rig.twin.faults.clear()
        await calm(rig)
        told = _numbers(rig)
        require(len(set(told)) > 1, "the values of the changes are not found in what was sent")
        same(told, sorted(told), "the order in which changes of one field were sent")
        same(rig.held(EMAIL).fields.get(trial.fields[trial.text]), f"Order{number:03d}", "the field at the vendor")


@check("DL6")
async def nothing_overtakes_a_call_under_way(trial: Trial) -> None:
    """While the vendor takes its time over a change, newer ones wait for it, and then the newest is told."""
    async with trial.hub(connector=SOON) as rig:
        for purpose in trial.purposes:
            await rig.consent(EMAIL, "granted", purpose)
        await rig.profile(EMAIL, fields={trial.text: "Order000"})
        rig.requests()
        rig.spoil_writes("pass", delay_s=5.0, times=1)
        await rig.say("profile", {"email": EMAIL, "fields": {trial.text: "Order001"}})
        await rig.twin.reached(1)
        for number in (2, 3):
            await rig.say("profile", {"email": EMAIL, "fields": {trial.text: f"Order{number:03d}"}})
        await rig.clock.advance(6.0)
        await calm(rig)
        told = _numbers(rig)
        same(told, sorted(told), "the order in which changes of one field were sent")
        same(rig.held(EMAIL).fields.get(trial.fields[trial.text]), "Order003", "the field at the vendor")


@check("DL6")
async def consents_keep_their_order(trial: Trial) -> None:
    """Somebody who opts in and out and in while the vendor fails holds in the end what they said last."""
    purpose = trial.purposes[0]
    async with trial.hub(connector=SOON) as rig:
        for last in ("denied", "granted"):
            for turn, answer in enumerate(each for each in ANSWERS if each.status in FAILED):
                answer.spoil(rig, times=1)
                state = last if turn % 2 else ("granted" if last == "denied" else "denied")
                await rig.clock.advance(1.0)
                await rig.consent(EMAIL, state, purpose, at=rig.clock.time())
            await rig.clock.advance(1.0)
            await rig.consent(EMAIL, last, purpose, at=rig.clock.time())
            rig.twin.faults.clear()
            await calm(rig)
            held = rig.side.find(EMAIL)
            found = held is not None and held.consents.get(purpose) == "granted"
            same(found, last == "granted", f"whether the vendor holds {purpose} as granted, once {last} was said last")


@check("DL6")
async def a_trigger_waits_for_what_was_said_before_it(trial: Trial) -> None:
    """A mail goes out only once the vendor holds what it is to print, however often that fails."""
    if "trigger" not in trial.kinds or "profile" not in trial.kinds:
        return  # there is nothing that could overtake
    async with trial.hub(connector=SOON) as rig:
        for purpose in trial.purposes:
            await rig.consent(EMAIL, "granted", purpose)
        await rig.profile(EMAIL)
        rig.spoil_writes("cut-before", times=3)
        await rig.say("profile", {"email": EMAIL, "fields": {trial.text: "Order001"}})
        await rig.trigger(EMAIL, "t-1")
        for _ in range(20):
            if rig.side.mails():
                break
            await rig.advance(0.5)
        same(len(rig.side.mails()), 1, "mails of one trigger")
        same(
            rig.held(EMAIL).fields.get(trial.fields[trial.text]),
            "Order001",
            "the field at the vendor when a mail went out that was asked for after the change",
        )


async def _has_a_meaning(rig: Rig, tale: Tale, answer: Answer) -> None:
    answer.spoil(rig)
    delivery = await tale.tell(rig)
    rig.twin.faults.clear()
    what = f"{tale.words} that the vendor answered with {answer.words}"
    await is_known(rig, tale, what)
    if answer.action != "after" and answer.status in MAY_PASS:
        require(delivery.state != "dead", f"{what} was given up, although that may pass: {delivery.last_error}")
    await recovers(rig, tale, what, may_be_done=answer.status in SAYS_SO_ALREADY)


async def _ends_as_declared(rig: Rig, tale: Tale, answer: Answer, *, acted: bool) -> None:
    answer.spoil(rig, times=1)
    await tale.tell(rig)
    await calm(rig)
    delivery = await tale.delivery(rig)
    repeat = rig.hub.connections[NAME].traits.trigger_repeat
    what = f"{tale.words} that the vendor {'acted on' if acted else 'did not act on'} and answered with {answer.words}"
    if tale.said != "trigger":
        same(delivery.state, "done", f"the state of {what} ({delivery.last_error})")
        require(tale.is_held(rig), f"{what}: the vendor does not hold it, although it is well again")
        return
    if repeat == "never":
        same((delivery.state, delivery.reason), ("parked", "outcome-unknown"), f"what became of {what}")
        await sent_again(rig, delivery)
        same(tale.mails(rig), int(acted), f"mails after {what}, which only a person who says so may repeat")
    else:
        same(delivery.state, "done", f"the state of {what}, where trigger_repeat is {repeat!r}")
        same(tale.mails(rig), 1, f"mails after {what}, where trigger_repeat is {repeat!r}")


def _lines(rig: Rig) -> list[str]:
    return [f"{each.method} {each.path}" for each in rig.requests()]


def _numbers(rig: Rig) -> list[int]:
    """The numbers of the values ``Order001`` and so on, in the order in which they were sent."""
    sent = [f"{each.path}?{each.query}".encode() + each.body for each in rig.writes()]
    return [int(number) for each in sent for number in re.findall(rb"Order(\d{3})", each)]
