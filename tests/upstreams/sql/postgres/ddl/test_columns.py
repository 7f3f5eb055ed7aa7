from __future__ import annotations

import pytest

from gateway.upstreams.sql.postgres.copying import Segments
from gateway.upstreams.sql.postgres.ddl.columns import Kept, digest, keep, laid_out, stored
from gateway.upstreams.sql.postgres.ddl.quarantine import NoWayBack
from gateway.upstreams.sql.postgres.sink import Sink
from tests.fixtures.postgres_ddl import SchemaCase

pytestmark = pytest.mark.postgres


def _oid(case: SchemaCase, name: str) -> int:
    (oid,) = case.admin.execute("SELECT %s::regclass::oid::int8", (name,)).fetchone() or (0,)
    return int(oid)


async def test_values_are_kept_with_their_keys_and_laid_out_again(shop: SchemaCase) -> None:
    oid = _oid(shop, "wide")
    sink = Sink(lambda: pytest.fail("small images need no spool"))
    async with shop.upstream._agents.session() as session:
        await session.run("BEGIN")
        table, kept = await keep(session, oid, ["last", "number"], "holdfast_columns_7")
        assert kept is not None
        before = await digest(session, table)
        kept = await stored(session, kept, sink, 1 << 20)
        await session.run("ROLLBACK")
    image = (await sink.finish())["image"]
    assert len(image) == kept.size
    async with shop.upstream._agents.session() as session:
        await session.run("BEGIN")
        await laid_out(session, Kept.from_json(kept.as_json()), Segments(iter([image])))
        await session.run("UPDATE wide SET last = '{}', number = 0")
        assert await digest(session, table) != before
        await session.run(kept.fill)
        assert await digest(session, table) == before
        await session.run("ROLLBACK")


async def test_rows_without_a_key_keep_nothing(shop: SchemaCase) -> None:
    async with shop.upstream._agents.session() as session:
        await session.run("BEGIN")
        assert (await keep(session, _oid(shop, "borrower"), ["x"], "holdfast_columns_1"))[1] is None
        assert (await keep(session, _oid(shop, "wide"), ["id"], "holdfast_columns_1"))[1] is None
        with pytest.raises(NoWayBack):
            await keep(session, _oid(shop, "parted"), ["k"], "holdfast_columns_1")
