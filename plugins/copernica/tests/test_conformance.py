"""Every rule of the conformance suite, each as a test with its id."""

from esplanade.conformance import suite
from esplanade_copernica.plugin import CopernicaConnector

test_conformance = suite(CopernicaConnector)
