"""Which of two webhooks is the older one, when neither carries a time.

SparkLoop repeats a webhook that failed for up to a month, does not promise an order, and gives no time but that of the
sign-up. What does grow is ``tot_referrals``, so it serves as the clock of what else a webhook says of the same person:

- A webhook with a lower count than the highest one seen is older. It lowers nothing and takes back no name. Its reward
  or coupon counts only if none is known from a later count.
- A reward that is null takes back a known one only from a higher count, because one referral's ``new_referral`` and
  ``reward_unlocked`` carry the same count and may arrive in either order.
- Resetting a campaign starts everybody at 0 again. But everybody also starts at 0 once without a reset, and that first
  webhook may be late. So a fall to 0 is a reset when this person's start was already seen, or when the person has been
  known for longer than SparkLoop repeats webhooks; else it is the late start, which is remembered and changes nothing.

What must be remembered is one ``Seen`` per subscriber id, kept in the connector's durable store.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

REPEATS_S = 31 * 86400.0
"""SparkLoop repeats a failed webhook "for up to a month"."""


class Seen(Struct, frozen=True, kw_only=True):
    """What earlier webhooks said of one subscriber. ``reward`` and ``coupon`` are the counts at which each was told."""

    total: int
    since: float
    """When the first of them came, or the last reset, in epoch seconds."""
    zero: str | None = None
    """The event that reported a count of 0."""
    reward: int = -1
    coupon: int = -1


class Weight(Struct, frozen=True, kw_only=True):
    """What of a webhook counts, and what is to be remembered after it."""

    current: bool = True
    reward: str | UnsetType | None = UNSET
    coupon: str | UnsetType = UNSET
    seen: Seen | None = None


def weigh(
    seen: Seen | None,
    *,
    total: int | None,
    reward: str | UnsetType | None = UNSET,
    coupon: str | UnsetType = UNSET,
    event: str,
    at: float,
) -> Weight:
    """Judge one webhook. Judging it again after it was remembered gives the same answer."""
    if total is None:
        return Weight(reward=reward, coupon=coupon, seen=seen)
    before = seen or Seen(total=total, since=at)
    if total == 0 < before.total and before.zero != event:
        if before.zero is not None or at - before.since > REPEATS_S:
            before = Seen(total=0, since=at)
        before = msgspec.structs.replace(before, zero=event)
    if total == 0 == before.total and before.zero is None:
        before = msgspec.structs.replace(before, zero=event)
    after = msgspec.structs.replace(before, total=max(before.total, total))
    current = total >= before.total
    if reward is None:
        reward = None if current and total > before.reward else UNSET
    elif reward is not UNSET:
        reward = reward if total >= before.reward else UNSET
        after = msgspec.structs.replace(after, reward=max(before.reward, total))
    if coupon is not UNSET:
        coupon = coupon if total >= before.coupon else UNSET
        after = msgspec.structs.replace(after, coupon=max(before.coupon, total))
    return Weight(current=current, reward=reward, coupon=coupon, seen=after)


def remembered(kept: Any) -> Seen | None:
    """What the store kept; None when it kept nothing that can be read."""
    try:
        return msgspec.convert(kept, Seen)
    except msgspec.ValidationError:
        return None
