"""The README's receiver takes what the plugin sends, and its example is a real event."""

import re
from pathlib import Path

import msgspec
import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from esplanade.testing import open_context
from esplanade_webhook.plugin import WebhookConnector
from esplanade_webhook.settings import WebhookSettings

from .conftest import OTHER, SECRET, consent, settings

README = (Path(__file__).parents[1] / "README.md").read_text()


def block(language):
    return re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)[1]


async def test_its_receiver_takes_an_event_once_and_only_ours(receiver):
    names = {}
    exec(block("python"), names)
    connector = WebhookConnector(settings(url=f"{receiver.origin}/in"))
    async with open_context(connector) as ctx:
        await connector.on_consent(consent(method="double"), ctx)
    _, _, headers, body = receiver.requests[0]

    with pytest.raises(WebhookVerificationError):
        names["receive"](body, headers, OTHER)
    assert names["receive"](body, headers, SECRET) == msgspec.json.decode(block("json"))
    assert names["receive"](body, headers, SECRET) is None


def test_it_names_every_setting():
    rows = re.findall(r"^\| `(\w+)` \| ", README.split("## What is sent")[0], re.MULTILINE)

    assert sorted(rows) == sorted(WebhookSettings.__struct_fields__)
