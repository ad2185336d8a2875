"""Any call whatever: it is read, or refused as what cannot be read. What was written in one of the forms is found again."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from urllib.parse import urlencode
from xml.sax.saxutils import escape

import msgspec
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from esplanade import BodyPath, InboundRequest, PermanentError, Report
from esplanade.bodies import FORMS, address_in, addresses_in, read_body
from esplanade.config.model import ConnectorConfig, Webhook, WebhookRule
from esplanade.delivery import declared
from esplanade.delivery.inbound import entry, report_body
from esplanade.errors import PluginError
from esplanade.ingest.shapes import HappeningIn

AT = datetime(2026, 1, 15, tzinfo=UTC)
EXAMPLES = 5_000 if os.environ.get("ESPLANADE_PROFILE") == "long" else 250
many = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Calls.

PIECES = [
    *("emailaddress", "email", "event", "event_name", "contact", "data", "left", "order"),
    *("ada@shop.example", "Ada <ada@shop.example>", "mailto:"),
    *("[0]", "[", "]", "{", "}", '"', ":", "=", "&", ";", ",", "<", ">", "/>", "</", "<a>", "</a>", "-", "+", "\n", "\r\n", " "),
    *("<!DOCTYPE a [<!ENTITY x 'y'>]>", "<![CDATA[", "]]>", "&x;", "&#0;", "<?xml version='1.0' encoding='utf-16'?>", "\ufeff"),
    *("\\u0000", "\\ud800", "\x00", "\ud7ff", "%40", "%00", "%ED%A0%80", "1e999", "9" * 30, "NaN", "null", "true"),
]  # fmt: skip
CONTENT_TYPES = [
    *("", "application/json", "application/x-www-form-urlencoded", "text/xml", "text/plain", "multipart/form-data; boundary=x"),
    *("application/json; charset=utf-16", "text/xml; charset=windows-1250", "text/plain; charset=utf-7"),
    *("text/xml; charset=utf-32", "application/json; charset=\x00", "a/b; charset=punycode"),
    *("text/html", "application/x-www-form-urlencoded; charset=shift_jis"),
]  # fmt: skip
WORDS = {
    "event": "order",
    "emailaddress": "ada@shop.example",
    "order": {"id": 7, "status": "paid"},
    "tags": ["a", "b"],
    "note": 'x "y" <z> & é',
}
VALID = [
    json.dumps(WORDS).encode(),
    json.dumps([WORDS, WORDS]).encode("utf-16"),
    urlencode({"event": "left", "contact[email]": "ada@shop.example", "order[id]": "7", "tags[]": "a"}).encode(),
    "<w event='left'><emailaddress>ada@shop.example</emailaddress><tags>a</tags><tags>é</tags></w>".encode(),
    "event: left\nemailaddress: ada@shop.example\ntags: é".encode("cp1250"),
]


@st.composite
def mutated(draw):
    """A body that can be read, and then cut, doubled or overwritten somewhere."""
    body = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body)))
        until = draw(st.integers(at, min(len(body), at + 12)))
        body = body[:at] + draw(st.binary(max_size=4) | st.just(body[at:until] * 2)) + body[until:]
    return body


pieces = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)
trees = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
)
bodies = (
    st.binary(max_size=200)
    | pieces.map(lambda text: text.encode("utf-8", "surrogatepass"))
    | trees.map(lambda tree: json.dumps(tree).encode())
    | mutated()
)
headers = st.sampled_from(CONTENT_TYPES) | st.text(max_size=40)
queries = st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
requests = st.builds(
    lambda method, query, header, body: InboundRequest(
        method=method, query=query, headers={"content-type": header}, body=body, received_at=AT
    ),
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "X"]),
    queries,
    headers,
    bodies,
)
forms = st.none() | st.sampled_from(FORMS)

# Blocks.

paths = st.sampled_from(
    ["emailaddress", "contact.email", "data[0].email", "order", "order.id", "tags", "[0].event", "[1]", "note", "text"]
).map(BodyPath)
rules = st.builds(
    WebhookRule,
    trigger=st.none() | st.just("t"),
    consents=st.dictionaries(st.just("newsletter"), st.sampled_from(["granted", "denied"])),
    fields=st.dictionaries(st.sampled_from(["a", "b"]), paths),
    event_id=st.lists(paths, max_size=2) | paths,
)
blocks = st.builds(
    Webhook,
    content_type=forms,
    email=st.lists(paths, min_size=1, max_size=3) | paths,
    event=st.just([BodyPath("event"), BodyPath("event_name")]) | paths,
    events=st.dictionaries(
        st.sampled_from(["left", "order", "7", "a"]) | st.text(max_size=3), rules, min_size=1, max_size=4
    ),
)


def quotes_nothing(problem):
    """It goes into a dead letter, so it says what is wrong and holds nothing of whom it is about."""
    assert "webhook" in str(problem)
    assert "@" not in str(problem)


@many
@given(requests, forms)
@example(InboundRequest(method="POST", body=b"[" * 100_000, received_at=AT), "json")
@example(InboundRequest(method="POST", body=b"<a>" * 100_000, received_at=AT), "xml")
@example(
    InboundRequest(
        method="POST", body=b"\x00\xff<\x00", headers={"content-type": "text/xml; charset=utf-16"}, received_at=AT
    ),
    None,
)
def test_any_call_is_read_or_refused(request, form):
    try:
        body = read_body(request, form)
    except PermanentError as problem:
        quotes_nothing(problem)
        return
    msgspec.msgpack.encode([body.tree, body.query, body.text])  # any store can hold it
    for path in ("email", "a.b", "[0]", "data[0].email"):
        BodyPath(path).without(body.tree)
        body.find([BodyPath(path)])
    try:
        found = body.address([BodyPath("email"), BodyPath("contact.email")])
    except PermanentError as problem:
        quotes_nothing(problem)
    else:
        assert address_in(found.value) == found.value


@many
@given(requests, blocks, st.sampled_from(["granted", "denied", "absent"]))
def test_any_call_by_any_block_comes_to_what_the_journal_can_hold_or_is_refused(request, webhook, held):
    connector = ConnectorConfig(name="crm", plugin="crm", webhook=webhook)
    try:
        call = declared.read_call(webhook, request).call
        if call is None:
            return
        contact = Report(email=call.email, consents={"newsletter": held})
        said = declared.told(call, declared.check_contact(call, contact), connector, AT.timestamp())
    except PermanentError as problem:
        quotes_nothing(problem)
        return
    assert said.word is None or "granted" not in said.word.consents.values() or held == "granted"
    entries = [(contact, report_body(contact, read_at=0.0, pulled=True, word=said.word))]
    if (trigger := said.trigger) is not None:
        body = HappeningIn(name=trigger.name, email=trigger.email, trigger_id=trigger.event_id or "", data=trigger.data)
        entries.append((trigger, body))
    for one, body in entries:
        try:
            entry("crm", one, body, 0.0)
        except PluginError as problem:  # pragma: no cover - the failure that this looks for
            pytest.fail(f"{one} cannot be kept: {problem}")


# What was written is found again.

keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,11}", fullmatch=True)
texts = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\ufffd\ufeff"),
    max_size=30,
).map(str.strip)
addresses = st.from_regex(
    r"[a-zA-Z0-9]([a-zA-Z0-9+_.'-]{0,10}[a-zA-Z0-9])?@[a-z]([a-z0-9-]{0,5}[a-z0-9])?(\.[a-z]{2,5}){1,2}", fullmatch=True
)


def written(words, form):
    """Words in one of the forms, with the Content-Type that goes with it."""
    match form:
        case "json":
            return json.dumps(words), "application/json"
        case "form":
            return urlencode(words), "application/x-www-form-urlencoded"
        case "xml":
            inside = "".join(f"<{key}>{escape(word)}</{key}>" for key, word in words.items())
            return f"<?xml version='1.0'?><w>{inside}</w>", "application/xml"
        case "text":
            return "".join(f"{key}: {word}\n" for key, word in words.items()), "text/plain; charset=utf-8"


@many
@given(st.sampled_from(FORMS), st.dictionaries(keys, texts, max_size=5), addresses, st.booleans())
def test_an_address_and_words_that_are_written_in_any_form_are_found_again(form, words, address, named):
    words = {key: word for key, word in words.items() if key.lower() != "emailaddress"}
    assume(len({key.lower() for key in words}) == len(words))
    text, header = written({**words, "emailaddress": address}, form)
    request = InboundRequest(method="POST", headers={"content-type": header}, body=text.encode(), received_at=AT)
    body = read_body(request, form if named else None)
    assert (body.form, body.broken) == (form, "")
    assert body.address([BodyPath("emailaddress")]).value == address
    for key, word in words.items():
        found = body.find([BodyPath(key)])
        assert (found.value if found else "") == word


@many
@given(st.sampled_from(FORMS), st.dictionaries(keys, texts.filter(lambda text: "@" not in text), max_size=5), addresses)
def test_the_only_address_is_found_without_a_path_in_any_form(form, words, address):
    text, header = written({**words, "who": f"Ada <{address}>"}, form)
    request = InboundRequest(method="POST", headers={"content-type": header}, body=text.encode(), received_at=AT)
    assert read_body(request).address([BodyPath("emailaddress")]).value == address


@many
@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(["@", ".", "a", "-", "<", ">", " ", '"', "b.cz"]), max_size=40).map("".join)
)
def test_every_address_that_is_found_within_text_is_one_by_itself(text):
    for each in addresses_in(text):
        assert address_in(each) == each
        assert each in text
