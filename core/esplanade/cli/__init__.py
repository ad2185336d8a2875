"""The command line. ``main`` is the console script; ``program`` has the group, ``commands/`` the commands, by theme."""

import sys


def main() -> None:
    """Run the program and end the process."""
    try:
        from .program import main as program
    except KeyboardInterrupt:
        sys.exit(130)
    program()


__all__ = ["main"]
