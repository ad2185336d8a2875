"""Sending one mailing to one person with the trigger's data and products, and saying plainly why it was refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from esplanade import (
    AuthenticationError,
    Context,
    Outcome,
    OutcomeUnknown,
    PermanentError,
    Response,
    TriggerEvent,
)

from .client import Campaign, NoContactError, Row, refused, words_of
from .contacts import Who, ensure, find_id
from .mapping import contact_body, extra_contact_data

if TYPE_CHECKING:
    from .settings import WebpowerTrigger


class Mailer:
    """Sends of one campaign. A send is never repeated here: Webpower knows no idempotency key."""

    def __init__(self, campaign: Campaign, ctx: Context) -> None:
        self.campaign = campaign
        self.settings = campaign.settings
        self.ctx = ctx

    async def send(self, event: TriggerEvent[WebpowerTrigger]) -> Outcome:
        """Send the trigger's mailing; what an existing contact holds is left as it is."""
        products = event.products.language if event.products else None
        language = event.language or products or self.ctx.language
        extra = extra_contact_data(event, language, self.settings.product_encoding)
        who = Who(email=event.email, remote_id=event.remote_id)
        contact = await find_id(who, self.campaign)
        if contact is None and self.settings.trigger_call == "sendSingleMail":
            if await self._send_to_new(event, extra):
                return Outcome()
            contact = await ensure(who, event.desired, self.campaign)
        if contact is None:
            contact = await ensure(who, event.desired, self.campaign)
        try:
            await self._send_to(contact, event, extra)
        except NoContactError:
            contact = await ensure(who, event.desired, self.campaign)  # the known id is stale; nothing was sent
            await self._send_to(contact, event, extra)
        return Outcome(remote_id=str(contact))

    async def _send_to(self, contact: int, event: TriggerEvent[WebpowerTrigger], extra: list[dict[str, str]]) -> None:
        body: Row = {"contactId": contact, "attachments": [], "extraContactData": extra}
        answer = await self.campaign.send("send_single", body, mailing=event.target.mailing)
        if answer.status == 404 and not self._is_about_credits(answer):
            await self.campaign.read(contact)  # raises NoContactError; else it is the mailing that is not there
        self._judge(answer, event, sent=body)

    async def _send_to_new(self, event: TriggerEvent[WebpowerTrigger], extra: list[dict[str, str]]) -> bool:
        """Create the contact and send in one call; False when it exists by now. Its fields are never overwritten."""
        contact = {"mobile_nr": "", **contact_body(event.email, event.desired, lang=self.settings.default_lang)}
        body: Row = {
            "mailingId": event.target.mailing,
            "attachments": [],
            "contact": contact,
            "overrideDuplicateAndSend": False,
            "extraContactData": extra,
        }
        answer = await self.campaign.send("send_single_mail", body)
        if answer.status == 409 and not self._is_about_credits(answer):
            return False
        self._judge(answer, event, sent=body)
        return True

    def _judge(self, answer: Response, event: TriggerEvent[WebpowerTrigger], *, sent: Row) -> None:
        if answer.status < 400 and not _says_error(answer):
            return
        mailing = event.target.mailing
        if self._is_about_credits(answer):
            raise PermanentError(
                f"the Webpower licence has no sending credits left, so mailing {mailing} was not sent; "
                "buy credits, then replay"
            )
        words = words_of(answer, sent)
        match answer.status:
            case 403:
                raise AuthenticationError(f"Webpower refuses these credentials the right to send: {words}")
            case 500:
                raise OutcomeUnknown(f"Webpower answered 500 to the send of mailing {mailing}: {words}")
            case 404:
                raise PermanentError(
                    f"mailing {mailing} is unknown to the campaign or not published in Webpower; "
                    f"publish it there, or correct triggers.{event.trigger}.mailing"
                )
            case _:
                refused(answer, f"to send mailing {mailing}; check that it is published", sent=sent)

    def _is_about_credits(self, answer: Response) -> bool:
        if answer.status < 400 and not _says_error(answer):
            return False
        words = words_of(answer).lower()
        return any(re.search(rf"(?<!\w){re.escape(word.lower())}", words) for word in self.settings.credit_error_words)


def _says_error(answer: Response) -> bool:
    """A 2xx whose body says that it is none, as the bulk call does with a ``status`` per contact."""
    try:
        body: Any = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    first = body[0] if isinstance(body, list) and body else body
    return isinstance(first, dict) and str(first.get("status")).lower() == "error"
