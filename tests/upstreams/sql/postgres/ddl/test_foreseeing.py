from __future__ import annotations

import pytest

from gateway.model import Action, Reversibility
from tests.fixtures.postgres_ddl import SchemaCase

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize(
    ("sql", "reversibility", "why"),
    [
        ("DROP TABLE t CASCADE", Reversibility.EXACT, None),
        ("DROP TABLE t", Reversibility.EXACT, None),
        ("TRUNCATE t CASCADE", Reversibility.EXACT, None),
        ("DROP TABLE heir", Reversibility.IRREVERSIBLE, "inherits from public.base"),
        ("TRUNCATE child; DROP TABLE child", Reversibility.IRREVERSIBLE, "in one text"),
        ("SELECT 1", Reversibility.NONE, None),
        ("DELETE FROM t WHERE id = 1", Reversibility.EXACT, None),
    ],
)
async def test_policy_knows_before_anything_runs(
    shop: SchemaCase, sql: str, reversibility: Reversibility, why: str | None
) -> None:
    action = await shop.parse(sql)
    assert isinstance(action, Action)
    assert action.reversibility is reversibility
    assert (why or "") in (action.why_irreversible or "")
