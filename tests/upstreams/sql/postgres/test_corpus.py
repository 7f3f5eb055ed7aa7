"""Statements that were labelled by running them: nothing that had an effect is ever judged a read.

Runs where the corpus stands beside the checkout, or where ``HOLDFAST_CORPUS`` says.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlglot
from sqlglot import exp

from gateway.model import ActionClass, Deny
from gateway.upstreams.sql.postgres.judge import Judged
from tests.fixtures.postgres_judging import AGENT, Bench, bench, load
from tests.fixtures.postgres_server import PostgresServer

CORPUS = Path(
    os.environ.get("HOLDFAST_CORPUS", Path(__file__).resolve().parents[5] / "shared" / "corpus")
)
pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not here")

Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    lines = (CORPUS / f"{name}.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row.get("dialect") == "postgres"]


@dataclass(slots=True)
class Score:
    """``blocked``: harmless, and refused although the server understands it."""

    false_safe: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    reads: list[Row] = field(default_factory=list)
    unresolved: int = 0

    def add(self, row: Row, found: Judged | Deny) -> None:
        read = isinstance(found, Judged) and found.cls is ActionClass.READ
        if read:
            self.reads.append(row)
            # Several reads in one text are labelled unsafe for their number; each runs as a
            # message of its own here.
            stacked = isinstance(found, Judged) and len(found.runs) > 1
            if row.get("safe_read") is False and not (stacked and not row.get("effects")):
                self.false_safe.append(f"{row['id']}: {row['sql']}")
        elif isinstance(found, Deny) and found.reason == "sql.unparsable":
            self.unresolved += 1
        elif row.get("safe_read") is True:
            self.blocked.append(f"{row['id']}: {row['sql']}")


@pytest.fixture(scope="module")
def fixture_database(postgres_server: PostgresServer) -> str:
    name = load(postgres_server, "")
    with psycopg.connect(postgres_server.url(name), autocommit=True) as connection:
        for line in (CORPUS / "postgres_fixture.sql").read_text().splitlines():
            # Extensions that are not installed here are left out, and what needs them.
            with contextlib.suppress(psycopg.Error):
                connection.execute(line.encode())
    return name


@pytest.fixture
async def judging(postgres_server: PostgresServer, fixture_database: str) -> AsyncIterator[Bench]:
    async with bench(postgres_server, fixture_database) as found:
        yield found


def state(url: str) -> list[tuple[Any, ...]]:
    """What a read must leave as it is: rows, sequences, large objects, relations."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT format('%I.%I', n.nspname, c.relname), c.relkind::text FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_' "
            "AND n.nspname <> 'information_schema' ORDER BY 1"
        ).fetchall()
        for name, kind in list(found):
            query = {
                "r": f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t",
                "S": f"SELECT last_value, is_called FROM {name}",
            }.get(kind)
            found += connection.execute(query.encode()).fetchall() if query else []
        found += connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchall()
        found += connection.execute("SELECT setconfig FROM pg_db_role_setting").fetchall()
    return found


@pytest.mark.parametrize("name", ["adversarial_postgres", "external_guard_tests", "sqli_payloads"])
async def test_no_effect_is_judged_a_read(
    judging: Bench, name: str, postgres_server: PostgresServer, fixture_database: str
) -> None:
    score = Score()
    before = state(postgres_server.url(fixture_database))
    for row in rows(name):
        score.add(row, await judging.judged(row["sql"]))

    assert score.false_safe == []
    assert score.reads
    assert state(postgres_server.url(fixture_database)) == before, "judging had an effect"

    ran = 0
    async with bench(postgres_server, fixture_database, user=AGENT) as agent:
        for row in score.reads:
            await agent.connection.execute("BEGIN READ ONLY")
            with contextlib.suppress(psycopg.Error):
                await agent.connection.execute(row["sql"].encode(), prepare=True)
                ran += 1
            await agent.connection.execute("ROLLBACK")
    assert ran
    assert state(postgres_server.url(fixture_database)) == before, "a judged read had an effect"


async def test_no_effect_of_the_servers_own_suite_is_judged_a_read(
    postgres_server: PostgresServer,
) -> None:
    database = postgres_server.create_database()
    score = Score()
    async with (
        bench(postgres_server, database) as judging,
        await psycopg.AsyncConnection.connect(
            postgres_server.url(database), autocommit=True, options="-c statement_timeout=2000"
        ) as setup,
    ):
        for row in rows("postgres_regress"):
            score.add(row, await judging.judged(row["sql"]))
            # A sample of a suite: what can be made of its schema is made on the way.
            if row.get("tag") in ("CREATE TABLE", "CREATE FUNCTION", "CREATE VIEW", "CREATE TYPE"):
                with contextlib.suppress(psycopg.Error):
                    await setup.execute(row["sql"].encode())

    assert score.false_safe == []
    assert len(score.reads) > 300
    assert len(score.blocked) < 0.15 * len(score.reads)


def tables_of(sql: str) -> dict[str, set[str]]:
    """A schema that the query could be about."""
    tree = sqlglot.parse_one(sql, dialect="postgres")
    named = {cte.alias_or_name for cte in tree.find_all(exp.CTE)}
    tables: dict[str, set[str]] = {}
    aliases: dict[str, str] = {}
    for table in tree.find_all(exp.Table):
        if table.name not in named:
            tables.setdefault(table.name.lower(), set())
            aliases[table.alias_or_name.lower()] = table.name.lower()
    made = {alias.alias.lower() for alias in tree.find_all(exp.Alias)}
    columns = list(tree.find_all(exp.Column))
    for column in columns:
        if column.table.lower() in aliases:
            tables[aliases[column.table.lower()]].add(column.name.lower())
    known = {name for names in tables.values() for name in names}
    for column in columns:
        name = column.name.lower()
        loose = not column.table and name not in known
        if loose and tables and (name not in made or len(tables) == 1):
            next(iter(tables.values())).add(name)
    return tables


def types_for(column: str, kind: str) -> str:
    if kind != "guessed":
        return kind
    if any(part in column for part in ("date", "time", "_at", "day")):
        return "timestamp"
    words = "name city type status email country state title category symbol currency gender region"
    return "text" if any(word in column for word in words.split()) else "numeric"


async def test_ordinary_analytic_reads_are_not_blocked(postgres_server: PostgresServer) -> None:
    database = postgres_server.create_database()
    score = Score()
    asked = rows("text2sql_reads")
    async with bench(postgres_server, database) as judging:
        for row in asked:
            found: Judged | Deny | None = None
            for kind in ("guessed", "text", "numeric", "timestamp", "int", "date"):
                await judging.connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
                for table, columns in tables_of(row["sql"]).items():
                    body = ", ".join(f'"{c}" {types_for(c, kind)}' for c in sorted(columns))
                    await judging.connection.execute(f'CREATE TABLE "{table}" ({body})'.encode())
                found = await judging.judged(row["sql"])
                if not (isinstance(found, Deny) and found.reason == "sql.unparsable"):
                    break
            assert found is not None
            score.add(row, found)

    assert score.false_safe == []
    assert len(score.blocked) <= 0.03 * len(asked)
    assert score.unresolved <= 0.15 * len(asked)
