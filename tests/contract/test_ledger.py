"""The consent ledger of every store: append-only, linked, erasable, and telling whoever meddled with it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from esplanade.errors import StoreError
from esplanade.records import LedgerRow
from esplanade.store import migrate
from esplanade.store.sqlite.connection import open_reader, open_writer
from esplanade.store.sqlite.store import SqliteStore
from esplanade.store.sqlite.unit import SqliteReader, SqliteUnit
from esplanade.sync.audit import CHAINS, ERASED, Head, verify

NOW = 1_000.0
EXAMPLES = 2_000 if os.environ.get("ESPLANADE_PROFILE") == "long" else 100


def row(person=1, said_at=1.0, **more):
    known = {"purpose": "newsletter", "state": "granted", "method": "single", "source": "shop", "lifts": True}
    return LedgerRow(
        **{**known, "person": person, "said_at": said_at, "recorded_at": NOW, "evidence": {"ip": "192.0.2.1"}, **more}
    )


def pages(reader, end, first=-(2**63), limit=2):
    while page := reader.ledger_page(first, end.last or 0, limit):
        assert len(page) <= limit
        yield from page
        first = page[-1].id + 1


def audit(reader, noted=None):
    end = reader.ledger_end()
    return verify(pages(reader, end), end, noted)


def append(*rows):
    def work(unit):
        for each in rows:
            unit.append_ledger(each)

    return work


def add_people(many):
    def work(unit):
        return [
            unit.add_person(f"p{number}@example.com", f"p{number}@example.com", None, NOW) for number in range(many)
        ]

    return work


def merge(gone, into):
    def work(unit):
        person = unit.person(gone)
        person.merged_into = into
        unit.save_person(person)

    return work


# Appending.


async def test_an_empty_ledger_is_intact(store):
    found = await store.read(audit)
    assert (found.intact, found.rows, found.chains) == (True, 0, 0)


async def test_rows_of_any_time_and_chain_are_intact_and_move_the_head(store):
    heads = []
    for person in (1, 2, 1, 1 + CHAINS, CHAINS):
        await store.run(append(row(person)))
        found = await store.read(audit)
        assert found.intact
        heads.append(found.head)
    assert [head.rows for head in heads] == [1, 2, 3, 4, 5]
    assert (found.rows, found.chains) == (5, 3)
    assert [(await store.read(lambda reader, head=head: audit(reader, head))).noted for head in heads] == ["held"] * 5


async def test_a_ledger_goes_on_in_the_next_run(backend, store):
    await store.run(append(row(1), row(2)))
    await store.close()
    store = await backend.open()
    await store.run(append(row(1), row(2)))
    assert (await store.read(audit)).intact
    assert [each.said_at for each in await store.read(lambda reader: reader.ledger(1))] == [1.0, 1.0]
    await store.close()


async def test_rows_of_a_part_that_was_undone_leave_no_trace(store):
    def breaks(unit):
        append(row(1, purpose="lost"), row(2, purpose="lost"), row(3, purpose="lost"))(unit)
        raise ValueError

    def work(unit):
        unit.append_ledger(row(1))
        assert isinstance(unit.attempt(lambda: breaks(unit)), ValueError)
        unit.append_ledger(row(2))
        assert isinstance(unit.attempt(lambda: breaks(unit)), ValueError)
        unit.append_ledger(row(1))

    await store.run(work)
    found = await store.read(audit)
    assert (found.intact, found.rows, found.chains) == (True, 3, 2)
    assert await store.read(lambda reader: reader.ledger(1)) == [row(1)] * 2
    await store.run(append(row(3)))
    assert (await store.read(audit)).intact


async def test_rows_of_a_unit_that_was_undone_leave_no_trace(store):
    def breaks(unit):
        append(row(1), row(2))(unit)
        raise RuntimeError

    await store.run(append(row(1)))
    with pytest.raises(RuntimeError):
        await store.run(breaks)
    await store.run(append(row(1), row(2)))
    found = await store.read(audit)
    assert (found.intact, found.rows) == (True, 3)


async def test_rows_are_read_page_by_page(store):
    await store.run(append(*(row(person) for person in (1, 2, 3, 4, 5))))

    def ids(first, last, limit):
        return store.read(lambda reader: [each.id for each in reader.ledger_page(first, last, limit)])

    assert await ids(1, 5, 2) == [1, 2]
    assert await ids(3, 5, 2) == [3, 4]
    assert await ids(3, 3, 2) == [3]
    assert await ids(6, 9, 2) == []


async def test_what_is_added_during_a_verification_is_left_to_the_next(store):
    await store.run(append(row(1), row(2)))
    end = await store.read(lambda reader: reader.ledger_end())
    await store.run(append(row(1), row(3)))
    found = await store.read(lambda reader: verify(pages(reader, end), end))
    assert (found.intact, found.rows) == (True, 2)


# People who turned out to be one.


async def test_a_person_has_the_rows_of_those_merged_into_them_in_the_order_recorded(store):
    ada, eve, bob = await store.run(add_people(3))
    rows = [row(ada.id, 1.0), row(eve.id, 2.0), row(bob.id, 3.0), row(ada.id, 4.0, purpose="service"), row(eve.id, 5.0)]
    await store.run(append(*rows))
    await store.run(merge(eve.id, ada.id))
    assert await store.read(lambda reader: reader.ledger(ada.id)) == [rows[0], rows[1], rows[3], rows[4]]
    assert await store.read(lambda reader: reader.ledger(ada.id, "newsletter")) == [rows[0], rows[1], rows[4]]
    assert await store.read(lambda reader: reader.ledger(bob.id)) == [rows[2]]
    assert (await store.read(audit)).intact


# Erasing.


async def test_an_erasure_takes_the_words_and_the_salt_and_leaves_the_chain(store):
    await store.run(append(row(1), row(2), row(1, method=None, evidence={}), row(1 + CHAINS)))
    noted = (await store.read(audit)).head
    assert await store.run(lambda unit: unit.erase_ledger_words(1)) == 2
    blank = [row(1, method=None, source="", evidence={})] * 2
    assert await store.read(lambda reader: reader.ledger(1)) == blank
    assert await store.read(lambda reader: reader.ledger(2)) == [row(2)]
    found = await store.read(lambda reader: audit(reader, noted))
    assert (found.intact, found.erased, found.noted) == (True, 2, "held")
    kept = await store.read(lambda reader: reader.ledger_page(1, 9))
    assert [each.words == ERASED for each in kept] == [True, False, True, False]
    assert [each.salt is None for each in kept] == [True, False, True, False]


async def test_an_erasure_takes_the_words_of_those_merged_into_the_person(store):
    ada, eve, bob = await store.run(add_people(3))
    await store.run(append(row(ada.id), row(eve.id), row(bob.id), row(eve.id)))
    await store.run(merge(eve.id, ada.id))
    assert await store.run(lambda unit: unit.erase_ledger_words(ada.id)) == 3
    found = await store.read(audit)
    assert (found.intact, found.erased) == (True, 3)


async def test_an_erasure_is_done_once(store):
    await store.run(append(row(1)))
    assert await store.run(lambda unit: unit.erase_ledger_words(1)) == 1
    assert await store.run(lambda unit: unit.erase_ledger_words(1)) == 0
    assert await store.run(lambda unit: unit.erase_ledger_words(2)) == 0


async def test_what_is_said_after_an_erasure_is_kept_until_the_next(store):
    await store.run(append(row(1)))
    await store.run(lambda unit: unit.erase_ledger_words(1))
    await store.run(append(row(1, 2.0), row(1, 3.0)))
    found = await store.read(audit)
    assert (found.intact, found.rows, found.erased) == (True, 3, 1)
    assert (await store.read(lambda reader: reader.ledger(1)))[1:] == [row(1, 2.0), row(1, 3.0)]
    assert await store.run(lambda unit: unit.erase_ledger_words(1)) == 2
    assert (await store.read(audit)).erased == 3


async def test_an_erasure_that_is_undone_leaves_the_words(store):
    def breaks(unit):
        unit.erase_ledger_words(1)
        raise ValueError

    await store.run(append(row(1)))
    await store.run(lambda unit: unit.attempt(lambda: breaks(unit)))
    assert await store.read(lambda reader: reader.ledger(1)) == [row(1)]
    found = await store.read(audit)
    assert (found.intact, found.erased) == (True, 0)


# Meddling, on SQLite's own file.

COLUMNS = (
    "id", "person", "purpose", "state", "method", "source", "evidence", "said_at", "recorded_at", "lifts", "chain", "seal",
    "digest",
)  # fmt: skip
PEOPLE = (1, 2, 1 + CHAINS)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
TIMES = st.floats(allow_nan=False) | st.integers(0, 2**53)
ROWS = st.builds(
    row,
    st.sampled_from(PEOPLE),
    TIMES,
    recorded_at=TIMES,
    purpose=TEXTS,
    state=st.sampled_from(["granted", "denied", "pending"]),
    method=st.none() | TEXTS,
    source=TEXTS,
    evidence=st.dictionaries(TEXTS, TEXTS | st.integers(0, 9), max_size=2),
    lifts=st.booleans(),
)
ERASURES = st.sampled_from(PEOPLE)
CELLS = (
    st.none() | st.integers(-3, 70) | st.floats(allow_nan=False) | TEXTS | st.binary(max_size=2) | st.just(ERASED[2])
)


@st.composite
def meddling(draw, rows):
    """Statements that change the ledger of so many rows."""
    one, other = draw(st.integers(1, rows)), draw(st.integers(1, rows))
    match draw(st.sampled_from(["edit", "copy cell", "delete", "swap", "move", "insert"])):
        case "edit":
            return [(f"UPDATE ledger SET {draw(st.sampled_from(COLUMNS))} = ? WHERE id = ?", (draw(CELLS), one))]
        case "copy cell":
            column = draw(st.sampled_from(COLUMNS[1:]))
            return [
                (f"UPDATE ledger SET {column} = (SELECT {column} FROM ledger WHERE id = ?) WHERE id = ?", (other, one))
            ]
        case "delete":
            return [("DELETE FROM ledger WHERE id BETWEEN ? AND ?", (min(one, other), max(one, other)))]
        case "swap":
            steps = [(other, -1_000), (one, other), (-1_000, one)]
            return [("UPDATE ledger SET id = ?2 WHERE id = ?1", (old, new)) for old, new in steps]
        case "move":
            return [("UPDATE ledger SET id = ? WHERE id = ?", (draw(st.integers(-5, 70)), one))]
        case "insert":
            columns = ", ".join(COLUMNS[1:])
            values = (draw(st.integers(-5, 70)), one)
            return [(f"INSERT INTO ledger (id, {columns}) SELECT ?, {columns} FROM ledger WHERE id = ?", values)]


def dump(db):
    return db.execute(
        f"SELECT {', '.join(f'quote({column})' for column in COLUMNS)} FROM ledger ORDER BY id"
    ).fetchall()


def recorded(db, history):
    unit = SqliteUnit(db)
    for each in history:
        if isinstance(each, LedgerRow):
            unit.append_ledger(each)
        else:
            unit.erase_ledger_words(each)
    return unit


@given(st.lists(ROWS | ERASURES, max_size=8))
@settings(max_examples=EXAMPLES, deadline=None)
def test_whatever_is_recorded_and_erased_is_no_tampering(history):
    with closing(open_writer(Path(":memory:"))) as db:
        found = audit(recorded(db, history))
        assert found.intact
        assert found.rows == sum(isinstance(each, LedgerRow) for each in history)


@given(st.data(), st.lists(ROWS | ERASURES, min_size=1, max_size=8))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_row_or_column_that_is_changed_removed_added_or_moved_is_found(data, history):
    rows = sum(isinstance(each, LedgerRow) for each in history)
    assume(rows)
    with closing(open_writer(Path(":memory:"))) as db:
        unit = recorded(db, history)
        before = dump(db)
        try:
            for statement, values in data.draw(meddling(rows)):
                db.execute(statement, values)
        except sqlite3.IntegrityError:
            assume(False)
        assume(dump(db) != before)
        assert not audit(unit).intact


@given(st.lists(ROWS, min_size=1, max_size=6), st.data())
@settings(max_examples=EXAMPLES // 3, deadline=None)
def test_a_cut_with_the_ends_of_the_chains_is_found_by_the_head(rows, data):
    kept = data.draw(st.integers(0, len(rows) - 1))
    with closing(open_writer(Path(":memory:"))) as db:
        unit = recorded(db, rows[:kept])
        tips = db.execute("SELECT * FROM ledger_tips").fetchall()
        append(*rows[kept:])(unit)
        noted = audit(unit).head
        db.execute("DELETE FROM ledger WHERE id > ?", (kept,))
        assert not audit(unit).intact
        db.execute("DELETE FROM ledger_tips")
        db.executemany("INSERT INTO ledger_tips VALUES (?, ?, ?)", tips)
        found = audit(unit, noted)
        assert (found.broken, found.noted, found.intact) == ([], "cut", False)


@pytest.mark.parametrize("table", ["ledger_tips", "ledger_salts"])
async def test_what_stands_beside_the_ledger_cannot_be_dropped_unseen(store, table):
    await store.run(append(row(1), row(2)))
    await store.run(lambda unit: unit.db.execute(f"DELETE FROM {table}"))
    found = await store.read(audit)
    assert len(found.broken) == 2


async def test_consent_is_still_recorded_in_a_ledger_that_somebody_broke(store):
    await store.run(append(row(1)))
    await store.run(lambda unit: unit.db.execute("DELETE FROM ledger_tips"))
    await store.run(append(row(1, 2.0, state="denied")))
    assert [each.state for each in await store.read(lambda reader: reader.ledger(1))] == ["granted", "denied"]
    assert not (await store.read(audit)).intact


async def test_a_row_that_cannot_even_be_read_is_a_failure_with_a_remedy(store):
    await store.run(append(row(1)))
    await store.run(lambda unit: unit.db.execute("UPDATE ledger SET purpose = CAST(x'ff' AS TEXT)"))
    with pytest.raises(StoreError, match=r"cannot be read: .*backup"):
        await store.read(audit)


# A store from before there were chains.


@pytest.fixture
def old(tmp_path):
    """A store of the first schema with 1,500 rows in its ledger."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(f"{migrate.migrations('sqlite')[0].sql}; PRAGMA user_version = 1;")
        db.executemany(
            "INSERT INTO ledger (person, purpose, state, method, source, evidence, said_at, recorded_at, lifts) "
            "VALUES (?, 'newsletter', 'granted', 'single', 'shop', x'80', 1, 1000, 1)",
            [(1 + number % 100,) for number in range(1_500)],
        )
        db.commit()
    return path


async def test_rows_from_before_there_were_chains_are_linked_once(old):
    store = await SqliteStore.open(old)
    found = await store.read(audit)
    assert (found.intact, found.rows, found.chains) == (True, 1_500, CHAINS)
    await store.run(append(row(1), row(200)))
    assert await store.run(lambda unit: unit.erase_ledger_words(1)) == 16
    await store.run(lambda unit: unit.db.execute("UPDATE ledger SET digest = NULL WHERE id = 40"))
    await store.close()
    store = await SqliteStore.open(old)
    assert [each.problem for each in (await store.read(audit)).broken] == ["unlinked"]
    await store.close()


def test_a_store_of_an_earlier_version_says_how_it_is_brought_up_to_date(old):
    with closing(open_reader(old)) as db, pytest.raises(StoreError, match="brought up to date"):
        audit(SqliteReader(db), Head.of({}))
