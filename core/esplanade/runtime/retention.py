"""How long things are kept."""

from __future__ import annotations

from esplanade.store.port import Store

IDS_S = 30 * 86_400.0
"""How long a repeat is told from something new, at least, whatever the retention of payloads is."""


async def prune(store: Store, now: float, retention_s: float) -> None:
    """Delete what is past its time, in slices that leave the writer to others."""
    kept_since = now - retention_s
    ids_since = min(kept_since, now - IDS_S)
    pruned = 1
    while pruned:
        pruned = await store.run(lambda unit: unit.prune(kept_since=kept_since, ids_since=ids_since), durable=False)
