from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from gateway.upstreams.sql.postgres.preparing import FUNCTION, missing, preparations
from tests.fixtures.postgres_ddl import CAPTURE, OWNER, SchemaCase, prepared_database
from tests.fixtures.postgres_server import PostgresServer

pytestmark = pytest.mark.postgres


async def test_each_step_that_is_missing_is_named(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    name = prepared_database(postgres_server, prepared=False)
    case = SchemaCase(postgres_server, tmp_path, database=name)
    steps = preparations(agents=OWNER, capture=CAPTURE, database=name)
    said = []
    case.admin.execute(f"REVOKE {OWNER} FROM {CAPTURE}")
    try:
        async with case.upstream._agents.session() as session:
            for step in steps:
                said.append(await missing(session))
                case.admin.execute(step.statement.encode())
            assert await missing(session) is None
    finally:
        await case.close()
        postgres_server.drop_database(name)
    assert "schema holdfast_quarantine is not there" in (said[0] or "")
    assert "lacks USAGE" in (said[1] or "")
    assert any("lacks EXECUTE" in (s or "") for s in said)
    assert any("lacks CREATE on the database" in (s or "") for s in said)
    assert all(step.without for step in steps)


async def test_the_steps_may_be_run_again(case_prepared: SchemaCase) -> None:
    for step in preparations(agents=OWNER, capture="postgres", database=case_prepared.database):
        case_prepared.admin.execute(step.statement.encode())
    async with case_prepared.upstream._agents.session() as session:
        assert await missing(session) is None


@pytest.mark.parametrize(
    "place",
    ["public", "holdfast_quarantine", "holdfast_q1_1", "holdfast_q0123456789ab_1; x", "pg_x"],
)
async def test_the_helper_makes_places_and_nothing_else(
    case_prepared: SchemaCase, place: str
) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        case_prepared.owner.execute(f"SELECT {FUNCTION}(%s, 'c', true)".encode(), (place,))


async def test_the_agent_cannot_reach_the_helper_through_the_gateway(
    case_prepared: SchemaCase,
) -> None:
    refused = await case_prepared.parse(f"SELECT {FUNCTION}('holdfast_q0123456789ab_1', 'c', true)")
    assert getattr(refused, "reason", None) == "action.unsupported"
