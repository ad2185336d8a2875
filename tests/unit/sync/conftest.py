"""Connectors and people for the pure laws, small enough to be seen whole."""

from __future__ import annotations

import pytest

from esplanade.config.model import ConnectorConfig
from esplanade.model import AudienceTarget, ConsentTarget
from esplanade.records import Clocked, Person, Standing


class Asks(ConsentTarget, frozen=True, kw_only=True):
    """A target whose vendor has each plain grant confirmed."""

    def asks_to_confirm(self):
        return True


@pytest.fixture
def connector():
    def make(name="webpower", **more):
        kept = {
            "plugin": name,
            "receives": ["profile", "consent", "trigger"],
            "sends": ["profile", "consent"],
            "fields": {"firstname": "first_name", "phone": "mobile"},
            "consents": {"newsletter": ConsentTarget()},
            "audiences": {"vip": AudienceTarget(), "staff": AudienceTarget()},
        }
        return ConnectorConfig(name=name, **{**kept, **more})

    return make


@pytest.fixture
def person():
    def make(*, fields=None, audiences=None, **consents):
        """``newsletter="granted"``, or ``newsletter=("pending", "denied")`` for what holds under it."""
        ada = Person(id=1, email="ada@example.com", email_key="ada@example.com", cdp_id="u-1")
        ada.fields = {name: Clocked(value, 50.0) for name, value in (fields or {}).items()}
        ada.audiences = {name: Clocked(member, 50.0) for name, member in (audiences or {}).items()}
        for purpose, said in consents.items():
            state, under = said if isinstance(said, tuple) else (said, None)
            ada.consents[purpose] = Standing(state=state, under=under, method="single", at=50.0, source="shop")
        return ada

    return make


@pytest.fixture
def asks():
    return Asks()
