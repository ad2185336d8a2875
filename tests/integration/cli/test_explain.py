"""Explaining one person: who they are, what they agreed to, what each vendor holds and lacks, and why somebody got nothing."""

import asyncio
import json

import aiohttp
import pytest
from tests.integration.cli.conftest import CONNECTORS, CRM

from esplanade.records import Contact, Delivery, Remote

ADA = "ada@example.com"


def line(out, label):
    """What the first line with a label says."""
    found = [each.strip() for each in out.splitlines() if each.strip().startswith(label)]
    assert found, f"no line begins with {label!r} in:\n{out}"
    return found[0].removeprefix(label).strip()


def section(out, title):
    """The lines of one section, without its title."""
    return out.partition(f"\n{title}")[2].partition("\n\n")[0]


@pytest.fixture
def requiring(project):
    """A connector to which nobody goes without the newsletter."""
    project.write(
        "connectors.yaml",
        CONNECTORS.replace("    fields: {firstname: FIRST", "    requires: newsletter\n    fields: {firstname: FIRST"),
    )


def deliver(project, *work):
    """Let a hub run until everything that waits has gone out; ``work`` is done on its store then."""

    async def run():
        async with project.hub() as hub:
            await hub.settled()
            for each in work:
                await hub.store.run(each)

    asyncio.run(run())


def test_somebody_who_got_nothing_is_told_why_in_words(esplanade, requiring):
    esplanade("send", "profile", "--email", ADA, "--field", "firstname=Ada")
    out = esplanade("explain", ADA).out
    assert line(out, "crm:") == "nothing is sent, it needs a purpose that the person has not granted"
    assert line(out, "withheld") == "newsletter: no-consent (nothing was said about newsletter)"
    assert "profile: no-consent (requires newsletter)" in section(out, "crm:")
    assert line(section(out, "Why"), "→") == "a consent event with evidence grants it"


def test_what_differs_and_what_waits_is_shown_before_it_is_sent(esplanade):
    esplanade(
        "send", "profile", "--email", ADA, "--field", "firstname=Ada", "--field", "shoe_size=38", "--audience", "vip"
    )
    crm, cdp = (section(esplanade("explain", ADA).out, name) for name in ("crm:", "cdp:"))
    assert "1 to be sent" in crm
    assert line(crm, "to change") == f"email: - → {ADA}"
    assert "FIRST_NAME: - → Ada" in crm
    assert "vip: - → yes" in cdp
    assert line(crm, "waits").startswith("d-1 profile, due since ")
    assert line(crm, "not mapped") == "shoe_size, audience vip"
    assert line(cdp, "not mapped") == "shoe_size"


def test_what_was_sent_is_held_and_in_step(esplanade, project):
    esplanade("send", "profile", "--email", ADA, "--field", "firstname=Ada", "--consent", "newsletter=granted")
    deliver(project)
    crm = section(esplanade("explain", ADA).out, "crm:")
    assert crm.splitlines()[0] == " in step"
    assert line(crm, "contact").startswith(f"{ADA}, as of 20")
    assert line(crm, "holds") == "FIRST_NAME=Ada; newsletter=granted"
    assert "to change" not in crm


def test_a_value_that_was_refused_is_a_dead_letter_with_its_remedy(esplanade, project):
    project.write("crm.py", CRM.replace("does not like this address", "says\\n  no: \\x1b[31m"))
    esplanade("send", "profile", "--email", "refused@example.com", "--field", "firstname=No")
    deliver(project)
    out = esplanade("explain", "refused@example.com").out
    crm = section(out, "crm:")
    assert crm.splitlines()[0] == " 1 kept for you to decide"
    assert line(crm, "kept").startswith("d-1 profile, after 1 attempt (PermanentError: the vendor says")
    assert line(crm, "kept").endswith("dead: rejected")
    assert line(crm, "refused") == "FIRST_NAME=No; not sent again until it changes"
    assert "`esplanade replay --reason rejected`" in section(out, "Why")
    assert "\x1b" not in out
    assert not [each for each in out.splitlines() if each.startswith("  no:")]


def test_a_reason_of_the_plugins_own_is_shown_as_it_is(esplanade, project):
    refuses = 'raise PermanentError("the vendor does not like this address")'
    project.write("crm.py", CRM.replace(refuses, 'return Outcome(status="unchanged", reason="on-holiday")'))
    esplanade("send", "profile", "--email", "refused@example.com", "--field", "firstname=No")
    deliver(project)
    out = esplanade("explain", "refused@example.com").out
    assert line(section(out, "crm:"), "decided").endswith(": on-holiday")
    assert line(section(out, "Why"), "on-holiday") == "the plugin says so; its own documentation knows more"


def test_a_connector_that_is_paused_off_or_gone_says_so(esplanade, project):
    esplanade("send", "profile", "--email", ADA, "--field", "firstname=Ada")
    esplanade("pause", "crm")
    assert line(esplanade("explain", ADA).out, "crm:").startswith("paused (by hand), so what is due waits")
    project.write(
        "connectors.yaml", CONNECTORS.replace("    plugin: ./crm.py", "    plugin: ./crm.py\n    enabled: false")
    )
    assert line(esplanade("explain", ADA).out, "crm:") == "disabled in connectors.yaml, so nothing is sent"
    project.write("connectors.yaml", CONNECTORS.replace("  crm:\n", "  another:\n"))
    assert line(esplanade("explain", ADA).out, "crm:") == "not in connectors.yaml, so nothing is sent"


def test_an_address_that_changed_is_told_with_its_date_and_the_earlier_one(esplanade):
    esplanade("send", "profile", "--email", "old@example.com", "--id", "u-1", "--at", "2026-01-10T10:00:00Z")
    esplanade("send", "profile", "--email", ADA, "--id", "u-1", "--at", "2026-01-15T10:00:00Z")
    for email in (ADA, "old@example.com"):
        out = esplanade("explain", email).out
        assert out.startswith(f"{ADA}   p-1   id u-1\n")
        assert "at this address since 2026-01-15T10:00:00.000Z; before at old@example.com" in out


def test_people_who_turned_out_to_be_one_are_named(esplanade):
    esplanade("send", "profile", "--email", "old@example.com", "--field", "firstname=Ada")
    esplanade("send", "profile", "--email", ADA, "--id", "u-1")
    esplanade("send", "profile", "--email", ADA, "--id", "u-1", "--previous-email", "old@example.com")
    assert "p-1 turned out to be the same person" in esplanade("explain", ADA).out


def test_a_grant_that_could_not_lift_a_denial_is_in_the_ledger_and_explained(esplanade):
    for state, more in (("denied", ()), ("granted", ())):
        esplanade("send", "consent", "--email", ADA, "--purpose", "newsletter", "--state", state, *more)
    out = esplanade("explain", ADA).out
    assert line(section(out, "Consents"), "newsletter").split()[0] == "denied"
    assert [row.split()[3] for row in section(out, "What was said about consents").splitlines()[2:]] == [
        "denied",
        "granted",
    ]
    assert line(section(out, "hub"), "decided").endswith(": not-evidenced")
    assert "send it as a consent event with `evidence`" in section(out, "Why")


def test_a_doubt_of_the_guard_and_a_former_contact_are_shown(esplanade, project):
    esplanade("send", "profile", "--email", ADA, "--field", "firstname=Ada", "--consent", "newsletter=granted")

    def doubt(unit):
        person = unit.person_by_email(ADA)
        person.doubted = {"newsletter": {"crm": 1_768_471_200.0}}
        unit.enqueue(
            Delivery(
                id=0, lane="crm:in", kind="fold", state="parked", person=person.id, reason="guard", subject="newsletter"
            )
        )
        unit.save_person(person)
        former = Contact(email="old@example.com", remote_id="9", consents={"newsletter": "granted"}, audiences=["vip"])
        unit.save_remote(Remote(person=person.id, connector="crm", email=ADA, former=[former], unknown=True))

    deliver(project, doubt)
    out = esplanade("explain", ADA).out
    assert "newsletter is in doubt since 2026-01-15T10:00:00.000Z: crm no longer lists them" in out
    crm = section(out, "crm:")
    assert crm.splitlines()[0] == " in doubt: newsletter"
    assert line(crm, "kept").endswith("fold newsletter, parked: guard")
    assert line(out, "cdp:") != "in doubt: newsletter"
    assert "crm no longer lists them" in esplanade("explain", ADA, "cdp").out
    assert line(crm, "former") == "9 old@example.com: newsletter=granted, vip=yes"
    assert "not certain since a call was cut" in line(crm, "contact")
    assert line(crm, "withheld") == "newsletter: no-consent (newsletter is in doubt)"


def test_what_differs_and_was_sent_before_is_sent_again_as_advised(esplanade, project):
    esplanade("send", "profile", "--email", ADA, "--field", "firstname=Ada", "--consent", "newsletter=granted")

    def forget(unit):
        remote = unit.remote(unit.person_by_email(ADA).id, "crm")
        remote.fields, remote.consents = {}, {}
        unit.save_remote(remote)

    deliver(project, forget)
    advised = "`esplanade replay --connector crm --email ada@example.com`"
    assert line(esplanade("explain", ADA).out, "crm:") == f"differs, and nothing is queued: {advised}"
    assert esplanade(*advised.strip("`").split()[1:]).code == 0
    deliver(project)
    assert line(esplanade("explain", ADA).out, "crm:") == "in step"


def test_what_differs_and_was_never_sent_goes_out_with_its_next_change_as_said(esplanade, project):
    esplanade("send", "profile", "--email", ADA, "--field", "firstname=Ada")
    deliver(project)
    _, _, cdp = CONNECTORS.partition("  cdp:\n")
    project.write("connectors.yaml", f"{CONNECTORS}  new:\n{cdp}")
    advised = "differs, and nothing is queued: what differs goes out when it changes next"
    assert line(esplanade("explain", ADA).out, "new:") == advised
    esplanade("replay", "--connector", "new", "--email", ADA)
    esplanade("send", "profile", "--email", ADA, "--field", "firstname=Ada")  # no change
    assert line(esplanade("explain", ADA).out, "new:") == advised
    esplanade("send", "profile", "--email", ADA, "--field", "firstname=Eve")
    deliver(project)
    assert line(esplanade("explain", ADA).out, "new:") == "in step"


def test_an_event_that_could_not_be_folded_is_kept_with_the_person_it_may_be_about(esplanade):
    for email, id_ in ((ADA, "u-1"), ("bob@example.com", "u-2")):
        esplanade("send", "profile", "--email", email, "--id", id_)
    esplanade("send", "profile", "--email", ADA, "--id", "u-1", "--previous-email", "bob@example.com")
    out = esplanade("explain", ADA).out
    assert line(section(out, "hub"), "kept").endswith("fold, parked: identity-conflict")
    assert "identity-conflict" in section(out, "Why")


def test_with_one_connector_the_others_are_left_out(esplanade, requiring):
    esplanade("send", "profile", "--email", ADA, "--field", "firstname=Ada")
    why = esplanade("explain", ADA, "cdp", "--json").json
    assert list(why["connectors"]) == ["cdp"]
    assert {one["connector"] for one in why["decisions"]} <= {"cdp", ""}
    assert why["pending"] == {"cdp": 1}


def test_a_plugin_that_cannot_be_loaded_is_named_as_what_everything_waits_for(esplanade, project):
    esplanade("send", "profile", "--email", ADA, "--field", "firstname=Ada")
    project.write("crm.py", "import nothing_of_this_name")
    out = esplanade("explain", ADA).out
    assert line(out, "crm:").startswith("failed (")
    assert "nothing_of_this_name" in line(out, "crm:")
    assert "FIRST_NAME: - → Ada" in section(out, "crm:")


def test_a_plugin_that_cannot_be_started_costs_the_explanation_nothing(esplanade, project):
    esplanade("send", "profile", "--email", ADA, "--field", "firstname=Ada")
    project.write(
        "crm.py",
        CRM.replace(
            "    def endpoint", "    def __init__(self, settings):\n        raise SystemExit\n\n    def endpoint"
        ),
    )
    assert "FIRST_NAME: - → Ada" in esplanade("explain", ADA).out


async def test_the_command_and_the_running_hub_say_the_same(project, esplanade):
    project.write(
        "connectors.yaml",
        CONNECTORS.replace("    fields: {firstname: FIRST", "    requires: newsletter\n    fields: {firstname: FIRST"),
    )
    async with project.hub() as hub:
        for kind, item in (
            (
                "profile",
                {"email": ADA, "id": "u-1", "fields": {"firstname": "Ada", "shoe": 38}, "audiences": {"vip": True}},
            ),
            ("consent", {"email": ADA, "purpose": "newsletter", "state": "granted", "evidence": {"ip": "192.0.2.1"}}),
            ("profile", {"email": "bob@example.com", "fields": {"firstname": "Bob"}}),
        ):
            admission = hub.intake.admit("shop", kind, [json.dumps(item).encode()], may=["profile", "consent"])
            await hub.intake.accept(admission.entries)
        await hub.settled()
        headers = {"Authorization": "Bearer an-admin-token-of-tests"}
        async with aiohttp.ClientSession(hub.url, headers=headers) as client:
            for email in (ADA, "bob@example.com"):
                for query, more in (("", []), ("?connector=crm", ["crm"])):
                    told = await (await client.get(f"/v1/people/{email}/explain{query}")).json()
                    beside = await asyncio.to_thread(esplanade, "explain", email, *more, "--json")
                    assert beside.json == told
                    assert (
                        told["connectors"]["crm"]["withheld"][0]["reason"] == "no-consent"
                        if email != ADA
                        else told["merged"] == []
                    )
