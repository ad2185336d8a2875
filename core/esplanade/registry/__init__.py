"""Plugins: found by name or file, judged before they are used, and held with pluggy under their connector's name."""

from .find import Installed, find, installed, types_of, version_of
from .held import Registry

__all__ = ["Installed", "Registry", "find", "installed", "types_of", "version_of"]
