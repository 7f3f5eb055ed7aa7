"""MySQL: what MariaDB takes back exactly, it takes back exactly too, or refuses it; foreign keys
and CHECKs are refused."""

from __future__ import annotations

import pymysql
import pytest

from gateway.errors import UpstreamError
from gateway.lifecycle import State
from gateway.model import EffectState
from tests.fixtures.mariadb_case import Case, Refused
from tests.upstreams.sql.mysql.test_defining import EXACT, FAMILY, REFUSED, TRIGGERED, T

# Of those, the ones that have to be exact.
TAKEN_BACK = frozenset(
    {"DROP TABLE", "DROP TABLE IF EXISTS", "DROP TABLE with a schema", "DROP with triggers",
     "DROP under a view", "TRUNCATE", "TRUNCATE without TABLE", "RENAME", "CREATE", "CREATE LIKE",
     "CREATE AS", "CREATE with columns LIKE", "CREATE VIEW", "DROP VIEW", "CREATE INDEX",
     "CREATE UNIQUE INDEX", "DROP INDEX", "ADD COLUMN", "DROP COLUMN, no key", "PRIMARY KEY",
     "RENAME by ALTER", "ALTER with triggers"}
)  # fmt: skip
PLAIN = (
    "CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL DEFAULT 3 COMMENT 'c''d', b VARCHAR(20), "
    "c ENUM('x,', 'y)') DEFAULT 'y)', j JSON, KEY a (a), KEY b (b), KEY c (c), UNIQUE u (b, a)) "
    "COMMENT='the, (table)'",
    "INSERT INTO t (id, a, b, c, j) VALUES (1, 1, 'a', 'x,', '{}'), (2, 2, 'B ', NULL, NULL)",
)
ALTERED = (
    "DROP INDEX a ON t",
    "ALTER TABLE t ADD x VARCHAR(9) DEFAULT 'y' AFTER id",
    "ALTER TABLE t ADD x INT NOT NULL",
    "ALTER TABLE t ADD x INT FIRST, ADD KEY x (x), DROP KEY b, COMMENT='q'",
    "ALTER TABLE t DROP COLUMN c",
    "ALTER TABLE t RENAME COLUMN a TO z",
    "ALTER TABLE t CHANGE a z INT NOT NULL DEFAULT 3 COMMENT 'c' AFTER b",
    "ALTER TABLE t MODIFY b VARCHAR(30), MODIFY a BIGINT",
    "ALTER TABLE t MODIFY b VARBINARY(20)",
    "ALTER TABLE t MODIFY b VARCHAR(20) FIRST",
    "ALTER TABLE t ALTER COLUMN b SET DEFAULT 'k'",
    "ALTER TABLE t ALTER a DROP DEFAULT",
    "ALTER TABLE t RENAME INDEX a TO q",
    "ALTER TABLE t DROP PRIMARY KEY",
    "ALTER TABLE t DROP COLUMN j",
    "DROP TABLE t",
    "TRUNCATE t",
)


async def taken_back(case: Case, sql: str) -> None:
    before = case.dump()
    done = await case.call(sql)
    assert (done.outcome.state, done.outcome.effect) == (State.SUCCEEDED, EffectState.APPLIED)
    assert await case.source.happened(done.receipt) is EffectState.APPLIED
    after = case.dump()
    assert after != before
    reverted = await case.revert(done.undo)
    assert reverted.states == ["reverted"]
    assert case.dump() == before
    assert reverted.undo is not None
    assert (await case.revert(reverted.undo)).states == ["reverted"]
    assert case.dump() == after


@pytest.mark.parametrize(("name", "setup", "sql"), EXACT, ids=[e[0] for e in EXACT])
async def test_exact_or_refused(mysql: Case, name: str, setup: tuple[str, ...], sql: str) -> None:
    try:
        mysql.setup(*setup)
    except pymysql.Error:
        assert name not in TAKEN_BACK
        return  # MySQL has no such thing
    before = mysql.dump()
    try:
        await taken_back(mysql, sql.format(d=mysql.database))
    except (Refused, UpstreamError) as error:
        refusal = error.deny if isinstance(error, Refused) else error
        assert name not in TAKEN_BACK, refusal
        assert refusal.reason in ("undo.unavailable", "upstream.failed"), refusal
        assert mysql.dump() == before


@pytest.mark.parametrize("sql", ALTERED)
async def test_altered_and_taken_back(mysql: Case, sql: str) -> None:
    mysql.setup(*PLAIN)
    await taken_back(mysql, sql)


@pytest.mark.parametrize(("setup", "sql"), REFUSED, ids=[r[1] for r in REFUSED])
async def test_refused_and_nothing_changed(mysql: Case, setup: tuple[str, ...], sql: str) -> None:
    try:
        mysql.setup(*setup)
    except pymysql.Error:
        return  # MySQL has no such thing
    before = mysql.dump()
    with pytest.raises((Refused, UpstreamError)):
        await mysql.call(sql.format(d=mysql.database))
    assert mysql.dump() == before


CHECKED = (
    "CREATE TABLE t (id INT PRIMARY KEY, a INT, CHECK (a > 0), CONSTRAINT own CHECK (id < 99))",
    "INSERT INTO t VALUES (1, 1)",
)


@pytest.mark.parametrize("sql", ["DROP TABLE t", "RENAME TABLE t TO u"])
async def test_a_table_with_checks_as_a_whole(mysql: Case, sql: str) -> None:
    mysql.setup(*CHECKED)
    await taken_back(mysql, sql)


@pytest.mark.parametrize("sql", ["TRUNCATE t", "ALTER TABLE t ADD x INT"])
async def test_a_copy_of_a_table_with_checks(mysql: Case, sql: str) -> None:
    """In it they have other names."""
    mysql.setup(*CHECKED)
    before = mysql.dump()
    with pytest.raises(UpstreamError) as refused:
        await mysql.call(sql)
    assert refused.value.reason == "undo.unavailable"
    assert mysql.dump() == before


@pytest.mark.parametrize("to", ["BLOB GENERATED ALWAYS AS (v) VIRTUAL", "BIGINT UNSIGNED NOT NULL"])
async def test_the_column_of_full_text_indexes_is_left_alone(mysql: Case, to: str) -> None:
    """Dropping a virtual one loses the table in MySQL 9.7.4."""
    mysql.setup(*T)
    before = mysql.dump()
    with pytest.raises((Refused, UpstreamError)):
        await mysql.call(f"ALTER TABLE t ADD COLUMN FTS_DOC_ID {to}")
    assert mysql.dump() == before


KEYED = (
    "CREATE TABLE n (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id))",
    "ALTER TABLE lone ADD p INT REFERENCES p (id)",
    "ALTER TABLE lone ADD CONSTRAINT k FOREIGN KEY (id) REFERENCES p (id)",
    "ALTER TABLE c ADD x INT",
    "ALTER TABLE p ADD x INT",
    "DROP TABLE c",
    "RENAME TABLE p TO q",
    "TRUNCATE c",
    "CREATE TABLE gone (id INT PRIMARY KEY)",
)


@pytest.mark.parametrize("sql", KEYED)
async def test_what_foreign_keys_have_to_do_with_is_refused(mysql: Case, sql: str) -> None:
    mysql.setup(
        *FAMILY,
        "CREATE TABLE lone (id INT PRIMARY KEY)",
        "CREATE TABLE gone (id INT PRIMARY KEY)",
        "CREATE TABLE waits (g INT, FOREIGN KEY (g) REFERENCES gone (id))",
        "SET foreign_key_checks = 0",
        "DROP TABLE gone",
        "SET foreign_key_checks = 1",
    )
    before = mysql.dump()
    with pytest.raises((Refused, UpstreamError)) as refused:
        await mysql.call(sql)
    error = refused.value
    refusal = error.deny if isinstance(error, Refused) else error
    assert refusal.reason in ("undo.unavailable", "sql.unsupported")
    assert mysql.dump() == before


@pytest.mark.parametrize("sql", ["TRUNCATE t", "CREATE TABLE n (id INT PRIMARY KEY)"])
async def test_a_foreign_key_that_came_since_keeps_it_from_being_taken_back(
    mysql: Case, sql: str
) -> None:
    mysql.setup(*T)
    done = await mysql.call(sql)
    parent = "t" if sql.startswith("TRUNCATE") else "n"
    mysql.run(f"CREATE TABLE late (i INT, FOREIGN KEY (i) REFERENCES {parent} (id))")
    there = mysql.dump()
    reverted = await mysql.revert(done.undo, commit=False)
    assert (reverted.states, reverted.steps[0].reason) == (["failed"], "revert.schema_changed")
    assert mysql.dump() == there


async def test_what_others_wrote_since_is_a_conflict(mysql: Case) -> None:
    mysql.setup(*TRIGGERED)
    done = await mysql.call("CREATE TABLE n (id INT PRIMARY KEY)")
    mysql.run("INSERT INTO n VALUES (1)")
    there = mysql.dump()
    assert (await mysql.revert(done.undo, commit=False)).states == ["conflict"]
    assert mysql.dump() == there
