"""Reading the SQLite file, and a unit of work on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable

from esplanade.store.erasures import Erasure, Traces

from .deliveries import DeliveryReads
from .erasure import ErasureReads, ErasureWrites
from .identity import AudienceWrites, merge_person
from .journal import JournalReads, JournalWrites
from .ledger import LedgerReads, LedgerWrites
from .notes import NoteReads, NoteWrites
from .operations import OperationReads, OperationWrites
from .people import PeopleReads, PeopleWrites
from .work import DeliveryWrites


class SqliteReader(PeopleReads, NoteReads, LedgerReads, DeliveryReads, OperationReads, JournalReads, ErasureReads):
    """Questions to the SQLite file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db


class SqliteUnit(
    PeopleWrites,
    AudienceWrites,
    NoteWrites,
    LedgerWrites,
    DeliveryWrites,
    OperationWrites,
    JournalWrites,
    ErasureWrites,
):
    """Work on the SQLite file, within the writer's transaction.

    What is changed is written when the unit ends, together; a question that cannot be answered from memory writes first what it
    is about. So everybody sees what was changed before, and SQLite makes few steps.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        PeopleWrites.__init__(self, db)
        AudienceWrites.__init__(self, db)
        NoteWrites.__init__(self, db)
        DeliveryWrites.__init__(self, db)
        JournalWrites.__init__(self, db)
        self.must_last = False

    def make_durable(self) -> None:
        self.must_last = True

    def write(self) -> None:
        """Write everything that is still to be written, but for the counts of notes."""
        self.write_people()
        self.write_audiences()
        self.write_work()
        self.write_notes()
        self.write_journal()

    def forget(self) -> None:
        """Remember nothing, because the file was changed past this memory, or changes were undone."""
        self.forget_people()
        self.forget_audiences()
        self.forget_work()
        self.forget_notes()
        self.forget_journal()

    def attempt(self, work: Callable[[], object]) -> Exception | None:
        """Do a part of the unit under a savepoint of its own; sqlite's own failures end the whole unit."""
        self.write()
        before = self.outcomes_so_far()
        self.db.execute("SAVEPOINT part")
        try:
            work()
            self.write()
        except sqlite3.OperationalError:
            raise
        except Exception as problem:  # noqa: BLE001 - returned to the caller, who decides what becomes of it
            self.db.execute("ROLLBACK TO part")
            self.db.execute("RELEASE part")
            self.forget()
            self.restore_outcomes(before)
            return problem
        self.db.execute("RELEASE part")
        return None

    def expect(
        self,
        *,
        email_keys: Collection[str] = (),
        cdp_ids: Collection[str] = (),
        contacts: Collection[tuple[str, str]] = (),
        event_ids: Collection[str] = (),
        people: Iterable[int] = (),
        lanes: Collection[str] = (),
    ) -> None:
        found = set(people)
        found.update(self.expect_emails(email_keys))
        found.update(self.expect_cdp_ids(cdp_ids))
        found.update(self.expect_contacts(contacts))
        self.expect_people(found, lanes)
        self.expect_work(found, lanes)
        self.expect_event_ids(event_ids)

    def merge_person(self, gone: int, into: int, now: float) -> None:
        self.write()
        moved = self.open_deliveries(gone)
        merge_person(self.db, gone, into, now)
        self.forget()
        for lane in moved:
            self.shuffled(lane)

    def prune(self, *, kept_since: float, ids_since: float) -> int:
        self.write()
        gone = super().prune(kept_since=kept_since, ids_since=ids_since)
        self.forget_journal()
        return gone

    def is_anothers(self, person: int, *, email_key: str | None = None, contact: tuple[str, str] | None = None) -> bool:
        self.write_people()
        return super().is_anothers(person, email_key=email_key, contact=contact)

    def begin_erasure(self, person: int, given: Iterable[str], at: float) -> Erasure:
        self.write()
        self._take_back(person)
        return super().begin_erasure(person, given, at)

    def erase(self, erasure: Erasure, traces: Traces) -> tuple[Erasure, int]:
        self.write()
        self._take_back(erasure.person)  # what was claimed since it began, too
        erased = super().erase(erasure, traces)
        self.forget()
        return erased

    def _take_back(self, person: int) -> None:
        """Let nothing be sent that is claimed for somebody and not under way yet."""
        for lane in self.open_deliveries(person):
            self.shuffled(lane)
