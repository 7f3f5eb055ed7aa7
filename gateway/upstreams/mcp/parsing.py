"""A call becomes the action that policy judges and the plan that is carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gateway.interfaces.mcp import Client
from gateway.model import (
    Action,
    ActionClass,
    Call,
    Deny,
    Effect,
    Json,
    Resource,
    Reversibility,
    Surface,
    ToolClass,
)
from gateway.upstreams.mcp.catalog import Tool
from gateway.upstreams.mcp.shelf import Shelf
from gateway.upstreams.mcp.spec import NOT_DECLARED, UNDECLARED, ServerSpec, ToolSpec, request_of
from gateway.upstreams.remote.plan import Plan

# What is read, beside tools, and the kind of its effect.
_READS: Mapping[str, str] = {
    "resources/read": "mcp_resource",
    "prompts/get": "mcp_prompt",
    "completion/complete": "mcp_completion",
}
_VERBS = {ActionClass.READ: "read", ActionClass.WRITE: "update", ActionClass.DESTRUCTIVE: "delete"}
CALL = "call"  # what nobody has declared could be anything


def client_of(call: Call) -> Client:
    """Whom the server is asked for; a call that is carried out later has no client any more."""
    known: Client | None = getattr(call.body, "client", None)
    return known or Client(owner=call.subject.id)


async def action_of(call: Call, spec: ServerSpec, shelf: Shelf) -> Action | Deny:
    """Raises ``UpstreamError`` when the server cannot be asked for its tools."""
    method = call.request.get("method")
    if method == "tools/call":
        return await _tool_call(call, spec, shelf)
    if method in _READS:
        return _read(call, spec)
    return Deny(reason="action.unsupported", detail=f"{method} is not an action of MCP servers.")


async def _tool_call(call: Call, spec: ServerSpec, shelf: Shelf) -> Action | Deny:
    name, arguments = call.request.get("name"), call.request.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return Deny(reason="malformed", detail="A tool call has a name and an object of arguments.")
    tool = await shelf.tool(client_of(call), name)
    refusal = _unusable(spec, name, tool, arguments)
    if refusal is not None or tool is None:
        return refusal or _unknown(spec, name)
    declared = spec.tool(name)
    cls = raised(declared.cls, tool.annotations)
    # Answers that the client gave in advance are not recorded; a conversation needs no record.
    bare = getattr(call.body, "inputs", None) is None
    plan = replace(_plan(spec, name, arguments, declared, cls), bare=bare)
    return _action(
        call,
        spec,
        effect=Effect(
            verb=CALL if declared is UNDECLARED else _VERBS.get(cls, CALL),
            kind="mcp_tool",
            name=f"{spec.name} {name}",
            columns=("*",),
        ),
        plan=plan,
        why=declared.why,
        mcp={
            "server": spec.name,
            "tool": name,
            "arguments": arguments,
            "annotations": dict(tool.annotations),
        },
    )


def _unusable(
    spec: ServerSpec, name: str, tool: Tool | None, arguments: Mapping[str, Json]
) -> Deny | None:
    if tool is None:
        return _unknown(spec, name)
    if tool.fault is not None or tool.check is None:
        return Deny(
            reason="tool.unapproved",
            detail=f"The tool {spec.name}.{name} is disabled: {tool.fault}. A person has to look "
            f"at it: holdfast mcp tools {spec.name}.",
        )
    fault = tool.check.fault(arguments)
    if fault is not None:
        return Deny(reason="malformed", detail=f"{spec.name}.{name} does not accept this: {fault}.")
    return None


def _unknown(spec: ServerSpec, name: str) -> Deny:
    return Deny(
        reason="unknown_tool", detail=f"The server {spec.name} has no tool called {name[:128]!r}."
    )


def raised(cls: ActionClass, annotations: Mapping[str, Json]) -> ActionClass:
    """What a server says of its tool counts only where it makes the tool look worse."""
    if annotations.get("readOnlyHint") is True:
        return cls
    if annotations.get("destructiveHint") is True and cls is not ActionClass.ADMIN:
        return cls if cls is ActionClass.DDL else ActionClass.DESTRUCTIVE
    if annotations.get("readOnlyHint") is False and cls is ActionClass.READ:
        return ActionClass.WRITE
    return cls


def plan_of(call: Call, spec: ServerSpec) -> Plan | None:
    """How a recorded call is declared now."""
    name, arguments = call.request.get("name"), call.request.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    declared = spec.tool(name)
    return _plan(spec, name, arguments, declared, declared.cls)


def _plan(
    spec: ServerSpec,
    name: str,
    arguments: Mapping[str, Json],
    declared: ToolSpec,
    cls: ActionClass,
) -> Plan:
    reversibility = declared.reversibility
    if cls is ActionClass.READ:
        reversibility = Reversibility.NONE
    elif reversibility is Reversibility.NONE:
        reversibility = Reversibility.IRREVERSIBLE  # declared a read, and the server knows better
    return Plan(
        name=f"{spec.name}.{name}",
        resource=f"{spec.name}.{name}",
        cls=cls,
        reversibility=reversibility,
        tool_class=declared.tool_class,
        request=request_of(name, dict(arguments)),
        values={"arguments": dict(arguments)},
        before=declared.before,
        undo=declared.undo,
        redo=declared.redo,
        redo_safe=declared.redo_safe,
        verify=declared.verify,
        probing=declared.probing,
        retry=declared.retry,
        ignore=declared.ignore,
        safe=declared.safe or cls is ActionClass.READ,
        undo_safe=declared.undo_safe,
    )


def _read(call: Call, spec: ServerSpec) -> Action | Deny:
    method = str(call.request["method"])
    named = call.request.get("uri" if method == "resources/read" else "name")
    if method == "completion/complete":
        ref = call.request.get("ref")
        named = (ref.get("uri") or ref.get("name")) if isinstance(ref, dict) else None
    if not isinstance(named, str):
        return Deny(reason="malformed", detail=f"{method} does not say what it is about.")
    plan = Plan(
        name=f"{spec.name}.{method}",
        resource=named,
        cls=ActionClass.READ,
        reversibility=Reversibility.NONE,
        tool_class=ToolClass.OPAQUE,
        request=dict(call.request),
        safe=True,
    )
    shown = {k: v for k, v in call.request.items() if k not in ("method", "_meta")}
    return _action(
        call,
        spec,
        effect=Effect(verb="read", kind=_READS[method], name=f"{spec.name} {method}"),
        plan=plan,
        mcp={"server": spec.name, "tool": method, "arguments": shown, "annotations": {}},
    )


def _action(
    call: Call,
    spec: ServerSpec,
    *,
    effect: Effect,
    plan: Plan,
    mcp: Mapping[str, Json],
    why: str = NOT_DECLARED,
) -> Action:
    irreversible = plan.reversibility is Reversibility.IRREVERSIBLE
    return Action(
        surface=Surface.MCP,
        tool=plan.name,
        name=effect.verb,
        cls=plan.cls,
        reversibility=plan.reversibility,
        idempotent=plan.safe,
        digest=call.digest,
        effects=(effect,),
        resource=Resource(
            type="mcp_server", id=spec.name, environment=spec.stage, labels=dict(spec.labels)
        ),
        mcp=mcp,
        why_irreversible=why if irreversible else None,
        tool_class=plan.tool_class,
        facts=plan,
    )
