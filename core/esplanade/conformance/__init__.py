"""The conformance suite: what every plugin must pass, written once and run against each plugin and its twin.

In a plugin's tests, three lines run all of it, each check as a test that carries its id::

    from esplanade.conformance import suite
    from esplanade_crm.plugin import CrmConnector

    test_conformance = suite(CrmConnector)

``esplanade plugin test NAME`` does the same without pytest. The plugin's ``quality.yaml`` gives a connector to try it with,
and the reasons why checks do not apply.
"""

from .catalogue import RULES, Rule, Tier
from .check import CheckFailed
from .quality import Quality, load_quality
from .run import Report, Result, run, tier_of
from .suite import suite
from .table import table

__all__ = [
    "RULES",
    "CheckFailed",
    "Quality",
    "Report",
    "Result",
    "Rule",
    "Tier",
    "load_quality",
    "run",
    "suite",
    "table",
    "tier_of",
]
