"""The whole HTTP side as one ASGI application."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.model import Deny
from gateway.surfaces.problems import problem
from gateway.surfaces.routes import routes
from gateway.surfaces.wiring import Gateway

Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


def application(gateway: Gateway, lifespan: Lifespan | None = None) -> Starlette:
    """The whole HTTP side: unknown paths and methods are problem documents too."""
    app = Starlette(
        routes=routes(gateway),
        lifespan=lifespan,
        exception_handlers={HTTPException: _not_routed},
    )
    app.router.redirect_slashes = False
    return app


async def _not_routed(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return problem(Deny(reason="unknown_tool", detail="There is nothing at this path."))
    headers = error.headers if isinstance(error, HTTPException) else None
    refusal = Deny(reason="malformed", detail="This path does not answer to this method.")
    return problem(refusal, status=status, headers=headers)
