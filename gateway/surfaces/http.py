"""``ANY /http/{tool}/{path}``: requests to HTTP tools."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from gateway.addresses import Ambiguous, Pairs, path_from, query_of, segments_of
from gateway.audit import digest_of
from gateway.errors import Malformed, NotFound
from gateway.messages import FORM_TYPE, JSON_TYPE, may_be_sent, overrides_method
from gateway.model import Call, Json, Reply, Surface
from gateway.surfaces import headers as own
from gateway.surfaces.arguments import NAME, Fields
from gateway.surfaces.contents import Content, read_content
from gateway.surfaces.early import respond_async
from gateway.surfaces.endpoint import Access, Endpoint
from gateway.surfaces.framing import METHODS
from gateway.surfaces.relay import relayed
from gateway.surfaces.uploads import Upload
from gateway.surfaces.visit import Act, Visit
from gateway.surfaces.wiring import Gateway

# Passed on, but not part of what the call is: a repetition may carry others.
_FLEETING = frozenset({"traceparent", "tracestate", "baggage", "user-agent"})
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^`|~-]{1,64}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]{0,8192}")


async def forward(gateway: Gateway, visit: Visit) -> Act:
    request = visit.request
    tool, path = _target(gateway, request)
    pairs = _query(request.scope["query_string"].decode("latin-1"))
    key = own.idempotency_key(request)
    reason = own.reason(request)
    later = own.wants_async(request)
    passed = _passed(request.scope["headers"], later=later)
    content = await read_content(
        request,
        gateway.bounds,
        most=gateway.uploads.get(tool, 0),
        shelf=gateway.shelf,
    )
    wanted = request_of(request.method, path, pairs, passed, content)
    call = Call(
        id=gateway.new_id("call"),
        subject=visit.subject,
        surface=Surface.HTTP,
        tool=tool,
        request=wanted,
        digest=http_digest(tool, wanted),
        received_at=gateway.clock.now(),
        idempotency_key=key,
        reason=reason,
        body=content.upload,
    )

    async def run() -> Response:
        visit.call, visit.began = call.id, True
        render = partial(relayed, take_s=gateway.bounds.upload_idle_s)
        handling = _handled(gateway, call, content.upload)
        if later:
            return await respond_async(gateway, call, handling, render)
        return render(await handling)

    return Act(what="http.forward", about={"call": call.id}, run=run)


async def _handled(gateway: Gateway, call: Call, upload: Upload | None) -> Reply:
    """``handle``, with ``upload`` thrown away once nobody can send it any more: a caller that goes
    away does not stop the call."""
    if upload is None:
        return await gateway.pipeline.handle(call)
    task = asyncio.create_task(gateway.pipeline.handle(call), name=f"upload of {call.id}")
    gateway.tasks.add(task)
    task.add_done_callback(gateway.tasks.discard)
    task.add_done_callback(lambda ended: _put_away(gateway, upload, ended))
    return await asyncio.shield(task)


def _put_away(gateway: Gateway, upload: Upload, ended: asyncio.Task[Reply]) -> None:
    """Throws ``upload`` away, unless a person has to decide first whether it is sent."""
    failed = ended.cancelled() or ended.exception() is not None
    refusal = None if failed else ended.result().outcome.refusal
    if refusal is not None and refusal.reason == "approval.required":
        gateway.shelf.keep(upload)
    else:
        upload.close()


def _target(gateway: Gateway, request: Request) -> tuple[str, str]:
    """The tool and the canonical path at it. The raw bytes alone count: what a framework has
    decoded on the way may mean something else."""
    raw: bytes = request.scope["raw_path"]
    _, _, tool, *rest = [*raw.decode("latin-1").split("/", 3), "", ""][:4]
    if not raw.startswith(b"/http/") or NAME.fullmatch(tool) is None:
        raise NotFound("There is no HTTP tool of this name here.")
    if gateway.upstreams.get(tool) != "http":
        raise NotFound(f"There is no HTTP tool called {tool!r} here.")
    try:
        return tool, path_from(segments_of("/" + rest[0]))
    except Ambiguous as error:
        raise Malformed(f"The path is not accepted: {error}.") from None


def _query(query: str) -> Pairs:
    try:
        pairs = query_of(query)
    except Ambiguous as error:
        raise Malformed(f"The query is not accepted: {error}.") from None
    return tuple(pair for pair in pairs if not overrides_method(pair[0]))


def _passed(raw: Sequence[tuple[bytes, bytes]], *, later: bool) -> dict[str, str]:
    """The headers that go on to the tool; one value for each name."""
    passed: dict[str, str] = {}
    for name_bytes, value_bytes in raw:
        name, value = name_bytes.decode("latin-1"), value_bytes.decode("latin-1")
        if not may_be_sent(name) or (later and name == "prefer"):
            continue
        passed[name] = f"{passed[name]}, {value}" if name in passed else value
    return passed


def request_of(
    method: str, path: str, query: Pairs, passed: Mapping[str, str], content: Content
) -> dict[str, Json]:
    """``Call.request``: exactly what is judged, bound by the digest, and sent."""
    return {
        "method": method,
        "path": path,
        "query": [[name, value] for name, value in query],
        "headers": dict(passed),
        "type": content.kind,
        "body": content.body,
    }


def http_digest(tool: str, request: Mapping[str, Json]) -> str:
    kept = {n: v for n, v in request["headers"].items() if n not in _FLEETING}
    return digest_of(Surface.HTTP, tool, {**request, "headers": kept})


def described(fields: Fields) -> dict[str, Json]:
    """The request that the body of ``/decide`` describes. What is no request at all raises
    ``Malformed``; a path that would be refused is judged as it stands."""
    method = fields.text("method", most=16).upper()
    if method not in METHODS:
        raise Malformed(f"'method' must be one of {', '.join(METHODS)}.")
    path, question, query = fields.text("path", most=8192).partition("?")
    given = fields.take("query")
    if question and given is not None:
        raise Malformed("The query stands in 'path' or in 'query', not in both.")
    pairs = _query(query) if given is None else _pairs(given)
    passed = _described_headers(fields.take("headers"))
    body = fields.take("body")
    kind = passed.pop("content-type", JSON_TYPE) if body is not None else None
    if kind == FORM_TYPE:
        body = [[name, value] for name, value in _pairs(body)]
    with contextlib.suppress(Ambiguous):
        path = path_from(segments_of(path))
    return request_of(method, path, pairs, passed, Content(kind=kind, body=body))


def _pairs(given: Json) -> Pairs:
    if isinstance(given, str):
        return _query(given.removeprefix("?"))
    items: list[tuple[Json, Json]] = []
    if isinstance(given, dict):
        for name, values in given.items():
            items += [(name, v) for v in (values if isinstance(values, list) else [values])]
    elif isinstance(given, list) and all(isinstance(p, list) and len(p) == 2 for p in given):
        items = [(name, value) for name, value in given]
    else:
        raise Malformed("A query is a text, an object, or a list of pairs.")
    for name, value in items:
        if not isinstance(name, str) or not (value is None or isinstance(value, str)):
            raise Malformed("The names and values of a query are texts.")
    return tuple(items)


def _described_headers(given: Json) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise Malformed("'headers' must be an object of texts.")
    passed: dict[str, str] = {}
    for name, value in given.items():
        low = name.lower()
        good = isinstance(value, str) and _HEADER_VALUE.fullmatch(value)
        if not good or _HEADER_NAME.fullmatch(low) is None or low in passed:
            raise Malformed("'headers' must be an object of texts, each name once.")
        if may_be_sent(low) or low == "content-type":
            passed[low] = value
    return passed


ENDPOINTS = tuple(
    Endpoint(
        method=method,
        path="/http/{tool}/{path:path}",
        access=Access.AGENT,
        read=forward,
        summary="Sends a request to an HTTP tool: decided, undoable, streamed both ways.",
        any_query=True,
        headers=("Idempotency-Key", "Holdfast-Session", "Holdfast-Reason", "Prefer"),
        answers={200: None, 202: "Accepted"},
    )
    for method in METHODS
)
