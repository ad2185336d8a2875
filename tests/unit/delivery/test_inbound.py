"""What a plugin says of a webhook that it read: when a report was read counts, where the call only said whom to ask about."""

from datetime import UTC, datetime, timedelta
from random import Random

import msgspec
import pytest

from esplanade.config.model import ConnectorConfig
from esplanade.delivery.desk import Work
from esplanade.delivery.inbound import InboundDesk
from esplanade.ingest.shapes import ReportIn, WebhookIn
from esplanade.model import Report
from esplanade.records import Delivery
from esplanade.testing import FakeClock

CAME = datetime(2026, 1, 15, 9, tzinfo=UTC)
NOW = datetime(2026, 1, 15, 10, tzinfo=UTC)


async def journalled(report):
    """What goes into the journal of a call that came an hour ago and is read now."""

    async def hook(_request, _ctx):
        return [report]

    clock = FakeClock(NOW.timestamp())
    config = ConnectorConfig(name="crm", plugin="crm")
    desk = InboundDesk(config, hook=hook, verify=None, fetch=None, ctx=None, clock=clock, rng=Random(1))
    payload = msgspec.msgpack.encode(WebhookIn(method="POST", verified=True))
    delivery = Delivery(id=1, lane="crm:in", kind="webhook", first_at=CAME.timestamp(), payload=payload)
    (answer,) = await desk.do([Work(delivery=delivery, key=1, job=delivery)])
    (entry,) = answer.yields
    return msgspec.msgpack.decode(entry.body, type=ReportIn)


async def test_what_the_call_itself_says_is_as_old_as_the_call():
    body = await journalled(Report(email="ada@example.com"))
    assert (body.read_at, body.pulled) == (CAME.timestamp(), False)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=3)])
async def test_what_was_read_upon_it_is_as_old_as_the_reading_and_never_of_the_future(ahead):
    body = await journalled(Report(email="ada@example.com", read_at=NOW + ahead))
    assert (body.read_at, body.pulled) == (NOW.timestamp(), True)
