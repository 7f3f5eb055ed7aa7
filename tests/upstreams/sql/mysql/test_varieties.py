"""What is not the same on MySQL: each difference, where it matters, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from gateway.errors import UpstreamError
from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.mysql import session, varieties
from gateway.upstreams.sql.mysql.closure import Closure, closure
from gateway.upstreams.sql.mysql.functions import NATIVE
from gateway.upstreams.sql.mysql.session import Door, Timeouts
from gateway.upstreams.sql.mysql.varieties import MARIADB, MYSQL, Variety
from tests.fixtures.mariadb_case import Case, Refused
from tests.fixtures.mariadb_shapes import SHAPES, Shape
from tests.fixtures.mysql_server import MysqlServer


@pytest.mark.parametrize(
    ("version", "comment", "engine", "found"),
    [
        ("10.11.6-MariaDB-0+deb12u1-log", "Debian 12", "10.11.6", MARIADB),
        ("11.8.1-MariaDB", "", "", MARIADB),
        ("9.7.4-2", "(Debian)", "9.7.4", MYSQL),
        ("8.0.36", "MySQL Community Server - GPL", "8.0.36", MYSQL),
        ("8.0.36-28", "Percona Server (GPL)", "8.0.36-28", MYSQL),
        ("8.0.11-TiDB-v7.5.0", "TiDB Server (Apache License 2.0)", "8.0.11", None),
        ("8.0.30-Vitess", "Version: 17", "8.0.30", None),
        ("8.0.33", "Dolt", "8.0.33", None),
        ("8.0.33", "", "", None),
        ("5.7.25", "looks like one", "5.6.25", None),
        ("PostgreSQL 15", "", "", None),
        ("", "", "", None),
    ],
)
def test_servers_that_only_look_like_one_are_none(
    version: str, comment: str, engine: str, found: Variety | None
) -> None:
    assert varieties.variety(version, comment, engine) is found


def test_versions_are_compared_as_numbers() -> None:
    assert varieties.numbers("10.11.6-MariaDB") == (10, 11, 6)
    assert varieties.numbers("8.0.36") > (8, 0)
    assert varieties.numbers("none") == ()


async def test_the_functions_that_it_lacks_are_those_that_are_listed(mysql: Case) -> None:
    """A name that is native on one server only may be that of a stored function on the other."""
    with mysql.connection() as connection, connection.cursor() as cursor:
        for name in sorted(NATIVE):
            codes = set()
            for arguments in ("", "1", "1, 1", "1, 1, 1"):
                try:
                    cursor.execute(f"SELECT {name}({arguments})")
                    cursor.fetchall()
                except Exception as error:  # noqa: BLE001 - the driver's classes say nothing more
                    codes.add(error.args[0])
            assert bool(codes & {1305, 1630}) == (name in MYSQL.lacking), name


async def test_a_stored_function_of_such_a_name_is_not_run(mysql: Case) -> None:
    mysql.setup("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    mysql.run("SET GLOBAL log_bin_trust_function_creators = 1")
    mysql.run(
        "CREATE FUNCTION nvl(a INT, b INT) RETURNS INT MODIFIES SQL DATA BEGIN DELETE FROM t; "
        "RETURN a; END"
    )
    mysql.run("CREATE VIEW v AS SELECT nvl(1, 2) AS a")
    for sql in ("SELECT nvl(1, 2)", "SELECT * FROM v", "DELETE FROM t WHERE id = NVL(1, 2)"):
        with pytest.raises(Refused) as refused:
            await mysql.parse(sql)
        assert refused.value.deny.reason == "action.unsupported"
    assert mysql.run("SELECT COUNT(*) FROM t") == [(2,)]


@pytest.mark.parametrize("version", ["8.0.20", "5.7.44"])
async def test_an_older_version_is_refused(
    mysql_server: MysqlServer, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(session, "variety", lambda *_: MYSQL)
    monkeypatch.setattr(session, "numbers", lambda _: varieties.numbers(version))
    door = Door("app", mysql_server.url(), Timeouts(statement=5, lock=2, idle=30))
    with pytest.raises(UpstreamError, match=r"MySQL before 8\.0\.21"):
        door.connect()


@pytest.mark.parametrize("name", ["area", "y"])
async def test_a_table_may_have_such_a_name(mysql: Case, name: str) -> None:
    mysql.setup(f"CREATE TABLE {name} (id INT PRIMARY KEY, KEY {name} (id))")
    for sql in (
        f"INSERT INTO {name} (id) VALUES (1)",
        f"INSERT INTO {mysql.database}.{name} (id) VALUES (2)",
        f"ALTER TABLE {name} ADD x INT, ADD KEY distance (x)",
        f"WITH {name} (id) AS (SELECT 1) SELECT id FROM {name}",
    ):
        assert await mysql.parse(sql)


async def test_quotes_of_dollar_signs_are_refused(mysql: Case) -> None:
    mysql.setup("CREATE TABLE t (id INT PRIMARY KEY)")
    with pytest.raises(Refused) as refused:
        await mysql.parse("SELECT 1 AS $$ FROM t $$")
    assert refused.value.deny.reason == "action.unsupported"


_FAMILY = (
    "CREATE TABLE p (id INT PRIMARY KEY)",
    "CREATE TABLE c (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES p (id) "
    "ON DELETE CASCADE)",
    "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(9))",
    "CREATE TRIGGER gone AFTER DELETE ON c FOR EACH ROW INSERT INTO log (what) VALUES ('gone')",
    "INSERT INTO p VALUES (1), (2)",
    "INSERT INTO c VALUES (1, 1), (2, 1), (3, 2)",
)


@pytest.mark.parametrize("fires", [False, True])
async def test_triggers_behind_a_cascade_are_followed(
    mysql_server: MysqlServer, mysql_database: str, fires: bool
) -> None:
    """A setting of MySQL 9.7 makes what a foreign key does fire triggers: mostly, as 9.7.4 leaves
    some out, by what stands in its cache of tables."""
    with mysql_server.connect() as root, root.cursor() as cursor:
        cursor.execute(f"SET GLOBAL enable_cascade_triggers = {'ON' if fires else 'OFF'}")
        case = Case(mysql_server, mysql_database)
        try:
            case.setup(*_FAMILY)
            before = case.dump()
            async with case.source._agents.session() as own, case.source._peers.session() as peer:
                wanted = {(mysql_database, "p"): ("delete",)}
                reach = closure(peer.session, wanted, fires=own.session.fires)
            assert isinstance(reach, Closure)
            assert ((mysql_database, "log") in reach.tables) == fires
            done = await case.call("DELETE FROM p WHERE id = 1")
            [(logged,)] = case.run("SELECT COUNT(*) FROM log")
            assert logged in ((0, 2) if fires else (0,))
            changed = ("c", "log", "p") if logged else ("c", "p")
            assert sorted(done.ran.measured.tables) == [f"{mysql_database}.{n}" for n in changed]
            assert (await case.revert(done.undo)).states == ["reverted"]
            assert case.dump() == before
        finally:
            await case.close()
            cursor.execute("SET GLOBAL enable_cascade_triggers = DEFAULT")


async def test_a_statement_that_takes_too_long_does_not_go_on(
    mysql_server: MysqlServer, mysql_database: str
) -> None:
    """Nothing but a SELECT is bounded by the server itself."""
    limits = SqlLimits(statement_timeout_s=0.2, lock_timeout_s=1.0)
    case = Case(mysql_server, mysql_database, limits=limits)
    try:
        case.setup(
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 2)"
        )
        slow = (
            "UPDATE t SET v = (SELECT COUNT(*) FROM information_schema.columns a, "
            "information_schema.columns b, information_schema.columns c)"
        )
        before = case.dump()
        call, action = case.request(slow), await case.parse(slow)
        running = asyncio.create_task(_run(case, call, action))
        await asyncio.sleep(1.0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for _ in range(50):
            alive = case.run(
                "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'agent' "
                "AND info LIKE 'UPDATE t SET%'"
            )
            if alive == [(0,)]:
                break
            await asyncio.sleep(0.1)
        assert alive == [(0,)]
        assert case.dump() == before
    finally:
        await case.close()


async def _run(case: Case, call: object, action: object) -> None:
    async with case.source.attempt(call, action) as attempt:  # type: ignore[arg-type]
        await attempt.run()


async def test_a_grant_with_something_taken_out_of_it_counts_for_nothing(
    mysql_server: MysqlServer, mysql_database: str
) -> None:
    """Triggers of a schema that was taken out of a grant on everything are not shown."""
    case = Case(mysql_server, mysql_database, own="cut")
    case.setup("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    case.run("SET GLOBAL partial_revokes = ON")
    for host in ("localhost", "'127.0.0.1'"):
        case.run(f"CREATE USER IF NOT EXISTS cut@{host} IDENTIFIED BY 'cut'")
        case.run(f"GRANT ALL ON *.* TO cut@{host}")
        case.run(f"REVOKE TRIGGER ON {mysql_database}.* FROM cut@{host}")
    try:
        with pytest.raises(UpstreamError) as refused:
            await case.call("DELETE FROM t WHERE id = 1")
        assert refused.value.reason == "undo.unavailable"
        assert case.run("SELECT COUNT(*) FROM t") == [(1,)]
    finally:
        await case.close()
        with mysql_server.connect() as root, root.cursor() as cursor:
            cursor.execute("DROP USER cut@localhost, cut@'127.0.0.1'")
            cursor.execute("SET GLOBAL partial_revokes = OFF")


async def test_policy_sees_which_server_it_is(mysql: Case) -> None:
    mysql.setup("CREATE TABLE t (id INT PRIMARY KEY)")
    action = await mysql.parse("SELECT * FROM t")
    assert action.resource is not None
    assert action.sql is not None
    assert (action.resource.type, action.sql.dialect) == ("mysql", "mysql")


async def test_the_share_is_of_the_rows_that_are_there_now(mysql: Case) -> None:
    """By itself MySQL tells for a day how many rows there were."""
    mysql.setup(
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "INSERT INTO t SELECT seq FROM seq_1_to_20000",
        "SET SESSION information_schema_stats_expiry = 86400",
        "ANALYZE TABLE t",
    )
    rows = (
        f"SELECT table_rows FROM information_schema.tables WHERE table_schema = '{mysql.database}'"
    )
    assert mysql.run(rows)[0][0] > 10000
    mysql.run("DELETE FROM t WHERE id > 100")
    assert mysql.run(rows)[0][0] > 10000
    done = await mysql.call("DELETE FROM t WHERE id <= 90")
    assert done.ran.measured.share > 0.8


async def test_rows_of_temporary_tables_are_no_change(
    mysql_server: MysqlServer, mysql_database: str
) -> None:
    """Its counters hold them."""
    limits = SqlLimits(max_capture_rows=50)
    case = Case(mysql_server, mysql_database, limits=limits)
    case.setup(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
        "CREATE TABLE big (id INT PRIMARY KEY, v INT)",
        "INSERT INTO big SELECT seq, seq FROM seq_1_to_300",
    )
    sql = (
        "UPDATE t SET v = (SELECT COUNT(*) FROM (SELECT v, MAX(id) FROM big GROUP BY v "
        "ORDER BY MAX(id) LIMIT 299) q)"
    )
    try:
        before = case.dump()
        done = await case.call(sql)
        assert list(done.ran.measured.tables) == [f"{mysql_database}.t"]
        assert (await case.revert(done.undo)).states == ["reverted"]
        assert case.dump() == before
        with pytest.raises(Refused) as refused:
            await case.call("DELETE FROM big")
        assert refused.value.deny.reason == "limit.rows"
    finally:
        await case.close()


async def test_a_read_runs_where_nothing_can_be_written(mysql: Case) -> None:
    mysql.setup("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    call, action = mysql.request("SELECT 1"), await mysql.parse("DELETE FROM t WHERE id = 1")
    async with mysql.source.attempt(call, action) as attempt:
        with pytest.raises(UpstreamError) as error:
            await attempt.read()
    assert error.value.extra["code"] == 1792
    assert mysql.run("SELECT COUNT(*) FROM t") == [(1,)]


async def test_a_key_that_the_server_made_by_itself_comes_back(
    mysql_server: MysqlServer, mysql_database: str
) -> None:
    """Also where the catalog would not show it."""
    case = Case(mysql_server, mysql_database)
    case.setup()
    case.run("SET sql_generate_invisible_primary_key = ON")
    case.run("CREATE TABLE t (v VARCHAR(9), hidden INT INVISIBLE)")
    case.run("INSERT INTO t (v, hidden) VALUES ('a', 1), ('a', 2), ('b', 3)")
    with mysql_server.connect() as root, root.cursor() as cursor:
        cursor.execute("SET GLOBAL show_gipk_in_create_table_and_information_schema = OFF")
        try:
            before = case.run("SELECT my_row_id, v, hidden FROM t ORDER BY 1")
            for sql in ("DELETE FROM t WHERE v = 'a'", "UPDATE t SET v = 'c'"):
                done = await case.call(sql)
                assert case.run("SELECT my_row_id, v, hidden FROM t ORDER BY 1") != before
                assert (await case.revert(done.undo)).states == ["reverted"]
                assert case.run("SELECT my_row_id, v, hidden FROM t ORDER BY 1") == before
        finally:
            await case.close()
            cursor.execute("SET GLOBAL show_gipk_in_create_table_and_information_schema = DEFAULT")


@pytest.fixture(scope="module")
def native_server(mysql_server: MysqlServer) -> Iterator[MysqlServer]:
    """As before 9.6: the storage engine keeps foreign keys, and no counter tells of it."""
    with MysqlServer.started("--innodb-native-foreign-keys=ON") as server:
        yield server


CASCADING = [s for s in SHAPES if "cascade" in s.name or "tree" in s.name or "child" in s.name]


@pytest.mark.parametrize("shape", CASCADING, ids=lambda shape: shape.name)
async def test_foreign_keys_of_the_storage_engine(native_server: MysqlServer, shape: Shape) -> None:
    database = native_server.create_database()
    case = Case(native_server, database)
    try:
        case.setup(*shape.made("mysql"))
        before = case.dump()
        done = await case.call(shape.sql)
        after = case.dump()
        reverted = await case.revert(done.undo)
        assert (reverted.states, case.dump()) == (["reverted"], before)
        assert reverted.undo is not None
        assert (await case.revert(reverted.undo)).states == ["reverted"]
        assert case.dump() == after
    finally:
        await case.close()
        native_server.drop_database(database)


async def test_the_right_to_replay_is_one_of_its_own(
    mysql_server: MysqlServer, mysql_database: str
) -> None:
    """What `holdfast source prepare` proposes is enough, and without it such a call is refused."""
    sql = "DELETE FROM t WHERE id = 1"
    case = Case(mysql_server, mysql_database, own="replayer")
    case.setup(
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "CREATE TRIGGER i BEFORE INSERT ON t FOR EACH ROW SET NEW.id = NEW.id + 1",
        "INSERT INTO t VALUES (0), (5)",
    )
    names = [f"replayer@{host}" for host in ("localhost", "'127.0.0.1'")]
    for name in names:
        case.run(f"CREATE USER {name} IDENTIFIED BY 'replayer'")
        case.run(f"GRANT ALL ON {mysql_database}.* TO {name}")
        case.run(f"GRANT ALL ON holdfast.* TO {name}")
        case.run(f"GRANT PROCESS ON *.* TO {name}")
    try:
        before = case.dump()
        with pytest.raises(Refused) as refused:
            await case.call(sql)
        assert "REPLICATION_APPLIER" in refused.value.deny.detail
        assert case.dump() == before
        for name in names:
            case.run(f"GRANT REPLICATION_APPLIER ON *.* TO {name}")
        await case.source.close()
        again = Case(mysql_server, mysql_database, own="replayer")
        done = await again.call(sql)
        assert (await again.revert(done.undo)).states == ["reverted"]
        assert again.dump() == before
        await again.close()
    finally:
        await case.close()
        with mysql_server.connect() as root, root.cursor() as cursor:
            cursor.execute(f"DROP USER {', '.join(names)}")
