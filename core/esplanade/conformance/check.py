"""What a check is: a coroutine function with an id, that raises CheckFailed where the plugin does not keep the rule."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from .catalogue import RULES

if TYPE_CHECKING:
    from .trial import Trial

Check: TypeAlias = Callable[["Trial"], Awaitable[None]]

_CHECKS: dict[str, list[Check]] = {}


class CheckFailed(AssertionError):
    """A plugin does not keep a rule; the words say which and how."""


def check(rule: str) -> Callable[[Check], Check]:
    """Register a check of a rule of the catalogue."""
    if rule not in RULES:
        raise ValueError(f"there is no rule {rule!r} in the catalogue")

    def register(function: Check) -> Check:
        _CHECKS.setdefault(rule, []).append(function)
        return function

    return register


def all_checks() -> Mapping[str, Sequence[Check]]:
    """The checks by the id of their rule; several of one id must all pass."""
    from . import checks  # noqa: F401 - importing them registers them

    return _CHECKS


def require(holds: object, otherwise: str) -> None:
    """Raise CheckFailed with these words unless something holds."""
    if not holds:
        raise CheckFailed(otherwise)


def same(found: Any, wanted: Any, what: str) -> None:
    """Raise CheckFailed unless two values are equal; ``what`` says what they are of."""
    if found != wanted:
        raise CheckFailed(f"{what}: expected {wanted!r}, found {found!r}")
