"""For those who write plugins: the base of vendors' twins, scripted faults, and a clock moved by hand. Needs no pytest."""

from .clock import FakeClock
from .faults import Fault, load_faults
from .harness import open_context
from .twin import Furnishing, Twin

__all__ = ["FakeClock", "Fault", "Furnishing", "Twin", "load_faults", "open_context"]
