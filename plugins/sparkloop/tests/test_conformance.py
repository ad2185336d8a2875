"""Every rule of the conformance suite, each as a test with its id."""

from esplanade.conformance import suite
from esplanade_sparkloop.plugin import SparkLoopConnector

test_conformance = suite(SparkLoopConnector)
