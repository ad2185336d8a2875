"""No silent drop: every way that sends, folds or takes over nothing says why, with a code that is in the table of reasons."""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from collections.abc import Iterator
from typing import get_args

import pytest
from tests.regenerate import ROOT
from tests.unit.silence import silences

from esplanade import reasons
from esplanade.reasons import REASONS, Reason

CORE = ROOT / "core" / "esplanade"
DECIDES_NOTHING = {
    "ingest/accept.py": "answers the sender itself, with the reason for each item",
    "ingest/importer.py": "gives rows back, each with a sentence of its own",
    "ingest/changes.py": "is what records the reasons",
}
WALKED = [
    path
    for part in ("sync", "ingest", "delivery")
    for path in sorted(each.relative_to(CORE).as_posix() for each in (CORE / part).glob("*.py"))
    if path not in DECIDES_NOTHING
]

SETTLED_MEANWHILE = "it was settled, replayed or erased meanwhile, which was recorded then"
NOT_ITS_BUSINESS = "nothing was said that this connector maps; `explain` compares all that it maps with what is held"
RECORDED_BEFORE = "the verdict was recorded above; this keeps what was said of it"
STAYS_DUE = "nothing is decided yet: it stays due and is looked at again"
HANDED_ON = "it is handed to the caller, who claims it or says why not"
SAME_ADDRESS = "the address is the one that is known already"
NOTED_AS_A_WHOLE = "the report was noted as one of a former address, and of such a contact only an opt-out counts"
FOLDED = "every entry of the step was folded or parked"
NOTHING_MORE = "all there was to do is done, and recorded by the caller"
NOTHING_TO_LEAVE = "the contact is on nothing that this connector could take it off"

ALLOWED = {
    "delivery/inbound.py": {
        "_settle": {
            "delivery is None": SETTLED_MEANWHILE,
            "error is not None": RECORDED_BEFORE,
            "not (error is not None": RECORDED_BEFORE,
        },
        "_claim": {"delivery is None": SETTLED_MEANWHILE, "not (job is None": HANDED_ON},
        "_do": {"not careful": HANDED_ON, "not (delivery is not None": SETTLED_MEANWHILE},
    },
    "delivery/outbound.py": {
        "_carefully": {"not (problem is not None": "it was settled or claimed, which says what it did"},
        "_head": {
            "any((other.state": STAYS_DUE,
            "opt_out is not None": HANDED_ON,
            "not (head.due_at > now)": HANDED_ON,
        },
        "_set_aside": {"not (delivery is not None": SETTLED_MEANWHILE},
        "_heed_the_guard": {"not (decision.kept)": "the guard holds nobody back"},
        "_remote": {"not (remote is not None)": "the vendor was told nothing yet that could stay behind"},
    },
    "delivery/pull.py": {
        "_append_missing": {
            "part is None": "there is nobody left to look at",
            "not (doubtful": "the absence goes into the journal behind the loop",
            "doubtful": "who is in doubt is noted within the loop",
        },
        "_reread": {
            "known is None": "the person is gone, or their request for confirmation is over",
            "not (report is None": "it goes into the journal, where what it repeats is left out",
            "report is None": "the vendor does not know them yet: their consent stays pending, and they are asked about again",
        },
        "reread_pending": {
            "except PermanentError": "one person could not be read; the log says so, and the next check asks again",
            "not people": "everybody was asked about",
        },
    },
    "delivery/settle.py": {
        "_acknowledge": {"": "the call was made, and `_done` notes what came of it; this keeps what the vendor holds since"},
        "_follow_up": {"left is None": "no second contact came to light, so nothing more need be told"},
        "_refused": {"not (more_left)": NOTHING_MORE},
        "settle": {
            "delivery is None": SETTLED_MEANWHILE,
            "error is not None": RECORDED_BEFORE,
            "not (error is not None": RECORDED_BEFORE,
        },
    },
    "delivery/verdict.py": {
        "_plain": {"case _": HANDED_ON},
        "verdict_on": {"plain is not None": "the verdict itself says so, and is recorded when it is settled"},
    },
    "ingest/doubt.py": {"raise_": {"found is None": "the same doubt was raised and noted before"}},
    "ingest/fanout.py": {
        "_profile": {"not (touched or": NOT_ITS_BUSINESS},
        "fan_out": {"not ('consent' in connector.receives": NOT_ITS_BUSINESS},
        "fan_out_trigger": {
            "mapped": "each connector that maps it has it queued, or noted why not",
            "target is None": "it is another connector's trigger; one that none maps is noted behind the loop",
            "connector.source == cause.entry.origin": "the connector's own event, which it did not ask to have back",
        },
    },
    "ingest/entries.py": {
        "fold": {"done and time.monotonic() > until": "the rest is folded in the next step"},
        "fold_entry": {"case _": "there is no other kind"},
        "fold_or_park": {"problem is None": "it was folded, which says what it did"},
        "fold_together": {"unit.attempt(fold) is None": FOLDED},
    },
    "ingest/fold.py": {"_step": {"not step.folded": "there was nothing to fold", "step.folded": FOLDED}},
    "ingest/merging.py": {
        "_drop_repeats": {"not (delivery.state in": "it was sent, or is being sent; the others like it are dropped with a reason"},
        "join_contacts": {"not (connector is not None": "the connector is gone from the configuration: nothing can be told to it"},
    },
    "ingest/reported_contacts.py": {
        "read_former": {
            "held == 'granted'": NOTED_AS_A_WHOLE,
            "not (is_news": NOTED_AS_A_WHOLE,
            "not (held": NOTED_AS_A_WHOLE,
            "purpose not in": NOTED_AS_A_WHOLE,
        },
        "take_identity": {
            "not (known is not None": SAME_ADDRESS,
            "not report.email": "the report says nothing about the address",
        },
        "_renamed": {"person.email_key == address.key": SAME_ADDRESS},
    },
    "ingest/reported_values.py": {
        "_note_unmapped": {"not (names)": "everything in the report is mapped"},
        "read_audiences": {"name not in": "`_note_unmapped` notes all of them at the end"},
        "read_fields": {"name is None": "`_note_unmapped` notes all of them at the end"},
    },
    "ingest/reports.py": {
        "_begin": {"not (person is None)": HANDED_ON},
        "_finish": {"not (not reading.asks": "the notes above say why, or the vendor is asked"},
        "_ask": {"not (traits.can_fetch": "the caller has noted the doubt; this vendor cannot be asked"},
        "doubt_repeat": {
            "connector is None": "the repeat was noted as one; nobody is left to ask",
            "person is None": "the repeat was noted as one, and says nothing that is not known",
        },
    },
    "ingest/told.py": {
        "read_word": {"not (state == 'granted'": "the repeat was noted as one"},
        "_granted": {
            "consent.effective(after)": "that it stays as it is was noted, by the reading or here",
            "not (consent.effective(after)": "it counts, and is passed on",
        },
        "_append": {"not (append": "it is in the ledger, and the person stands where they stood"},
    },
    "ingest/resolve.py": {
        "_remember": {"not (address.key": SAME_ADDRESS},
        "state_address": {"person.email_key == address.key": SAME_ADDRESS},
    },
    "ingest/retire.py": {
        "move_on": {"remote.email is None": HANDED_ON},
        "retire": {"not ('profile' in connector.receives": NOTHING_TO_LEAVE},
        "tell_all": {
            "not ('consent' in connector.receives": NOT_ITS_BUSINESS,
            "not (wanted is not None": "nothing counts for this purpose, and to a new contact nothing was ever said of it",
        },
    },
}  # fmt: skip
"""Silent ways on which nothing is withheld: by module, function, and how the condition begins, with why."""


def test_every_way_that_does_nothing_says_why():
    found = silences({path: (CORE / path).read_text("utf-8") for path in WALKED})
    unsaid = [
        each for each in found if not any(each.when.startswith(part) for part in _excuses(each.module, each.function))
    ]
    assert sorted(unsaid) == [], "record a reason there, or say in ALLOWED why nothing is withheld"
    excuses = {
        (path, name, part) for path, functions in ALLOWED.items() for name in functions for part in functions[name]
    }
    used = {
        (each.module, each.function, part)
        for each in found
        for part in _excuses(each.module, each.function)
        if each.when.startswith(part)
    }
    assert sorted(excuses - used) == [], "these excuse nothing any more: drop them"


def _excuses(path, function):
    return ALLOWED.get(path, {}).get(function, {})


def test_the_checker_of_types_says_where_a_case_is_missing_so_the_walk_need_not():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"]
    strict = {
        module for each in settings["overrides"] for module in each["module"]
        if "exhaustive-match" in each.get("enable_error_code", ())
    }  # fmt: skip
    assert {f"esplanade.{path.partition('/')[0]}.*" for path in WALKED} <= strict


@pytest.mark.parametrize(
    ("body", "silent"),
    [
        ("unit.enqueue(work)", set()),
        ("if wanted:\n    unit.enqueue(work)", {"not (wanted)"}),
        ("if not wanted:\n    return\nunit.enqueue(work)", {"not wanted"}),
        ("if not wanted:\n    skip(unit, 'unchanged')\n    return\nunit.enqueue(work)", set()),
        ("if not wanted:\n    log('skipped')\nelse:\n    unit.enqueue(work)", {"not wanted"}),
        ("if a:\n    return Skip(reason='echo')\nif b:\n    return None\nreturn Send()", {"b"}),
        ("return Send() if wanted else None", {"always"}),
        ("return Send() if wanted else Skip(reason='echo')", set()),
        ("if a:\n    return 'stale'\nif b:\n    return 'fine'\nunit.append([])", {"b"}),
        ("for each in them:\n    if each:\n        continue\n    unit.enqueue(each)", {"each"}),
        ("for each in them:\n    if each:\n        skip(each, 'echo')\n        continue\n    unit.enqueue(each)", set()),
        ("for each in them:\n    if each:\n        break\n    unit.enqueue(each)", {"each"}),
        ("for each in them:\n    if each:\n        return Skip(reason='echo')\nreturn Send()", set()),
        ("match verdict:\n    case Done():\n        unit.append([])\n    case _:\n        pass", {"case _"}),
        ("try:\n    unit.append([])\nexcept ValueError:\n    pass", {"except ValueError"}),
        ("try:\n    unit.append([])\nexcept ValueError:\n    delivery.reason = 'rejected'", set()),
        ("if wanted and unit.enqueue(work):\n    pass", {"not (wanted and unit.enqueue(work))"}),
        ("if wanted:\n    raise Refused\nunit.append([])", set()),
        ("delivery.state = 'done'\nif a:\n    unit.append([])", {"not (a)"}),
        ("delivery.state = 'pending'", set()),
        ("found.append(1)\nif a:\n    unit.append([])", {"not (a)"}),
        ("return count(them)", set()),
    ],
)  # fmt: skip
def test_the_walk_finds_what_is_silent(body, silent):
    source = "def decides(unit):\n" + textwrap.indent(body, "    ")
    assert {each.when for each in silences({"some/module.py": source})} == silent


def test_handing_on_counts_only_to_a_function_that_decides():
    source = """
from .others import tells as asks

def decides(unit, found):
    if unit.a:
        return decided(unit)
    if unit.b:
        return looks(unit)
    if unit.c:
        return asks(unit)
    if unit.d:
        return found.decided(unit)
    unit.append([])

def decided(unit):
    unit.enqueue(1)

def looks(unit):
    return len(unit)
"""
    others = "def tells(unit):\n    skip(unit, 'echo')\n"
    found = silences({"ingest/one.py": source, "ingest/others.py": others})
    assert {each.when for each in found} == {"unit.b", "unit.d"}


def test_every_reason_has_its_sentence():
    assert REASONS.keys() == set(get_args(Reason))
    for code, meaning in REASONS.items():
        for words in filter(None, (meaning.means, meaning.remedy)):
            assert not words.endswith("."), code
            assert words[0] == words[0].lower(), code


def test_no_reason_of_the_table_is_dead_and_none_that_is_recorded_is_missing():
    recorded = set[str]()
    for path in CORE.rglob("*.py"):
        if path.name not in {"reasons.py", "importer.py"}:  # an import gives back rows, each with a sentence of its own
            recorded |= {*_recorded(source := path.read_text("utf-8")), *re.findall(r"\breason = '([a-z-]+)'", source)}
    assert recorded == REASONS.keys()


def test_a_reason_is_found_wherever_it_can_be_recorded():
    source = """
WHY: Reason = "guard"
class Park:
    reason: Literal["outcome-unknown"]
def f():
    skip(unit, cause, person, "", "stale" if late else "unchanged", "some detail")
    skip_nobody(unit, entry, "suppressed")
    delivery.state, delivery.reason = "parked", "loop"
    notes.append(("drift", "cut"))
    Note(reason="echo")
    return "not-evidenced"
"""
    assert set(_recorded(source)) == {
        "guard", "outcome-unknown", "stale", "unchanged", "suppressed", "loop", "drift", "echo", "not-evidenced",
    }  # fmt: skip


def test_what_a_plugin_says_of_its_own_has_no_meaning_here_and_is_no_mistake():
    assert reasons.meaning("not-at-vendor") is None
    assert reasons.meaning("echo") == REASONS["echo"]


def _recorded(source: str) -> Iterator[str]:
    """The codes that stand where a reason is recorded."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.keyword(arg="reason", value=value):
                yield from _codes(value)
            case ast.Call(func=ast.Name(id="skip"), args=[_, _, _, _, code, *_]):
                yield from _codes(code)
            case ast.Call(func=ast.Name(id="skip_nobody"), args=[_, _, code, *_]):
                yield from _codes(code)
            case ast.Call(func=ast.Attribute(attr="append"), args=[ast.Tuple(elts=[code, _])]) if (
                "notes" in ast.unparse(node.func)
            ):
                yield from _codes(code)
            case ast.AnnAssign(annotation=annotation, value=value) if "Reason" in ast.unparse(annotation):
                yield from _codes(value)
            case ast.AnnAssign(target=ast.Name(id="reason"), annotation=annotation):
                yield from _codes(annotation)
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                for name, value in zip(names, values, strict=True):
                    if isinstance(name, ast.Attribute) and name.attr == "reason":
                        yield from _codes(value)
            case ast.Assign(targets=[ast.Attribute(attr="reason")], value=value):
                yield from _codes(value)
            case ast.Return(value=ast.Constant(value=str(code))) if code in REASONS:
                yield code


def _codes(node: ast.AST | None) -> Iterator[str]:
    """The texts of an expression, without those that it only compares with."""
    if isinstance(node, ast.IfExp):
        yield from _codes(node.body)
        yield from _codes(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _codes(value)
    elif isinstance(node, ast.Subscript):
        yield from _codes(node.slice)
    elif isinstance(node, ast.Tuple):
        for value in node.elts:
            yield from _codes(value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
