"""Tables, progress and suggestions."""

import io
import sys

import pytest

from esplanade.cli.output import Output, Table, cell, plain
from esplanade.cli.progress import progress, waiting
from esplanade.cli.suggest import suggestions

TABLE = Table(columns=("name", "due"), rows=[("webpower", 3), ("crm", 12)])


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_plain_table_is_aligned_with_numbers_to_the_right():
    assert plain(TABLE) == "name      due\nwebpower    3\ncrm        12"


def test_wide_letters_take_two_columns():
    assert plain(Table(columns=("n", "x"), rows=[("東", "a"), ("ab", "b")])) == "n   x\n東  a\nab  b"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        (True, "yes"),
        (["a", "b"], "a, b"),
        ({"ip": "192.0.2.1", "n": None}, "ip=192.0.2.1, n=-"),
        ("red\x1b[31m\nline", "red [31m line"),
    ],
)
def test_cells_are_one_line_without_control_characters(value, shown):
    assert cell(value) == shown


def test_json_is_the_document_and_nothing_else(capsys):
    Output(as_json=True).show({"connectors": []}, TABLE, "words")
    assert capsys.readouterr().out == '{\n  "connectors": []\n}\n'


def test_empty_tables_are_not_shown(capsys):
    tables = [Table(title=title, columns=("a",), rows=rows) for title, rows in (("Nothing", []), ("Some", [("x",)]))]
    Output(as_json=False).show({}, *tables)
    assert capsys.readouterr().out == "Some\na\nx\n"


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_a_drawn_table_and_no_colour_when_unwanted(monkeypatch, no_color):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Output(as_json=False).show({}, TABLE)
    assert "webpower" in terminal.getvalue()
    assert "─" in terminal.getvalue()
    assert not ("\x1b[3" in terminal.getvalue() and no_color)


def test_a_table_wider_than_the_terminal_is_plain_so_that_nothing_is_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    wide = Table(columns=("hook_url",), rows=[("http://127.0.0.1:8600/hooks/crm/0123456789",)])
    Output(as_json=False).show({}, wide)
    assert terminal.getvalue() == plain(wide) + "\n"


def test_without_rich_a_terminal_gets_a_plain_table(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    Output(as_json=False).show({}, TABLE)
    assert terminal.getvalue() == plain(TABLE) + "\n"


def test_progress_is_a_line_for_each_tenth_when_nobody_looks(capsys):
    with progress("import", 100, silent=False) as shown:
        for done in range(0, 101, 5):
            shown.at(done, f"{done} rows")
    said = capsys.readouterr()
    assert said.err.splitlines() == [f"import: {done} %, {done} rows" for done in range(10, 101, 10)]
    assert not said.out


def test_progress_is_silent_when_told(capsys):
    with progress("import", 100, silent=True) as shown, waiting("pulling", silent=True) as said:
        shown.at(100, "all")
        said("3 pages")
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_is_a_bar_on_stderr(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("import", 2, silent=False) as shown:
        shown.at(2, "2 rows")
    with waiting("pulling crm", silent=False) as said:
        said("1 page")
    assert "import" in terminal.getvalue()
    assert not capsys.readouterr().out


def test_suggestions_follow_names_and_labels_of_fields_that_can_be_written():
    fields = [
        {"name": "FIRST_NAME"},
        {"name": "f17", "label": "Birth date"},
        {"name": "city", "read_only": True},
        {"name": "phone"},
        {"name": "zzz"},
    ]
    assert suggestions(fields, ["phone"], ["firstname", "birthdate", "city", "phone"]) == {
        "firstname": "FIRST_NAME",
        "birthdate": "f17",
    }
