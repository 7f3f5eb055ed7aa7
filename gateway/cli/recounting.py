"""``context.counters`` of calls that are decided again, out of their records."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from datetime import datetime

from gateway.lifecycle import State
from gateway.model import Json
from gateway.store.counting import HOUR, Counts, counted
from gateway.store.rows import Tallied


def counters_before(recorded: Sequence[Mapping[str, Json]]) -> dict[str, Mapping[str, Json]]:
    """By call id, what its subject had done before it, as far as ``recorded`` (newest first)
    goes back. Calls count as they ended, which at that time may not have been known."""
    sessions: dict[tuple[str, str], Counts] = defaultdict(Counts)
    hours: dict[str, Counts] = defaultdict(Counts)
    recent: dict[str, deque[tuple[datetime, Counts]]] = defaultdict(deque)
    found: dict[str, Mapping[str, Json]] = {}
    for call in reversed(recorded):
        agent, key = call["agent"], (call["agent"], call["session"])
        at, past = datetime.fromisoformat(call["received_at"]), recent[call["agent"]]
        while past and past[0][0] + HOUR < at:
            hours[agent] = hours[agent].minus(past.popleft()[1])
        found[call["call"]] = {
            "session": sessions[key]._asdict(),
            "hour": hours[agent]._asdict(),
        }
        counts = _counts(call)
        past.append((at, counts))
        sessions[key], hours[agent] = sessions[key].plus(counts), hours[agent].plus(counts)
    return found


def _counts(call: Mapping[str, Json]) -> Counts:
    if call.get("reverts"):
        return Counts()
    state, measured = State(call["state"]), call.get("measured") or {}
    landed = call.get("effect") != "none"
    return counted(
        Tallied(
            minute="",
            state=state,
            begun=int(call.get("generation", 0) > 0),
            dry_run=int(call.get("dry_run") or 0),
            cls=(call.get("action") or {}).get("class"),
            calls=1,
            rows=measured.get("rows", 0) if landed else 0,
        )
    )
