"""The referral round trip, driven by the guide's own payloads: sign-up out, link, referral and reward back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.e2e.processes import Running, at_rest, free_port, get, post, running_twin, start_hub, until, write_config

PAYLOADS = Path(__file__).parents[1] / "data" / "sparkloop"


class World:
    """A hub, its twins, and the doors between them."""

    def __init__(self, hub: Running, twins: dict[str, Running], hook: str) -> None:
        self.hub = hub
        self.twins = twins
        self.hook = hook

    async def snapshot(self, name: str) -> Any:
        return (await get(f"{self.twins[name].url}/__twin__/snapshot"))[1]

    async def rest(self) -> None:
        await until(lambda: at_rest(self.hub))

    async def sparkloop_says(self, name: str, token: str = "tok_demo") -> int:
        body = (PAYLOADS / f"{name}.json").read_bytes()
        headers = {"SparkLoop-Token": token, "Content-Type": "application/json"}
        async with aiohttp.ClientSession() as session, session.post(self.hook, data=body, headers=headers) as answer:
            assert await answer.read() == b"" or answer.status != 200
            return answer.status


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        twins = {
            name: await stack.enter_async_context(running_twin(name)) for name in ("webpower", "sparkloop", "webhook")
        }
        port = free_port()
        hub = await start_hub(write_config(tmp_path, port, twins), port)
        stack.push_async_callback(hub.stop)
        _, body = await get(f"{hub.url}/v1/connectors")
        hook = next(row["hook_url"] for row in body["connectors"] if row["name"] == "sparkloop")
        hook = hook.replace(hook.split("/hooks/")[0], hub.url)
        yield World(hub, twins, hook)


async def sign_up(world: World, email: str, firstname: str) -> None:
    await post(f"{world.hub.url}/v1/profiles", {"email": email, "fields": {"firstname": firstname}})
    grant = {"email": email, "purpose": "newsletter", "state": "granted", "method": "double", "evidence": {"form": "x"}}
    assert (await post(f"{world.hub.url}/v1/consents", grant))[0] == 202
    await world.rest()


async def test_a_referral_goes_all_the_way_round_and_nothing_goes_back_to_sparkloop(world: World) -> None:
    await sign_up(world, "john.smith@email.com", "John")
    told = (await world.snapshot("sparkloop"))["received"]
    assert [each["type"] for each in told] == ["subscribe"]
    assert told[0]["subscriber"].keys() == json.loads((PAYLOADS / "subscribe.json").read_bytes())[
        "subscriber"
    ].keys() - {"id", "name"}

    for payload in ("sync_subscriber", "new_referral", "reward_unlocked"):
        assert await world.sparkloop_says(payload) == 200
    await world.rest()

    contacts = (await world.snapshot("webpower"))["contacts"]
    referrer, friend = contacts["john.smith@email.com"], contacts["john.doe@email.com"]
    assert referrer["fields"]["RH_TOTREF"] == "4"
    assert referrer["fields"]["RH_REFLINK"] == "https://mywebsite.com?rh_ref=f9464199"
    assert referrer["fields"]["RH_LASTREWARD"] == "reward_38sf38hd"
    assert friend["fields"]["RH_LASTREWARD"] == "reward_cdebf4f013"
    assert friend["fields"]["firstname"] == "John"
    assert friend["groups"] == [], "a webhook says nothing of consent"

    assert (await world.snapshot("sparkloop"))["received"] == told, "its own webhook is not echoed back to it"
    cdp = await world.snapshot("webhook")
    assert cdp["people"]["john.doe@email.com"]["fields"]["rh_lastreward"] == "reward_cdebf4f013"
    assert sorted(each["trigger"] for each in cdp["triggers"]) == ["new-referral", "reward-unlocked"]


async def test_a_webhook_repeated_for_a_month_counts_once(world: World) -> None:
    for _ in range(3):
        assert await world.sparkloop_says("reward_unlocked") == 200
    await world.rest()
    assert len((await world.snapshot("webhook"))["triggers"]) == 1


async def test_a_forged_webhook_is_refused_and_changes_nothing(world: World) -> None:
    assert await world.sparkloop_says("sync_subscriber", token="tok_guessed") == 401
    await world.rest()
    assert (await world.snapshot("webpower"))["contacts"] == {}


async def test_a_change_of_address_and_an_opt_out_reach_sparkloop_as_the_guide_writes_them(world: World) -> None:
    await sign_up(world, "john.doe.previous@email.com", "John")
    moved = {"email": "john.doe@email.com", "previous_email": "john.doe.previous@email.com"}
    await post(f"{world.hub.url}/v1/profiles", moved)
    await world.rest()
    await post(
        f"{world.hub.url}/v1/consents", {"email": "john.doe@email.com", "purpose": "newsletter", "state": "denied"}
    )
    await world.rest()
    update, unsubscribe = (await world.snapshot("sparkloop"))["received"][-2:]
    wanted = json.loads((PAYLOADS / "update.json").read_bytes())
    assert update["type"] == "update"
    assert update["subscriber"].items() >= {**moved, "first_name": "John"}.items()
    assert update["subscriber"].keys() <= wanted["subscriber"].keys()
    assert unsubscribe == json.loads((PAYLOADS / "unsubscribe.json").read_bytes())
    contact = (await world.snapshot("webpower"))["contacts"]
    assert contact["john.doe@email.com"]["groups"] == []
    assert "john.doe.previous@email.com" not in contact
