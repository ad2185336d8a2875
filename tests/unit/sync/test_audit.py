"""The audit of the ledger: what is found, and what it is called. That nothing escapes it, tests/contract/test_ledger.py tells."""

from __future__ import annotations

import struct
from hashlib import sha256

import msgspec
import pytest

from esplanade.sync.audit import CHAINS, ERASED, Head, LedgerEnd, LinkedRow, Tip, chain_of, link, seal, verify


class Ledger:
    """Rows linked as a store does it, and open to everybody."""

    def __init__(self):
        self.rows = []
        self.tips = {}

    def add(self, person=1, state="granted", words=("single", "shop", b"\x81\xa2ip\xa1x"), salt=b"s" * 16):
        facts = (len(self.rows) + 1, person, "newsletter", state, 1.5, 2.5, 1)
        chain = chain_of(person)
        before = self.tips.get(chain, Tip())
        sealed = seal(salt, words)
        linked = link(before, facts, sealed)
        self.rows.append(LinkedRow(facts=facts, words=words, salt=salt, chain=chain, seal=sealed, link=linked))
        self.tips[chain] = Tip(before.rows + 1, linked)
        return self

    def change(self, at, **more):
        self.rows[at] = msgspec.structs.replace(self.rows[at], **more)

    @property
    def head(self):
        return Head.of(self.tips)

    def verify(self, noted=None):
        return verify(self.rows, LedgerEnd(last=len(self.rows), tips=self.tips), noted)

    def problems(self):
        return [(one.chain, one.row, one.problem) for one in self.verify().broken]


@pytest.fixture
def ledger():
    """Three rows in chain 1, of two people, and two in chain 2."""
    return Ledger().add(1).add(2).add(1, "denied").add(2).add(1 + CHAINS)


def test_a_ledger_as_it_was_recorded_is_intact(ledger):
    found = ledger.verify()
    assert found.intact
    assert (found.rows, found.chains, found.erased, found.head) == (5, 2, 0, ledger.head)


def test_an_empty_ledger_is_intact_and_has_a_head():
    found = Ledger().verify(Head.of({}))
    assert found.intact
    assert (found.rows, found.head.rows, found.noted) == (0, 0, "held")


def test_a_row_that_was_changed_breaks_its_chain_from_there_on_and_no_other(ledger):
    row = ledger.rows[2]
    ledger.change(2, facts=(*row.facts[:3], "granted", *row.facts[4:]))
    assert ledger.problems() == [(1, 3, "not-following")]


def test_a_row_that_was_removed_breaks_its_chain_at_the_next(ledger):
    del ledger.rows[0]
    assert ledger.problems() == [(1, 3, "not-following")]


def test_a_row_that_was_removed_at_the_end_is_missed(ledger):
    del ledger.rows[3:]
    assert ledger.problems() == [(1, 3, "cut"), (2, 2, "cut")]
    assert [one.missing for one in ledger.verify().broken] == [1, 1]


def test_a_chain_that_is_gone_whole_is_missed(ledger):
    ledger.rows = [row for row in ledger.rows if row.chain != 2]
    assert ledger.problems() == [(2, None, "cut")]


def test_rows_that_the_end_of_the_chain_does_not_know_are_told(ledger):
    tips = dict(ledger.tips)
    ledger.add(2)
    ledger.tips = tips
    assert ledger.problems() == [(2, 6, "added")]


def test_an_end_of_a_chain_that_was_changed_is_told(ledger):
    ledger.tips[1] = Tip(3, b"other")
    assert ledger.problems() == [(1, 5, "tip-changed")]


def test_a_row_without_a_link_is_called_so(ledger):
    ledger.change(3, link=None, seal=None, chain=None)
    assert ledger.problems() == [(2, 4, "unlinked")]


def test_a_row_that_says_it_is_of_another_chain_is_told(ledger):
    ledger.change(1, chain=1)
    assert ledger.problems() == [(2, 2, "not-following")]


@pytest.mark.parametrize("words", [("double", "shop", b"\x80"), ("single", "shop", b"\x80"), (None, "", b"")])
def test_words_that_were_changed_are_told_and_the_links_are_still_followed(ledger, words):
    ledger.change(0, words=words)
    del ledger.rows[3]
    assert ledger.problems() == [(1, 1, "words-changed"), (2, 2, "cut")]


def test_another_salt_is_told(ledger):
    ledger.change(0, salt=b"t" * 16)
    assert ledger.problems() == [(1, 1, "words-changed")]


def test_words_and_salt_that_are_gone_are_an_erasure(ledger):
    ledger.change(0, words=ERASED, salt=None)
    found = ledger.verify(ledger.head)
    assert found.intact
    assert found.erased == 1


def test_words_without_their_salt_are_no_erasure(ledger):
    ledger.change(0, salt=None)
    assert ledger.problems() == [(1, 1, "salt-missing")]
    assert ledger.verify().erased == 0


def test_words_that_are_gone_while_their_salt_is_there_are_no_erasure(ledger):
    ledger.change(0, words=ERASED)
    assert ledger.problems() == [(1, 1, "words-missing")]


def test_what_an_erased_row_still_says_cannot_be_changed(ledger):
    row = ledger.rows[2]
    ledger.change(2, words=ERASED, salt=None, facts=(*row.facts[:3], "granted", *row.facts[4:]))
    assert ledger.problems() == [(1, 3, "not-following")]


@pytest.mark.parametrize("person", ["1", b"1", 1.5, None])
def test_a_person_that_is_no_number_is_told(ledger, person):
    row = ledger.rows[0]
    ledger.change(0, facts=(row.facts[0], person, *row.facts[2:]))
    assert (0, 1, "not-following") in ledger.problems()


@pytest.mark.parametrize(("at", "problem"), [(0, (1, 3, "not-following")), (4, (1, 5, "tip-changed"))])
def test_a_row_that_was_forged_with_a_link_of_its_own_is_told_by_what_comes_after_it(ledger, at, problem):
    row = ledger.rows[at]
    before = Tip() if at == 0 else Tip(2, ledger.rows[2].link)
    facts = (*row.facts[:3], "denied", *row.facts[4:])
    ledger.change(at, facts=facts, link=link(before, facts, row.seal))
    assert ledger.problems() == [problem]


# With a head that was noted.


def test_a_ledger_that_grew_still_holds_what_was_noted(ledger):
    noted = ledger.head
    assert ledger.add(3).add(1).verify(noted).noted == "held"


def test_a_cut_of_the_newest_rows_together_with_the_ends_of_their_chains_is_told_by_the_head_alone():
    short, long = Ledger().add(1).add(2), Ledger().add(1).add(2).add(1).add(2)
    assert short.verify().intact
    found = short.verify(long.head)
    assert (found.intact, found.broken, found.noted) == (False, [], "cut")


def test_a_ledger_that_was_written_anew_is_told_by_the_head_alone():
    noted = Ledger().add(1, "denied").add(2).add(1).head
    forged = Ledger().add(1, "granted").add(2).add(1).add(3)
    assert forged.verify().intact
    assert forged.verify(noted).noted == "rewritten"


def test_a_break_behind_what_was_noted_leaves_that_held(ledger):
    noted = ledger.head
    ledger.add(1).add(2)
    ledger.change(5, seal=b"x")
    found = ledger.verify(noted)
    assert (found.noted, found.intact) == ("held", False)


def test_a_head_is_read_as_it_is_printed(ledger):
    assert Head.parse(str(ledger.head)) == ledger.head
    assert Head.parse(f"  {str(ledger.head).upper()}\n") == ledger.head


@pytest.mark.parametrize("text", ["", "5", "5-", "-5-" + "0" * 32, "5-" + "0" * 31, "5-" + "g" * 32, "٣-" + "0" * 32])
def test_what_is_no_head_is_refused(text):
    with pytest.raises(ValueError, match="expected a head"):
        Head.parse(text)


def test_digests_are_what_the_documentation_says():
    """MessagePack by hand: whoever verifies a ledger with a program of their own must come to the same."""
    sealed = sha256(b"\x94\xc4\x10" + b"s" * 16 + b"\xa6single\xa4shop\xc4\x01\x80").digest()
    times = struct.pack(">BdBd", 0xCB, 1.5, 0xCB, 2.5)
    facts = b"\x01\x01\xaanewsletter\xa7granted" + times + b"\x01"
    linked = sha256(b"\x9a\xc4\x00\x01" + facts + b"\xc4\x20" + sealed).digest()
    tips = [b"\x92\x00\xc4\x00"] * CHAINS
    tips[1] = b"\x92\x01\xc4\x20" + linked
    head = sha256(b"\xdc\x00\x40" + b"".join(tips)).hexdigest()[:32]
    ledger = Ledger().add(words=("single", "shop", b"\x80"))
    assert (ledger.rows[0].seal, ledger.rows[0].link, str(ledger.head)) == (sealed, linked, f"1-{head}")
