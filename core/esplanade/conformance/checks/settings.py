"""CF: the settings: what the plugin says of them, what the reader makes of them, and that secrets stay secret."""

from __future__ import annotations

import asyncio
import base64
import random
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from esplanade.config import load_schema
from esplanade.config.kinds import keys_of
from esplanade.config.model import ConnectorConfig
from esplanade.config.problems import dotted
from esplanade.conformance.check import CheckFailed, check, require, same
from esplanade.conformance.logs import captured
from esplanade.conformance.rig import NAME, Rig
from esplanade.conformance.trial import Trial
from esplanade.conformance.written import all_keys, escaped, holds_secrets, holds_text, sections, with_secrets, written
from esplanade.errors import EsplanadeError
from esplanade.records import DeliveryFilter
from esplanade.registry import types_of
from esplanade.testing import Fault

SECRET = re.compile(
    r"(^|_)(secret|password|passwd|passphrase|pwd|token|credential|api_?key|key)s?$"
)  # the last word: a token_url is no token
GENERATED = 100
SOME_TIME_S = 60.0
"""Longer than the breaker stays open."""


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
        each = {name: {**defaults, **target} for name, target in said.items()} if section != "settings" else None
        spelt[section] = {**defaults, **said} if each is None else each
    problems = await trial.problems(connector=spelt)
    require(not problems, f"defaults that are written out are refused: {'; '.join(problems)}")
    plain, whole = await _connector(trial), await _connector(trial, connector=spelt)
    for section in sections(types):
        same(getattr(whole, section), getattr(plain, section), f"{section} with every default written out")


# Secrets.


@check("CF2")
async def what_sounds_secret_is_secret(trial: Trial) -> None:
    """A setting whose name ends in a word for something secret is of the type Secret."""
    declared = trial.declared("CF2")
    found = await asyncio.to_thread(lambda: list(_keys(trial)))
    suspects = {
        where: None
        for where, key in found
        if SECRET.search(key.name) and holds_text(key.kind) and not holds_secrets(key.kind)
    }
    wrong = [where for where in suspects if where not in declared]
    require(
        not wrong, f"{', '.join(wrong)}: sounds secret, so make its type esplanade.Secret, or declare why it is none"
    )
    stale = [where for where in declared if where not in suspects]
    require(not stale, f"quality.yaml declares {', '.join(stale)} to be no secret, which nobody would have thought")


@check("CF2")
async def a_secret_may_be_a_reference(trial: Trial) -> None:
    """Each secret of the sample from the environment, and from a file."""
    plain = await _connector(trial)
    texts: dict[str, str] = {}

    def kept(name: str, text: str) -> str:
        texts[f"SECRET_{len(texts)}"] = text
        return text

    struct = trial.plugin.Settings
    settings = trial.sample().get("settings", {})
    await asyncio.to_thread(with_secrets, settings, struct, kept)
    secret = [
        where
        for where, key in await asyncio.to_thread(lambda: list(all_keys(struct, "settings")))
        if holds_secrets(key.kind)
    ]
    require(texts or not secret, f"the sample gives no secret, so give it one of {', '.join(secret)}")
    for form in ("${%s}", "${file:%s}"):
        names = iter(texts)
        said = await asyncio.to_thread(with_secrets, settings, struct, lambda _, __: form % next(names))  # noqa: B023
        found = await _connector(trial, connector={"settings": said}, environ=texts, files=texts)
        same(found.settings, plain.settings, f"settings with secrets as {form % 'NAME'}")


@check("CF5")
async def secrets_never_show(trial: Trial) -> None:
    """Refusals that quote the request, cuts and hangs, and then no secret in logs, errors, views and the store."""
    settings, canaries = await _with_canaries(trial)
    with captured() as logs:
        async with trial.hub(connector={"settings": settings}) as rig:
            spoken = [await _trouble(rig, fault, number) for number, fault in enumerate(_faults(rig))]
            needles = canaries | _credentials(rig)
            told = {
                "an error": "\n".join(spoken),
                "the repr of the settings": f"{rig.config!r} {rig.hub.connections[NAME].plugin.settings!r}",
                "hub.failures": repr(rig.hub.failures),
            }
            views = await _views(rig)
    store = await asyncio.to_thread(_store, trial)
    _require_none(needles, {"the log": logs.text, "the store": store, **told, **views})


@check("CF5")
async def secrets_of_webhooks_never_show(trial: Trial) -> None:
    """The vendor's calls, good and spoilt, with whatever secret they carry: nothing of it in logs and views."""
    if "on_inbound_webhook" not in trial.hooks:
        return  # nothing comes in
    settings, canaries = await _with_canaries(trial)
    with captured() as logs:
        async with trial.hub(connector={"settings": settings}) as rig:
            for call in rig.side.calls().values():
                for each in (call, msgspec.structs.replace(call, body=b"{spoilt")):
                    await rig.post(each)
            await rig.at_rest()
            views = await _views(rig)
    _require_none(canaries, {"the log": logs.text, **views})


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
        holders = (
            {(): sample[section]}
            if section == "settings"
            else {(name,): each for name, each in sample.get(section, {}).items()}
        )
        for way, holder in list(holders.items())[:1]:
            misspelt = {f"{name}x": name for name in names if f"{name}x" not in names}
            holder.update(dict.fromkeys(misspelt, 1))
            wrong += [((section, *way, each), name) for each, name in misspelt.items()]
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
    """The sample's account once more, under another name and with another secret."""
    settings = trial.sample().get("settings", {})
    again = {"plugin": trial.name, "twin": True, "settings": settings}
    loaded = await trial.load(beside={"again": again})
    said = [each for each in loaded.config.warnings if "connectors.again: " in each and NAME in each]
    require(said, "nobody is told that two connectors have the same account, so people would be written twice")


# Inside.


async def _connector(trial: Trial, **given: Any) -> ConnectorConfig:
    return (await trial.load(**given)).config.connectors[NAME]


def _keys(trial: Trial) -> Iterator[tuple[str, Any]]:
    for section, struct in sections(types_of(trial.plugin)).items():
        yield from all_keys(struct, section)


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


async def _with_canaries(trial: Trial) -> tuple[dict[str, Any], dict[str, str]]:
    """The sample's settings with secrets that are found wherever they show, and those by the names of the settings."""
    sample = trial.sample().get("settings", {})

    def sown(kept: set[str]) -> tuple[dict[str, Any], dict[str, str]]:
        canaries: dict[str, str] = {}

        def put(name: str, text: str) -> str:
            canaries[name] = text if name in kept else _canary(text, len(canaries))
            return escaped(canaries[name])

        return with_secrets(sample, trial.plugin.Settings, put), canaries

    settings, canaries = await asyncio.to_thread(sown, set())
    refused = await trial.problems(connector={"settings": settings})
    kept = {name for name in canaries if any(f"settings.{name}" in each for each in refused)}
    if kept:  # these must look otherwise, so they stay as they are
        settings, canaries = await asyncio.to_thread(sown, kept)
    return settings, {name: text.rpartition("/")[2] if "://" in text else text for name, text in canaries.items()}


def _canary(text: str, number: int) -> str:
    """A secret of the same shape that no general rule takes for one."""
    word = f"kanarie-{'abcdefghijklmnopqrstuvwxyz'[number % 26]}-vogel"
    if "://" in text:
        return f"{text.rpartition('/')[0]}/{word}"
    if text.startswith("whsec_"):
        return f"whsec_{base64.b64encode(word.ljust(24, '-').encode()).decode()}"
    return word


def _faults(rig: Rig) -> list[Fault]:
    """Everything that may go wrong, first where a token is fetched too and then on calls alone."""
    found = [
        Fault(match=match, status=status, echo=True, times=None)
        for match in dict.fromkeys(["", rig.own_calls])
        for status in (400, 401, 403, 422, 500)
    ]
    return [*found, Fault(action="cut-before", times=None), Fault(action="hang", times=None)]


async def _trouble(rig: Rig, fault: Fault, number: int) -> str:
    """Say everything while the vendor errs, ask for what operators ask for, and mend it. Returns the words of the errors."""
    trial, email = rig.trial, f"person-{number}@example.net"
    for purpose in trial.purposes:
        await rig.consent(email, "granted", purpose)
    rig.twin.faults[:] = [fault]
    audiences = dict.fromkeys(trial.audiences, True)
    await rig.say("profile", {"email": email, "fields": {trial.text: "Delft"}, "audiences": audiences})
    for trigger in trial.triggers:
        await rig.say("trigger", {"email": email, "trigger": trigger, "trigger_id": f"t-{number}"})
    words = []
    if fault.action == "hang":
        await rig.twin.reached(1)
        await rig.clock.advance(float(rig.config.timeout) + 2)
    else:
        await rig.at_rest()
        words = [await _asked(rig, what) for what in ("check", "discover", "pull") if what in trial.methods]
    rig.twin.faults.clear()
    await rig.hub.resume(NAME)
    await rig.advance(SOME_TIME_S)
    return "\n".join(words)


async def _asked(rig: Rig, what: str) -> str:
    try:
        return repr(await getattr(rig.hub, what)(NAME))
    except EsplanadeError as problem:
        return f"{problem!r} {problem} {getattr(problem, 'exchange', None)!r}"


async def _views(rig: Rig) -> dict[str, str]:
    """Everything that operators are shown, by its path."""
    found = await rig.hub.store.read(lambda reader: reader.deliveries(DeliveryFilter(), limit=10_000))
    paths = ["/v1/connectors", "/v1/deliveries", "/metrics", "/healthz"]
    paths += [f"/v1/deliveries/d-{delivery.id}" for delivery, *_ in found]
    emails = dict.fromkeys(email for _, email, *_ in found if email)
    paths += [f"/v1/people/{quote(each)}{view}" for each in emails for view in ("", "/explain")]
    return {path: await rig.shown(path) for path in paths}


def _credentials(rig: Rig) -> dict[str, str]:
    """What the vendor was shown as credentials: secrets that were made of the settings, and tokens that were had for them."""
    shown = {each.headers.get("Authorization", "").rpartition(" ")[2] for each in rig.twin.requests}
    return {f"an Authorization header ({at})": each for at, each in enumerate(sorted(shown)) if len(each) >= 8}


def _store(trial: Trial) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in sorted(trial.folder.glob("hub.db*")))


def _require_none(needles: dict[str, str], shown: dict[str, str]) -> None:
    for name, needle in needles.items():
        forms = {needle, quote(needle, safe=""), base64.b64encode(needle.encode()).decode()}
        found = [where for where, text in shown.items() if any(form in text for form in forms)]
        if found:
            raise CheckFailed(f"the secret {name} shows in {', '.join(found[:5])}; {_around(shown[found[0]], forms)}")


def _around(text: str, forms: set[str]) -> str:
    """What stands before a secret that was found."""
    at = min(text.find(form) for form in forms if form in text)
    return f"after {text[max(at - 80, 0) : at]!r}"
