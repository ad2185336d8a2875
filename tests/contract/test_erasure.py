"""Erasing a person: their words leave every table and every byte of the files, and nobody else loses a word."""

from __future__ import annotations

import asyncio
import json
import sqlite3

import msgspec
import pytest

from esplanade.ingest.shapes import WebhookIn
from esplanade.records import (
    Answered,
    Attempt,
    Clocked,
    ConnectorState,
    Contact,
    Delivery,
    Entry,
    LedgerRow,
    Note,
    Remote,
)
from esplanade.store import migrate
from esplanade.store.erasures import STAGES
from esplanade.store.slices import carry_through
from esplanade.store.words import Words
from esplanade.sync.audit import verify

NOW = 1_000.0
encode = msgspec.msgpack.encode
WORDS = {
    name: [
        f"{name}.Qwx@Mail.example",
        f"{name}.qwx@mail.example",
        f"{name}-old@mail.example",
        f"{name}-firstword",
        f"+31-{name}-phone",
        f"{name}-evidenceword",
        f"{name}-hookword",
        f"{name}-cartword",
        f"{name}-errorword",
        f"cdp-{name}-id",
        f"contact-{name}",
        f"former-{name}",
    ]
    for name in ("ada", "bob")
}


def entry(kind, body, name="e", *, origin="shop", at=NOW):
    raw = body if isinstance(body, bytes) else encode(body)
    return Entry(kind=kind, origin=origin, id=name, at=at, body=raw)


def webhook(text):
    return encode(WebhookIn(method="POST", headers={"content-type": "application/json"}, body=text.encode()))


def note_of(person, name):
    return Note(person=person, at=NOW, what="failed", detail=f"{name}-errorword")


def delivery(person, name="", **more):
    known = {"id": 0, "lane": "crm", "kind": "trigger", "subject": "cart", "due_at": NOW, "first_at": NOW}
    return Delivery(**{**known, "person": person, "payload": f"{name}-cartword".encode(), **more})


def settle(unit, one, state, error=None):
    one.state, one.last_error = state, error
    unit.save_delivery(one)
    unit.add_attempt(Attempt(delivery=one.id, at=NOW, took_s=0.1, outcome=state, error=error))


async def live(store, name):
    """Let a person leave words wherever the hub keeps any."""
    given, key, old, first, phone, evidence, hook, _, error, cdp_id, contact, former = WORDS[name]
    hooked = json.dumps({"email": given, "text": hook})
    events = [
        entry("profile", {"email": given, "id": cdp_id, "fields": {"first": first, "phone": phone}}, f"{name}-1"),
        entry("profile", {"email": key, "previous_email": old, "fields": {}}, f"{name}-2"),
        entry(
            "consent", {"email": given, "purpose": "n", "state": "granted", "evidence": {"form": evidence}}, f"{name}-3"
        ),
        entry("webhook", webhook(hooked), f"{name}-4", origin="crm"),
        entry("report", {"remote_id": contact, "fields": {"F": first}}, f"{name}-5", origin="crm"),
    ]
    answer = Answered(source="shop", key=f"sign-up {key}", digest=b"d", status=202, answer=b"{}")
    for one in events[:-1]:
        await store.accept([one])
    await store.accept([*events, entry("profile", {"email": "eve@mail.example"}, f"eve-{name}")], answer)

    def fold(unit):
        person = unit.add_person(given, key, cdp_id, NOW)
        person.emails = [old]
        person.fields = {"first": Clocked(first, NOW), "phone": Clocked(phone, NOW)}
        unit.save_person(person)
        unit.add_email(person.id, old)
        row = {"person": person.id, "purpose": "n", "state": "granted", "method": "form", "source": evidence}
        unit.append_ledger(LedgerRow(**row, evidence={"form": evidence}, said_at=NOW, recorded_at=NOW, lifts=True))
        unit.set_pending(person.id, "n", pending=True)
        gone = [Contact(email=old, remote_id=former)]
        remote = {"remote_id": contact, "email": given, "fields": {"FIRST": first}, "former": gone}
        unit.save_remote(Remote(person=person.id, connector="crm", **remote))
        for _ in range(40):
            unit.note(note_of(person.id, name))
        for state in ("done", "dead", "parked", "in_flight", "pending"):
            one = delivery(person.id, name)
            unit.enqueue(one)
            settle(unit, one, state, error)
        for state in ("done", "dead", "pending"):
            letter = delivery(None, lane="crm:in", kind="webhook", payload=webhook(hooked), urgency=0)
            unit.enqueue(letter)
            settle(unit, letter, state, error)
        unit.enqueue(delivery(None, lane=":fold", kind="fold", state="parked", payload=encode(events[0])))
        unit.set_value("crm", f"seen:{contact}", 1)
        unit.set_value("crm", f"last-{name}", {"who": key})
        unit.set_cursor("crm", f"pull-{name}", f"after={given}")
        unit.save_connector_state(ConnectorState(name=f"crm-{name}", last_error=f"refused {given}"))
        for position, _ in unit.next_entries(1_000):
            last = position
        unit.move_cursor(last)
        return person.id

    return await store.run(fold)


def found(backend, words):
    """Which of these words stand in any file of the store."""
    files = {path.name: path.read_bytes() for path in backend.folder.iterdir()}
    assert any(files.values())
    return {word for word in words for raw in files.values() if word.encode() in raw}


async def erased(store, person, *given, at=NOW):
    begun = await store.run(lambda unit: unit.begin_erasure(person, given, at))
    return await carry_through(store, begun)


async def whole(store):
    """Whether the consent ledger still verifies."""
    end = await store.read(lambda reader: reader.ledger_end())
    rows = await store.read(lambda reader: reader.ledger_page(0, 10_000, 1_000))
    return verify(iter(rows), end, None).intact


@pytest.fixture
async def people(store):
    return {name: await live(store, name) for name in ("ada", "bob")}


async def test_every_word_leaves_the_files_and_nobody_else_loses_one(backend, store, people):
    assert found(backend, WORDS["ada"]) == set(WORDS["ada"])
    done = await erased(store, people["ada"], "ADA.qwx@mail.example")
    assert found(backend, [*WORDS["ada"], "ADA.qwx@mail.example"]) == set()
    assert found(backend, WORDS["bob"]) == set(WORDS["bob"])
    assert (done.stage, done.known_at, done.kept) == ("vendors", ("crm",), 0)
    assert await store.read(lambda reader: reader.person(people["ada"])) is None
    assert await store.read(lambda reader: reader.person_by_email("ada-old@mail.example")) is None
    assert await store.read(lambda reader: reader.open_deliveries(people["ada"])) == {}
    assert await store.read(lambda reader: reader.person_by_email("bob.qwx@mail.example")) is not None
    assert await whole(store)


async def test_the_words_stay_away_when_the_store_goes_on_and_is_opened_again(backend, store, people):
    await erased(store, people["ada"])
    for number in range(200):
        await store.run(
            lambda unit, n=number: unit.add_person(f"p{n}@mail.example", f"p{n}@mail.example", f"c-{n}", NOW)
        )
        await store.run(lambda unit: [unit.note(note_of(people["bob"], "bob")) for _ in range(20)])
    await store.close()
    again = await backend.open()
    assert await whole(again)
    await again.close()
    assert found(backend, WORDS["ada"]) == set()


async def test_no_copy_is_left_in_the_pages_from_which_rows_have_moved(backend, store):
    """Rows that grow are moved, and the space that they leave is not overwritten by what is deleted later."""

    def grow(unit, person, size):
        held = unit.person(person)
        held.fields = {"bio": Clocked(f"word-of-{person}-" + "x" * size, NOW)}
        unit.save_person(held)

    def add(unit):
        return [unit.add_person(f"p{n}@mail.example", f"p{n}@mail.example", None, NOW).id for n in range(300)]

    numbers = await store.run(add)
    for size in (300, 1_200, 700, 2_500, 100, 1_800):
        for number in numbers:
            await store.run(lambda unit, n=number, s=size: grow(unit, n, (s * (n % 7 + 1)) // 4), durable=False)
    gone = numbers[::3]
    for number in gone[:-1]:
        begun = await store.run(lambda unit, n=number: unit.begin_erasure(n, (), NOW))
        while begun.stage != "files":
            begun, _ = await store.run(lambda unit, at=begun: unit.erase(at, unit.traces(at)), durable=False)
    await erased(store, gone[-1])
    assert found(backend, [f"word-of-{number}-" for number in gone]) == set()
    for number in {*numbers} - {*gone}:  # a page must not be written back as it was remembered
        await store.run(lambda unit, n=number: grow(unit, n, (1_800 * (n % 7 + 1)) // 4), durable=False)
    assert found(backend, [f"word-of-{number}-" for number in gone]) == set()
    assert len(found(backend, [f"word-of-{number}-" for number in numbers])) == 200


async def test_a_store_that_was_written_before_is_written_anew_once(tmp_path, backend):
    old = sqlite3.connect(tmp_path / "esplanade.db", isolation_level=None)
    old.execute("PRAGMA journal_mode = WAL")
    old.execute("PRAGMA secure_delete = OFF")
    first = migrate.migrations("sqlite")[0]
    old.executescript(f"BEGIN;\n{first.sql}\nPRAGMA user_version = 1;\nCOMMIT;")
    old.execute("UPDATE journal_total SET entries = 100")
    old.execute("UPDATE fold_cursor SET folded = 100")
    old.executemany("INSERT INTO journal (at, entries, payload) VALUES (1, 1, ?)", [(b"oldword" * 2_000,)] * 100)
    old.execute("DELETE FROM journal")
    old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    old.close()
    assert found(backend, ["oldword"])
    store = await backend.open()
    assert await store.read(lambda reader: reader.meta("rewrite_due")) is None
    await store.scrub()
    assert not found(backend, ["oldword"])
    await store.close()


@pytest.mark.parametrize("stage", STAGES[:-2])
async def test_an_erasure_that_was_cut_short_is_carried_through_after_a_restart(backend, store, people, stage):
    begun = await store.run(lambda unit: unit.begin_erasure(people["ada"], (), NOW))
    while begun.stage != stage:
        begun, _ = await store.run(lambda unit, at=begun: unit.erase(at, unit.traces(at)))
    await store.close()
    again = await backend.open()
    (left,) = await again.read(lambda reader: reader.open_erasures())
    assert left == begun
    assert (await carry_through(again, left)).known_at == ("crm",)
    assert found(backend, WORDS["ada"]) == set()
    assert found(backend, WORDS["bob"]) == set(WORDS["bob"])
    await again.close()


async def test_an_erasure_is_open_until_the_vendors_were_asked_and_its_words_are_gone_before(backend, store, people):
    left = await erased(store, people["ada"])
    assert (left.stage, left.words) == ("vendors", Words())
    await store.close()
    again = await backend.open()
    assert await again.read(lambda reader: reader.open_erasures()) == [left]
    assert await carry_through(again, left) == left
    done = await again.run(lambda unit: unit.end_erasure(left, vendors_asked=True))
    assert (done.stage, await again.read(lambda reader: reader.open_erasures())) == ("done", [])
    await again.close()


async def test_no_person_is_ever_without_the_deliveries_that_need_them(store, people):
    """A lane that claims a delivery looks up its person, who must be there in every state between two units."""
    step = await store.run(lambda unit: unit.begin_erasure(people["ada"], (), NOW))
    while step.stage != "done":
        waits = await store.read(lambda reader: reader.open_deliveries(people["ada"]))
        there = await store.read(lambda reader: reader.person(people["ada"]))
        assert there is not None or not waits
        if step.stage == "files":
            break
        step, _ = await store.run(lambda unit, at=step: unit.erase(at, unit.traces(at)))


async def test_the_lanes_look_anew_when_it_begins_and_whenever_work_is_dropped(store, people):
    """What they have claimed for the person since it began must not be sent either."""
    told = []
    store.on_commit = told.append

    async def shuffled():
        waits = set(await store.read(lambda reader: reader.open_deliveries(people["ada"])))
        return waits, set(told[-1].shuffled)

    step = await store.run(lambda unit: unit.begin_erasure(people["ada"], (), NOW))
    waits, looked_through = await shuffled()
    assert waits == looked_through != set()
    step, _ = await store.run(lambda unit: unit.erase(step, unit.traces(step)))
    assert await shuffled() == (set(), waits)


# The journal.


async def ids(store):
    return [one.id for _, one in await store.run(lambda unit: list(unit.next_entries(1_000)))]


def mine(name, email="ada@mail.example"):
    return entry("profile", {"email": email}, name)


async def ada(store):
    return (await store.run(lambda unit: unit.add_person("ada@mail.example", "ada@mail.example", None, NOW))).id


@pytest.mark.parametrize("done", range(6))
async def test_the_fold_goes_on_where_it_stood_in_a_segment_that_is_cut(backend, store, done):
    other = "bob@mail.example"
    await store.accept([mine("a-1"), mine("b-1", other), mine("a-2"), mine("b-2", other), mine("a-3")])
    await store.accept([mine("b-3", other), mine("a-4")])

    def fold(unit):
        positions = [position for position, _ in unit.next_entries(done)]
        if positions:
            unit.move_cursor(positions[-1])

    await store.run(fold)
    dropped = []
    begun = await store.run(lambda unit: unit.begin_erasure(1, ["ada@mail.example"], NOW))
    await carry_through(store, begun, dropped=dropped.append)
    left = [name for name in ["a-1", "b-1", "a-2", "b-2", "a-3", "b-3", "a-4"][done:] if name.startswith("b")]
    assert await ids(store) == left
    assert await store.read(lambda reader: reader.backlog()) == len(left)
    assert sum(dropped) == 7 - done - len(left)
    await store.accept([mine("b-4", other)])
    assert await ids(store) == [*left, "b-4"]


async def test_a_segment_of_nothing_else_is_gone_and_the_fold_goes_on_behind_it(store):
    person = await ada(store)
    await store.accept([mine("a-1"), mine("a-2")])
    await store.run(lambda unit: unit.move_cursor(next(unit.next_entries(1))[0]))
    await erased(store, person)
    await store.accept([mine("b-1", "bob@mail.example")])
    assert await ids(store) == ["b-1"]
    assert await store.read(lambda reader: reader.backlog()) == 1


async def test_what_is_accepted_after_the_person_was_erased_is_theirs_to_say(store):
    begun = await store.run(
        lambda unit: unit.begin_erasure(unit.add_person("ada@mail.example", "ada@mail.example", None, NOW).id, (), NOW)
    )
    while begun.stage != "letters":
        begun, _ = await store.run(lambda unit, at=begun: unit.erase(at, unit.traces(at)))
    await store.accept([mine("again")])
    await carry_through(store, begun)
    assert await ids(store) == ["again"]


async def test_anothers_event_that_mentions_the_person_goes_only_after_it_is_folded(backend, store):
    person = await ada(store)
    told = entry(
        "trigger", {"email": "bob@mail.example", "trigger": "t", "data": {"friend": "ada@mail.example"}}, "b-1"
    )
    await store.accept([told])
    await erased(store, person)
    assert await ids(store) == ["b-1"]
    await store.run(lambda unit: unit.move_cursor(next(unit.next_entries(1))[0]))
    await erased(store, person, "ada@mail.example")
    assert not found(backend, ["ada@mail.example"])


async def test_a_long_journal_is_gone_through_in_many_looks(store):
    person = await ada(store)
    big = "x" * 300_000
    for number in range(8):
        await store.accept(
            [mine(f"a-{number}"), entry("profile", {"email": "b@mail.example", "fields": {"f": big}}, f"b-{number}")]
        )
    begun = await store.run(lambda unit: unit.begin_erasure(person, (), NOW))
    while begun.stage != "journal":
        begun, _ = await store.run(lambda unit, at=begun: unit.erase(at, unit.traces(at)))
    looks = []
    while begun.stage == "journal":
        traces = await store.read(lambda reader, at=begun: reader.traces(at))
        looks.append(len(traces.segments))
        begun, _ = await store.run(lambda unit, at=begun, what=traces: unit.erase(at, what))
    assert looks == [1] * 8 + [0]
    assert await ids(store) == [f"b-{number}" for number in range(8)]


async def test_many_deliveries_are_erased_a_few_at_a_time(store):
    person = await ada(store)
    await store.run(lambda unit: [unit.enqueue(delivery(person, state="parked")) for _ in range(180)])
    begun = await store.run(lambda unit: unit.begin_erasure(person, (), NOW))
    units = 0
    while begun.stage == "work":
        begun, _ = await store.run(lambda unit, at=begun: unit.erase(at, unit.traces(at)))
        units += 1
    assert units == 4


# Addresses and contacts that are somebody else's by now.


async def taken_over(store):
    """Ada has left an address and a contact, which are Bob's since."""

    def known(unit):
        person = unit.add_person("ada@mail.example", "ada@mail.example", "u-1", NOW).id
        bob = unit.add_person("bob@mail.example", "bob@mail.example", "u-2", NOW).id
        former = [Contact(email="bob@mail.example", remote_id="contact-of-bob")]
        unit.save_remote(Remote(person=person, connector="crm", remote_id="contact-of-ada", former=former))
        unit.save_remote(Remote(person=bob, connector="crm", remote_id="contact-of-bob", email="bob@mail.example"))
        return person

    return await store.run(known)


async def test_what_is_anothers_is_no_word_of_the_person(store):
    person = await taken_over(store)
    for each in (store.read, store.run):
        assert await each(lambda reader: reader.is_anothers(person, email_key="bob@mail.example"))
        assert await each(lambda reader: reader.is_anothers(person, contact=("crm", "contact-of-bob")))
        assert not await each(lambda reader: reader.is_anothers(person, email_key="ada@mail.example"))
        assert not await each(lambda reader: reader.is_anothers(person, contact=("crm", "contact-of-ada")))
        assert not await each(lambda reader: reader.is_anothers(person, contact=("mail", "contact-of-bob")))
        assert not await each(lambda reader: reader.is_anothers(person, email_key="nobody@mail.example"))
    begun = await store.run(lambda unit: unit.begin_erasure(person, (), NOW))
    assert begun.words == Words.of(["ada@mail.example"], ["u-1"], [("crm", "contact-of-ada")])


async def test_what_waits_to_be_folded_stays_with_whoever_has_a_former_address_now(store):
    person = await taken_over(store)
    denied = {"email": "bob@mail.example", "purpose": "n", "state": "denied"}
    told = {"remote_id": "contact-of-bob", "consents": {"n": "denied"}}
    await store.accept([mine("a-1"), entry("consent", denied, "b-1"), entry("report", told, "b-2", origin="crm")])
    await erased(store, person)
    assert await ids(store) == ["b-1", "b-2"]


async def test_dead_letters_stay_with_whoever_has_a_former_address_now(store):
    person = await taken_over(store)

    def letters(unit):
        denied = entry("consent", {"email": "bob@mail.example", "purpose": "n", "state": "denied"})
        hooked = webhook('{"email": "bob@mail.example", "opt_out": true}')
        both = webhook('{"email": "ada@mail.example", "contact": "contact-of-bob", "by": "bob@mail.example"}')
        theirs = entry("consent", {"email": "ada@mail.example", "purpose": "n", "state": "denied"})
        return [
            unit.enqueue(delivery(None, lane=":fold", kind="fold", state="parked", payload=encode(denied))),
            unit.enqueue(delivery(None, lane="crm:in", kind="webhook", state="dead", payload=hooked)),
            unit.enqueue(delivery(None, lane="crm:in", kind="webhook", state="dead", payload=both)),
            unit.enqueue(delivery(None, lane=":fold", kind="fold", state="parked", payload=encode(theirs))),
        ]

    numbers = await store.run(letters)
    assert (await erased(store, person)).kept == 1
    left = [await store.read(lambda reader, n=number: reader.delivery(n)) for number in numbers]
    assert [each is not None for each in left] == [True, True, True, False]


async def test_an_address_that_somebody_takes_over_while_the_erasure_is_under_way_is_theirs(store):
    def known(unit):
        person = unit.add_person("ada@mail.example", "ada@mail.example", None, NOW)
        former = [Contact(email="old@mail.example")]
        unit.save_remote(Remote(person=person.id, connector="crm", former=former))
        return person.id

    person = await store.run(known)
    begun = await store.run(lambda unit: unit.begin_erasure(person, (), NOW))
    assert "old@mail.example" in begun.words.addresses
    await store.run(lambda unit: unit.add_person("old@mail.example", "old@mail.example", None, NOW))
    await store.accept([mine("o-1", "old@mail.example"), mine("a-1")])
    await carry_through(store, begun)
    assert await ids(store) == ["o-1"]


# Webhooks.


UTF_16 = '{"event": "link_clicked", "email": "ada@mail.example"}'.encode("utf-16")
REFERRED = b"<r><email>&#97;d&#x61;&#64;mail.example</email><name>wordofada</name></r>"
PARTED = b"<r><email>a<![CDATA[da@ma]]>il.exa<!-- -->mple</email><name>wordofada</name></r>"
EBCDIC = "email: ada@mail.example".encode("cp037")
HIDDEN = [
    (UTF_16, "application/json"),
    ("email: ada@mail.example".encode("utf-16-be"), "text/plain; charset=utf-16-be"),
    (REFERRED, "text/xml"),
    (REFERRED.decode().encode("utf-16"), "application/xml"),
    (PARTED, "text/xml"),
    (PARTED, "application/json"),
    (EBCDIC, "text/plain; charset=cp037"),
    (b'{"email": "\\u0061da@mail.example"}', "application/json"),
    (b"email=%61da%40mail.example", "application/x-www-form-urlencoded"),
]


@pytest.mark.parametrize(("body", "content_type"), HIDDEN)
async def test_a_webhook_is_found_in_every_form_that_the_core_reads(backend, store, body, content_type):
    person = await ada(store)
    raw = encode(WebhookIn(method="POST", headers={"content-type": content_type}, body=body))
    await store.accept([entry("webhook", raw, "w-1", origin="crm")])

    def letters(unit):
        letter = {"lane": "crm:in", "kind": "webhook", "payload": raw}
        for state in ("done", "dead", "parked"):
            unit.enqueue(delivery(None, **letter, state=state))
        parked = encode(entry("webhook", raw, "w-2", origin="crm"))
        unit.enqueue(delivery(None, lane=":fold", kind="fold", state="parked", payload=parked))

    await store.run(letters)
    assert any(body in path.read_bytes() for path in backend.folder.iterdir())
    assert (await erased(store, person)).kept == 0
    assert await ids(store) == []
    assert not [path.name for path in backend.folder.iterdir() if body in path.read_bytes()]


@pytest.mark.parametrize("charset", ["utf-8", "utf-16"])
async def test_a_webhook_of_any_form_is_kept_for_the_others_in_it(store, charset):
    person = await ada(store)
    both = '[{"email": "ada@mail.example"}, {"email": "bob@mail.example", "opt_out": true}]'.encode(charset)
    raw = encode(WebhookIn(method="POST", headers={"content-type": "application/json"}, body=both))
    await store.accept([entry("webhook", raw, "w-1", origin="crm")])
    assert (await erased(store, person)).kept == 1
    assert await ids(store) == ["w-1"]


@pytest.mark.parametrize("state", ["pending", "in_flight", "dead", "parked"])
async def test_a_webhook_that_may_yet_be_read_is_kept_for_the_others_in_it(store, state):
    person = await ada(store)
    both = webhook('[{"email": "ada@mail.example"}, {"email": "bob@mail.example", "opt_out": true}]')
    number = await store.run(
        lambda unit: unit.enqueue(delivery(None, lane="crm:in", kind="webhook", state=state, payload=both))
    )
    assert (await erased(store, person)).kept == 1
    assert (await store.read(lambda reader: reader.delivery(number))).payload == both

    def read(unit):
        settle(unit, unit.delivery(number), "done")

    await store.run(read)
    assert (await erased(store, person, "ada@mail.example")).kept == 0
    assert await store.read(lambda reader: reader.delivery(number)) is None


async def test_a_webhook_in_the_journal_is_kept_until_it_is_folded_for_the_others_in_it(store):
    person = await ada(store)
    both = webhook('[{"email": "ada@mail.example"}, {"email": "bob@mail.example"}]')
    await store.accept(
        [
            entry("webhook", both, "w-1", origin="crm"),
            entry("webhook", webhook('"ada@mail.example"'), "w-2", origin="crm"),
        ]
    )
    assert (await erased(store, person)).kept == 1
    assert await ids(store) == ["w-1"]


@pytest.mark.parametrize(("state", "gone"), [("done", True), ("dead", True), ("pending", False)])
async def test_a_webhook_that_names_only_the_contact_goes_once_it_was_read(store, state, gone):
    def known(unit):
        person = unit.add_person("ada@mail.example", "ada@mail.example", None, NOW).id
        unit.save_remote(Remote(person=person, connector="crm", remote_id="9001"))
        other = unit.enqueue(
            delivery(None, lane="shop:in", kind="webhook", state=state, payload=webhook('{"contact": 9001}'))
        )
        return (
            person,
            unit.enqueue(
                delivery(None, lane="crm:in", kind="webhook", state=state, payload=webhook('{"contact": 9001}'))
            ),
            other,
        )

    person, number, other = await store.run(known)
    await erased(store, person)
    assert (await store.read(lambda reader: reader.delivery(number)) is None) is gone
    assert await store.read(lambda reader: reader.delivery(other)) is not None


# People who were merged.


async def test_those_who_were_merged_into_the_person_go_as_well(backend, store, people):
    def merge(unit):
        kept, gone = unit.person(people["ada"]), unit.person(people["bob"])
        unit.merge_person(gone.id, kept.id, NOW)
        gone.merged_into = kept.id
        unit.save_person(gone)
        contact = unit.remote(kept.id, "crm")
        contact.former.append(Contact(email="bob.Qwx@Mail.example", remote_id="contact-bob"))
        unit.save_remote(contact)

    await store.run(merge)
    await erased(store, people["ada"])
    assert await store.read(lambda reader: reader.person(people["bob"])) is None
    assert found(backend, WORDS["bob"]) == set()
    assert await whole(store)


# The files.


async def test_a_reader_in_the_way_is_waited_for(backend, store, people):
    beside = sqlite3.connect(backend.folder / "esplanade.db", isolation_level=None, check_same_thread=False)
    beside.execute("BEGIN")
    beside.execute("SELECT count(*) FROM people").fetchone()
    running = asyncio.create_task(erased(store, people["ada"]))
    while not await store.read(
        lambda reader: reader.erasure(people["ada"]) and reader.erasure(people["ada"]).stage == "files"
    ):
        assert not running.done()
    await store.accept([mine("others-go-on", "bob@mail.example")])
    assert not running.done()
    beside.execute("COMMIT")
    await running
    beside.close()
    assert found(backend, WORDS["ada"]) == set()


async def test_the_file_is_sound_after_its_free_space_was_overwritten(backend, store, people):
    await erased(store, people["ada"])
    beside = sqlite3.connect(backend.folder / "esplanade.db")
    assert beside.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    beside.close()


# Coming back.


async def test_whoever_was_erased_is_told_by_each_of_their_addresses_and_ids(backend, store, people):
    await erased(store, people["ada"])
    await store.close()
    store = await backend.open()
    known = [
        ("email", "ada.qwx@mail.example"),
        ("email", "ada-old@mail.example"),
        ("id", "cdp-ada-id"),
        ("remote", "crm\0contact-ada"),
        ("remote", "crm\0former-ada"),
    ]
    for kind, text in known:
        for told in (
            await store.read(lambda reader, k=kind, t=text: reader.suppression(k, t)),
            await store.run(lambda unit, k=kind, t=text: unit.suppression(k, t)),
        ):
            assert (told.person, told.at) == (people["ada"], NOW)
    assert await store.run(lambda unit: unit.suppression("email", "bob.qwx@mail.example")) is None
    assert await store.run(lambda unit: unit.suppression("id", "ada.qwx@mail.example")) is None
    await store.close()


async def test_what_lifts_a_suppression_lifts_the_ids_and_that_address_alone(store, people):
    await erased(store, people["ada"])
    await store.run(lambda unit: unit.lift_suppression(people["ada"], "ada.qwx@mail.example"))
    assert await store.run(lambda unit: unit.suppression("email", "ada.qwx@mail.example")) is None
    assert await store.run(lambda unit: unit.suppression("id", "cdp-ada-id")) is None
    assert await store.run(lambda unit: unit.suppression("email", "ada-old@mail.example")) is not None


async def test_a_suppression_outlives_a_unit_that_lifted_it_and_was_undone(store, people):
    await erased(store, people["ada"])

    def undone(unit):
        unit.lift_suppression(people["ada"], "ada.qwx@mail.example")
        assert unit.suppression("email", "ada.qwx@mail.example") is None
        raise ValueError("on second thoughts")

    with pytest.raises(ValueError, match="second thoughts"):
        await store.run(undone)
    assert await store.run(lambda unit: unit.suppression("email", "ada.qwx@mail.example")) is not None


async def test_an_erasure_that_is_repeated_keeps_its_moment_and_finds_what_came_since(backend, store, people):
    await erased(store, people["ada"], at=NOW)
    await store.accept([mine("late", "ADA.qwx@mail.example")])
    await store.run(lambda unit: unit.move_cursor(next(unit.next_entries(1))[0]))
    assert found(backend, ["ADA.qwx@mail.example"])
    again = await erased(store, people["ada"], "ada.qwx@mail.example", at=NOW + 50)
    assert (again.at, again.known_at) == (NOW, ("crm",))
    assert not found(backend, ["ADA.qwx@mail.example"])
