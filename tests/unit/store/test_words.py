"""Where a person's words are found, and where something only looks like them."""

import json
from urllib.parse import quote_plus, urlencode

import msgspec
import pytest

from esplanade.records import Entry
from esplanade.store.words import Finder, Words, decoded

ADA = Finder(Words.of(["Ada.L+news@Example.com"], ["u-77"], [("crm", "9001"), ("crm", "7")]))


@pytest.mark.parametrize(
    "stored",
    [
        "ada.l+news@example.com",
        "ADA.L+NEWS@EXAMPLE.COM",
        {"data": [{"email": "Ada.L+News@example.com"}]},
        {"ada.l+news@example.com": 1},
        json.dumps({"text": "Dear\nada.l+news@example.com"}).encode(),
        b'{"email": "ada.l+news\\u0040example.com"}',
        b'{"email": "\\u0041da.l+news@example.com"}',
        "<email>&#65;da.l&#43;news&#x40;example.com</email>",
        {
            "method": "POST",
            "headers": {"content-type": "application/json; charset=UTF-32LE"},
            "body": '{"email": "ada.l+news@example.com"}'.encode("utf-32-le"),
        },
        {"method": "POST", "body": b"<r><a>ad<b/>a.l+news</a><a>ad<b/>a.l+news<?c > ?>@example.com</a></r>"},
        urlencode({"name": "Ada L", "email": "ada.l+news@example.com"}).encode(),
        ("to=" + quote_plus("Ada L <ada.l+news@example.com>")).encode(),
        "mailto:ada.l+news@example.com.",
        "https://crm.example/contacts/ada.l%2Bnews%40example.com/edit",
    ],
)
def test_an_address_is_found_however_it_was_written(stored):
    assert ADA.addressed(stored)
    assert ADA.may_hold(msgspec.msgpack.encode(stored))


@pytest.mark.parametrize(
    "stored",
    [
        "xada.l+news@example.com",
        "b.ada.l+news@example.com",
        "ada.l+news@example.com.nl",
        "ada.l@example.com",
        9001,
        None,
    ],
)
def test_somebody_elses_address_is_not_taken_for_it(stored):
    assert not ADA.addressed(stored)


@pytest.mark.parametrize("written", ["post@bücher.example", "POST@BÜCHER.example", "post@xn--bcher-kva.example"])
@pytest.mark.parametrize("known", ["post@bücher.example", "post@xn--bcher-kva.example"])
def test_a_domain_is_the_same_in_both_of_its_forms(known, written):
    finder = Finder(Words.of([known]))
    assert finder.addressed(written)
    assert finder.may_hold(json.dumps(written).encode())


@pytest.mark.parametrize("stored", ["contact 9001", {"id": "9001"}, b'{"contact": 9001, "group": 135}', "u-77"])
def test_an_id_is_found_as_a_whole_word(stored):
    assert ADA.named(stored, "crm")


@pytest.mark.parametrize("stored", ["contact 19001", "90010", "u-771", "xu-77", "9001-b"])
def test_an_id_is_not_found_within_another(stored):
    assert not ADA.named(stored, "crm")


def test_a_vendors_id_means_nothing_at_another_vendor():
    assert not ADA.named("contact 9001", "shop")


def test_a_short_id_is_not_looked_for_in_free_text():
    assert not ADA.named('{"contact": 12, "group": 7}', "crm")
    assert ADA.named("seen:7", "crm", distinct=1)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("profile", {"email": "ADA.L+news@example.com"}),
        ("profile", {"email": "new@example.com", "previous_email": "ada.l+news@example.com"}),
        ("profile", {"id": "u-77"}),
        ("consent", {"email": "ada.l+news@example.com", "purpose": "newsletter", "state": "granted"}),
        ("report", {"remote_id": "7"}),
        ("happening", {"email": "ada.l+news@example.com", "name": "opened", "trigger_id": "t"}),
    ],
)
def test_an_event_is_about_who_it_names(kind, body):
    entry = Entry(kind=kind, origin="crm", id="e-1", at=1.0, body=msgspec.msgpack.encode(body))
    assert ADA.about(entry)
    assert ADA.may_hold(entry.body)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("trigger", {"email": "bob@example.com", "data": {"friend": "ada.l+news@example.com"}}),
        ("report", {"remote_id": "17"}),
        ("profile", {"id": "u-7"}),
    ],
)
def test_an_event_that_only_mentions_somebody_is_not_about_them(kind, body):
    assert not ADA.about(Entry(kind=kind, origin="crm", id="e-1", at=1.0, body=msgspec.msgpack.encode(body)))


def test_whether_others_are_spoken_of_too():
    assert ADA.alone(b'{"email": "ada.l+news@example.com", "list": 7}')
    assert not ADA.alone(b'[{"email": "ada.l+news@example.com"}, {"email": "bob@example.com"}]')
    assert not ADA.alone(b"email=bob%40example.com")


@pytest.mark.parametrize(
    "body",
    [
        b'{"email": "bob@example.com", "text": "<p>it&#39;s<br/>&lt;so&gt;</p>", "share": "50%", "name": "\\u00e9"}',
        b"<?xml version='1.0'?>\n<r>\n <email>bob@example.com</email><text>it&#39;s</text></r>",
        b"email=bob%40example.com&at=2026-01-01T10%3A00%3A00&name=J%C3%B6rg",
        '{"email": "bob@example.com", "name": "J\u00f6rg"}'.encode("utf-16"),
    ],
)
def test_a_webhook_that_hides_nothing_is_not_looked_through(body):
    headers = {"content-type": "text/plain; charset=utf-8"}
    assert not ADA.may_hold(msgspec.msgpack.encode({"method": "POST", "headers": headers, "body": body}).lower())


def test_a_character_that_there_is_not_is_left_as_it_was_written():
    assert ADA.addressed("&#9999999; ada.l+news@example.com")


def test_nobody_is_looked_for_by_no_words():
    nobody = Finder(Words())
    assert not nobody.may_hold(b"anything")
    assert not nobody.addressed("anything@example.com")
    assert not nobody.named("anything", "crm")


def test_what_is_no_msgpack_is_looked_through_as_it_is():
    assert ADA.addressed(decoded(b'\xc1 {"email": "ada.l+news@example.com"}'))
