"""Bodies of each form as one tree."""

import pytest

from esplanade import PermanentError


@pytest.mark.parametrize(
    ("body", "tree"),
    [
        ('{"a": {"b": [1, 2.5, true, null, "x"]}}', {"a": {"b": [1, 2.5, True, None, "x"]}}),
        ('[{"a": 1}]', [{"a": 1}]),
        ('{"a": 1, "b": 2, "a": 3, "a": [4]}', {"a": [1, 3, [4]], "b": 2}),
        ('{"a": [1], "a": [2]}', {"a": [[1], [2]]}),
        ('{"n": 123456789012345678901234567890}', {"n": "123456789012345678901234567890"}),
        ('{"n": 1e999, "m": -1e999, "k": 1e3}', {"n": "1e999", "m": "-1e999", "k": 1000.0}),
        ('{"a\\u0000": "\\ud800\\u0000"}', {"a\ufffd": "\ufffd\ufffd"}),
        ('{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
        ('\ufeff{"a": 1}', {"a": 1}),
    ],
)
def test_json(read, body, tree):
    found = read(body, "application/json")
    assert (found.form, found.tree, found.broken) == ("json", tree, "")


@pytest.mark.parametrize(
    ("body", "tree"),
    [
        ("a=1&b=x+y%26z", {"a": "1", "b": "x y&z"}),
        ("a=1&a=2&a=3", {"a": ["1", "2", "3"]}),
        ("tags[]=1&tags[]=2&one[]=3", {"tags": ["1", "2"], "one": "3"}),
        ("contact[email]=x&contact[name]=y", {"contact": {"email": "x", "name": "y"}}),
        ("items[0][id]=1&items[1][id]=2", {"items": {"0": {"id": "1"}, "1": {"id": "2"}}}),
        ("a=1&a[b]=2&a[b]=3", {"a": "1", "a[b]": ["2", "3"]}),
        ("a[b]=1&a=2", {"a": [{"b": "1"}, "2"]}),
        ("a[=1&]b=2&[c]=3", {"a[": "1", "]b": "2", "[c]": "3"}),
        ("a&b=&=c&%00=%ED%A0%80", {"a": "", "b": "", "": "c", "\ufffd": "\ufffd\ufffd\ufffd"}),
    ],
)
def test_forms(read, body, tree):
    assert read(body, "application/x-www-form-urlencoded").tree == tree


@pytest.mark.parametrize(
    ("body", "tree"),
    [
        ("<r><a>1</a><b> x </b><c/></r>", {"a": "1", "b": "x", "c": ""}),
        ("<r><a>1</a><a>2</a></r>", {"a": ["1", "2"]}),
        ('<r event="x"><a t="1">2</a><b t="1"/></r>', {"event": "x", "a": {"t": "1", "text": "2"}, "b": {"t": "1"}}),
        ("<r><a>1<b>2</b>3</a></r>", {"a": {"b": "2", "text": "13"}}),
        (
            '<s:r xmlns:s="u" xmlns="v" s:k="1"><s:a>&lt;&#233;&amp;</s:a><![CDATA[<&]]></s:r>',
            {"k": "1", "a": "<é&", "text": "<&"},
        ),
        ("<email>a@b.example</email>", {"email": "a@b.example"}),
        ("<empty/>", {"empty": ""}),
        ('<?xml version="1.0" encoding="utf-8"?>\n<r><!-- no --><?no no?><a>1</a></r>\n', {"a": "1"}),
    ],
)
def test_xml(read, body, tree):
    found = read(body, "text/xml")
    assert (found.form, found.tree, found.broken) == ("xml", tree, "")


@pytest.mark.parametrize(
    ("body", "tree"),
    [
        ("event: x\r\nemail = a@b.example\n\nno words\n", {"event": "x", "email": "a@b.example"}),
        ("url: https://x.example/?a=b\nurl: 2", {"url": ["https://x.example/?a=b", "2"]}),
        ("Hello", {}),
        (": x\n= y\n", {}),
    ],
)
def test_plain_text(read, body, tree):
    assert read(body, "text/plain").tree == tree


@pytest.mark.parametrize(
    ("content_type", "body", "form"),
    [
        ("application/json; charset=utf-8", "{}", "json"),
        ("application/vnd.vendor+json", "{}", "json"),
        ("text/json", "{}", "json"),
        ("Application/XML", "<a/>", "xml"),
        ("application/soap+xml", "<a/>", "xml"),
        ("text/plain", '{"a": 1}', "json"),
        ("text/plain", "<a/>", "xml"),
        ("text/plain", "a=b&c=d", "form"),
        ("text/plain", "a=b c", "text"),
        ("application/x-www-form-urlencoded", '{"a": 1}', "json"),
        ("application/x-www-form-urlencoded", "a b", "form"),
        ("application/octet-stream", "[1]", "json"),
        (None, "<a/>", "xml"),
        (None, "a=b", "form"),
        (None, "a: b", "text"),
        (None, " \n", None),
    ],
)
def test_the_form_is_what_the_call_says_else_what_the_body_looks_like(read, content_type, body, form):
    assert read(body, content_type).form == form


def test_the_form_that_the_operator_names_wins(read):
    assert read("a: b", "application/json", form="text").tree == {"a": "b"}


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        ('{"a": "Žofie"}'.encode("cp1250"), "application/json; charset=windows-1250"),
        ('{"a": "Žofie"}'.encode("utf-16"), "application/json"),
        ('{"a": "Žofie"}'.encode("utf-32"), "application/json"),
        ('{"a": "Žofie"}'.encode("utf-8-sig"), "application/json; charset=latin1"),
        ("<r><a>Žofie</a></r>".encode("iso8859-2"), 'text/xml; charset="ISO-8859-2"'),
        ('<?xml version="1.0" encoding="windows-1250"?><r><a>Žofie</a></r>'.encode("cp1250"), "text/xml"),
        (b"a=%8Eofie", "application/x-www-form-urlencoded; charset=windows-1250"),
        ("a: Žofie".encode("cp1250"), "text/plain;charset=CP1250"),
    ],
)
def test_the_character_set_of_the_call_is_respected(read, raw, content_type):
    assert read(raw, content_type).tree == {"a": "Žofie"}


@pytest.mark.parametrize("charset", ["rot13", "zlib", "idna", "unicode_escape", "no-such", "../x", "utf-9"])
def test_a_character_set_that_is_none_is_read_as_utf_8(read, charset):
    assert read('{"a": "é"}', f"application/json; charset={charset}").tree == {"a": "é"}


BOMB = '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "a@b.example"><!ENTITY b "&a;&a;&a;">]><r>&b;</r>'
REFUSED = {
    "entities": ("xml", BOMB, "document type"),
    "a file": ("xml", '<!DOCTYPE r SYSTEM "file:///etc/passwd"><r>a@b.example</r>', "document type"),
    "no xml": ("xml", "<r>", "it is not XML: no element found in line 1, column 3"),
    "an entity of nobody": ("xml", "<r>&nbsp;</r>", "it is not XML: undefined entity"),
    "deep xml": ("xml", "<r>" * 100_000, "nested more than 64 deep"),
    "wide xml": ("xml", "<r>" + "<a/>" * 200_000 + "</r>", "more than 50000 values"),
    "no json": ("json", "{", "it is not JSON: Expecting property name"),
    "a constant": ("json", "[NaN]", "it is not JSON: NaN is no number"),
    "deep json": ("json", "[" * 40_000, "nested more than 64 deep"),
    "deep and whole": ("json", "[" * 100 + "]" * 100, "nested more than 64 deep"),
    "wide json": ("json", "[" + "1," * 100_000 + "1]", "more than 50000 values"),
    "a wide form": ("form", "a=1&" * 100_000, "more than 50000 values"),
    "a form of brackets": ("form", "&".join(f"a{n}{'[b]' * 60}=1" for n in range(1_000)), "more than 50000 values"),
    "escaped ones": ("form", "&".join(f"a{n}{'%5bb]' * 60}=1" for n in range(1_000)), "more than 50000 values"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_a_permanent_error_that_says_why_and_quotes_nothing(read, case):
    form, body, why = REFUSED[case]
    with pytest.raises(PermanentError, match=r"cannot be read|is not read") as caught:
        read(body, form=form)
    assert why in str(caught.value)
    assert "webhook.content_type" in str(caught.value)
    assert "a@b" not in str(caught.value)


def test_a_query_with_too_many_parameters_is_refused(read):
    with pytest.raises(PermanentError, match="query cannot be read"):
        read(query="a=1&" * 60_000)
