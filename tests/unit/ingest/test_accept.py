"""What the gate takes, what it turns away and why, and what it writes into the journal."""

import asyncio
import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esplanade.errors import StorageFull
from esplanade.ingest.accept import MAX_BACKLOG, Intake
from esplanade.ingest.shapes import ConsentIn, JournalledProfile, TriggerIn, WebhookIn
from esplanade.testing.clock import FakeClock

NOW = datetime(2026, 1, 15, 10, tzinfo=UTC).timestamp()
ALL = ("profile", "consent", "trigger")
SHAPES = {"profile": JournalledProfile, "consent": ConsentIn, "trigger": TriggerIn}


class Shelf:
    """A store that keeps a list."""

    def __init__(self):
        self.entries = []
        self.answers = []
        self.full = False

    async def accept(self, entries, answered=None):
        await asyncio.sleep(0)
        if self.full:
            raise StorageFull("no room")
        self.entries += entries
        self.answers.append(answered)


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def intake(shelf):
    return Intake(shelf, FakeClock(NOW))


def admit(intake, kind, *items, **more):
    raws = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in items]
    return intake.admit("shop", kind, raws, **{"may": ALL, **more})


def kept(admission, kind="profile"):
    (entry,) = admission.entries
    return msgspec.msgpack.decode(entry.body, type=SHAPES[kind])


def refusal(admission):
    assert not admission.entries
    (rejected,) = admission.rejected
    return rejected.path, rejected.error


ADA = {"email": "ada@example.com"}
YES = {**ADA, "purpose": "newsletter", "state": "granted"}
CART = {**ADA, "trigger": "abandoned-cart"}


def test_every_example_of_the_contract_is_taken(intake):
    profile = {
        "email": "ada@example.com", "id": "u-1", "previous_email": "a@old.example", "event_id": "e-1",
        "at": "2026-01-15T10:00:00Z",
        "fields": {"firstname": "Ada", "birthdate": "1990-12-10", "ltv": 12.5, "tags": ["a"], "phone": None},
        "audiences": {"vip": True, "churn-risk": False}, "consents": {"newsletter": "granted"},
    }  # fmt: skip
    consent = {
        **YES, "event_id": "e-2", "method": "double", "at": "2026-01-15T10:00:00+01:00",
        "evidence": {"ip": "192.0.2.1", "form": "footer", "text_version": "3"},
    }  # fmt: skip
    product = {
        "id": "SKU-1", "title": "Lamp", "price": 24.5, "currency": "EUR", "url": "https://shop.example/p/1",
        "image_url": "https://shop.example/i/1.jpg", "quantity": 1,
    }  # fmt: skip
    trigger = {
        **CART, "event_id": "e-3", "trigger_id": "t-9", "language": "nl", "expires_at": 1768500000,
        "data": {"cart_id": "C-77"}, "products": {"set": "last-viewed", "items": [product]},
    }  # fmt: skip
    found = kept(admit(intake, "profile", profile))
    assert found.at == NOW
    assert found.fields == profile["fields"]
    assert kept(admit(intake, "consent", consent), "consent").at == NOW - 3600
    found = kept(admit(intake, "trigger", trigger), "trigger")
    assert found.expires_at == 1768500000.0
    assert found.products.items[0].title == "Lamp"


def test_the_journal_holds_the_address_as_given_without_outer_blanks(intake):
    admission = admit(intake, "profile", {"email": " Ada@Example.com ", "previous_email": "Old@Example.com\n"})
    assert kept(admission).email == "Ada@Example.com"
    assert kept(admission).previous_email == "Old@Example.com"
    assert admission.entries[0].at == NOW


async def test_each_request_is_judged_at_its_own_moment():
    clock = FakeClock(NOW)
    intake = Intake(Shelf(), clock)
    for ahead in (0, 400):
        await clock.advance(ahead)
        admission = admit(intake, "profile", {**ADA, "at": NOW + 350})
        assert admission.entries[0].at == NOW + ahead
        assert kept(admission).at == (NOW + 350 if ahead else NOW)


def test_an_event_id_gives_the_same_id_again_within_its_source(intake):
    item = json.dumps({**ADA, "event_id": "7"}).encode()
    one = intake.admit("shop", "profile", [item, item], may=ALL)
    other = intake.admit("till", "profile", [item], may=ALL)
    assert one.ids[0] == one.ids[1]
    assert one.ids[0] != other.ids[0]
    assert all(entry.dedupe for entry in one.entries)


def test_without_an_event_id_each_item_has_an_id_of_its_own(intake):
    admission = admit(intake, "profile", *[ADA] * 200)
    assert len(set(admission.ids)) == 200
    assert not any(entry.dedupe for entry in admission.entries)


@pytest.mark.parametrize("at", ["2026-01-15T10:05:01Z", NOW + 301])
def test_a_time_that_is_ahead_becomes_the_time_received(intake, at):
    assert kept(admit(intake, "profile", {**ADA, "at": at})).at == NOW


@pytest.mark.parametrize("at", ["2026-01-15T10:05:00Z", NOW + 300])
def test_a_clock_may_run_five_minutes_ahead(intake, at):
    assert kept(admit(intake, "profile", {**ADA, "at": at})).at == NOW + 300


def test_an_expiry_may_lie_in_the_future(intake):
    assert kept(admit(intake, "trigger", {**CART, "expires_at": NOW + 86400}), "trigger").expires_at == NOW + 86400


DEEP = b"[" * 100_000 + b"]" * 100_000
REFUSALS = [
    ("profile", {}, "$.email", "neither email nor id"),
    ("profile", {"email": None}, "$.email", "neither email nor id"),
    ("profile", {"email": "ada"}, "$.email", "not an e-mail address"),
    ("profile", {"email": "", "id": "u-1"}, "$.email", "empty"),
    ("profile", {**ADA, "previous_email": "x"}, "$.previous_email", "not an e-mail address"),
    ("profile", {**ADA, "emial": 1}, "$.emial", "did you mean `email`?"),
    ("profile", {**ADA, "purpos": 1}, "$.purpos", "unknown key; leave it out"),
    ("consent", {**ADA, "purpose": "a", "state": "denied", "fields": {}}, "$.fields", "unknown key; leave it out"),
    ("profile", {**ADA, "imported": True}, "$.imported", "unknown key"),
    ("profile", {**ADA, "odd key": 1}, "$['odd key']", "unknown key"),
    ("profile", {**ADA, "x" * 500: 1}, "$['" + "x" * 99 + "…']", "unknown key"),
    ("profile", {**ADA, "fields": {"a": 1, "ltv": {}}}, "$.fields.ltv", "got `object`"),
    ("profile", {**ADA, "fields": {"a": 1, "b": 2, "tags": ["a", ["b"]]}}, "$.fields.tags[1]", "got `array`"),
    ("profile", {**ADA, "fields": {"a.b": {}}}, "$.fields['a.b']", "got `object`"),
    ("profile", {**ADA, "fields": {"big": 2**63, "a": 1}}, "$.fields.big", "<= 9223372036854775807"),
    ("profile", {**ADA, "fields": []}, "$.fields", "Expected `object`"),
    ("profile", {**ADA, "fields": {"": 1}}, "$.fields['']", "length >= 1"),
    ("profile", {**ADA, "fields": {"a\nb": 1}}, "$.fields['a\\nb']", "control character"),
    ("profile", {**ADA, "audiences": {"vip": True, "b": "yes"}}, "$.audiences.b", "Expected `bool`"),
    ("profile", {**ADA, "consents": {"service": "granted", "newsletter": "maybe"}}, "$.consents.newsletter", "maybe"),
    ("profile", {**ADA, "id": ""}, "$.id", "length >= 1"),
    ("profile", {**ADA, "id": "u\u0000"}, "$.id", "control character"),
    ("profile", {**ADA, "id": 7}, "$.id", "Expected `str"),
    ("profile", {**ADA, "event_id": "x" * 201}, "$.event_id", "length <= 200"),
    ("profile", {**ADA, "at": "2026-01-15T10:00:00"}, "$.at", "has no zone"),
    ("profile", {**ADA, "at": "yesterday"}, "$.at", "RFC 3339"),
    ("profile", {**ADA, "at": -1}, "$.at", "1970 to 9999"),
    ("profile", {**ADA, "at": 1e300}, "$.at", "1970 to 9999"),
    ("profile", {**ADA, "at": 10**4000}, "$.at", ""),
    ("profile", {**ADA, "at": "1969-12-31T23:59:59Z"}, "$.at", "1970 to 9999"),
    ("profile", {**ADA, "at": "9999-12-31T23:59:59-12:00"}, "$.at", "1970 to 9999"),
    ("profile", b'{"email":"ada@example.com","at":NaN}', "$", "not JSON"),
    ("profile", b'{"email":"ada@example.com","fields":{"x":1e999}}', "$.fields.x", "out of range"),
    ("profile", b'{"email":"ada@example.com","fields":{"x":"\\ud800"}}', "$", "not JSON"),
    ("profile", b'{"email":"ada@example.com","fields":{"x":"\xff"}}', "$", "not UTF-8"),
    ("profile", b'{"email":"ada@example.com","fields":{"x":' + DEEP + b"}}", "$", "deep"),
    ("profile", b'"text"', "$", "Expected `object`"),
    ("profile", b"null", "$", "Expected `object`"),
    ("consent", ADA, "$.purpose", "required"),
    ("consent", {"purpose": "p", "state": "granted"}, "$.email", "required"),
    ("consent", {**YES, "state": "absent"}, "$.state", "absent"),
    ("consent", {**YES, "evidence": ["x"]}, "$.evidence", "Expected `object`"),
    ("consent", {**YES, "evidence": {"a": {"n": [1, 2**63]}}}, "$.evidence.a.n[1]", "64 bits"),
    ("consent", {**YES, "evidence": {"a": 1, "n": 2**64}}, "$.evidence.n", "64 bits"),
    ("consent", {**YES, "evidence": {"a": "x" * 70_000}}, "$.evidence", "larger than 65536"),
    ("trigger", {**ADA}, "$.trigger", "required"),
    ("trigger", {**CART, "expires_at": "soon"}, "$.expires_at", "RFC 3339"),
    ("trigger", {**CART, "data": {"a": json.loads("[" * 40 + "]" * 40)}}, "$.data.a" + "[0]" * 31, "levels deep"),
    ("trigger", {**CART, "products": {"items": [{"id": "a"}, {"id": 7}]}}, "$.products.items[1].id", "Expected `str`"),
    ("trigger", {**CART, "products": {"items": [{"id": "a", "prise": 1}]}}, "$.products.items[0].prise", "`price`"),
    (
        "trigger",
        {**CART, "products": {"items": [{"id": "a", "quantity": 2**63}]}},
        "$.products.items[0].quantity",
        "64",
    ),
    ("trigger", {**CART, "products": {"set": "s"}}, "$.products.items", "required"),
]


@pytest.mark.parametrize(("kind", "item", "path", "error"), REFUSALS)
def test_a_refusal_names_the_place_and_the_mistake(intake, kind, item, path, error):
    found_path, found_error = refusal(admit(intake, kind, item))
    assert found_path == path
    assert error in found_error


def test_a_bad_item_costs_its_neighbours_nothing(intake):
    admission = admit(intake, "profile", ADA, {"email": "x"}, ADA, b"{", ADA)
    assert len(admission.ids) == 3
    assert [each.index for each in admission.rejected] == [1, 3]
    assert admission.malformed == 1


def test_consents_within_a_profile_need_the_right(intake):
    item = {**ADA, "consents": {"newsletter": "granted"}}
    path, error = refusal(admit(intake, "profile", item, may=["profile"]))
    assert path == "$.consents"
    assert "right" in error
    assert admit(intake, "profile", {**ADA, "consents": {}}, may=["profile"]).ids


def test_what_is_imported_says_so(intake):
    item = {**ADA, "consents": {"newsletter": "granted"}}
    admission = admit(intake, "profile", item, imported=True, backfill=True)
    assert kept(admission).imported
    assert kept(admission).consents == {"newsletter": "granted"}
    assert admission.entries[0].backfill
    assert not kept(admit(intake, "profile", item)).imported


async def test_a_large_request_is_judged_in_slices_with_its_own_positions(intake):
    items = [json.dumps(ADA if index % 7 else {}).encode() for index in range(2_000)]
    admission = await intake.admit_all("shop", "profile", items, may=ALL)
    assert [each.index for each in admission.rejected] == list(range(0, 2_000, 7))
    assert len(admission.ids) + len(admission.rejected) == 2_000


def test_a_webhook_goes_into_the_journal_raw(intake):
    entry = intake.entry_for_webhook("webpower", WebhookIn(method="POST", body=b"\x00raw", query="a=1"))
    assert (entry.kind, entry.origin, entry.at) == ("webhook", "webpower", NOW)
    assert msgspec.msgpack.decode(entry.body, type=WebhookIn).body == b"\x00raw"


async def test_what_was_accepted_is_told_once_the_entries_are_committed(shelf):
    seen = []
    intake = Intake(shelf, FakeClock(NOW), on_accepted=lambda *told: seen.append((*told, len(shelf.entries))))
    await intake.accept(admit(intake, "profile", ADA, ADA).entries)
    assert seen == [("shop", "profile", 2, 2)]
    assert intake.unfolded == 2


async def test_what_was_not_committed_takes_no_room(shelf, intake):
    shelf.full = True
    with pytest.raises(StorageFull):
        await intake.accept(admit(intake, "profile", ADA).entries)
    assert intake.unfolded == 0


async def test_the_gate_closes_when_the_fold_falls_behind(intake):
    intake.added(MAX_BACKLOG)
    assert not intake.full()
    intake.added(1)
    assert intake.full()
    intake.folded(1)
    assert not intake.full()


async def test_an_import_waits_for_room(intake):
    intake.added(30)
    waiting = asyncio.create_task(intake.wait_for_room(limit=10))
    for _ in range(2):
        await asyncio.sleep(0)
        intake.folded(9)
        assert not waiting.done()
    intake.folded(2)
    await waiting
    assert intake.unfolded == 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(sorted({name for shape in SHAPES.values() for name in shape.__struct_fields__} - {"imported"}))
PLAUSIBLE = st.fixed_dictionaries(
    {"email": st.sampled_from(["ada@example.com", "ada", "δ@ü.example", None, 3]) | st.text(max_size=12)},
    optional={
        "purpose": st.text(max_size=5), "state": st.sampled_from(["granted", "denied", "x"]),
        "trigger": st.text(max_size=5), "event_id": st.text(max_size=5),
        "at": JSON | st.floats() | st.datetimes().map(str),
        "fields": st.dictionaries(st.text(max_size=5), JSON, max_size=4), "data": JSON, "evidence": JSON,
        "consents": st.dictionaries(st.text(max_size=5), st.sampled_from(["granted", "no"]), max_size=3),
    },
)  # fmt: skip
ITEMS = (
    PLAUSIBLE.map(lambda item: json.dumps(item).encode())
    | st.dictionaries(KEYS, JSON, max_size=4).map(lambda item: json.dumps(item).encode())
    | JSON.map(lambda item: json.dumps(item).encode())
    | st.binary(max_size=60)
)


@settings(max_examples=400)
@given(kind=st.sampled_from(ALL), items=st.lists(ITEMS, max_size=4), may=st.sets(st.sampled_from(ALL)))
def test_whatever_comes_in_is_either_taken_or_turned_away(kind, items, may):
    intake = Intake(Shelf(), FakeClock(NOW))
    admission = intake.admit("shop", kind, items, may=may)
    assert len(admission.ids) + len(admission.rejected) == len(items)
    for entry in admission.entries:
        found = msgspec.msgpack.decode(entry.body, type=SHAPES[kind])
        assert found.at is None or 0 <= found.at <= NOW + 300
    for each in admission.rejected:
        assert each.path.startswith("$")
        assert each.error
