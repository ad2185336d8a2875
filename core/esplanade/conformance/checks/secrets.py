"""CF2 and CF5: what is secret is known to be, and shows nowhere."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from esplanade.conformance.check import CheckFailed, check, require, same
from esplanade.conformance.logs import captured
from esplanade.conformance.rig import NAME, Rig
from esplanade.conformance.trial import Trial
from esplanade.conformance.written import all_keys, escaped, holds_secrets, holds_text, sections, with_secrets
from esplanade.errors import EsplanadeError
from esplanade.records import DeliveryFilter
from esplanade.registry import types_of
from esplanade.testing import Fault

SECRET = re.compile(r"(^|_)(secret|password|passwd|passphrase|pwd|token|credential|api_?key|key)s?$")
"""The last word of a secret's name: a token_url is no token."""
SOME_TIME_S = 60.0
"""Longer than the breaker stays open."""


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
    plain = await trial.config()
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
        said = await asyncio.to_thread(with_secrets, settings, struct, lambda _, __: form % next(names))  # noqa: B023 - awaited here
        found = await trial.config(connector={"settings": said}, environ=texts, files=texts)
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


# Inside.


def _keys(trial: Trial) -> Iterator[tuple[str, Any]]:
    for section, struct in sections(types_of(trial.plugin)).items():
        yield from all_keys(struct, section)


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
