"""The command line. ``main`` is the console script; the commands are in ``commands/``, by theme."""

from .main import main

__all__ = ["main"]
