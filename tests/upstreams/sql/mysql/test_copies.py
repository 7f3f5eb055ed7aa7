"""Tables without a key: many rows are found at one reading, as exactly as a few one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from gateway.errors import UpstreamError
from gateway.upstreams.sql.mysql import catalog, copies, rows
from gateway.upstreams.sql.mysql.session import Door, Session, Timeouts
from tests.fixtures.mariadb_case import Case
from tests.fixtures.mariadb_server import MariadbServer

ALL = (
    "CREATE TABLE t (a TEXT COLLATE utf8mb4_general_ci, n FLOAT, d DOUBLE, e ENUM('x', 'y'), "
    "s SET('p', 'q'), b BIT(9), z INT(6) ZEROFILL, y YEAR, at TIMESTAMP(3) NULL, i INET6, u UUID, "
    "x BLOB, p POINT, de DECIMAL(9, 3), j JSON, g INT AS (z + 1) STORED)",
    "INSERT INTO t (a, n, d, e, s, b, z, y, at, i, u, x, p, de, j) SELECT "
    "ELT(1 + seq % 5, 'a', 'A', 'a ', 'ä', NULL), seq / 7, seq * 1e200, 1 + seq % 2, seq % 4, seq, "
    "seq, 1950 + seq % 100, '2020-01-01' + INTERVAL seq MINUTE, "
    "CONCAT('::', HEX(seq)), CONCAT(LPAD(seq, 8, '0'), '-0000-0000-0000-000000000000'), "
    "CHAR(seq, 0), IF(seq % 3, ST_GeomFromText(CONCAT('POINT(', seq, ' 1)')), NULL), seq / 1000, "
    "CONCAT('[', seq, ']') FROM seq_1_to_40",
    "INSERT INTO t (a, z) VALUES ('x', 1), ('x', 1), ('x', 1), ('X', 1), (NULL, NULL)",
)


@pytest.fixture
def session(case: Case, mariadb_server: MariadbServer) -> Iterator[Session]:
    door = Door(
        "app", mariadb_server.url(case.database), Timeouts(statement=20.0, lock=2.0, idle=60.0)
    )
    session = door.connect()
    session.run(rows.EXACT)
    yield session
    session.close()


@pytest.mark.parametrize("few", [0, 1000])
def test_rows_are_told_apart_to_the_byte(
    case: Case, session: Session, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.setup(*ALL)
    monkeypatch.setattr(copies, "_FEW", few)
    table = catalog.tables(session, [(case.database, "t")])[case.database, "t"]
    assert not rows.keyed(table)
    there = Counter(session.rows(f"SELECT {rows.selected(rows.stored(table))} FROM t"))
    assert sorted(there.values())[-1] == 3
    absent = (b"nowhere", *next(iter(there))[1:])
    found = copies.counted(session, table, [*there, absent])
    assert (found, found[absent]) == (there, 0)
    gone = Counter({row: 1 + count // 3 for row, count in list(there.items())[::2]})
    gone.update({row: 2 - gone[row] for row, count in there.items() if count == 3})
    session.run("START TRANSACTION")
    copies.remove(session, table, gone)
    left = Counter(session.rows(f"SELECT {rows.selected(rows.stored(table))} FROM t"))
    session.run("ROLLBACK")
    assert left == there - gone
    assert 1 in left.values()


async def test_a_row_that_the_server_looks_for_in_the_wrong_partition(case: Case) -> None:
    case.setup(
        "CREATE TABLE t (d DECIMAL(2, 1)) PARTITION BY RANGE (d) "
        "(PARTITION a VALUES LESS THAN (10))"
    )
    before = case.dump()
    done = await case.call("INSERT INTO t VALUES (9.9), (-3.3), (1)")
    assert case.run("SELECT COUNT(*) FROM t WHERE d <=> 9.9") == [(0,)]  # as it ought not to be
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before


async def test_rows_that_cannot_be_told_apart_are_left(
    case: Case, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.setup("CREATE TABLE t (a INT)", "INSERT INTO t SELECT seq FROM seq_1_to_20")
    before = case.dump()
    done = await case.call("INSERT INTO t SELECT a + 20 FROM t")
    monkeypatch.setattr(rows, "digest", lambda _, __: "'the same for all'")
    with pytest.raises(UpstreamError, match="told apart"):
        await case.revert(done.undo)
    monkeypatch.undo()
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before


@pytest.mark.timeout(60)
async def test_many_rows_come_back_in_good_time(case: Case) -> None:
    """One by one, as many rows as this took many minutes."""
    case.setup(
        "CREATE TABLE t (a INT, v CHAR(32))",
        "INSERT INTO t SELECT seq, MD5(seq) FROM seq_1_to_20000",
    )
    before = case.dump()
    for sql in ("UPDATE t SET v = 'x'", "DELETE FROM t", "INSERT INTO t SELECT -a, v FROM t"):
        done = await case.call(sql)
        assert (await case.revert(done.undo)).states == ["reverted"]
        assert case.dump() == before
