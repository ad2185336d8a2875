"""Writing rows by the dozen: all of them, in order, in few steps of SQLite."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade.store.sqlite.many import Many

TABLE = "CREATE TABLE people (id INTEGER PRIMARY KEY, name, city)"
ADD = Many("INSERT INTO people (name, city)", 2)
SAVE = Many("INSERT INTO people (id, name)", 2, "ON CONFLICT (id) DO UPDATE SET name = excluded.name")


@pytest.fixture
def db():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as found:
        found.execute(TABLE)
        yield found


def people(db):
    return db.execute("SELECT name, city FROM people ORDER BY id").fetchall()


def steps_of(db, many, rows):
    """How many statements it took to write these."""
    steps = []
    db.set_trace_callback(steps.append)
    many.write(db, rows)
    db.set_trace_callback(None)
    return len(steps)


def test_without_rows_nothing_is_done(db):
    assert ADD.write(db, []) == 0
    assert steps_of(db, ADD, []) == 0


@pytest.mark.parametrize(
    ("rows", "steps"), [(1, 1), (3, 3), (4, 1), (15, 6), (16, 1), (63, 9), (64, 1), (85, 4), (640, 10)]
)
def test_many_rows_are_few_steps(db, rows, steps):
    assert steps_of(db, ADD, [(f"p{number}", "Delft") for number in range(rows)]) == steps
    assert people(db) == [(f"p{number}", "Delft") for number in range(rows)]


@given(sizes=st.lists(st.integers(0, 200), max_size=4))
def test_however_many_there_are_they_are_written_in_order_and_the_number_of_the_last_is_told(sizes):
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute(TABLE)
        written = []
        for size in sizes:
            rows = [(f"p{len(written) + number}", None) for number in range(size)]
            last = ADD.write(db, rows)
            written += rows
            assert last == (len(written) if size else 0)
        assert people(db) == written


def test_what_stands_behind_the_values_counts_for_each_row(db):
    SAVE.write(db, [(number, "before") for number in range(70)])
    SAVE.write(db, [(number, f"after {number}") for number in range(0, 70, 2)])
    names = [name for name, _ in people(db)]
    assert names == [f"after {number}" if number % 2 == 0 else "before" for number in range(70)]


def test_of_two_rows_with_one_key_the_later_one_counts(db):
    SAVE.write(db, [(1, f"word {number}") for number in range(100)])
    assert people(db) == [("word 99", None)]


def test_rows_may_hold_whatever_a_column_may_hold(db):
    rows = [("quote ' and ? and ;", None), (b"\x00\xff", 1.5), (2**62, "č")]
    ADD.write(db, rows)
    assert people(db) == rows
