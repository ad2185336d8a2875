"""The checks themselves, one module for each family of rules. Importing this registers all of them."""

from . import consents, loops, profiles

__all__ = ["consents", "loops", "profiles"]
