from __future__ import annotations

import pytest

from gateway.upstreams.sql.postgres.ddl.naming import seeds
from gateway.upstreams.sql.postgres.written import Named
from tests.fixtures.postgres_ddl import SchemaCase

pytestmark = pytest.mark.postgres


def _named(name: str, kind: str = "table", schema: str | None = None) -> Named:
    return Named(verb="drop", kind=kind, schema=schema, name=name)


async def test_names_mean_what_they_mean_to_the_agent(shop: SchemaCase) -> None:
    async with shop.upstream._agents.session() as session:
        (plain,) = await seeds(session, [_named("inner_t", schema="box")])
        assert await seeds(session, [_named("inner_t")]) == []
        await session.run("SET search_path = box")
        assert await seeds(session, [_named("inner_t")]) == [plain]
        assert plain.catalog == "pg_class"


async def test_schemas_and_things_that_are_not_there(shop: SchemaCase) -> None:
    async with shop.upstream._agents.session() as session:
        found = await seeds(
            session, [_named("box", "schema"), _named("no", "schema"), _named("no")]
        )
        assert [s.catalog for s in found] == ["pg_namespace"]
