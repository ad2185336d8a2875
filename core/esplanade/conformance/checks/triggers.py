"""TR: triggers, which are mails to people: only what can be sent, once, and with everything in it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from esplanade.conformance.check import CheckFailed, check, require, same
from esplanade.conformance.rig import NAME
from esplanade.conformance.tales import SOON, Answer, calm
from esplanade.conformance.trial import Trial
from esplanade.testing import FakeClock

if TYPE_CHECKING:
    from esplanade.conformance.rig import Rig
    from esplanade.records import Delivery
    from esplanade.testing import Mail

EMAIL = "noor@example.net"
LOST = [
    Answer(words="500, once it had acted", action="after", status=500),
    Answer(words="a cut, once it had acted", action="cut-after"),
    Answer(words="silence, once it had acted", action="hang-after"),
    Answer(words="500, without having acted", status=500),
    Answer(words="silence, without having acted", action="hang"),
]
"""Answers after which nobody knows whether the vendor has acted."""
REFUSED = [
    Answer(words="429 and when to come back", status=429, headers={"Retry-After": "1"}),
    Answer(words="503 and when to come back", status=503, headers={"Retry-After": "1"}),
]
"""Answers that say that it has not."""


# TR1: what can be sent, and what cannot.


@check("TR1")
async def only_what_is_published_is_offered(trial: Trial) -> None:
    """A mailing that is taken back is no longer among those that discovery lists, and the others are."""
    async with trial.hub() as rig:
        trigger = mailed(rig)
        before = {each.id for each in (await rig.hub.discover(NAME)).mailings}
        require(before, "discover() lists no mailing, although the sample's triggers send some")
        rig.side.unpublish(trigger)
        after = {each.id for each in (await rig.hub.discover(NAME)).mailings}
        same(len(before - after), 1, f"mailings that are no longer offered once that of {trigger} was taken back")
        require(after < before, "a mailing that nobody published is offered all of a sudden")


@check("TR1")
async def what_cannot_be_sent_says_so(trial: Trial) -> None:
    """A mailing that was taken back, and one that never was: a dead letter each, which names the mailing or its trigger."""
    targets = {name: trial.target("triggers", name) for name in trial.triggers}
    async with trial.hub() as rig:
        first = mailed(rig)
        rest = [name for name in trial.triggers if name != first]
        wrong = {key: value + 100_000 for key, value in targets[first].items() if type(value) is int}
        await rig.welcome(EMAIL)
        rig.side.unpublish(first)
        await rig.trigger(EMAIL, "t-1", first)
        plainly_refused(rig, await delivery_of(rig), {first, *map(str, targets[first].values())}, "is not published")
        for other in rest:
            await rig.trigger(EMAIL, f"t-{other}", other)
        same(sorted(each.trigger for each in rig.side.mails()), sorted(rest), "mails, once one mailing was taken back")
    if wrong:
        changed = {first: {**targets[first], **wrong}}
        async with trial.twin(FakeClock()) as twin, trial.hub(at=twin, connector={"triggers": changed}) as rig:
            await rig.welcome(EMAIL)
            await rig.trigger(EMAIL, "t-2", first)
            plainly_refused(rig, await delivery_of(rig), {first, *map(str, wrong.values())}, "does not exist")


@check("TR1")
async def an_account_without_credits_says_so(trial: Trial) -> None:
    """Nothing is left to pay for a mail: a dead letter that says so, and a replay sends it once there is."""
    async with trial.hub() as rig:
        if rig.lacks("TR1", "run_dry"):
            return
        await rig.welcome(EMAIL)
        rig.side.run_dry()
        await rig.trigger(EMAIL, "t-1")
        dead = await delivery_of(rig)
        same((dead.state, dead.reason), ("dead", "rejected"), f"a trigger without credits ({dead.last_error})")
        require(
            "credit" in (dead.last_error or ""), f"no word of credits in what an operator is told: {dead.last_error}"
        )
        same(len(rig.side.mails()), 0, "mails of an account without credits")


@check("TR1")
async def what_a_trigger_carries_fits_the_vendor(trial: Trial) -> None:
    """Names and values of any kind in its data: the mail goes out, and the plain ones are in it."""
    data = {
        "cart id": "C-77",
        "total": 12.5,
        "ünicode ☕": "ž",
        "nested": {"a": [1, None]},
        "none": None,
        "long": "x" * 5_000,
    }
    async with trial.hub() as rig:
        await rig.welcome(EMAIL)
        await rig.trigger(EMAIL, "t-1", data=data)
        (mail,) = only_mail(rig, await delivery_of(rig))
        for text in ("C-77", "12.5", "ž"):
            require(prints(mail, text), f"{text!r} of a trigger's data is not among what the mail can print")


# TR2: once.


@check("TR2")
async def one_trigger_is_one_mail_whatever_the_vendor_answers(trial: Trial) -> None:
    """Each request of it goes wrong in each way: never two mails, and one wherever it is known or can be asked."""
    async with trial.hub(connector={**SOON, "timeout": "500ms"}) as rig:
        repeat = rig.hub.connections[NAME].traits.trigger_repeat
        await rig.welcome(EMAIL)
        await rig.trigger(EMAIL, "first")  # which may make what is missing at the vendor
        rig.requests()
        await rig.trigger(EMAIL, "plain")
        requests = len(rig.writes())
        same(mails_to(rig, EMAIL), 2, "mails of two triggers")
        for answer in (*REFUSED, *LOST):
            for number in range(requests):
                what = f"{answer.words}, to request {number + 1} of {requests}"
                email = f"{answer.action}.{answer.status}.{number}@example.net"
                await rig.welcome(email)
                fault = rig.spoil_writes(answer.action, status=answer.status, headers=answer.headers, skip=number)
                await rig.trigger(email, what)
                await calm(rig)
                same(fault.times, 0, f"requests that the vendor has still to answer with {what}")
                found, sent = await delivery_of(rig), mails_to(rig, email)
                require(sent <= 1, f"one trigger became {sent} mails when the vendor answered with {what}")
                if answer in REFUSED or repeat != "never":
                    same(
                        sent, 1, f"mails of one trigger that the vendor answered with {what} (trigger_repeat: {repeat})"
                    )
                elif sent == 0:
                    same(found.reason, "outcome-unknown", f"why a trigger was not sent, after {what}")


@check("TR2")
async def one_trigger_is_one_mail_however_often_it_is_said(trial: Trial) -> None:
    """The same id twice is one mail, another id another one."""
    async with trial.hub() as rig:
        await rig.welcome(EMAIL)
        for name in ("t-1", "t-1", "t-2"):
            await rig.trigger(EMAIL, name)
        same(mails_to(rig, EMAIL), 2, "mails of two triggers, one of them said twice")


@check("TR2")
async def one_trigger_is_one_mail_through_a_restart(trial: Trial) -> None:
    """A hub is stopped while the vendor, which has acted, does not answer; the next one finds out, or asks a person."""
    clock = FakeClock()
    async with trial.twin(clock) as twin:
        async with trial.hub(clock=clock, at=twin, drain_timeout="200ms") as rig:
            await rig.welcome(EMAIL)
            rig.spoil_writes("hang-after")
            event = {"email": EMAIL, "trigger": trial.triggers[0], "trigger_id": "t-1"}
            await rig.say("trigger", event)
            await twin.reached(1)
        async with trial.hub(clock=clock, at=twin) as rig:
            repeat = rig.hub.connections[NAME].traits.trigger_repeat
            await rig.later(3_600.0)
            await calm(rig)
            await rig.say("trigger", event)
            await calm(rig)
            found, sent = await delivery_of(rig), mails_to(rig, EMAIL)
            require(sent <= 1, f"one trigger became {sent} mails through a restart")
            if repeat == "never":
                same(
                    found.reason, "outcome-unknown", "what is said of a trigger that was under way when the hub stopped"
                )
            else:
                same(sent, 1, f"mails of a trigger that was under way when the hub stopped (trigger_repeat: {repeat})")
                same(found.state, "done", "a trigger that was under way when the hub stopped, and that was sent")


# TR3: products.


@check("TR3")
async def products_are_in_the_mail(trial: Trial) -> None:
    """Their titles, links and prices, in the order and the words in which they were given."""
    async with trial.hub() as rig:
        await rig.welcome(EMAIL)
        await rig.trigger(EMAIL, "t-1", products={"set": "last-viewed", "items": PRODUCTS})
        (mail,) = only_mail(rig, await delivery_of(rig))
        for item in PRODUCTS:
            for key in ("title", "url", "image_url", "price"):
                require(prints(mail, str(item[key])), f"the {key} of a product is not among what the mail can print")
        await rig.trigger(EMAIL, "t-2")
        bare = [each for each in rig.side.mails() if each != mail]
        same(len(bare), 1, "mails of a trigger without products")
        require(not prints(bare[0], PRODUCTS[0]["title"]), "products of one trigger are in the mail of another")


@check("TR3")
async def the_language_is_the_events_or_the_products_or_the_hubs(trial: Trial) -> None:
    """Whichever of the three is there first, in this order, is the language that the vendor is told."""
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        "of the event": ("cs", {"language": "cs", "products": {"language": "de", "items": PRODUCTS}}),
        "of the product set": ("de", {"products": {"language": "de", "items": PRODUCTS}}),
        "of the hub": ("nl", {"products": {"items": PRODUCTS}}),
    }
    async with trial.hub(language="nl") as rig:
        await rig.welcome(EMAIL)
        for name, (language, more) in cases.items():
            await rig.trigger(EMAIL, name, **more)
            mail = rig.side.mails()[-1]
            if mail.language is None and "language" in trial.declared("TR3"):
                return
            same(mail.language, language, f"the language of a mail, where it is that {name}")


@check("TR3")
async def more_products_than_fit_are_still_one_mail(trial: Trial) -> None:
    """A set that is too large for the vendor loses its last products; the first ones are sent."""
    many = [{**PRODUCTS[0], "id": f"SKU-{number}", "title": f"Lamp {number} {'x' * 900}"} for number in range(200)]
    async with trial.hub() as rig:
        await rig.welcome(EMAIL)
        await rig.trigger(EMAIL, "t-1", products={"set": "everything", "items": many})
        (mail,) = only_mail(rig, await delivery_of(rig))
        require(prints(mail, "Lamp 0 "), "the first of many products is not in the mail")


PRODUCTS: list[dict[str, Any]] = [
    {
        "id": "SKU-1",
        "title": "Lampička žlutá",
        "price": 24.5,
        "currency": "EUR",
        "url": "https://shop.example/p/1",
        "image_url": "https://shop.example/i/1.jpg",
    },
    {
        "id": "SKU-2",
        "title": "Stoel 'Zit' ☕",
        "price": 129.95,
        "currency": "EUR",
        "url": "https://shop.example/p/2",
        "image_url": "https://shop.example/i/2.jpg",
        "quantity": 2,
    },
]


# What these share.


def mailed(rig: Rig) -> str:
    """The first trigger whose mailing the account shows, so that it can be taken back."""
    for name in rig.trial.triggers:
        if rig.side.can_unpublish(name):
            return name
    raise CheckFailed("no trigger of the sample sends what can be taken back at the vendor; add one, or skip TR1")


async def delivery_of(rig: Rig) -> Delivery:
    """The trigger that was said last."""
    found = await rig.deliveries(kind="trigger")
    require(found, "nothing was queued for a trigger")
    return found[-1]


def only_mail(rig: Rig, delivery: Delivery) -> list[Mail]:
    """The mails that were sent, of which there must be one."""
    found = rig.side.mails()
    same(len(found), 1, f"mails of one trigger, which is {delivery.state} ({delivery.last_error})")
    return found


def mails_to(rig: Rig, email: str) -> int:
    """How many mails a person got."""
    return sum(each.email.lower() == email for each in rig.side.mails())


def prints(mail: Mail, text: str) -> bool:
    """Whether a mail can print a text, as it is or as HTML has it."""
    return any(text in word or html.escape(text) in word for word in mail.words.values())


def plainly_refused(rig: Rig, delivery: Delivery, names: set[str], why: str) -> None:
    """Fail unless a trigger is a dead letter whose error tells an operator which mailing is meant."""
    what = f"a trigger whose mailing {why}"
    same((delivery.state, delivery.reason), ("dead", "rejected"), f"{what} ({delivery.last_error})")
    error = delivery.last_error or ""
    require(
        any(name in error for name in names), f"{what}: the error names neither the mailing nor the trigger: {error}"
    )
    same(delivery.attempts, 1, f"attempts at {what}")
