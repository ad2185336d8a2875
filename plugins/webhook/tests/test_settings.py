"""Settings that cannot work are refused, with the remedy, before anything is sent."""

import base64

import pytest

from esplanade import Origin, Secret

from .conftest import OTHER, SECRET, settings

URL = "url: expected one such as https://cdp.example/hooks/esplanade, without user name or fragment"
KEY = (
    "secret: expected whsec_ and the base64 form of 24 to 64 bytes; make one with: "
    'echo "whsec_$(openssl rand -base64 32)"'
)


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://cdp.example/hooks/esplanade", "https://cdp.example", "/hooks/esplanade"),
        ("https://cdp.example:8443/in?source=esplanade&v=1", "https://cdp.example:8443", "/in?source=esplanade&v=1"),
        ("http://[::1]:80", "http://[::1]:80", "/"),
    ],
)
def test_a_url_may_have_a_port_and_a_query(url, origin, path):
    assert (settings(url=url).origin, settings(url=url).path) == (origin, path)


def test_the_base_url_takes_the_place_of_the_origin():
    moved = settings(url="https://cdp.example/in?a=1", base_url=Origin("http://127.0.0.1:9000"))

    assert (moved.origin, moved.path) == ("http://127.0.0.1:9000", "/in?a=1")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "cdp.example/in",
        "ftp://cdp.example/in",
        "https:///in",
        "https://user@cdp.example/in",
        "https://cdp.example/in#part",
        "https://cdp.example/a b",
        "https://cdp.example/in\r\nX: y",
        "https://cdp.example:99999/in",
        "https://cdp.example:x/in",
        "https://[::1/in",
        "https://cdp.example\\@elsewhere.example/in",
    ],
)
def test_a_url_that_cannot_be_posted_to_is_refused(url):
    with pytest.raises(ValueError, match=r"^url: ") as caught:
        settings(url=url)
    assert str(caught.value) == URL


def secret_of(size):
    return "whsec_" + base64.b64encode(b"k" * size).decode()


@pytest.mark.parametrize("text", [SECRET, SECRET.rstrip("="), secret_of(24), secret_of(64)])
def test_a_secret_has_24_to_64_bytes(text):
    assert settings(secret=Secret(text)).keys == [Secret(text)]


@pytest.mark.parametrize(
    "text", ["", "whsec_", SECRET.removeprefix("whsec_"), secret_of(23), secret_of(65), "whsec_äää!", "whsk_x"]
)
def test_another_secret_is_refused_without_being_shown(text):
    for changes in ({"secret": Secret(text)}, {"secrets": [Secret(text)]}):
        with pytest.raises(ValueError, match=r"^secret: ") as caught:
            settings(**changes)
        assert str(caught.value) == KEY


def test_further_secrets_come_after_the_main_one():
    assert settings(secrets=[Secret(OTHER)]).keys == [Secret(SECRET), Secret(OTHER)]


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({"Webhook-Id": Secret("1")}, "headers: Webhook-Id is set by this plugin itself; take it out"),
        ({"content-type": Secret("text/plain")}, "headers: content-type is set by this plugin itself; take it out"),
        ({"X Y": Secret("1")}, "headers: 'X Y' or its value has a character that no header may have; take it out"),
        ({"X": Secret("a\r\nb")}, "headers: 'X' or its value has a character that no header may have; take it out"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused(headers, refusal):
    with pytest.raises(ValueError, match=r"^headers: ") as caught:
        settings(headers=headers)
    assert str(caught.value) == refusal


def test_nothing_secret_is_printed():
    shown = repr(settings(secrets=[Secret(OTHER)], headers={"Authorization": Secret("Bearer hush")}))

    assert not [each for each in (SECRET, OTHER, "hush") if each in shown]
