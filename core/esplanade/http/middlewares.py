"""What surrounds each single exchange with a vendor, as aiohttp client middlewares."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import ClientHandlerType, ClientMiddlewareType, ClientRequest, ClientResponse

from .redact import path_template

if TYPE_CHECKING:
    from esplanade.context import Log


class Failed(Exception):
    """Carries an error of aiohttp past aiohttp, which would otherwise repeat some requests by itself, unasked."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(type(error).__name__)


def account_for(log: Log, *, log_paths: bool = True) -> ClientMiddlewareType:
    """One debug line per exchange: method, host, path without ids, status, milliseconds. Never bodies or queries."""

    async def account(req: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        started = time.perf_counter()
        status: int | str = "cancelled"
        try:
            response = await handler(req)
            status = response.status
            return response
        except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
            status = type(error).__name__
            raise Failed(error) from None
        finally:
            log.debug(
                "http request",
                method=req.method,
                host=req.url.host,
                path=path_template(req.url.raw_path) if log_paths else "***",
                status=status,
                ms=round((time.perf_counter() - started) * 1000, 1),
            )

    return account
