"""A stand-in for one Copernica account, as strict and as odd as the vendor. Its REST calls are in ``twin_rest.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from esplanade import Clock, Origin, Secret
from esplanade.testing import Fault, Furnishing, Twin

from .mapping import places
from .settings import CopernicaConsent, CopernicaSettings, CopernicaTrigger
from .twin_account import Account, Event, MailEventType, Record, Template
from .twin_calls import FORM, KeyServer, Signer, callback_body, webhook_body
from .twin_fields import named
from .twin_gate import Gate, Habits, routes_of
from .twin_hooks import Callback, Hooks, Webhook
from .twin_rest import RestApi

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .twin_side import CopernicaSide


class CopernicaTwin(Twin[CopernicaSettings]):
    """One account with one database. What happens in it is told to the webhooks and callbacks that are registered."""

    name: ClassVar[str] = "copernica"

    def __init__(
        self, settings: CopernicaSettings, *, clock: Clock | None = None, faults: Iterable[Fault] = ()
    ) -> None:
        super().__init__(settings, clock=clock, faults=faults)
        self.habits = Habits()
        self.account = Account(self.clock.time, settings.database_id, settings.email_field)
        self.gate = Gate(settings.api_token.reveal(), self.habits, self.clock.time)
        self.rest = RestApi(self.account, self.gate)
        self.hooks = Hooks(self.account, self.gate)
        self.dns = KeyServer()
        self.signer = Signer(self.account.id, self.clock.time, self.dns)
        self.calls_made = 0
        """How many webhooks were sent off."""
        self.questions: list[str] = []
        """Addresses to which a follow-up on a pending value of consent mailed its question, in order."""
        self._asks_on: dict[str, str] = {}
        self.account.tell = self._tell

    # What the hub and its operators ask of a twin.

    @classmethod
    def demo_settings(cls) -> CopernicaSettings:
        return CopernicaSettings(api_token=Secret("demo-api-token"), database_id=31)

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            self.gate.route(),
            *self.rest.routes(),
            *self.hooks.routes(),
            *routes_of([("*", "/{tail:.*}", self.rest.invalid)], self.gate, "v1|v2|v3|v4"),
            web.post("/__twin__/sign-up", self._door_sign_up),
            web.post("/__twin__/edit", self._door_edit),
            web.post("/__twin__/unsubscribe", self._door_unsubscribe),
            web.post("/__twin__/mail-event", self._door_mail_event),
        ]

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, and have the keys of the signatures in a DNS server; returns the origin."""
        await self.dns.start()
        return await super().start(host, port)

    async def stop(self) -> None:
        await super().stop()
        self.dns.stop()

    def rewired(self, settings: CopernicaSettings) -> CopernicaSettings:
        """The same settings, pointed at this twin for calls, tokens and keys: those of the vendor would not fit its signatures."""
        return msgspec.structs.replace(
            settings,
            base_url=Origin(self.origin),
            auth_url=f"{self.origin}/authenticate",
            dns_server=self.dns.address,
            signature_keys={},
        )

    def credentials(self) -> dict[str, Any]:
        wired = self.rewired(self.settings)
        return {
            "api_token": wired.api_token.reveal(),
            "database_id": wired.database_id,
            "auth_url": wired.auth_url,
            "dns_server": wired.dns_server,
        }

    def furnish(self, furnishing: Furnishing) -> None:
        """Fields of the profile that are mapped or hold consent, templates and documents of triggers and confirmations.

        Collections and their fields are the hub's to make.
        """
        for name in places(furnishing.fields, self.settings).profile:
            self._furnish_field(name)
        for purpose, consent in furnishing.consents.items():
            if isinstance(consent, CopernicaConsent):
                values = [consent.granted, consent.denied, consent.unknown, consent.pending]
                self._furnish_field(consent.field, values)
                if consent.pending is not None:
                    self._asks_on[consent.field] = consent.pending
                self._furnish_mail(self.account.templates, consent.confirmation, f"Confirm {purpose}")
        for name, trigger in furnishing.triggers.items():
            if isinstance(trigger, CopernicaTrigger):
                self._furnish_mail(self.account.templates, trigger.template, name)
                self._furnish_mail(self.account.documents, trigger.document, name)

    def _furnish_field(self, name: str, choices: Sequence[str | None] = ()) -> None:
        table = self.account.database(self.settings.database_id)
        field = named(table.fields, name)
        if field is None:
            field = self.account.add_field(table, name, "select" if choices else "text")
        if field.type == "select":
            held = field.choices()
            field.value = "\n".join([*held, *(each for each in choices if each and each not in held)])

    def _furnish_mail(self, known: dict[int, Template], number: int | None, name: str) -> None:
        if number is not None:
            known.setdefault(number, Template(id=number, name=name, subject=name))

    def side(self, furnishing: Furnishing) -> CopernicaSide:
        from .twin_side import CopernicaSide

        return CopernicaSide(self, furnishing)

    def snapshot(self) -> dict[str, Any]:
        """Profiles by address (of several with one address, the later ones with their id), collections, hooks and mails."""
        account, profiles = self.account, dict[str, Any]()
        for each in account.profiles.values():
            if each.removed is None:
                email = account.email_of(each)
                profiles[f"{email} ({each.id})" if email in profiles else email] = self._held(each)
        return {
            "profiles": dict(sorted(profiles.items())),
            "collections": {each.name: [one.name for one in each.fields] for each in account.collections.values()},
            "webhooks": [msgspec.to_builtins(each) for each in self.webhooks],
            "callbacks": [msgspec.to_builtins(each) for each in self.callbacks],
            "mails": list(account.mails),
        }

    def _held(self, profile: Record) -> dict[str, Any]:
        below = {
            table.name: [_filled(each) for each in self.account.records(table, profile.id)]
            for table in self.account.collections.values()
            if table.database == profile.database
        }
        subprofiles = {name: rows for name, rows in below.items() if rows}
        held = {"id": profile.id, "fields": _filled(profile), "interests": list(profile.interests)}
        return {**held, "subprofiles": subprofiles}

    # What tests look at and turn.

    @property
    def mails(self) -> list[dict[str, Any]]:
        """Every mail sent, in order: mailing, template or document, targettype, target, destination, profile, email, settings."""
        return self.account.mails

    @property
    def webhooks(self) -> list[Webhook]:
        """The registered webhooks, by id."""
        return list(self.hooks.webhooks.values())

    @property
    def callbacks(self) -> list[Callback]:
        """The registered callback URLs, by id."""
        return list(self.hooks.callbacks.values())

    @property
    def quota(self) -> int | None:
        """Requests per second; None for as many as are made."""
        return self.habits.quota

    @quota.setter
    def quota(self, per_second: int | None) -> None:
        self.habits.quota = per_second

    @property
    def mail_path_style(self) -> Literal["draganddrop", "ms"]:
        """Names of the mailing calls that this account knows."""
        return self.habits.mail_path_style

    @mail_path_style.setter
    def mail_path_style(self, style: Literal["draganddrop", "ms"]) -> None:
        self.habits.mail_path_style = style

    def revoke_tokens(self) -> None:
        """End every JWT; the API token stays good."""
        self.gate.tokens.clear()

    def rotate_key(self, key_id: str | None = None) -> None:
        """Sign with another key from now on; under the same key id unless another is given."""
        self.signer.rotate(key_id)

    def find(self, email: str) -> Record | None:
        """The first profile with an address, without regard to case."""
        records = self.account.records(self.account.database(self.settings.database_id))
        return next((each for each in records if self.account.email_of(each).lower() == email.lower()), None)

    def below(self, profile: int, collection: str) -> list[Record]:
        """The subprofiles of a profile in a collection."""
        return self.account.records(self.account.collection(collection, self.settings.database_id), profile)

    # What people do in the vendor's own screens and forms; ``caller`` says where.

    def sign_up(self, email: str, fields: dict[str, Any] | None = None, *, caller: str = "ms", **more: Any) -> int:
        """Somebody becomes a profile; its id. ``interests={name: True}`` may be added."""
        table = self.account.database(self.settings.database_id)
        values = {self.settings.email_field: email, **(fields or {})}
        return self.account.create(table, values, caller=caller, **more).id

    def edit_profile(self, number: int, fields: dict[str, Any], *, caller: str = "ms", **more: Any) -> None:
        """Somebody changes a profile; ``interests={name: False}`` may be added."""
        self.account.change(self.account.profile(number), fields, caller=caller, **more)

    def remove_profile(self, number: int, *, caller: str = "ms") -> None:
        """Somebody deletes a profile."""
        self.account.remove(self.account.profile(number), caller=caller)

    def add_subprofile(self, profile: int, collection: str, fields: dict[str, Any], *, caller: str = "ms") -> int:
        """Somebody adds a subprofile; its id."""
        table = self.account.collection(collection, self.account.profile(profile).database)
        return self.account.create(table, fields, caller=caller, profile=profile).id

    def edit_subprofile(self, number: int, fields: dict[str, Any], *, caller: str = "ms") -> None:
        """Somebody changes a subprofile."""
        self.account.change(self.account.subprofile(number), fields, caller=caller)

    def remove_subprofile(self, number: int, *, caller: str = "ms") -> None:
        """Somebody deletes a subprofile."""
        self.account.remove(self.account.subprofile(number), caller=caller)

    def unsubscribe(self, number: int, *, caller: str = "ms", mailing: int | None = None) -> None:
        """The person clicks "unsubscribe" in a mail: the database's behaviour runs."""
        self.account.unsubscribe(self.account.profile(number), caller=caller, mailing=mailing)

    def mail_event(self, kind: MailEventType, number: int, *, caller: str = "ms", **more: Any) -> None:
        """A mail is clicked, opened, delivered, bounced or refused; ``mailing``, ``tags`` and what else it tells may be given."""
        self.account.mail_event(kind, self.account.profile(number), caller=caller, **more)

    # Calls to the hub.

    def signed(self, body: bytes, content_type: str = FORM, **forged: Any) -> dict[str, str]:
        """Headers of a call to the hub's URL, signed. For what can be forged see ``Signer.headers``."""
        if self.hook_url is None:
            raise RuntimeError("twin copernica: no hook_url to sign for")
        return self.signer.headers(self.hook_url, body, content_type, **forged)

    def _tell(self, event: Event) -> None:
        now, before = event.record.fields, event.before
        if any(now.get(name) == value != before.get(name) for name, value in self._asks_on.items()):
            self.questions.append(self.account.email_of(event.record))
        for hook in self.webhooks:
            if hook.hears(event):
                self.calls_made += 1
                self.deliver(webhook_body(event, self.calls_made), url=hook.handler)
        for callback in self.callbacks:
            if callback.hears(event):
                self.deliver(*callback_body(event, callback.shape), url=callback.url)

    def deliver(self, body: bytes, content_type: str = FORM, *, url: str | None = None) -> None:
        """Send in the background, signed anew each time, until the hub takes it or the twin stops.

        ``url`` is another than the hub's; what is not on this machine is called by nobody.
        """
        if url is None or urlsplit(url).hostname == "127.0.0.1":
            self.emit(body, lambda: self.signer.headers(url or self.hook_url or "", body, content_type), url=url)

    # Doors that no vendor has.

    async def _door_sign_up(self, request: web.Request) -> web.Response:
        asked = await request.json()
        return web.json_response({"id": self.sign_up(asked["email"], asked.get("fields"))})

    async def _door_edit(self, request: web.Request) -> web.Response:
        asked = await request.json()
        profile = self.find(asked["email"])
        if profile is not None:
            self.edit_profile(profile.id, asked["fields"])
        return web.Response(status=404 if profile is None else 204)

    async def _door_unsubscribe(self, request: web.Request) -> web.Response:
        profile = self.find((await request.json())["email"])
        if profile is not None:
            self.unsubscribe(profile.id)
        return web.Response(status=404 if profile is None else 204)

    async def _door_mail_event(self, request: web.Request) -> web.Response:
        asked = await request.json()
        profile = self.find(asked.pop("email"))
        kind = asked.pop("type")
        if profile is not None:
            self.mail_event(kind, profile.id, **asked)
        return web.Response(status=404 if profile is None else 204)


def _filled(record: Record) -> dict[str, str]:
    """The fields that are not empty."""
    return {name: value for name, value in sorted(record.fields.items()) if value != ""}
