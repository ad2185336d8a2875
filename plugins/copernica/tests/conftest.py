"""A Copernica account on loopback, and the connector pointed at it through the real HTTP session."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from esplanade import AudienceChange, ConsentEvent, Context, ProfileEvent, TriggerEvent, runtime
from esplanade.testing import FakeClock, open_context
from esplanade_copernica.plugin import CopernicaConnector
from esplanade_copernica.settings import CopernicaAudience, CopernicaConsent, CopernicaTrigger
from esplanade_copernica.twin import CopernicaTwin

NOW = datetime(2026, 1, 15, 10, tzinfo=UTC)

FIELDS = {"firstname": "Firstname", "city": "City", "points": "Points", "born": "Birthdate"}
BELOW = {"city": "SQ_profile.City", "firstname": "Firstname"}
"""Fields of which one lives in the profile's subprofile."""
CONSENTS = {"newsletter": CopernicaConsent(field="Newsletter", granted="yes", denied="no", pending="asked")}
AUDIENCES = {"vip": CopernicaAudience(id=12), "churn-risk": CopernicaAudience()}
TRIGGERS = {"abandoned-cart": CopernicaTrigger()}


class Hub:
    """A connector with its context, and the events that the core would hand to it."""

    def __init__(self, connector: CopernicaConnector, ctx: Context) -> None:
        self.connector = connector
        self.ctx = ctx

    async def profile(self, email: str = "noor@example.net", **parts: Any) -> Any:
        parts.setdefault("desired", {"Firstname": "Noor"})
        parts.setdefault("changed", parts["desired"])
        add, remove = parts.pop("add", {}), parts.pop("remove", {})
        event = ProfileEvent(
            delivery_id="d-1",
            person="p-1",
            email=email,
            audiences=AudienceChange(add=add, remove=remove),
            at=NOW,
            **parts,
        )
        return await self.connector.on_profile(event, self.ctx)

    async def consent(
        self, state: Any, email: str = "noor@example.net", purpose: str = "newsletter", **parts: Any
    ) -> Any:
        event = ConsentEvent(
            delivery_id="d-2",
            person="p-1",
            email=email,
            purpose=purpose,
            target=parts.pop("target", CONSENTS[purpose]),
            state=state,
            said_at=NOW,
            at=NOW,
            **parts,
        )
        return await self.connector.on_consent(event, self.ctx)

    def a_trigger(self, email: str = "noor@example.net", **parts: Any) -> TriggerEvent[CopernicaTrigger]:
        parts.setdefault("target", TRIGGERS["abandoned-cart"])
        parts.setdefault("trigger_id", "t-9")
        return TriggerEvent(delivery_id="d-3", person="p-1", email=email, trigger="abandoned-cart", at=NOW, **parts)

    async def trigger(self, email: str = "noor@example.net", **parts: Any) -> Any:
        return await self.connector.on_trigger(self.a_trigger(email, **parts), self.ctx)

    async def pull(self) -> tuple[list[Any], list[str]]:
        """A whole pull: its reports and the purposes that it covers."""
        reports, cursor = [], None
        while True:
            page = await self.connector.pull(cursor, self.ctx)
            reports += page.reports
            if page.cursor is None:
                return reports, page.covers
            cursor = page.cursor


OpenHub = Callable[..., AbstractAsyncContextManager[Hub]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def twin(clock: FakeClock) -> AsyncIterator[CopernicaTwin]:
    started = CopernicaTwin(CopernicaTwin.demo_settings(), clock=clock)
    started.keep_requests = True
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
def open_hub(twin: CopernicaTwin, clock: FakeClock) -> OpenHub:
    """Open a hub on the twin; keywords change its settings, ``mapped`` its mappings."""

    @asynccontextmanager
    async def opened(mapped: dict[str, Any] | None = None, **changes: Any) -> AsyncIterator[Hub]:
        settings = msgspec.structs.replace(twin.rewired(twin.settings), **changes)
        connector = CopernicaConnector(settings)
        mapping = {"fields": FIELDS, "consents": CONSENTS, "audiences": AUDIENCES, "triggers": TRIGGERS}
        async with open_context(
            connector, clock=clock, language="nl", timeout_s=5.0, **{**mapping, **(mapped or {})}
        ) as ctx:
            yield Hub(connector, ctx)

    return opened


@pytest.fixture
async def hub(open_hub: OpenHub) -> AsyncIterator[Hub]:
    async with open_hub() as opened:
        yield opened


@pytest.fixture
def calls(twin: CopernicaTwin) -> Callable[[], list[str]]:
    """The calls made since the last time, as ``METHOD path?query``; tokens are left out."""

    def since() -> list[str]:
        made = [
            f"{each.method} {each.path[3:]}" + (f"?{each.query}" if each.query else "")
            for each in twin.requests
            if each.path.startswith("/v")
        ]
        twin.requests.clear()
        return made

    return since


@pytest.fixture
async def own_hub(tmp_path: Path, clock: FakeClock) -> AsyncIterator[tuple[runtime.Hub, CopernicaTwin]]:
    """A whole hub with one Copernica that it has registered its webhooks at."""
    connector = {
        "plugin": "copernica",
        "twin": True,
        "settings": {"api_token": "demo-api-token", "database_id": 31},
        "fields": {"city": "City", "name": "Firstname"},
    }
    content = {
        "hub": {"listen": "127.0.0.1:0", "store": "sqlite:hub.db", "egress": {"allow": ["127.0.0.0/8"]}},
        "sources": {"shop": {"token": "a-token-of-the-shop-1"}},
        "connectors": {"copernica": connector},
    }
    (tmp_path / "connectors.yaml").write_text(json.dumps(content))
    hub = await runtime.Hub.start(runtime.load(tmp_path / "connectors.yaml", {}), clock=clock)
    twin = hub.connections["copernica"].twin
    assert isinstance(twin, CopernicaTwin)
    await hub.webhooks("copernica")  # after those that it has registered by itself at its start
    yield hub, twin
    await hub.stop()
