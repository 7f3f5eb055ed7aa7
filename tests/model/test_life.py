"""Every reachable world of every configuration keeps the invariants; every planted bug breaks one.

``HOLDFAST_MODEL=big`` explores larger bounds.
"""

from __future__ import annotations

import os

import pytest

from gateway.lifecycle import MOVES
from tests.model.bugs import Bug
from tests.model.checker import Exploration, TooLarge, explore
from tests.model.configurations import CONFIGURATIONS, MOST
from tests.model.invariants import invariants
from tests.model.walk import Walk
from tests.model.world import World, start

SIZE = os.environ.get("HOLDFAST_MODEL", "small")

# Where each bug shows, and the number of the invariant it breaks.
PLANTED: dict[Bug, tuple[str, str]] = {
    Bug.DISPATCH_BEFORE_INTENT: ("transactional", "1"),
    Bug.PERMIT_WITHOUT_UNDO: ("transactional", "1"),
    Bug.COMMIT_WITHOUT_CONFIRMED_PERMIT: ("transactional", "1"),
    Bug.FREEZE_CHECKED_ONLY_WHEN_DECIDING: ("transactional", "3"),
    Bug.PERMIT_IGNORES_THE_FREEZE: ("transactional", "3"),
    Bug.DRAINED_WITHOUT_WAITING: ("two calls and a freeze", "3"),
    Bug.RECOVERY_FAILS_WITHOUT_ASKING: ("transactional", "4"),
    Bug.RECOVERY_SUCCEEDS_WITHOUT_ASKING: ("transactional", "4"),
    Bug.RECOVERY_TAKES_OPEN_FOR_ROLLED_BACK: ("transactional", "4"),
    Bug.RECOVERY_FORGETS_INTENTS: ("transactional", "L"),
    Bug.RECOVERY_RESENDS_TO_AN_OPAQUE_TOOL: ("opaque revert", "2"),
    Bug.RESUME_SENDS_A_COMPENSATION_AGAIN: ("opaque revert", "7"),
    Bug.RETRY_SENDS_TO_AN_OPAQUE_TOOL: ("opaque", "2"),
    Bug.PERMIT_NEVER_AGES: ("probed", "4"),
    Bug.IDENTICAL_CALLS_COMPARED_ONLY_WHEN_DECIDING: ("identical calls", "9"),
    Bug.OWNER_TRUSTS_AN_ERROR_AFTER_SILENCE: ("keyed", "4"),
    Bug.STALE_GENERATION_MAY_PERMIT: ("transactional", "4"),
    Bug.STALE_GENERATION_MAY_SETTLE: ("keyed", "4"),
    Bug.SETTLE_OVERWRITES_SETTLED: ("transactional", "5"),
    Bug.TIMEOUT_MEANS_FAILED: ("transactional", "4"),
    Bug.TIMEOUT_REPLIES_NO_EFFECT: ("transactional", "4"),
    Bug.CANCEL_AFTER_THE_PERMIT: ("transactional", "4"),
    Bug.ERROR_SETTLES_DESPITE_EARLIER_ATTEMPT: ("keyed", "4"),
    Bug.PROBE_WITHOUT_FENCE: ("probed", "4"),
    Bug.RETRY_RUNS_AGAIN: ("retries", "9"),
    Bug.APPROVAL_NOT_CONSUMED_IN_BEGIN: ("approval", "6"),
    Bug.APPROVAL_FOR_ANY_DIGEST: ("approval", "6"),
    Bug.APPROVAL_OUTLIVES_POLICY: ("approval", "6"),
    Bug.REVISION_NOT_CHECKED_AGAIN: ("transactional", "10"),
    Bug.REVERT_CLAIMED_TWICE: ("opaque revert", "7"),
    Bug.REVERT_WITHOUT_COMPARING: ("revert", "7"),
    Bug.REVERT_OF_WHAT_IS_NOT_SETTLED: ("opaque revert", "7"),
    Bug.AUDIT_ENTRY_MISSING: ("transactional", "8"),
    Bug.AUDIT_AFTER_THE_MOVE: ("transactional", "8"),
}


def explored(name: str, bug: Bug | None = None) -> tuple[Exploration[World], Walk]:
    configuration = CONFIGURATIONS[name]
    plans = configuration.plans
    big = SIZE == "big" and bug is None
    bounds = configuration.big if big else configuration.small
    walk = Walk(plans, bounds, bug)
    most = MOST["big" if big else "small"]
    checked = invariants(plans, bounds)
    return explore(start(plans, bounds), walk.successors, checked, most=most), walk


@pytest.fixture(scope="module")
def used_moves() -> set[tuple[str, str, str]]:
    """Filled by the explorations of this module, in order."""
    return set()


@pytest.mark.timeout(3600 if SIZE == "big" else 120)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_reachable_world_keeps_every_invariant(
    name: str, used_moves: set[tuple[str, str, str]]
) -> None:
    exploration, walk = explored(name)
    used_moves |= walk.moves.used

    assert exploration.counterexample is None, f"\n{exploration.counterexample}"
    assert exploration.worlds > 1_000, "the bounds are too tight to mean anything"


def test_the_model_makes_every_move_of_the_table_and_no_other(
    used_moves: set[tuple[str, str, str]],
) -> None:
    if not used_moves:
        used_moves |= set().union(*(explored(name)[1].moves.used for name in CONFIGURATIONS))
    table = {(str(s), str(m), str(t)) for (s, m), targets in MOVES.items() for t in targets}

    assert table - used_moves == set(), "moves that the model never makes"
    assert used_moves - table == set(), "moves that the table does not have"


@pytest.mark.parametrize("bug", Bug, ids=lambda bug: bug.name.lower())
def test_a_planted_bug_gives_a_counterexample(bug: Bug) -> None:
    name, invariant = PLANTED[bug]

    found = explored(name, bug)[0].counterexample

    assert found is not None, f"{bug.name} went unnoticed in {name!r}"
    print(found)
    assert found.broken.startswith(f"{invariant}:"), f"\n{found}"
    assert found.steps, "a bug shows only after something has happened"


def test_the_invariants_that_a_model_can_state_each_catch_a_bug() -> None:
    caught = {invariant for _, invariant in PLANTED.values()}

    assert caught == {"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "L"}


def test_an_exploration_that_grows_over_its_bound_is_an_error() -> None:
    with pytest.raises(TooLarge):
        explore(0, lambda n: [("next", n + 1)], lambda _n, _quiet: None, most=50)


def test_a_counterexample_is_a_shortest_trace() -> None:
    def successors(n: int) -> list[tuple[str, int]]:
        return [("one", n + 1), ("double", n * 2)]

    exploration = explore(
        1, successors, lambda n, _quiet: "4: eight" if n == 8 else None, most=1000
    )

    assert exploration.counterexample is not None
    assert exploration.counterexample.steps == ("one", "double", "double")
