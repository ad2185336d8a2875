"""One person, explained to a human: who they are, what they agreed to, and for each connector what it holds, lacks and why."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from .output import Table, cell

_LABEL = 11


def explained(why: dict[str, Any]) -> list[Table | str]:
    """What ``explain`` prints for the answer of ``explain_view``."""
    profile = why["profile"]
    parts: list[Table | str] = [*_identity(why)]
    parts += _facts([(part, cell(profile[part])) for part in ("fields", "audiences") if profile[part]], indent="")
    parts.append(
        Table(
            title="Consents",
            columns=("purpose", "state", "method", "since", "source", "evidence"),
            rows=[
                (name, _standing(one), one["method"], one["at"], one["source"], one["evidence"])
                for name, one in profile["consents"].items()
            ],
        )
    )
    for purpose, vendors in why["doubted"].items():
        since, lists = min(vendors.values()), "lists" if len(vendors) == 1 else "list"
        parts.append(
            f"{purpose} is in doubt since {since}: {' and '.join(vendors)} no longer {lists} them, so nothing that needs it is sent"
        )
    for name, connector in why["connectors"].items():
        parts += ["", f"{name}: {_headline(name, connector, why['email'])}", *_facts(_connector(connector))]
    at_hub = [("decided", _decided(one)) for one in why["decisions"] if not one["connector"]]
    at_hub += [("kept", _delivery(one)) for one in why["kept"]]
    if at_hub:
        parts += ["", "hub", *_facts(at_hub)]
    parts += [*_meanings(why), _ledger(why["consents"]), _timeline(why["timeline"])]
    return parts


def _identity(why: dict[str, Any]) -> Iterator[str]:
    named = [why["email"] or "(no address)", why["person"], *([f"id {why['id']}"] if why["id"] else [])]
    yield "   ".join(named)
    since = [f"known since {why['known_since']}"] if why["known_since"] else []
    since += [f"at this address since {why['since']}"] if why["since"] else []
    since += [f"before at {', '.join(why['emails'][1:])}"] if why["emails"][1:] else []
    if since:
        yield "; ".join(since)
    if why["merged"]:
        yield f"{', '.join(why['merged'])} turned out to be the same person"


def _headline(name: str, connector: dict[str, Any], email: str | None) -> str:
    """In a few words: how this person stands there."""
    if connector["state"] in {"unknown", "disabled"}:
        return f"{'not' if connector['state'] == 'unknown' else 'disabled'} in connectors.yaml, so nothing is sent"
    if connector["state"] != "ok":
        why = f" ({cell(connector['state_reason'])})" if connector["state_reason"] else ""
        return f"{'failed' if connector['state'] == 'failed' else 'paused'}{why}, so what is due waits"
    open_ = connector["deliveries"]
    stuck = sum(one["state"] in {"parked", "dead"} for one in open_)
    if connector["doubted"]:
        waits = f"; {len(open_) - stuck} to be sent" if len(open_) > stuck else ""
        return f"in doubt: {', '.join(connector['doubted'])}{waits}"
    if len(open_) > stuck:
        return f"{len(open_) - stuck} to be sent" + (f", {stuck} kept for you to decide" if stuck else "")
    if stuck:
        return f"{stuck} kept for you to decide"
    if connector["differs"]:
        remedy = "what differs goes out when it changes next"
        if connector["replayable"] and email:
            remedy = f"`esplanade replay --connector {name} --email {shlex.quote(email)}`"
        return f"differs, and nothing is queued: {remedy}"
    refusals = [one for one in connector["withheld"] if one["kind"] == "profile"]
    if refusals:
        return f"nothing is sent, {refusals[0]['means']}"
    return "in step"


def _connector(one: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if one["remote_id"] or one["email"]:
        sure = ", not certain since a call was cut" if one["unknown"] else ""
        named = " ".join(cell(part) for part in (one["remote_id"], one["email"]) if part)
        yield "contact", f"{named}, as of {one['synced_at'] or 'its report'}{sure}"
    base = [cell(values) for values in one["base"].values() if values]
    if base:
        yield "holds", "; ".join(base)
    for name, change in _changes(one["differs"]):
        yield "to change", f"{cell(name)}: {cell(change['held'])} → {cell(change['wanted'])}"
    for delivery in one["deliveries"]:
        yield ("kept" if delivery["state"] in {"parked", "dead"} else "waits"), _delivery(delivery)
    for held in one["withheld"]:
        yield "withheld", f"{held['subject'] or held['kind']}: {_why(held)}"
    if one["refused"]:
        yield "refused", f"{cell(one['refused'])}; not sent again until it changes"
    if one["not_mapped"]:
        yield "not mapped", cell(one["not_mapped"])
    for contact in one["former"]:
        held_there = {**contact["consents"], **dict.fromkeys(contact["audiences"], True)}
        named = " ".join(cell(part) for part in (contact["remote_id"], contact["email"]) if part)
        yield "former", f"{named}: {cell(held_there) if held_there else 'on nothing that is known'}"
    for decision in one["decisions"]:
        yield "decided", _decided(decision)


def _changes(differs: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for values in differs.values():
        yield from values.items()


def _delivery(one: dict[str, Any]) -> str:
    what = " ".join(part for part in (one["id"], one["kind"], one["subject"]) if part)
    if one["attempts"]:
        what += f", after {one['attempts']} {'attempts' if one['attempts'] > 1 else 'attempt'}"
    if one["last_error"]:
        what += f" ({cell(one['last_error'])})"
    match one["state"]:
        case "scheduled":
            what += f", due {one['due_at']}"
        case "due" | "in_flight":
            what += f", {one['state'].replace('_', ' ')} since {one['first_at']}"
        case state:
            what += f", {state}: {_why(one)}"
    return what


def _decided(one: dict[str, Any]) -> str:
    often = f" ×{one['times']}" if one["times"] > 1 else ""
    return f"{one['kind'] or 'event'}{often}, {one['at']}: {_why(one)}"


def _why(one: dict[str, Any]) -> str:
    return cell(one["reason"]) + (f" ({cell(one['detail'])})" if one.get("detail") else "")


def _meanings(why: dict[str, Any]) -> list[str]:
    """What each reason means that is shown above, and what to do about it."""
    shown = [*why["decisions"], *why["kept"]]
    for connector in why["connectors"].values():
        shown += [*connector["withheld"], *connector["deliveries"]]
    meant = {one["reason"]: one for one in shown if one["reason"]}
    if not meant:
        return []
    width = max(map(len, meant)) + 2
    printed = ["", "Why"]
    for reason, one in sorted(meant.items()):
        printed.append(f"{reason:<{width}}{one['means'] or 'the plugin says so; its own documentation knows more'}")
        printed += [f"{'':<{width}}→ {one['remedy']}"] if one["remedy"] else []
    return printed


def _facts(facts: Iterable[tuple[str, str]], indent: str = "  ") -> list[str]:
    """Labels with what they say, aligned; a label is not repeated."""
    printed, last = [], ""
    for label, text in facts:
        printed.append(f"{indent}{'' if label == last else label:<{_LABEL}}{text}".rstrip())
        last = label
    return printed


def _ledger(rows: list[dict[str, Any]]) -> Table:
    columns = ("said_at", "recorded_at", "purpose", "state", "method", "source", "evidence")
    return Table(
        title="What was said about consents",
        columns=("said", "recorded", *columns[2:]),
        rows=[[row[column] for column in columns] for row in rows],
    )


def _timeline(notes: list[dict[str, Any]]) -> Table:
    columns = ("at", "what", "connector", "kind", "reason", "detail")
    return Table(title="Timeline", columns=columns, rows=[[note[column] for column in columns] for note in notes])


def _standing(consent: dict[str, Any]) -> str:
    under = consent.get("under")
    return f"{consent['state']} (still {under})" if under else str(consent["state"])
