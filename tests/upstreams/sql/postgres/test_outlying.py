"""Effects outside of the transaction: seen before they happen, or noticed before the commit and
mended; told where a rollback and an undo do not reach them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.errors import UpstreamError
from gateway.model import ActionClass, Deny, Permit
from gateway.upstreams.sql.postgres.attempt import Job, Line, PostgresAttempt
from gateway.upstreams.sql.postgres.judge import Judged
from gateway.upstreams.sql.postgres.session import Session
from tests.fixtures.postgres_case import Case
from tests.fixtures.postgres_judging import bench

SUITE = yaml.safe_load(
    (Path(__file__).parents[3] / "fixtures" / "sql" / "outside_postgres.yaml").read_text()
)
NEVER = "/tmp/holdfast_never"
UPDATE = "UPDATE t SET v = v + 1 WHERE id = 1"
_TRIGGER = (
    "CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN {body} RETURN NEW; "
    "END $f$; ALTER FUNCTION fired() SECURITY DEFINER; "
    "CREATE TRIGGER fired BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION fired()"
)
_STATE = (
    "SELECT 'relation', oid::text, relname, relkind::text, relacl::text FROM pg_class "
    "WHERE relnamespace = 'public'::regnamespace ORDER BY 2",
    "SELECT 'comment', objoid::text, description FROM pg_description WHERE objoid >= 16384",
    "SELECT 'object', loid::text, pageno::text, encode(data, 'hex') FROM pg_largeobject "
    "ORDER BY 2, 3",
    "SELECT 'owner', oid::text, lomacl::text FROM pg_largeobject_metadata ORDER BY 2",
    "SELECT 'lock', classid::text, objid::text FROM pg_locks WHERE locktype = 'advisory'",
)


def state(case: Case, *, sequences: bool = True) -> list[Any]:
    """Rows, relations, sequences, large objects, advisory locks: all that may not differ."""
    found: list[Any] = [case.dump()]
    for query in _STATE:
        found += case.admin.execute(query.encode()).fetchall()
    names = case.admin.execute(
        "SELECT oid::regclass::text FROM pg_sequence s JOIN pg_class c "
        "ON c.oid = s.seqrelid ORDER BY 1"
    ).fetchall()
    for (name,) in names if sequences else ():
        query = f"SELECT last_value, is_called FROM {name}"
        found += case.admin.execute(query.encode()).fetchall()
    return found


def written_outside() -> bool:
    return os.path.lexists(NEVER)


def make(case: Case, also: str = "", needs: str | None = None) -> None:
    if (
        needs is not None
        and not case.admin.execute(
            "SELECT FROM pg_available_extensions WHERE name = %s", (needs,)
        ).fetchall()
    ):
        pytest.skip(f"the server has no {needs}")
    info = case.admin.info
    for part, value in (("database", info.dbname), ("host", info.host), ("port", info.port)):
        also = also.replace(f"{{{part}}}", str(value))
    case.setup(f"{SUITE['schema']};{also}")
    case.admin.execute("SELECT lo_unlink(oid) FROM pg_largeobject_metadata")
    case.admin.execute("SELECT lo_from_bytea(4711, 'hello')")


async def outcome(case: Case, sql: str) -> tuple[str, tuple[str, ...]]:
    """The reason, or ``exact`` when it was committed and taken back; and the warnings."""
    async with bench(case.server, case.database, user="agent") as judging:
        judged = await judging.judged(sql)
    if isinstance(judged, Deny):
        return judged.reason, ()
    async with case.agents.session() as session:
        attempt = PostgresAttempt(session, job(judged), case.around(), case.open_until)
        try:
            await attempt.run()
        except UpstreamError as error:
            return error.reason, judged.warnings
        captured = await attempt.capture()
        if isinstance(captured, Deny):
            return captured.reason, judged.warnings
        await attempt.commit(Permit.issue("call_1", 1))
    await case.revert(captured.undo)
    return "exact", judged.warnings


def job(judged: Judged) -> Job:
    lines = tuple(
        Line(verb=r.verb, text=r.sql, near=r.near, change=r.change, code=r.code)
        for r in judged.runs
    )

    async def agree(session: Session) -> tuple[Line, ...]:
        return lines

    return Job(judge=agree, params=())


async def answered(case: Case, sql: str, want: str, told: str | None = None) -> None:
    exact = want == "exact"
    before = state(case, sequences=not exact)
    reason, warnings = await outcome(case, sql)
    assert reason == want, sql
    assert told is None or any(told in warning for warning in warnings)
    assert state(case, sequences=not exact) == before, sql
    assert not written_outside()


async def test_statements_that_reach_outside_are_refused(case: Case) -> None:
    make(case)
    before = state(case)
    async with bench(case.server, case.database, user="agent") as judging:
        for reason, statements in SUITE["direct"].items():
            for sql in statements:
                found = await judging.judged(sql)
                assert isinstance(found, Deny), sql
                assert found.reason == reason, sql
    assert state(case) == before


@pytest.mark.parametrize("extension", [None, "dblink"])
async def test_functions_that_reach_outside_are_refused_everywhere(
    case: Case, extension: str | None
) -> None:
    make(case, f"CREATE EXTENSION {extension}" if extension else "", extension)
    before = state(case)
    async with bench(case.server, case.database, user="agent") as judging:
        for place in SUITE["places"]:
            for function in SUITE["functions"]:
                found = await judging.judged(place.format(function))
                if place.format(function) == "SELECT setval('s', 1)":
                    assert isinstance(found, Judged)  # by itself it is a schema change
                    assert found.cls is ActionClass.DDL
                    continue
                assert isinstance(found, Deny), place.format(function)
                assert found.reason == "action.unsupported", place.format(function)
    assert state(case) == before


@pytest.mark.parametrize("row", SUITE["triggers"], ids=lambda row: row["body"])
async def test_a_trigger_that_reaches_outside(case: Case, row: dict[str, str]) -> None:
    trigger = _TRIGGER.format(body=row["body"])
    make(case, f"{row['also']};{trigger}" if "also" in row else trigger, row.get("needs"))

    await answered(case, UPDATE, row["want"], row.get("told"))


@pytest.mark.parametrize("row", SUITE["others"], ids=lambda row: f"{row['also']}: {row['sql']}")
async def test_other_code_that_reaches_outside(case: Case, row: dict[str, str]) -> None:
    make(case, row["also"], row.get("needs"))

    await answered(case, row["sql"], row["want"])
