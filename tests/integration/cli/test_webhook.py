"""``esplanade webhook try``: what a captured request would become."""

import asyncio
import io
import re
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.integration.cli.conftest import CRM

CONFIG = """\
hub: {{listen: "127.0.0.1:0", egress: {{allow: ["127.0.0.0/8"]}}}}
connectors:
  crm:
    plugin: ./crm.py
    settings: {{key: s3cr3t-of-the-crm, base_url: "{vendor}"}}
    consents: {{newsletter: {{}}}}
    webhook:
      events:
        link_clicked: {{trigger: clicked}}
        left_by_phone: {{consents: {{newsletter: denied}}}}
        came_back: {{consents: {{newsletter: granted}}, fields: {{order: order.status}}}}
        order: {{trigger: order, event_id: order.id}}
  cdp:
    plugin: webhook
    twin: true
    settings: {{url: "https://cdp.example/hooks", secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}}
    triggers: {{"*": {{}}}}
"""
PLUGIN = CRM.replace(
    '    status: str = "ok"\n', '    key: Secret\n    base_url: str\n    status: str = "ok"\n'
).replace("PermanentError, Report,", "PermanentError, Report, Secret, TemporaryError,")
FETCH = """
    async def fetch(self, person, ctx):
        answer = await ctx.http.get("/contacts", params={"email": person.email}, allow=(404,))
        if answer.status == 404:
            return None
        held = answer.json()
        return Report(email=held["email"], remote_id=held["id"], fields=held["fields"], consents=held["consents"])
"""
READS = """
    @hookimpl
    async def on_inbound_webhook(self, event, ctx):
        if event.body == b"broken":
            raise ZeroDivisionError("a bug")
        return [Report(email="read@example.com", consents={"newsletter": "denied"})]
"""
GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "read-any-webhook.md"
CLICKED = b"""\
POST /hooks/crm/not-to-be-shown?event_name=link_clicked&k=s3cr3t-of-the-crm HTTP/1.1
Host: hub.example
Authorization: Basic bm90LXRvLWJlLXNob3du
Content-Type: application/json

{"emailaddress": "ada@example.com", "link": "https://shop.example/p/1", "token": "s3cr3t-of-the-crm"}
"""


@pytest.fixture
def crm(project):
    """Write the project's configuration; the plugin may have parts left out or added."""

    def write(*, vendor="https://crm.example", fetch=FETCH, reads=READS):
        text = PLUGIN.replace('base_url="https://crm.example"', "base_url=self.settings.base_url")
        project.write("crm.py", text + fetch + reads)
        return project.write("connectors.yaml", CONFIG.format(vendor=vendor))

    write()
    return write


@pytest.fixture
def try_(esplanade, project):
    def _try(content, *arguments):
        return esplanade("webhook", "try", str(project.write("captured.txt", content)), *arguments)

    return _try


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_a_raw_request_shows_how_it_is_read_and_what_follows(crm, try_, ends):
    ended = try_(CLICKED.replace(b"\n", ends))
    assert (ended.code, ended.err) == (0, "")
    shown = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert "call POST application/json" in shown
    assert "event link_clicked, at event_name in the query" in shown
    assert "address ada@example.com, at emailaddress in the body" in shown
    assert "rule link_clicked" in shown
    assert "The contact is read again first; where the vendor has none, nothing of this counts." in shown
    assert 'trigger clicked {"link":"https://shop.example/p/1"}' in shown
    assert "repeats count each" in shown


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_secrets_are_not_shown(crm, try_, arguments):
    ended = try_(CLICKED, *arguments)
    for secret in ("s3cr3t-of-the-crm", "not-to-be-shown", "bm90LXRv", "Basic"):
        assert secret not in ended.out + ended.err


def test_json_says_the_same(crm, try_):
    found = try_(CLICKED, "--json").json
    assert (found["connector"], found["rule"], found["goes_to"], found["asked"]) == (
        "crm",
        "link_clicked",
        "rule",
        False,
    )
    assert found["address"] == {"value": "ada@example.com", "path": "emailaddress", "where": "body"}
    assert found["event"]["where"] == "query"
    assert (found["read"]["form"], found["read"]["query"]) == ("json", ["event_name", "k"])
    ((trigger,), reports) = found["triggers"], found["reports"]
    assert (trigger["name"], trigger["data"], reports) == ("clicked", {"link": "https://shop.example/p/1"}, [])


@pytest.mark.parametrize(
    "body",
    [
        '{"event": "left_by_phone", "email": "ada@example.com"}',
        "event=left_by_phone&email=ada%40example.com",
        "<w><event>left_by_phone</event><email>ada@example.com</email></w>",
        "event: left_by_phone\nemail: ada@example.com\n",
    ],
)
def test_a_bare_body_is_read_by_what_it_looks_like(crm, try_, body):
    (report,) = try_(body, "--json").json["reports"]
    assert report["consents"] == {"newsletter": "denied"}


def test_the_request_comes_from_stdin_too(crm, esplanade, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(CLICKED)))
    assert esplanade("webhook", "try", "-", "--json").json["rule"] == "link_clicked"


def test_a_get_has_its_query(crm, try_):
    found = try_("GET /hooks/x?event=left_by_phone&email=ada%40example.com HTTP/1.1\nHost: x\n", "--json").json
    assert (found["rule"], found["read"]["form"]) == ("left_by_phone", None)


def test_a_body_that_a_value_has_broken_says_so(crm, try_):
    ended = try_(
        'POST /?event=left_by_phone\nContent-Type: application/json\n\n{"email":"ada@example.com","name":"A "B""}'
    )
    assert "json, but it is not JSON: Expecting ',' delimiter in line 1" in ended.out
    assert "ada@example.com, the only one in the body" in ended.out


def test_the_content_type_can_be_tried_out(crm, try_):
    assert (
        try_('{"a": "x@y.example"}\nevent: link_clicked', "--content-type", "text", "--json").json["rule"]
        == "link_clicked"
    )


def test_a_grant_is_shown_to_hang_on_the_contact(crm, try_):
    out = try_('{"event": "came_back", "email": "ada@example.com", "order": {"status": "paid"}}').out
    assert "granted, where the contact shows it" in out
    assert "field order" in out


def test_an_event_id_is_shown_to_make_repeats_count_once(crm, try_):
    assert (
        "count once, by its event_id" in try_('{"event": "order", "email": "ada@example.com", "order": {"id": 1}}').out
    )


def test_an_event_without_a_rule_goes_to_the_plugin_and_the_known_ones_are_listed(crm, try_):
    ended = try_('{"event": "opened"}')
    assert ended.code == 0
    assert "none; there are rules for: link_clicked, left_by_phone, came_back, order" in ended.out
    assert "No rule is for it, so the plugin gets the call as it came; --online shows what it makes of it." in ended.out


def test_a_body_that_cannot_be_read_goes_to_the_plugin_too_and_says_why(crm, try_):
    ended = try_("{")
    assert ended.code == 0
    assert "the webhook's body cannot be read: it is not JSON" in ended.out
    assert "so the plugin gets the call as it came" in ended.out
    crm(reads="")
    assert try_("{").code == 1


def test_an_event_without_a_rule_or_a_plugin_that_reads_it_is_a_dead_letter(crm, try_):
    crm(reads="")
    ended = try_('{"event": "opened"}')
    assert ended.code == 1
    assert "kept as a dead letter: no rule is for it, and the plugin reads no webhooks" in ended.out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"event": "left_by_phone"}', "no e-mail address is in the webhook's body or query"),
        ('{"event": "left_by_phone", "a": "a@b.example", "b": "b@b.example"}', "name its path"),
        ("POST /?event=left_by_phone\n\n<!DOCTYPE a><a/>", "document type"),
        ("POST / HTTP/1.1\nno header\n\n", "line 2 of the captured request is no header; write `Name: value`"),
        (b"x" * (1024 * 1024 + 1), "which the hub would answer with 413"),
    ],
)
def test_what_cannot_be_read_is_exit_1_with_the_remedy(crm, try_, content, said):
    ended = try_(content)
    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err


def test_without_a_connector_that_has_a_block_it_is_usage(project, try_):
    ended = try_(CLICKED)
    assert ended.code == 2
    assert "say whose webhook it is with --connector; no connector in connectors.yaml has a `webhook:`" in ended.err


def test_of_several_connectors_one_is_to_be_named(crm, project, try_):
    crm()
    text = project.config.read_text()
    part = text[text.index("  crm:") : text.index("  cdp:")]
    project.write("connectors.yaml", text + part.replace("  crm:", "  other:").replace("s3cr3t-of-the-crm", "another"))
    ended = try_(CLICKED)
    assert ended.code == 2
    assert "there are crm, other" in ended.err
    assert try_(CLICKED, "--connector", "other", "--json").json["connector"] == "other"
    assert "did you mean other?" in try_(CLICKED, "--connector", "othr").err


def test_a_connector_without_a_block_shows_what_its_plugin_gets(crm, try_):
    ended = try_(CLICKED, "--connector", "cdp")
    assert ended.code == 1
    assert "none, the connector has no `webhook:`" in ended.out


def test_a_file_that_is_not_there_is_usage_and_a_wrong_configuration_is_3(crm, esplanade, project):
    assert esplanade("webhook", "try", "nowhere.txt").code == 2
    project.write("connectors.yaml", "hub: [")
    assert esplanade("webhook", "try", "-").code == 3


class TestOnline:
    @pytest.fixture
    async def vendor(self):
        """A vendor that has Ada."""
        found = {
            "id": "c-1",
            "email": "ada@example.com",
            "fields": {"City": "Delft"},
            "consents": {"newsletter": "granted"},
        }

        async def contact(request):
            if request.query["email"] != "ada@example.com":
                return web.Response(status=404)
            return web.json_response(found)

        app = web.Application()
        app.router.add_get("/contacts", contact)
        server = TestServer(app)
        await server.start_server()
        yield str(server.make_url("")).rstrip("/")
        await server.close()

    @pytest.fixture
    def aside(self, try_):
        async def program(*arguments):
            return await asyncio.to_thread(try_, *arguments)

        return program

    async def test_the_contact_is_read_for_real(self, crm, vendor, aside):
        crm(vendor=vendor)
        found = (await aside('{"event": "came_back", "email": "ada@example.com"}', "--online", "--json")).json
        assert found["contact"]["remote_id"] == "c-1"
        assert found["reports"][0]["consents"] == {"newsletter": "granted"}
        out = (await aside('{"event": "came_back", "email": "ada@example.com"}', "--online")).out
        assert "The vendor has the contact, and this follows." in out
        assert "contact: City" in out

    async def test_a_contact_that_the_vendor_does_not_have_is_believed_for_nothing(self, crm, vendor, aside):
        crm(vendor=vendor)
        ended = await aside('{"event": "left_by_phone", "email": "eve@example.com"}', "--online")
        assert (ended.code, ended.out) == (1, "")
        assert "the vendor has no contact with the address in the webhook" in ended.err

    async def test_a_vendor_that_cannot_be_reached_is_named(self, crm, aside):
        crm(vendor="http://127.0.0.1:1")
        ended = await aside('{"event": "left_by_phone", "email": "ada@example.com"}', "--online")
        assert ended.code == 1
        assert "connector crm: TemporaryError" in ended.err

    async def test_a_call_without_a_rule_is_shown_as_the_plugin_reads_it(self, crm, vendor, aside):
        crm(vendor=vendor)
        ended = await aside('{"event": "opened"}', "--online")
        assert "read@example.com" in ended.out
        assert "consent newsletter" in ended.out
        ended = await aside("broken", "--online")
        assert (ended.code, "the plugin raised ZeroDivisionError: a bug" in ended.err) == (1, True)

    async def test_a_twin_is_not_asked(self, crm, project, aside):
        crm()
        text = project.config.read_text()
        project.write(
            "connectors.yaml", text.replace("    plugin: ./crm.py\n", "    plugin: ./crm.py\n    twin: true\n")
        )
        ended = await aside('{"event": "left_by_phone", "email": "ada@example.com"}', "--online")
        assert ended.code == 1
        assert "connector crm says `twin: true`" in ended.err


class TestGuide:
    """The how-to page works to the letter."""

    @pytest.fixture
    def guide(self, project):
        text = GUIDE.read_text("utf-8")
        (config,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        plugin = PLUGIN.replace("key: Secret", "secret: Secret").replace("base_url: str", 'base_url: str = ""')
        project.write("crm.py", plugin + FETCH + READS)
        project.write("connectors.yaml", config)
        return text

    def test_its_configuration_is_valid_and_raises_no_warning(self, guide, esplanade):
        ended = esplanade("check")
        assert (ended.code, ended.err) == (0, "")

    def test_its_call_becomes_what_it_shows(self, guide, try_):
        (request,) = re.findall(r"```http\n(.*?)```", guide, re.DOTALL)
        (shown,) = re.findall(r"```text\n(.*?)```", guide, re.DOTALL)
        assert try_(request).out == shown

    def test_its_table_of_keys_names_the_defaults(self, guide):
        from esplanade.config.model import Webhook

        defaults = Webhook(events={})
        rows = dict(re.findall(r"^\| `(email|event)` \|.*\| (.*?) \|$", guide, re.MULTILINE))
        assert rows == {key: ", ".join(f"`{path}`" for path in getattr(defaults, key)) for key in ("email", "event")}

    @pytest.mark.parametrize(
        ("body", "event"),
        [
            ('{"event": "link_clicked", "data": [{"email": "ada@example.com"}]}', "link_clicked"),
            ('{"event_name": "LEFT_BY_PHONE", "emailaddress": "mailto:ada@example.com"}', "left_by_phone"),
            ('{"event": "came_back", "note": "Ada <ada@example.com>"}', "came_back"),
        ],
    )
    def test_its_rules_read_what_it_says(self, guide, try_, body, event):
        found = try_(body, "--json").json
        assert (found["rule"], found["address"]["value"]) == (event, "ada@example.com")

    def test_what_an_error_says_is_in_its_table(self, guide, try_):
        two = '{"a": "a@b.example", "b": "b@b.example"}'
        for body in ("{}", two, "<!DOCTYPE a>", "{"):
            said = try_(f"POST /?event=link_clicked\n\n{body}").err.removeprefix("esplanade: ")
            assert any(row and row in said for row in re.findall(r"^\| ([^`|]+) \| ", guide, re.MULTILINE)), said
