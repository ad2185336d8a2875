"""Why something was not sent, not folded or not taken over: every reason that the hub records, what it means, what can be done."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NewType, TypeAlias

from msgspec import Struct

Reason: TypeAlias = Literal[
    "conflict",
    "drift",
    "duplicate",
    "echo",
    "egress-refused",
    "expired",
    "fold-failed",
    "former-address",
    "gave-up",
    "guard",
    "identity-conflict",
    "loop",
    "merged",
    "no-consent",
    "no-email",
    "not-evidenced",
    "not-known",
    "not-mapped",
    "not-owned",
    "not-planned",
    "outcome-unknown",
    "paused",
    "quota",
    "rejected",
    "retried",
    "stale",
    "suppressed",
    "unchanged",
    "unconfirmed",
]

PluginReason = NewType("PluginReason", str)
"""What a plugin itself gave as the reason of an outcome: any text, which is shown as it is."""


class Meaning(Struct, frozen=True, kw_only=True):
    """One sentence about a reason, and one about what a human can do where they can do something."""

    means: str
    remedy: str | None = None


REASONS: Mapping[Reason, Meaning] = MappingProxyType(
    {
        "conflict": Meaning(
            means="the vendor reported something else, and the hub's word stands",
            remedy="`conflict` of the connector says who wins; consent has a law of its own",
        ),
        "drift": Meaning(
            means="the vendor holds something else than it was sent: it altered, cut or refused a value, or lost the contact",
            remedy="see what the field takes at the vendor, or send a value that it can hold",
        ),
        "duplicate": Meaning(means="this event id, or this trigger for this person, was seen before"),
        "echo": Meaning(means="a report repeated what the hub had sent, or what it knew the vendor to hold"),
        "egress-refused": Meaning(
            means="the address to call is private or unknown to the plugin, so the call did not leave",
            remedy="list it in `hub.egress.allow`, then `esplanade replay --reason egress-refused`",
        ),
        "expired": Meaning(
            means="the trigger's time had passed before it could be sent",
            remedy="`esplanade replay --id ID --force` sends it all the same",
        ),
        "fold-failed": Meaning(
            means="an accepted event could not be applied; it is kept whole",
            remedy="the log says why; `esplanade replay --reason fold-failed` tries again",
        ),
        "former-address": Meaning(means="the vendor spoke of a contact under a former address, which may only opt out"),
        "gave-up": Meaning(
            means="it failed for the whole retry window and often enough; a dead letter keeps it",
            remedy="once the vendor is well, `esplanade replay --reason gave-up`",
        ),
        "guard": Meaning(
            means="too many people at once would leave, so a human is asked first",
            remedy="see who removes them; `esplanade replay --reason guard` lets them go",
        ),
        "identity-conflict": Meaning(
            means="the event's address and id belong to different people, so nothing of it but an opt-out was applied",
            remedy="correct the id or the address at the source, then `esplanade replay --reason identity-conflict`",
        ),
        "loop": Meaning(
            means="the change had come round more than `hub.max_hops` times, so it is kept and not passed on",
            remedy="see which vendor rewrites what it is sent; `esplanade replay --reason loop` passes it on once more",
        ),
        "merged": Meaning(means="two people turned out to be one, and what waited for one of them is told for both"),
        "no-consent": Meaning(
            means="it needs a purpose that the person has not granted",
            remedy="a consent event with evidence grants it",
        ),
        "no-email": Meaning(
            means="only the person's id is known yet, no address",
            remedy="send a profile with both `id` and `email`",
        ),
        "not-evidenced": Meaning(
            means="a grant could not lift an earlier denial: it had no evidence, or came by import, profile or a report",
            remedy="send it as a consent event with `evidence`; `regrant` says what a vendor's word is worth",
        ),
        "not-known": Meaning(means="it was about somebody who is not known here, with nothing to know them by"),
        "not-mapped": Meaning(
            means="nothing in `connectors.yaml` says where this goes, or `receives` or `sends` leaves it out",
            remedy="map it under the connector's `fields`, `consents`, `audiences` or `triggers`",
        ),
        "not-owned": Meaning(
            means="the hub did not put this person into the audience, so it does not take them out",
            remedy="take them out at the vendor, if they are to leave",
        ),
        "not-planned": Meaning(
            means="the hub itself failed over what to send, so it is kept and nothing was sent",
            remedy="please report it with the log; `esplanade replay --reason not-planned` tries again",
        ),
        "outcome-unknown": Meaning(
            means="nobody knows whether the vendor sent the trigger's mail, or the one that asks to confirm; it is not sent twice",
            remedy="look at the vendor whether it went out; if not, `esplanade replay --id ID --force`",
        ),
        "paused": Meaning(
            means="the vendor refuses the credentials or the endpoint, so the connector is paused and its work waits",
            remedy="`esplanade connectors` says why; once that is mended, `esplanade resume NAME`",
        ),
        "quota": Meaning(
            means="the vendor, or the connector's own pace, asks for patience, and the call is made later"
        ),
        "rejected": Meaning(
            means="the vendor understood and refused; a dead letter keeps it",
            remedy="correct the value or the mapping, then `esplanade replay --reason rejected`",
        ),
        "retried": Meaning(means="the call failed in a way that may pass, and is made again"),
        "stale": Meaning(means="it is older than what is known already"),
        "suppressed": Meaning(
            means="the person was erased, and has not asked to be known again",
            remedy="a consent event `granted` with evidence, said after the erasure, lets them back",
        ),
        "unchanged": Meaning(means="it is held already, so there was nothing to do"),
        "unconfirmed": Meaning(
            means="the report may be older than what was sent since, so the vendor is asked what it holds now"
        ),
    }
)


def meaning(reason: str) -> Meaning | None:
    """What a recorded reason means; None for a plugin's own."""
    return next((each for code, each in REASONS.items() if code == reason), None)
