"""FD: the vendor's fields, what they hold, and what becomes of one that somebody deletes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esplanade.conformance.check import check, require, same
from esplanade.conformance.logs import captured
from esplanade.conformance.rig import NAME
from esplanade.conformance.trial import Trial
from esplanade.conformance.values import ORDINARY, VALUES
from esplanade.model import FieldInfo, Value, ValueType
from esplanade.sync.alike import alike

if TYPE_CHECKING:
    from esplanade.conformance.rig import Rig

EMAIL, OTHER = "noor@example.net", "pim@example.net"
HOUR_S = 3_600.0
MANY = 230
"""More fields than any page has."""
SAYS: dict[ValueType, set[str]] = {
    "text": {"text"},
    "number": {"number", "integer"},
    "boolean": {"boolean"},
    "date": {"date", "datetime"},  # some vendors' dates have their time of day
    "datetime": {"datetime"},
    "multi-select": {"multi-select"},
}
"""What discovery may call the type of a field."""


# FD1: what there is.


@check("FD1")
async def every_mapped_field_is_found(trial: Trial) -> None:
    """Those of the sample are listed, each once; what can only be read is marked; asked again, the answer is the same."""
    async with trial.hub() as rig:
        first, second = await listed(rig), await listed(rig)
        same(list(first), list(second), "the order of the fields when they are asked for once more")
        require(first == second, "the fields differ when they are asked for once more")
        for hub, vendor in trial.fields.items():
            require(vendor in first, f"discover() does not list {vendor}, although the sample maps {hub} to it")
            is_read_only = vendor in rig.hub.connections[NAME].traits.read_only
            same(first[vendor].read_only, is_read_only, f"whether discover() says of {vendor} that it can only be read")


@check("FD1")
async def all_pages_of_fields_are_read_with_their_types(trial: Trial) -> None:
    """A field of each type that the sample has, with its choices, and many more: all are listed."""
    async with trial.hub() as rig:
        if rig.lacks("FD1", "add_field"):
            return
        types: dict[str, ValueType] = {
            f"kind_{each}".replace("-", "_"): each for each in {"text", *trial.quality.types.values()}
        }
        for name, kind in types.items():
            rig.side.add_field(name, kind, ["red", "blue"] if kind == "multi-select" else [])
        for number in range(MANY):
            rig.side.add_field(f"another_{number:03}", "text", [])
        found = await listed(rig)
        missing = [name for name in (*types, *(f"another_{number:03}" for number in range(MANY))) if name not in found]
        require(not missing, f"discover() misses {len(missing)} of {MANY + len(types)} fields, such as {missing[:1]}")
        for name, kind in types.items():
            require(
                found[name].type in SAYS[kind],
                f"discover() says that a field of type {kind} is of type {found[name].type}",
            )
            if kind == "multi-select":
                same(
                    sorted(found[name].options), ["blue", "red"], "the choices of a multi-select that discover() lists"
                )


# FD2: what is there no more.


@check("FD2")
async def a_field_that_is_gone_is_reported_and_parked_alone(trial: Trial) -> None:
    """The others are sent all the same, somebody is told of it once, and when the field is back its value is written."""
    with captured() as logs:
        async with trial.hub() as rig:
            if rig.lacks("FD2", "add_field"):
                return
            gone, other = two_fields(rig)
            theirs = trial.fields[gone]
            await rig.welcome(EMAIL, fields={gone: "Delft", other: "Noor"})
            await rig.welcome(OTHER, fields={gone: "Breda"})
            await rig.later(HOUR_S)
            rig.side.drop_field(theirs)
            await rig.profile(EMAIL, fields={gone: "Gouda", other: "Eleonora"})
            await rig.later(HOUR_S)
            same(rig.held(EMAIL).fields.get(trial.fields[other]), "Eleonora", "a field beside one that was deleted")
            for _ in range(2):
                await rig.later(HOUR_S)
            told = [each for each in logs.lines("alert") if theirs in each["message"]]
            same(len(told), 1, f"alerts that name the field {theirs}, which was deleted at the vendor")
            found = await rig.hub.check(NAME)
            require(
                found.status != "ok" and theirs in found.detail,
                f"the connector's check does not say that {theirs} was deleted at the vendor: {found}",
            )
            rig.requests()
            await rig.profile(EMAIL, fields={gone: "Zwolle"})
            same([f"{each.method} {each.path}" for each in rig.writes()], [], "writes of a field that was deleted")
            rig.side.add_field(theirs, "text", [])
            await rig.later(HOUR_S)
            same(rig.held(EMAIL).fields.get(theirs), "Zwolle", f"{theirs}, once it is there again")
            same(rig.held(OTHER).fields.get(theirs), "Breda", f"{theirs} of somebody else, once it is there again")
            same((await rig.hub.check(NAME)).status, "ok", "the connector's check, once the field is there again")


@check("FD2")
async def a_field_of_another_type_is_reported_and_parked_alone(trial: Trial) -> None:
    """A text field that takes only numbers from now on keeps no other field from being written."""
    with captured() as logs:
        async with trial.hub() as rig:
            if rig.lacks("FD2", "retype_field"):
                return
            changed, other = two_fields(rig)
            theirs = trial.fields[changed]
            await rig.welcome(EMAIL, fields={changed: "Delft", other: "Noor"})
            await rig.later(HOUR_S)
            rig.side.retype_field(theirs)
            await rig.profile(EMAIL, fields={changed: "Gouda", other: "Eleonora"})
            await rig.later(HOUR_S)
            same(
                rig.held(EMAIL).fields.get(trial.fields[other]), "Eleonora", "a field beside one whose type was changed"
            )
            told = [each for each in logs.lines("alert") if theirs in each["message"]]
            same(len(told), 1, f"alerts that name the field {theirs}, whose type was changed at the vendor")
            found = await rig.hub.check(NAME)
            require(
                theirs in found.detail, f"the connector's check does not say that {theirs} has another type: {found}"
            )


# FD3: there and back.


@check("FD3")
async def values_of_every_type_come_back_as_they_were(trial: Trial) -> None:
    """Written, and then read by a pull: no change, nothing more to write, and the hub holds what was said."""
    async with trial.hub() as rig:
        tried = set[ValueType]()
        for field in rig.ordinary():
            kind = trial.quality.types.get(field, "text")
            values = ORDINARY[kind] if kind in tried else (*ORDINARY[kind], *VALUES[kind])
            tried.add(kind)
            for number, value in enumerate(values):
                email = f"{field}.{number}@example.net".replace("_", "-")
                what = f"the field {field} ({kind}) with the value {excerpt(value)}"
                await rig.welcome(email, fields={field: value})
                await comes_back(rig, email, field, value, what)
        await comes_to_rest(rig)


@check("FD3")
async def a_value_that_goes_leaves_nothing(trial: Trial) -> None:
    """Null clears a field of any type, an empty text is nothing, and what was never said is not written."""
    async with trial.hub() as rig:
        for field, value in rig.ordinary().items():
            theirs = trial.fields[field]
            email = f"{field}@example.net".replace("_", "-")
            await rig.welcome(email, fields={field: value})
            require(theirs in rig.held(email).fields, f"{theirs} is empty after it was written")
            await rig.profile(email, fields={field: None})
            cleared = rig.held(email).fields.get(theirs)
            if cleared == "0" and "empty number" in trial.declared("FD3"):
                await rig.advance(1.0)
                await rig.hear()
                same(await value_of(rig, email, field), None, f"the field {field} in the hub, once it was cleared")
                continue
            same(cleared, None, f"{theirs} after it was cleared")
            await comes_back(rig, email, field, None, f"the field {field}, cleared")
        await rig.welcome(EMAIL, fields={trial.text: ""})
        same(
            rig.held(EMAIL).fields.get(trial.fields[trial.text]),
            None,
            f"{trial.fields[trial.text]} after an empty text",
        )
        await comes_to_rest(rig)


@check("FD3")
async def a_text_that_is_too_long_is_drift_and_no_change(trial: Trial) -> None:
    """Of 60,000 characters the vendor holds what it can; the rest does not vanish in the hub, and it is not written for ever."""
    long = "Zwaanshals ☕ " * 4_600
    async with trial.hub() as rig:
        await rig.welcome(EMAIL, fields={trial.text: long})
        await rig.later(HOUR_S)
        await rig.hear()
        same(
            await value_of(rig, EMAIL, trial.text), long, "what the hub holds of a text that is too long for the vendor"
        )
        held = rig.held(EMAIL).fields.get(trial.fields[trial.text], "")
        if held.strip() != long.strip():
            told = {*await rig.reasons(EMAIL), *await notes_of(rig, EMAIL)}
            require(
                told & {"drift", "rejected"},
                f"the vendor holds {len(held)} of {len(long)} characters, and nobody can see that",
            )
        await comes_to_rest(rig)


# What these share.


async def listed(rig: Rig) -> dict[str, FieldInfo]:
    """The fields that discovery lists, by name, in its order; a name that is there twice is a failure."""
    fields = (await rig.hub.discover(NAME)).fields
    names = [each.name for each in fields]
    same(
        len(names), len(set(names)), f"how many of the fields that discover() lists have a name of their own ({names})"
    )
    return {each.name: each for each in fields}


def two_fields(rig: Rig) -> tuple[str, str]:
    """Two hub fields of text that can be written."""
    found = [each for each in rig.trial.texts if each in rig.ordinary()]
    require(len(found) > 1, "the sample has one field of text that can be written; FD2 needs two")
    return found[0], found[1]


async def comes_back(rig: Rig, email: str, field: str, value: Value, what: str) -> None:
    """Read the vendor, and fail where that changes anything."""
    await rig.advance(1.0)
    rig.requests()
    if "pull" in rig.trial.methods:
        result = await rig.pull()
        if await said_to_be_cut(rig, email):
            result = await rig.pull()
        same(result.changed, 0, f"{what}: changes that a pull finds")
    same([f"{each.method} {each.path}" for each in rig.writes()], [], f"{what}: writes after it was read back")
    found = await value_of(rig, email, field)
    require(
        found == value or (value is None and found in {None, ""}),
        f"{what}: the hub holds {excerpt(found)} after reading it back",
    )
    theirs = rig.held(email).fields.get(rig.trial.fields[field])
    is_text = rig.trial.quality.types.get(field, "text") == "text"
    alters = rig.hub.connections[NAME].traits.alters
    require(
        alike(theirs, value, alters) or (is_text and await said_to_be_cut(rig, email)),
        f"{what}: the vendor holds {excerpt(theirs)}",
    )


async def said_to_be_cut(rig: Rig, email: str) -> bool:
    """Whether it is on record that the vendor holds something else than it was sent."""
    return "drift" in await notes_of(rig, email)


async def notes_of(rig: Rig, email: str) -> list[str | None]:
    """The reasons of whatever was reported of a person."""
    person = await rig.person(email)
    assert person is not None  # something was said of them
    notes = await rig.hub.store.read(lambda reader: reader.timeline(person.id))
    return [note.reason for note in notes if note.what == "reported"]


async def value_of(rig: Rig, email: str, field: str) -> Value:
    """A field's value in the hub."""
    person = await rig.person(email)
    clocked = person.fields.get(field) if person is not None else None
    return None if clocked is None else clocked.value


async def comes_to_rest(rig: Rig) -> None:
    """Fail where an hour later there is still something to write."""
    await rig.later(HOUR_S)
    rig.requests()
    await rig.hear()
    same([f"{each.method} {each.path}" for each in rig.writes()], [], "writes once everything is written and read back")


def excerpt(value: Value) -> str:
    """A value that may be long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}… ({len(text)} characters)"
