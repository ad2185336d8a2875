"""The checks themselves, one module for each family of rules. Importing this registers all of them."""

from . import connection, consents, delivery, docs, hostile, inbound, loops, observing, pacing, package, profiles, settings

__all__ = ["connection", "consents", "delivery", "docs", "hostile", "inbound", "loops", "observing", "pacing", "package", "profiles", "settings"]
