"""Settings that cannot work are refused, with the key and the remedy, before anything is sent."""

from __future__ import annotations

import msgspec
import pytest

from esplanade import Duration, Origin, Secret
from esplanade.config.kinds import keys_of
from esplanade_smartemailing import settings as module
from esplanade_smartemailing.settings import (
    BUILT_IN,
    BasicAuth,
    DoubleOptIn,
    Sender,
    SmartEmailingAudience,
    SmartEmailingConsent,
    SmartEmailingSettings,
    SmartEmailingTrigger,
)

SENDER = {"from_address": "news@shop.example", "sender_name": "Shop", "reply_to": "help@shop.example"}


def settings(**changes):
    return SmartEmailingSettings(**{"username": "demo@shop.example", "api_key": Secret("key"), **changes})


def test_two_keys_are_enough_and_the_rest_is_careful():
    plain = settings()
    assert plain.api_url == "https://app.smartemailing.cz/api/v3"
    assert settings(base_url=Origin("http://127.0.0.1:9")).api_url == "http://127.0.0.1:9/api/v3"
    assert (plain.esp_timezone, plain.import_batch, plain.transactional_batch) == ("Europe/Prague", 500, 5)
    assert plain.preserve_unsubscribed
    assert not plain.add_namedays
    assert not plain.add_genders
    assert not plain.add_salutions
    assert "key" not in repr(plain.api_key)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"username": ""}, "username: expected the e-mail address"),
        ({"username": "a:b"}, "without a colon"),
        ({"api_key": Secret("")}, "api_key: is empty; make one"),
        ({"import_batch": 501}, "import_batch: expected 1 to 500, the most that an import takes"),
        ({"trigger_batch": 0}, "trigger_batch: expected 1 to 500"),
        ({"transactional_batch": 6}, "transactional_batch: expected 1 to 5"),
        ({"page_size": 1000}, "page_size: expected 2 to 500"),
        ({"max_payload_bytes": 10}, "max_payload_bytes: expected 1024 to 1048576 bytes"),
        ({"esp_timezone": "Prague"}, "esp_timezone: 'Prague' is not known; give a name such as Europe/Prague"),
        ({"esp_timezone": "../x"}, "esp_timezone: '../x' is not known"),
        ({"event_name_regex": "[a-z"}, "event_name_regex: .*expected a regular expression"),
        ({"since_query_template": "updated=now"}, r"since_query_template: must hold \{since\}"),
        ({"extra_query": {"people": "a=1"}}, "extra_query: unknown collection 'people'; known are contacts, "),
        ({"extra_query": {"contacts": "?a=1"}}, r"extra_query\.contacts: expected a query without question mark"),
        ({"extra_query": {"contacts": "nothing"}}, r"extra_query\.contacts: expected a query"),
        ({"webhook_events": ["new_contact", "new_contact"]}, "webhook_events: one of them is named twice"),
        ({"webhook_email_paths": [], "webhook_contact_id_paths": []}, "webhook_email_paths: without a path"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, words):
    with pytest.raises(ValueError, match=f"^{words}" if not words.startswith("without") else words):
        settings(**changes)


def test_a_consent_is_a_list_and_may_have_a_purpose_and_a_question():
    asking = DoubleOptIn(email_id=41, **SENDER)
    assert not SmartEmailingConsent(list=7).asks_to_confirm()
    assert SmartEmailingConsent(list=7, purpose=2, double_opt_in=asking).asks_to_confirm()
    assert (asking.mode, asking.silence, asking.thank_you_page) == ("all", Duration(86_400), None)


def test_the_file_writes_from():
    assert [key.name for key in keys_of(Sender)] == ["from", "sender_name", "reply_to"]
    said = {"email_id": 41, "from": "news@shop.example", "sender_name": "Shop", "reply_to": "help@shop.example"}
    assert msgspec.convert(said, DoubleOptIn) == DoubleOptIn(email_id=41, **SENDER)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SmartEmailingConsent(list=0), "list: expected the number of the contact list"),
        (lambda: SmartEmailingConsent(list=7, purpose=-1), "purpose: expected the number of the processing purpose"),
        (lambda: SmartEmailingAudience(list=0), "list: expected the number of the contact list"),
        (lambda: SmartEmailingTrigger(), "event: a trigger needs an event or an email_id, one of the two"),
        (lambda: SmartEmailingTrigger(event="a", email_id=1), "event: a trigger needs an event or an email_id"),
        (lambda: SmartEmailingTrigger(event=" "), "event: is empty; give the name"),
        (lambda: SmartEmailingTrigger(email_id=0), "email_id: expected the number of the e-mail"),
        (lambda: Sender(**{**SENDER, "from_address": "Shop"}), "from: 'Shop' is no e-mail address"),
        (lambda: Sender(**{**SENDER, "reply_to": ""}), "reply_to: '' is no e-mail address"),
        (lambda: Sender(**{**SENDER, "sender_name": ""}), "sender_name: is empty"),
        (lambda: DoubleOptIn(email_id=0, **SENDER), "email_id: expected the number of the confirmation e-mail"),
        (
            lambda: DoubleOptIn(email_id=4, silence=Duration(0.5), **SENDER),
            "silence: SmartEmailing counts whole seconds",
        ),
        (lambda: DoubleOptIn(email_id=4, thank_you_page="thanks", **SENDER), "thank_you_page: expected a URL"),
        (lambda: BasicAuth(login="", password=Secret("p")), "login: is empty or has a colon"),
        (lambda: BasicAuth(login="a:b", password=Secret("p")), "login: is empty or has a colon"),
        (lambda: BasicAuth(login="hub", password=Secret("")), "password: is empty; choose a long one"),
    ],
)
def test_targets_that_cannot_work_are_refused(make, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        make()


def test_an_audience_may_be_found_by_its_name():
    assert SmartEmailingAudience().list is None
    assert SmartEmailingAudience(list=12).list == 12


def test_every_key_has_help():
    structs = [
        SmartEmailingSettings,
        SmartEmailingConsent,
        SmartEmailingAudience,
        SmartEmailingTrigger,
        DoubleOptIn,
        Sender,
    ]
    assert [f"{each.__name__}.{key.name}" for each in structs for key in keys_of(each) if not key.help] == []


def test_a_contacts_own_keys_are_those_that_an_import_takes():
    assert len(set(BUILT_IN)) == 17
    assert "emailaddress" not in BUILT_IN
    assert "blacklisted" not in BUILT_IN
    assert set(module.TEXTS) < set(BUILT_IN)
