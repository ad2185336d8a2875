"""A stand-in for one SmartEmailing account (API v3), as strict and as odd as the vendor, which the fact sheet tells of.

What it holds is in ``twin_account.py``; its calls are in ``twin_rest.py``, ``twin_setup.py``, ``twin_sends.py``, ``twin_hooks.py``;
its scenarios in ``twin_scenarios.py``. What the vendor does not publish can be turned in ``habits``.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from esplanade import Clock, Origin, Secret
from esplanade.testing import Call, Fault, Furnishing, Twin

from .settings import (
    BUILT_IN,
    BasicAuth,
    Sender,
    SmartEmailingAudience,
    SmartEmailingConsent,
    SmartEmailingSettings,
    SmartEmailingTrigger,
)
from .twin_account import Account
from .twin_gate import Gate
from .twin_habits import Habits
from .twin_hooks import Hook, HookApi
from .twin_import import Importer
from .twin_rest import RestApi
from .twin_scenarios import SAMPLES, Event, Scenarios, SendEmail, Webhook
from .twin_sends import SendApi
from .twin_setup import SetupApi

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .twin_records import Contact, Question
    from .twin_side import SmartEmailingSide


class SmartEmailingTwin(Twin[SmartEmailingSettings]):
    """One account. What happens in it is told to registered web-hooks, and to scenarios that somebody set up."""

    name: ClassVar[str] = "smartemailing"

    def __init__(
        self, settings: SmartEmailingSettings, *, clock: Clock | None = None, faults: Iterable[Fault] = ()
    ) -> None:
        super().__init__(settings, clock=clock, faults=faults)
        self.habits = Habits()
        self.account = Account(self.clock.time, self.habits)
        self.gate = Gate(settings.username, settings.api_key.reveal(), self.habits, self.clock.time)
        self.importer = Importer(self.account)
        self.scenarios = Scenarios(self.account, self.habits, settings, self._send_scenario)
        self.rest = RestApi(self.account, self.gate, self.importer)
        self.sends = SendApi(self.account, self.gate, self.scenarios.happens)
        self.hooks = HookApi(self.account, self.gate, self._send_hook)
        self.calls_made = 0
        """How many calls to the hub, or to another URL on this machine, were sent off."""
        self.account.tell = self.hooks.tell
        self.account.joined = lambda contact, number: self.scenarios.happens(
            "added-to-list", contact, {"list_id": number}
        )

    # What the hub and its operators ask of a twin.

    @classmethod
    def demo_settings(cls) -> SmartEmailingSettings:
        return SmartEmailingSettings(
            username="demo@shop.example",
            api_key=Secret("demo-key-of-smartemailing"),
            sender=Sender(from_address="news@shop.example", sender_name="Shop", reply_to="help@shop.example"),
            webhook_shared_secret=Secret("demo-secret-of-webhooks"),
            basic_auth=BasicAuth(login="hub", password=Secret("demo-password-of-webhooks")),
        )

    def routes(self) -> Sequence[web.RouteDef]:
        calls = [
            *self.rest.calls(),
            *SetupApi(self.account, self.gate).calls(),
            *self.sends.calls(),
            *self.hooks.calls(),
        ]
        return [
            self.rest.open_route(),
            *self.gate.routes(calls),
            self.gate.rest(calls),
            web.post("/__twin__/confirm", self._door_confirm),
            web.post("/__twin__/unsubscribe", self._door_unsubscribe),
            web.post("/__twin__/fire", self._door_fire),
        ]

    def rewired(self, settings: SmartEmailingSettings) -> SmartEmailingSettings:
        return msgspec.structs.replace(settings, base_url=Origin(self.origin))

    def credentials(self) -> dict[str, Any]:
        settings, auth = self.settings, self.settings.basic_auth
        return {
            "username": settings.username,
            "api_key": settings.api_key.reveal(),
            "webhook_shared_secret": settings.webhook_shared_secret.reveal() or None,
            "basic_auth": None if auth is None else {"login": auth.login, "password": auth.password.reveal()},
        }

    def furnish(self, furnishing: Furnishing) -> None:
        """Custom fields that are mapped, lists, purposes, e-mails, and a scenario for each event; each e-mail it sends is new."""
        account = self.account
        for name in furnishing.fields:
            if name not in BUILT_IN and account.field_named(name) is None:
                account.add_field(name)
        for purpose, consent in furnishing.consents.items():
            if isinstance(consent, SmartEmailingConsent):
                self._furnish_list(consent.list, purpose)
                if consent.purpose is not None and consent.purpose not in account.purposes:
                    account.add_purpose(purpose, number=consent.purpose)
                asking = consent.double_opt_in
                if asking is not None and asking.email_id not in account.emails:
                    account.add_email(f"Confirm {purpose}", asking.email_id, html="<a href='{{confirmlink}}'>Yes</a>")
        for name, audience in furnishing.audiences.items():
            if isinstance(audience, SmartEmailingAudience) and audience.list is not None:
                self._furnish_list(audience.list, name)
        self._furnish_triggers(
            {name: each for name, each in furnishing.triggers.items() if isinstance(each, SmartEmailingTrigger)}
        )

    def _furnish_list(self, number: int, name: str) -> None:
        if number not in self.account.lists:
            self.account.add_list(name, number)

    def _furnish_triggers(self, triggers: Mapping[str, SmartEmailingTrigger]) -> None:
        for name, each in triggers.items():
            if each.email_id is not None and each.email_id not in self.account.emails:
                self.account.add_email(name, each.email_id)
        heard = {each.event for each in self.scenarios.scenarios}
        for name, each in triggers.items():
            if each.event is not None and each.event not in heard:
                self.scenarios.add(each.event, SendEmail(email_id=self.account.add_email(name).id))

    def side(self, furnishing: Furnishing) -> SmartEmailingSide:
        from .twin_side import SmartEmailingSide

        return SmartEmailingSide(self, furnishing)

    def snapshot(self) -> dict[str, Any]:
        """Contacts by address with names in place of the ids of custom fields and options, and what else the account holds."""
        account = self.account
        contacts = sorted(account.contacts.values(), key=lambda each: each.emailaddress)
        return {
            "contacts": {each.emailaddress: self._held(each) for each in contacts},
            "lists": {str(each.id): each.name for each in account.lists.values()},
            "customfields": {each.name: each.type for each in account.fields.values()},
            "mails": list(account.mails),
            "events": list(self.sends.events),
            "asked": [email for email, _ in account.asked],
            "waiting": sorted(each.email for each in account.questions.values()),
            "webhooks": [f"{each.event} {each.url}" for each in self.hooks.hooks.values()],
        }

    def _held(self, contact: Contact) -> dict[str, Any]:
        mine = self.account.connections_of(contact)
        return {
            "id": contact.id,
            "fields": dict(sorted(self.fields_of(contact).items())),
            "lists": {str(number): each.status for number, each in sorted(contact.lists.items())},
            "purposes": [each.purpose_id for each in mine],
            "blacklisted": contact.blacklisted,
            "hardbounced": contact.hardbounced,
        }

    def fields_of(self, contact: Contact) -> dict[str, str]:
        """A contact's own keys, and its custom fields by their names, with the names of options."""
        account, values = self.account, self.scenarios.values(contact, {})
        named = {account.fields[key].name: values[f"{self.habits.custom_tag}{key}"] for key in contact.custom}
        return {**named, **contact.values}

    # What people do.

    def waiting(self, email: str) -> list[Question]:
        """The confirmation mails to an address that still can be answered, the oldest first."""
        now = self.clock.time()
        return [
            each
            for each in self.account.questions.values()
            if each.email.lower() == email.lower() and (each.valid_to is None or each.valid_to > now)
        ]

    def click_confirmation(self, email: str) -> bool:
        """The person clicks in every confirmation mail; False when there is none."""
        found = self.waiting(email)
        for each in found:
            self.importer.confirm(each.id)
        return bool(found)

    def unsubscribe(self, email: str, number: int | None = None) -> bool:
        """The person clicks "unsubscribe" in a mail to a list, or in one to all; False when there is no such contact."""
        contact = self.account.find(email)
        if contact is None:
            return False
        with self.account.changing(contact):
            for each in [number] if number is not None else list(contact.lists):
                self.account.subscribe(contact, each, "unsubscribed")
        return True

    def bounce(self, email: str) -> None:
        """Mail to a contact comes back for good; it stays on its lists, as the per-list pulls show (section 5)."""
        contact = self._contact(email)
        with self.account.changing(contact):
            contact.hardbounced = 1
        self.account.tell("delivery_status", contact)

    def blacklist(self, email: str) -> None:
        """Somebody blacklists a contact: it is unsubscribed from all lists, too."""
        contact = self._contact(email)
        with self.account.changing(contact):
            self.account.blacklist(contact)

    def happens(self, event: str, email: str, data: Mapping[str, Any] | None = None) -> None:
        """Something happens to a contact, and the scenarios that listen for it run. An open and a click leave their mark."""
        contact = self._contact(email)
        if event in {"opened", "clicked"}:
            contact.last_opened = self.clock.time()
            contact.last_clicked = self.clock.time() if event == "clicked" else contact.last_clicked
            for mail in [each for each in self.account.mails if each["contact_id"] == contact.id][-1:]:
                mail["opened"], mail["clicked"] = True, mail["clicked"] or event == "clicked"
        self.scenarios.happens(event, contact, data or {})

    def new_day(self) -> None:
        """Scenarios on dates run for everybody whose birthday, or date in a custom field, is today."""
        today = datetime.fromtimestamp(self.clock.time(), self.account.zone).strftime("%m-%d")
        dates = [each for each in self.account.fields.values() if each.type == "date"]
        for contact in list(self.account.contacts.values()):
            if contact.values.get("birthday", "")[5:10] == today:
                self.scenarios.happens("birthday", contact, {"date": contact.values["birthday"]})
            for each in dates:
                held = contact.custom.get(each.id)
                if isinstance(held, str) and held[5:10] == today:
                    self.scenarios.happens("date-field", contact, {"field": each.name, "date": held[:10]})

    # Calls to the hub.

    def fire(
        self, event: Event, email: str, data: Mapping[str, Any] | None = None, webhook: Webhook | None = None
    ) -> Call:
        """Make the call of a scenario's webhook for an event of the guide, and return it as it was made.

        Without ``data`` it tells what ``SAMPLES`` has; without ``webhook`` it is the recommended one, to the hub's URL. Whatever
        can be customised is: ``self.webhook("clicked", content_type="text/xml", headers={...})``, or ``Webhook(url=..., ...)``.
        """
        webhook = webhook or self.webhook(event)
        url, call = self.scenarios.call(webhook, self._contact(email), SAMPLES[event] if data is None else data)
        self._send_scenario(event, url, call)
        return call

    def webhook(self, event: Event, **more: Any) -> Webhook:
        """The recommended webhook for an event, to the hub's URL; keywords are those of ``Scenarios.webhook``."""
        if self.hook_url is None:
            raise RuntimeError("twin smartemailing: no hook_url to call")
        return self.scenarios.webhook(event, self.hook_url, **more)

    def _send_scenario(self, event: str, url: str, call: Call) -> None:
        self._deliver(url, call)

    def _send_hook(self, hook: Hook, call: Call) -> None:
        self._deliver(hook.url, call)

    def _deliver(self, url: str, call: Call) -> None:
        """Send in the background until it is taken; what is not on this machine is called by nobody."""
        if urlsplit(url).hostname == "127.0.0.1":
            self.calls_made += 1
            self.emit(call.body, call.headers, call.method, url=url)

    async def send(
        self, body: bytes, headers: dict[str, str] | None = None, method: str = "POST", *, url: str | None = None
    ) -> int:
        """Send a call once. Of a registered web-hook it is counted what came of it; what is left for one that was switched off
        is dropped."""
        mine = [each for each in self.hooks.hooks.values() if each.url == url]
        if mine and not any(each.active for each in mine):
            return 200
        status: int | None = None
        try:
            status = await super().send(body, headers, method, url=url)
            return status
        finally:
            for each in mine:
                self.hooks.answered(each, status)

    def _contact(self, email: str) -> Contact:
        found = self.account.find(email)
        if found is None:
            raise LookupError(f"there is no contact {email}")
        return found

    # Doors that no vendor has.

    async def _door_confirm(self, request: web.Request) -> web.Response:
        return web.Response(status=204 if self.click_confirmation((await request.json())["email"]) else 404)

    async def _door_unsubscribe(self, request: web.Request) -> web.Response:
        said = await request.json()
        return web.Response(status=204 if self.unsubscribe(said["email"], said.get("list")) else 404)

    async def _door_fire(self, request: web.Request) -> web.Response:
        said = await request.json()
        if said["event"] not in SAMPLES or self.account.find(said["email"]) is None or self.hook_url is None:
            return web.Response(status=404)
        self.fire(said["event"], said["email"], said.get("data"))
        return web.Response(status=204)
