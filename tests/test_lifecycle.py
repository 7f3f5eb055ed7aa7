from __future__ import annotations

import itertools

import pytest

from gateway.lifecycle import MOVES, REVERTIBLE, RUNNING, SETTLED, IllegalMove, Move, State, move

# Written out by hand: a change of the table has to be made twice, on purpose.
LEGAL = {
    ("received", "deny", "denied"),
    ("received", "hold", "held"),
    ("received", "intend", "intent"),
    ("held", "deny", "denied"),
    ("held", "intend", "intent"),
    ("intent", "deny", "denied"),
    ("intent", "begin", "executing"),
    ("intent", "begin", "reverting"),
    ("intent", "recover", "failed"),
    ("executing", "permit", "executing"),
    ("executing", "settle", "succeeded"),
    ("executing", "settle", "failed"),
    ("executing", "settle", "unknown"),
    ("executing", "recover", "executing"),
    ("unknown", "settle", "succeeded"),
    ("unknown", "settle", "failed"),
    ("reverting", "permit", "reverting"),
    ("reverting", "settle", "reverted"),
    ("reverting", "settle", "conflict"),
    ("reverting", "settle", "failed"),
    ("reverting", "settle", "unknown"),
    ("reverting", "recover", "reverting"),
}


@pytest.mark.parametrize("current", State)
@pytest.mark.parametrize("name", Move)
def test_exactly_the_legal_moves_are_accepted(current: State, name: Move) -> None:
    for target in State:
        if (current, name, target) in LEGAL:
            assert move(current, name, target) is target
        else:
            with pytest.raises(IllegalMove):
                move(current, name, target)


def test_a_settled_state_is_never_left() -> None:
    for state, name, target in itertools.product(SETTLED, Move, State):
        with pytest.raises(IllegalMove):
            move(state, name, target)


def test_every_state_that_is_not_settled_can_be_settled() -> None:
    leads_on = {
        state: {t for (s, _), targets in MOVES.items() if s is state for t in targets}
        for state in State
    }
    for state in set(State) - SETTLED:
        reachable, frontier = {state}, {state}
        while frontier:
            frontier = {t for s in frontier for t in leads_on[s]} - reachable
            reachable |= frontier
        assert reachable & SETTLED, state


def test_every_state_is_reached_from_received() -> None:
    reachable = {State.RECEIVED}
    for _ in State:
        reachable |= {t for (s, _), targets in MOVES.items() if s in reachable for t in targets}

    assert reachable == set(State)


def test_a_running_call_is_one_that_may_get_a_permit() -> None:
    assert {state for state, name in MOVES if name is Move.PERMIT} == RUNNING


def test_only_settled_states_with_an_effect_are_revertible() -> None:
    assert {State.SUCCEEDED, State.REVERTED} == REVERTIBLE
    assert REVERTIBLE < SETTLED


def test_an_illegal_move_names_itself() -> None:
    with pytest.raises(IllegalMove, match="denied may not settle to succeeded"):
        move(State.DENIED, Move.SETTLE, State.SUCCEEDED)
