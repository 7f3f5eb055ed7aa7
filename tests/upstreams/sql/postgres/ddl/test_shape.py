from __future__ import annotations

import pytest

from gateway.upstreams.sql.postgres.ddl.shape import (
    Difference,
    Scope,
    Shape,
    plain_names,
    shape,
)
from tests.fixtures.postgres_ddl import SchemaCase

pytestmark = pytest.mark.postgres

# Each changes what a dump of the schema says of t, and so has to change its shape.
CHANGES = [
    "ALTER TABLE t ALTER v DROP DEFAULT",
    "ALTER TABLE t ALTER v SET NOT NULL",
    "ALTER TABLE t ALTER v SET STATISTICS 9",
    "ALTER TABLE t ALTER v SET STORAGE MAIN",
    "ALTER TABLE t ALTER g TYPE bigint",
    "ALTER TABLE t ADD COLUMN more int",
    "ALTER TABLE t DROP COLUMN parent",
    "ALTER TABLE t DROP CONSTRAINT filled",
    "ALTER TABLE t RENAME CONSTRAINT filled TO other",
    "ALTER TABLE t RENAME TO tt",
    "ALTER TABLE t RENAME v TO vv",
    "ALTER TABLE t SET (fillfactor = 50)",
    "ALTER TABLE t REPLICA IDENTITY DEFAULT",
    "ALTER TABLE t CLUSTER ON t_pkey",
    "ALTER TABLE t DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE t FORCE ROW LEVEL SECURITY",
    "ALTER TABLE t ENABLE TRIGGER noted",
    "ALTER TABLE t DISABLE RULE quiet",
    "DROP RULE quiet ON t",
    "DROP TRIGGER noted ON t",
    "DROP POLICY seen ON t",
    "ALTER POLICY seen ON t USING (n > 4)",
    "DROP INDEX by_n",
    "ALTER INDEX by_n RENAME TO by_nn",
    "ALTER INDEX by_n SET (fillfactor = 60)",
    "DROP STATISTICS vn",
    "ALTER STATISTICS vn SET STATISTICS 60",
    "COMMENT ON TABLE t IS 'x'",
    "COMMENT ON COLUMN t.v IS NULL",
    "COMMENT ON CONSTRAINT filled ON t IS NULL",
    "COMMENT ON INDEX by_n IS NULL",
    "GRANT INSERT ON t TO PUBLIC",
    "REVOKE UPDATE (v) ON t FROM PUBLIC",
    "ALTER PUBLICATION news DROP TABLE t",
    "ALTER SEQUENCE t_id_seq INCREMENT 2",
    "ALTER SEQUENCE t_id_seq OWNED BY NONE",
    "CREATE OR REPLACE VIEW w AS SELECT id, 'z' || v AS v FROM t",
    "COMMENT ON VIEW w IS NULL",
]


async def _seen(case: SchemaCase, *, of: str = "t,w,t_id_seq") -> Shape:
    async with case.upstream._peers.session() as session:
        rows = await session.rows(
            "SELECT ('public.' || n)::regclass::oid::int8 FROM unnest(%s::text[]) n", of.split(",")
        )
        return await shape(session, Scope(relations=frozenset(o for (o,) in rows)))


async def test_every_change_that_a_dump_shows_is_seen(shop: SchemaCase) -> None:
    async with shop.upstream._agents.session() as session:
        rows = await session.rows(
            "SELECT c::regclass::oid::int8 FROM unnest('{t,w,t_id_seq}'::text[]) c"
        )
        scope = Scope(relations=frozenset(o for (o,) in rows))
        await session.run("BEGIN")
        async with plain_names(session):
            before = await shape(session, scope)
        for change in CHANGES:
            await session.run("SAVEPOINT one")
            await session.run(change)
            async with plain_names(session):
                after = await shape(session, scope)
            await session.run("ROLLBACK TO SAVEPOINT one")
            assert Difference.between(before, after).parts, change
        async with plain_names(session):
            assert await shape(session, scope) == before


async def test_rows_and_numbers_of_the_server_do_not_matter(shop: SchemaCase) -> None:
    before = await _seen(shop)
    shop.owner.execute("ALTER TABLE t ADD COLUMN gone int; ALTER TABLE t DROP COLUMN gone")
    shop.owner.execute("ANALYZE t; SELECT last_value FROM t_id_seq")
    shop.owner.execute("ALTER TABLE t DROP CONSTRAINT filled")
    shop.owner.execute("ALTER TABLE t ADD CONSTRAINT filled CHECK (v <> '')")
    shop.owner.execute("COMMENT ON CONSTRAINT filled ON t IS 'never empty'")
    assert await _seen(shop) == before


async def test_the_search_path_comes_back(shop: SchemaCase) -> None:
    async with shop.upstream._agents.session() as session:
        await session.run("BEGIN")
        await session.run("SET LOCAL search_path = box, public")
        async with plain_names(session):
            assert (await session.one("SHOW search_path"))[0] in ("", '""')
        assert (await session.one("SHOW search_path"))[0] == "box, public"


def test_differences_hold_both_sides_of_what_differs_alone() -> None:
    found = Difference.between({"a": {"x": 1}, "b": {}, "c": {}}, {"a": {"x": 2}, "b": {}, "d": {}})
    assert (found.before, found.after) == ({"a": {"x": 1}, "c": {}}, {"a": {"x": 2}, "d": {}})
    assert found.parts == ["a", "c", "d"]


def test_a_scope_travels_as_json() -> None:
    scope = Scope(relations=frozenset({3, 1}), types=frozenset({2}))
    assert Scope.from_json(scope.as_json()) == scope
    assert (scope | Scope(schemas=frozenset({9}))).schemas == {9}
