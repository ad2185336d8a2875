"""The three-way merge: desired, base and reported, and when two values are the same.

delivery = desired - base        remote change = reported - base        equal: an echo, which stops here
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from esplanade.config.model import Conflict
from esplanade.model import Value
from esplanade.records import Clocked, Remote

from .identity import same_address

Verdict = Literal["echo", "same", "take", "keep", "cut"]
"""What becomes of one reported value: our own write come back; equal to the hub's; a change to take over; older or outvoted, so the
hub's stands; or the vendor refused or cut what it was sent."""

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


def same(one: Value, other: Value) -> bool:
    """Whether two values mean the same at a vendor: nothing is like empty, and a number is like its text."""
    if one == other:
        return True
    return _text(one) == _text(other)


def delta(
    person_email: str,
    desired: Mapping[str, Value],
    audiences: Mapping[str, bool],
    remote: Remote | None,
) -> Delta:
    """What must be sent so that the vendor holds what the hub holds. Values it refused before are left out."""
    base: Mapping[str, Value] = remote.fields if remote else {}
    unknown = remote.unknown if remote else False
    rejected: Mapping[str, Value] = remote.rejected if remote else {}
    wanted = {name: value for name, value in desired.items() if not _is_rejected(rejected, name, value)}
    differing = [name for name, value in wanted.items() if unknown or not same(value, base.get(name))]
    renamed = remote is not None and remote.email is not None and not same_address(remote.email, person_email)
    held: Mapping[str, bool] = remote.audiences if remote else {}
    owned = remote.owned if remote else []
    leaving = [
        name for name, member in audiences.items() if not member and (held.get(name) or (unknown and name in owned))
    ]
    return Delta(
        changed={name: wanted[name] for name in differing if not same(wanted[name], None)},
        cleared=[name for name in differing if same(wanted[name], None) and name in base],
        desired={name: value for name, value in wanted.items() if not same(value, None)},
        add=[name for name, member in audiences.items() if member and (unknown or not held.get(name))],
        remove=[name for name in leaving if name in owned],
        not_owned=[name for name in leaving if name not in owned],
        renamed_from=remote.email if renamed and remote else None,
    )


def judge(
    reported: Value,
    *,
    key: str,
    remote: Remote,
    hub: Clocked | None,
    said_at: float,
    has_clock: bool,
    now: float,
    window: float,
    conflict: Conflict,
) -> Verdict:
    """What becomes of one reported field. ``key`` names it in the remote; ``said_at`` is the vendor's clock or when it was read."""
    known = key in remote.fields and not remote.unknown
    if known and same(reported, remote.fields[key]):
        return "echo"
    if in_flight(remote, f"field:{key}", reported, now=now, window=window, said_at=said_at if has_clock else None):
        return "echo"
    if _was_cut(reported, remote, key):
        return "cut"
    if hub is None:
        return "take"
    if same(reported, hub.value):
        return "same"
    both_changed = not known or not same(hub.value, remote.fields[key])
    if both_changed and conflict != "newest":
        return "take" if conflict == "esp" else "keep"
    if not known and not has_clock:
        return "keep"  # no base and no clock: nothing shows that the vendor's value is a change
    return "take" if said_at > hub.at else "keep"


def in_flight(remote: Remote, key: str, reported: Value, *, now: float, window: float, said_at: float | None) -> bool:
    """Whether a report repeats what was sent within the window, and its own clock, if any, does not say otherwise."""
    for sent in remote.sent.get(key, ()):
        if now - sent.at <= window and same(sent.value, reported) and (said_at is None or said_at <= sent.at):
            return True
    return False


def remember_sent(remote: Remote, key: str, value: Value, now: float, window: float) -> None:
    """Note that a value leaves for the vendor now, and forget those whose window has passed."""
    kept = [sent for sent in remote.sent.get(key, ()) if now - sent.at <= window]
    remote.sent[key] = [*kept, Clocked(value, now)][-KEEP_SENT:]
    if key in remote.confirmed:
        remote.confirmed.remove(key)


def confirm(remote: Remote, key: str, reported: Value) -> None:
    """Note that the vendor reports what it was last sent, so that a shorter value after this is a change, no cut."""
    sent = remote.sent.get(key)
    if sent and same(sent[-1].value, reported) and key not in remote.confirmed:
        remote.confirmed.append(key)


def _was_cut(reported: Value, remote: Remote, key: str) -> bool:
    sent = remote.sent.get(f"field:{key}")
    if f"field:{key}" in remote.confirmed or not sent or not isinstance(sent[-1].value, str):
        return False
    if not same(remote.fields.get(key), sent[-1].value):
        return False
    text = _text(reported)
    return text != sent[-1].value and sent[-1].value.startswith(text)


def _is_rejected(rejected: Mapping[str, Value], name: str, value: Value) -> bool:
    return name in rejected and same(rejected[name], value)


def _text(value: Value) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case list():
            return ",".join(_text(item) for item in value)
        case _:
            return str(value)
