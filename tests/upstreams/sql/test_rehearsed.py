from __future__ import annotations

from gateway.errors import REASONS
from gateway.upstreams.sql.rehearsed import cannot, inexact


def test_what_is_not_exact_and_what_cannot_be_tried_are_told_apart() -> None:
    assert (inexact("x").reason, cannot("y.").reason) == ("undo.inexact", "undo.unavailable")
    assert {REASONS[d.reason].status for d in (inexact("x"), cannot("y"))} == {403}
    assert "lands: y. It was" in cannot("y.").detail
