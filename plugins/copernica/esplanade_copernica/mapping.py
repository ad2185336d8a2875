"""Where a mapped field lives: in the profile itself, or in its one subprofile in the collection of profile values. Pure.

``City`` is a field of the profile, ``SQ_profile.City`` one of that subprofile (facts 6.5 and 7: an import names columns so, and
Activate keeps profile values there). A dot always parts the two, so a database field with a dot in its own name cannot be mapped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from esplanade import PermanentError

from .values import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esplanade import Value

    from .client import Row
    from .settings import CopernicaSettings

COLLECTION = "profile"
"""Which of the hub's collections holds profile values, without its prefix."""


class Places(Struct, frozen=True, kw_only=True):
    """Names of vendor fields, told apart by where they live."""

    profile: tuple[str, ...]
    collection: Mapping[str, str]
    """The name within the collection, by the dotted one."""
    why_not: str | None = None
    """What is wrong with the names that are neither; these are in neither of the two."""

    def checked(self) -> Places:
        """These places. Raises PermanentError where a name is in neither."""
        if self.why_not is not None:
            raise PermanentError(self.why_not)
        return self

    def shown(self, profile: Row) -> dict[str, Value]:
        """What a profile says of its own fields."""
        return shown(profile, self.profile)

    def shown_below(self, subprofile: Row) -> dict[str, Value]:
        """What the subprofile says of the fields that live there, by their dotted names."""
        found = shown(subprofile, self.collection.values())
        return {dotted: found[name] for dotted, name in self.collection.items() if name in found}


def places(names: Iterable[str], settings: CopernicaSettings) -> Places:
    """Where each of these vendor fields lives."""
    before = settings.collection(COLLECTION) + "."
    dotted = [name for name in dict.fromkeys(names) if "." in name]
    below = {name: name.removeprefix(before) for name in dotted if name.startswith(before)}
    below = {name: inner for name, inner in below.items() if inner and "." not in inner}
    wrong = [name for name in dotted if name not in below]
    return Places(
        profile=tuple(name for name in dict.fromkeys(names) if "." not in name),
        collection=below,
        why_not=_why_not(wrong, before) if wrong else None,
    )


def _why_not(wrong: list[str], before: str) -> str:
    return (
        f"fields: {', '.join(wrong)} cannot be mapped: before a dot there is only {before.removesuffix('.')}, the collection of "
        f"profile values. Write {before}{wrong[0].rpartition('.')[2] or 'City'} for a field there, or the name of a database "
        "field, which has no dot"
    )
