"""What is taken from libpq's results."""

from __future__ import annotations

from gateway.upstreams.sql.postgres.replies import columns_of, origins_of, take
from tests.fixtures.postgres_case import Case


async def test_columns_origins_and_values_of_a_result(case: Case) -> None:
    case.setup("CREATE TABLE t(id int, v text); INSERT INTO t VALUES (1, NULL), (2, 'xyz')")
    (oid,) = case.admin.execute("SELECT 't'::regclass::oid").fetchone() or (0,)
    result = case.admin.execute("SELECT v, id, 1 AS one FROM t ORDER BY id").pgresult
    assert result is not None
    rows: list[tuple[bytes | None, ...]] = []

    assert take(result, rows) == len(b"11xyz21") + 2 * 8
    assert rows == [(None, b"1", b"1"), (b"xyz", b"2", b"1")]
    assert columns_of(result) == (("v", 25), ("id", 23), ("one", 23))
    assert origins_of(result) == ((oid, 2), (oid, 1), (0, 0))
