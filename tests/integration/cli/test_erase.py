"""``esplanade person erase``, while a hub runs and while none does."""

import asyncio
import sys

import pytest
from tests.integration.cli.conftest import CONNECTORS, CRM
from tests.integration.http.conftest import running_vendor

PROFILE = ("send", "profile", "--email", "Ada@Example.com", "--id", "id-of-ada", "--field", "firstname=Adaword")
NEVER = "the vendor was never told of this person, as far as the hub knows"


def left(project):
    raw = b"".join(path.read_bytes() for path in project.folder.glob("esplanade.db*"))
    return [word for word in ("ada@example.com", "Ada@Example.com", "id-of-ada", "Adaword") if word.encode() in raw]


def test_without_a_hub_the_person_is_erased_from_the_store(esplanade, project):
    esplanade(*PROFILE)
    assert len(left(project)) == 4
    erased = esplanade("person", "erase", "ADA@example.com", "--json")
    assert erased.code == 0
    assert erased.json.pop("erased_at").endswith("Z")
    certificate = [{"connector": name, "result": "not-found", "detail": NEVER} for name in ("cdp", "crm")]
    assert erased.json["person"] == "p-1"
    assert erased.json["certificate"] == certificate
    assert left(project) == []
    why = esplanade("explain", "ada@example.com")
    assert (why.code, why.out) == (1, "")
    assert "whoever had this address was erased on 20" in why.err
    assert esplanade("audit", "verify").code == 0


async def test_beside_a_hub_the_person_is_erased_by_the_hub(esplanade, project):
    async with project.hub() as hub:
        await asyncio.to_thread(esplanade, *PROFILE)
        await hub.settled()
        erased = await asyncio.to_thread(esplanade, "person", "erase", "ada@example.com")
        assert erased.code == 0
        assert "p-1 is erased since" in erased.out
        assert "unsupported" in erased.out
        assert "ada@example.com" in erased.out.lower()
        assert left(project) == []
        nobody = await asyncio.to_thread(esplanade, "person", "erase", "bob@example.com")
        assert (nobody.code, nobody.out) == (1, "")
        assert "bob@example.com: nobody with this address is known here" in nobody.err


def test_who_is_not_known_cannot_be_erased(esplanade):
    esplanade(*PROFILE)
    ended = esplanade("person", "erase", "bob@example.com")
    assert (ended.code, ended.out) == (1, "")
    assert "nobody with this address" in ended.err


class Terminal:
    """Somebody at a keyboard."""

    def __init__(self, answer):
        self._answers = [answer]

    def isatty(self):
        return True

    def readline(self, *_):
        return self._answers.pop()


@pytest.fixture
def at_terminal(monkeypatch):
    """Let somebody who gives this answer sit at a terminal."""

    def sit(answer):
        monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    return sit


@pytest.mark.parametrize(("answer", "code"), [("n", 130), ("y", 0)])
def test_at_a_terminal_it_asks_first(esplanade, project, at_terminal, answer, code):
    esplanade(*PROFILE)
    at_terminal(answer)
    ended = esplanade("person", "erase", "ada@example.com")
    assert ended.code == code
    assert "This cannot be undone" in ended.err
    assert bool(left(project)) is (answer == "n")


def test_with_yes_it_does_not_ask(esplanade, project, at_terminal):
    esplanade(*PROFILE)
    at_terminal("n")
    assert esplanade("person", "erase", "ada@example.com", "--yes").code == 0
    assert left(project) == []


ERASES = """

    async def erase(self, person, ctx):
        answer = await ctx.http.delete(f"/contacts/{person.email}", allow=(404,))
        return answer.status != 404


Crm.endpoint = lambda self: Endpoint(base_url="{origin}")
"""


@pytest.fixture
async def vendor(project):
    """A vendor on loopback whose plugin can erase; it answers 204."""
    async with running_vendor() as running:
        project.write("crm.py", CRM + ERASES.replace("{origin}", running.origin))
        project.write("connectors.yaml", CONNECTORS.replace("sources:", "  egress: {allow: [127.0.0.0/8]}\nsources:"))
        running.answers(204)
        yield running


def at_crm(erased):
    return next(one for one in erased.json["certificate"] if one["connector"] == "crm")


async def test_beside_a_hub_the_vendor_is_asked_and_one_that_fails_is_an_exit_code(esplanade, project, vendor):
    async with project.hub() as hub:
        await asyncio.to_thread(esplanade, *PROFILE)
        await hub.settled()
        vendor.answers(503)
        erased = await asyncio.to_thread(esplanade, "person", "erase", "ada@example.com", "--json")
        assert (erased.code, at_crm(erased)["result"]) == (1, "failed")
        assert "not erased at the vendor of crm; the certificate says why. Erase again" in erased.err
        assert left(project) == []
        vendor.answers(204)
        erased = await asyncio.to_thread(esplanade, "person", "erase", "ada@example.com", "--json")
        assert (erased.code, at_crm(erased)["result"]) == (0, "erased")


async def test_without_a_hub_the_vendor_is_asked_too_and_a_twin_is_not(esplanade, project, vendor):
    async with project.hub() as hub:
        await asyncio.to_thread(esplanade, *PROFILE)
        await hub.settled()
    erased = await asyncio.to_thread(esplanade, "person", "erase", "ada@example.com", "--json")
    assert (erased.code, at_crm(erased)) == (
        0,
        {
            "connector": "crm",
            "result": "erased",
            "detail": "erased at the vendor: the contact with the address Ada@Example.com",
        },
    )
    assert [request.path for request, _ in vendor.requests] == ["/contacts/Ada@Example.com"]
    text = (project.folder / "connectors.yaml").read_text()
    project.write("connectors.yaml", text.replace("plugin: ./crm.py", "plugin: ./crm.py\n    twin: true"))
    erased = await asyncio.to_thread(esplanade, "person", "erase", "ada@example.com", "--json")
    assert (erased.code, at_crm(erased)["result"]) == (1, "failed")
    assert (
        "connector crm has a twin for its vendor, which lives in the hub; start `esplanade run`"
        in at_crm(erased)["detail"]
    )
