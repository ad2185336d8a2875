"""The hub dies while it brings an older store up to date: what was under way there is taken up as if nothing had been."""

import asyncio
import contextlib
import sqlite3

import pytest
from tests.faults.crashing import Point
from tests.faults.trial import Trial, started
from tests.faults.vendor import running_vendor

from esplanade.records import DeliveryFilter
from esplanade.store.migrate import migrations

OLDER = 4
"""The last version in which work that is under way is so by its state, and its attempt is counted already."""
ATTEMPTS = 4
DEATHS = [Point(when, f"migration {number}") for number in (OLDER + 1, OLDER + 2) for when in ("before", "after")]


def make_older(folder):
    """Turn the store that a dead hub left into the same of the older version, in which all that is under way was tried before."""
    with contextlib.closing(sqlite3.connect(folder / "older.db", isolation_level=None)) as db:
        for migration in migrations("sqlite")[:OLDER]:
            db.executescript(migration.sql)
        db.execute(f"PRAGMA user_version = {OLDER}")
        db.execute("ATTACH ? AS newer", [str(folder / "hub.db")])
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            newer = [column for _, column, *_ in db.execute(f"PRAGMA newer.table_info({table})")]
            names = ", ".join(
                column for _, column, *_ in db.execute(f"PRAGMA main.table_info({table})") if column in newer
            )
            if table != "fold_cursor" and names:
                db.execute(f"INSERT OR REPLACE INTO main.{table} ({names}) SELECT {names} FROM newer.{table}")
        db.execute("UPDATE fold_cursor SET (segment, done) = (SELECT segment, done FROM newer.fold_cursor)")
        db.execute("UPDATE journal_total SET entries = (SELECT sum(entries) FROM journal)")
        claimed = "SELECT delivery FROM newer.claims"
        db.execute(f"UPDATE deliveries SET state = 'in_flight', attempts = {ATTEMPTS} WHERE id IN ({claimed})")
    for file in folder.glob("hub.db*"):
        file.unlink()
    (folder / "older.db").rename(folder / "hub.db")


def under_way_in(folder):
    with contextlib.closing(sqlite3.connect(folder / "hub.db")) as db:
        return dict(db.execute("SELECT id, kind FROM deliveries WHERE state = 'in_flight'").fetchall())


def tried(reader):
    """How often each delivery that is under way was tried, this time included."""
    return {found.id: found.attempts for found, _ in reader.deliveries(DeliveryFilter(states=["in_flight"]))}


@pytest.mark.parametrize("death", DEATHS, ids=str)
@pytest.mark.parametrize("kind", ["profile", "consent", "trigger"])
async def test_what_an_older_version_had_under_way_outlives_a_crash_of_the_upgrade(tmp_path, quiet, kind, death):
    async with running_vendor() as vendor:
        trial = Trial(tmp_path, vendor)
        assert await trial.live(Point("after", f"claim {kind}"))
        await asyncio.to_thread(make_older, tmp_path)
        under_way = await asyncio.to_thread(under_way_in, tmp_path)
        assert kind in under_way.values()
        assert await trial.live(death)
        async with started(tmp_path, deliver=False) as hub:
            assert await hub.store.read(tried) == dict.fromkeys(under_way, ATTEMPTS)
        await trial.ends_well()
