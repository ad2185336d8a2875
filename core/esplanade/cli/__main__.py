"""``python -m esplanade.cli``."""

from . import main

main()
