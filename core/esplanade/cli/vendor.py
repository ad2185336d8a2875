"""What only a connector's vendor can tell: through the hub that runs, where a twin lives, else directly."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import msgspec

from esplanade.connector import methods_of
from esplanade.errors import AuthenticationError, DeliveryError, EsplanadeError
from esplanade.model import CheckResult
from esplanade.runtime.fields import judge

from .alone import alone
from .client import RunningHub
from .facts import facts
from .operator import OperationError
from .own import own_hub
from .reach import running_hub, running_url

if TYPE_CHECKING:
    from .session import Session


async def connectors(session: Session) -> Any:
    """The state of each connector: as the running hub has it, else as the store left it."""
    if url := running_url(session.config):
        async with RunningHub.at(url, session.config) as hub:
            return await hub.connectors()
    if running_hub(session.config) is None:
        async with own_hub(session.loaded) as own:
            return await own.connectors()
    # Another command holds the store; who asks need not wait for it.
    from esplanade.views import connectors_view

    with session.reading() as reader:
        return connectors_view(facts(session.loaded), reader, time.time())


async def discover(session: Session, name: str) -> Any:
    """What a connector's vendor offers. Raises OperationError."""
    if url := running_url(session.config):
        async with RunningHub.at(url, session.config) as hub:
            return await hub.discover(name)
    async with alone(session.loaded, name) as (connector, context):
        if "discover" not in methods_of(type(connector)):
            plugin = session.config.connectors[name].plugin
            raise OperationError(f"{name} cannot be discovered: the plugin {plugin} has no discover")
        limit = session.config.connectors[name].timeout
        try:
            return msgspec.to_builtins(await asyncio.wait_for(connector.discover(context), limit))
        except TimeoutError:
            raise OperationError(f"connector {name}: no answer within {limit:g} s") from None
        except DeliveryError as problem:
            raise OperationError(f"connector {name}: {type(problem).__name__}: {problem}") from None
        except Exception as problem:
            raise OperationError(
                f"connector {name}: the plugin raised {type(problem).__name__}: {problem}"
            ) from problem


async def check_all(session: Session) -> list[dict[str, Any]]:
    """How the check of each enabled connector went."""
    names = [name for name, one in session.config.connectors.items() if one.enabled]
    results = await asyncio.gather(*(_check(session, name) for name in names))
    return [{"name": name, **msgspec.to_builtins(one)} for name, one in zip(names, results, strict=True)]


async def _check(session: Session, name: str) -> CheckResult:
    config = session.config.connectors[name]
    try:
        if config.twin and (url := running_url(session.config)):
            # The twin lives in the hub; one of our own would be fine whatever became of the hub's.
            async with RunningHub.at(url, session.config) as hub:
                answer = await hub.check(name)
            if answer is not None:
                return msgspec.convert(answer, CheckResult)
        async with alone(session.loaded, name) as (connector, context):
            if "check" not in methods_of(type(connector)):
                return CheckResult(detail="its plugin has no check of its own")
            found = await asyncio.wait_for(connector.check(context), config.timeout)
            if found.status == "ok" and config.fields and "discover" in methods_of(type(connector)):
                with contextlib.suppress(EsplanadeError):  # what it could not list, it does not lack
                    found = judge(config, await asyncio.wait_for(connector.discover(context), config.timeout), found)
            return found
    except TimeoutError:
        return CheckResult(status="vendor-down", detail=f"no answer within {config.timeout:g} s")
    except AuthenticationError as problem:
        return CheckResult(status="bad-credentials", detail=str(problem))
    except EsplanadeError as problem:
        return CheckResult(status="vendor-down", detail=str(problem))
    except Exception as problem:  # noqa: BLE001 - a plugin may raise anything; the operator is told its type
        return CheckResult(status="vendor-down", detail=f"the plugin raised {type(problem).__name__}: {problem}")
