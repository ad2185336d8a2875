"""What a captured webhook would become: read as the hub reads it, and with ``--online`` its contact read at the vendor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from esplanade.bodies import Body, Form, Found, Tree
from esplanade.clock import as_datetime
from esplanade.config.model import Webhook
from esplanade.connector import traits_of
from esplanade.delivery import declared
from esplanade.errors import DeliveryError, PermanentError, PluginLoadError
from esplanade.model import Happening, Inbound, InboundRequest, PersonRef, Report

from .alone import alone
from .operator import OperationError

if TYPE_CHECKING:
    from esplanade.config import ConnectorConfig
    from esplanade.ingest.shapes import WordIn

    from .session import Session

R = TypeVar("R")


class Read(Struct, frozen=True, kw_only=True):
    """How the call was read, less the connector's secrets. Of the query only the names are shown."""

    method: str
    content_type: str
    form: Form | None
    broken: str
    bytes: int
    body: Tree
    query: list[str]


class Tried(Struct, frozen=True, kw_only=True):
    """What became of a captured webhook."""

    connector: str
    read: Read
    event: Found | None = None
    rule: str | None = None
    events: list[str] = field(default_factory=list)
    """The events that have a rule."""
    address: Found | None = None
    goes_to: str = "rule"
    """``rule``, ``plugin``, or ``dead letter`` where nobody reads it."""
    asked: bool = False
    """Whether the vendor was asked."""
    contact: Report | None = None
    """The contact as the vendor has it; None where it was not asked."""
    reports: list[Report] = field(default_factory=list)
    """What would be reported beyond that. Not yet asked, a grant stands here as if the contact showed it."""
    triggers: list[Happening] = field(default_factory=list)


async def try_webhook(
    session: Session, name: str, request: InboundRequest, content_type: Form | None, *, online: bool
) -> Tried:
    """Read a call as a connector's ``webhook:`` has it. Raises PermanentError for one that would be kept as a dead letter."""
    config = session.config.connectors[name]
    webhook = config.webhook or Webhook(events={})
    by = replace(webhook, content_type=content_type or webhook.content_type)
    heard = declared.read_call(by, request, others_read=_has_hook(session, config))
    call, event = heard.call, heard.said if config.webhook is not None else None
    tried = Tried(connector=name, read=_read(request, heard.body, config), event=event, events=list(webhook.events))
    if call is None:
        return await _by_plugin(session, config, request, tried, online=online)
    contact = await _contact(session, config, call) if online else None
    supposed = contact or Report(email=call.email, consents=dict.fromkeys(call.rule.consents, "granted"))
    said = declared.told(call, supposed, config, request.received_at.timestamp())
    return replace(
        tried,
        rule=call.event,
        address=call.address,
        asked=online,
        contact=contact,
        reports=[] if said.word is None else [_as_report(said.word, supposed)],
        triggers=[] if said.trigger is None else [said.trigger],
    )


def _as_report(word: WordIn, contact: Report) -> Report:
    return Report(
        email=contact.email,
        remote_id=contact.remote_id,
        fields=word.fields,
        consents=dict(word.consents),
        at=as_datetime(word.at),
        event_id=word.event_id,
        evidence=word.evidence,
    )


async def _by_plugin(
    session: Session, config: ConnectorConfig, request: InboundRequest, tried: Tried, *, online: bool
) -> Tried:
    """What the plugin makes of a call that has no rule, where it is asked."""
    if not _has_hook(session, config):
        return replace(tried, goes_to="dead letter")
    tried = replace(tried, goes_to="plugin")
    if not online:
        return tried
    _refuse_twin(config)
    async with alone(session.loaded, config.name) as (connector, context):
        said = await _asked(config, connector.on_inbound_webhook(request, context))  # type: ignore[attr-defined]  # a hook is no method of the base
    return replace(tried, asked=True, **_parted(said))


def _has_hook(session: Session, config: ConnectorConfig) -> bool:
    plugin = session.loaded.plugins[config.plugin]
    if isinstance(plugin, PluginLoadError):
        raise OperationError(f"connector {config.name} cannot run: {plugin}")
    return hasattr(plugin, "on_inbound_webhook")


async def _contact(session: Session, config: ConnectorConfig, call: declared.Call) -> Report:
    _refuse_twin(config)
    async with alone(session.loaded, config.name) as (connector, context):
        if not traits_of(connector).can_fetch:
            raise PermanentError("this connector's plugin cannot read one person")
        found = await _asked(config, connector.fetch(PersonRef(person="", email=call.email), context))
    return declared.check_contact(call, found)


async def _asked(config: ConnectorConfig, answer: Awaitable[R]) -> R:
    try:
        return await asyncio.wait_for(answer, config.timeout)
    except TimeoutError:
        raise OperationError(f"connector {config.name}: no answer within {config.timeout:g} s") from None
    except DeliveryError as problem:
        raise OperationError(f"connector {config.name}: {type(problem).__name__}: {problem}") from None
    except Exception as problem:
        what = f"the plugin raised {type(problem).__name__}: {problem}"
        raise OperationError(f"connector {config.name}: {what}") from problem


def _refuse_twin(config: ConnectorConfig) -> None:
    if config.twin:
        raise OperationError(
            f"connector {config.name} says `twin: true`: a running hub's twin cannot be asked from here, and a new one has no "
            "contacts; leave --online out, or point the connector at its vendor"
        )


def _read(request: InboundRequest, body: Body, config: ConnectorConfig) -> Read:
    return Read(
        method=request.method,
        content_type=request.headers.get("content-type", ""),
        form=body.form,
        broken=body.broken,
        bytes=len(request.body),
        body=declared.without_secrets(body.tree, config),
        query=sorted(body.query),
    )


def _parted(said: list[Inbound]) -> dict[str, list[Report] | list[Happening]]:
    return {
        "reports": [each for each in said if isinstance(each, Report)],
        "triggers": [each for each in said if isinstance(each, Happening)],
    }
