"""The power went, and the hub forgot what it had sent: the vendor is put right all the same, and is told nothing that is past."""

import asyncio

import pytest
from tests.faults.conftest import all_done
from tests.faults.crashing import Life, Point, furnish
from tests.faults.cutting import cut_power
from tests.faults.shop import knows, post
from tests.faults.trial import started
from tests.faults.vendor import START, running_vendor

ADA, ZOE = {"email": "ada@example.com"}, {"email": "zoe@example.com"}

# A was delivered; then B, of which the hub forgets that it was; then A is said again.


def town(value, number):
    return "profile", {**ADA, "fields": {"town": value}}


def member(value, number):
    return "profile", {**ADA, "audiences": {"vip": value}}


def consent(value, number):
    said = {"purpose": "newsletter", "state": value, "at": START + number, "evidence": {"form": number}}
    return "consent", {**ADA, **said}


OPT_OUT = {**ADA, "at": START + 9, "consents": {"newsletter": "denied"}}
STATES = {
    "a field": (town, "Delft", "Breda", lambda held: held.fields["Town"]),
    "joining an audience": (member, False, True, lambda held: "vip" in held.audiences),
    "leaving an audience": (member, True, False, lambda held: "vip" in held.audiences),
    "an opt-in": (consent, "denied", "granted", lambda held: held.consents["newsletter"].state),
    "an opt-out": (consent, "granted", "denied", lambda held: held.consents["newsletter"].state),
}


@pytest.mark.parametrize("forgotten", ["that it was sent", "that it was about to be sent, too"])
@pytest.mark.parametrize("state", STATES)
async def test_a_value_that_is_said_again_arrives_although_the_hub_forgot_another(tmp_path, quiet, state, forgotten):
    said, first, second, held = STATES[state]
    kind, other = ("profile", "consent") if said is not consent else ("consent", "profile")
    of_another = {"profile": {**ZOE, "fields": {"town": "Gouda"}}, "consent": {**consent("granted", 1)[1], **ZOE}}
    async with running_vendor() as vendor:
        furnish(tmp_path, vendor, timeout="20s")
        life = await Life.begin(tmp_path)
        for event in [("profile", ADA), ("profile", ZOE), said(first, 1)]:
            await post(life.url, *event)
        assert not await life.end()
        assert held(vendor.account.held(ADA["email"])) == first

        calls = vendor.calls
        life = await Life.begin(tmp_path, Point("after", f"settle {kind}"))
        vendor.open.clear()
        await post(life.url, *said(second, 2))
        await vendor.heard(lambda _: vendor.calls > calls)
        if forgotten == "that it was sent":  # then somebody else's event takes its claim to the disk
            await post(life.url, other, of_another[other])
        vendor.open.set()
        assert await life.end()
        assert held(vendor.account.held(ADA["email"])) == second
        assert await asyncio.to_thread(cut_power, tmp_path) > 0

        async with started(tmp_path, deliver=False) as hub:
            await post(hub.url, *said(first, 3))
            await hub.settled()
        async with started(tmp_path) as hub:
            await all_done(hub)
        assert held(vendor.account.held(ADA["email"])) == first


async def test_an_opt_out_reaches_a_vendor_of_which_the_hub_forgot_that_it_was_told_of_the_person(tmp_path, quiet):
    async with running_vendor() as vendor:
        furnish(tmp_path, vendor, timeout="20s", requires="newsletter")
        life = await Life.begin(tmp_path)
        await post(life.url, *consent("granted", 1))
        await vendor.heard(lambda account: len(account.acted("consent")) == 1)
        await life.kill()
        assert await asyncio.to_thread(cut_power, tmp_path) > 0
        async with started(tmp_path, deliver=False) as hub:
            await post(hub.url, *consent("denied", 2))
            await hub.settled()
        async with started(tmp_path) as hub:
            await all_done(hub)
        assert vendor.account.held(ADA["email"]).consents["newsletter"].state == "denied"


# The last word of a person was folded and sent behind much else, and the hub forgets all of that.

BACKLOG = [{**ZOE, "fields": {"visits": number}} for number in range(2_500)]
"""What keeps the fold busy for a moment and leads to no call."""
LAST = {"email": "last@example.com"}


async def forgets_the_last_word(folder, vendor, *, before, last, kind, known=()):
    """While the vendor takes its time over the first of what comes before, the last word comes; it arrives, and the power goes."""
    furnish(folder, vendor, timeout="20s", pace={"concurrency": 1})
    life = await Life.begin(folder)
    for said in [("profile", [ADA, ZOE]), *known]:
        await post(life.url, *said)
    await vendor.heard(lambda account: len(account.acted()) == 2 + len(known))
    calls = vendor.calls
    vendor.open.clear()
    for said in before:
        await post(life.url, *said)
        await vendor.heard(lambda _: vendor.calls > calls)
    await post(life.url, "profile", [*BACKLOG, last, LAST])
    await knows(life.url, LAST["email"])
    vendor.open.set()
    await vendor.heard(lambda account: any(line.kind == kind and line.seq == 9 for line in account.acted()))
    await life.kill()
    assert await asyncio.to_thread(cut_power, folder) > 0
    async with started(folder) as hub:
        return await all_done(hub)


@pytest.mark.parametrize(
    ("before", "last"),
    [
        (("profile", {**ADA, "fields": {"seq": 1}}), {**ADA, "fields": {"seq": 9}}),
        (consent("granted", 1), OPT_OUT),
    ],
    ids=["profile", "consent"],
)
async def test_a_vendor_that_has_the_last_word_does_not_hear_an_earlier_one_again(tmp_path, quiet, before, last):
    async with running_vendor() as vendor:
        await forgets_the_last_word(tmp_path, vendor, before=[before], last=last, kind=before[0])
        seqs = [line.seq for line in vendor.account.acted(before[0]) if line.seq is not None]
        assert seqs == sorted(seqs)


async def test_nobody_is_mailed_who_has_opted_out_though_the_hub_forgot_it(tmp_path, quiet):
    cart = ("trigger", {**ADA, "trigger": "cart", "data": {"seq": 1}})
    before = [town("Gouda", 1), cart]
    async with running_vendor() as vendor:
        known = [consent("granted", 1)]
        await forgets_the_last_word(tmp_path, vendor, known=known, before=before, last=OPT_OUT, kind="consent")
        assert vendor.account.acted("trigger") == []
