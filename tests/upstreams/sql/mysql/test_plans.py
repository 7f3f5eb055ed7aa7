from __future__ import annotations

import pytest

from gateway.errors import UpstreamError
from tests.fixtures.mariadb_case import Case
from tests.upstreams.sql.mysql.test_defining import WIDE


async def test_a_copy_needs_the_right_to_lock(case: Case) -> None:
    case.setup(*WIDE)
    before = case.dump()
    for host in ("localhost", "'127.0.0.1'"):
        case.run(f"REVOKE LOCK TABLES ON {case.database}.* FROM agent@{host}")
    try:
        with pytest.raises(UpstreamError) as error:
            await case.call("ALTER TABLE t DROP COLUMN c")
    finally:
        for host in ("localhost", "'127.0.0.1'"):
            case.run(f"GRANT ALL ON {case.database}.* TO agent@{host}")
    assert error.value.reason == "undo.unavailable"
    assert "LOCK TABLES" in error.value.detail
    assert case.dump() == before
    done = await case.call("ALTER TABLE t ADD COLUMN x INT")  # needs no copy
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before


async def test_a_change_that_changes_nothing_does_nothing(case: Case) -> None:
    case.setup(*WIDE)
    done = await case.call("ALTER TABLE t ADD COLUMN IF NOT EXISTS b INT")
    assert done.outcome.effect == "none"


async def test_what_is_kept_is_copied_to_the_byte(case: Case) -> None:
    case.setup(
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, d DATE, v VARCHAR(9), x INT)",
        "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
        "INSERT INTO t VALUES (0, '0000-00-00', 'a ', 1), (7, '2020-00-01', 'A', 2)",
        "SET sql_mode = DEFAULT",
        "ALTER TABLE t AUTO_INCREMENT = 50",
    )
    before = case.dump()
    done = await case.call("ALTER TABLE t DROP COLUMN x")
    case.run("INSERT INTO t (v) VALUES ('n')")
    case.run("DELETE FROM t WHERE v = 'n'")
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before
    assert case.counter("t") >= 51


@pytest.mark.parametrize(
    ("setup", "sql"),
    [
        (("DROP TABLE p",), "DROP TABLE c"),
        (("INSERT INTO c VALUES (1, 77)",), "DROP TABLE c"),
        (("ALTER TABLE p DROP PRIMARY KEY",), "DROP TABLE c"),
        (("DROP TABLE p",), "ALTER TABLE c DROP FOREIGN KEY cp"),
        (("INSERT INTO c VALUES (1, 77)",), "ALTER TABLE c DROP FOREIGN KEY CP"),
    ],
    ids=["no parent", "orphan", "no key", "no parent of a key", "orphan of a key"],
)
async def test_a_foreign_key_that_could_not_be_added_again(
    case: Case, setup: tuple[str, ...], sql: str
) -> None:
    case.setup(
        "CREATE TABLE p (id INT PRIMARY KEY)",
        "CREATE TABLE c (id INT PRIMARY KEY, p INT, "
        "CONSTRAINT cp FOREIGN KEY (p) REFERENCES p (id))",
        "INSERT INTO p VALUES (1)",
        "INSERT INTO c VALUES (9, 1), (8, NULL)",
        "SET foreign_key_checks = 0",
        *setup,
        "SET foreign_key_checks = 1",
    )
    before = case.dump()
    with pytest.raises(UpstreamError) as refused:
        await case.call(sql)
    assert refused.value.reason == "undo.unavailable"
    assert "cp" in refused.value.detail
    assert case.dump() == before
