"""What must hold in ``hub`` and ``sources``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .egress import loopback, network
from .model import NAME_PATTERN, Config, Hub
from .nodes import Scalar
from .problems import Where, nearest

if TYPE_CHECKING:
    from esplanade.values import Secret

    from .findings import Findings

MIN_TOKEN = 16
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_POSITIVE = ("echo_window", "pending_expiry", "retention")


def check_hub(config: Config, findings: Findings) -> None:
    """Judge the hub's own section."""
    hub = config.hub
    if wrong := wrong_listen(hub.listen):
        findings.refuse(("hub", "listen"), wrong)
    if wrong := _wrong_store(hub.store):
        findings.refuse(("hub", "store"), wrong)
    if wrong := _wrong_timezone(hub.timezone):
        findings.refuse(("hub", "timezone"), wrong)
    if not _LANGUAGE.fullmatch(hub.language):
        findings.refuse(("hub", "language"), "expected a language tag such as en, nl or nl-BE")
    if hub.public_url and not _is_url(hub.public_url):
        findings.refuse(("hub", "public_url"), "expected a URL such as https://hub.example.com")
    for name in _POSITIVE:
        if getattr(hub, name) <= 0:
            findings.refuse(("hub", name), "expected a duration above zero")
    _check_egress(hub, findings)
    _check_alerts(hub, findings)


def _check_egress(hub: Hub, findings: Findings) -> None:
    for index, each in enumerate(hub.egress.allow):
        try:
            network(each)
        except ValueError as error:
            findings.refuse(("hub", "egress", "allow", f"[{index}]"), str(error))


def _check_alerts(hub: Hub, findings: Findings) -> None:
    for index, alert in enumerate(hub.alerts):
        where = ("hub", "alerts", f"[{index}]")
        if (alert.webhook is None) == (alert.command is None):
            findings.refuse(where, "expected either webhook or command")
        elif alert.webhook is not None and not _is_url(alert.webhook):
            findings.refuse((*where, "webhook"), "expected a URL such as https://alerts.example.com/esplanade")
        elif alert.command == []:
            findings.refuse((*where, "command"), "expected a program and its arguments, in [ ]")


def check_tokens(config: Config, findings: Findings) -> None:
    """A token that others can guess is unwise on this machine, and refused where others can reach the hub."""
    exposed = _exposed(config.hub)
    admin = ("hub", "admin_token")
    if not config.hub.admin_token:
        if exposed:
            findings.refuse(
                admin,
                f"the hub listens on {config.hub.host} without a token; set one of {MIN_TOKEN} characters or more",
            )
    else:
        _check_token(config.hub.admin_token, admin, findings, exposed=exposed)
    holders: dict[Secret, str] = {}
    if config.hub.admin_token:
        holders[config.hub.admin_token] = "hub.admin_token"
    for name, source in config.sources.items():
        where: Where = ("sources", name, "token")
        if not source.token:
            findings.refuse(where, "empty, so that nobody could send; set a token")
            continue
        if source.token in holders:
            findings.refuse(where, f"the same token as {holders[source.token]}; give each its own")
        holders.setdefault(source.token, f"sources.{name}.token")
        _check_token(source.token, where, findings, exposed=exposed)
    for place, secret in _others(config):
        if secret and len(secret.reveal()) < MIN_TOKEN:
            findings.warn(place, f"short; use {MIN_TOKEN} random characters or more, or leave it empty")


def check_names(findings: Findings) -> None:
    """Names of sources and connectors go into URLs, metrics and the store."""
    for section in ("sources", "connectors"):
        for name in findings.names(section):
            if not re.fullmatch(NAME_PATTERN, name):
                entry = findings.entry(section, name)
                assert entry is not None
                what = "expected a name of a-z, 0-9, - and _ that begins with a letter or digit"
                findings.problems.add(entry.place, (section, name), what)


def _others(config: Config) -> list[tuple[Where, Secret]]:
    keys: list[tuple[Where, Secret]] = [
        (("connectors", name, "hook_key"), each.hook_key) for name, each in config.connectors.items()
    ]
    return [(("hub", "secret"), config.hub.secret), *keys]


def _check_token(token: Secret, where: Where, findings: Findings, *, exposed: bool) -> None:
    entry = findings.entry(*where)
    if entry is not None and isinstance(entry.value, Scalar) and entry.value.defaulted:
        what = "the default of this file, which others can read"
    elif len(token.reveal()) < MIN_TOKEN:
        what = "a short token, which others can guess"
    else:
        return
    advice = f"{what}; set one of {MIN_TOKEN} random characters or more"
    if exposed:
        findings.refuse(where, f"{advice}, because hub.listen is open to other machines")
    else:
        findings.warn(where, f"{advice} before hub.listen is opened to other machines")


def wrong_listen(listen: str) -> str | None:
    """Why ``listen`` cannot be listened on, or None."""
    expected = "expected HOST:PORT, such as 127.0.0.1:8600 or [::1]:8600"
    host, colon, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isascii() or not port.isdigit() or not host.strip("[]"):
        return expected
    if (":" in host) != bracketed or any(letter in host for letter in " /@"):
        return expected
    if int(port[:6]) > 65535:
        return "expected a port between 0 and 65535; 0 takes a free one"
    return None


def _wrong_store(store: str) -> str | None:
    scheme, _, rest = store.partition(":")
    match scheme:
        case "sqlite" if rest in {"", ":memory:"} or rest.endswith("/"):
            return "expected sqlite: and the path of a file, such as sqlite:esplanade.db"
        case "sqlite":
            return None
        case "postgresql" | "postgres":
            return "the PostgreSQL store is not available in this version; write sqlite:esplanade.db"
    return "expected sqlite: and the path of a file, such as sqlite:esplanade.db"


def _wrong_timezone(name: str) -> str | None:
    from zoneinfo import ZoneInfo, available_timezones

    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # KeyError: ZoneInfoNotFoundError; OSError: the name of a directory
        near = nearest(name, available_timezones())
        return "unknown time zone; " + (f"did you mean {near}?" if near else "expected a name such as Europe/Amsterdam")
    return None


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _exposed(hub: Hub) -> bool:
    """Whether other machines can reach the hub."""
    return wrong_listen(hub.listen) is None and not loopback(hub.host)
