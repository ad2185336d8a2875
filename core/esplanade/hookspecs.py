"""The hooks: what happens in the hub that a connector may act on. The file to read first.

Each hook takes the event and the context, exactly these two, for ever. It returns an Outcome, or raises one of the
delivery errors, whose class says what the core does next (see ``errors.py``). The core owns order, retry, pace, consent
and loops; a hook only translates one event into the vendor's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pluggy

from .context import Context
from .model import ConsentEvent, Inbound, InboundRequest, Outcome, ProfileEvent, TriggerEvent

PROJECT = "esplanade"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
async def on_profile(event: ProfileEvent[Any], ctx: Context) -> Outcome:  # type: ignore[empty-body]
    """Called when a person's fields, address or audiences differ from what the vendor holds.

    Return ``Outcome(remote_id=…)`` once the vendor has acknowledged. The call is computed from the current state and may
    be repeated, so it must be an upsert. A TemporaryError is tried again; a PermanentError becomes a dead letter.

    >>> class Crm(Connector):
    ...     @hookimpl
    ...     async def on_profile(self, event, ctx):
    ...         answer = await ctx.http.put(f"/people/{event.person}", json=event.desired)
    ...         return Outcome(remote_id=answer.json()["id"])
    """


@hookspec
async def on_consent(event: ConsentEvent[Any], ctx: Context) -> Outcome:  # type: ignore[empty-body]
    """Called when one purpose of a person differs from what the vendor holds; ``event.target`` says where it lives there.

    Return ``Outcome()`` once acknowledged, or ``Outcome(status="pending")`` when the vendor has asked the person and stores
    nothing until they answer. ``denied`` is an opt-out: it comes first and must succeed for somebody the vendor never had.

    >>> class Crm(Connector):
    ...     @hookimpl
    ...     async def on_consent(self, event, ctx):
    ...         path = f"/people/{event.person}/purposes/{event.purpose}"
    ...         if event.state == "granted":
    ...             await ctx.http.put(path)
    ...         else:
    ...             await ctx.http.delete(path, allow=(404,))  # 404: the vendor never had them
    ...         return Outcome()
    """


@hookspec
async def on_trigger(event: TriggerEvent[Any], ctx: Context) -> Outcome:  # type: ignore[empty-body]
    """Called when this e-mail shall go to this person now, once for each ``event.trigger_id``.

    Return ``Outcome()`` once the vendor took it. Raise OutcomeUnknown when it may have: what happens then follows from
    the plugin's ``trigger_repeat``. The core has already checked consent and expiry.

    >>> class Crm(Connector):
    ...     @hookimpl
    ...     async def on_trigger(self, event, ctx):
    ...         await ctx.http.post("/mails", json={"to": event.email, "template": event.trigger, "key": event.trigger_id})
    ...         return Outcome()
    """


@hookspec
async def on_inbound_webhook(event: InboundRequest, ctx: Context) -> list[Inbound]:  # type: ignore[empty-body]
    """Called when a stored webhook of the vendor is read; it was verified and answered before.

    Return what it reports, in the order it happened; an empty list when it says nothing. It may be called again with the same
    request, and it may ask the vendor: then ``Report.read_at`` says since when. Raise PermanentError when the request cannot be
    understood: it is kept as a dead letter.

    >>> class Crm(Connector):
    ...     @hookimpl
    ...     async def on_inbound_webhook(self, event, ctx):
    ...         person = msgspec.json.decode(event.body)
    ...         return [Report(email=person["email"], fields={"city": person["city"]})]
    """


@hookspec
async def on_profile_batch(events: Sequence[ProfileEvent[Any]], ctx: Context) -> list[Outcome | Exception]:  # type: ignore[empty-body]
    """Called instead of ``on_profile`` for vendors with a bulk call; at most ``batch_items`` events, each another person.

    Return one Outcome or one delivery error per event, in the order of the events. Raising instead of returning says that
    the vendor answered for the whole; the core then halves the batch until it has found the culprit.

    >>> class Crm(Connector):
    ...     @hookimpl
    ...     async def on_profile_batch(self, events, ctx):
    ...         await ctx.http.post("/people/bulk", json=[event.desired for event in events], repeatable=True)
    ...         return [Outcome() for event in events]
    """


@hookspec
async def on_consent_batch(events: Sequence[ConsentEvent[Any]], ctx: Context) -> list[Outcome | Exception]:  # type: ignore[empty-body]
    """Called instead of ``on_consent`` for vendors with a bulk call; like ``on_profile_batch``.

    >>> class Crm(Connector):
    ...     @hookimpl
    ...     async def on_consent_batch(self, events, ctx):
    ...         await ctx.http.post("/consents", json=[[event.email, event.state] for event in events], repeatable=True)
    ...         return [Outcome() for event in events]
    """


@hookspec
async def on_trigger_batch(events: Sequence[TriggerEvent[Any]], ctx: Context) -> list[Outcome | Exception]:  # type: ignore[empty-body]
    """Called instead of ``on_trigger`` for vendors with a bulk call; like ``on_profile_batch``, for triggers.

    >>> class Crm(Connector):
    ...     @hookimpl
    ...     async def on_trigger_batch(self, events, ctx):
    ...         await ctx.http.post("/mails/bulk", json=[[event.email, event.trigger_id] for event in events])
    ...         return [Outcome() for event in events]
    """
