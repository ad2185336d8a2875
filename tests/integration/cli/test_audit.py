"""`esplanade audit verify`: beside a hub, without one, and on a ledger that somebody changed."""

import asyncio
import importlib
import json
import signal
import sqlite3
from contextlib import closing

import pytest

PEOPLE = ("ada", "eve", "bob")


@pytest.fixture
def ledger(project, esplanade):
    """Three rows of three people, with a proof that is not to be shown to anybody; call it to meddle with them."""
    for name in PEOPLE:
        ended = esplanade(
            "send", "consent", "--email", f"{name}@example.com", "--purpose", "newsletter", "--state", "granted",
            "--evidence", f"ip=192.0.2.1 of {name}",
        )  # fmt: skip
        assert ended.code == 0

    def meddle(*statements):
        with closing(sqlite3.connect(project.folder / "esplanade.db")) as db:
            for statement in statements:
                db.execute(statement)
            db.commit()

    return meddle


def head(esplanade):
    return esplanade("audit", "verify", "--json").json["head"]


def test_a_ledger_nobody_touched_is_intact(esplanade, ledger):
    ended = esplanade("audit", "verify")
    assert ended.code == 0
    columns, row = (line.split() for line in ended.out.splitlines())
    assert columns == ["rows", "chains", "erased", "head", "intact"]
    assert row == ["3", "3", "0", head(esplanade), "yes"]


def test_the_result_is_there_as_json(esplanade, ledger):
    noted = head(esplanade)
    ended = esplanade("audit", "verify", "--head", noted, "--json")
    assert ended.json == {
        "intact": True,
        "rows": 3,
        "erased": 0,
        "chains": 3,
        "head": noted,
        "noted": {"head": noted, "state": "held"},
        "broken": [],
    }
    assert not ended.err


def test_a_ledger_that_is_longer_than_a_page_is_read_whole(esplanade, ledger, monkeypatch):
    monkeypatch.setattr(importlib.import_module("esplanade.cli.commands.audit"), "PAGE", 2)
    ended = esplanade("audit", "verify")
    assert ended.code == 0
    assert "verify: 60 %, 2 rows" in ended.err
    assert "verify: 100 %, 3 rows" in ended.err
    ledger("UPDATE ledger SET state = 'denied' WHERE id = 3")
    assert esplanade("audit", "verify").code == 1


def test_a_changed_row_is_named_with_its_chain_and_the_remedy_and_without_the_person(esplanade, ledger):
    ledger("UPDATE ledger SET state = 'denied' WHERE id = 2")
    ended = esplanade("audit", "verify")
    assert ended.code == 1
    assert [line.split()[:5] for line in ended.out.splitlines() if "changed" in line] == [
        ["2", "2", "the", "row", "was"]
    ]
    assert "restore a backup" in ended.err
    assert "copied right" not in ended.err
    assert not [word for word in (*(f"{name}@" for name in PEOPLE), "192.0.2.1") if word in ended.out + ended.err]
    [broken] = esplanade("audit", "verify", "--json").json["broken"]
    assert (broken["chain"], broken["row"], broken["problem"]) == (2, 2, "not-following")


def test_a_row_that_was_written_past_the_hub_is_found(esplanade, ledger):
    ledger(
        "INSERT INTO ledger (person, purpose, state, method, source, evidence, said_at, recorded_at, lifts) "
        "VALUES (1, 'newsletter', 'granted', 'double', 'shop', x'80', 1, 1, 1)"
    )
    ended = esplanade("audit", "verify")
    assert ended.code == 1
    assert "was not written by the hub" in ended.out


def test_a_cut_end_is_found_and_with_a_noted_head_even_when_it_was_covered_up(esplanade, ledger):
    noted = head(esplanade)
    ledger("DELETE FROM ledger WHERE id > 1")
    ended = esplanade("audit", "verify")
    assert ended.code == 1
    assert ended.out.count("rows are missing, all that this chain had: 1") == 2
    ledger("DELETE FROM ledger_tips WHERE chain > 1")
    assert esplanade("audit", "verify").code == 0
    ended = esplanade("audit", "verify", "--head", noted)
    assert ended.code == 1
    assert f"since {noted}: the ledger was cut; rows missing: 2" in ended.out
    assert "restore a backup" in ended.err


def test_a_ledger_that_grew_holds_what_was_noted_and_another_does_not(esplanade, ledger, project):
    noted = head(esplanade)
    esplanade("send", "consent", "--email", "dan@example.com", "--purpose", "newsletter", "--state", "denied")
    ended = esplanade("audit", "verify", "--head", noted)
    assert ended.code == 0
    assert f"since {noted}: nothing before it was touched; rows added: 1" in ended.out
    ended = esplanade("audit", "verify", "--head", f"3-{'0' * 32}")
    assert ended.code == 1
    assert "the first 3 rows are not what they were then" in ended.out
    assert ended.err.index("First see that the head was copied right.") < ended.err.index("restore a backup")


def test_progress_ends_at_100_percent_however_many_rows_were_put_into_the_ledger(esplanade, ledger, monkeypatch):
    monkeypatch.setattr(importlib.import_module("esplanade.cli.commands.audit"), "PAGE", 1)
    ledger(
        *[
            "INSERT INTO ledger (id, person, purpose, state, method, source, evidence, said_at, recorded_at, lifts) "
            f"VALUES ({-number}, 1, 'newsletter', 'granted', 'double', 'shop', x'80', 1, 1, 1)"
            for number in range(4)
        ]
    )
    shares = [int(line.split()[1]) for line in esplanade("audit", "verify").err.splitlines() if "verify: " in line]
    assert shares == [30, 60, 100]


@pytest.mark.parametrize("noted", ["", "3", "three", "3-0123"])
def test_what_is_no_head_is_usage(esplanade, ledger, noted):
    ended = esplanade("audit", "verify", "--head", noted)
    assert ended.code == 2
    assert "expected a head as `audit verify` prints it" in ended.err


def test_without_a_store_there_is_nothing_to_verify(esplanade):
    ended = esplanade("audit", "verify")
    assert ended.code == 1
    assert "there is no store" in ended.err


async def test_it_verifies_beside_a_running_hub(project, esplanade):
    async with project.hub() as hub:
        await asyncio.to_thread(
            esplanade, "send", "consent", "--email", "ada@example.com", "--purpose", "newsletter", "--state", "granted"
        )
        await hub.settled()
        ended = await asyncio.to_thread(esplanade, "audit", "verify", "--json")
        assert (ended.code, ended.json["rows"], ended.json["intact"]) == (0, 1, True)


async def test_a_hub_logs_the_head_when_it_starts_and_when_it_stops(project, esplanade):
    process = await project.start("run")
    lines = []
    while b"answers at" not in (line := await process.stderr.readline()):
        lines.append(line)
    sent = await project.apart(
        "send", "consent", "--email", "a@example.com", "--purpose", "newsletter", "--state", "denied"
    )
    assert sent.code == 0
    process.send_signal(signal.SIGTERM)
    _, err = await process.communicate()
    said = [json.loads(line) for line in [*lines, *err.splitlines()] if b'"ledger_head"' in line]
    after = await asyncio.to_thread(head, esplanade)
    assert [each["head"].partition("-")[0] for each in said] == ["0", "1"]
    assert said[1]["head"] == after
