from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.guards.limits import Limits, check_extent, tightened
from gateway.model import Measured, Obligations, RowCounts

CONFIGURED = Limits(max_rows=100, max_share=0.2)


@given(
    st.none() | st.integers(0, 10_000),
    st.none() | st.floats(0, 1),
)
def test_policy_can_only_tighten_the_limits(rows: int | None, share: float | None) -> None:
    both = tightened(CONFIGURED, Obligations(max_rows=rows, max_share=share))
    assert both.max_rows <= CONFIGURED.max_rows
    assert both.max_share <= CONFIGURED.max_share
    if rows is not None:
        assert both.max_rows <= rows
    if share is not None:
        assert both.max_share <= share


def _measured(**tables: RowCounts) -> Measured:
    return Measured(tables=tables)


@pytest.mark.parametrize(
    ("measured", "refused"),
    [
        (_measured(), False),
        (_measured(a=RowCounts(deleted=100)), False),
        (_measured(a=RowCounts(deleted=101)), True),
        (_measured(a=RowCounts(deleted=60), b=RowCounts(inserted=41)), True),
        (Measured(tables={"a": RowCounts(updated=20)}, share=0.2), False),
        (Measured(tables={"a": RowCounts(updated=20)}, share=0.21), True),
    ],
)
def test_the_extent_counts_every_table_and_the_largest_share(
    measured: Measured, refused: bool
) -> None:
    refusal = check_extent(measured, CONFIGURED)
    assert (refusal is not None) == refused
    if refusal is not None:
        assert refusal.reason == "limit.rows"
        assert refusal.extra["measured"]["rows"] == measured.rows
