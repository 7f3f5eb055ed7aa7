from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.upstreams.sql.postgres.ddl.quarantine import Moved
from gateway.upstreams.sql.postgres.ddl.rights import lacking
from gateway.upstreams.sql.postgres.ddl.shape import Scope
from tests.fixtures.postgres_ddl import CAPTURE, OWNER, SchemaCase
from tests.fixtures.postgres_server import PostgresServer
from tests.upstreams.sql.postgres.ddl.test_records import PART

pytestmark = pytest.mark.postgres


async def test_the_missing_grant_is_named(postgres_server: PostgresServer, tmp_path: Path) -> None:
    case = SchemaCase(postgres_server, tmp_path, capture=CAPTURE)
    try:
        case.setup("CREATE TABLE a(id int); CREATE SCHEMA box")
        case.admin.execute("CREATE SCHEMA closed; CREATE TABLE closed.b(id int)")
        oids = dict(case.admin.execute("SELECT relname, oid::int8 FROM pg_class").fetchall())
        own = replace(PART, scope=Scope(relations=frozenset({oids["a"]})))
        others = replace(PART, scope=Scope(relations=frozenset({oids["b"]})))
        moved = Moved(kind="table", schema="closed", name="b", oid=1, place="p")
        schema = Moved(kind="schema", schema="", name="box", oid=1, place="p")
        async with case.upstream._peers.session() as peer:
            assert await lacking(peer, [own]) is None
            assert "GRANT postgres TO" in (await lacking(peer, [own, others]) or "")
            said = await lacking(peer, [replace(own, moved=(moved,))])
            assert f"GRANT CREATE ON SCHEMA closed TO {CAPTURE}" in (said or "")
            assert await lacking(peer, [replace(own, moved=(schema,))]) is None
            case.admin.execute(f"REVOKE CREATE ON DATABASE {case.database} FROM {CAPTURE}, {OWNER}")
            said = await lacking(peer, [replace(own, moved=(schema,))])
            assert "GRANT CREATE ON DATABASE" in (said or "")
    finally:
        await case.close()
