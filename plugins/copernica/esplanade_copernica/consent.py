"""Consent at Copernica: one field of the profile per purpose, with a value for each state (fact 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from esplanade import ConsentEvent, Context, DeliveryError, Outcome, OutcomeUnknown, PermanentError

from .client import Database, NotThereError, created_in
from .mapping import places
from .profiles import Who, find, save
from .values import as_fields

if TYPE_CHECKING:
    from esplanade import Value

    from .layout import Layout
    from .settings import CopernicaConsent

Asked: TypeAlias = Literal["delivered", "pending"]
NOT_THERE = Outcome(status="unchanged", reason="not-at-vendor")


class Consents:
    """Opt-ins and opt-outs of one database."""

    def __init__(self, database: Database, layout: Layout, ctx: Context) -> None:
        self._database = database
        self._layout = layout
        self._ctx = ctx

    async def grant(self, event: ConsentEvent[CopernicaConsent]) -> Outcome:
        """The value of those who gave it, on the person's profile, which is made where there is none."""
        return await self._write(event, event.target.granted, "delivered")

    async def ask(self, event: ConsentEvent[CopernicaConsent]) -> Outcome:
        """The pending value, whose follow-up mails the question; or the confirmation template, sent to the profile."""
        pending = event.target.pending
        if event.target.confirmation is None and pending is None:
            raise PermanentError(
                f"purpose {event.purpose} asks for confirmation and has neither pending nor confirmation in connectors.yaml"
            )
        outcome = await self._write(event, pending, "pending")
        if event.target.confirmation is not None and outcome.remote_id is not None:
            await self._send_question(event, outcome.remote_id, event.target.confirmation)
        return outcome

    async def refuse(self, event: ConsentEvent[CopernicaConsent]) -> Outcome:
        """The value of those who withdrew it, on every profile with the address: the vendor keeps duplicates (fact 6.1)."""
        database, target = self._database, event.target
        fields = {target.field: target.denied}
        await self._layout.fields({target.field, database.settings.email_field}, database, self._ctx)
        profiles = await database.find(event.email)
        if profiles:
            await database.update_all(event.email, fields)
        if event.remote_id is not None and event.remote_id not in profiles:
            try:
                await database.update(event.remote_id, fields)
                profiles.append(event.remote_id)
            except NotThereError:
                pass
        if not profiles:
            return NOT_THERE
        if database.settings.unsubscribe_call:
            await self._run_behaviour(profiles)
        return Outcome(remote_id=event.remote_id or profiles[0])

    async def _send_question(self, event: ConsentEvent[CopernicaConsent], profile: str, template: int) -> None:
        """Once for what was said, however often it is tried: where it may have gone out, it is not sent again."""
        asked, said_at = f"asked:{event.purpose}:{profile}", event.said_at.isoformat()
        if await self._ctx.kv.get(asked) == said_at:
            return
        await self._ctx.kv.set(asked, said_at)
        body = {"target": int(profile), "targettype": "profile", "template": template}
        try:
            answer = await self._database.mailing_call("POST", "/draganddrop/emailing", body)
        except OutcomeUnknown:
            raise
        except DeliveryError:
            await self._ctx.kv.set(asked, None)  # it did not go out
            raise
        self._ctx.log.info("confirmation sent", profile=profile, mailing=created_in(answer))

    async def _run_behaviour(self, profiles: list[str]) -> None:
        """Run the database's own unsubscribe behaviour, unless that removes profiles: what they hold would be lost."""
        if await self._database.unsubscribe_behaviour() == "remove":
            self._ctx.log.warning("unsubscribe_call is left out: the database's unsubscribe behaviour removes profiles")
            return
        for profile in profiles:
            await self._database.unsubscribe(profile)

    async def _write(self, event: ConsentEvent[CopernicaConsent], value: str | None, status: Asked) -> Outcome:
        database, target = self._database, event.target
        types = await self._layout.fields({target.field, database.settings.email_field}, database, self._ctx)
        fields = {} if value is None else {target.field: value}
        who = Who(email=event.email, remote_id=event.remote_id)
        profile = await find(who, database)
        if profile is not None:
            try:
                if fields:
                    await database.update(profile, fields)
                return _outcome(status, profile)
            except NotThereError:
                who = Who(email=event.email)
        # a new profile begins with all that is mapped to it; what an existing one holds is the profile's business
        settings = database.settings
        own = places(event.desired, settings).profile
        mapped = as_fields({name: event.desired[name] for name in own}, types, settings.timezone)
        saved = await save(who, {**mapped, **fields}, database, self._ctx)
        if not saved.made:
            return _outcome(status, saved.id)
        held: dict[str, Value] = {name: value or None for name, value in mapped.items()}
        others = places(self._ctx.fields.values(), settings).profile
        return _outcome(status, saved.id, {**self._layout.defaults(others), **held})


def _outcome(status: Asked, profile: str, acknowledged: dict[str, Value] | None = None) -> Outcome:
    return Outcome(status=status, remote_id=profile, acknowledged=acknowledged or None)
