"""A Webpower campaign on loopback, and the connector pointed at it through the real HTTP session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from esplanade import AudienceChange, ConsentEvent, Context, ProfileEvent, TriggerEvent
from esplanade.testing import FakeClock, open_context
from esplanade_webpower.plugin import WebpowerConnector
from esplanade_webpower.settings import WebpowerAudience, WebpowerConsent, WebpowerTrigger
from esplanade_webpower.twin import WebpowerTwin

NOW = datetime(2026, 1, 15, 10, tzinfo=UTC)

FIELDS = {"firstname": "firstname", "phone": "mobile_nr", "language": "lang", "city": "city", "code": "RH_CODE"}
CONSENTS = {"newsletter": WebpowerConsent(group=135, opt_in="double"), "service": WebpowerConsent(group=136)}
AUDIENCES = {"vip": WebpowerAudience(group=140), "churn-risk": WebpowerAudience()}
TRIGGERS = {"abandoned-cart": WebpowerTrigger(mailing=318, requires="newsletter")}


class Hub:
    """A connector with its context, and the events that the core would hand to it."""

    def __init__(self, connector: WebpowerConnector, ctx: Context) -> None:
        self.connector = connector
        self.ctx = ctx

    async def profile(self, email: str = "noor@example.net", **parts: Any) -> Any:
        parts.setdefault("desired", {"firstname": "Noor"})
        add, remove = parts.pop("add", {}), parts.pop("remove", {})
        event = ProfileEvent(
            delivery_id="d-1",
            person="p-1",
            email=email,
            changed=parts["desired"],
            audiences=AudienceChange(add=add, remove=remove),
            at=NOW,
            **parts,
        )
        return await self.connector.on_profile(event, self.ctx)

    async def consent(self, state: Any, email: str = "noor@example.net", purpose: str = "service", **parts: Any) -> Any:
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

    async def trigger(self, email: str = "noor@example.net", mailing: int = 318, **parts: Any) -> Any:
        event = TriggerEvent(
            delivery_id="d-3",
            person="p-1",
            email=email,
            trigger="abandoned-cart",
            target=WebpowerTrigger(mailing=mailing),
            trigger_id="t-9",
            at=NOW,
            **parts,
        )
        return await self.connector.on_trigger(event, self.ctx)

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
async def twin(clock: FakeClock) -> AsyncIterator[WebpowerTwin]:
    started = WebpowerTwin(WebpowerTwin.demo_settings(), clock=clock)
    started.keep_requests = True
    await started.start()
    yield started
    await started.stop()


@pytest.fixture
def open_hub(twin: WebpowerTwin, clock: FakeClock) -> OpenHub:
    """Open a hub on the twin; keywords change its settings, ``mapped`` its mappings."""

    @asynccontextmanager
    async def opened(mapped: dict[str, Any] | None = None, **changes: Any) -> AsyncIterator[Hub]:
        settings = msgspec.structs.replace(twin.rewired(twin.settings), **changes)
        connector = WebpowerConnector(settings)
        mapping = {"fields": FIELDS, "consents": CONSENTS, "audiences": AUDIENCES, "triggers": TRIGGERS}
        async with open_context(
            connector, clock=clock, language="nl", timeout_s=2.0, **{**mapping, **(mapped or {})}
        ) as ctx:
            yield Hub(connector, ctx)

    return opened


@pytest.fixture
async def hub(open_hub: OpenHub) -> AsyncIterator[Hub]:
    async with open_hub() as opened:
        yield opened


@pytest.fixture
def calls(twin: WebpowerTwin) -> Callable[[], list[str]]:
    """The calls made since the last time, as ``METHOD path`` below the campaign; tokens are left out."""

    def since() -> list[str]:
        root = "/admin/api/index.php/rest"
        made = [f"{each.method} {each.path.removeprefix(root)}" for each in twin.requests if "token" not in each.path]
        twin.requests.clear()
        return made

    return since
