"""JSON Schemas of every body and answer, for ``/openapi.json``."""

from __future__ import annotations

from gateway.errors import REASONS
from gateway.lifecycle import State
from gateway.model import EffectState, Json, OnConflict, Reversibility
from gateway.surfaces.admin.freezes import EFFECTS

Schema = dict[str, Json]

TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}
TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
ANY: Schema = {}
OBJECT: Schema = {"type": "object"}
EFFECT: Schema = {"enum": [str(e) for e in EffectState]}
CALL_STATE: Schema = {"enum": [str(s) for s in State]}
SHORT: Schema = {"type": "string", "minLength": 1, "maxLength": 500}


def body(properties: dict[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    """What is sent: nothing beside the named fields."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def shown(properties: dict[str, Schema]) -> Schema:
    """What is answered: these fields at least."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def listed(name: str, of: str, following: str = "cursor") -> Schema:
    return shown({name: {"type": "array", "items": ref(of)}, following: MAYBE_TEXT})


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_SQL_PARTS: dict[str, Schema] = {
    "sql": TEXT,
    "params": {"type": ["array", "object"], "default": []},
    "stdin": {"type": ["string", "array"], "items": TEXT},
    "dry_run": {"type": "boolean", "default": False},
}
_SCOPE = body(
    {
        "sources": TEXTS,
        "tools": TEXTS,
        "tables": TEXTS,
        "agents": TEXTS,
        "effects": {"type": "array", "items": {"enum": sorted(EFFECTS)}},
    }
)
_FREEZE: dict[str, Schema] = {
    "id": TEXT,
    "scope": OBJECT,
    "reason": TEXT,
    "starts_at": TIME,
    "ends_at": TIME,
    "epoch": COUNT,
    "origin": TEXT,
    "created_by": TEXT,
    "lifted_at": TIME,
    "active": FLAG,
}
_PIN: dict[str, Schema] = {
    "server": TEXT,
    "tool": TEXT,
    "state": {"enum": ["approved", "waiting", "changed"]},
    "digest": TEXT,
    "approved": MAYBE_TEXT,
    "warnings": TEXTS,
    "document": OBJECT,
    "updated_at": TIME,
    "by": TEXT,
}
_AGENT: dict[str, Schema] = {
    "name": TEXT,
    "roles": TEXTS,
    "origin": {"enum": ["configuration", "store"]},
    "created_at": TIME,
    "revoked_at": TIME,
}
_UNDO = shown(
    {
        "reversibility": {"enum": [str(r) for r in Reversibility]},
        "available": FLAG,
        "expires_at": TIME,
    }
)
_UNDO["properties"] |= {"gone": TEXT}  # only where there was a way back and is none any more
_SNAPSHOT: dict[str, Schema] = {
    "id": TEXT,
    "call": TEXT,
    "upstream": TEXT,
    "kind": TEXT,
    "reversibility": TEXT,
    "bytes": COUNT,
    "sha256": TEXT,
    "created_at": TIME,
    "expires_at": TIME,
    "deleted_at": TIME,
    "erased_at": TIME,
    "place": {"enum": ["row", "file", None]},
    "stored_bytes": {"type": ["integer", "null"]},
    "key": {"type": ["string", "null"]},
}
_APPROVAL: dict[str, Schema] = {
    "id": TEXT,
    "call": TEXT,
    "state": {"enum": ["waiting", "approved", "rejected", "used", "expired"]},
    "digest": TEXT,
    "revision": TEXT,
    "reasons": TEXTS,
    "obligations": OBJECT,
    "created_at": TIME,
    "expires_at": TIME,
    "decided_by": MAYBE_TEXT,
    "note": MAYBE_TEXT,
    "action": {"type": ["object", "null"]},
    "measured": {"type": ["object", "null"]},
}

BODIES: dict[str, Schema] = {
    "SqlCall": body(_SQL_PARTS, ("sql",)),
    "DecideCall": body(
        {
            "surface": {"enum": ["sql", "http", "mcp"]},
            "tool": TEXT,
            **_SQL_PARTS,
            "method": TEXT,
            "path": TEXT,
            "query": ANY,
            "headers": ANY,
            "body": ANY,
            "arguments": ANY,
        },
        ("surface", "tool"),
    ),
    "UndoCall": body({"plan": FLAG, "reason": SHORT}),
    "FreezeOrder": body(
        {
            "scope": _SCOPE,
            "reason": SHORT,
            "starts_at": TIME,
            "ends_at": TIME,
            "drain": {"type": "boolean", "default": False},
        }
    ),
    "RevertOrder": body(
        {
            "call": TEXT,
            "session": TEXT,
            "agent": TEXT,
            "since": TIME,
            "until": TIME,
            "plan": {"type": "boolean", "default": False},
            "on_conflict": {"enum": [str(c) for c in OnConflict], "default": "abort"},
            "reason": SHORT,
        }
    ),
    "Ruling": body({"decision": {"enum": ["approve", "reject"]}, "note": SHORT}, ("decision",)),
    "Resolving": body({"effect": {"enum": ["applied", "none"]}, "note": SHORT}, ("effect",)),
    "PolicyText": body({"text": TEXT}, ("text",)),
    "PinRuling": body({"tool": TEXT, "digest": TEXT}, ("tool", "digest")),
    "NewAgent": body({"name": TEXT, "roles": TEXTS}, ("name",)),
    "Purge": body({"source": TEXT, "call": TEXT}, ("source", "call")),
    "Nothing": body({}),
}

_REVERT: dict[str, Schema] = {
    "id": TEXT,
    "state": {"enum": ["planned", "running", "reverted", "partial", "conflict", "failed"]},
    "target": OBJECT,
    "plan": FLAG,
    "on_conflict": {"enum": [str(c) for c in OnConflict]},
    "steps": {"type": "array", "items": ref("Step")},
    "reason": MAYBE_TEXT,
    "requested_by": TEXT,
    "created_at": TIME,
    "updated_at": TIME,
}
_CONFLICT: dict[str, Schema] = {
    "resource": TEXT,
    "key": ANY,
    "before": ANY,
    "after": ANY,
    "now": ANY,
    "why": TEXT,
}

ANSWERS: dict[str, Schema] = {
    "Problem": shown(
        {
            "type": TEXT,
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT,
            "reason": {"enum": sorted(REASONS)},
            "call": MAYBE_TEXT,
            "effect": EFFECT,
            "retryable": FLAG,
        }
    ),
    "Undo": _UNDO,
    "SqlResult": {
        **shown({"call": TEXT, "state": CALL_STATE, "effect": EFFECT, "undo": ref("Undo")}),
        "description": "One statement: verb, columns, rows and affected stand beside these "
        "fields. Several: `results` holds one such object each.",
    },
    "Accepted": shown({"call": TEXT, "state": CALL_STATE, "effect": EFFECT, "location": TEXT}),
    "Decided": shown(
        {
            "decision": {"enum": ["allow", "hold", "deny"]},
            "reason": MAYBE_TEXT,
            "reasons": TEXTS,
            "obligations": OBJECT,
            "revision": MAYBE_TEXT,
            "input": {"type": ["object", "null"]},
        }
    ),
    "Call": shown(
        {
            "call": TEXT,
            "state": CALL_STATE,
            "effect": EFFECT,
            "agent": TEXT,
            "session": TEXT,
            "tool": TEXT,
            "request": OBJECT,
            "decision": {"type": ["object", "null"]},
            "outcome": {"type": ["object", "null"]},
            "result": {"type": ["object", "null"]},
            "measured": {"type": ["object", "null"]},
            "undo": ref("Undo"),
            "received_at": TIME,
            "updated_at": TIME,
        }
    ),
    "Calls": listed("calls", "Call"),
    "Freeze": shown(_FREEZE),
    "FreezeAnswer": shown({**_FREEZE, "in_flight": TEXTS, "drained": FLAG}),
    "Freezes": shown({"freezes": {"type": "array", "items": ref("Freeze")}}),
    "Revert": shown(_REVERT),
    "RevertShown": shown(
        {
            **_REVERT,
            "progress": shown({"restored": COUNT, "total": COUNT}),
            "conflicts": {"type": "array", "items": ref("FoundConflict")},
            "cursor": MAYBE_TEXT,
        }
    ),
    "Step": shown(
        {
            "call": TEXT,
            "upstream": TEXT,
            "action": TEXT,
            "state": TEXT,
            "restored": COUNT,
            "conflicts": {"type": "array", "items": ref("Conflict")},
            "more": COUNT,
            "reason": MAYBE_TEXT,
            "detail": MAYBE_TEXT,
        }
    ),
    "Conflict": shown(_CONFLICT),
    "FoundConflict": shown({"call": TEXT, **_CONFLICT}),
    "SnapshotInfo": shown(_SNAPSHOT),
    "Snapshots": listed("snapshots", "SnapshotInfo"),
    "Snapshot": shown(
        {
            **_SNAPSHOT,
            "images": {"type": ["array", "null"], "items": OBJECT},
            "offset": COUNT,
            "next_offset": {"type": ["integer", "null"]},
        }
    ),
    "Rotated": shown({"key": TEXT, "rewrapped": COUNT, "damaged": COUNT, "plain": COUNT}),
    "Quarantine": shown(
        {
            "quarantine": {
                "type": "array",
                "items": shown(
                    {
                        "source": TEXT,
                        "place": TEXT,
                        "call": TEXT,
                        "agent": MAYBE_TEXT,
                        "at": TEXT,
                        "age_s": COUNT,
                        "objects": TEXTS,
                        "bytes": COUNT,
                        "expires_at": TIME,
                    }
                ),
            },
            "bytes": COUNT,
        }
    ),
    "Deleted": shown({"id": TEXT, "deleted": FLAG}),
    "Approval": shown(_APPROVAL),
    "Approvals": shown({"approvals": {"type": "array", "items": ref("Approval")}}),
    "Policies": shown(
        {
            "revision": TEXT,
            "policies": {"type": "array", "items": shown({"name": TEXT, "sha256": TEXT})},
        }
    ),
    "Policy": shown({"name": TEXT, "text": TEXT, "sha256": TEXT, "revision": TEXT}),
    "PolicyRevision": shown({"name": TEXT, "revision": TEXT}),
    "PolicyTests": shown(
        {"passed": COUNT, "failed": {"type": "array", "items": OBJECT}, "revision": TEXT}
    ),
    "AuditEntry": shown({"seq": COUNT, "hash": TEXT, "body": TEXT}),
    "AuditEntries": shown(
        {
            "entries": {"type": "array", "items": ref("AuditEntry")},
            "after": {"type": ["integer", "null"]},
        }
    ),
    "AuditVerdict": shown(
        {"ok": FLAG, "entries": COUNT, "head": TEXT, "fault": {"type": ["object", "null"]}}
    ),
    "Checkpoint": shown({"seq": COUNT, "hash": TEXT, "at": TIME}),
    "Pin": shown(_PIN),
    "Pins": shown({"tools": {"type": "array", "items": ref("Pin")}}),
    "Agent": shown(_AGENT),
    "AddedAgent": shown({**_AGENT, "token": TEXT}),
    "Agents": shown({"agents": {"type": "array", "items": ref("Agent")}}),
    "Revoked": shown({"name": TEXT, "revoked": FLAG}),
    "Health": shown({"status": {"const": "ok"}}),
    "Ready": shown({"status": TEXT, "parts": {"type": "object", "additionalProperties": TEXT}}),
    "OpenApi": OBJECT,
}

SCHEMAS: dict[str, Schema] = {**BODIES, **ANSWERS}
