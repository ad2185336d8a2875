"""Every shape in which Copernica calls, read into one; and bytes that are none."""

from __future__ import annotations

import html
import json
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus, urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade import InboundRequest, PermanentError, Secret
from esplanade_copernica.calls import MAX_DEPTH, MAX_PAIRS, MAX_XML_BYTES, Call, decode, form_of, xml_of
from esplanade_copernica.settings import CopernicaSettings

AT = datetime(2025, 3, 2, 9, 11, 12, tzinfo=UTC)
SETTINGS = CopernicaSettings(api_token=Secret("t"), database_id=31)
FORM, JSON, XML = "application/x-www-form-urlencoded", "application/json", "text/xml; charset=utf-8"

UPDATE = (
    "type=update&profile=50411&database=31&timestamp=2025-03-02+10%3A11%3A12&time=1740906672"
    "&parameters%5BNewsletter%5D=no&fields%5BEmail%5D=noor%40example.net&fields%5BNewsletter%5D=no"
    "&interests%5B%5D=optin_news&created=2024-02-01+09%3A00%3A00&modified=2025-03-02+10%3A11%3A12"
)
CREATED_BELOW = {
    "type": "create",
    "subprofile": "610",
    "profile": "50411",
    "database": "31",
    "collection": "88",
    "timestamp": "2025-03-02 10:11:12",
    "time": "1740906672",
    "parameters": {"city": "Breda"},
    "fields": {"city": "Breda"},
    "created": "2025-03-02 10:11:12",
    "modified": "2025-03-02 10:11:12",
}
DELETED = {
    "type": "delete",
    "profile": "50411",
    "database": "31",
    "timestamp": "2025-03-03 08:00:00",
    "time": "1740985200",
    "fields": {"Email": "noor@example.net"},
}
UNSUBSCRIBED = {
    "id": "4",
    "type": "unsubscribe",
    "timestamp": "2025-03-03 08:00:00",
    "time": "1740985200",
    "database": "31",
    "profile": "50411",
    "mailing": "912",
}
SHAPE_A = {
    "id": "50411",
    "action": "update",
    "fields": {"Email": "noor@example.net", "Newsletter": "no"},
    "interests": ["optin_news"],
}
SHAPE_B = {
    "profile": {"ID": "50411", "fields": {"Email": "noor@example.net", "Newsletter": "yes"}},
    "parameters": {"Newsletter": "no"},
}
SHAPE_C = b"<fields><Newsletter>yes</Newsletter></fields><updated><Newsletter>no</Newsletter></updated>"


def call(body, kind=FORM, settings=SETTINGS):
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    headers = {"content-type": kind} if kind else {}
    return decode(InboundRequest(method="POST", headers=headers, body=raw, received_at=AT), settings)


def as_form(said):
    """As PHP's http_build_query writes nested values."""
    pairs = []

    def add(name, value):
        match value:
            case dict():
                for key, each in value.items():
                    add(f"{name}[{key}]" if name else key, each)
            case list():
                for each in value:
                    add(f"{name}[]", each)
            case _:
                pairs.append((name, value))

    add("", said)
    return urlencode(pairs)


# The shapes on record.


UPDATED = Call(
    kind="update",
    word="update",
    profile="50411",
    database="31",
    email="noor@example.net",
    values={"Email": "noor@example.net", "Newsletter": "no"},
    changed={"Newsletter": "no"},
    interests={"optin_news": True},
    at=AT,
)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (UPDATE, FORM),
        (UPDATE, None),
        (UPDATE.replace("%5B", "[").replace("%5D", "]"), FORM),
        (UPDATE.replace("type=", "action="), FORM),
        (UPDATE.replace("time=1740906672", ""), FORM),
        (UPDATE.replace("interests%5B%5D=optin_news", "interests%5Boptin_news%5D=1"), FORM),
        (UPDATE.replace("interests%5B%5D=optin_news", "interests%5B0%5D=optin_news"), FORM),
        (UPDATE.replace("interests%5B%5D=optin_news", "interests%5Bmail%5D%5Boptin_news%5D=1"), FORM),
        (UPDATE.replace("interests%5B%5D=optin_news", "interests%5Bmail%5D%5B%5D=optin_news"), FORM),
        (form_of(UPDATE), JSON),
        (form_of(UPDATE), f"{JSON}; charset=utf-8"),
        (form_of(UPDATE), None),
        (form_of(UPDATE), FORM),
        ({**form_of(UPDATE), "profile": 50411, "database": 31, "time": 1740906672}, JSON),
    ],
)
def test_an_update_comes_as_form_or_json_and_in_many_spellings(body, kind):
    assert call(body, kind) == UPDATED


@pytest.mark.parametrize("said", [as_form, json.dumps])
def test_a_subprofile_names_its_parent_and_its_collection(said):
    assert call(said(CREATED_BELOW)) == Call(
        kind="create",
        word="create",
        profile="50411",
        subprofile="610",
        collection="88",
        database="31",
        values={"city": "Breda"},
        changed={"city": "Breda"},
        at=AT,
    )


@pytest.mark.parametrize("said", [as_form, json.dumps])
def test_a_deletion_carries_the_last_values(said):
    found = call(said(DELETED))
    assert (found.kind, found.profile, found.email) == ("delete", "50411", "noor@example.net")
    assert found.at == datetime(2025, 3, 3, 7, tzinfo=UTC)


@pytest.mark.parametrize("said", [as_form, json.dumps])
def test_an_unsubscribe_carries_no_address(said):
    assert call(said(UNSUBSCRIBED)) == Call(
        kind="unsubscribe",
        word="unsubscribe",
        profile="50411",
        database="31",
        at=datetime(2025, 3, 3, 7, tzinfo=UTC),
        id="4",
    )


def test_mail_events_keep_what_a_trigger_needs_and_nothing_that_tells_more_of_the_person():
    said = {
        "id": "77",
        "type": "failure",
        "time": "1740906672",
        "recipient": "noor@example.net",
        "tags": ["sale", "spring"],
        "profile": "50411",
        "mailing": "912",
        "action": "failed",
        "state": "rcpt",
        "code": "550",
        "description": "x" * 2_000,
        "ip": "192.0.2.7",
        "useragent": "Mozilla",
        "mime": "From: x",
    }
    found = call(as_form(said))
    assert (found.kind, found.email, found.profile, found.id, found.at) == (
        "failure",
        "noor@example.net",
        "50411",
        "77",
        AT,
    )
    assert set(found.details) == {"tags", "mailing", "action", "state", "code", "description"}
    assert found.details["tags"] == ["sale", "spring"]
    assert len(found.details["description"]) == 1_000


def test_callbacks_of_shape_a_name_the_profile_plainly_id():
    expected = Call(
        kind="update",
        word="update",
        origin="callback",
        profile="50411",
        email="noor@example.net",
        values=SHAPE_A["fields"],
        interests={"optin_news": True},
    )
    assert call(SHAPE_A, JSON) == expected
    assert call(as_form(SHAPE_A)) == expected


def test_the_id_of_a_subprofile_is_not_taken_for_a_profiles():
    below = {"id": "610", "action": "update", "fields": {"city": "Breda"}}
    assert (call(below).profile, call(below).subprofile) == (None, None)
    assert (call({**below, "collection": "88"}).profile, call({**below, "collection": "88"}).subprofile) == (
        None,
        "610",
    )


@pytest.mark.parametrize("body", [urlencode({"json": json.dumps(SHAPE_B)}), json.dumps(SHAPE_B)])
def test_callbacks_of_shape_b_hold_json_in_one_variable_of_a_form(body):
    assert call(body) == Call(
        kind="update",
        origin="callback",
        profile="50411",
        email="noor@example.net",
        values={"Email": "noor@example.net", "Newsletter": "no"},
        changed={"Newsletter": "no"},
    )


def test_shape_b_tells_a_new_address_and_the_one_before():
    found = call({**SHAPE_B, "parameters": {"email": "noor@example.org"}})
    assert (found.email, found.previous_email) == ("noor@example.org", "noor@example.net")
    assert found.values == {"Email": "noor@example.org", "Newsletter": "yes"}
    same = call({**SHAPE_B, "parameters": {"email": "Noor@Example.net"}})
    assert same.previous_email is None


def test_shape_b_of_a_subprofile_shows_its_own_values_and_the_parents_address():
    said = {
        **SHAPE_B,
        "subprofile": {"ID": 610, "collection": {"ID": "88"}, "fields": {"city": "Ede", "Email": "a@b.c"}},
    }
    found = call({**said, "parameters": {"city": "Breda"}})
    assert (found.profile, found.subprofile, found.collection) == ("50411", "610", "88")
    assert found.email == "noor@example.net"
    assert found.values == {"city": "Breda", "Email": "a@b.c"}


@pytest.mark.parametrize(
    "body",
    [
        SHAPE_C,
        b"<callback>" + SHAPE_C + b"</callback>",
        b'<?xml version="1.0" encoding="UTF-8"?>\n<a><b>' + SHAPE_C + b"</b></a>",
        b"\xef\xbb\xbf" + SHAPE_C,
        (b"<x>" + SHAPE_C + b"</x>").decode().encode("utf-16"),
        b'<x xmlns="urn:x">' + SHAPE_C + b"</x>",
        SHAPE_C.replace(b">no<", b"><![CDATA[no]]><!-- said -->" + b"<"),
    ],
)
@pytest.mark.parametrize("kind", [XML, "application/xml", None])
def test_callbacks_of_shape_c_hold_old_and_new_values_as_xml(body, kind):
    found = call(body, kind)
    assert (found.kind, found.origin) == ("update", "callback")
    assert found.values == {"Newsletter": "no"}
    assert found.changed == {"Newsletter": "no"}


def test_shape_c_may_come_in_a_form_and_name_its_profile():
    xml = "<x><id>50411</id><action>delete</action><fields><Email>noor@example.net</Email></fields></x>"
    found = call(urlencode({"xml": xml}))
    assert (found.kind, found.profile, found.email) == ("delete", "50411", "noor@example.net")


def test_xml_in_another_encoding_is_read_in_it():
    body = '<?xml version="1.0" encoding="ISO-8859-1"?><x><fields><City>Ålst</City></fields></x>'.encode("latin-1")
    assert call(body, XML).values == {"City": "Ålst"}


# What is not known.


@pytest.mark.parametrize(
    "body", ["", "x", "test=1", "<x>hello</x>", "hello=world&a[]=b", {}, {"test": True}, {"type": None}, "<x/>"]
)
def test_a_test_is_no_event(body):
    assert call(body) == Call(kind="unknown", origin=call(body).origin)


def test_a_type_that_is_not_documented_is_told_by_a_word_fit_for_a_log():
    found = call({"type": "Merge\nnoor@example.net <x>", "profile": "50411", "time": "1"})
    assert (found.kind, found.word) == ("unknown", "mergenoorexample.netx")


@pytest.mark.parametrize("given_id", [True, 0, "0", "", "50411/../1", "a b", [], {}, {"ID": None}, 1.5, "9" * 30])
def test_what_is_no_id_is_none(given_id):
    assert call({"type": "update", "profile": given_id, "fields": {"a": "b"}, "time": 1}).profile is None


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ({"time": "1740906672", "timestamp": "2001-01-01 00:00:00"}, AT),
        ({"timestamp": "2025-07-02 10:11:12"}, datetime(2025, 7, 2, 8, 11, 12, tzinfo=UTC)),
        ({"time": "soon", "timestamp": "2025-03-02 10:11:12"}, AT),
        ({"timestamp": "0001-01-01 00:00:00"}, None),
        ({"timestamp": "9999-12-31 23:59:59"}, datetime(9999, 12, 31, 22, 59, 59, tzinfo=UTC)),
        ({"time": "-5"}, None),
        ({"time": 10**18}, None),
        ({}, None),
    ],
)
def test_the_time_is_a_number_of_seconds_or_local(said, at):
    assert call({"type": "update", "profile": 1, **said}).at == at


@pytest.mark.parametrize(
    ("interests", "expected"),
    [
        ([], {}),
        (["a", "", None], {"a": True}),
        ({"a": 1, "b": "0", "c": False, "d": "no"}, {"a": True, "b": False, "c": False, "d": False}),
        ({"group": {"a": "1", "b": 0}}, {"a": True, "b": False}),
        ({"group": ["a"]}, {"a": True}),
        ([{"name": "a", "group": "g"}, {"name": "b", "value": 0}], {"a": True, "b": False}),
        ("a", {}),
    ],
)
def test_interests_come_as_list_map_or_in_groups(interests, expected):
    assert call({"type": "update", "profile": 1, "interests": interests}).interests == expected


def test_values_are_text_however_they_were_sent():
    fields = {"a": 1, "b": None, "c": True, "d": 1.0, "e": ["x", "y"], "f": {"g": "h"}}
    assert call({"fields": fields}).values == {"a": "1", "b": "", "c": "1", "d": "1", "e": "x,y", "f": '{"g":"h"}'}
    assert call("fields[a][]=x&fields[a][]=y&fields[b]=").values == {"a": "x,y", "b": ""}


def test_of_a_name_that_comes_twice_the_last_counts_whatever_its_case():
    assert call("fields[a]=1&fields[a]=2").values == {"a": "2"}
    assert call("fields[a]=1&parameters[A]=2").values == {"a": "2"}
    assert form_of("a=1&a[b]=2") == {"a": {"b": "2"}}
    assert form_of("a[b]=2&a=1") == {"a": "1"}
    assert form_of("a[[b]=1&]=2&[c]=3") == {"a[[b]": "1", "]": "2", "[c]": "3"}


def test_bytes_that_are_not_utf_8_are_replaced():
    assert call(b"fields[City]=%E5lst&fields[Zip]=\xe5").values == {"City": "\ufffdlst", "Zip": "\ufffd"}


# What is refused.


DOCTYPE = b'<!DOCTYPE x [<!ENTITY e "secret">]>'


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", JSON),
        (b"<![CDATA[", XML),
        (b"[]", JSON),
        (b"[1]", FORM),
        (b'"x"', JSON),
        (b"\xff", JSON),
        (b"type=update", JSON),
        (b'{"a":' * 100_000, JSON),
        (b"json=%7B", FORM),
        (b"json=%5B%5D", FORM),
        (b"json=", FORM),
        (b"<x>", XML),
        (b"<x></x></call><call>", XML),
        (b"<x>&e;</x>", XML),
        (DOCTYPE + b"<x><fields><a>&e;</a></fields></x>", XML),
        (DOCTYPE.lower() + b"<x/>", XML),
        (b"<?xml version='1.0'?>" + DOCTYPE + b"<x/>", XML),
        ((DOCTYPE + b"<x/>").decode().encode("utf-16"), XML),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', XML),
        (b"<x>" + b"a" * MAX_XML_BYTES + b"</x>", XML),
        (b"<fields>" * 20_000 + b"</fields>" * 20_000, None),
        ("&".join(["a=b"] * (MAX_PAIRS + 1)), FORM),
        ("a" + "[b]" * MAX_DEPTH + "=c", FORM),
    ],
)
def test_what_cannot_be_read_is_refused_for_good(body, kind):
    with pytest.raises(PermanentError) as refused:
        call(body, kind)
    assert "noor" not in str(refused.value)


@pytest.mark.parametrize("body", [DOCTYPE + b"<x/>", b"<x>" + DOCTYPE + b"</x>", b"<!entity a 'b'><x/>"])
def test_a_document_type_is_refused_before_anything_is_parsed(body):
    with pytest.raises(PermanentError, match="document type"):
        xml_of(body)


def test_limits_are_where_they_are_said_to_be():
    assert len(form_of("&".join(f"a[{number}]=b" for number in range(MAX_PAIRS)))["a"]) == MAX_PAIRS
    assert len(form_of("&".join(["a[]=b"] * MAX_PAIRS))["a"]) == MAX_PAIRS
    assert form_of("a" + "[b]" * (MAX_DEPTH - 1) + "=c") == {"a": {"b": {"b": {"b": {"b": "c"}}}}}


# Whatever comes.

NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="[]"), min_size=1, max_size=8)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.dictionaries(NAME, TEXT | st.dictionaries(NAME, TEXT, min_size=1) | st.lists(TEXT, min_size=1), max_size=6))
def test_a_form_comes_back_as_it_was_written(said):
    assert form_of(as_form(said)) == said


@given(st.dictionaries(NAME, TEXT), st.sampled_from([quote, quote_plus]), st.booleans())
def test_values_come_back_from_every_encoding(values, quoted, in_json):
    spelled = {name.lower(): name for name in values}
    values = {name: value for name, value in values.items() if spelled[name.lower()] == name}
    pairs = (f"parameters%5B{quoted(name, safe='')}%5D={quoted(value, safe='')}" for name, value in values.items())
    if in_json:
        body = urlencode({"json": json.dumps({"profile": {"ID": 1}, "parameters": values})})
    else:
        body = "&".join(["type=update", *pairs])
    assert call(body).values == values
    assert call(body).changed == values


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), st.text("aé<>&\"'] ", max_size=9)))
def test_values_come_back_from_xml(values):
    inner = "".join(f"<{name}>{html.escape(value)}</{name}>" for name, value in values.items())
    assert xml_of(f"<x><fields>{inner}</fields><id>1</id></x>".encode()) == {"fields": values or "", "id": "1"}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
)
IDS = ["id", "ID", "profile", "subprofile", "database", "collection"]
VALUES = ["fields", "parameters", "updated", "interests", "time", "timestamp", "recipient", "tags", "name", "value"]
WORDS = st.sampled_from(["type", "action", "json", "xml", *IDS, *VALUES])
SAID = st.recursive(
    ANYTHING, lambda inner: st.dictionaries(WORDS, inner, max_size=4) | st.lists(inner, max_size=2), max_leaves=12
)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.dictionaries(WORDS, SAID, max_size=8).map(lambda said: json.dumps(said).encode()),
    st.text("abjson=&[]%25B<>/!?\"'{}:", max_size=60).map(str.encode),
    st.binary(max_size=60).map(lambda some: b"<fields>" + some + b"</fields>"),
    st.dictionaries(WORDS, st.text(max_size=20) | st.dictionaries(WORDS, st.text(max_size=9), max_size=3)).map(
        lambda said: as_form(said).encode("utf-8", "surrogatepass") if "\ud800" not in str(said) else b""
    ),
)


@given(BODIES, st.sampled_from([FORM, JSON, XML, "text/plain", "", "é"]))
def test_whatever_comes_is_a_call_or_refused_for_good(body, kind):
    with suppress(PermanentError):
        found = call(body, kind)
        assert msgspec.json.decode(msgspec.json.encode(found), type=Call) == found
