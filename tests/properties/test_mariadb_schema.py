"""Changes of the schema and of rows by turns, taken back one by one, newest first: after each step
every definition and every row is what it was before the call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import UpstreamError
from gateway.model import EffectState, Undo
from tests.fixtures.mariadb_case import Case, Refused
from tests.fixtures.mariadb_server import MariadbServer
from tests.fixtures.options import size

CASES = size("cases", 25)
SETUP = (
    "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), n DECIMAL(9,2), KEY by_v (v))",
    "INSERT INTO t SELECT seq, CONCAT('v', seq), seq + 0.50 FROM seq_1_to_6",
    "CREATE TABLE c (id INT PRIMARY KEY, t INT, CONSTRAINT c1 FOREIGN KEY (t) REFERENCES t (id) "
    "ON DELETE CASCADE)",
    "INSERT INTO c VALUES (1, 1), (2, 1), (3, 4)",
    "CREATE TABLE free (a INT, b TEXT)",
    "INSERT INTO free VALUES (1, 'x'), (1, 'x'), (2, NULL)",
)
TABLES = st.sampled_from(["free", "free", "t", "c", "s", "made"])
STATEMENTS = st.one_of(
    st.builds("INSERT INTO t (id, v) VALUES ({}, 'new')".format, st.integers(1, 99)),
    st.builds("UPDATE t SET v = CONCAT(v, '!') WHERE id % {} = 0".format, st.integers(1, 4)),
    st.builds("DELETE FROM {}".format, TABLES),
    st.builds("DELETE FROM t WHERE id = {}".format, st.integers(1, 6)),
    st.builds("INSERT INTO free VALUES ({}, 'more')".format, st.integers(1, 9)),
    st.builds("DROP TABLE {}".format, TABLES),
    st.builds("TRUNCATE {}".format, TABLES),
    st.builds("RENAME TABLE {} TO s".format, TABLES),
    st.builds("CREATE TABLE {} (x INT PRIMARY KEY, y TEXT)".format, TABLES),
    st.builds("CREATE TABLE made AS SELECT * FROM {}".format, TABLES),
    st.builds("CREATE TABLE s LIKE {}".format, TABLES),
    st.builds("ALTER TABLE {} ADD COLUMN added INT DEFAULT 7".format, TABLES),
    st.builds("ALTER TABLE {} DROP COLUMN added".format, TABLES),
    st.just("ALTER TABLE t DROP COLUMN n"),
    st.just("ALTER TABLE free MODIFY a BIGINT NOT NULL DEFAULT 1"),
    st.just("ALTER TABLE free MODIFY b VARBINARY(40)"),
    st.just("ALTER TABLE free ADD PRIMARY KEY (a)"),
    st.just("CREATE INDEX by_n ON t (n, v)"),
    st.just("DROP INDEX by_v ON t"),
    st.just("CREATE VIEW w AS SELECT * FROM free"),
    st.just("DROP VIEW w"),
    st.just("UPDATE w SET b = 'seen'"),
)


async def landed(case: Case, statement: str) -> Undo | None:
    """How to take it back; ``None`` where it did not happen."""
    try:
        call = await case.call(statement)
    except (Refused, UpstreamError):
        return None
    # A change of the schema runs after the permit, and may fail there.
    return call.undo if call.outcome.effect is EffectState.APPLIED else None


async def chained(case: Case, statements: Sequence[str]) -> tuple[list[str], int]:
    """What went wrong, and how many calls were taken back."""
    case.setup(*SETUP)
    wrong: list[str] = []
    done: list[tuple[str, object, Undo]] = []
    for statement in statements:
        before = case.dump()
        undo = await landed(case, statement)
        if undo is not None:
            done.append((statement, before, undo))
        elif case.dump() != before:
            wrong.append(f"{statement}: refused, and something changed")
    for statement, before, undo in reversed(done):
        reverted = await case.revert(undo)
        if reverted.states != ["reverted"]:
            wrong.append(f"{statement}: {[(s.state, s.detail) for s in reverted.steps]}")
            break
        if case.dump() != before:
            wrong.append(f"{statement}: something else than before stands there")
    return wrong, len(done)


@pytest.fixture(scope="module")
def database(mariadb_server: MariadbServer) -> Iterator[str]:
    name = mariadb_server.create_database()
    yield name
    mariadb_server.drop_database(name)


def test_a_chain_that_is_taken_back_leaves_no_trace(
    mariadb_server: MariadbServer, database: str
) -> None:
    taken_back: list[int] = []

    async def one(statements: Sequence[str]) -> list[str]:
        case = Case(mariadb_server, database)
        try:
            wrong, done = await chained(case, statements)
            taken_back.append(done)
            return wrong
        finally:
            await case.close()

    @settings(max_examples=CASES)
    @given(st.lists(STATEMENTS, min_size=4, max_size=10))
    def law(statements: list[str]) -> None:
        assert asyncio.run(one(statements)) == []

    law()
    assert sum(taken_back) > CASES
