from __future__ import annotations

import json

import pytest

from gateway.errors import ImageDamaged
from gateway.model import Reversibility, Undo
from gateway.upstreams.sql.postgres.ddl.quarantine import Moved
from gateway.upstreams.sql.postgres.ddl.records import KIND, Made, Part, Parts, parts_of
from gateway.upstreams.sql.postgres.ddl.shape import Difference, Scope

PART = Part(
    verb="drop",
    names=("public.a",),
    undo=("back",),
    redo=("forth",),
    scope=Scope(relations=frozenset({1})),
    difference=Difference(before={"relation 1 itself": {"x": 1}}, after={}),
    moved=(Moved(kind="table", schema="public", name="a", oid=1, place="holdfast_q1_1"),),
    places=("holdfast_q1_1",),
    made=(Made(catalog="pg_class", oid=5, name="b"),),
)


def test_a_record_is_read_as_it_was_written() -> None:
    undo = Parts(parts=(PART,)).undo("app", "77", Reversibility.EXACT)
    stored = Undo(
        upstream="app",
        kind=KIND,
        reversibility=Reversibility.EXACT,
        manifest=json.loads(json.dumps(undo.manifest)),
    )
    assert parts_of(stored) == [PART]


def test_taking_back_twice_is_where_it_began() -> None:
    once = PART.swapped
    assert (once.undo, once.redo, once.back) == (("forth",), ("back",), True)
    assert once.difference.before == PART.difference.after
    assert once.swapped.undo == PART.undo
    assert once.swapped.difference == PART.difference


@pytest.mark.parametrize("parts", [None, 3, [{}], [{"verb": "drop"}], ["x"]])
def test_a_record_that_cannot_be_read_is_damaged(parts: object) -> None:
    undo = Undo(
        upstream="app",
        kind=KIND,
        reversibility=Reversibility.EXACT,
        manifest={"format": "postgres-schema-1", "parts": parts},
    )
    with pytest.raises(ImageDamaged):
        parts_of(undo)


def test_another_kind_is_not_read_as_this_one() -> None:
    with pytest.raises(ImageDamaged):
        parts_of(Undo(upstream="app", kind="postgres.rows", reversibility=Reversibility.EXACT))
