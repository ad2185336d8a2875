"""The hub's secret, and the unguessable part of each connector's hook URL that is derived from it."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping

from esplanade.config.model import Config
from esplanade.store.port import Store, Unit


async def load_secret(config: Config, store: Store) -> bytes:
    """``hub.secret``, or else one that is made once and kept in the store."""
    given = config.hub.secret.reveal()
    return given.encode() if given else (await store.run(_kept)).encode()


def hook_keys(config: Config, secret: bytes) -> Mapping[str, str]:
    """A connector's own ``hook_key``, or one derived from the hub's secret and its name."""
    return {
        connector.name: connector.hook_key.reveal()
        or hmac.new(secret, b"hook\0" + connector.name.encode(), hashlib.sha256).hexdigest()[:32]
        for connector in config.connectors.values()
    }


def _kept(unit: Unit) -> str:
    held = unit.meta("secret")
    if held is None:
        held = os.urandom(32).hex()
        unit.set_meta("secret", held)
    return held
