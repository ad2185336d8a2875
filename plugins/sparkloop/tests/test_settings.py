"""What an operator may write under settings."""

import subprocess
import sys

import pytest

from esplanade import Secret
from esplanade_sparkloop.plugin import SparkLoopConnector
from esplanade_sparkloop.settings import FieldNames, SparkLoopSettings

URL = Secret("https://sparkloop.example/incoming/x")
KEY = Secret("k")


def test_api_v2_is_the_default():
    assert SparkLoopSettings(api_key=KEY).mode == "api_v2"
    assert SparkLoopSettings(api_key=KEY, incoming_webhook_url=URL).mode == "api_v2"


def test_only_a_url_means_incoming_webhook():
    assert SparkLoopSettings(incoming_webhook_url=URL).mode == "incoming_webhook"


def test_what_is_said_wins():
    settings = SparkLoopSettings(outbound_mode="incoming_webhook", api_key=KEY, incoming_webhook_url=URL)
    assert settings.mode == "incoming_webhook"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, "api_key: outbound_mode api_v2 needs it"),
        ({"outbound_mode": "api_v2", "incoming_webhook_url": URL}, "api_key: outbound_mode api_v2 needs it"),
        ({"outbound_mode": "incoming_webhook", "api_key": KEY}, "incoming_webhook_url: outbound_mode"),
        ({"incoming_webhook_url": Secret("not a url")}, "incoming_webhook_url: expected the whole"),
        ({"incoming_webhook_url": Secret("ftp://x.example/a")}, "incoming_webhook_url: expected the whole"),
        ({"incoming_webhook_url": Secret("https://a:b@x.example/a")}, "incoming_webhook_url: expected the whole"),
        ({"incoming_webhook_url": Secret("https://[x")}, "incoming_webhook_url: expected the whole"),
        ({"api_key": KEY, "referral_link_template": "https://x.example"}, "referral_link_template: it must hold"),
    ],
)
def test_a_mistake_names_the_key_and_the_remedy(changes, named):
    with pytest.raises(ValueError, match=named):
        SparkLoopSettings(**changes)


def test_a_mistake_never_shows_the_url():
    with pytest.raises(ValueError, match="incoming_webhook_url") as caught:
        SparkLoopSettings(incoming_webhook_url=Secret("https://hidden:secret@x.example/a"))
    assert "hidden" not in str(caught.value)


def test_field_names_must_differ_and_be_there():
    with pytest.raises(ValueError, match="two of them are the same"):
        FieldNames(code="RH_SUBID")
    with pytest.raises(ValueError, match="a name is blank"):
        FieldNames(code=" ")


def test_the_default_field_names_are_the_guides():
    assert FieldNames().all() == (
        "RH_SUBID", "RH_CODE", "RH_REFLINK", "RH_ISREF", "RH_TOTREF", "RH_COUPON", "RH_LASTREWARD",
    )  # fmt: skip


def test_referral_fields_are_read_only_under_whatever_name():
    renamed = SparkLoopSettings(api_key=KEY, field_names=FieldNames(code="code"))
    assert "RH_CODE" in SparkLoopConnector.read_only_fields
    assert "code" in SparkLoopConnector(renamed).read_only_fields
    assert "RH_CODE" not in SparkLoopConnector(renamed).read_only_fields


def test_the_endpoint_is_the_api_with_its_key_or_the_origin_of_the_url():
    api = SparkLoopConnector(SparkLoopSettings(api_key=KEY, extra_headers={"X-Gate": Secret("g")})).endpoint()
    assert (api.base_url, api.auth.name, api.auth.value) == ("https://api.sparkloop.app", "X-Api-Key", "k")
    assert api.headers == {"X-Gate": "g"}
    hook = SparkLoopConnector(SparkLoopSettings(incoming_webhook_url=URL)).endpoint()
    assert (hook.base_url, hook.auth) == ("https://sparkloop.example", None)


def test_importing_the_plugin_does_not_import_its_twin():
    code = "import sys, esplanade_sparkloop.plugin; print([m for m in sys.modules if 'twin' in m])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
