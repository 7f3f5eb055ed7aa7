from __future__ import annotations

import dataclasses

import pytest

from gateway.interfaces import Rehearsing
from gateway.model import Deny, Permit
from gateway.upstreams.sql.mysql.images import Change
from tests.fixtures.mariadb_case import Case
from tests.fixtures.mariadb_shapes import EXACT, SHAPES, Shape
from tests.upstreams.sql.mysql.test_attempt import SETUP

TRIED = [
    shape
    for shape in SHAPES
    if shape.result == EXACT and shape.name.startswith(("DELETE", "no key", "all types", "gen"))
]


async def rehearsed(case: Case, sql: str, spoil: bool = False) -> Deny | None:
    call, action = case.request(sql), await case.parse(sql)
    async with case.source.attempt(call, action) as attempt:
        await attempt.run()
        assert isinstance(attempt, Rehearsing)
        if spoil:
            (image,) = attempt._images
            first, *rest = image.changes
            wrong = first._replace(before=(*first.before[:-1], b"wrong"))
            attempt._images = (dataclasses.replace(image, changes=(Change(wrong.before, None),
                                                                   *rest)),)  # fmt: skip
        assert not isinstance(await attempt.capture(), Deny)
        refusal = await attempt.rehearse(demanded=True)
        after = case.run("SELECT 1")
        assert after == [(1,)]
        return refusal


@pytest.mark.parametrize("shape", TRIED, ids=lambda shape: shape.name)
async def test_what_is_exact_passes_and_leaves_nothing(case: Case, shape: Shape) -> None:
    if shape.params:
        pytest.skip("covered by its neighbours")
    case.setup(*shape.setup)
    before = case.dump()
    assert await rehearsed(case, shape.sql) is None
    assert case.dump() == before


async def test_an_image_that_is_wrong_is_noticed_before_the_commit(case: Case) -> None:
    case.setup(*SETUP)
    before = case.dump()
    refusal = await rehearsed(case, "DELETE FROM t WHERE id = 1", spoil=True)
    assert isinstance(refusal, Deny)
    assert refusal.reason == "undo.inexact"
    assert case.dump() == before


async def test_the_call_still_commits_what_it_did(case: Case) -> None:
    case.setup(*SETUP)
    before = case.dump()
    call, action = case.request("x"), await case.parse("DELETE FROM t WHERE id = 1")
    async with case.source.attempt(call, action) as attempt:
        await attempt.run()
        captured = await attempt.capture()
        assert not isinstance(captured, Deny)
        assert await attempt.rehearse(demanded=False) is None
        await attempt.commit(Permit.issue(call.id, 1))
    assert case.run("SELECT COUNT(*) FROM t")[0][0] == 2
    assert (await case.revert(captured.undo)).states == ["reverted"]
    assert case.dump() == before


async def test_an_account_that_may_not_put_rows_back(case: Case) -> None:
    case.setup(*SETUP)
    for host in ("localhost", "'127.0.0.1'"):
        case.run(f"REVOKE INSERT ON {case.database}.* FROM agent@{host}")
    before = case.dump()
    refusal = await rehearsed(case, "DELETE FROM t WHERE id = 1")
    assert isinstance(refusal, Deny)
    assert refusal.reason == "undo.unavailable"
    assert case.dump() == before
