"""The life of a call as a table: every state, every legal move, nothing else.

``tests/model`` explores this machine together with crashes, freezes and approvals; a move that is
not in ``MOVES`` cannot be written by any store.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    RECEIVED = "received"  # in memory only
    DENIED = "denied"
    HELD = "held"
    INTENT = "intent"
    EXECUTING = "executing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REVERTING = "reverting"
    REVERTED = "reverted"
    CONFLICT = "conflict"


class Move(StrEnum):
    """The name under which a move stands in the audit log."""

    DENY = "deny"
    HOLD = "hold"
    INTEND = "intend"
    BEGIN = "begin"
    PERMIT = "permit"
    SETTLE = "settle"
    RECOVER = "recover"


# A revert is a call of its own: it runs in REVERTING where a call runs in EXECUTING.
MOVES: dict[tuple[State, Move], frozenset[State]] = {
    (State.RECEIVED, Move.DENY): frozenset({State.DENIED}),
    (State.RECEIVED, Move.HOLD): frozenset({State.HELD}),
    (State.RECEIVED, Move.INTEND): frozenset({State.INTENT}),
    (State.HELD, Move.DENY): frozenset({State.DENIED}),
    (State.HELD, Move.INTEND): frozenset({State.INTENT}),
    (State.INTENT, Move.DENY): frozenset({State.DENIED}),
    (State.INTENT, Move.BEGIN): frozenset({State.EXECUTING, State.REVERTING}),
    (State.INTENT, Move.RECOVER): frozenset({State.FAILED}),
    (State.EXECUTING, Move.PERMIT): frozenset({State.EXECUTING}),
    (State.EXECUTING, Move.SETTLE): frozenset({State.SUCCEEDED, State.FAILED, State.UNKNOWN}),
    (State.EXECUTING, Move.RECOVER): frozenset({State.EXECUTING}),
    (State.UNKNOWN, Move.SETTLE): frozenset({State.SUCCEEDED, State.FAILED}),
    (State.REVERTING, Move.PERMIT): frozenset({State.REVERTING}),
    (State.REVERTING, Move.SETTLE): frozenset(
        {State.REVERTED, State.CONFLICT, State.FAILED, State.UNKNOWN}
    ),
    (State.REVERTING, Move.RECOVER): frozenset({State.REVERTING}),
}

SETTLED = frozenset({State.DENIED, State.SUCCEEDED, State.FAILED, State.REVERTED, State.CONFLICT})
RUNNING = frozenset({State.EXECUTING, State.REVERTING})
# What a revert may take back: one effect, known to have happened.
REVERTIBLE = frozenset({State.SUCCEEDED, State.REVERTED})


class IllegalMove(AssertionError):
    """The program tried a move that the table does not have: a bug, never an input."""


def move(current: State, name: Move, target: State) -> State:
    """``target`` if the table has this move, ``IllegalMove`` otherwise."""
    if target not in MOVES.get((current, name), frozenset()):
        raise IllegalMove(f"{current} may not {name} to {target}")
    return target
