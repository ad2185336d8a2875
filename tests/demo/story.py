"""What happens in the demo: an import, a busy day at the shop, people clicking, referring and leaving, and the nightly pull."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
from tests.demo.expect import Expected

from esplanade.runtime import Hub
from esplanade.testing import Fault

ROOT = Path(__file__).parents[2]
PEOPLE = ROOT / "tests" / "data" / "people.csv"
BATCH = 25

Step = Callable[[str], None]


class Story:
    """Drives a running hub from outside, as shops, vendors and operators do, and tells Expected of each step."""

    def __init__(self, hub: Hub, config: Path, session: aiohttp.ClientSession, say: Step) -> None:
        self.hub = hub
        self.expected = Expected()
        self.sent = 0
        self.webpower: Any = hub.connections["webpower"].twin
        self.smartemailing: Any = hub.connections["smartemailing"].twin
        self.sparkloop: Any = hub.connections["sparkloop"].twin
        self.cdp: Any = hub.connections["cdp"].twin
        self._config = config
        self._session = session
        self._say = say
        self._rng = random.Random(20261122)

    async def play(self) -> None:
        """From the import to the second pull. Raises AssertionError where a promise is broken on the way."""
        await self._import()
        await self._profiles()
        await self._consents()
        await self._confirmations()
        await self._renames()
        await self._triggers()
        await self._referrals()
        await self._birthdays()
        await self._at_the_vendors()
        await self._second_pull()

    async def _import(self) -> None:
        self.expected.read(PEOPLE)
        self._say(f"importing {len(self.expected.people)} people from {PEOPLE.relative_to(ROOT)}")
        command = [
            sys.executable,
            "-m",
            "esplanade.cli",
            "--config",
            str(self._config),
            "--json",
            "import",
            str(PEOPLE),
        ]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, env=dict(os.environ)
        )
        _, talk = await process.communicate()
        assert process.returncode == 0, talk.decode()
        await self._settle()

    async def _profiles(self) -> None:
        people = self._rng.sample(self.expected.people, 600)
        self._say(f"{len(people)} live changes, while Webpower stumbles")
        put = "^PUT .*/contact/"
        self.webpower.faults += [  # spread out, never enough in a row to open the breaker
            *(
                Fault(match=put, status=503, headers={"Retry-After": "0"}, times=2, skip=10 + 40 * at)
                for at in range(6)
            ),
            *(Fault(match=put, action="after", status=500, skip=30 + 80 * at) for at in range(3)),
            *(Fault(match=put, action="cut-before", skip=60 + 120 * at) for at in range(2)),
        ]
        events = []
        for one in people:
            fields: dict[str, Any] = {"city": self._rng.choice(["Utrecht", "Brno", "Πάτρα", "Den Haag"])}
            if self._rng.random() < 0.3:
                fields["firstname"] = self._rng.choice(["Zoë", "Jiří", "Ελένη", "Bram"])
            if self._rng.random() < 0.1:
                fields["phone"] = None
            events.append({"email": one.email, "fields": fields, "event_id": f"profile-{one.email}"})
            self.expected.profile(one, fields)
        await self._post("profiles", events)
        await self._post("profiles", events[:50])  # a shop that repeats itself
        await self._settle()

    async def _consents(self) -> None:
        undecided = [one for one in self.expected.people if "newsletter" not in one.consents]
        granted = [one for one in self.expected.people if one.consents.get("newsletter") == "granted"]
        denied = [one for one in self.expected.people if one.consents.get("newsletter") == "denied"]
        leaving, confirmed = self._rng.sample(granted, 120), self._rng.sample(denied, 40) + undecided[:60]
        asked, unproven = undecided[60:140], [one for one in denied if one not in confirmed][:20]
        self._say(f"{len(leaving)} opt-outs, {len(confirmed)} confirmed grants, {len(asked)} grants to confirm")
        proof = {"ip": "192.0.2.1", "form": "footer"}
        grant = {"purpose": "newsletter", "state": "granted"}
        await self._post("consents", ({"email": one.email, **grant, "state": "denied"} for one in leaving))
        await self._post(
            "consents", ({"email": one.email, **grant, "method": "double", "evidence": proof} for one in confirmed)
        )
        await self._post("consents", ({"email": one.email, **grant} for one in [*asked, *unproven]))
        for one in leaving:
            self.expected.consent(one, "denied", confirmed=False)
        for one in confirmed:
            self.expected.consent(one, "granted", confirmed=True)
        for one in asked:
            self.expected.consent(one, "granted", confirmed=False)
        await self._settle()

    async def _confirmations(self) -> None:
        asked = [one for one in self.expected.people if one.pending]
        clicked = asked[: len(asked) // 2]
        self._say(f"{len(clicked)} of {len(asked)} click in Webpower's confirmation mail; a pull finds out")
        for one in clicked:
            assert self.webpower.click_confirmation(one.email), f"{one.email} was not asked"
            self.expected.confirm(one)
        await self._pull()
        await self._settle()

    async def _renames(self) -> None:
        people = self._rng.sample(self.expected.people, 40)
        self._say(f"{len(people)} people change their address")
        events = []
        for number, one in enumerate(people):
            email = f"moved.{number}@new.example"
            events.append({"email": email, "previous_email": one.email})
            self.expected.rename(one, email)
        await self._post("profiles", events)
        await self._settle()

    async def _triggers(self) -> None:
        people = self._rng.sample(self.expected.people, 300)
        self._say(f"{len(people)} triggers with products, some twice")
        items = [{"id": "SKU-1", "title": "Lamp", "price": 24.5, "currency": "EUR", "url": "https://shop.example/p/1"}]
        events = []
        for number, one in enumerate(people):
            name = "abandoned-cart" if number % 3 else "order-shipped"
            event = {
                "email": one.email,
                "trigger": name,
                "trigger_id": f"t-{number}",
                "data": {"cart_id": f"C-{number}"},
            }
            events.append(event | {"products": {"set": "last-viewed", "items": items}})
            self.expected.trigger(one, name, f"t-{number}")
        await self._post("triggers", events)
        await self._post("triggers", events[:60])
        await self._settle()

    async def _referrals(self) -> None:
        members = [one for one in self.expected.people if one.active]
        referrers = self._rng.sample(members, 30)
        self._say(f"{len(referrers)} referrals and 10 rewards at SparkLoop")
        for number, one in enumerate(referrers):
            email = f"friend.{number}@friends.example"
            self.sparkloop.refer(one.sparkloop, email, name="Friend Φίλος")
            self.expected.befriended(one, email)
        await self._settle()
        for one in referrers[:10]:
            self.sparkloop.unlock_reward(one.sparkloop, "reward_demo9", "Sticker pack", 1, "THANKS10")
            self.expected.rewarded(one, "reward_demo9", "THANKS10")
        await self._settle()

    async def _birthdays(self) -> None:
        people = self._rng.sample(self.expected.people, 80)
        self._say(
            f"{len(people)} birthdays at SmartEmailing; whoever takes the present clicks, and its scenario calls back"
        )
        events = [{"email": one.email, "trigger": "birthday", "trigger_id": f"b-{one.email}"} for one in people]
        for one in people:
            self.expected.birthday(one, f"b-{one.email}")
        await self._post("triggers", (event | {"data": {"reward": "Free shipping"}} for event in events))
        await self._settle()
        mailed = {email for email, _ in self.expected.presents}
        for number, one in enumerate([one for one in people if one.email in mailed][:20]):
            self.smartemailing.fire("reward", one.email, {"reward": "Free shipping", "code": f"THANKS-{number}"})
            self.expected.took_present(one)
        await self._settle()

    async def _at_the_vendors(self) -> None:
        members = [one for one in self.expected.people if one.consents.get("newsletter") == "granted"]
        going = self._rng.sample(members, 14)
        leaving, unsubscribing = going[:8], going[8:]
        self._say(f"{len(unsubscribing)} people unsubscribe at SmartEmailing, whose web-hooks tell of it at once")
        for one in unsubscribing:
            self.smartemailing.unsubscribe(one.email, 7)
            self.expected.opt_out(one)
        await self._settle()
        moving = self._rng.sample([one for one in self.expected.people if one not in leaving], 25)
        self._say(
            f"{len(leaving)} people leave and {len(moving)} are edited at Webpower; the nightly pull brings it home"
        )
        for one in leaving:
            self.webpower.account.unsubscribe(self.webpower.account.find(one.email), {135})
            self.expected.opt_out(one)
        for one in moving:
            self.webpower.account.find(one.email).custom["city"] = "Bergen op Zoom"
            one.fields["city"] = "Bergen op Zoom"
            self.expected.told(one)["fields"]["city"] = "Bergen op Zoom"
        for vendor in ("webpower", "smartemailing"):
            await self._pull(vendor)
            await self._settle()

    async def _second_pull(self) -> None:
        self._say("a second pull, which must find nothing and send nothing")
        before = self.sparkloop.request_count, self.cdp.request_count, len(self.webpower.account.mails)
        for vendor in ("webpower", "smartemailing"):
            answer = await self._pull(vendor)
            await self._settle()
            assert answer["changed"] == 0, f"the second pull of {vendor} found {answer['changed']} changes"
        after = self.sparkloop.request_count, self.cdp.request_count, len(self.webpower.account.mails)
        assert before == after, f"the second pull caused calls: {before} -> {after}"

    async def _post(self, kind: str, events: Iterable[dict[str, Any]]) -> None:
        events = list(events)
        url = f"{self.hub.url}/v1/{kind}"
        for start in range(0, len(events), BATCH * 8):
            parts = [events[at : at + BATCH] for at in range(start, min(start + BATCH * 8, len(events)), BATCH)]
            await asyncio.gather(*(self._post_one(url, part) for part in parts))
        self.sent += len(events)

    async def _post_one(self, url: str, events: list[dict[str, Any]]) -> None:
        async with self._session.post(url, json=events) as answer:
            body = await answer.json()
            assert answer.status == 202, body
            assert body["accepted"] == len(events), body

    async def _pull(self, vendor: str = "webpower") -> dict[str, Any]:
        async with self._session.post(f"{self.hub.url}/v1/connectors/{vendor}/pull") as answer:
            assert answer.status == 200, await answer.text()
            return dict(await answer.json())

    async def _settle(self) -> None:
        """Wait until hub and twins are at rest, deliveries that are to be repeated included."""
        while True:
            twins = (self.cdp, self.sparkloop, self.webpower, self.smartemailing)
            before = sum(twin.request_count for twin in twins)
            for twin in twins[1:]:
                await twin.settled()
            await self.hub.settled()
            counts = await self.hub.store.read(lambda reader: reader.counts(self.hub.clock.time()))
            waiting = sum(lane.scheduled + lane.due + lane.in_flight for lane in counts.values())
            after = sum(twin.request_count for twin in twins)
            if not waiting and before == after:
                return
            if waiting:
                await asyncio.sleep(0.05)
