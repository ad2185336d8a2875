"""Templates print what they should, and one that cannot be read says why."""

from __future__ import annotations

import pytest

from esplanade_smartemailing.twin_templates import TemplateError, escaping_of, form_of, look_up, render, shown

VALUES = {
    "df_name": "Ada",
    "df_none": None,
    "is": True,
    "n": 3,
    "event": {"items": [{"a": [1, {"b": "x"}]}], "text": 'a"b'},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("Hi {{df_name}}, {{ df_name }}!", "Hi Ada, Ada!"),
        ("{{df_none}}{{nothing}}{{event.items[7].a}}", ""),
        ("{{event.items[0].a[1].b}} {{is}} {{n}}", "x 1 3"),
        ("{{event.items}}", '[{"a":[1,{"b":"x"}]}]'),
        ('"{{event.text}}" {{event.text|json}}', '"a"b" "a\\"b"'),
        ("{% if is %}yes{% endif %}{% if not is %}no{% endif %}{% if df_none %}no{% else %}none{% endif %}", "yesnone"),
        (
            "{% if n == 3 %}three{% endif %}{% if n != '3' %}other{% endif %}{% if df_name == \"Ada\" %}A{% endif %}",
            "threeA",
        ),
        ("{% for x in event.items[0].a %}{{x}}{% if loop.first %};{% endif %}{% endfor %}", '1;{"b":"x"}'),
        ("{% for x in nothing %}{{x}}{% endfor %}.", "."),
    ],
)
def test_a_template_prints(template, text):
    assert render(template, VALUES) == text


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% if a %}", "{% if a %} has no endif"),
        ("{% for a in b %}{% endif %}", "{% for a in b %} has no endfor"),
        ("{% endfor %}", "{% endfor %} ends no block"),
        ("{% include x %}", "{% include x %} is no block"),
    ],
)
def test_a_template_that_cannot_be_read_says_why(template, words):
    with pytest.raises(TemplateError) as caught:
        render(template, {})
    assert str(caught.value) == words


def test_values_are_made_fit_for_where_they_stand():
    text = 'a"&<b c'
    made = {kind: render("{{x}}", {"x": text}, kind) for kind in ("none", "json", "form", "xml", "url")}
    assert made == {
        "none": text,
        "json": 'a\\"&<b c',
        "form": "a%22%26%3Cb+c",
        "xml": "a&quot;&amp;&lt;b c",
        "url": "a%22%26%3Cb%20c",
    }


def test_a_body_in_each_content_type():
    words = {"a": "{{x}}", "b": "2"}
    kinds = ("application/json", "application/x-www-form-urlencoded", "text/xml", "text/plain")
    assert [form_of(words, kind) for kind in kinds] == [
        '{"a":"{{x}}","b":"2"}',
        "a={{x}}&b=2",
        '<?xml version="1.0" encoding="utf-8"?><webhook><a>{{x}}</a><b>2</b></webhook>',
        "a: {{x}}\nb: 2",
    ]
    assert [escaping_of(kind) for kind in kinds] == ["json", "form", "xml", "none"]


def test_what_a_value_looks_like():
    assert [shown(each) for each in (None, False, True, 0, 1.5, [1])] == ["", "", "1", "0", "1.5", "[1]"]
    assert look_up("a.b", {"a": "text"}) is None
