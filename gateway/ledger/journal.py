"""Writing the audit log: one entry in the transaction of the move that it records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from gateway.audit import GENESIS, seal
from gateway.ledger.tables import Tables
from gateway.lifecycle import Move, State
from gateway.model import CallRecord, Deny, Json


def note(tables: Tables, at: datetime, event: str, fields: Mapping[str, Json]) -> None:
    """The next entry of the chain. Whatever fails here fails the move."""
    head = tables.head()
    previous, seq = (head.hash, head.seq + 1) if head else (GENESIS, 1)
    tables.append(seal(previous, seq, at, event, fields))


def note_move(
    tables: Tables,
    at: datetime,
    move: Move,
    source: State,
    record: CallRecord,
    **fields: Json,
) -> None:
    """The entry of one move of a call. Never the statement, its values or rows."""
    call = record.call
    entry: dict[str, Json] = {
        "call": call.id,
        "from": str(source),
        "to": str(record.state),
        "generation": record.generation,
        "subject": call.subject.id,
        "session": call.subject.session,
        "surface": str(call.surface),
        "tool": call.tool,
        "digest": call.digest,
        "effect": str(record.effect),
    }
    if call.reverts:
        entry["reverts"] = list(call.reverts)
    if record.approval:
        entry["approval"] = record.approval
    note(tables, at, f"call.{move}", {**entry, **fields})


def shown(deny: Deny) -> dict[str, Json]:
    """A denial in the log: its codes, not its sentences, which may quote the target."""
    return {"reason": deny.reason, "reasons": list(deny.reasons)}
