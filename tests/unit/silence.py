"""Finds the ways through the code on which nothing is done and nothing says why.

A function *decides* when somewhere it acts (queues, sends, takes over) or records a reason. Each way through such a function,
and each way through one round of a loop in which it decides, must do one of the two, or hand on to a function that decides.
A way is told by the condition that it took last. Of a way that acts no reason is asked: that what it should say beside is said
shows in the tests of what it does.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from esplanade.reasons import REASONS

Function: TypeAlias = tuple[str, str]
"""A module's name, and the function's in it."""

ACTS = re.compile(
    r"unit\.(append|append_ledger|add_person|add_email|enqueue|enqueue_state|hold_back|merge_person|set_pending)"
    r"|(\w+\.)*(changes|back)\.\w+\.(add|update)|(\w+\.)*asks\.add"
)
RECORDS = re.compile(r"skip|skip_nobody|unit\.(note|park)|(\w+\.)*(notes|echoes)\.append")
ANSWERS = re.compile(r"Send|Work|Decision|Done|RetryAt|Wait|Skip|Park|Pause|Reject")
"""What says what to do, or why not, once it is returned."""
NO_ROUND = "no round"


class Silence(Struct, frozen=True, order=True):
    """A way through a function that ends without an act and without a reason."""

    module: str
    function: str
    when: str


class _Way(Struct, frozen=True):
    """How far one way has come: whether it acted or said why, and the condition that it took last."""

    settled: bool
    when: str = "always"


def silences(sources: Mapping[str, str]) -> set[Silence]:
    """Every silent way through the functions of these modules. ``sources`` holds the text of each by its path."""
    modules = {Path(path).stem: ast.parse(source) for path, source in sources.items()}
    paths = {Path(path).stem: path for path in sources}
    functions = defaultdict[Function, list[list[ast.stmt]]](list)  # a method may have a function's name
    for module, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions[module, node.name].append(node.body)
    names = {module: _names(module, tree, functions) for module, tree in modules.items()}
    deciders: set[Function] = set()
    while True:
        found = {
            each
            for each, bodies in functions.items()
            if any(_Walk(each[0], names[each[0]], deciders).mentions(body) for body in bodies)
        }
        if found == deciders:
            break
        deciders = found
    return {
        Silence(paths[module], name, when)
        for module, name in deciders
        for body in functions[module, name]
        for when in _Walk(module, names[module], deciders).through(body)
    }


def _names(module: str, tree: ast.Module, functions: Mapping[Function, object]) -> dict[str, Function]:
    """What the bare names and the names of modules in a module stand for."""
    names = {name: (where, name) for where, name in functions if where == module}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            source = (node.module or "").rpartition(".")[2]
            for alias in node.names:
                names[alias.asname or alias.name] = (source, alias.name)
    return names


class _Walk:
    """One function, walked."""

    def __init__(self, module: str, names: Mapping[str, Function], deciders: set[Function]) -> None:
        self._module = module
        self._names = names
        self._deciders = deciders
        self._silent: set[str] = set()
        self._rounds: list[set[_Way]] = []
        """For each loop around here: the ways that went on to its next round."""

    def through(self, body: Sequence[ast.stmt]) -> set[str]:
        """On which conditions a body is left in silence."""
        self._end(self._block(body, {_Way(settled=False)}))
        return self._silent

    def mentions(self, nodes: Iterable[ast.AST]) -> bool:
        """Whether anything in here acts, records, or hands on; functions within it are others."""
        return any(
            not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and (self._counts(node) or _answers(node) or self.mentions(ast.iter_child_nodes(node)))
            for node in nodes
        )

    def _end(self, ways: Iterable[_Way]) -> None:
        self._silent |= {way.when for way in ways if not way.settled and way.when != NO_ROUND}

    def _block(self, body: Sequence[ast.stmt], ways: set[_Way]) -> set[_Way]:
        for statement in body:
            ways = self._statement(statement, ways)
        return ways

    def _statement(self, statement: ast.stmt, ways: set[_Way]) -> set[_Way]:
        match statement:
            case ast.Return(value=value):
                self._end(ways if not self._says_why(value) else ())
                return set()
            case ast.Raise():
                return set()  # told to whoever called, and in the end the fold or the lane records it
            case ast.Continue() | ast.Break():
                self._rounds[-1] |= ways
                return set()
            case ast.If(test=test, body=body, orelse=orelse):
                then, otherwise = self._branches(test, ways)
                return self._block(body, then) | self._block(orelse, otherwise)
            case ast.Match(cases=cases):  # mypy says where a case is missing
                return {
                    way
                    for case in cases
                    for way in self._block(case.body, _on(ways, f"case {ast.unparse(case.pattern)}"))
                }
            case ast.For(body=body) | ast.AsyncFor(body=body) | ast.While(body=body):
                return self._loop(body, ways)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
                tried = self._block([*body, *orelse], ways)
                for handler in handlers:
                    kind = ast.unparse(handler.type) if handler.type else "anything"
                    tried |= self._block(handler.body, _on(ways, f"except {kind}"))
                return self._block(finalbody, tried)
            case ast.With(body=body) | ast.AsyncWith(body=body):
                return self._block(body, ways)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return ways
            case _:
                return _settled(ways) if self._says(statement) else ways

    def _loop(self, body: Sequence[ast.stmt], ways: set[_Way]) -> set[_Way]:
        """Each round decides about one thing, unless all that it decides is whether to leave the function."""
        self._rounds.append(set())
        ended = self._block(body, _on(ways, "each", settled=False)) | self._rounds.pop()
        if not any(way.settled or way.when == NO_ROUND for way in ended):
            return ways
        self._end(ended)
        return _on(ways, NO_ROUND)

    def _branches(self, test: ast.expr, ways: set[_Way]) -> tuple[set[_Way], set[_Way]]:
        """The ways on which a condition holds, and on which it does not. What it calls answers yes when it did something."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            then, otherwise = self._branches(test.operand, ways)
            return _on(otherwise, ast.unparse(test)), _on(then, ast.unparse(test.operand))
        text = ast.unparse(test)
        then, otherwise = _on(ways, text), _on(ways, f"not ({text})")
        return (_settled(then) if self.mentions([test]) else then), otherwise

    def _says(self, node: ast.AST, *, returned: bool = False) -> bool:
        """Whether evaluating this acts or records, whichever way its conditions go."""
        match node:
            case ast.Lambda():
                return False
            case ast.IfExp(test=test, body=body, orelse=orelse):
                both = self._says(body, returned=returned) and self._says(orelse, returned=returned)
                return self._says(test) or both
            case ast.BoolOp(values=[first, *_]):
                return self._says(first)
            case ast.Call(func=func) if returned and ANSWERS.fullmatch(ast.unparse(func)):
                return True
        return self._counts(node) or any(self._says(each) for each in ast.iter_child_nodes(node))

    def _says_why(self, value: ast.expr | None) -> bool:
        if isinstance(value, ast.Constant):
            return value.value in REASONS
        return value is not None and self._says(value, returned=True)

    def _counts(self, node: ast.AST) -> bool:
        match node:
            case ast.Assign(targets=targets, value=value):
                written = {attribute for target in targets for attribute in _attributes(target)}
                return "reason" in written or ("state" in written and _waits(value))
            case ast.Call(func=func):
                called = ast.unparse(func)
                return bool(ACTS.fullmatch(called) or RECORDS.fullmatch(called)) or self._hands_on(func)
        return False

    def _hands_on(self, func: ast.expr) -> bool:
        match func:
            case ast.Name(id=name):
                return self._names.get(name) in self._deciders
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                return (self._module, name) in self._deciders
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr=part), attr=name):
                return (part.strip("_"), name) in {(_part(module), each) for module, each in self._deciders}
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                return (self._names.get(owner, ("", ""))[1], name) in self._deciders
        return False


def _answers(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and bool(ANSWERS.fullmatch(ast.unparse(node.func)))


def _part(module: str) -> str:
    """How an object calls the part of it that a module makes."""
    return {"settle": "settlement"}.get(module, module)


def _waits(value: ast.expr) -> bool:
    """Whether a state that is written says that the work is still to be done."""
    return any(isinstance(node, ast.Constant) and node.value in {"pending", "in_flight"} for node in ast.walk(value))


def _attributes(target: ast.expr) -> set[str]:
    return {node.attr for node in ast.walk(target) if isinstance(node, ast.Attribute)}


def _on(ways: set[_Way], when: str, *, settled: bool | None = None) -> set[_Way]:
    return {_Way(settled=way.settled if settled is None else settled, when=when) for way in ways}


def _settled(ways: set[_Way]) -> set[_Way]:
    return {_Way(settled=True, when=way.when) for way in ways}
