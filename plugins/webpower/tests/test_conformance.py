"""Every rule of the conformance suite, each as a test with its id."""

from esplanade.conformance import suite
from esplanade_webpower.plugin import WebpowerConnector

test_conformance = suite(WebpowerConnector)
