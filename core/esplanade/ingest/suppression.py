"""Whether somebody who was erased would be brought back, and what lets them come back of their own accord."""

from __future__ import annotations

from esplanade.store.erasures import Suppression
from esplanade.store.port import Reader, Unit

__all__ = ["Suppression", "lift", "suppressed"]


def suppressed(
    reader: Reader,
    *,
    email_key: str | None = None,
    cdp_id: str | None = None,
    remote: tuple[str, str] | None = None,
) -> Suppression | None:
    """Whose erasure keeps a person from being made who is known by any of these; None: nobody's.

    ``remote`` is a connector and its vendor's id. Ask only where a person would be made: who is there was not erased. On the
    writer it costs next to nothing while nobody was ever erased.
    """
    known = {
        "email": email_key,
        "id": cdp_id,
        "remote": None if remote is None else "\0".join(remote),
    }
    for kind, text in known.items():
        found = reader.suppression(kind, text) if text else None
        if found is not None:
            return found
    return None


def lift(unit: Unit, found: Suppression, email_key: str) -> None:
    """Let a person be made by this address, and by the ids of the person who was erased.

    Their other addresses stay suppressed: a vendor may hold them still.
    """
    unit.lift_suppression(found.person, email_key)
