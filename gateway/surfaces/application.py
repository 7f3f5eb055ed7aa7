"""The whole HTTP side as one ASGI application."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.model import Deny
from gateway.surfaces.endpoint import Endpoint, serve
from gateway.surfaces.problems import problem
from gateway.surfaces.routes import endpoints, routes
from gateway.surfaces.wiring import Gateway

_NAMED = re.compile(r"\{[a-z_]+\}")
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


class Application(Starlette):
    """The framework's application, which looks up most paths directly: its own way, past every
    route and through two layers that only ever see what ``serve`` has answered already, costs more
    than a decision does."""

    def __init__(self, gateway: Gateway, lifespan: Lifespan | None = None) -> None:
        super().__init__(
            routes=routes(gateway),
            lifespan=lifespan,
            exception_handlers={HTTPException: self._not_routed},
        )
        self.router.redirect_slashes = False
        self._gateway = gateway
        self._direct = Directory(endpoints())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._direct.find(scope) if scope["type"] == "http" else None
        if found is None:
            await super().__call__(scope, receive, send)
            return
        endpoint, scope["path_params"] = found
        scope["app"] = self
        response = await serve(self._gateway, endpoint, Request(scope, receive, send))
        await response(scope, receive, send)

    async def _not_routed(self, _request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        refusal = Deny(reason="unknown_tool", detail="There is nothing at this path.")
        if status == 404:
            self._gateway.refused(refusal.reason)
            return problem(refusal)
        headers = error.headers if isinstance(error, HTTPException) else None
        refusal = Deny(reason="malformed", detail="This path does not answer to this method.")
        self._gateway.refused(refusal.reason)
        return problem(refusal, status=status, headers=headers)


class Directory:
    """The endpoints whose paths are one text, or one with a name at the end. What it does not find
    may be there all the same."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._whole: dict[tuple[str, str], Endpoint] = {}
        self._named: dict[tuple[str, str], tuple[str, Endpoint]] = {}
        for endpoint in endpoints:
            folder, _, last = endpoint.path.rpartition("/")
            if "{" not in endpoint.path:
                self._whole[endpoint.method, endpoint.path] = endpoint
            elif "{" not in folder and _NAMED.fullmatch(last):
                self._named[endpoint.method, folder] = (last[1:-1], endpoint)

    def find(self, scope: Scope) -> tuple[Endpoint, dict[str, str]] | None:
        """The endpoint and the name in its path."""
        method, path = scope["method"], scope["path"]
        whole = self._whole.get((method, path))
        if whole is not None:
            return whole, {}
        folder, _, last = path.rpartition("/")
        named = self._named.get((method, folder)) if last else None
        return None if named is None else (named[1], {named[0]: last})


def application(gateway: Gateway, lifespan: Lifespan | None = None) -> Starlette:
    """The whole HTTP side: unknown paths and methods are problem documents too."""
    return Application(gateway, lifespan)
