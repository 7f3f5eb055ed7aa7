"""Roles that nothing but the preparation made: with them every shape is exact, and without any one
piece what needed it is refused before it commits, by name."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psycopg
import pytest

from gateway.errors import UpstreamError
from gateway.interfaces import Piece
from gateway.model import Action, Deny, OnConflict, Permit
from gateway.upstreams.sql.postgres.grants import Logins
from gateway.upstreams.sql.postgres.upstream import PostgresUpstream
from tests.fixtures.postgres_case import Case
from tests.fixtures.postgres_server import PostgresServer
from tests.upstreams.sql.postgres.test_upstream import _call, _upstream

_runs = itertools.count(1)

SCHEMA = """
CREATE TABLE people(id int PRIMARY KEY, name text, plan text DEFAULT 'free');
CREATE TABLE orders(id int PRIMARY KEY, person int REFERENCES people ON DELETE CASCADE, what text);
CREATE TABLE log(id serial PRIMARY KEY, what text);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO log(what) VALUES (new.name); RETURN new; END $$;
CREATE TRIGGER noted AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION noted();
CREATE TABLE secured(id int PRIMARY KEY, v text);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY odd ON secured USING (id % 2 = 1);
CREATE TABLE parted(id int, v text) PARTITION BY RANGE (id);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_high PARTITION OF parted DEFAULT;
CREATE TABLE bare(v text);
CREATE SCHEMA unseen; CREATE TABLE unseen.log(what text, n numeric(4, 1));
CREATE TABLE doors(id int);
CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN INSERT INTO unseen.log VALUES ('door', new.id); RETURN new; END $$;
CREATE TRIGGER told AFTER INSERT ON doors FOR EACH ROW EXECUTE FUNCTION told();
INSERT INTO people SELECT i, 'p' || i FROM generate_series(1, 9) i;
INSERT INTO orders SELECT i, 1 + i % 9, 'w' FROM generate_series(1, 20) i;
INSERT INTO secured SELECT i, 'v' || i FROM generate_series(1, 9) i;
INSERT INTO parted SELECT i, 'v' || i FROM generate_series(1, 20) i;
INSERT INTO bare VALUES ('same'), ('same'), ('other');
"""
SHAPES = [
    "UPDATE people SET plan = 'pro' WHERE id < 4",
    "DELETE FROM people WHERE id = 2",
    "UPDATE secured SET v = 'x'",
    "DELETE FROM secured WHERE id < 5",
    "UPDATE parted SET id = 30 WHERE id = 5",
    "DELETE FROM bare WHERE v = 'same'",
    "INSERT INTO people VALUES (50, 'new')",
    "INSERT INTO doors VALUES (3)",
]


@dataclass
class Prepared:
    case: Case
    agents: str
    capture: str

    def upstream(self) -> PostgresUpstream:
        database, server = self.case.database, self.case.server
        return _upstream(
            self.case,
            url=server.url(database, self.agents, "agents-password"),
            capture_url=server.url(database, self.capture, "capture-password"),
        )

    async def prepare(self, *include: str, apply: bool = True) -> dict[str, Piece]:
        upstream = self.upstream()
        try:
            pieces = await upstream.prepare(
                apply=apply,
                include=frozenset(include),
                admin_url=self.case.server.url(self.case.database),
            )
        finally:
            await upstream.close()
        return {piece.id: piece for piece in pieces}


@pytest.fixture(scope="module")
def target(postgres_server: PostgresServer) -> PostgresServer:
    return postgres_server


@pytest.fixture
async def fresh(case: Case) -> AsyncIterator[Prepared]:
    case.clear()
    case.admin.execute(
        "REVOKE ALL ON SCHEMA public FROM PUBLIC; DROP SCHEMA IF EXISTS unseen CASCADE;"
        "DROP SCHEMA IF EXISTS holdfast_quarantine, holdfast_rows CASCADE"
    )
    case.admin.execute(SCHEMA)
    number = next(_runs)
    found = Prepared(case, f"prep_agents_{number}", f"prep_capture_{number}")
    yield found
    database = case.database
    case.clear()
    for role in (found.agents, found.capture):
        if case.admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
            case.admin.execute(f"DROP OWNED BY {role} CASCADE")
            case.admin.execute(f"REVOKE ALL ON DATABASE {database} FROM {role}")
    for role in (found.capture, found.agents):
        case.admin.execute(f"DROP ROLE IF EXISTS {role}")


async def test_the_plan_changes_nothing_and_names_no_password(fresh: Prepared) -> None:
    roles = "SELECT count(*) FROM pg_roles"
    before = fresh.case.admin.execute(roles).fetchone()
    pieces = await fresh.prepare(apply=False)
    assert fresh.case.admin.execute(roles).fetchone() == before
    assert pieces["agents-role"].state == pieces["capture-reads"].state == "missing"
    for piece in pieces.values():
        assert piece.statements
        assert piece.without
        assert "password" not in " ".join(piece.statements)
    assert "password" not in repr(Logins.of("postgresql://a:password@h/d", None))


async def test_what_is_applied_is_there_and_applying_again_changes_nothing(
    fresh: Prepared,
) -> None:
    first = await fresh.prepare("functions-public")
    assert {piece.state for piece in first.values()} <= {"applied", "there"}, first
    assert first["capture-triggers"].state == "applied"
    again = await fresh.prepare("functions-public")
    assert {piece.state for piece in again.values()} == {"there"}
    secret = fresh.case.admin.execute(
        "SELECT rolpassword FROM pg_authid WHERE rolname = %s", (fresh.capture,)
    ).fetchone()
    assert secret is not None
    assert secret[0].startswith("SCRAM-SHA-256$")


async def test_what_was_granted_to_agents_is_left_as_it_is(fresh: Prepared) -> None:
    fresh.case.admin.execute(f"CREATE ROLE {fresh.agents} LOGIN")
    fresh.case.admin.execute(f"GRANT SELECT ON people TO {fresh.agents}")
    pieces = await fresh.prepare()
    assert pieces["agents-tables"].state == "there"
    [(more,)] = fresh.case.admin.execute(
        "SELECT has_table_privilege(%s, 'people', 'DELETE')", (fresh.agents,)
    ).fetchall()
    assert more is False


async def test_without_the_rights_to_grant_it_fails_and_says_so(fresh: Prepared) -> None:
    await fresh.prepare()
    fresh.case.admin.execute(f"ALTER ROLE {fresh.capture} NOBYPASSRLS")
    upstream = fresh.upstream()
    pieces = await upstream.prepare(apply=True, include=frozenset(), admin_url=None)
    await upstream.close()
    [failed] = [piece for piece in pieces if piece.state == "failed"]
    assert failed.id == "capture-rls"
    assert failed.detail


async def did(upstream: PostgresUpstream, sql: str) -> Deny | None:
    """Runs, commits and takes back; or why it was refused before it committed."""
    call = _call(sql)
    action = await upstream.parse(call)
    if isinstance(action, Deny):
        return action
    assert isinstance(action, Action)
    if action.why_irreversible is not None:
        return Deny(reason="undo.unavailable", detail=action.why_irreversible)
    try:
        async with upstream.attempt(call, action) as attempt:
            await attempt.run()
            captured = await attempt.capture()
            if isinstance(captured, Deny):
                return captured
            await attempt.commit(Permit.issue(call.id, 1))
            undo = captured.undo
            async with upstream.unwind(call, [(call.id, undo)], OnConflict.ABORT) as unwinding:
                [step] = await unwinding.run()
                assert step.state == "reverted", step
                assert not isinstance(await unwinding.capture(), Deny)
                await unwinding.commit(Permit.issue("call_2", 1))
    except UpstreamError as error:
        return Deny(reason=error.reason, detail=error.detail)
    return None


def rows_of(case: Case) -> dict[str, list[bytes]]:
    """What is the agents', not what the preparation keeps beside it."""
    return {n: r for n, r in case.dump().items() if not n.startswith("holdfast_")}


async def test_with_the_preparation_alone_every_shape_is_exact(fresh: Prepared) -> None:
    await fresh.prepare()
    upstream = fresh.upstream()
    before = rows_of(fresh.case)
    for sql in SHAPES:
        refused = await did(upstream, sql)
        assert refused is None, (sql, refused)
        assert rows_of(fresh.case) == before, sql
    await upstream.close()


@pytest.mark.parametrize(
    ("piece", "taken", "sql", "named"),
    [
        ("capture-rls", "ALTER ROLE {capture} NOBYPASSRLS", SHAPES[2], "BYPASSRLS"),
        ("own-rows", "DROP SCHEMA holdfast_rows CASCADE", SHAPES[2], "row-level security"),
        (
            "own-rows",
            "DROP TABLE holdfast_rows.keys; REVOKE ALL ON SCHEMA unseen FROM {agents}",
            SHAPES[7],
            "may not read",
        ),
        (
            "capture-triggers",
            "REVOKE SET ON PARAMETER session_replication_role FROM {capture}",
            SHAPES[0],
            "session_replication_role",
        ),
        (
            "capture-triggers",
            "REVOKE SET ON PARAMETER session_replication_role FROM {capture}",
            SHAPES[1],
            "session_replication_role",
        ),
        # As a member of the agents' role, which schema changes need, it has that role's rights too.
        (
            "capture-reads",
            "REVOKE pg_read_all_data FROM {capture}; REVOKE {agents} FROM {capture}",
            SHAPES[5],
            "read",
        ),
        (
            "capture-writes",
            "REVOKE pg_write_all_data FROM {capture}; REVOKE {agents} FROM {capture}",
            SHAPES[5],
            "GRANT INSERT",
        ),
        (
            "capture-temporary",
            "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC, {capture}",
            SHAPES[5],
            "TEMPORARY",
        ),
        ("quarantine", "DROP SCHEMA holdfast_quarantine CASCADE", "DROP TABLE made", "quarantine"),
    ],
)
async def test_without_a_piece_what_needs_it_is_refused_by_name(
    fresh: Prepared, piece: str, taken: str, sql: str, named: str
) -> None:
    await fresh.prepare()
    admin = fresh.case.admin
    admin.execute("CREATE TABLE made(id int); INSERT INTO made VALUES (1)")
    admin.execute(f"ALTER TABLE made OWNER TO {fresh.agents}")
    upstream = fresh.upstream()
    before = rows_of(fresh.case)
    assert await did(upstream, sql) is None  # with it, it is exact
    assert rows_of(fresh.case) == before
    await upstream.close()

    names = {"capture": fresh.capture, "agents": fresh.agents, "database": fresh.case.database}
    admin.execute(taken.format(**names))
    assert (await fresh.prepare(apply=False))[piece].state == "missing"
    upstream = fresh.upstream()
    refused = await did(upstream, sql)
    await upstream.close()
    assert refused is not None
    assert named in refused.detail
    assert rows_of(fresh.case) == before
    admin.execute(f"GRANT TEMPORARY ON DATABASE {fresh.case.database} TO PUBLIC")
    assert (await fresh.prepare())[piece].state in ("applied", "there")


async def test_a_database_that_cannot_be_asked_is_an_error(fresh: Prepared) -> None:
    upstream = fresh.upstream()
    with pytest.raises(UpstreamError):
        await upstream.prepare(
            apply=False, include=frozenset(), admin_url="postgresql://a@127.0.0.1:1/none"
        )
    await upstream.close()


async def test_where_no_role_of_the_gateways_own_is_named_it_is_not_made(fresh: Prepared) -> None:
    upstream = _upstream(
        fresh.case, url=fresh.case.server.url(fresh.case.database, fresh.agents), capture_url=None
    )
    admin_url = fresh.case.server.url(fresh.case.database)
    pieces = await upstream.prepare(apply=True, include=frozenset(), admin_url=admin_url)
    await upstream.close()
    own = next(piece for piece in pieces if piece.id == "capture-role")
    assert own.state == "missing"
    assert "capture_url" in (own.detail or "")
    with psycopg.connect(admin_url) as connection:
        made = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'holdfast'").fetchone()
    assert made is None
