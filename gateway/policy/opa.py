"""Rego in an OPA server. Whatever keeps a valid answer from coming in time is a denial."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from urllib.parse import quote, urlsplit

import aiohttp
from opa_client import AsyncOpaClient, errors

from gateway.interfaces import Context
from gateway.model import Action, Call, Decision, Finding, Json
from gateway.policy.input import fault_of, policy_input
from gateway.policy.result import decision_from, unavailable

_PACKAGE, _RULE = "gateway", "decision"
_REFRESH_S = 5.0


class _BadAnswer(Exception):
    """The server answered, but not with what OPA answers."""


# The client's exceptions have no common base, and it lets those of aiohttp and json through; an
# answer of another shape trips it with a TypeError, KeyError or AttributeError.
_FAILURES: tuple[type[Exception], ...] = (
    _BadAnswer,
    *(kind for kind in vars(errors).values() if isinstance(kind, type)),
    aiohttp.ClientError,
    AttributeError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class OpaPolicy:
    """``Policy`` over the OPA server at ``url`` (``http[s]://host[:port]``). The server may read
    the gateway's policy folder as its bundle root; tests and edits are the server's own matter.
    ``deadline_s`` bounds a whole decision, connecting included. ``token`` is sent as bearer."""

    def __init__(self, url: str, *, deadline_s: float = 0.25, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError("the OPA url is http[s]://host[:port]")
        self._shown = f"{parts.scheme}://{parts.hostname}"
        secure = parts.scheme == "https"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._client = AsyncOpaClient(
            host=host,
            port=parts.port or (443 if secure else 8181),
            ssl=secure,
            token=token,
            # Its own retries sleep longer than a decision may take, and its timeout would cut
            # what the deadline here already bounds.
            retries=0,
            timeout=_REFRESH_S,
        )
        self._deadline_s = deadline_s
        self._opened = AsyncExitStack()
        self._open = False
        self._revision = ""
        self._fault: str | None = "the OPA server was not asked yet"
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def revision(self) -> str:
        """A hash of the server's policies as of the last look, a few seconds ago at most."""
        return self._revision

    @property
    def fault(self) -> str | None:
        """Why the server's policies cannot be told; ``None`` when they can."""
        return self._fault

    async def open(self) -> None:
        """Connects and looks at the policies. A server that is down denies every call and is
        reported by ``check``; it does not keep the gateway from starting."""
        await self._opened.enter_async_context(self._client)
        self._open = True
        await self._refresh()
        self._refreshing = asyncio.create_task(self._keep_fresh())

    async def close(self) -> None:
        self._open = False
        if self._refreshing is not None:
            self._refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refreshing
        await self._opened.aclose()

    async def check(self) -> list[Finding]:
        await self._refresh()
        if self._fault is not None:
            return [Finding(level="error", about="policy", message=self._fault)]
        message = f"OPA at {self._shown}, revision {self._revision}"
        return [Finding(level="info", about="policy", message=message)]

    def document(self, call: Call, action: Action, context: Context) -> dict[str, Json]:
        return policy_input(call, action, context)

    async def decide(self, document: Mapping[str, Json]) -> Decision:
        if not self._open:
            return unavailable("the policy server is not connected")
        fault = fault_of(document)
        if fault is not None:
            return unavailable(fault, self._revision)
        revision = self._revision
        try:
            async with asyncio.timeout(self._deadline_s):
                answer = await self._client.query_rule(dict(document), _PACKAGE, _RULE)
            result = _result(answer)
        except TimeoutError:
            return unavailable("the policy server took too long", revision)
        except _FAILURES as error:
            return unavailable(f"the policy server failed ({type(error).__name__})", revision)
        return decision_from(result, revision)

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(_REFRESH_S)
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(_REFRESH_S):
                self._revision = await self._seen()
            self._fault = None
        except _FAILURES as error:
            self._fault = f"OPA at {self._shown} cannot be asked ({type(error).__name__})"

    async def _seen(self) -> str:
        names = await self._client.get_policies_list()
        if not names:
            raise _BadAnswer("no policies are loaded")
        texts = {}
        for name in sorted(names):
            texts[name] = (await self._client.get_policy(quote(name, safe="")))["result"]["raw"]
        data = await self._client.get_data("")
        return _digest({"policies": texts, "data": _own_data(data)})


def _result(answer: object) -> object:
    """The decision in OPA's envelope; without one the rule is undefined, which denies."""
    if not isinstance(answer, Mapping):
        raise _BadAnswer("the answer is not an object")
    return answer.get("result")


def _own_data(answer: Mapping[str, Json]) -> dict[str, Json]:
    """The data document without what the policies make of it."""
    return {name: value for name, value in answer["result"].items() if name != _PACKAGE}


def _digest(value: Json) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
