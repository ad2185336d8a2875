"""kill -9 of the hub in the middle of its load: what was accepted is delivered."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from tests.e2e.processes import at_rest, free_port, get, post, running_twin, start_hub, until, write_config

PEOPLE = 240


def events_of(number: int) -> list[tuple[str, dict[str, object]]]:
    email = f"person.{number}@load.example"
    proof = {"evidence": {"form": "footer"}, "method": "double"}
    return [
        ("profiles", {"email": email, "event_id": f"p{number}", "fields": {"firstname": f"N{number}", "city": "Brno"}}),
        ("consents", {"email": email, "event_id": f"c{number}", "purpose": "newsletter", "state": "granted", **proof}),
        (
            "profiles",
            {"email": email, "event_id": f"q{number}", "fields": {"city": "Delft"}, "audiences": {"vip": True}},
        ),
        (
            "triggers",
            {"email": email, "event_id": f"t{number}", "trigger": "abandoned-cart", "trigger_id": f"t{number}"},
        ),
    ]


async def test_every_accepted_event_is_delivered_although_the_hub_is_killed_twice(tmp_path: Path) -> None:
    accepted: dict[str, set[int]] = {"p": set(), "c": set(), "q": set(), "t": set()}
    async with AsyncExitStack() as stack:
        twins = {
            name: await stack.enter_async_context(running_twin(name)) for name in ("webpower", "sparkloop", "webhook")
        }
        port = free_port()
        config = write_config(tmp_path, port, twins)
        hub = await start_hub(config, port)

        async def shop(numbers: range) -> None:
            for number in numbers:
                for kind, event in events_of(number):
                    status, _ = await post(f"{hub.url}/v1/{kind}", event)
                    if status == 202:
                        accepted[str(event["event_id"])[0]].add(number)

        for start in (0, PEOPLE // 2):
            quarter = PEOPLE // 4
            load = asyncio.gather(
                shop(range(start, start + quarter)), shop(range(start + quarter, start + 2 * quarter))
            )
            target = len(accepted["t"]) + quarter
            await until(partial(_reached, accepted["t"], target))
            await hub.kill()
            await load
            hub = await start_hub(config, port)
        stack.push_async_callback(hub.stop)
        await until(lambda: at_rest(hub))

        _, webpower = await get(f"{twins['webpower'].url}/__twin__/snapshot")
        _, sparkloop = await get(f"{twins['sparkloop'].url}/__twin__/snapshot")
        _, parked = await get(f"{hub.url}/v1/deliveries?state=parked")

    contacts = webpower["contacts"]
    assert len(accepted["p"]) > PEOPLE // 2, "the kills came too early to prove anything"
    for number in sorted(accepted["p"]):
        contact = contacts[f"person.{number}@load.example"]
        assert contact["fields"]["firstname"] == f"N{number}"
        # what was committed and whose answer the kill cut off may be there as well
        if number in accepted["q"]:
            assert contact["fields"]["city"] == "Delft"
            assert 140 in contact["groups"]
        if number in accepted["c"]:
            assert 135 in contact["groups"]
    subscribed = {email for email, one in sparkloop["subscribers"].items() if one["status"] == "active"}
    assert subscribed >= {f"person.{number}@load.example" for number in accepted["c"]}
    mailed = [mail["extraContactData"]["DMD_trigger_id"] for mail in webpower["mails"]]
    assert len(mailed) == len(set(mailed)), "no trigger was mailed twice"
    unknown = {row["email"] for row in parked["deliveries"] if row["reason"] == "outcome-unknown"}
    missing = {number for number in accepted["t"] & accepted["c"] if f"t{number}" not in mailed}
    assert {f"person.{number}@load.example" for number in missing} <= unknown, "lost, and nobody was told"


async def _reached(done: set[int], target: int) -> bool:
    return len(done) >= target
