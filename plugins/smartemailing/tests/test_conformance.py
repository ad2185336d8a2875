"""Every rule of the conformance suite, each as a test with its id."""

from esplanade.conformance import suite
from esplanade_smartemailing.plugin import SmartEmailingConnector

test_conformance = suite(SmartEmailingConnector)
