"""Triggers at SmartEmailing: events that scenarios listen for, and transactional e-mails (section 7).

Neither is told apart from its repeat by the vendor, so nothing here is sent twice: what was refused was not acted on, and only
that is tried again, in halves.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from esplanade import Context, DeliveryError, Outcome, PermanentError, TriggerEvent, as_text

from .batches import chunks, in_halves
from .client import RefusedError
from .senders import credentials, sender

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esplanade import Product

    from .batches import Result
    from .client import Account, Row
    from .layout import Layout
    from .settings import Sender, SmartEmailingSettings, SmartEmailingTrigger


class Mailer:
    """Sends triggers of one account."""

    def __init__(self, account: Account, layout: Layout, ctx: Context) -> None:
        self._account = account
        self._layout = layout
        self._ctx = ctx

    async def send(self, events: Sequence[TriggerEvent[SmartEmailingTrigger]]) -> list[Result]:
        """A result for each event. Events for scenarios share calls, and so do mails of the same e-mail."""
        settings = self._account.settings
        results: dict[int, Result] = {}
        fired: dict[int, Row] = {}
        mailed: dict[tuple[int, str, Sender], dict[int, Row]] = {}
        for at, event in enumerate(events):
            try:
                if event.target.email_id is None:
                    fired[at] = self._fired(event)
                else:
                    of = await sender(self._account, self._layout, self._ctx, purpose=event.target.requires)
                    mailed.setdefault((event.target.email_id, event.trigger, of), {})[at] = self._task(event)
            except DeliveryError as problem:
                results[at] = problem
        for ats in chunks(list(fired), settings.trigger_batch):
            answers = await in_halves([fired[at] for at in ats], self._fire)
            results |= dict(zip(ats, answers, strict=True))
        for (email_id, tag, of), tasks in mailed.items():
            mail = partial(self._mail, email_id=email_id, tag=tag, of=of)
            for ats in chunks(list(tasks), settings.transactional_batch):
                answers = await in_halves([tasks[at] for at in ats], mail)
                results |= dict(zip(ats, answers, strict=True))
        return [results[at] for at in range(len(events))]

    async def _fire(self, events: Sequence[Row]) -> list[Result]:
        await self._account.ask("POST", "trigger-event", body=list(events))
        return [Outcome()] * len(events)

    async def _mail(self, tasks: Sequence[Row], *, email_id: int, tag: str, of: Sender) -> list[Result]:
        body = {
            "tag": tag,
            "email_id": email_id,
            "sender_credentials": credentials(of),
            "tasks": list(tasks),
        }
        try:
            await self._account.ask("POST", "send/transactional-emails-bulk", body=body)
        except RefusedError as refused:
            why = f"SmartEmailing refused to send e-mail {email_id}: {refused.words or refused.status}"
            raise PermanentError(f"triggers.{tag}: {why}") from refused
        return [Outcome()] * len(tasks)

    # What goes along.

    def _fired(self, event: TriggerEvent[SmartEmailingTrigger]) -> Row:
        name = event_name(event.target.event or "", self._account.settings)
        return {"emailaddress": event.email, "name": name, "payload": self._payload(event)}

    def _task(self, event: TriggerEvent[SmartEmailingTrigger]) -> Row:
        payload = self._payload(event)
        plain = {key: value for key, value in payload.items() if not isinstance(value, dict | list)}
        return {
            "recipient": {"emailaddress": event.email},
            "replace": [{"key": key, "content": as_text(value)} for key, value in plain.items()],
            "template_variables": payload,
        }

    def _payload(self, event: TriggerEvent[SmartEmailingTrigger]) -> dict[str, Any]:
        """The trigger's data, and its products as far as there is room. Raises PermanentError where there is none for the data."""
        most = self._account.settings.max_payload_bytes
        of_products = event.products.language if event.products is not None else None
        payload: dict[str, Any] = {
            **event.data,
            "trigger": event.trigger,
            "trigger_id": event.trigger_id,
            "language": event.language or of_products or self._ctx.language,
        }
        size = len(msgspec.json.encode(payload))
        if size > most:
            raise PermanentError(
                f"the data of trigger {event.trigger} is {size} bytes, and max_payload_bytes allows {most}; send less"
            )
        if event.products is None:
            return payload
        whole = {**payload, "product_set": event.products.set, "products": []}
        items = _as_many_as_fit(event.products.items, most - len(msgspec.json.encode(whole)))
        whole["products"] = items
        if len(items) < len(event.products.items):
            self._ctx.log.warning(
                "products left out, there is no room for them",
                delivery=event.delivery_id,
                sent=len(items),
                left_out=len(event.products.items) - len(items),
            )
        return whole if len(msgspec.json.encode(whole)) <= most else payload


def event_name(name: str, settings: SmartEmailingSettings) -> str:
    """The name of an event as the vendor takes it: lower case, digits and ``-`` (section 7). Raises PermanentError for one that
    cannot be put so."""
    pattern = re.compile(settings.event_name_regex)
    for form in (name, re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")):
        if pattern.fullmatch(form):
            return form
    raise PermanentError(
        f"event {name!r} cannot be written as SmartEmailing takes names of events ({settings.event_name_regex}); "
        "choose another name, there and in connectors.yaml"
    )


def _as_many_as_fit(products: Sequence[Product], room: int) -> list[Row]:
    """The first of the products that take no more bytes than there are, each with its comma."""
    items: list[Row] = []
    for each in map(_facts, products):
        room -= len(msgspec.json.encode(each)) + (1 if items else 0)
        if room < 0:
            break
        items.append(each)
    return items


def _facts(item: Product) -> Row:
    """A product as templates know it (section 10)."""
    facts = {
        "id": item.id,
        "name": item.title,
        "price": item.price,
        "currency": item.currency,
        "quantity": item.quantity,
        "url": item.url,
        "image_url": item.image_url,
        "language": item.language,
    }
    return {name: value for name, value in facts.items() if value is not None}
