"""Values compare by type and bits."""

from __future__ import annotations

from gateway.upstreams.sql.sqlite.cells import RawText, exact, shown, shown_row


def test_values_are_shown_as_results_show_them() -> None:
    assert [shown(c) for c in (None, 2**60, 0.5, "ø", b"\x01", RawText(b"\xff"))] == [
        None,
        str(2**60),
        0.5,
        "ø",
        "\\x01",
        "\\xff",
    ]
    assert shown_row(("a",), None) is None


def test_keys_of_rows_that_look_alike_differ() -> None:
    rows = [(1,), (1.0,), ("1",), (b"1",), (0.0,), (-0.0,), (None,)]
    assert len({exact(row) for row in rows}) == len(rows)
