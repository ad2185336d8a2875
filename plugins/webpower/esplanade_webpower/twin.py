"""A stand-in for one Webpower campaign, as strict and as odd as the vendor. Its REST calls are in ``twin_rest.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
from aiohttp import web

from esplanade import Clock, Origin, Secret
from esplanade.http import hmac_hex
from esplanade.testing import Fault, Furnishing, Twin

from .settings import WebpowerAudience, WebpowerConsent, WebpowerSettings, WebpowerTrigger
from .twin_account import Account, Contact
from .twin_rest import Licence, RestApi

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .twin_side import WebpowerSide


class WebpowerTwin(Twin[WebpowerSettings]):
    """One campaign with its contacts, groups, fields and mailings. ``licence`` says how the vendor behaves."""

    name: ClassVar[str] = "webpower"

    def __init__(self, settings: WebpowerSettings, *, clock: Clock | None = None, faults: Iterable[Fault] = ()) -> None:
        super().__init__(settings, clock=clock, faults=faults)
        self.account = Account(self.clock.time)
        self.licence = Licence()
        self.rest = RestApi(self.account, self.licence, settings, self.announce)

    @property
    def mails(self) -> list[dict[str, Any]]:
        """Every mail sent, in order: mailing, contact, email, extraContactData, at."""
        return self.account.mails

    # What the hub and its operators ask of a twin.

    @classmethod
    def demo_settings(cls) -> WebpowerSettings:
        return WebpowerSettings(
            license="demo",
            client_id="demo",
            client_secret=Secret("demo"),
            campaign_id=42,
            webhook_secret=Secret("demo-webhook-secret"),
        )

    def rewired(self, settings: WebpowerSettings) -> WebpowerSettings:
        return msgspec.structs.replace(settings, base_url=Origin(self.origin))

    def credentials(self) -> dict[str, Any]:
        settings = self.settings
        return {
            "license": settings.license,
            "client_id": settings.client_id,
            "client_secret": settings.client_secret.reveal(),
            "campaign_id": settings.campaign_id,
            "webhook_secret": settings.webhook_secret.reveal() or None,
        }

    def furnish(self, furnishing: Furnishing) -> None:
        account = self.account
        for name in furnishing.fields:
            if name not in {"email", "mobile_nr", "lang"}:
                account.add_field(name)
        for purpose, consent in furnishing.consents.items():
            if isinstance(consent, WebpowerConsent):
                self._furnish_group(consent.group, purpose)
                (account.double.add if consent.asks_to_confirm() else account.double.discard)(consent.group)
        for name, audience in furnishing.audiences.items():
            if isinstance(audience, WebpowerAudience) and audience.group is not None:
                self._furnish_group(audience.group, name)
        for name, trigger in furnishing.triggers.items():
            if isinstance(trigger, WebpowerTrigger):
                account.add_mailing(trigger.mailing, name)

    def _furnish_group(self, number: int, name: str) -> None:
        if number not in self.account.groups:
            self.account.add_group(name, number)

    def side(self, furnishing: Furnishing) -> WebpowerSide:
        from .twin_side import WebpowerSide

        return WebpowerSide(self, furnishing)

    def snapshot(self) -> dict[str, Any]:
        account = self.account
        contacts = sorted(account.contacts.values(), key=lambda each: each.email)
        return {
            "contacts": {each.email: self._held(each) for each in contacts},
            "groups": {
                str(number): {
                    "name": group.name,
                    "is_system": group.is_system,
                    "members": sorted(each.email for each in contacts if number in each.groups),
                }
                for number, group in sorted(account.groups.items())
            },
            "mails": list(account.mails),
            "pending": [dict(each) for each in account.pending],
        }

    def _held(self, contact: Contact) -> dict[str, Any]:
        fields = {name: value for name, value in sorted(contact.custom.items()) if value != ""}
        if contact.mobile_nr:
            fields["mobile_nr"] = contact.mobile_nr
        return {"id": contact.id, "fields": fields, "lang": contact.lang, "groups": sorted(contact.groups)}

    # What people do.

    def click_confirmation(self, email: str) -> bool:
        """The person clicks in the confirmation mail; False when none was sent."""
        return self.account.confirm(email)

    def unsubscribe(self, email: str) -> bool:
        """The person clicks "unsubscribe" in a mail; False when there is no such contact."""
        contact = self.account.find(email)
        if contact is not None:
            self.account.unsubscribe(contact)
        return contact is not None

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            *self.rest.routes(),
            web.post("/__twin__/confirm", self._door_confirm),
            web.post("/__twin__/unsubscribe", self._door_unsubscribe),
            web.post("/__twin__/credits", self._door_credits),
        ]

    # Webhooks, and doors that no vendor has.

    def announce(self, contact: Contact) -> None:
        """Send ``contact.created``, signed; it goes out before any opt-in."""
        if not self.settings.webhook_secret:
            return
        row = self.account.row(contact)
        said = {"contact_id": contact.id, "campaign_id": self.settings.campaign_id, "fields": row["custom"]}
        body = msgspec.json.encode({**said, **{key: row[key] for key in ("email", "mobile_nr", "lang")}})
        self.emit(body, self.signed("contact.created", body))

    def signed(self, topic: str, body: bytes) -> dict[str, str]:
        """The headers of a webhook of this licence."""
        return {
            "content-type": "application/json",
            "x-mailpro-license": self.settings.license or "",
            "x-mailpro-subscriber-id": "5",
            "x-mailpro-topic": topic,
            "x-mailpro-signature": hmac_hex(self.settings.webhook_secret.reveal(), body),
        }

    async def _door_confirm(self, request: web.Request) -> web.Response:
        return web.Response(status=204 if self.click_confirmation((await request.json())["email"]) else 404)

    async def _door_unsubscribe(self, request: web.Request) -> web.Response:
        return web.Response(status=204 if self.unsubscribe((await request.json())["email"]) else 404)

    async def _door_credits(self, request: web.Request) -> web.Response:
        self.account.credits = (await request.json())["credits"]
        return web.Response(status=204)
