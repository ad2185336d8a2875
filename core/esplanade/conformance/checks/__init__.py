"""The checks themselves, one module for each family of rules. Importing this registers all of them."""

from . import (
    audiences,
    connection,
    consents,
    delivery,
    docs,
    hostile,
    inbound,
    loops,
    observing,
    pacing,
    package,
    profiles,
    pulls,
    settings,
    triggers,
)

__all__ = [
    "audiences",
    "connection",
    "consents",
    "delivery",
    "docs",
    "hostile",
    "inbound",
    "loops",
    "observing",
    "pacing",
    "package",
    "profiles",
    "pulls",
    "settings",
    "triggers",
]
