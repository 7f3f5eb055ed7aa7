"""Counters of calls that are decided again."""

from __future__ import annotations

from typing import Any

from gateway.cli.recounting import counters_before


def call(id: str, at: str, **about: Any) -> dict[str, Any]:
    return {
        "call": id,
        "state": "succeeded",
        "effect": "applied",
        "agent": "a7",
        "session": "s",
        "received_at": f"2026-11-24T{at}:00Z",
        "generation": 1,
        "action": {"class": "destructive"},
        "measured": {"rows": 3},
        **about,
    }


def test_each_call_sees_the_earlier_ones_of_its_subject() -> None:
    recorded = [  # newest first
        call("e", "12:00"),
        call("d", "10:20", agent="b8"),
        call("c", "10:10", state="failed", effect="none", session="t"),
        call("b", "10:05", state="denied", effect="none", generation=0),
        call("a", "10:00"),
    ]
    found = counters_before(recorded)
    assert not any(found["a"]["hour"].values())
    assert (found["b"]["session"]["rows"], found["b"]["hour"]["destructive"]) == (3, 1)
    assert (found["c"]["session"]["calls"], found["c"]["hour"]["denied"]) == (0, 1)
    assert not any(found["d"]["hour"].values())
    assert (found["e"]["session"]["calls"], found["e"]["hour"]["calls"]) == (2, 0)
