from __future__ import annotations

from gateway.upstreams.sql.altered import altered, gone


def test_what_changed_and_what_still_has_its_place_is_named() -> None:
    said = altered("t", {"a": "INT", "b": "", "c": "TEXT"}, {"a": "INT", "b": "TEXT", "d": ""}, 3)
    assert "column c is gone; column d is new; column b was without a type, is TEXT" in said
    assert said.endswith("Of 3 rows in the images, the values of a still have their place.")


def test_a_change_that_no_column_shows_is_named_as_such() -> None:
    said = altered("t", {"a": "INT"}, {"a": "INT"}, 1)
    assert "its key, constraints or order of columns" in said
    assert "Of 1 row in" in said


def test_a_table_that_is_gone_is_told_with_what_is_kept() -> None:
    assert gone("t", 7).startswith("The table t is gone.")
    assert "7 rows" in gone("t", 7)
