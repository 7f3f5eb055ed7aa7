"""Every shape of write: undone to the byte, or refused with the database unchanged."""

from __future__ import annotations

import pytest

from gateway.errors import UpstreamError
from gateway.model import Reversibility
from gateway.upstreams.sql.mysql import capture
from tests.fixtures.mariadb_case import Case, Refused
from tests.fixtures.mariadb_shapes import ABSENT, DOCUMENT, EXACT, SHAPES, Shape, written


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
async def test_shape(each_case: Case, shape: Shape) -> None:
    case = each_case
    result = shape.on(case.server.kind)
    if result == ABSENT:
        return
    case.setup(*shape.made(case.server.kind))
    before = case.dump()
    try:
        done = await case.call(shape.sql, shape.params)
    except (Refused, UpstreamError) as error:
        refusal = error.deny if isinstance(error, Refused) else error
        assert refusal.reason == result, refusal.detail
        assert case.dump() == before
        return
    assert result == EXACT
    after = case.dump()
    reverted = await case.revert(done.undo)
    assert reverted.states == ["reverted"]
    assert case.dump() == before
    assert reverted.undo is not None
    if reverted.undo.reversibility is Reversibility.IRREVERSIBLE:
        return  # triggers that a redo would fire
    again = await case.revert(reverted.undo)
    assert again.states == ["reverted"]
    assert case.dump() == after


CASCADING = [shape for shape in SHAPES if "cascade" in shape.name or "tree" in shape.name]


@pytest.mark.parametrize("shape", CASCADING, ids=lambda shape: shape.name)
async def test_cascades_are_found_without_the_engines_count(
    each_case: Case, shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is where the server gives none in time."""
    case = each_case
    case.setup(*shape.setup)
    monkeypatch.setattr(capture, "rows_modified", lambda _: None)
    before = case.dump()
    done = await case.call(shape.sql)
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before


def test_the_table_in_the_document_is_what_runs_here() -> None:
    text = DOCUMENT.read_text("utf-8")
    assert written(text) == text, "run `python -m tests.fixtures.mariadb_shapes`"
