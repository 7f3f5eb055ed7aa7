"""``/healthz`` (the process), ``/readyz`` (everything a call needs) and ``/metrics``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.responses import Response

from gateway.errors import HoldfastError
from gateway.surfaces.answers import SAFE, answer
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway

# The text format of Prometheus.
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    at: datetime
    parts: dict[str, str]


class Readiness:
    """``/readyz`` needs no token, so its checks run at most once per ``Bounds.recheck_s``."""

    def __init__(self) -> None:
        self._seen: _Seen | None = None
        self._lock = asyncio.Lock()

    async def read(self, gateway: Gateway, _visit: Visit) -> Act:
        async def run() -> Response:
            parts = await self._parts(gateway)
            ready = all(state == "ok" for state in parts.values())
            document = {"status": "ready" if ready else "not ready", "parts": parts}
            return answer(document, status=200 if ready else 503)

        return Act(what="ready", run=run)

    async def _parts(self, gateway: Gateway) -> dict[str, str]:
        async with self._lock:
            good_for = timedelta(seconds=gateway.bounds.recheck_s)
            now = gateway.clock.now()
            if self._seen is None or now - self._seen.at >= good_for:
                parts = {
                    name: await _state(name, check, gateway.bounds.check_s)
                    for name, check in gateway.readiness.items()
                }
                self._seen = _Seen(now, parts)
            return self._seen.parts


async def _state(name: str, check: Callable[[], Awaitable[None]], within_s: float) -> str:
    """``ok`` or a reason code: what is wrong in words may name paths and hosts."""
    try:
        async with asyncio.timeout(within_s):
            await check()
    except HoldfastError as error:
        return error.reason
    except TimeoutError:
        return "deadline"
    except Exception as error:  # noqa: BLE001 - whatever it is, the part is not ready
        _log.error("the check of %s failed: %s", name, type(error).__name__)
        return "internal"
    return "ok"


async def healthy(_gateway: Gateway, _visit: Visit) -> Act:
    async def run() -> Response:
        return answer({"status": "ok"})

    return Act(what="health", run=run)


async def metrics(gateway: Gateway, _visit: Visit) -> Act:
    async def run() -> Response:
        return Response(await gateway.metrics(), headers={**SAFE, "Content-Type": MEDIA_TYPE})

    return Act(what="metrics", run=run)


def endpoints() -> tuple[Endpoint, ...]:
    return (
        Endpoint(
            method="GET",
            path="/healthz",
            access=Access.OPEN,
            read=healthy,
            summary="The process answers.",
            answers={200: "Health"},
        ),
        Endpoint(
            method="GET",
            path="/readyz",
            access=Access.OPEN,
            read=Readiness().read,
            summary="Store, policy and audit work; 503 names the part that does not.",
            answers={200: "Ready", 503: "Ready"},
        ),
        Endpoint(
            method="GET",
            path="/metrics",
            access=Access.SCRAPE,
            read=metrics,
            summary="What happened and what stands, for Prometheus.",
            answers={200: None},
            media_type="text/plain",
        ),
    )
