"""One hub that runs with one plugin and its twin: what a check says to it, and what it looks at."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from yarl import URL

from esplanade.model import Kind, Value
from esplanade.records import Delivery, DeliveryFilter, Person, Remote
from esplanade.runtime.connection import furnishing_of
from esplanade.testing.faults import Action, Fault
from esplanade.testing.side import Call, Contact, VendorSide

from .check import CheckFailed
from .values import ORDINARY

if TYPE_CHECKING:
    from esplanade.runtime import Hub
    from esplanade.testing import FakeClock, Twin
    from esplanade.testing.twin import Recorded
    from esplanade.web.port import PullSummary

    from .trial import Trial

NAME = "tried"
"""The connector's name."""
REST_S = 20.0
"""So long, in real time, a hub and its twin may take until neither has anything to do."""


class Rig:
    """A hub, its plugin's twin, and the people at the vendor."""

    def __init__(self, trial: Trial, hub: Hub, twin: Twin[Any], clock: FakeClock) -> None:
        self.trial = trial
        self.hub = hub
        self.twin = twin
        self.clock = clock
        self.config = hub.config.connectors[NAME]
        self.side: VendorSide[Any] = twin.side(furnishing_of(self.config))
        auth = hub.connections[NAME].plugin.endpoint().auth
        self._token_path = urlsplit(getattr(auth, "token_url", "")).path
        self._line: aiohttp.ClientSession | None = None

    # What is said to the hub, as the shop says it.

    async def say(self, kind: Kind, *events: dict[str, Any], backfill: bool = False) -> None:
        """Accept events. Returns once they are on disk; see ``at_rest``."""
        raws = [json.dumps(event).encode() for event in events]
        admission = self.hub.intake.admit(
            "shop", kind, raws, may=frozenset({"profile", "consent", "trigger"}), backfill=backfill, imported=False
        )
        if admission.rejected:
            raise CheckFailed(f"the hub refused an event: {admission.rejected[0]}")
        await self.hub.intake.accept(admission.entries)

    async def profile(self, email: str, *, fields: dict[str, Any] | None = None, **more: Any) -> None:
        """A profile as the shop tells it, and everything that follows from it; by default with one field of text."""
        await self.say(
            "profile", {"email": email, "fields": {self.trial.text: "Delft"} if fields is None else fields, **more}
        )
        await self.at_rest()

    async def welcome(self, email: str, **more: Any) -> None:
        """Grant every purpose, then tell a profile: so every vendor has a contact, also one that takes subscribers only."""
        for purpose in self.trial.purposes:
            await self.consent(email, "granted", purpose)
        await self.profile(email, **more)

    def ordinary(self, which: int = 0) -> dict[str, Value]:
        """A value for every field of the sample that can be written; ``which``: the first or the second one."""
        read_only, types = self.hub.connections[NAME].traits.read_only, self.trial.quality.types
        mapped = [name for name, vendor in self.trial.fields.items() if vendor not in read_only]
        return {name: ORDINARY[types.get(name, "text")][which] for name in mapped}

    async def consent(self, email: str, state: str, purpose: str | None = None, **more: Any) -> None:
        """A consent as the shop tells it, and everything that follows from it. A grant carries evidence unless told otherwise."""
        if state == "granted":
            more = {"method": "double", "evidence": {"form": "footer"}, **more}
        event = {"email": email, "purpose": purpose or self.trial.purposes[0], "state": state, **more}
        await self.say("consent", {key: value for key, value in event.items() if value is not None})
        await self.at_rest()

    async def trigger(self, email: str, trigger_id: str, trigger: str | None = None, **more: Any) -> None:
        """A trigger as the shop tells it, and everything that follows from it."""
        event = {"email": email, "trigger": trigger or self.trial.triggers[0], "trigger_id": trigger_id, **more}
        await self.say("trigger", event)
        await self.at_rest()

    # Time.

    async def at_rest(self) -> None:
        """Return once neither the hub nor the vendor has anything more to say to the other just now."""
        try:
            async with asyncio.timeout(REST_S):
                while True:
                    twins = self._twins()
                    before = [each.request_count for each in twins]
                    await self.hub.still()
                    for each in twins:
                        await each.settled()
                    await self.hub.still()
                    if [each.request_count for each in twins] == before:
                        return
        except TimeoutError:
            raise CheckFailed(f"hub and vendor did not come to rest within {REST_S:g} s") from None

    def _twins(self) -> list[Twin[Any]]:
        """This one, and those of connectors beside it."""
        others = [each.twin for each in self.hub.connections.values() if each.twin is not None]
        return [self.twin, *(each for each in others if each is not self.twin)]

    async def advance(self, seconds: float) -> None:
        """Let time pass, and what is due by then be done."""
        await self.clock.advance(seconds)
        await self.at_rest()

    async def later(self, seconds: float) -> None:
        """Go on after so long at once: what was due meanwhile is done then. Of hours and days it is far faster than ``advance``."""
        self.clock.set(self.clock.time() + seconds)
        await self.advance(1.0)

    async def until(self, holds: Any, *, within_s: float, step_s: float = 60.0) -> bool:
        """Let time pass step by step until ``holds()``, a plain or coroutine function, is true; False when it never is."""
        passed = 0.0
        while True:
            found = holds()
            if await found if hasattr(found, "__await__") else found:
                return True
            if passed >= within_s:
                return False
            await self.advance(step_s)
            passed += step_s

    async def pull(self) -> PullSummary:
        """Pull now, and everything that follows from it."""
        result = await self.hub.pull(NAME)
        await self.at_rest()
        return result

    async def hear(self) -> None:
        """Take in whatever the vendor has to tell: what it calls about by itself, what a pull finds, and who has confirmed."""
        await self.advance(1.0)  # so that what is read now was surely read after the last acknowledgement
        if "pull" in self.trial.methods:
            await self.pull()
        connection = self.hub.connections[NAME]
        if connection.puller is not None and connection.traits.can_fetch:
            await connection.puller.reread_pending()
            await self.at_rest()

    # What the vendor says to the hub.

    async def post(self, call: Call, *, url: str | None = None) -> int:
        """One call to the hub's URL, or to another, as the vendor makes it; returns the status of the answer."""
        if self._line is None:
            many = aiohttp.TCPConnector(limit=0)
            self._line = aiohttp.ClientSession(connector=many, timeout=aiohttp.ClientTimeout(30))
        where = f"{url or self.twin.hook_url}{'?' if call.query else ''}{call.query}"
        async with self._line.request(
            call.method, URL(where, encoded=True), headers=call.headers, data=call.body or None
        ) as answer:
            await answer.read()
            return answer.status

    @contextmanager
    def overhear(self) -> Iterator[list[Call]]:
        """Keep the vendor's calls back, and fill a list with them, until the end of this."""
        calls: list[Call] = []
        self.twin.outbox = []
        try:
            yield calls
        finally:
            calls += [Call(method=each.method, headers=each.headers, body=each.body) for each in self.twin.outbox]
            self.twin.outbox = None

    async def webhooks(self) -> list[Delivery]:
        """The vendor's calls that the hub took, in the order in which they came."""
        return await self.deliveries(kind="webhook")

    async def journalled(self) -> tuple[int, int]:
        """How far the journal goes: it grows with whatever the hub takes, and with nothing else."""
        return await self.hub.store.run(lambda unit: unit.journal_end())

    async def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            await self._line.close()

    def lacks(self, rule: str, what: str) -> bool:
        """Whether the vendor's side has no such thing, which ``declared`` of the plugin's quality.yaml must explain."""
        if self.side.offers(what):
            return False
        if what not in self.trial.declared(rule):
            raise CheckFailed(
                f"the twin's side has no {what}(); say why under declared of quality.yaml, as `{rule} {what}`"
            )
        return True

    # What goes wrong at the vendor.

    def spoil_writes(self, action: Action, **more: Any) -> Fault:
        """Let the next request that changes something go wrong; keywords are those of a Fault."""
        token = f"(?!{re.escape(self._token_path)}\\b)" if self._token_path else ""
        fault = Fault(match=f"^(?!GET )\\S+ {token}", action=action, **more)
        self.twin.faults.append(fault)
        return fault

    # What the hub knows.

    async def person(self, email: str) -> Person | None:
        """The person, by an address as it is compared."""
        return await self.hub.store.read(lambda reader: reader.person_by_email(email.lower()))

    async def remote(self, email: str) -> Remote | None:
        """What the hub last knew the vendor to hold for a person."""
        person = await self.person(email)
        if person is None:
            return None
        return await self.hub.store.read(lambda reader: reader.remote(person.id, NAME))

    async def state_of(self, email: str, purpose: str | None = None) -> str | None:
        """A person's state of consent; None where none is recorded."""
        person = await self.person(email)
        held = person.consents.get(purpose or self.trial.purposes[0]) if person is not None else None
        return None if held is None else held.state

    async def deliveries(self, **wanted: Any) -> list[Delivery]:
        """What leaves, or left, for the vendor: by ``kind``, ``states``, ``reason``."""
        wanted.setdefault("connector", NAME)
        found = await self.hub.store.read(lambda reader: reader.deliveries(DeliveryFilter(**wanted), limit=10_000))
        return [delivery for delivery, *_rest in found]

    async def reasons(self, email: str) -> list[str | None]:
        """Why things were not sent to a person, or not taken over, in order."""
        person = await self.person(email)
        if person is None:
            return []
        notes = await self.hub.store.read(lambda reader: reader.timeline(person.id))
        return [note.reason for note in notes if note.what in {"not-sent", "failed"}]

    async def shown(self, path: str) -> str:
        """What an operator is shown at a path of the hub's API, such as ``/v1/connectors``."""
        async with aiohttp.ClientSession() as client, client.get(f"{self.hub.url}{path}") as answer:
            return await answer.text()

    # What the vendor saw and holds.

    def held(self, email: str) -> Contact:
        """The vendor's contact; a failure of the check where it has none."""
        found = self.side.find(email)
        if found is None:
            raise CheckFailed(f"the vendor has no contact for {email}")
        return found

    def requests(self) -> list[Recorded]:
        """The requests that the twin took since this was asked last."""
        found = list(self.twin.requests)
        self.twin.requests.clear()
        return found

    def writes(self) -> list[Recorded]:
        """Those of ``requests`` that change something: no GET, and nothing that only fetches a token."""
        return [each for each in self.requests() if self.is_write(each)]

    def is_write(self, request: Recorded) -> bool:
        """Whether a request changes something at the vendor: it is no GET, and fetches no token."""
        return request.method != "GET" and request.path != self._token_path

    @property
    def token_path(self) -> str:
        """Where a token is fetched; empty where the vendor gives none."""
        return self._token_path

    @property
    def own_calls(self) -> str:
        """What a fault's ``match`` is to be so that it hits calls, and not the fetching of a token."""
        return rf"^\S+ (?!{re.escape(self._token_path)}(\?|$))" if self._token_path else ""

    def snapshot(self) -> Any:
        """Everything that the vendor holds, as plain values that do not change any more."""
        return json.loads(msgspec.json.encode(self.twin.snapshot()))
