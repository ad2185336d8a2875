"""Consent at Webpower: a contact group holds those who gave it, and the vendor's opt-in flow asks the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esplanade import ConsentEvent, Context, Outcome, PermanentError, TemporaryError

from .client import Campaign, NoContactError, NoGroupError, Row
from .contacts import Who, find_id, save
from .mapping import contact_body

if TYPE_CHECKING:
    from .groups import Groups
    from .settings import WebpowerConsent

NOT_THERE = Outcome(status="unchanged", reason="not-at-vendor")


class Consents:
    """Opt-ins and opt-outs of one campaign."""

    def __init__(self, campaign: Campaign, groups: Groups, ctx: Context) -> None:
        self.campaign = campaign
        self.settings = campaign.settings
        self.groups = groups
        self.ctx = ctx

    async def grant(self, event: ConsentEvent[WebpowerConsent]) -> Outcome:
        """Into the consent group. A known contact's fields are the profile's business: they are not written again."""
        group = await self._group(event)
        contact = await self._contact(event)
        try:
            await self._join(contact, group, event)
        except NoContactError:
            fresh = Who(email=event.email)
            contact = (await save(fresh, event.desired, self.campaign, self.ctx)).id
            await self._join(contact, group, event)
        return Outcome(remote_id=str(contact))

    async def ask(self, event: ConsentEvent[WebpowerConsent]) -> Outcome:
        """The Subscribe call: Webpower sends its confirmation mail and adds the contact to the group at the click."""
        group = await self._group(event)
        contact = contact_body(event.email, event.desired, lang=self.settings.default_lang)
        contact["custom"] = [entry for entry in contact["custom"] if entry["value"] != ""]
        extra: dict[str, Any] = _filled(self.settings.subscribe_extra_body, group)
        more = extra.get("contact")
        body: Row = {**extra, "contact": {**(more if isinstance(more, dict) else {}), **contact}}
        if await self.campaign.subscribe(body) is None:
            # Known already; whether Webpower asks such a contact shows when the group is read the next time.
            self.ctx.log.info("Webpower knows the contact that it was asked to confirm", delivery=event.delivery_id)
            return Outcome(status="pending", reason="already-known")
        return Outcome(status="pending")

    async def refuse(self, event: ConsentEvent[WebpowerConsent]) -> Outcome:
        """An opt-out, the way ``unsubscribe_mode`` says. It never creates a contact."""
        if self.settings.unsubscribe_mode == "none":
            return Outcome(status="unchanged", reason="unsubscribe-mode-none")
        group = await self._group(event)
        contact = await find_id(Who(email=event.email, remote_id=event.remote_id), self.campaign)
        if contact is None:
            return NOT_THERE
        try:
            await self._opt_out(contact, group, event)
        except NoContactError:
            contact = await find_id(Who(email=event.email), self.campaign)
            if contact is None:
                return NOT_THERE
            await self._opt_out(contact, group, event)
        return Outcome(remote_id=str(contact))

    async def _group(self, event: ConsentEvent[WebpowerConsent]) -> int:
        return await self.groups.writable(event.target.group, f"consents.{event.purpose}", self.campaign)

    async def _contact(self, event: ConsentEvent[WebpowerConsent]) -> int:
        who = Who(email=event.email, remote_id=event.remote_id)
        optout = self._optout_field(event)
        if optout is not None and not self._is_shared_refusal(event):
            return (await save(who, {**event.desired, optout: None}, self.campaign, self.ctx)).id
        known = await find_id(who, self.campaign) if event.remote_id is not None else None
        return known or (await save(who, event.desired, self.campaign, self.ctx)).id

    async def _join(self, contact: int, group: int, event: ConsentEvent[WebpowerConsent]) -> None:
        refusals = self.settings.refusals
        refused = sorted(set(refusals) & await self.campaign.groups_of(contact)) if refusals else []
        if refused:
            raise PermanentError(
                f"consents.{event.purpose}: the contact is in Webpower's group {refused[0]} of those who want no mail, which "
                "only the person may leave: let them subscribe at Webpower, or use opt_in: double"
            )
        try:
            await self.campaign.join(contact, [group])
        except NoGroupError:
            where = f"consents.{event.purpose}"
            raise PermanentError(f"{where}: Webpower has no contact group {group}; correct its id") from None

    async def _opt_out(self, contact: int, group: int, event: ConsentEvent[WebpowerConsent]) -> None:
        match self.settings.unsubscribe_mode:
            case "group":
                await self.groups.leave(contact, group, self.campaign, self.ctx)
            case "endpoint":
                await self.campaign.unsubscribe(contact, event.email)
            case "field":
                field = self._optout_field(event) or ""
                fields = {**event.desired, field: self.settings.unsubscribe_value}
                if not await self.campaign.update(contact, contact_body(event.email, fields)):
                    raise TemporaryError("Webpower says that the address is another contact's")
            case "none":
                return

    def _is_shared_refusal(self, event: ConsentEvent[WebpowerConsent]) -> bool:
        """Whether the opt-out field serves all purposes and another one is still refused, so that it must stay."""
        shared = "{purpose}" not in (self.settings.unsubscribe_field or "")
        return shared and any(held == "denied" for purpose, held in event.held.items() if purpose != event.purpose)

    def _optout_field(self, event: ConsentEvent[WebpowerConsent]) -> str | None:
        if self.settings.unsubscribe_mode != "field" or self.settings.unsubscribe_field is None:
            return None
        return self.settings.unsubscribe_field.replace("{purpose}", event.purpose)


def _filled(template: Any, group: int) -> Any:
    """A JSON template with the text ``{group}`` replaced by the group's id."""
    match template:
        case "{group}":
            return group
        case dict():
            return {key: _filled(value, group) for key, value in template.items()}
        case list():
            return [_filled(value, group) for value in template]
        case _:
            return template
