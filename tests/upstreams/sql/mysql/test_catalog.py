from __future__ import annotations

from gateway.upstreams.sql.mysql import catalog
from gateway.upstreams.sql.mysql.pool import Pool
from gateway.upstreams.sql.mysql.session import Session, Timeouts
from tests.fixtures.mariadb_case import Case


def session_of(case: Case) -> Session:
    pool = Pool(
        "app",
        case.server.url(case.database),
        size=1,
        timeouts=Timeouts(statement=9, lock=1, idle=30),
    )
    return pool._door.connect()


async def test_a_definition_in_full(case: Case) -> None:
    case.setup(
        "CREATE TABLE `o'dd ``n` (id INT AUTO_INCREMENT, v VARCHAR(9) CHARACTER SET latin1, "
        "w INT AS (id + 1) VIRTUAL, u INT, PRIMARY KEY (id, v), UNIQUE (u))"
    )
    session = session_of(case)
    at = (case.database, "o'dd `n")
    table = catalog.tables(session, [at])[at]
    assert table.key == ("id", "v")
    assert table.counter == "id"
    assert [(c.name, c.type, c.charset, c.generated) for c in table.columns] == [
        ("id", "int", None, False),
        ("v", "varchar", "latin1", False),
        ("w", "int", None, True),
        ("u", "int", None, False),
    ]
    assert sorted(catalog.unique_keys(session, at)) == [("id", "v"), ("u",)]
    session.close()


async def test_the_fingerprint_is_of_the_definition_and_not_of_the_counter(case: Case) -> None:
    case.setup("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)")
    session = session_of(case)
    at = (case.database, "t")
    first = catalog.fingerprint(session, at)
    case.run("INSERT INTO t VALUES (100)")
    assert catalog.fingerprint(session, at) == first
    case.run("ALTER TABLE t ADD COLUMN v INT")
    assert catalog.fingerprint(session, at) != first
    session.close()


async def test_foreign_keys_of_both_directions(case: Case) -> None:
    case.setup(
        "CREATE TABLE p (a INT, b INT, PRIMARY KEY (a, b))",
        "CREATE TABLE c (id INT PRIMARY KEY, x INT, y INT, CONSTRAINT k FOREIGN KEY (x, y) "
        "REFERENCES p (a, b) ON DELETE SET NULL)",
    )
    session = session_of(case)
    for name in ("p", "c"):
        (key,) = catalog.foreign_keys(session, [(case.database, name)])
        assert (key.columns, key.references) == (("x", "y"), ("a", "b"))
        assert (key.on_delete, key.on_update) == ("SET NULL", "RESTRICT")
    session.close()


async def test_kinds_of_relations(case: Case) -> None:
    case.setup(
        "CREATE TABLE t (id INT PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS 2",
        "CREATE VIEW v AS SELECT 1 AS a",
        "CREATE SEQUENCE s",
        "CREATE TABLE h (id INT) WITH SYSTEM VERSIONING",
        "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 1",
    )
    session = session_of(case)
    names = [(case.database, n) for n in ("t", "v", "s", "h", "none")]
    found = catalog.relations(session, names)
    assert [found[n].kind if n in found else None for n in names] == [
        "BASE TABLE", "VIEW", "SEQUENCE", "SYSTEM VERSIONED", None,
    ]  # fmt: skip
    assert found[names[0]].partitioned
    (trigger,) = catalog.triggers(session, names)
    assert (trigger.name, trigger.event) == ("x", "INSERT")
    assert catalog.names_in(session, case.database) == {"t", "v", "s", "h"}
    assert list(catalog.view_definitions(session, names)) == [names[1]]
    session.close()


async def test_names_that_differ_in_case_are_different_tables(case: Case) -> None:
    case.setup(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT, UNIQUE KEY u (v))",
        "CREATE TABLE T (a INT, b INT, id INT, PRIMARY KEY (a, b), UNIQUE KEY u (id, a))",
        "CREATE TRIGGER g AFTER DELETE ON T FOR EACH ROW INSERT INTO gone VALUES (OLD.a)",
        "CREATE TABLE gone (a INT)",
        "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
        "INSERT INTO T VALUES (1, 1, 1), (1, 2, 2)",
    )
    session = session_of(case)
    small, large = (case.database, "t"), (case.database, "T")
    found = catalog.tables(session, [small])
    assert list(found) == [small]
    assert (found[small].key, len(found[small].columns)) == (("id",), 2)
    assert catalog.unique_keys(session, small) == [("id",), ("v",)]
    assert catalog.triggers(session, [small]) == []
    assert [t.table for t in catalog.triggers(session, [large])] == [large]
    session.close()
    before = case.dump()
    for sql in (
        "DELETE FROM t",
        "DELETE FROM T",
        "UPDATE t JOIN T ON t.id = T.a SET v = 7, T.id = T.b + 8",
    ):
        done = await case.call(sql)
        assert (await case.revert(done.undo)).states == ["reverted"]
        assert case.dump() == before


async def test_names_that_differ_in_accents(case: Case) -> None:
    case.setup(
        "CREATE TABLE `ta` (id INT PRIMARY KEY, v INT)",
        "CREATE TABLE `tä` (id INT PRIMARY KEY, w INT)",
        "INSERT INTO `ta` VALUES (1, 1)",
        "INSERT INTO `tä` VALUES (1, 1)",
    )
    before = case.dump()
    done = await case.call("UPDATE `ta` JOIN `tä` ON `ta`.id = `tä`.id SET v = 2, w = 2")
    assert len(done.ran.measured.tables) == 2
    assert (await case.revert(done.undo)).states == ["reverted"]
    assert case.dump() == before
