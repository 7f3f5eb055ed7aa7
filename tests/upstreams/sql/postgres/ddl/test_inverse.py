from __future__ import annotations

from typing import Any

from gateway.upstreams.sql.postgres.ddl.inverse import nearer
from gateway.upstreams.sql.postgres.ddl.sides import pairs

OWN = {
    "relkind": "r", "schema": "public", "relname": "a", "reloptions": None, "comment": None,
    "toast": None,
    "relrowsecurity": False, "relforcerowsecurity": False, "relpersistence": "p",
    "relreplident": "d", "relispartition": False, "view": None, "parents": None, "bound": None,
}  # fmt: skip
COLUMN = {
    "attname": "x", "type": "integer", "collation": None, "default": None, "attidentity": "",
    "attgenerated": "", "attnotnull": False, "attstorage": "p", "attstattarget": -1,
    "attcompression": "", "attoptions": None, "comment": None, "place": 1, "attinhcount": 0,
}  # fmt: skip
CHECK = {"def": "CHECK (x > 0)", "type": "c", "checked": True, "inherited": 0, "comment": None}


def _shape(own: dict[str, Any] | None = None, **parts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    named = {f"relation 1 {key.replace('_', ' ', 1)}": part for key, part in parts.items()}
    return {"relation 1 itself": {**OWN, **(own or {})}, **named}


def test_equal_shapes_need_nothing() -> None:
    assert nearer(_shape(column_x=COLUMN), _shape(column_x=COLUMN)) == []


def test_names_come_first_and_one_kind_at_a_time() -> None:
    now = _shape({"relname": "b"}, column_y={**COLUMN, "attname": "y"})
    goal = _shape(column_x=COLUMN)
    assert nearer(now, goal) == ['ALTER TABLE "public"."b" RENAME TO "a"']
    now = _shape(column_y={**COLUMN, "attname": "y"})
    assert nearer(now, goal) == ['ALTER TABLE "public"."a" RENAME COLUMN "y" TO "x"']


def test_another_column_is_no_rename() -> None:
    now = _shape(column_y={**COLUMN, "attname": "y", "type": "text"})
    assert nearer(now, _shape(column_x=COLUMN)) == ['ALTER TABLE "public"."a" DROP COLUMN "y"']
    assert nearer(_shape(), _shape(column_x=COLUMN)) == [
        'ALTER TABLE "public"."a" ADD COLUMN "x" integer'
    ]


def test_a_not_null_column_comes_with_its_default() -> None:
    column = {**COLUMN, "attnotnull": True, "default": "7"}
    (added,) = nearer(_shape(), _shape(column_x=column))
    assert added.endswith('ADD COLUMN "x" integer DEFAULT 7')


def test_constraints_that_read_otherwise_are_made_anew() -> None:
    other = {**CHECK, "def": "CHECK (x > 1)"}
    now, goal = _shape(constraint_k=other), _shape(constraint_k=CHECK)
    assert nearer(now, goal) == ['ALTER TABLE "public"."a" DROP CONSTRAINT "k"']
    assert nearer(_shape(), goal) == ['ALTER TABLE "public"."a" ADD CONSTRAINT "k" CHECK (x > 0)']


def test_what_is_inherited_is_left_to_the_parent() -> None:
    inherited = {**COLUMN, "attinhcount": 1}
    assert nearer(_shape(), _shape(column_x=inherited)) == []
    assert nearer(_shape(column_x=inherited), _shape()) == []


def test_names_and_texts_are_quoted() -> None:
    now = _shape({"relname": 'a"; DROP TABLE x; --'})
    assert nearer(now, _shape()) == ['ALTER TABLE "public"."a""; DROP TABLE x; --" RENAME TO "a"']
    (comment,) = nearer(_shape(), _shape({"comment": "it's"}))
    assert comment == """COMMENT ON TABLE "public"."a" IS 'it''s'"""


def test_a_difference_that_no_statement_is_known_for_gives_none() -> None:
    assert nearer(_shape(), _shape({"owner": "somebody"})) == []


def test_only_what_differs_and_is_on_both_sides_is_paired() -> None:
    now = {**_shape(), "relation 2 itself": OWN, "function 3": {}}
    (pair,) = pairs(now, _shape({"relname": "b"}))
    assert (pair.oid, pair.own["relname"], pair.wanted["relname"]) == ("1", "a", "b")


def test_options_come_back_in_their_order() -> None:
    now = _shape({"reloptions": ["b=2", "a=1"], "toast": ["c=4"]})
    goal = _shape({"reloptions": ["a=1", "b=it's"], "toast": None})
    assert nearer(now, goal) == [
        'ALTER TABLE "public"."a" RESET (b, a, toast.c)',
        "ALTER TABLE \"public\".\"a\" SET (a = '1', b = 'it''s')",
    ]
