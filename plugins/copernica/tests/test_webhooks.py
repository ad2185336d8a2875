"""What Copernica's calls mean to the hub."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esplanade import Connector, ConsentTarget, Endpoint, Happening, InboundRequest, Manifest, Report, Secret
from esplanade.testing import FakeClock, open_context
from esplanade_copernica.calls import KINDS, Call, decode
from esplanade_copernica.mapping import places
from esplanade_copernica.settings import CopernicaConsent, CopernicaSettings
from esplanade_copernica.webhooks import event_id, needs_reading, read

AT = datetime(2025, 3, 2, 9, 11, 12, tzinfo=UTC)
SETTINGS = CopernicaSettings(api_token=Secret("t"), database_id=31)
FIELDS = {"email": "Email", "firstname": "Firstname", "city": "city", "born": "Born"}
CONSENTS = {
    "newsletter": CopernicaConsent(field="Newsletter", granted="Yes", denied="no", unknown="?", pending="asked"),
    "service": CopernicaConsent(field="Service"),
    "elsewhere": ConsentTarget(),
}


class Bare(Connector[CopernicaSettings]):
    """Just enough of a connector to open a context for."""

    manifest = Manifest(title="Bare", vendor_api="none", owner="tests", homepage="https://example.net")
    Settings = CopernicaSettings

    def endpoint(self):
        return Endpoint(base_url="http://127.0.0.1:9")


@pytest.fixture
async def ctx():
    mapped = {"fields": FIELDS, "consents": CONSENTS, "audiences": {}, "triggers": {}}
    async with open_context(Bare(SETTINGS), clock=FakeClock(), language="nl", timeout_s=1.0, **mapped) as opened:
        yield opened


def call(settings=SETTINGS, **said):
    said = {"type": "update", "profile": "50411", "database": "31", "time": "1740906672", **said}
    said = {name: value for name, value in said.items() if value is not None}
    request = InboundRequest(
        method="POST",
        headers={"content-type": "application/json"},
        body=json.dumps(said).encode(),
        received_at=AT,
    )
    return decode(request, settings)


BELOW = {"subprofile": "610", "collection": "88", "fields": {"city": "Breda", "Newsletter": "no"}}
UNSUBSCRIBED = {"type": "unsubscribe", "id": "4", "mailing": "912"}
WHERE = places(FIELDS.values(), SETTINGS)
BOTH = places([*FIELDS.values(), "SQ_profile.city"], SETTINGS)


async def test_an_update_reports_the_mapped_fields_and_the_consents_that_it_carries(ctx):
    said = call(
        fields={"email": "noor@example.net", "FIRSTNAME": "Noor", "city": "", "other": "x", "Newsletter": " YES "}
    )
    (report,) = read(said, SETTINGS, WHERE, ctx)
    assert report == Report(
        email="noor@example.net",
        remote_id="50411",
        fields={"Email": "noor@example.net", "Firstname": "Noor", "city": None},
        consents={"newsletter": "granted"},
        at=AT,
        event_id=event_id(said),
    )


@pytest.mark.parametrize(
    ("called_with", "held", "state"), [("no", "yes", "denied"), ("yes", "no", "denied"), ("yes", "", None)]
)
async def test_an_opt_out_counts_whether_it_is_held_or_was_only_wanted(ctx, called_with, held, state):
    said = call(parameters={"Newsletter": called_with}, fields={"email": "noor@example.net", "Newsletter": held})
    (report,) = read(said, SETTINGS, WHERE, ctx)
    assert report.consents.get("newsletter") == state


async def test_what_an_update_does_not_carry_says_nothing(ctx):
    (report,) = read(call(fields={"Email": "noor@example.net"}), SETTINGS, WHERE, ctx)
    assert (report.fields, report.consents) == ({"Email": "noor@example.net"}, {})


async def test_a_date_that_was_never_set_is_empty(ctx):
    (report,) = read(call(fields={"Email": "noor@example.net", "Born": "0000-00-00"}), SETTINGS, WHERE, ctx)
    assert report.fields["Born"] is None


@pytest.mark.parametrize(
    ("value", "consents"),
    [
        ("yes", {"newsletter": "granted"}),
        (" No ", {"newsletter": "denied"}),
        ("ASKED", {"newsletter": "pending"}),
        ("?", {}),
        ("", {}),
        ("maybe", {}),
        (None, {}),
    ],
)
async def test_a_consent_field_says_what_its_values_mean_and_anything_else_says_nothing(ctx, value, consents):
    (report,) = read(call(fields={"newsletter": value, "Email": "noor@example.net"}), SETTINGS, WHERE, ctx)
    assert report.consents == consents


async def test_a_created_profile_is_reported_like_a_changed_one(ctx):
    (report,) = read(call(type="create", fields={"Email": "noor@example.net", "Service": "yes"}), SETTINGS, WHERE, ctx)
    assert (report.email, report.consents, report.deleted) == ("noor@example.net", {"service": "granted"}, False)


async def test_a_deleted_profile_is_reported_as_that_and_no_more(ctx):
    said = call(type="delete", fields={"Email": "noor@example.net", "Newsletter": "yes"})
    (report,) = read(said, SETTINGS, WHERE, ctx)
    assert report == Report(email="noor@example.net", remote_id="50411", deleted=True, at=AT, event_id=event_id(said))
    assert not needs_reading(call(type="delete"), SETTINGS, WHERE)


async def test_a_callback_with_both_addresses_tells_the_one_before(ctx):
    said = {
        "profile": {"ID": "50411", "fields": {"Email": "noor@example.net"}},
        "parameters": {"Email": "noor@example.org"},
    }
    (report,) = read(call(type=None, time=None, database=None, **said), SETTINGS, WHERE, ctx)
    assert (report.email, report.previous_email) == ("noor@example.org", "noor@example.net")
    assert (report.at, report.event_id) == (None, None)


async def test_an_unsubscribe_denies_every_purpose_of_whoever_it_was(ctx):
    said = call(**UNSUBSCRIBED)
    assert needs_reading(said, SETTINGS, WHERE)
    (report,) = read(said, SETTINGS, WHERE, ctx)
    assert report == Report(remote_id="50411", consents={"newsletter": "denied", "service": "denied"}, at=AT)
    (known,) = read(said, SETTINGS, WHERE, ctx, email="noor@example.net")
    assert (known.email, known.remote_id) == ("noor@example.net", "50411")


async def test_a_profile_without_its_address_is_reported_by_its_id_until_it_was_read(ctx):
    said = call(fields={"Firstname": "Noor"})
    assert needs_reading(said, SETTINGS, WHERE)
    (report,) = read(said, SETTINGS, WHERE, ctx)
    assert (report.email, report.remote_id, report.fields) == (None, "50411", {"Firstname": "Noor"})
    assert not needs_reading(call(fields={"Email": "noor@example.net"}), SETTINGS, WHERE)


@pytest.mark.parametrize("collection", ["88", "SQ_profile", "sq_PROFILE"])
async def test_subprofiles_of_the_profile_collection_are_read_as_fields(ctx, collection):
    said = call(**{**BELOW, "collection": collection})
    assert needs_reading(said, SETTINGS, BOTH, collection="88")
    (report,) = read(said, SETTINGS, BOTH, ctx, email="noor@example.net", collection="88")
    assert report == Report(
        email="noor@example.net", remote_id="50411", fields={"SQ_profile.city": "Breda"}, at=AT, event_id=event_id(said)
    )


@pytest.mark.parametrize(
    ("said", "settings", "where", "why"),
    [
        (BELOW, SETTINGS, WHERE, "it is about a subprofile that is not read"),
        ({**BELOW, "type": "delete"}, SETTINGS, BOTH, "it is about a subprofile that is not read"),
        ({**BELOW, "collection": "89"}, SETTINGS, BOTH, "it is about a collection that is not read"),
        ({**BELOW, "collection": None}, SETTINGS, BOTH, "it is about a collection that is not read"),
        ({"database": "32", "fields": {"Email": "noor@example.net"}}, SETTINGS, WHERE, "it is about another database"),
        ({"type": "merge"}, SETTINGS, WHERE, "its type is not known, or it is a test"),
        ({"type": None, "profile": None, "test": 1}, SETTINGS, WHERE, "its type is not known, or it is a test"),
        ({"profile": None, "fields": {"Firstname": "Noor"}}, SETTINGS, WHERE, "it names nobody"),
        ({**UNSUBSCRIBED, "profile": None}, SETTINGS, WHERE, "it names nobody"),
        ({"type": "open", "id": "9"}, SETTINGS, WHERE, "its profile's address is not known"),
        ({"type": "open", "profile": None, "id": "9"}, SETTINGS, WHERE, "it names nobody"),
        (
            {"fields": {"Email": "noor@example.net"}},
            msgspec.structs.replace(SETTINGS, inbound_mode="callback"),
            WHERE,
            "it looks like a webhook, and inbound_mode says callback",
        ),
        (
            {"time": None, "fields": {"Email": "noor@example.net"}},
            msgspec.structs.replace(SETTINGS, inbound_mode="webhook"),
            WHERE,
            "it looks like a callback, and inbound_mode says webhook",
        ),
    ],
)
async def test_what_is_none_of_ours_is_left_out_with_a_line_without_personal_data(
    ctx, capsys, said, settings, where, why
):
    found = call(settings, **said)
    assert read(found, settings, where, ctx, collection="88") == []
    logged = capsys.readouterr().out
    assert why in logged
    assert "noor" not in logged.lower()
    assert why == "its profile's address is not known" or not needs_reading(found, settings, where, collection="88")


@pytest.mark.parametrize("kind", ["click", "open", "bounce", "failure", "delivery"])
async def test_mail_events_are_happenings_of_their_name(ctx, kind):
    said = call(type=kind, id="77", recipient="noor@example.net", tags=["sale"], mailing="912", ip="192.0.2.7")
    assert read(said, SETTINGS, WHERE, ctx) == [
        Happening(
            name=kind,
            email="noor@example.net",
            data={"mailing": "912", "tags": ["sale"], "profile": "50411"},
            at=AT,
            event_id=f"{kind}:77:1740906672",
        )
    ]


async def test_a_mail_event_without_its_recipient_is_told_once_the_profile_was_read(ctx):
    said = call(type="open", id="77")
    assert needs_reading(said, SETTINGS, WHERE)
    (happening,) = read(said, SETTINGS, WHERE, ctx, email="noor@example.net")
    assert happening.email == "noor@example.net"


async def test_a_mail_event_needs_no_profile_where_it_has_its_recipient(ctx):
    (happening,) = read(call(type="open", profile=None, recipient="noor@example.net"), SETTINGS, WHERE, ctx)
    assert (happening.email, happening.data) == ("noor@example.net", {})


def test_a_repeat_has_the_same_event_id_and_a_change_in_the_same_second_another():
    assert event_id(call(fields={"a": "1"})) == event_id(call(fields={"a": "1"}))
    assert event_id(call(fields={"a": "1"})) != event_id(call(fields={"a": "2"}))
    assert event_id(call(fields={"a": "1"})) != event_id(call(fields={"a": "1"}, time="1740906673"))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"type": "open", "id": "77"}, "open:77:1740906672"),
        ({"type": "click", "id": "77"}, "click:77:1740906672"),
        ({"type": "open", "id": "77", "time": None}, "open:77"),
        ({"type": "open", "time": None}, None),
        ({"type": "update", "id": "77", "time": None}, None),
    ],
)
def test_mail_events_are_told_apart_by_type_id_and_time(said, expected):
    assert event_id(call(**said)) == expected


def test_without_an_id_a_mail_event_is_told_apart_by_what_it_says():
    assert event_id(call(type="click", original="https://a")) != event_id(call(type="click", original="https://b"))


async def test_an_opt_out_has_no_event_id_so_that_none_is_taken_for_a_repeat(ctx):
    said = call(fields={"Email": "noor@example.net", "Newsletter": "no"})
    (report,) = read(said, SETTINGS, WHERE, ctx)
    assert (report.consents, report.event_id) == ({"newsletter": "denied"}, None)


@given(
    st.dictionaries(
        st.sampled_from(
            ["type", "profile", "subprofile", "collection", "database", "recipient", "id", "time", "fields"]
        ),
        st.sampled_from([*KINDS, "31", "88", "50411", "noor@example.net", "", None])
        | st.dictionaries(st.sampled_from(["Email", "Newsletter", "city", "ID"]), st.text(max_size=5)),
    )
)
def test_every_call_can_be_asked_whether_the_profile_must_be_read(said):
    found = call(**said)
    assert needs_reading(found, SETTINGS, BOTH, collection="88") in {True, False}
    named = event_id(found)
    assert named is None or 0 < len(named) <= 200
    assert isinstance(found, Call)
