"""Between the hub's words and SparkLoop's: functions of their arguments only.

The bodies for the incoming webhook, and their keys' order, are those of the SparkLoop guide
(help.sparkloop.app/en/articles/5850916-custom-integration); the API's are those of docs.sparkloop.app/api-v2.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from esplanade import Choice, ConsentEvent, FieldInfo, PermanentError, ProfileEvent, Report, Response, Value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from .order import Weight
    from .settings import FieldNames, SparkLoopSettings
    from .webhooks import Notice, Subscriber

PAGE_SIZE = 200
"""The most subscribers that SparkLoop gives per page."""

SENT_ON_UPDATE = frozenset({"first_name", "last_name", "name"})
"""The vendor fields that SparkLoop takes after the sign-up. ``last_name`` travels inside ``name``."""


# To SparkLoop.


def subscribe(event: ConsentEvent[Any]) -> dict[str, Any]:
    """The body for a new sign-up, sent only after the person's grant."""
    subscriber: dict[str, Any] = {"email": event.email}
    if event.desired.get("id") not in (None, ""):
        subscriber["id"] = event.desired["id"]
    subscriber |= names(event.desired)
    subscriber["created_at"] = epoch(event.said_at)
    return {"type": "subscribe", "subscriber": subscriber}


def update(event: ProfileEvent[Any]) -> dict[str, Any]:
    """The body for a new address or name. SparkLoop finds people by ``previous_email``, so a name carries it too."""
    subscriber: dict[str, Any] = names(event.desired, event.cleared)
    subscriber["email"] = event.email
    subscriber["previous_email"] = event.previous_email or event.email
    subscriber["updated_at"] = epoch(event.at)
    return {"type": "update", "subscriber": subscriber}


def unsubscribe(email: str) -> dict[str, Any]:
    """The body for an opt-out."""
    return {"type": "unsubscribe", "subscriber": {"email": email}}


def names(desired: Mapping[str, Value], cleared: Collection[str] = ()) -> dict[str, str]:
    """``first_name`` and ``name`` as SparkLoop takes them; a cleared one is sent empty, an unknown one not at all.

    >>> names({"first_name": "Ada", "last_name": "Byron"})
    {'first_name': 'Ada', 'name': 'Ada Byron'}
    """
    first, last = _text(desired.get("first_name")), _text(desired.get("last_name"))
    full = _text(desired.get("name"))
    if not full and (last or "last_name" in cleared):
        full = f"{first} {last}".strip()
    found = {}
    if first or "first_name" in cleared:
        found["first_name"] = first
    if full or "name" in cleared:
        found["name"] = full
    return found


def api_name(desired: Mapping[str, Value], cleared: Collection[str] = ()) -> dict[str, str]:
    """The same for the API, which has only ``name``: the whole name, else the first name."""
    found = names(desired, cleared)
    return {"name": found.get("name") or found.get("first_name", "")} if found else {}


def created(event: ConsentEvent[Any], settings: SparkLoopSettings) -> dict[str, Any]:
    """The body of ``POST /v2/subscribers``."""
    body: dict[str, Any] = {"email": event.email, **api_name(event.desired), "created_at": event.said_at.isoformat()}
    country = _text(event.desired.get("country_code"))
    if settings.send_country_code and country:
        body["country_code"] = country
    return body


def epoch(moment: datetime) -> int:
    """Whole seconds since 1970, as the SparkLoop guide writes times."""
    return int(moment.timestamp())


def _text(value: Value) -> str:
    return "" if value is None else str(value).strip()


# From SparkLoop: its webhooks.


def reported(
    person: Subscriber, notice: Notice, weight: Weight, settings: SparkLoopSettings, mapped: Collection[str]
) -> Report:
    """What a webhook says of one person: only the keys that it holds, and of those only what ``weight`` lets count.

    A blank name is no name. A webhook says nothing of consent.
    """
    field_names = settings.field_names
    fields: dict[str, Value] = _known(
        {
            field_names.subid: person.id,
            field_names.code: person.referral_code,
            field_names.reflink: person.referral_link,
            field_names.isref: person.referred,
        }
    )
    if weight.current:
        fields |= _known({field_names.totref: person.tot_referrals})
        fields |= _mapped_names({"first_name": person.first_name, "name": person.name}, mapped)
    if weight.reward is not msgspec.UNSET:
        fields[field_names.lastreward] = weight.reward
    if weight.coupon is not msgspec.UNSET:
        fields[field_names.coupon] = weight.coupon
    return Report(
        email=person.address or None, remote_id=person.id or None, fields=fields, event_id=notice.event_id_for(person)
    )


def _known(values: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if value not in (None, "")}


def _mapped_names(values: Mapping[str, str | None], mapped: Collection[str]) -> dict[str, Value]:
    return {name: value.strip() for name, value in values.items() if name in mapped and value and value.strip()}


# From SparkLoop: its API.


class ApiSubscriber(Struct, frozen=True, kw_only=True):
    """A subscriber as API v2 gives it. It has no referral link, count, reward or coupon: those come by webhook only."""

    uuid: Annotated[str, Meta(min_length=1)]
    email: str | None = None
    name: str | None = None
    ref_code: str | None = None
    referred: bool | None = None
    status: str | None = None


_HELD: dict[str, Literal["granted", "denied"]] = {
    "confirmed": "granted",
    "active": "granted",
    "unsubscribed": "denied",
}


class PageMeta(Struct, frozen=True, kw_only=True):
    """Where a page stands among the others."""

    total_pages: int | None = None
    total_subscribers: int | None = None


def api_subscriber(answer: Any) -> ApiSubscriber:
    """The subscriber of an answer, with or without its envelope. Raises PermanentError for anything else."""
    inner = answer.get("subscriber", answer) if isinstance(answer, dict) else answer
    found: ApiSubscriber = _convert(inner, ApiSubscriber, "a subscriber")
    return found


def api_page(answer: Any) -> tuple[list[ApiSubscriber], PageMeta]:
    """The subscribers of a list, each once, and the page's place, which copies of the docs put in two spots."""
    if not isinstance(answer, dict):
        raise PermanentError("SparkLoop answered something else than a page of subscribers")
    rows = _convert(answer.get("subscribers"), list[ApiSubscriber], "a page of subscribers")
    meta = _convert(answer.get("meta") or answer, PageMeta, "a page of subscribers")
    return list({row.uuid: row for row in rows}.values()), meta


def api_report(
    row: ApiSubscriber, settings: SparkLoopSettings, mapped: Collection[str], purposes: Collection[str]
) -> Report:
    """What the API says of one person. ``status`` is not documented there, so it counts only where it is given."""
    field_names = settings.field_names
    fields = _known({field_names.subid: row.uuid, field_names.code: row.ref_code, field_names.isref: row.referred})
    if settings.referral_link_template and row.ref_code:
        fields[field_names.reflink] = settings.referral_link_template.replace("{code}", row.ref_code)
    fields |= _mapped_names({"name": row.name}, mapped)
    held = _HELD.get((row.status or "").lower())
    return Report(
        email=row.email or None,
        remote_id=row.uuid,
        fields=fields,
        consents={purpose: held for purpose in purposes if held is not None},
    )


def uuid_of(answer: Response) -> str | None:
    """SparkLoop's id of the subscriber in an answer, None when it names none: what a change answers is not told."""
    try:
        return api_subscriber(answer.json()).uuid
    except PermanentError:
        return None


MOST_STEPS_BACK = 100


class Place(Struct, frozen=True, kw_only=True):
    """Where a pull stands: the next page, and how many subscribers there were when the last one was read.

    Pages are counted from the newest. A sign-up during the pull pushes people onto a later page, where they are read
    twice; a deletion pulls them onto an earlier one, where nobody would look. So when there are fewer than before, the
    pull steps back by as many pages as that can have moved anybody.
    """

    page: int = 1
    total: int = 0
    back: int = 0
    """How often it stepped back. Not for ever: a vendor's count may waver."""

    @classmethod
    def read(cls, cursor: str | None) -> Place:
        """The place that a cursor names; one that cannot be read names the start."""
        found = re.fullmatch(r"(\d{1,9}):(\d{1,12}):(\d{1,4})", cursor or "")
        return cls(page=max(int(found[1]), 1), total=int(found[2]), back=int(found[3])) if found else cls()

    def after(self, rows: int, meta: PageMeta) -> str | None:
        """The cursor of the next page, None after the last: the one that says so, else a short one."""
        total = self.total if meta.total_subscribers is None else meta.total_subscribers
        gone = self.total - total
        if gone > 0 and self.page > 1 and self.back < MOST_STEPS_BACK:
            return f"{max(self.page - math.ceil(gone / PAGE_SIZE), 1)}:{total}:{self.back + 1}"
        last = rows < PAGE_SIZE if meta.total_pages is None else self.page >= meta.total_pages
        return None if last or rows == 0 else f"{self.page + 1}:{total}:{self.back}"


def api_campaigns(answer: Any) -> list[Choice]:
    """The campaigns of a list, as an operator can point at them."""
    rows = answer.get("campaigns") if isinstance(answer, dict) else answer
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [Choice(id=str(row["uuid"]), name=str(row.get("name") or row["uuid"])) for row in found if row.get("uuid")]


def _convert(value: Any, shape: Any, what: str) -> Any:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise PermanentError(f"SparkLoop answered something else than {what}: {error}") from None


# What can be mapped.


def fields_of(settings: SparkLoopSettings) -> list[FieldInfo]:
    """The vendor fields: what SparkLoop reports, read-only, then what it takes."""
    read: FieldNames = settings.field_names
    taken: Sequence[FieldInfo] = [
        FieldInfo(name="first_name", label="First name"),
        FieldInfo(name="last_name", label="Last name, sent inside name"),
        FieldInfo(name="name", label="Whole name; left out, it is made of first_name and last_name"),
        FieldInfo(name="id", label="Your own id of the person, sent with the sign-up"),
    ]
    country = [FieldInfo(name="country_code", label="Country, two letters", max_length=2)]
    return [
        FieldInfo(name=read.subid, label="SparkLoop's subscriber ID", read_only=True),
        FieldInfo(name=read.code, label="Subscriber's referral code", read_only=True),
        FieldInfo(name=read.reflink, label="Subscriber's referral link", read_only=True),
        FieldInfo(name=read.isref, type="boolean", label="Whether the subscriber has been referred", read_only=True),
        FieldInfo(name=read.totref, type="integer", label="Total number of referrals", read_only=True),
        FieldInfo(name=read.coupon, label="Most recently won coupon code", read_only=True),
        FieldInfo(name=read.lastreward, label="ID of the last reward won", read_only=True),
        *taken,
        *(country if settings.send_country_code else []),
    ]
