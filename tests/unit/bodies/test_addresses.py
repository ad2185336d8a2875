"""Whatever the body, the address is found."""

import re

import pytest

from esplanade import BodyPath, PermanentError
from esplanade.bodies import address_in, addresses_in

ADA = "ada@shop.example"


@pytest.mark.parametrize(
    "said",
    [
        ADA,
        f"  {ADA}\n",
        f"\u00a0{ADA}",
        f"mailto:{ADA}",
        f"MAILTO: {ADA}?subject=Hello",
        f"Ada Lovelace <{ADA}>",
        f'"Lovelace, Ada" <{ADA}> ',
        f"<mailto:{ADA}>",
    ],
)
def test_an_address_is_taken_out_of_what_stands_around_it(said):
    assert address_in(said) == ADA


@pytest.mark.parametrize(
    "said", ["o'neil+x=y@a-b.example", "jörg@exämple.example", "a@b.c.d.example", "ADA@SHOP.EXAMPLE"]
)
def test_an_address_keeps_how_it_is_written(said):
    assert address_in(said) == said


@pytest.mark.parametrize(
    "said",
    ["", "ada", "@", "a@", "@b.example", "a@b", "a b@c.example", "a@b@c.example", "a@-b.example", "a@b..example", 7, None,
     True, [ADA], {}, "x" * 65 + "@b.example", f"{ADA}, bob@shop.example", "a\x00@b.example", "a\ufffd@b.example", f"{ADA} <>"],
)  # fmt: skip
def test_what_is_no_address_is_none(said):
    assert address_in(said) is None


@pytest.mark.parametrize(
    "text",
    [
        f"Please write to {ADA}.",
        f"({ADA})",
        f"https://shop.example/x?email={ADA}&y=1",
        f'"email":"{ADA}",',
        f"<email>{ADA}</email>",
        f"ada:{ADA};",
        f"'{ADA}'",
        f"{ADA} or {ADA.upper()}",
    ],
)
def test_an_address_is_found_within_text(text):
    assert addresses_in(text) == [ADA]


@pytest.mark.parametrize("text", ["a@b.example@c.example", "x@y", "@ada@shop", "no address"])
def test_no_part_of_something_else_is_taken_for_one(text):
    assert addresses_in(text) == []


def test_keys_and_lists_are_looked_into():
    assert addresses_in({"x": [{"bob@shop.example": 1}, [f"Ada <{ADA}>"]]}) == ["bob@shop.example", ADA]


def test_the_first_path_that_leads_to_an_address_counts(read, paths):
    found = read(
        '{"emailaddress": "n/a", "email": {"id": 7}, "contact": {"email": "Ada <ada@shop.example>"}, "from": "x@y.example"}'
    ).address(paths)
    assert (found.value, found.path, found.where) == (ADA, "contact.email", "body")


@pytest.mark.parametrize("body", ['{"x": "bob@shop.example"}', f'{{"contact": {{"email": "{ADA.upper()}"}}}}'])
def test_the_query_wins_over_the_body(read, paths, body):
    found = read(body, query=f"email={ADA}").address(paths)
    assert (found.value, found.path, found.where) == (ADA, "email", "query")


@pytest.mark.parametrize(
    ("body", "content_type", "query", "path"),
    [
        ("emailaddress=ada+news@shop.example", "application/x-www-form-urlencoded", "", "emailaddress"),
        ("", "", "emailaddress=ada+news@shop.example", "emailaddress"),
        ('{"emailaddress": "", "shop": "help@shop.example"}', "application/json", "", "emailaddress"),
        ('{"emailaddress": null, "shop": "help@shop.example"}', "application/json", "", "emailaddress"),
        ('{"contact": {"email": "n/a"}, "shop": "help@shop.example"}', "application/json", "", "contact.email"),
        ('{"shop": "help@shop.example"}', "application/json", "email=", "email"),
        ('{"emailaddress": "ada news@shop.example", "email": "bob@shop.example"}', "", "", "emailaddress"),
        ('{"email": "ada@shop.example, bob@shop.example"}', "", "", "email"),
        ("who=ada+news@shop.example", "application/x-www-form-urlencoded", "", "a value"),
        ("", "", "who=ada+news@shop.example", "a value"),
    ],
)
def test_where_a_path_leads_to_no_address_nobody_elses_is_taken(read, paths, body, content_type, query, path):
    with pytest.raises(PermanentError, match=f"^{path} in the webhook's (body|query) is no e-mail address") as caught:
        read(body, content_type, query=query).address(paths)
    assert "a + in it as %2B" in str(caught.value)
    assert "@" not in str(caught.value)


def test_the_end_of_an_address_with_an_odd_sign_is_none_by_itself():
    assert addresses_in('"o\'brien@shop.example" x') == []


EVE = 'x", "%s": "eve@shop.example'


@pytest.mark.parametrize(
    ("body", "content_type", "query"),
    [
        *((f'{{"email": "{ADA}", "name": "{EVE % key}"}}', "application/json", "")
          for key in ("emailaddress", "email", "EMAIL", "contact.email")),
        (f'{{"contact": {{"email": "{ADA}", "name": "{EVE % "EMail"}"}}}}', "application/json", ""),
        (f'{{"contact": {{"email": "{ADA}"}}, "n": "x", "contact": {{"email": "eve@shop.example"}}}}', "application/json", ""),
        (f'{{"contact": {{"email": "{ADA}"}}, "n": "{EVE % "contact.email"}"}}', "application/json", ""),
        (f"email: {ADA}\nname: x\nemailaddress: eve@shop.example", "text/plain", ""),
        (f"email={ADA}&name=x&email=eve@shop.example", "application/x-www-form-urlencoded", ""),
        ("name: x\nemail: eve@shop.example", "text/plain", f"email={ADA}"),
        ('{"name": "eve@shop.example"}', "application/json", f"who={ADA}"),
    ],
)  # fmt: skip
def test_an_address_that_somebody_has_put_beside_the_contacts_is_not_taken_for_it(
    read, paths, body, content_type, query
):
    with pytest.raises(PermanentError, match="2 e-mail addresses"):
        read(body, content_type, query=query).address(paths)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (f'{{"who": {{"mail": "{ADA}"}}}}', "application/json"),
        (f"who%5Bmail%5D={ADA.replace('@', '%40')}", "application/x-www-form-urlencoded"),
        (f"<r><who mail='{ADA}'/></r>", "text/xml"),
        (f"Ada, {ADA}, has opened it", "text/plain"),
        (f'"{ADA}"', "application/json"),
        (f'{{"emailaddress":"{ADA}","name":"Ada "the" Countess"}}', "application/json"),
        (f"<r><emailaddress>{ADA}</emailaddress><name>Ada & Co</name></r>", "text/xml"),
    ],
)
def test_the_only_address_anywhere_is_the_contacts(read, paths, body, content_type):
    found = read(body, content_type).address(paths)
    assert (found.value, found.path) == (ADA, "")


def test_a_body_that_a_value_has_broken_says_so_and_has_no_words(read, paths):
    found = read(
        f'{{"event":"x","emailaddress":"{ADA}","name":"Ada "the" Countess"}}', "application/json", query="event_name=x"
    )
    assert found.broken.startswith("it is not JSON: ")
    assert found.find([BodyPath("event")]) is None
    assert found.find([BodyPath("event_name")]).where == "query"


@pytest.mark.parametrize(
    "body",
    [
        '{"from": "ada@shop.example", "to": "bob@shop.example"}',
        '{"email": ["ada@shop.example", "bob@shop.example"]}',
        '{"email": "ada@shop.example", "email": "bob@shop.example"}',
        "ada@shop.example and bob@shop.example",
    ],
)
def test_of_several_none_is_taken_and_the_error_says_to_name_the_path(read, paths, body):
    with pytest.raises(PermanentError, match=re.escape("2 e-mail addresses")) as caught:
        read(body).address(paths)
    assert "name its path" in str(caught.value)
    assert "ada" not in str(caught.value)


def test_the_same_address_twice_is_one(read, paths):
    assert read('{"from": "ada@shop.example", "to": "ADA@shop.example"}').address(paths).value == ADA


@pytest.mark.parametrize("body", ["{}", "", "x: y", "<r/>", "[]"])
def test_without_an_address_the_error_says_what_to_send(read, paths, body):
    with pytest.raises(PermanentError, match="no e-mail address is in the webhook's body or query; let it carry"):
        read(body).address(paths)


def test_an_empty_value_says_nothing(read):
    assert read('{"a": "", "b": null, "c": 0}').find([BodyPath("a"), BodyPath("b"), BodyPath("c")]).path == "c"
