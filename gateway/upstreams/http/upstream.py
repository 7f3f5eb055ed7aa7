"""An HTTP tool as an upstream: what a request would do, and how it is carried out and undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from gateway.addresses import Ambiguous, by_name, segments_of
from gateway.errors import UpstreamError
from gateway.interfaces import Clock, Probe, no_probe
from gateway.messages import FORM_TYPE, field_of, is_json
from gateway.model import (
    Action,
    ActionClass,
    Call,
    Deny,
    Effect,
    Finding,
    Json,
    Resource,
    Reversibility,
    ToolClass,
)
from gateway.upstreams.http.declared import DeclaredTool
from gateway.upstreams.http.graphql import NotJudged, Operation, operation_of
from gateway.upstreams.http.patterns import METHODS
from gateway.upstreams.http.routes import READING, VERBS, Route, Table
from gateway.upstreams.http.transport import Connect, Find, HttpTransport, nothing_kept
from gateway.upstreams.remote.plan import Maker, Plan, Retry
from gateway.upstreams.remote.pool import Lookup, Pool, look_up
from gateway.upstreams.remote.target import RemoteTarget

# A read may meet a connection that the tool is just closing; it is sent once more.
_READ_RETRY = Retry(attempts=2, base_s=0.05)


class HttpUpstream(RemoteTarget):
    """``table`` holds the compiled routes of ``tool``; ``find`` knows bodies kept aside;
    ``connect`` makes what carries requests: the gateway's own client, or ``by_httpx``."""

    def __init__(
        self, tool: DeclaredTool, table: Table, *, clock: Clock, lease_s: float,
        find: Find = nothing_kept, lookup: Lookup = look_up, probe: Probe = no_probe,
        connect: Connect = Pool,
    ) -> None:  # fmt: skip
        self._declared = tool
        self._table = table
        self._pool = connect(tool.origin, tool.bounds, internal=tool.internal, lookup=lookup)
        super().__init__(
            tool.name,
            HttpTransport(tool, table, self._pool, find),
            clock=clock,
            plan_of=self._plan_of,
            # Together shorter than the lease: nothing is sent for a call that recovery has taken
            # over. A large body may take its time; the answer to it has a deadline of its own.
            deadline_s=lease_s / 2,
            fresh_s=lease_s / 3,
            probe=probe,
        )

    # --- life -----------------------------------------------------------------------------

    async def open(self) -> None:
        """Connects nothing: a tool that is away is nobody else's trouble."""

    async def close(self) -> None:
        self._pool.close()

    async def check(self) -> list[Finding]:
        about = f"tool {self._declared.name}"
        try:
            connection = await self._pool.take(writes=True)
        except UpstreamError as error:
            return [Finding(level="warning", about=about, message=error.detail)]
        self._pool.give_back(connection)
        return []

    # --- parse ----------------------------------------------------------------------------

    async def parse(self, call: Call) -> Action | Deny:
        request = call.request
        method = request.get("method")
        try:
            segments = segments_of(str(request.get("path")))
        except Ambiguous as error:
            return Deny(reason="malformed", detail=f"The path is not accepted: {error}.")
        if method not in METHODS:
            return Deny(reason="malformed", detail="The method is not one that is passed on.")
        found = self._table.find(method, segments)
        route, params = found if found is not None else (None, {})
        refusal = None if route is None else _repeated(route, request)
        if refusal is not None:
            return refusal
        operation: Operation | None = None
        if route is not None and route.graphql:
            try:
                operation = _operation(request)
            except NotJudged as error:
                return Deny(reason="action.unsupported", detail=f"Refused: {error}.")
        return self._action(call, method, route, params, operation)

    def _action(
        self,
        call: Call,
        method: str,
        route: Route | None,
        params: Mapping[str, str],
        operation: Operation | None,
    ) -> Action:
        name = route.name if route is not None else f"{method} *"
        cls, verb, reversibility, why = self._judged(method, route, operation)
        effects = [Effect(verb=verb, kind="route", name=f"{self.name} {name}")]
        for field in operation.fields if operation is not None else ():
            asked = f"{self.name} {operation.kind if operation else ''} {field}"
            effects.append(Effect(verb=verb, kind="graphql", name=asked))
        plan = self._plan(call, route, params, cls, reversibility, name)
        return Action(
            surface=call.surface,
            tool=call.tool,
            name=verb,
            cls=cls,
            reversibility=reversibility,
            idempotent=plan.safe,
            digest=call.digest,
            effects=tuple(effects),
            resource=Resource(
                type="http_tool",
                id=self.name,
                environment=self._declared.environment,
                labels=self._declared.labels,
            ),
            http=_shown(call.request, route, params, operation),
            why_irreversible=why,
            tool_class=plan.tool_class,
            facts=plan,
        )

    def _judged(
        self, method: str, route: Route | None, operation: Operation | None
    ) -> tuple[ActionClass, str, Reversibility, str | None]:
        """Class, verb, reversibility, and why there is no way back."""
        none, irreversible = Reversibility.NONE, Reversibility.IRREVERSIBLE
        if route is None:
            if method in READING and self._declared.gets_are_safe:
                return ActionClass.READ, "read", none, None
            cls = ActionClass.DESTRUCTIVE if method == "DELETE" else ActionClass.WRITE
            return cls, VERBS[method], irreversible, "the route is not declared"
        if operation is not None and operation.kind == "query":
            return ActionClass.READ, "read", none, None
        if operation is not None and route.cls is ActionClass.READ:
            why = "it is a mutation, and the route is declared to read only"
            return ActionClass.WRITE, "call", irreversible, why
        why_not = "its route has no undo" if route.reversibility is irreversible else None
        return route.cls, route.verb, route.reversibility, why_not

    def _plan(
        self,
        call: Call,
        route: Route | None,
        params: Mapping[str, str],
        cls: ActionClass,
        reversibility: Reversibility,
        name: str,
    ) -> Plan:
        reads = cls is ActionClass.READ
        request = dict(call.request)
        if route is None or reads:
            return Plan(
                name=name,
                resource=request["path"],
                cls=cls,
                reversibility=reversibility,
                tool_class=ToolClass.OPAQUE,
                request=request,
                bare=call.body is None,
                retry=_READ_RETRY if reads else Retry(),
                safe=reads,
            )
        if route.reads_answers:
            # What templates look into must not be compressed.
            headers = {**(request.get("headers") or {}), "accept-encoding": "identity"}
            request["headers"] = headers
        return Plan(
            name=name,
            resource=request["path"],
            cls=cls,
            reversibility=reversibility,
            tool_class=_class_of(route, request),
            request=request,
            bare=call.body is None,
            values={"request": _root(request), "params": dict(params)},
            before=route.before,
            undo=route.undo,
            redo=route.redo,
            redo_safe=route.redo_safe,
            verify=route.verify,
            probing=route.probing,
            conditional=_if_match(request) if route.if_match else None,
            retry=route.retry,
            safe=route.safe,
            undo_safe=route.undo_safe,
            ignore=route.ignore,
            key_kept_s=route.key_kept_s,
            fence_s=route.fence_s,
        )

    async def _plan_of(self, call: Call) -> Plan | None:
        action = await self.parse(call)
        return None if isinstance(action, Deny) else action.facts


def _class_of(route: Route, request: Mapping[str, Json]) -> ToolClass:
    kind = request.get("type")
    if route.tool_class is ToolClass.KEYED and kind is not None and not _in_json(kind):
        # Its body is not recorded, so recovery cannot send it again under its key.
        return ToolClass.PROBEABLE if route.probing is not None else ToolClass.OPAQUE
    return route.tool_class


def _in_json(kind: str) -> bool:
    return is_json(kind) or kind == FORM_TYPE


def _if_match(request: Mapping[str, Json]) -> Maker:
    def make(values: Mapping[str, Json]) -> Mapping[str, Json]:
        # `KeyError` where the tool showed no ETag: then the request goes out as it is.
        tag = values["before"]["headers"]["etag"]
        return {**request, "headers": {**(request.get("headers") or {}), "if-match": tag}}

    return make


def _operation(request: Mapping[str, Json]) -> Operation:
    if request.get("query"):
        raise NotJudged("a GraphQL request carries no query parameters")
    if not is_json(request.get("type")):
        raise NotJudged("a GraphQL request is sent as application/json")
    return operation_of(request.get("body"))


def _repeated(route: Route, request: Mapping[str, Json]) -> Deny | None:
    """Refuses a declared scalar that is given more than once: tools differ in which one counts."""
    form = request.get("body") if request.get("type") == FORM_TYPE else ()
    for pairs in (request.get("query") or (), form or ()):
        fields = Counter(field_of(name or "") for name, _ in pairs)
        declared = {field_of(scalar) for scalar in route.scalars}
        for name, _ in pairs:
            field = field_of(name or "")
            if field in declared and (fields[field] > 1 or name not in route.scalars):
                shown = (name or "")[:64]
                return Deny(
                    reason="malformed",
                    detail=f"The parameter {shown!r} may be given once only, as a plain value.",
                )
    return None


def _root(request: Mapping[str, Json]) -> dict[str, Json]:
    """``request`` as templates see it."""
    return {
        "method": request["method"],
        "path": request["path"],
        "query": {n: v[0] if len(v) == 1 else v for n, v in by_name(request["query"]).items()},
        "headers": dict(request.get("headers") or {}),
        "body": _seen_body(request),
    }


def _seen_body(request: Mapping[str, Json]) -> Json:
    body = request.get("body")
    if request.get("type") == FORM_TYPE and isinstance(body, Sequence):
        return {n: v[0] if len(v) == 1 else v for n, v in by_name(body).items()}
    return body


def _shown(
    request: Mapping[str, Json],
    route: Route | None,
    params: Mapping[str, str],
    operation: Operation | None,
) -> dict[str, Json]:
    """``action.http`` for policy."""
    return {
        "method": request["method"],
        "route": None if route is None else route.name,
        "path": request["path"],
        "params": dict(params),
        "query": by_name(request.get("query") or ()),
        "headers": dict(request.get("headers") or {}),
        "type": request.get("type"),
        "body": by_name(request["body"])
        if request.get("type") == FORM_TYPE
        else request.get("body"),
        "graphql": None if operation is None else operation.as_json(),
    }
