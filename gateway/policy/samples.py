"""Calls of every kind that policies are tried on when they are loaded, so that a rule which would
fail while deciding is found before it decides."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.interfaces import Context
from gateway.model import (
    Action,
    ActionClass,
    Approval,
    Call,
    Effect,
    Freeze,
    Json,
    Measured,
    Obligations,
    Resource,
    Reversibility,
    RowCounts,
    Scope,
    SqlAction,
    Statement,
    Subject,
    Surface,
)
from gateway.policy.input import COUNTERS, policy_input

_NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
_COUNTS = dict.fromkeys(COUNTERS, 1)
_MANY = 40  # effects in the largest sample: more than most statements have


def samples() -> list[dict[str, Json]]:
    """Policy inputs: a read, a guarded write with everything set, a large write, DDL, an HTTP
    call, an MCP call, and one without roles or effects."""
    return [
        _sql("select", ActionClass.READ, effects=1),
        _sql("delete", ActionClass.DESTRUCTIVE, effects=1, context=_full_context()),
        _sql("update", ActionClass.WRITE, effects=_MANY),
        _sql("drop", ActionClass.DDL, effects=1, environment="development"),
        _other(Surface.HTTP, http={"method": "DELETE", "route": "/x/{id}", "path": "/x/1"}),
        _other(Surface.MCP, mcp={"server": "s", "tool": "t", "arguments": {}, "annotations": {}}),
        _sql("select", ActionClass.READ, effects=0, roles=()),
    ]


def _call(surface: Surface, roles: tuple[str, ...]) -> Call:
    return Call(
        id="sample",
        subject=Subject(id="sample", roles=roles, session="sample"),
        surface=surface,
        tool="sample",
        request={},
        digest="0" * 64,
        received_at=_NOW,
    )


def _action(surface: Surface, name: str, cls: ActionClass, **parts: Any) -> Action:
    return Action(
        surface=surface,
        tool="sample",
        name=name,
        cls=cls,
        reversibility=Reversibility.NONE if cls is ActionClass.READ else Reversibility.EXACT,
        idempotent=cls is ActionClass.READ,
        digest="0" * 64,
        **parts,
    )


def _sql(
    verb: str,
    cls: ActionClass,
    *,
    effects: int,
    environment: str = "production",
    roles: tuple[str, ...] = ("developer", "maintainer", "reader"),
    context: Context | None = None,
) -> dict[str, Json]:
    found = tuple(
        Effect(verb=verb, kind="table", name=f"main.t{n}", columns=("*",), bounded=n % 2 == 0)
        for n in range(effects)
    )
    statement = Statement(verb=verb, tables=tuple(effect.name for effect in found))
    action = _action(
        Surface.SQL,
        verb,
        cls,
        effects=found,
        resource=Resource(type="sql_source", id="sample", environment=environment),
        sql=SqlAction(dialect="sqlite", text="...", statements=(statement,), params=[1, "a", None]),
    )
    return policy_input(_call(Surface.SQL, roles), action, context or Context(time=_NOW))


def _other(surface: Surface, **parts: Any) -> dict[str, Json]:
    action = _action(
        surface,
        "delete",
        ActionClass.DESTRUCTIVE,
        effects=(Effect(verb="delete", kind="route", name="DELETE /x/{id}"),),
        resource=Resource(type="tool", id="sample", environment="production"),
        **parts,
    )
    return policy_input(_call(surface, ("developer",)), action, Context(time=_NOW))


def _full_context() -> Context:
    scope = Scope(effects=("destructive",))
    return Context(
        time=_NOW,
        freezes=(Freeze(id="sample", scope=scope, reason="release", starts_at=_NOW, ends_at=_NOW),),
        measured=Measured(tables={"main.t0": RowCounts(deleted=3)}, share=0.01),
        counters={"session": _COUNTS, "hour": _COUNTS},
        reason="sample",
        approval=Approval(
            id="sample",
            call="sample",
            digest="0" * 64,
            revision="",
            reasons=("sample",),
            obligations=Obligations(approvers=("maintainer",)),
            state="approved",
            created_at=_NOW,
            expires_at=_NOW,
            decided_by="admin",
        ),
    )
