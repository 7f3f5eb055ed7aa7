"""Images among other writers, and the extent that they are measured by."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from typing import Any

import pymysql
import pytest

from gateway.errors import UpstreamError
from gateway.model import RowCounts
from gateway.upstreams.sql.mysql.attempt import MariadbAttempt
from tests.fixtures.mariadb_case import Case, Refused
from tests.fixtures.options import size

FAMILY = (
    "CREATE TABLE p (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) "
    "ON DELETE CASCADE)",
)


async def test_cascades_are_measured(case: Case) -> None:
    case.setup(
        *FAMILY,
        "INSERT INTO p SELECT seq, 0 FROM seq_1_to_20",
        "INSERT INTO c SELECT seq, 1 + seq % 2 FROM seq_1_to_40",
    )
    done = await case.call("DELETE FROM p WHERE id = 1")
    d = case.database
    assert done.ran.measured.tables == {
        f"{d}.p": RowCounts(deleted=1),
        f"{d}.c": RowCounts(deleted=20),
    }
    assert done.ran.measured.share == 0.5


async def test_a_share_of_a_handful_of_rows_says_nothing(case: Case) -> None:
    case.setup(*FAMILY, "INSERT INTO p VALUES (1, 1)")
    assert (await case.call("DELETE FROM p")).ran.measured.share == 0


async def test_what_others_write_is_never_among_the_images(case: Case) -> None:
    """Three writers beside; every image is what the call did, so that taking all calls back leaves
    exactly what the writers did."""
    case.setup(
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, owner INT, v INT, KEY (owner))",
        "CREATE TABLE k (owner INT, v INT)",
        "INSERT INTO t (owner, v) SELECT seq % 4, seq FROM seq_1_to_80",
        "INSERT INTO k SELECT seq % 4, seq FROM seq_1_to_40",
    )
    before = _owned(case, 0)
    stop = threading.Event()
    writers = [threading.Thread(target=_write, args=(case, n, stop)) for n in (1, 2, 3)]
    for writer in writers:
        writer.start()
    rng = random.Random(7)
    undos = []
    try:
        for _ in range(size("cases", 25)):
            # Who loses a lock to others is rolled back, as without a gateway.
            with contextlib.suppress(UpstreamError, Refused):
                undos.append((await case.call(_statement(rng, 0))).undo)
            await asyncio.sleep(0)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert len(undos) > 5
    others = [_owned(case, n) for n in (1, 2, 3)]
    reverted = await case.revert(*reversed(undos))
    assert set(reverted.states) == {"reverted"}
    assert _owned(case, 0) == before
    assert [_owned(case, n) for n in (1, 2, 3)] == others


def _statement(rng: random.Random, owner: int) -> str:
    n = rng.randint(1, 80)
    return rng.choice(
        [
            f"UPDATE t SET v = v + {n} WHERE owner = {owner} AND id < {n}",
            f"DELETE FROM t WHERE owner = {owner} AND id BETWEEN {n} AND {n + 5}",
            f"INSERT INTO t (owner, v) VALUES ({owner}, {n}), ({owner}, {n})",
            f"UPDATE k SET v = v + 1 WHERE owner = {owner} AND v < {n}",
            f"INSERT INTO k VALUES ({owner}, {n})",
        ]
    )


def _write(case: Case, owner: int, stop: threading.Event) -> None:
    rng = random.Random(owner)
    with case.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SET innodb_lock_wait_timeout = 1")
        while not stop.is_set():
            try:
                cursor.execute(_statement(rng, owner))
            except pymysql.Error as error:
                if error.args[0] not in (1205, 1213):
                    raise
            stop.wait(0.002)


def _owned(case: Case, owner: int) -> list[object]:
    with case.connection() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT id, v FROM t WHERE owner = {owner} ORDER BY id")
        keyed = cursor.fetchall()
        cursor.execute(f"SELECT v FROM k WHERE owner = {owner} ORDER BY v")
        return [keyed, cursor.fetchall()]


@pytest.mark.parametrize("sql", ["DELETE FROM p WHERE id = 1", "UPDATE p SET id = id + 100"])
async def test_an_image_outlasts_what_others_do_before_the_commit(case: Case, sql: str) -> None:
    case.setup(*FAMILY, "INSERT INTO p VALUES (1, 1), (2, 2)", "INSERT INTO c VALUES (1, 1)")
    case.run("ALTER TABLE c DROP FOREIGN KEY c_ibfk_1")
    before = case.dump()

    def others() -> None:
        with case.connection() as connection, connection.cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout = 1")
            with pytest.raises(pymysql.Error):
                cursor.execute("UPDATE p SET v = 99 WHERE id = 1")

    done = await case.call(sql, during=others)
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before


@pytest.mark.parametrize(
    "sql",
    ["DELETE IGNORE FROM p", "DELETE IGNORE FROM p WHERE id > 1", "UPDATE IGNORE p SET id = 3"],
)
async def test_rows_that_a_statement_left_out_are_no_part_of_it(
    case: Case, sql: str, parts: list[str]
) -> None:
    """The server counts them all the same."""
    case.setup(
        "CREATE TABLE p (id INT PRIMARY KEY, v INT)",
        "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id))",
        "INSERT INTO p SELECT seq, 0 FROM seq_1_to_6",
        "INSERT INTO c VALUES (1, 2), (2, 5)",
    )
    before = case.dump()
    done = await case.call(sql)
    after = case.dump()
    assert parts == []
    changed = sum(one["rows"] for one in done.undo.manifest["tables"])
    assert changed == len(set(before["p"][1]) - set(after["p"][1]))
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before


@pytest.mark.parametrize("engine", ["MyISAM", "InnoDB"])
async def test_a_condition_over_what_others_can_change_meanwhile(
    case: Case, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many rows are found as were deleted, and they are others."""
    case.setup(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
        f"CREATE TABLE chosen (id INT PRIMARY KEY) ENGINE={engine}",
        "INSERT INTO t SELECT seq, 0 FROM seq_1_to_9",
        "INSERT INTO chosen VALUES (1), (2)",
    )
    before = case.dump()["t"]
    real = MariadbAttempt._measure

    def measure(attempt: MariadbAttempt, *told: Any) -> object:
        with case.connection() as other, other.cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout = 1")
            with contextlib.suppress(pymysql.err.OperationalError):
                cursor.execute("UPDATE chosen SET id = 7 WHERE id = 2")
        return real(attempt, *told)

    monkeypatch.setattr(MariadbAttempt, "_measure", measure)
    done = await case.call("DELETE FROM t WHERE id IN (SELECT id FROM chosen)")
    assert done.ran.measured.tables == {f"{case.database}.t": RowCounts(deleted=2)}
    left = case.run("SELECT id FROM t ORDER BY id")
    assert left == [(n,) for n in range(3, 10)]
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump()["t"] == before
