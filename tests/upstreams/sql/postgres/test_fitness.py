"""What an unprivileged capture role can promise, and what is refused with the missing grant."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.model import OnConflict
from gateway.upstreams.sql.postgres import checks
from tests.fixtures.postgres_case import Case, Refused
from tests.fixtures.postgres_server import PostgresServer

_PLAIN = (
    "CREATE TABLE t(id int PRIMARY KEY, v text UNIQUE); INSERT INTO t VALUES (1, 'a'), (2, 'b')"
)
_LINKED = (
    _PLAIN + ";CREATE TABLE c(id int PRIMARY KEY, t int REFERENCES t); INSERT INTO c VALUES (1, 1)"
)
_TRIGGER = _PLAIN + (
    ";CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;"
    "CREATE TRIGGER f AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"
)


@pytest.fixture
async def plain_case(postgres_server: PostgresServer, case_database: str) -> AsyncIterator[Case]:
    """Images and reverts by a role that is not a superuser."""
    with_role = Case(postgres_server, case_database)
    with_role.admin.execute("DROP ROLE IF EXISTS keeper")
    with_role.admin.execute("CREATE ROLE keeper LOGIN")
    await with_role.close()
    case = Case(postgres_server, case_database, capture_user="keeper")
    yield case
    case.clear()
    case.admin.execute("DROP OWNED BY keeper")
    await case.close()
    case = Case(postgres_server, case_database)
    case.admin.execute("DROP ROLE keeper")
    await case.close()


def _make(case: Case, ddl: str) -> None:
    case.setup(ddl)
    case.admin.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO keeper")


async def test_plain_tables_need_no_superuser(plain_case: Case) -> None:
    case = plain_case
    _make(case, _PLAIN)
    before = case.dump()
    done = await case.call("UPDATE t SET v = v || 'x'", "DELETE FROM t WHERE id = 1",
                           "INSERT INTO t VALUES (5, 'n')")  # fmt: skip
    after = case.dump()
    reverted = await case.revert(done.undo)
    assert case.dump() == before
    assert reverted.undo is not None
    await case.revert(reverted.undo)
    assert case.dump() == after


async def test_enforced_foreign_keys_are_told_as_conflicts(plain_case: Case) -> None:
    case = plain_case
    _make(case, _LINKED)
    removed = await case.call("DELETE FROM c")
    added = await case.call("INSERT INTO t VALUES (3, 'c')")
    case.admin.execute("DELETE FROM t WHERE id = 1; INSERT INTO c VALUES (7, 3)")
    there = case.dump()
    for mode in OnConflict:
        assert (await case.revert(removed.undo, mode=mode)).whys == ["orphan"]
        assert (await case.revert(added.undo, mode=mode)).whys == ["referenced"]
    assert case.dump() == there


async def test_a_swap_under_enforced_constraints_is_a_conflict_not_a_guess(
    plain_case: Case,
) -> None:
    case = plain_case
    _make(case, _PLAIN)
    done = await case.call("UPDATE t SET v = 'tmp' WHERE id = 1",
                           "UPDATE t SET v = 'a' WHERE id = 2",
                           "UPDATE t SET v = 'b' WHERE id = 1")  # fmt: skip
    there = case.dump()
    reverted = await case.revert(done.undo)
    assert reverted.whys == ["unique"]
    assert case.dump() == there


@pytest.mark.parametrize(
    ("ddl", "change", "statement", "named"),
    [
        (_TRIGGER, "", "DELETE FROM t WHERE id = 1", "GRANT SET ON PARAMETER"),
        (_LINKED, "", "WITH x AS (DELETE FROM c) DELETE FROM t WHERE id = 2", "foreign key"),
        (
            _LINKED,
            "ALTER TABLE c DROP CONSTRAINT c_t_fkey; ALTER TABLE c ADD FOREIGN KEY (t) REFERENCES "
            "t ON DELETE CASCADE",
            "DELETE FROM t WHERE id = 2",
            "foreign key",
        ),
        (_PLAIN, "REVOKE SELECT ON t FROM keeper", "DELETE FROM t", "GRANT SELECT"),
        (_PLAIN, "REVOKE INSERT, DELETE ON t FROM keeper", "DELETE FROM t", "GRANT INSERT, DELETE"),
        (
            _PLAIN,
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER ROLE agent BYPASSRLS",
            "DELETE FROM t",
            "BYPASSRLS",
        ),
    ],
)  # fmt: skip
async def test_what_a_plain_role_could_not_restore_is_refused(
    plain_case: Case, ddl: str, change: str, statement: str, named: str
) -> None:
    case = plain_case
    _make(case, ddl)
    try:
        if change:
            case.admin.execute(change)
        before = case.dump()
        with pytest.raises(Refused) as refused:
            await case.call(statement)
        assert named in refused.value.deny.detail
        assert case.dump() == before
    finally:
        case.admin.execute("ALTER ROLE agent NOBYPASSRLS")


async def test_a_granted_parameter_switches_triggers_off(plain_case: Case) -> None:
    case = plain_case
    _make(case, _TRIGGER)
    async with case.peers.session() as session:
        assert not await checks.may_switch_triggers_off(session)
    case.admin.execute("GRANT SET ON PARAMETER session_replication_role TO keeper")
    async with case.peers.session() as session:
        assert await checks.may_switch_triggers_off(session)
    case.replica = True
    before = case.dump()
    done = await case.call("DELETE FROM t WHERE id = 1")
    await case.revert(done.undo)
    assert case.dump() == before
    case.admin.execute("REVOKE SET ON PARAMETER session_replication_role FROM keeper")


@pytest.mark.parametrize(
    ("ddl", "statement", "named"),
    [
        ("CREATE TABLE t(); INSERT INTO t DEFAULT VALUES", "DELETE FROM t", "no columns"),
        (
            "CREATE TABLE t(id int, EXCLUDE USING btree (id WITH =) DEFERRABLE)",
            "INSERT INTO t VALUES (1)",
            "deferrable",
        ),
        (
            "CREATE TABLE p(id int PRIMARY KEY); INSERT INTO p VALUES (2);"
            "CREATE TABLE t(id int, p int GENERATED ALWAYS AS (id * 2) STORED REFERENCES p)",
            "INSERT INTO t VALUES (1)",
            "generated",
        ),
        (
            "CREATE TABLE t(id int); CREATE TABLE u(id int);"
            "CREATE RULE r AS ON INSERT TO t DO ALSO INSERT INTO u VALUES (1);"
            "ALTER TABLE t ENABLE ALWAYS RULE r",
            "INSERT INTO t VALUES (1)",
            "ALWAYS",
        ),
    ],
)  # fmt: skip
async def test_tables_that_no_revert_could_be_exact_for_are_refused(
    case: Case, ddl: str, statement: str, named: str
) -> None:
    case.setup(ddl)
    before = case.dump()
    with pytest.raises(Refused) as refused:
        await case.call(statement)
    assert named in refused.value.deny.detail
    assert case.dump() == before
