"""The three-way merge: desired, base and reported, and when two values are the same.

delivery = desired - base        remote change = reported - base        equal: an echo, which stops here
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from esplanade.config.model import Conflict
from esplanade.connector import Traits
from esplanade.model import Alters, Value
from esplanade.records import Clocked, Remote

from .alike import AS_GIVEN, Declared, alike, held
from .identity import same_address

Weighed = Literal["echo", "same", "take", "keep", "cut", "ask", "returned"]
"""What becomes of one reported value.

``echo``: our own write come back. ``same``: equal to the hub's. ``take``: a change to take over. ``keep``: older or outvoted,
the hub's stands. ``cut``: the vendor refused, cut or altered what it was sent. ``ask``: perhaps from before our last write, so the
vendor must be asked. ``returned``: an echo of a write that was replaced since, or a true return to its value: the same.
"""


KEEP_SENT = 8


class Delta(Struct, frozen=True, kw_only=True):
    """desired - base of one person at one connector, under the vendor's field names."""

    changed: dict[str, Value] = field(default_factory=dict)
    cleared: list[str] = field(default_factory=list)
    desired: dict[str, Value] = field(default_factory=dict)
    add: list[str] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    not_owned: list[str] = field(default_factory=list)
    renamed_from: str | None = None

    def is_empty(self) -> bool:
        """Whether the vendor holds everything already."""
        return not (self.changed or self.cleared or self.add or self.remove or self.renamed_from)


def is_empty(value: Value) -> bool:
    """Whether a value says that there is none."""
    if isinstance(value, str):
        return not value
    return value is None or (isinstance(value, list) and all(item == "" for item in value))


def is_gone(remote: Remote) -> bool:
    """Whether the vendor has deleted the contact whose consents the base still has; until a pull says what became of them."""
    return remote.email is None and remote.remote_id is None and "granted" in remote.consents.values()


def delta(
    person_email: str,
    desired: Mapping[str, Value],
    audiences: Mapping[str, bool],
    remote: Remote | None,
    traits: Traits,
) -> Delta:
    """What must be sent so that the vendor holds what the hub holds. Values it refused before are left out."""
    alters = traits.alters
    base: Mapping[str, Value] = remote.fields if remote else {}
    unknown = remote.unknown if remote else False
    rejected: Mapping[str, Value] = remote.rejected if remote else {}
    wanted, changed, cleared = dict[str, Value](), dict[str, Value](), list[str]()
    for name, value in desired.items():
        if rejected and _is_rejected(rejected, name, value):
            continue
        empty = is_empty(value)
        if not empty:
            wanted[name] = value
        if unknown or (not base and not empty) or not alike(value, base.get(name), alters):
            if not empty:
                changed[name] = value
            elif name in base:
                cleared.append(name)
    held: Mapping[str, bool] = remote.audiences if remote else {}
    owned = remote.owned if remote else []
    leaving = [
        name for name, member in audiences.items() if not member and (held.get(name) or (unknown and name in owned))
    ]
    return Delta(
        changed=changed,
        cleared=cleared,
        desired=wanted,
        add=[name for name, member in audiences.items() if member and (unknown or not held.get(name))],
        remove=[name for name in leaving if name in owned],
        not_owned=[name for name in leaving if name not in owned],
        renamed_from=_renamed_from(person_email, remote, traits),
    )


def _renamed_from(email: str, remote: Remote | None, traits: Traits) -> str | None:
    if remote is None:
        return None
    if remote.email is not None and not same_address(remote.email, email):
        return remote.email
    if traits.address_change == "merge":
        return next((one.email for one in remote.former if one.email and not same_address(one.email, email)), None)
    return None


class Telling(Struct, frozen=True, kw_only=True):
    """When a vendor said something, and how sure it is that it still holds."""

    now: float
    window: float
    """How long a value that we sent may come back."""
    at: float
    """The vendor's own clock for it; where it has none, when it was read."""
    has_clock: bool
    fresh: bool
    """The vendor was asked, after its last acknowledgement: this is what it holds, not what it held once."""


def weigh(
    reported: Value,
    *,
    key: str,
    remote: Remote,
    hub: Clocked | None,
    telling: Telling,
    conflict: Conflict,
    traits: Traits,
) -> Weighed:
    """What becomes of one reported field. ``key`` names it in the remote."""
    alters = traits.alters
    known = key in remote.fields and not remote.unknown
    if known and alike(reported, remote.fields[key], alters):
        return "echo"
    if (sent := echoed(remote, f"field:{key}", reported, telling, alters)) is not None:
        return "echo" if sent.at > remote.acked_at else "returned"
    if _was_cut(reported, remote, key, alters) or _was_altered(remote, key, telling, alters):
        return "cut"
    if hub is not None and alike(reported, hub.value, alters):
        return "same"
    if is_perhaps_older(remote, f"field:{key}", telling):
        if traits.can_fetch:
            return "ask"
        if telling.has_clock:
            return "keep"
    if hub is None:
        return "take"
    both_changed = not known or not alike(hub.value, remote.fields[key], alters)
    if both_changed and conflict != "newest":
        return "take" if conflict == "esp" else "keep"
    if not known and (not telling.has_clock or is_empty(reported)):
        return "keep"  # no base and no clock: nothing shows that the vendor's value is a change
    return "take" if telling.at > hub.at else "keep"


def echoed(remote: Remote, key: str, reported: Value, telling: Telling, alters: Declared = AS_GIVEN) -> Clocked | None:
    """The write of ours that a report repeats, if it is within the window and the report's own clock does not say otherwise."""
    if telling.fresh:
        return None
    for sent in reversed(remote.sent.get(key, ())):
        in_time = telling.now - sent.at <= telling.window and not (telling.has_clock and telling.at > sent.at)
        if in_time and alike(sent.value, reported, alters):
            return sent
    return None


def is_perhaps_older(remote: Remote, key: str, telling: Telling) -> bool:
    """Whether we wrote this within the window, and perhaps after what the report tells of."""
    sent = remote.sent.get(key)
    if telling.fresh or not sent or telling.now - sent[-1].at > telling.window:
        return False
    return not (telling.has_clock and telling.at > sent[-1].at)


def remember_sent(remote: Remote, values: Mapping[str, Value], now: float, window: float) -> None:
    """Note that values leave for the vendor now, each under its key, and forget those whose window has passed."""
    for key, value in values.items():
        before = remote.sent.get(key)
        kept = [sent for sent in before if now - sent.at <= window][1 - KEEP_SENT :] if before else []
        kept.append(Clocked(value, now))
        remote.sent[key] = kept
    if remote.confirmed:
        remote.confirmed = [key for key in remote.confirmed if key not in values]


def confirm(remote: Remote, key: str, reported: Value, alters: Declared) -> None:
    """Note that the vendor reports what it was last sent, so that a shorter value after this is a change, no cut."""
    sent = remote.sent.get(key)
    if sent and alike(sent[-1].value, reported, alters) and key not in remote.confirmed:
        remote.confirmed.append(key)


def _was_cut(reported: Value, remote: Remote, key: str, alters: Declared) -> bool:
    """Whether this is the first report after a write, and holds nothing or only the beginning of what was written."""
    sent = remote.sent.get(f"field:{key}")
    if f"field:{key}" in remote.confirmed or not sent or not isinstance(sent[-1].value, str):
        return False
    if not alike(remote.fields.get(key), sent[-1].value, alters):
        return False
    if is_empty(reported):
        return True
    rules = alters.get("text", Alters())
    return isinstance(reported, str) and held(sent[-1].value, rules).startswith(held(reported, rules))


def _was_altered(remote: Remote, key: str, telling: Telling, alters: Declared) -> bool:
    """Whether the vendor, asked after it took our last write, holds something else and yet says that nothing changed since.

    So this is what it made of ours; sent again, it would come to the same again.
    """
    sent = remote.sent.get(f"field:{key}")
    if not sent or not telling.fresh or not telling.has_clock or f"field:{key}" in remote.confirmed:
        return False
    is_since = telling.at > remote.acked_at or sent[-1].at > remote.acked_at
    return not is_since and alike(remote.fields.get(key), sent[-1].value, alters)


def _is_rejected(rejected: Mapping[str, Value], name: str, value: Value) -> bool:
    """Whether the vendor refused this very value; in another form it may take it."""
    return name in rejected and type(rejected[name]) is type(value) and rejected[name] == value
