"""What a call of Copernica means to the hub. Pure: what must be asked of the vendor, the caller asks.

Kinds and variables are those of facts 10.3 and 11 (the vendor's pages on webhooks and on callback URLs).
Unsubscribe calls carry no address, and subprofile calls not that of their profile: ``needs_reading`` says so.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, assert_never

import msgspec

from esplanade import Happening, Held, Report

from .audiences import memberships
from .calls import CHANGES, Call
from .mapping import COLLECTION
from .settings import CopernicaConsent
from .values import shown, state_of

if TYPE_CHECKING:
    from esplanade import Context, Inbound

    from .mapping import Places
    from .settings import CopernicaSettings


def needs_reading(call: Call, settings: CopernicaSettings, where: Places, *, collection: str | None = None) -> bool:
    """Whether the profile must be read to know whose call it is: it names a profile of ours, and no address.

    ``where`` are the places of the mapped fields; ``collection`` is the vendor's number of the collection of profile values,
    None where it is not known.
    """
    if call.email is not None or call.profile is None or call.kind == "delete":
        return False
    return _why_ignored(call, settings, where, collection) is None


def read(
    call: Call,
    settings: CopernicaSettings,
    where: Places,
    ctx: Context,
    *,
    email: str | None = None,
    collection: str | None = None,
) -> list[Inbound]:
    """What a call reports; nothing, and a line in the log, where it is none of ours or says nothing known.

    ``email`` is the profile's address as read elsewhere, for calls that do not carry it; without it a report has the
    profile's id alone, and a mail event cannot be told. ``where`` and ``collection`` are as for ``needs_reading``.
    """
    why = _why_ignored(call, settings, where, collection)
    address = call.email or email
    if why is None and address is None and call.profile is None:
        why = "it names nobody"
    if why is not None:
        ctx.log.info("call left out", why=why, type=call.word)
        return []
    match call.kind:
        case "create" | "update":
            return [_changed(call, where, ctx, address)]
        case "delete":
            return [Report(email=address, remote_id=call.profile, deleted=True, at=call.at, event_id=event_id(call))]
        case "unsubscribe":
            # Whatever the database does upon it, and even where it does nothing: the person asked for no more mail.
            # Without an event id: an opt-out that repeats does no harm, one taken for a repeat would.
            denied: dict[str, Held] = dict.fromkeys(_consent_fields(ctx), "denied")
            return [Report(email=address, remote_id=call.profile, consents=denied, at=call.at)]
        case "click" | "open" | "bounce" | "failure" | "delivery":
            return _happened(call, ctx, address)
        case "unknown":
            return []
        case _ as never:
            assert_never(never)


def event_id(call: Call) -> str | None:
    """The same for a call that is repeated; None where it tells neither a time nor an id, as callbacks do not.

    Mail events are told apart by kind, id and time. Changes may come twice in one second, so there the values count too.
    """
    if call.at is None and (call.id is None or call.kind in CHANGES):
        return None
    if call.kind not in CHANGES and call.id is not None:
        return f"{call.kind}:{call.id}:{call.at.timestamp():.0f}" if call.at is not None else f"{call.kind}:{call.id}"
    return f"{call.kind}:{hashlib.sha256(msgspec.json.encode(call)).hexdigest()}"


def _why_ignored(call: Call, settings: CopernicaSettings, where: Places, collection: str | None) -> str | None:
    """Why a call is none of ours; None when it is."""
    if call.kind == "unknown":
        return "its type is not known, or it is a test"
    if settings.inbound_mode not in {"both", call.origin}:
        return f"it looks like a {call.origin}, and inbound_mode says {settings.inbound_mode}"
    if call.database is not None and call.database != str(settings.database_id):
        return "it is about another database"
    if not call.of_subprofile or call.kind not in CHANGES:
        return None
    if not where.collection or call.kind == "delete":
        return "it is about a subprofile that is not read"
    named = {settings.collection(COLLECTION).lower(), collection}
    return None if (call.collection or "").lower() in named else "it is about a collection that is not read"


def _changed(call: Call, where: Places, ctx: Context, email: str | None) -> Report:
    row = {"fields": call.values}
    consents = {} if call.of_subprofile else _consents(call, ctx)
    return Report(
        email=email,
        previous_email=call.previous_email,
        remote_id=call.profile,
        fields=where.shown_below(row) if call.of_subprofile else where.shown(row),
        consents=consents,
        audiences={} if call.of_subprofile else memberships(call.interests, ctx),
        at=call.at,
        event_id=None if "denied" in consents.values() else event_id(call),
    )


def _consent_fields(ctx: Context) -> dict[str, CopernicaConsent]:
    return {purpose: target for purpose, target in ctx.consents.items() if isinstance(target, CopernicaConsent)}


def _consents(call: Call, ctx: Context) -> dict[str, Held]:
    """What the call's consent fields say; a field that it does not carry says nothing, nor does any other value."""
    held: dict[str, Held] = {}
    for purpose, target in _consent_fields(ctx).items():
        value = shown({"fields": call.values}, [target.field]).get(target.field)
        called_with = shown({"fields": call.changed}, [target.field]).get(target.field)
        if isinstance(called_with, str) and state_of(called_with, target) == "denied":
            held[purpose] = "denied"  # whatever the vendor has made of it: somebody wanted this
            continue
        match state_of(value if isinstance(value, str) else None, target):
            case "granted" | "denied" | "pending" as state:
                held[purpose] = state
            case _:
                pass
    return held


def _happened(call: Call, ctx: Context, email: str | None) -> list[Inbound]:
    if email is None:
        ctx.log.info("call left out", why="its profile's address is not known", type=call.word)
        return []
    data: dict[str, object] = dict(call.details)
    if call.profile is not None:
        data["profile"] = call.profile
    return [Happening(name=call.kind, email=email, data=data, at=call.at, event_id=event_id(call))]
