from __future__ import annotations

from gateway.model import LISTED, Conflict, Step
from gateway.upstreams.sql.postgres.stepping import NOTHING, acting, disputed, not_done

STEP = Step(call="c", upstream="app", action=NOTHING, state="reverted", restored=3)


def test_what_is_done_one_after_the_other_is_said_in_that_order() -> None:
    step = acting(acting(STEP, "undo drop of a"), "restore rows of b")
    assert step.action == "undo drop of a; restore rows of b"


def test_a_disputed_step_restored_nothing_and_lists_the_first_conflicts() -> None:
    one = Conflict(resource="t", key=None, before=None, after=None, now=None, why="changed")
    step = disputed(STEP, [one] * (LISTED + 2))
    assert (step.state, step.restored, len(step.conflicts), step.more) == ("conflict", 0, LISTED, 2)


def test_a_step_that_was_rolled_back_with_others_is_skipped() -> None:
    assert (not_done(STEP).state, not_done(STEP).restored) == ("skipped", 0)
    assert not_done(disputed(STEP, [])).state == "conflict"
