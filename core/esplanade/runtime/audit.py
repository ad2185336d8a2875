"""The head of the consent ledger in the log."""

from __future__ import annotations

from typing import Any

from esplanade.errors import StoreError
from esplanade.store.port import Store
from esplanade.sync.audit import Head


async def log_head(store: Store, log: Any) -> None:
    """Log the ledger's head. Logs leave the machine, so that a ledger whose end was cut can be told from them later."""
    try:
        end = await store.read(lambda reader: reader.ledger_end())
    except StoreError as problem:
        log.error("ledger_unreadable", error=str(problem))
    else:
        log.info("ledger_head", head=str(Head.of(end.tips)))
