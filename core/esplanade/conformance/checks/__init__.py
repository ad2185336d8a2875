"""The checks themselves, one module for each family of rules. Importing this registers all of them."""

from . import audiences, connection, consents, crash, delivery, docs, hostile, hosts, inbound, loops, observing, pacing, package, profiles, pulls, secrets, settings, triggers

__all__ = ["audiences", "connection", "consents", "crash", "delivery", "docs", "hostile", "hosts", "inbound", "loops", "observing", "pacing", "package", "profiles", "pulls", "secrets", "settings", "triggers"]
