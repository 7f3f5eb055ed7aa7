from __future__ import annotations

import pytest

from gateway.upstreams.sql.postgres import catalog
from gateway.upstreams.sql.postgres.catalog import Table
from tests.fixtures.postgres_case import Case


async def _table(case: Case, name: str = "t") -> Table:
    (oid,) = case.admin.execute("SELECT %s::regclass::oid::int8", (name,)).fetchone() or (0,)
    async with case.peers.session() as session:
        return (await catalog.tables(session, [oid]))[oid]


@pytest.mark.parametrize(
    ("ddl", "key"),
    [
        ("CREATE TABLE t(a int UNIQUE NOT NULL, b int PRIMARY KEY)", ("b",)),
        ("CREATE TABLE t(a int, b text, PRIMARY KEY (b, a))", ("b", "a")),
        ("CREATE TABLE t(a int UNIQUE NOT NULL)", ("a",)),
        ("CREATE TABLE t(a int NOT NULL, b int); CREATE UNIQUE INDEX ON t(a) INCLUDE (b)", ("a",)),
        ("CREATE TABLE t(a int UNIQUE)", None),
        ("CREATE TABLE t(a int NOT NULL); CREATE UNIQUE INDEX ON t(a) WHERE a > 0", None),
        ("CREATE TABLE t(a text NOT NULL); CREATE UNIQUE INDEX ON t(lower(a))", None),
        ("CREATE TABLE t(a text NOT NULL); CREATE UNIQUE INDEX ON t(a text_pattern_ops)", None),
        ('CREATE TABLE t(a text NOT NULL); CREATE UNIQUE INDEX ON t(a COLLATE "C")', None),
        ("CREATE TABLE t(a int GENERATED ALWAYS AS (1) STORED PRIMARY KEY)", None),
        ("CREATE TABLE t(a int)", None),
    ],
)
async def test_a_key_names_every_row(case: Case, ddl: str, key: tuple[str, ...] | None) -> None:
    case.setup(ddl)
    found = (await _table(case)).key
    assert (found.columns if found else None) == key


@pytest.mark.parametrize(
    ("ddl", "unique"),
    [
        ("CREATE TABLE t(a int PRIMARY KEY, b int UNIQUE, c int)", {"a", "b"}),
        ("CREATE TABLE t(a int, b int); CREATE UNIQUE INDEX ON t(a) WHERE b > 0", {"a", "b"}),
        ("CREATE TABLE t(r int4range, b int, EXCLUDE USING gist (r WITH &&))", {"r", "b"}),
        ("CREATE TABLE t(a int, b int); CREATE INDEX ON t(a)", set()),
    ],
)  # fmt: skip
async def test_columns_under_unique_constraints_are_known(
    case: Case, ddl: str, unique: set[str]
) -> None:
    case.setup(ddl)
    assert (await _table(case)).unique == unique


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("ALTER TABLE t ADD COLUMN c int", False),
        ("ALTER TABLE t DROP COLUMN b; ALTER TABLE t ADD COLUMN b text", False),
        ("ALTER TABLE t ALTER COLUMN b SET NOT NULL", False),
        ('ALTER TABLE t ALTER COLUMN b TYPE text COLLATE "C"', False),
        ("CREATE INDEX ON t(b); ANALYZE t; GRANT SELECT ON t TO PUBLIC", True),
        ("ALTER TABLE t ALTER COLUMN b SET DEFAULT 'x'", True),
    ],
)
async def test_the_fingerprint_tells_schemas_apart(case: Case, change: str, same: bool) -> None:
    case.setup("CREATE TABLE t(a int PRIMARY KEY, b text)")
    before = (await _table(case)).fingerprint
    case.admin.execute(change)
    assert ((await _table(case)).fingerprint == before) is same


async def test_foreign_keys_are_found_from_both_ends(case: Case) -> None:
    case.setup(
        "CREATE TABLE p(a int, b int, PRIMARY KEY (a, b));"
        "CREATE TABLE c(x int, y int, FOREIGN KEY (y, x) REFERENCES p ON DELETE CASCADE)"
    )
    tables = [await _table(case, "p"), await _table(case, "c")]
    async with case.peers.session() as session:
        keys = [await catalog.foreign_keys(session, [t]) for t in tables]
    assert keys[0] == keys[1]
    (key,) = keys[0]
    assert (key.child_columns, key.parent_columns, key.acts) == (("y", "x"), ("a", "b"), True)
    assert (key.child_name, key.parent_name) == ("ONLY public.c", "ONLY public.p")
