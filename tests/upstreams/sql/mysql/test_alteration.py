from __future__ import annotations

import pytest

from gateway.upstreams.sql.mysql.alteration import Alteration, from_json, stands
from tests.fixtures.mariadb_case import Case

CHANGE = Alteration(
    table=("d", "t"), forward="ALTER TABLE d.t ADD x INT", backward="ALTER TABLE d.t DROP x",
    before="a1", after="b2", fresh=("x", "y`"),
)  # fmt: skip


def test_an_alteration_is_kept_whole() -> None:
    assert from_json(CHANGE.as_json()) == CHANGE
    assert CHANGE.receipt("call_1") == "call_1|=d|t|a1|b2"
    assert CHANGE.inverse().receipt("call_2") == "call_2|=d|t|b2|a1"
    with pytest.raises(KeyError):
        from_json({})


def test_what_finds_rows_that_somebody_wrote_to() -> None:
    query = CHANGE.written()
    assert query is not None
    assert "`x`" in query
    assert "`y```" in query
    assert CHANGE.inverse().written() is None


async def test_the_state_of_a_table(case: Case) -> None:
    case.setup(
        "CREATE TABLE p (id INT PRIMARY KEY)",
        "CREATE TABLE c (id INT, CONSTRAINT k FOREIGN KEY (id) REFERENCES p (id))",
    )
    async with case.source._peers.session() as lent:
        for name, state, expected in (
            ("c", "fk+k", True),
            ("c", "fk-k", False),
            ("p", "fk-k", True),
            ("p", "another print", False),
            ("missing", "fk-k", False),
        ):
            at = (case.database, name)
            assert await lent.do(lambda s, at=at, st=state: stands(s, at, st)) is expected
