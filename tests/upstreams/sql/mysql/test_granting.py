"""Accounts that nothing but the preparation made do everything; without a piece, what needed it is
refused before it commits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gateway.errors import UpstreamError
from gateway.interfaces import Piece
from gateway.store.images import Images
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.mysql.upstream import MariadbUpstream
from tests.fixtures.mariadb_case import Case, Clock, Refused

_runs = itertools.count(1)
SCHEMA = (
    "CREATE TABLE people(id INT PRIMARY KEY, name VARCHAR(20))",
    "CREATE TABLE orders(id INT PRIMARY KEY, person INT, FOREIGN KEY (person) REFERENCES "
    "people(id) ON DELETE CASCADE)",
    "INSERT INTO people VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    "INSERT INTO orders VALUES (10, 1), (11, 1), (12, 2)",
)


@dataclass
class Fresh:
    case: Case
    agents: str
    capture: str | None

    def source(self) -> MariadbUpstream:
        server, database = self.case.server, self.case.database
        own = None if self.capture is None else server.url(database, self.capture, "own-secret")
        return MariadbUpstream(
            "app",
            url=server.url(database, self.agents, "agents-secret"),
            capture_url=own,
            environment="test",
            limits=SqlLimits(lock_timeout_s=2.0),
            spooler=Images(),
            clock=Clock(),
        )

    async def prepare(self, *, apply: bool = True) -> dict[str, Piece]:
        source = self.source()
        try:
            pieces = await source.prepare(
                apply=apply,
                include=frozenset(),
                admin_url=self.case.server.url(self.case.database),
            )
        finally:
            await source.close()
        return {piece.id: piece for piece in pieces}


@pytest.fixture
def fresh(case: Case) -> Iterator[Fresh]:
    case.setup(*SCHEMA)
    number = next(_runs)
    yield Fresh(case, f"prep_agents_{number}", f"prep_own_{number}")
    for user in (f"prep_agents_{number}", f"prep_own_{number}"):
        case.run(f"DROP USER IF EXISTS {user}@'%'")


async def test_the_plan_changes_nothing_and_names_no_password(fresh: Fresh) -> None:
    pieces = await fresh.prepare(apply=False)
    assert {piece.state for piece in pieces.values()} == {"missing"}
    for piece in pieces.values():
        assert piece.statements
        assert "secret" not in " ".join(piece.statements)
    assert fresh.case.run(f"SELECT 1 FROM mysql.user WHERE user = '{fresh.agents}'") == []


async def test_with_the_preparation_alone_writes_are_exact(fresh: Fresh) -> None:
    first = await fresh.prepare()
    assert {piece.state for piece in first.values()} <= {"applied", "there"}, first
    again = await fresh.prepare()
    assert {piece.state for piece in again.values()} == {"there"}
    before = fresh.case.dump()
    root, fresh.case.source = fresh.case.source, fresh.source()
    try:
        for sql in ("DELETE FROM people WHERE id = 1", "UPDATE people SET name = 'x'"):
            done = await fresh.case.call(sql)
            assert fresh.case.dump() != before
            assert (await fresh.case.revert(done.undo)).states == ["reverted"]
            assert fresh.case.dump() == before
        assert not [f for f in await fresh.case.source.check() if f.level == "error"]
    finally:
        await fresh.case.source.close()
        fresh.case.source = root


@pytest.mark.parametrize(
    ("piece", "taken"),
    [
        ("agents-receipts", "REVOKE INSERT ON holdfast.receipts FROM {agents}@'%'"),
        (
            "capture-tables",
            "REVOKE SELECT, INSERT, UPDATE, DELETE ON {database}.* FROM {capture}@'%'",
        ),
    ],
)
async def test_without_a_piece_a_write_is_refused(fresh: Fresh, piece: str, taken: str) -> None:
    await fresh.prepare()
    names = {
        "agents": fresh.agents,
        "capture": fresh.capture,
        "database": fresh.case.database,
    }
    fresh.case.run(taken.format(**names))
    assert (await fresh.prepare(apply=False))[piece].state == "missing"
    before = fresh.case.dump()
    root, fresh.case.source = fresh.case.source, fresh.source()
    try:
        with pytest.raises((UpstreamError, Refused)):
            await fresh.case.call("DELETE FROM people WHERE id = 1")
    finally:
        await fresh.case.source.close()
        fresh.case.source = root
    assert fresh.case.dump() == before
    assert (await fresh.prepare())[piece].state == "applied"


async def test_what_was_granted_to_agents_is_left_as_it_is(fresh: Fresh) -> None:
    fresh.case.run(f"CREATE USER {fresh.agents}@'%' IDENTIFIED BY 'agents-secret'")
    fresh.case.run(f"GRANT SELECT ON {fresh.case.database}.people TO {fresh.agents}@'%'")
    pieces = await fresh.prepare()
    assert pieces["agents-tables"].state == "there"


async def test_without_an_account_of_the_gateways_own_none_is_made(fresh: Fresh) -> None:
    fresh.capture = None
    pieces = await fresh.prepare()
    assert pieces["capture-account"].state == "missing"
    assert "capture_url" in (pieces["capture-account"].detail or "")
    assert fresh.case.run("SELECT 1 FROM mysql.user WHERE user = 'holdfast'") == []


async def test_an_account_that_may_not_look_says_what_to_do(fresh: Fresh) -> None:
    await fresh.prepare()
    source = fresh.source()
    with pytest.raises(UpstreamError, match="--as"):
        await source.prepare(apply=False, include=frozenset(), admin_url=None)
    await source.close()
