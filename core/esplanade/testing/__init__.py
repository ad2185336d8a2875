"""For those who write plugins: the base of vendors' twins, scripted faults, and a clock moved by hand. Needs no pytest."""

from .clock import FakeClock
from .faults import Fault, load_faults
from .harness import open_context
from .side import FORGERIES, Call, Contact, Mail, Untidy, VendorSide
from .twin import Furnishing, Twin

__all__ = [
    "FORGERIES",
    "Call",
    "Contact",
    "FakeClock",
    "Fault",
    "Furnishing",
    "Mail",
    "Twin",
    "Untidy",
    "VendorSide",
    "load_faults",
    "open_context",
]
