"""A plugin for a vendor with bulk calls, and its twin: small, and right, for the checks of what no first-party plugin has."""

from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from esplanade import (
    Connector,
    ConsentTarget,
    Endpoint,
    Manifest,
    Origin,
    Outcome,
    OutcomeUnknown,
    PermanentError,
    TriggerTarget,
    hookimpl,
)
from esplanade.conformance import Quality
from esplanade.testing import Contact, Mail, Twin, VendorSide

ITEMS, BYTES = 10, 100_000
REFUSED = "nobody@refused.example"
QUALITY = Quality(
    owner="The Esplanade authors",
    contact="https://bulk.example",
    sample={
        "settings": {},
        "fields": {"city": "town"},
        "consents": {"newsletter": {}},
        "triggers": {"cart": {}},
    },
)


class BulkSettings(Struct, frozen=True, kw_only=True):
    base_url: Origin = Origin("https://bulk.example")


class _BulkTwin(Twin[BulkSettings]):
    name = "bulk"

    def __init__(self, settings, **given):
        super().__init__(settings, **given)
        self.people: dict[str, dict[str, Any]] = {}
        self.mails: list[dict[str, Any]] = []

    def routes(self):
        return [web.post("/people", self._people), web.post("/mails", self._mails)]

    def rewired(self, settings):
        return msgspec.structs.replace(settings, base_url=Origin(self.origin))

    def side(self, furnishing):
        return _BulkSide(self, furnishing)

    def snapshot(self):
        return {"people": self.people, "mails": self.mails}

    async def _items(self, request):
        body = await request.read()
        items = msgspec.json.decode(body)
        if len(items) > ITEMS or len(body) > BYTES:
            raise web.HTTPRequestEntityTooLarge(BYTES, len(body))
        return items

    async def _people(self, request):
        return web.json_response([self._person(item) for item in await self._items(request)])

    def _person(self, item):
        if item["email"] == REFUSED:
            return {"error": "this address is not taken"}
        held = self.people.setdefault(item["email"], {"id": str(len(self.people) + 1), "town": "", "newsletter": None})
        held.update({key: value for key, value in item.items() if key != "email"})
        return {"id": held["id"]}

    async def _mails(self, request):
        answers = []
        for item in await self._items(request):
            answers.append({"error": "this address is not taken"} if item["to"] == REFUSED else {})
            if item["to"] != REFUSED and item["key"] not in {each["key"] for each in self.mails}:
                self.mails.append(item)
        return web.json_response(answers)


class _BulkSide(VendorSide[_BulkTwin]):
    def contacts(self):
        return [
            Contact(
                remote_id=held["id"],
                email=email,
                fields={"town": held["town"]} if held["town"] else {},
                consents={"newsletter": held["newsletter"]} if held["newsletter"] else {},
            )
            for email, held in self.twin.people.items()
        ]

    def remove(self, email):
        del self.twin.people[email]

    def mails(self):
        return [Mail(email=each["to"], trigger=each["trigger"], trigger_id=each["key"]) for each in self.twin.mails]

    def refused_address(self):
        return REFUSED


class Bulk(Connector[BulkSettings]):
    manifest = Manifest(title="Bulk", vendor_api="1", owner="me", homepage="https://bulk.example")
    Settings = BulkSettings
    Consent = ConsentTarget
    Trigger = TriggerTarget
    trigger_repeat = "safe"
    batch_items = ITEMS
    batch_bytes = BYTES - 20_000

    def endpoint(self):
        return Endpoint(base_url=self.settings.base_url)

    @classmethod
    def twin(cls):
        return _BulkTwin

    @hookimpl
    async def on_profile_batch(self, events, ctx):
        return await self.send("/people", [{"email": one.email, **one.desired} for one in events], ctx)

    @hookimpl
    async def on_consent_batch(self, events, ctx):
        return await self.send("/people", [{"email": one.email, one.purpose: one.state} for one in events], ctx)

    @hookimpl
    async def on_trigger_batch(self, events, ctx):
        body = [{"to": one.email, "key": one.trigger_id, "trigger": one.trigger, "data": one.data} for one in events]
        return await self.send("/mails", body, ctx)

    async def send(self, path, body, ctx):
        answer = await ctx.http.post(path, json=body, repeatable=True)
        said = answer.json()
        if not isinstance(said, list) or len(said) != len(body) or not all(isinstance(each, dict) for each in said):
            raise OutcomeUnknown("the vendor did not answer for each item")
        return [self.read(each) for each in said]

    def read(self, answer):
        return PermanentError(answer["error"]) if "error" in answer else Outcome(remote_id=answer.get("id"))
