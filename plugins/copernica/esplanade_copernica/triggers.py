"""Triggers at Copernica: a row in the triggers collection, or a template sent at once to such a row (fact 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from esplanade import Context, DeliveryError, Outcome, OutcomeUnknown, Product, TemporaryError, TriggerEvent

from .client import Database, Filter, NotThereError, Row, as_id, created_in, field_of
from .layout import PRODUCTS, TRIGGERS, Layout, product_fields
from .profiles import Who, find
from .values import local, text_of

if TYPE_CHECKING:
    from .settings import CopernicaTrigger

MAILING, SENDING, SENT = "mailing", "sending", "sent"
"""The field of a row that says how far its mailing is, and what it says."""
MAX_TEXT = 255
"""Characters of a text field of the triggers collection; the hub itself cuts what is longer."""


class Mailer:
    """Sends triggers of one database."""

    def __init__(self, database: Database, layout: Layout, ctx: Context) -> None:
        self._database = database
        self._layout = layout
        self._ctx = ctx

    async def send(self, event: TriggerEvent[CopernicaTrigger]) -> Outcome:
        """Write the row, keyed by the trigger's id; then, on route ``mailing``, send to it: no call takes data with it (fact 8)."""
        profile = await find(Who(email=event.email, remote_id=event.remote_id), self._database)
        if profile is not None:
            try:
                return await self._send_to(profile, event)
            except NotThereError:
                self._ctx.log.info("profile is gone", profile=profile)
        return await self._send_to((await self._database.upsert(event.email, {})).id, event)

    async def was_sent(self, event: TriggerEvent[CopernicaTrigger]) -> bool:
        """Whether the row is there, and of a mailing whether the row says so. Raises OutcomeUnknown for one about to go."""
        profile = await find(Who(email=event.email, remote_id=event.remote_id), self._database)
        collection = await self._layout.known("triggers", self._database)
        if profile is None or collection is None:
            return False
        if event.target.route == "mailing":
            return await self._was_mailed(profile, collection, event)
        return await self._find(profile, collection, event) is not None

    async def _send_to(self, profile: str, event: TriggerEvent[CopernicaTrigger]) -> Outcome:
        settings, mails = self._database.settings, event.target.route == "mailing"
        fields = {**TRIGGERS, **product_fields(settings.product_layout, settings.products)}
        collection = await self._layout.collection("triggers", fields, self._database)
        if mails and await self._was_mailed(profile, collection, event):
            return Outcome(remote_id=profile)
        if settings.product_layout == "rows":  # first: a follow-up on the trigger's row reads them
            await self._products(profile, event)
        by = Filter("trigger_id", event.trigger_id)
        await self._database.upsert_subprofile(profile, collection, by, self._values(event))
        if mails:
            row = await self._find(profile, collection, event)
            number = as_id(row) if row is not None else None
            if number is None:
                raise TemporaryError("Copernica took a trigger's row and does not show it")
            await self._mail_once(number, event)
        return Outcome(remote_id=profile)

    async def _was_mailed(self, profile: str, collection: str, event: TriggerEvent[CopernicaTrigger]) -> bool:
        """Whether the row of an earlier attempt says so. Raises OutcomeUnknown where it was about to be mailed."""
        row = await self._find(profile, collection, event)
        said = field_of(row, MAILING) if row is not None else None
        if said == SENDING:
            raise OutcomeUnknown("Copernica cannot be asked whether a mailing was sent to somebody")
        return said == SENT

    async def _mail_once(self, subprofile: int, event: TriggerEvent[CopernicaTrigger]) -> None:
        try:
            await self._mail(subprofile, event)
        except OutcomeUnknown:
            raise  # the row goes on saying that it was about to go
        except DeliveryError:
            await self._database.update_subprofile(str(subprofile), {MAILING: ""})  # it did not go
            raise
        try:
            await self._database.update_subprofile(str(subprofile), {MAILING: SENT})
        except DeliveryError as error:  # it was sent, and is not to be sent again because its mark failed
            self._ctx.log.warning(
                "mailing sent, and not marked so", delivery=event.delivery_id, error=type(error).__name__
            )

    async def _find(self, profile: str, collection: str, event: TriggerEvent[CopernicaTrigger]) -> Row | None:
        rows = await self._database.subprofiles(profile, collection)
        return next((row for row in rows if field_of(row, "trigger_id") == event.trigger_id), None)

    async def _products(self, profile: str, event: TriggerEvent[CopernicaTrigger]) -> None:
        """Rows of the products collection, each keyed by the trigger's id and its place, so that a repeat writes none twice."""
        fields = {
            **PRODUCTS,
            "key": TRIGGERS["trigger_id"],
            **dict.fromkeys(_facts(Product(id=""), 1), TRIGGERS["trigger"]),
        }
        collection = await self._layout.collection("products", fields, self._database)
        for number, item in enumerate(event.products.items if event.products else [], start=1):
            by = Filter("key", f"{event.trigger_id}:{number}")
            values = {"trigger_id": event.trigger_id, "position": str(number), **_facts(item, MAX_TEXT)}
            await self._database.upsert_subprofile(profile, collection, by, values)

    async def _mail(self, subprofile: int, event: TriggerEvent[CopernicaTrigger]) -> None:
        target: Row = {"target": subprofile, "targettype": "subprofile"}
        if event.target.template is not None:
            path, body = "/draganddrop/emailing", {**target, "template": event.target.template}
        else:
            path, body = "/html/emailing", {**target, "document": event.target.document}
        answer = await self._database.mailing_call("POST", path, body)
        self._ctx.log.info("mailing made", delivery=event.delivery_id, mailing=created_in(answer))

    def _language(self, event: TriggerEvent[CopernicaTrigger]) -> str:
        """The trigger's own, else that of its products, else the hub's."""
        of_products = event.products.language if event.products is not None else None
        return event.language or of_products or self._ctx.language or ""

    def _values(self, event: TriggerEvent[CopernicaTrigger]) -> dict[str, str]:
        settings = self._database.settings
        items = event.products.items if event.products is not None else []
        values = {
            "trigger": event.trigger,
            "created_at": local(event.at, settings.timezone),
            "language": self._language(event),
            "product_set": (event.products.set or "") if event.products is not None else "",
            "product_count": str(len(items)),
            MAILING: SENDING if event.target.route == "mailing" else "",
            "data": msgspec.json.encode(event.data).decode() if event.data else "",
        }
        if settings.product_layout == "flat":
            for number, item in enumerate(items[: settings.products], start=1):
                values |= {f"p{number}_{name}": value for name, value in _facts(item, MAX_TEXT).items() if value}
        elif settings.product_layout == "json":
            values["products"] = msgspec.json.encode([_known(item) for item in items]).decode()
        return values


def _facts(item: Product, most: int) -> dict[str, str]:
    """A product's facts as text fields."""
    facts: dict[str, Any] = {
        "id": item.id,
        "title": item.title,
        "url": item.url,
        "image": item.image_url,
        "price": item.price,
        "currency": item.currency,
        "quantity": item.quantity,
        "language": item.language,
    }
    return {name: text_of(value)[:most] for name, value in facts.items()}


def _known(item: Product) -> dict[str, Any]:
    return {name: value for name, value in _facts(item, 10_000).items() if value}
