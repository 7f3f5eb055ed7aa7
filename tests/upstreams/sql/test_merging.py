from __future__ import annotations

import pytest

from gateway.upstreams.sql.merging import merged

Row = tuple[int, ...] | None


@pytest.mark.parametrize(
    ("before", "after", "now", "row"),
    [
        ((1, 2, 3), (1, 9, 3), (7, 9, 3), (7, 2, 3)),
        ((1, 2, 3), (8, 9, 3), (8, 9, 7), (1, 2, 7)),
        ((1, 2), (1, 2), (5, 6), (5, 6)),
        ((1, 2), (9, 2), (7, 2), None),
        ((1, 2), (9, 9), (9, 7), None),
        (None, (1, 2), (1, 3), None),
        ((1, 2), None, (1, 3), None),
        ((1, 2), (1, 3), None, None),
    ],
)
def test_columns_come_back_that_only_the_call_changed(
    before: Row, after: Row, now: Row, row: Row
) -> None:
    assert merged(before, after, now, lambda one, other: one == other) == row


def test_values_are_compared_as_they_are_told_to_be() -> None:
    exact = lambda one, other: (type(one), one) == (type(other), other)  # noqa: E731 - a key
    assert merged((1, "a"), (1.0, "a"), (1.0, "b"), exact) == (1, "b")
    assert merged((1, "a"), (1.0, "a"), (1, "b"), exact) is None
