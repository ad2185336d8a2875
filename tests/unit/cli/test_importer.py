"""Rows of files become profile events, or say why not."""

import pytest

from esplanade.ingest.importer import Columns, ImportFileError, People, form_of


def read(text, *, form="csv", digest="d", columns=None):
    lines = text if isinstance(text, bytes) else text.encode()
    return People(lines.splitlines(keepends=True), form, digest=digest, columns=columns or Columns())


def events(*arguments, **options):
    found = []
    for row in read(*arguments, **options):
        event = dict(row.event or {})
        event.pop("event_id", None)
        found.append(event or row.reason)
    return found


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_the_delimiter_is_the_one_that_gives_most_columns(mark):
    assert events(f"email{mark}note\na@example.com{mark}x\n") == [{"email": "a@example.com", "fields": {"note": "x"}}]


def test_a_delimiter_within_quotes_does_not_count():
    assert events('email,"a;b;c"\na@example.com,1\n') == [{"email": "a@example.com", "fields": {"a;b;c": "1"}}]


def test_a_byte_order_mark_is_dropped():
    assert events(b"\xef\xbb\xbfemail\na@example.com\n") == [{"email": "a@example.com"}]


def test_numbers_stay_text_and_empty_cells_are_left_out():
    assert events("email,zip,city\na@example.com,0123, \n") == [{"email": "a@example.com", "fields": {"zip": "0123"}}]


def test_a_cell_may_go_on_over_lines_and_lines_are_counted_from_the_file():
    rows = list(read('email,note\n"a@example.com","one\ntwo"\n\nb@example.com,x\n'))
    assert [(row.line, row.event["fields"]["note"]) for row in rows] == [(2, "one\ntwo"), (5, "x")]


def test_a_quote_that_is_not_closed_is_suspected():
    [row] = read('email,note\na@example.com,"one\nb@example.com,two\nc@example.com,three,four\n')
    assert row.line == 2 or row.event


def test_words_for_consents_and_audiences():
    header = "email,consent:n,audience:v\n"
    rows = "a@example.com,YES,1\na@example.com,0,No\na@example.com,pending,\na@example.com,,2\n"
    assert events(header + rows) == [
        {"email": "a@example.com", "consents": {"n": "granted"}, "audiences": {"v": True}},
        {"email": "a@example.com", "consents": {"n": "denied"}, "audiences": {"v": False}},
        {"email": "a@example.com", "consents": {"n": "pending"}},
        "audience:v: '2' is not true or false",
    ]


def test_a_row_needs_somebody():
    assert events("email,id,note\n,,x\n,u-1,\n") == ["has neither email nor id", {"id": "u-1"}]


def test_a_value_under_no_name_is_no_silent_loss():
    assert events("email,\na@example.com,x\nb@example.com,\n") == [
        "column 2 has no name, but a value",
        {"email": "b@example.com"},
    ]


def test_event_ids_follow_from_content_meaning_and_line_alone():
    def ids(**options):
        return [row.event["event_id"] for row in read("email,n\na@example.com,1\nb@example.com,2\n", **options)]

    assert ids() == ids()
    assert len({*ids(), *ids(digest="other"), *ids(columns=Columns(names={"n": "m"}))}) == 6


def test_an_event_of_ndjson_keeps_an_id_of_its_own():
    [row] = read('{"email": "a@example.com", "fields": {}, "event_id": "mine"}', form="ndjson")
    assert row.event["event_id"] == "mine"


def test_ndjson_values_keep_their_type_and_null_clears():
    assert events('{"email": "a@example.com", "n": 1, "gone": null, "empty": ""}', form="ndjson") == [
        {"email": "a@example.com", "fields": {"n": 1, "gone": None}}
    ]


def test_files_with_bad_rows_come_back_without_their_verdict():
    lines = [b"line,reason,email\n", b"7,was wrong,a@example.com\n"]
    people = People(lines, "csv", digest="d", columns=Columns(), skip_verdict=True)
    assert people.header == ["email"]
    assert [row.event["email"] for row in people] == ["a@example.com"]


def test_rows_are_read_one_by_one():
    def endless():
        yield b"email\n"
        while True:
            yield b"a@example.com\n"

    rows = iter(People(endless(), "csv", digest="d", columns=Columns()))
    assert next(rows).line == 2
    assert next(rows).line == 3


def test_a_blank_start_is_skipped_and_nothing_but_blanks_is_empty():
    assert events("\n\nemail\na@example.com\n") == [{"email": "a@example.com"}]
    with pytest.raises(ImportFileError, match="empty"):
        read("\n \n")


@pytest.mark.parametrize(
    ("name", "start", "form"),
    [
        ("people.csv", b"email", "csv"),
        ("people.NDJSON", b"", "ndjson"),
        ("people.jsonl", b"", "ndjson"),
        ("people.txt", b'\xef\xbb\xbf {"email"', "ndjson"),
        ("people", b"email;id", "csv"),
    ],
)
def test_the_form_follows_from_the_name_or_the_first_bytes(name, start, form):
    assert form_of(name, start) == form
