"""CF: the settings: what the plugin says of them, and what the reader makes of them."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from esplanade.config import load_schema
from esplanade.config.kinds import keys_of
from esplanade.config.problems import dotted
from esplanade.conformance.check import check, require, same
from esplanade.conformance.rig import NAME
from esplanade.conformance.trial import Trial
from esplanade.conformance.written import sections, written
from esplanade.registry import types_of

GENERATED = 100


# What the schema says.


@check("CF1")
async def every_key_explains_itself(trial: Trial) -> None:
    """Label, help and example of every setting and of every key of a target, as editors and forms get them."""
    lacking = await asyncio.to_thread(lambda: list(_lacking(trial)))
    require(
        not lacking, f"{'; '.join(lacking)}. A docstring under the field is its help, Meta(examples=[…]) an example"
    )


@check("CF1")
async def defaults_are_valid(trial: Trial) -> None:
    """Every default, written out, is taken by the reader and means what it means unsaid."""
    types = types_of(trial.plugin)
    spelt: dict[str, Any] = {}
    for section, struct in sections(types).items():
        keys = await asyncio.to_thread(keys_of, struct)
        defaults = {key.name: written(key.default) for key in keys if not key.required}
        said = trial.sample().get(section, {})
        if section == "settings":
            spelt[section] = {**defaults, **said}
        else:
            spelt[section] = {name: {**defaults, **target} for name, target in said.items()}
    problems = await trial.problems(connector=spelt)
    require(not problems, f"defaults that are written out are refused: {'; '.join(problems)}")
    plain, whole = await trial.config(), await trial.config(connector=spelt)
    for section in sections(types):
        same(getattr(whole, section), getattr(plain, section), f"{section} with every default written out")


# What the reader refuses, and what it takes.


@check("CF3")
async def the_sample_is_valid(trial: Trial) -> None:
    """The sample of quality.yaml, as a file."""
    problems = await trial.problems()
    require(not problems, f"the sample is refused: {'; '.join(problems)}")


@check("CF3")
async def what_is_missing_is_named(trial: Trial) -> None:
    """Each required key, of the settings and of each kind of target, left out."""
    for section, name, key in await asyncio.to_thread(_required, trial):
        sample = trial.sample()
        holder = sample.get(section, {}) if name is None else sample[section][name]
        where = (section, key) if name is None else (section, name, key)
        require(key in holder, f"the sample has no {dotted(where)}, which is required")
        del holder[key]
        problems = await trial.problems(connector={section: sample[section]})
        require(
            _named(problems, where),
            f"without {dotted(where)} no error names it and its place: {'; '.join(problems) or 'there is none'}",
        )


@check("CF3")
async def what_is_unknown_is_named(trial: Trial) -> None:
    """Every key misspelt, beside the right ones: each is reported with the right one."""
    sample, wrong = trial.sample(), list[tuple[tuple[str, ...], str]]()
    for section, struct in sections(types_of(trial.plugin)).items():
        names = [key.name for key in await asyncio.to_thread(keys_of, struct)]
        misspelt = {f"{name}x": name for name in names if f"{name}x" not in names}
        holder, way = sample.setdefault(section, {}), [section]
        if section != "settings":  # the first target stands for all
            target = next(iter(holder), None)
            if target is None:
                continue
            holder, way = holder[target], [section, target]
        holder.update(dict.fromkeys(misspelt, 1))
        wrong += [((*way, each), name) for each, name in misspelt.items()]
    problems = await trial.problems(connector=sample)
    for where, name in wrong:
        near = [each for each in problems if _names(each, where) and f"did you mean {name}?" in each]
        require(near, f"the unknown key {dotted(where)} is not reported with {name}, which is the nearest")


@check("CF4")
async def older_samples_still_load(trial: Trial) -> None:
    """The samples of all versions."""
    for at, sample in enumerate(trial.quality.older):
        problems = await trial.problems(connector={**dict.fromkeys(trial.quality.sample), **sample})
        require(not problems, f"the older sample {at + 1} is refused: {'; '.join(problems)}")


@check("CF4")
async def nothing_new_is_required(trial: Trial) -> None:
    """What is required now was so in the first version."""
    first = set(trial.quality.required)
    now = [
        key if section == "settings" else f"{section}.{key}"
        for section, _, key in await asyncio.to_thread(_required, trial)
    ]
    new = sorted(set(now) - first)
    require(
        not new,
        f"{', '.join(new)}: required, but not by the first version (`required` of quality.yaml); give it a default",
    )


@check("CF4")
async def generated_configurations_load(trial: Trial) -> None:
    """A hundred configurations: what is optional as in the sample, as its default or not at all; literally or by reference."""
    chance, environ, beside = random.Random(4), dict[str, str](), dict[str, dict[str, Any]]()
    required = {key for section, name, key in await asyncio.to_thread(_required, trial) if section == "settings"}
    keys = await asyncio.to_thread(keys_of, trial.plugin.Settings)
    for at in range(GENERATED):
        settings: dict[str, Any] = {}
        sample = trial.sample().get("settings", {})
        for key in keys:
            choices = [sample[key.name]] if key.name in sample else []
            choices += [written(key.default)] if not key.required else []
            if key.name in required:
                settings[key.name] = _referred(sample[key.name], f"V{at}_{key.name}", chance, environ)
            elif choices and chance.random() < 0.7:
                settings[key.name] = _referred(chance.choice(choices), f"V{at}_{key.name}", chance, environ)
        beside[f"generated-{at}"] = {"plugin": trial.name, "twin": True, "settings": settings}
    problems = await trial.problems(beside=beside, environ=environ)
    require(
        not problems, f"{len(problems)} problems in {GENERATED} valid configurations, such as {'; '.join(problems[:3])}"
    )


@check("CF6")
async def one_account_twice_is_noticed(trial: Trial) -> None:
    """The sample's account once more, under another name."""
    settings = trial.sample().get("settings", {})
    again = {"plugin": trial.name, "twin": True, "settings": settings}
    loaded = await trial.load(beside={"again": again})
    said = [each for each in loaded.config.warnings if "connectors.again: " in each and NAME in each]
    require(said, "nobody is told that two connectors have the same account, so people would be written twice")


# Inside.


def _lacking(trial: Trial) -> Iterator[str]:
    types = types_of(trial.plugin)
    schema = load_schema({NAME: types})
    msgspec.json.encode(schema)  # a default that JSON cannot hold has no place in it
    parts = schema["$defs"][f"plugin.{NAME}"]["properties"]
    samples = [trial.quality.sample, *trial.quality.older]
    for section in sections(types):
        said = [each.get(section, {}) for each in samples]
        said = said if section == "settings" else [target for each in said for target in each.values()]
        for where, property_, values in _properties(schema, parts[section], section, said):
            missing = [word for word in ("title", "description") if not property_.get(word)]
            missing += [] if values or _shows(property_) else ["example"]
            if missing:
                yield f"{where} has no {' and no '.join(missing)}"


def _properties(
    schema: dict[str, Any], node: dict[str, Any], where: str, samples: list[Any]
) -> Iterator[tuple[str, dict[str, Any], list[Any]]]:
    """Every property beneath a node, with what the samples say for it."""
    for reference in _references(node):
        definition = schema["$defs"][reference.removeprefix("#/$defs/")]
        for name, property_ in definition.get("properties", {}).items():
            values = [each[name] for each in samples if isinstance(each, dict) and name in each]
            inner = [*values, *(one for each in values for one in _held(each))]
            yield f"{where}.{name}", property_, values
            yield from _properties(schema, property_, f"{where}.{name}", inner)


def _references(node: Any) -> list[str]:
    if not isinstance(node, dict):
        return []
    own = [node["$ref"]] if "$ref" in node else []
    inner = [*node.get("anyOf", []), node.get("items"), node.get("additionalProperties")]
    return own + [each for one in inner for each in _references(one)]


def _held(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _shows(property_: dict[str, Any]) -> bool:
    """Whether somebody who sees a property knows what to write: by its default, its examples, or because it takes few values."""
    if property_.get("default") not in (None, "", [], {}) or property_.get("examples") or "enum" in property_:
        return True
    if property_.get("type") == "boolean" or "$ref" in property_:
        return True  # the keys of what is referred to show themselves
    return any(_shows(each) for each in property_.get("anyOf", []))


def _required(trial: Trial) -> list[tuple[str, str | None, str]]:
    """Section, target and key of everything that is required, by its type or by ``required`` of quality.yaml."""
    sample, found = trial.sample(), list[tuple[str, str | None, str]]()
    for section, struct in sections(types_of(trial.plugin)).items():
        own = [each.partition(".") for each in trial.quality.required]
        stated = [key for where, _, key in own if where == section] + [
            name for name, dot, _ in own if not dot and section == "settings"
        ]
        keys = dict.fromkeys([key.name for key in keys_of(struct) if key.required] + stated)
        holders = [None] if section == "settings" else list(sample.get(section, {}))
        found += [(section, holder, key) for holder in holders for key in keys]
    return found


def _names(line: str, where: tuple[str, ...]) -> bool:
    return re.search(rf":\d+:\d+: {re.escape(dotted(('connectors', NAME, *where)))}: ", line) is not None


def _named(problems: list[str], where: tuple[str, ...]) -> bool:
    return any(_names(each, where) for each in problems)


def _referred(value: Any, name: str, chance: random.Random, environ: dict[str, str]) -> Any:
    """A value as it is, or where it is one word, as a reference to a variable."""
    if value is None or isinstance(value, dict | list) or chance.random() < 0.5:
        return value
    text = str(value).lower() if isinstance(value, bool) else str(value).replace("$$", "$")
    if chance.random() < 0.5 and text and not set(text) & set("{}$"):
        return f"${{{name}:-{text}}}"
    environ[name] = text
    return f"${{{name}}}" if text else f"${{{name}:-}}"
