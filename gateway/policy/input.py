"""The policy input document, version 1, and the gate that every document passes before an engine.

Parts that a call does not have are present: ``null`` for objects, empty for lists. So a policy
never has to tell "absent" from "empty", and a misspelt field is the only undefined one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.interfaces import Context
from gateway.model import Action, Approval, Call, Freeze, Json, Measured, SqlAction

MAX_DEPTH = 64
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
_EXACT = 2**53  # counts stay within what every JSON reader keeps exactly
_TIME = re.compile(r"(?:19[7-9]\d|20\d\d)-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|\+00:00)")
# The fields of the first two levels; deeper ones differ by surface.
FIELDS: Mapping[str, frozenset[str]] = {
    "version": frozenset(),
    "subject": frozenset({"id", "roles", "session", "delegation"}),
    "action": frozenset(
        {
            "surface",
            "tool",
            "name",
            "class",
            "reversibility",
            "idempotent",
            "digest",
            "effects",
            "sql",
            "http",
            "mcp",
        }
    ),
    "resource": frozenset({"type", "id", "environment", "labels"}),
    "context": frozenset({"time", "freezes", "measured", "counters", "reason", "approval"}),
}

# Of the subject's session and of its last hour; what each counts is told in docs/policies.md.
COUNTED = ("session", "hour")
COUNTERS = ("calls", "reads", "writes", "destructive", "rows", "denied", "failed", "unknown")


def policy_input(call: Call, action: Action, context: Context) -> dict[str, Json]:
    """The document that policy judges, version 1, made of plain JSON values."""
    subject = call.subject
    return {
        "version": 1,
        "subject": {
            "id": subject.id,
            "roles": list(subject.roles),
            "session": subject.session,
            "delegation": list(subject.delegation),
        },
        "action": action_json(action),
        "resource": {
            "type": action.resource.type,
            "id": action.resource.id,
            "environment": action.resource.environment,
            "labels": dict(action.resource.labels),
        },
        "context": {
            "time": _time(context.time),
            "freezes": [_freeze(freeze) for freeze in context.freezes],
            "measured": _measured(context.measured),
            "counters": _plain(context.counters),
            "reason": context.reason,
            "approval": _approval(context.approval),
        },
    }


def action_json(action: Action) -> dict[str, Json]:
    """The ``action`` member of the policy input; the store keeps it on the call's row."""
    return {
        "surface": str(action.surface),
        "tool": action.tool,
        "name": action.name,
        "class": str(action.cls),
        "reversibility": str(action.reversibility),
        "idempotent": action.idempotent,
        "digest": action.digest,
        "effects": [
            {
                "verb": effect.verb,
                "kind": effect.kind,
                "name": effect.name,
                "columns": list(effect.columns),
                "bounded": effect.bounded,
            }
            for effect in action.effects
        ],
        "sql": _sql(action.sql),
        "http": None if action.http is None else _plain(action.http),
        "mcp": None if action.mcp is None else _plain(action.mcp),
    }


def _sql(sql: SqlAction | None) -> dict[str, Json] | None:
    if sql is None:
        return None
    return {
        "dialect": sql.dialect,
        "text": sql.text,
        "statements": [
            {
                "verb": statement.verb,
                "tables": list(statement.tables),
                "functions": list(statement.functions),
                "bounded": statement.bounded,
            }
            for statement in sql.statements
        ],
        "params": _plain(sql.params),
        **({"stdin": list(sql.stdin)} if sql.stdin else {}),
    }


def _freeze(freeze: Freeze) -> dict[str, Json]:
    return {
        "id": freeze.id,
        "reason": freeze.reason,
        "scope": freeze.scope.as_json(),
        "until": None if freeze.ends_at is None else _time(freeze.ends_at),
    }


def _measured(measured: Measured | None) -> dict[str, Json] | None:
    shown: dict[str, Json] | None = None if measured is None else _plain(measured.as_json())
    return shown


def _approval(approval: Approval | None) -> dict[str, Json] | None:
    if approval is None:
        return None
    return {
        "id": approval.id,
        "state": approval.state,
        "approvers": list(approval.obligations.approvers),
        "decided_by": approval.decided_by,
        "expires_at": _time(approval.expires_at),
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _plain(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)  # JSON has one kind of number; engines print 2 and 2.0 differently
    return value


def fault_of(document: object) -> str | None:
    """Why ``document`` may not reach an engine, or ``None``. Engines differ on exactly these
    values (deep nesting, NUL, numbers that are not finite or over 64 bit), so none of them passes.
    """
    fault = None if _is_plain(document, MAX_DEPTH) else _value_fault(document, MAX_DEPTH, "input")
    return fault or _shape_fault(document)


def _is_plain(value: object, depth: int) -> bool:
    """Whether ``value`` is without fault for certain: the quick answer for nearly all documents;
    where it is no, ``_value_fault`` looks closely and says why."""
    level: list[Any] = [value]
    while level:
        below: list[Any] = []
        for each in level:
            kind = type(each)
            if kind is dict:
                if not all(map(_is_plain_key, each)):
                    return False
                below.extend(each.values())
            elif kind is list:
                below.extend(each)
            elif not _is_plain_scalar(each, kind):
                return False
            if depth == 0 and (kind is dict or kind is list):
                return False
        level = below
        depth -= 1
    return True


def _is_plain_key(key: Any) -> bool:
    return type(key) is str and key.isascii() and "\x00" not in key


def _is_plain_scalar(value: Any, kind: type) -> bool:
    if kind is str:
        return value.isascii() and "\x00" not in value
    if kind is int:
        plain: bool = _SMALLEST <= value <= _LARGEST
        return plain
    return value is None or kind is bool


def _value_fault(value: object, depth: int, at: str) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return _text_fault(value, at)
    if isinstance(value, int):
        return None if _SMALLEST <= value <= _LARGEST else f"{at} is over 64 bit"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{at} is not a finite number"
    if depth == 0:
        return "the input is nested too deeply"
    for where, member in _members(value, at):
        fault = _value_fault(member, depth - 1, where)
        if fault is not None:
            return fault
    return None if isinstance(value, Mapping | list) else f"{at} is not a JSON value"


def _members(value: object, at: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield f"a key of {at}", key if isinstance(key, str) else object()
            yield f"{at}.*", member
    elif isinstance(value, list):
        for member in value:
            yield f"{at}[]", member


def _text_fault(text: str, at: str) -> str | None:
    if "\x00" in text:
        return f"{at} holds a NUL character"
    if text.isascii():
        return None
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return f"{at} holds half of a surrogate pair"
    return None


def _shape_fault(document: object) -> str | None:
    if not isinstance(document, Mapping) or set(document) != set(FIELDS):
        return "the input does not have the parts of version 1"
    version = document["version"]
    if version != 1 or isinstance(version, bool):
        return "the input is not version 1"
    for part, fields in FIELDS.items():
        if fields and (
            not isinstance(document[part], Mapping) or not fields.issuperset(document[part])
        ):
            return f"input.{part} has unknown fields"
    time = document["context"].get("time")
    if not isinstance(time, str) or _TIME.fullmatch(time) is None:
        return "input.context.time is not a time in UTC"
    fault = _counters_fault(document["context"].get("counters"))
    return fault or _measured_fault(document["context"].get("measured"))


def _counters_fault(counters: object) -> str | None:
    if not isinstance(counters, Mapping) or not counters.keys() <= set(COUNTED):
        return "input.context.counters has unknown parts"
    for part, counts in counters.items():
        if not isinstance(counts, Mapping) or not counts.keys() <= set(COUNTERS):
            return f"input.context.counters.{part} has unknown counts"
        for count in counts.values():
            if not isinstance(count, int) or isinstance(count, bool) or abs(count) >= _EXACT:
                return f"input.context.counters.{part} has something that is not a count"
    return None


def _measured_fault(measured: object) -> str | None:
    if measured is None:
        return None
    if not isinstance(measured, Mapping):
        return "input.context.measured is not an object"
    rows, share = measured.get("rows"), measured.get("share")
    if not isinstance(rows, int) or isinstance(rows, bool) or not 0 <= rows < _EXACT:
        return "input.context.measured.rows is not a count"
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 <= share <= 1:
        return "input.context.measured.share is not between 0 and 1"
    return None
