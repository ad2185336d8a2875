"""Who was erased is not brought back by what others still hold of them, and may come back of their own accord."""

import sqlite3

import pytest

from esplanade.ingest.suppression import lift, suppressed
from esplanade.records import Remote
from esplanade.store.sqlite.connection import open_writer
from esplanade.store.sqlite.unit import SqliteUnit

NOW = 1_000.0


@pytest.fixture
def unit(tmp_path):
    db = open_writer(tmp_path / "esplanade.db")
    yield SqliteUnit(db)
    db.close()


def erase(unit):
    """Ada is known and erased; her number."""
    ada = unit.add_person("Ada@Example.com", "ada@example.com", "u-1", NOW)
    unit.add_email(ada.id, "a@old.example")
    unit.save_remote(Remote(person=ada.id, connector="crm", remote_id="9001"))
    step = unit.begin_erasure(ada.id, (), NOW)
    while step.stage != "files":
        step, _ = unit.erase(step, unit.traces(step))
    unit.end_erasure(step, vendors_asked=True)
    return ada.id


@pytest.mark.parametrize(
    "known",
    [
        {"email_key": "ada@example.com"},
        {"email_key": "a@old.example"},
        {"cdp_id": "u-1"},
        {"remote": ("crm", "9001")},
        {"email_key": "new@example.com", "cdp_id": "u-1"},
    ],
)
def test_whoever_was_erased_is_suppressed_by_all_that_they_were_known_by(unit, known):
    assert suppressed(unit, **known) is None
    person = erase(unit)
    assert (suppressed(unit, **known).person, suppressed(unit, **known).at) == (person, NOW)


@pytest.mark.parametrize(
    "known",
    [
        {},
        {"email_key": "bob@example.com"},
        {"cdp_id": "u-2"},
        {"remote": ("shop", "9001")},
        {"cdp_id": "ada@example.com"},
    ],
)
def test_nobody_else_is(unit, known):
    erase(unit)
    assert suppressed(unit, **known) is None


def test_while_nobody_was_erased_it_asks_the_database_once(unit):
    statements = []
    suppressed(unit, email_key="ada@example.com")
    unit.db.set_trace_callback(statements.append)
    for number in range(100):
        suppressed(unit, email_key=f"p{number}@example.com", cdp_id=f"u-{number}")
    assert statements == []


def test_no_address_can_be_read_from_what_is_kept(unit):
    erase(unit)
    rows = unit.db.execute("SELECT * FROM suppressions").fetchall()
    assert len(rows) == 4
    assert not [cell for row in rows for cell in row if isinstance(cell, str) and ("@" in cell or "9001" in cell)]


def test_two_hubs_keep_different_digests(tmp_path):
    digests = []
    for name in ("one.db", "two.db"):
        db = open_writer(tmp_path / name)
        erase(SqliteUnit(db))
        digests.append({row[0] for row in db.execute("SELECT digest FROM suppressions")})
        db.close()
    assert not digests[0] & digests[1]


def test_what_is_lifted_is_this_address_and_the_ids(unit):
    erase(unit)
    lift(unit, suppressed(unit, email_key="ada@example.com"), "ada@example.com")
    assert suppressed(unit, email_key="ada@example.com", cdp_id="u-1", remote=("crm", "9001")) is None
    assert suppressed(unit, email_key="a@old.example") is not None


def test_the_same_is_told_beside_the_writer(unit, tmp_path):
    erase(unit)
    beside = sqlite3.connect(tmp_path / "esplanade.db")
    assert suppressed(SqliteUnit(beside), email_key="ada@example.com") is not None
    beside.close()
