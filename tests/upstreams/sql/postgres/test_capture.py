"""Every way rows change, captured and taken back: the dump afterwards is the dump before."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
import pytest

from gateway.model import RowCounts
from tests.fixtures.postgres_case import Case, Refused
from tests.fixtures.postgres_server import PostgresServer


@pytest.fixture(scope="module")
def target(each_postgres: PostgresServer) -> PostgresServer:
    return each_postgres


_PLAIN = """
CREATE TABLE t(id int PRIMARY KEY, v text, n numeric);
INSERT INTO t SELECT i, 'v' || i, i * 1.10 FROM generate_series(1, 20) i;
CREATE TABLE u(id int PRIMARY KEY, tid int, v text);
INSERT INTO u SELECT i, i, 'u' || i FROM generate_series(1, 10) i;
"""

_CASCADE = """
CREATE TABLE a(id int PRIMARY KEY, v text);
CREATE TABLE b(id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE c(id int PRIMARY KEY, b int REFERENCES b ON DELETE CASCADE);
CREATE TABLE d(id int, c int DEFAULT 0 REFERENCES c ON DELETE SET NULL);
INSERT INTO a VALUES (1, 'x'), (2, 'y'), (3, 'z');
INSERT INTO b SELECT i, 1 + i % 3 FROM generate_series(1, 9) i;
INSERT INTO c SELECT i, 1 + i % 9 FROM generate_series(1, 27) i;
INSERT INTO d SELECT i, 1 + i % 27 FROM generate_series(1, 40) i;
"""

_TRIGGERS = """
CREATE TABLE t(id int PRIMARY KEY, v int, stamp int DEFAULT 0);
CREATE TABLE log(at bigserial, what text, v int);
INSERT INTO t VALUES (1, 1), (2, 2), (3, 3);
CREATE FUNCTION rewrite() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN NEW.v := NEW.v * 10; NEW.stamp := OLD.stamp + 1; RETURN NEW; END $$;
CREATE TRIGGER r BEFORE UPDATE ON t FOR EACH ROW WHEN (pg_trigger_depth() = 0)
  EXECUTE FUNCTION rewrite();
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO log(what, v) VALUES (TG_OP, COALESCE(NEW.v, OLD.v));
  IF TG_OP = 'UPDATE' AND pg_trigger_depth() = 1 THEN
    UPDATE t SET stamp = stamp + 100 WHERE id = NEW.id;
  END IF;
  RETURN NULL; END $$;
CREATE TRIGGER n AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
"""

_SUBTRANSACTIONS = """
CREATE TABLE t(id int PRIMARY KEY, v int);
CREATE TABLE side(id int PRIMARY KEY, v int);
INSERT INTO t VALUES (1, 1), (2, 2), (3, 3);
INSERT INTO side VALUES (1, 1), (2, 2);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  BEGIN
    UPDATE side SET v = v + 1;
    INSERT INTO side VALUES (NEW.id + 100, NEW.v);
    IF NEW.id = 2 THEN RAISE EXCEPTION 'no'; END IF;
  EXCEPTION WHEN raise_exception THEN
    INSERT INTO side VALUES (NEW.id + 200, 0);
  END;
  RETURN NEW; END $$;
CREATE TRIGGER f BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f();
"""

_DEFERRED = """
CREATE TABLE t(id int PRIMARY KEY, v int);
CREATE TABLE total(n int);
INSERT INTO t VALUES (1, 1), (2, 2); INSERT INTO total VALUES (3);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN UPDATE total SET n = (SELECT sum(v) FROM t); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER f AFTER UPDATE ON t DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION f();
"""

_PARTITIONS = """
CREATE TABLE p(id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE p_eu(v text, region text NOT NULL, id int NOT NULL);
ALTER TABLE p ATTACH PARTITION p_eu FOR VALUES IN ('eu');
CREATE TABLE p_us PARTITION OF p FOR VALUES IN ('us');
INSERT INTO p SELECT i, CASE WHEN i % 2 = 0 THEN 'eu' ELSE 'us' END, 'v' || i
  FROM generate_series(1, 10) i;
REVOKE ALL ON p_eu, p_us FROM PUBLIC;
"""

_INHERITANCE = """
CREATE TABLE base(id int, v text);
CREATE TABLE heir(extra text, n int) INHERITS (base);
INSERT INTO base VALUES (1, 'a'), (2, 'b');
INSERT INTO heir VALUES (1, 'c', 'x', 1), (3, 'd', 'y', 2);
"""

_TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (x int, y text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE t(id int PRIMARY KEY, j jsonb, js json, f8 float8, f4 float4, nu numeric, d date,
  ts timestamptz, iv interval, arr int[], txts text[], c char(8), vc varchar(5), m money, p pair,
  ps pair[], b bytea, u uuid, e mood, dom positive, bi bit(5), vb bit varying, r int4range,
  mr int4multirange, tv tsvector, pt point, ine inet, x xml, rc regclass, rcs regclass[], o oid,
  big text);
INSERT INTO t(id, j, js, f8, f4, nu, d, ts, iv, arr, txts, c, vc, m, p, ps, b, e, dom, bi, vb, r,
    mr, tv, pt, ine, x, rc, rcs, big) VALUES
 (1, '{"a": 1.10, "b": [null, "\\u00e9"]}', '{"a" :  1, "a": 2}', '-0', 'NaN', 'NaN',
  '0044-03-15 BC', '4713-01-01 00:00:00 BC', '1 mon -30 days 00:00:00.000001',
  '[2:4]={1,NULL,3}', ARRAY['NULL', NULL, 'a"b', E'\\\\', E'tab\\tnl\\n', ''], 'ab  ', 'é',
  -1234.56,
  ROW(1, NULL), ARRAY[ROW(1, 'a,b')::pair, NULL], '\\x00ff0a5c', 'sad', 5, B'10101', B'1', '[1,5)',
  '{[1,2),[4,6)}', 'a:1 b', '(1.5,-0)', '10.0.0.1/8', '<a>x</a>', 't', ARRAY['t'::regclass],
  repeat('long € text ', 20000)),
 (2, 'null', 'null', 'Infinity', '-Infinity', 1.00, 'infinity', '-infinity', '1 day', '{}', '{}',
  '', '', 0, NULL, '{}', '', 'happy', 1, B'00000', B'', 'empty', '{}', '', '(0,0)', '::1', NULL,
  NULL, NULL, E'\\b\\f\\v\\r\\\\N'),
 (3, NULL, NULL, 0.1::float8 + 0.2, 1e-40, 1e30, NULL, NULL, '-1 days +02:03:00', NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL);
"""

_GENERATED = """
CREATE TABLE t(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s serial, v int,
  twice int GENERATED ALWAYS AS (v * 2) STORED, code text UNIQUE);
INSERT INTO t(v, code) SELECT i, 'c' || i FROM generate_series(1, 5) i;
"""

_ODD_NAMES = """
CREATE TABLE "Odd ""t%s"("select" int PRIMARY KEY, "ctid%" text, x text, w int, n int, b int,
  "a.b" jsonb);
INSERT INTO "Odd ""t%s" SELECT i, 'a', 'b', i, i, i, '{}' FROM generate_series(1, 4) i;
"""


@dataclass(frozen=True)
class Trap:
    name: str
    setup: str
    statements: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


TRAPS = [
    Trap("delete", _PLAIN, ("DELETE FROM t WHERE id > 5",)),
    Trap("delete everything", _PLAIN, ("DELETE FROM t",)),
    Trap("update", _PLAIN, ("UPDATE t SET v = v || '!', n = n + 1 WHERE id % 3 = 0",)),
    Trap("update to the same", _PLAIN, ("UPDATE t SET v = v",)),
    Trap("insert", _PLAIN, ("INSERT INTO t SELECT i, 'x', 1 FROM generate_series(30, 40) i",)),
    Trap(
        "on conflict",
        _PLAIN,
        ("INSERT INTO t SELECT i, 'x', 1 FROM generate_series(15, 25) i "
         "ON CONFLICT (id) DO UPDATE SET v = excluded.v",),
    ),
    Trap("on conflict nothing", _PLAIN, ("INSERT INTO t VALUES (1, 'x') ON CONFLICT DO NOTHING",)),
    Trap("returning", _PLAIN, ("DELETE FROM t WHERE id < 4 RETURNING *",)),
    Trap("update from", _PLAIN, ("UPDATE t SET v = u.v FROM u WHERE u.tid = t.id",)),
    Trap("delete using", _PLAIN, ("DELETE FROM t USING u WHERE u.tid = t.id AND u.id > 3",)),
    Trap(
        "cte writes",
        _PLAIN,
        ("WITH d AS (DELETE FROM t WHERE id > 10 RETURNING *), i AS (INSERT INTO u SELECT id "
         "+ 100, id, v FROM d RETURNING id) UPDATE t SET v = 'cte' WHERE id < 3",),
    ),
    Trap(
        "merge",
        _PLAIN,
        ("MERGE INTO t USING (SELECT generate_series(18, 24) AS id) s ON t.id = s.id "
         "WHEN MATCHED AND t.id = 19 THEN DELETE WHEN MATCHED THEN UPDATE SET v = 'm' "
         "WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'new', 0)",),
    ),
    Trap(
        "several statements on the same rows",
        _PLAIN,
        ("UPDATE t SET v = 'one' WHERE id < 10", "DELETE FROM t WHERE id < 5",
         "INSERT INTO t VALUES (2, 'again', 2), (50, 'new', 1)",
         "UPDATE t SET v = 'two' WHERE id >= 50", "DELETE FROM t WHERE id = 50"),
    ),
    Trap("random choice", _PLAIN, ("DELETE FROM t WHERE random() < 0.5",)),
    Trap("key shift", _PLAIN, ("DELETE FROM t WHERE id = 20",
                               "UPDATE t SET id = id + 1000", "UPDATE t SET id = id - 999")),
    Trap(
        "unique swap",
        "CREATE TABLE t(id int PRIMARY KEY, s text UNIQUE DEFERRABLE);"
        "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        ("UPDATE t SET s = CASE id WHEN 1 THEN 'b' WHEN 2 THEN 'a' ELSE s END",),
    ),
    Trap("cascade over three levels", _CASCADE, ("DELETE FROM a WHERE id = 2",)),
    Trap("cascade everything", _CASCADE, ("DELETE FROM a",)),
    Trap("set null", _CASCADE, ("DELETE FROM c WHERE id % 2 = 0",)),
    Trap("update cascade", _CASCADE, ("UPDATE a SET id = id + 10",)),
    Trap("triggers on update", _TRIGGERS, ("UPDATE t SET v = v + 1 WHERE id > 1",)),
    Trap("triggers on delete", _TRIGGERS, ("DELETE FROM t WHERE id = 1",)),
    Trap("triggers on insert", _TRIGGERS, ("INSERT INTO t(id, v) VALUES (9, 9)",)),
    Trap("exception blocks", _SUBTRANSACTIONS, ("UPDATE t SET v = v + 1",)),
    Trap("deferred trigger", _DEFERRED, ("UPDATE t SET v = v + 5",)),
    Trap("generated and identity", _GENERATED,
         ("UPDATE t SET v = v + 1", "DELETE FROM t WHERE v < 4",
                                                "INSERT INTO t(v, code) VALUES (77, 'c1')")),
    Trap("identity changes place", _GENERATED,
         ("DELETE FROM t WHERE id = 2",
          "INSERT INTO t(id, v) OVERRIDING SYSTEM VALUE VALUES (2, 5)")),
    Trap("partition rows", _PARTITIONS, ("UPDATE p SET v = v || '.' WHERE id < 5",
                                         "DELETE FROM p WHERE id = 7")),
    Trap("row movement", _PARTITIONS, ("UPDATE p SET region = 'us' WHERE id IN (2, 4, 6)",)),
    Trap("inheritance", _INHERITANCE,
         ("UPDATE base SET v = v || '!'", "DELETE FROM base WHERE id = 3")),
    Trap(
        "no key, duplicates",
        "CREATE TABLE t(a int, b text);"
        "INSERT INTO t SELECT i % 3, CASE WHEN i % 2 = 0 THEN 'x' END "
        "FROM generate_series(1, 24) i",
        ("DELETE FROM t WHERE ctid IN (SELECT min(ctid) FROM t GROUP BY a)",
         "UPDATE t SET b = 'y' WHERE a = 1", "INSERT INTO t VALUES (0, 'x'), (0, 'x')"),
    ),
    Trap(
        "composite key and null in a unique index",
        "CREATE TABLE t(a int, b text, c int UNIQUE, PRIMARY KEY (a, b));"
        "INSERT INTO t SELECT i, 'k' || i, CASE WHEN i % 2 = 0 THEN i END "
        "FROM generate_series(1, 8) i",
        ("UPDATE t SET a = a + 1, c = NULL WHERE a > 3", "DELETE FROM t WHERE a = 1"),
    ),
    Trap("types updated", _TYPES, ("UPDATE t SET j = '{}', js = '1', f8 = 0, f4 = 1, nu = 0, "
         "d = NULL, ts = NULL, iv = NULL, arr = NULL, txts = NULL, c = 'x', m = 1, p = NULL, "
         "ps = NULL, b = NULL, big = 'short', rc = NULL, rcs = NULL, x = NULL, pt = NULL",)),
    Trap("types deleted", _TYPES, ("DELETE FROM t",)),
    Trap("toasted value untouched", _TYPES, ("UPDATE t SET dom = 7",)),
    Trap("odd names", _ODD_NAMES, ('UPDATE "Odd ""t%s" SET x = \'z\', w = 0',
                                   'DELETE FROM "Odd ""t%s" WHERE "select" = 2')),
    Trap("unlogged",
         "CREATE UNLOGGED TABLE t(id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1)",
         ("DELETE FROM t",)),
    Trap("self reference",
         "CREATE TABLE t(id int PRIMARY KEY, up int REFERENCES t ON DELETE CASCADE);"
         "INSERT INTO t VALUES (1, NULL), (2, 1), (3, 2), (4, 3), (5, NULL)",
         ("DELETE FROM t WHERE id = 2",)),
    Trap("instead rule",
         "CREATE TABLE t(id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1);"
         "CREATE TABLE kept(id int, v int);"
         "CREATE RULE keep AS ON DELETE TO t DO ALSO INSERT INTO kept VALUES (OLD.id, OLD.v);",
         ("DELETE FROM t",)),
    Trap("updatable view",
         "CREATE TABLE t(id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2);"
         "CREATE VIEW v AS SELECT id, v FROM t WHERE v > 0",
         ("UPDATE v SET v = v + 1", "DELETE FROM v WHERE id = 1")),
    Trap("partial unique index",
         "CREATE TABLE t(id int PRIMARY KEY, s text, live bool);"
         "CREATE UNIQUE INDEX ON t(lower(s)) WHERE live;"
         "INSERT INTO t VALUES (1, 'A', true), (2, 'a', false)",
         ("UPDATE t SET live = false WHERE id = 1", "UPDATE t SET live = true WHERE id = 2")),
    Trap("code that is put together while it runs", _PLAIN,
         ("DO $$ BEGIN EXECUTE 'DELETE FROM ' || 't WHERE id < 5'; UPDATE u SET v = 'x'; END $$",)),
    Trap("prepared by name", _PLAIN, ("PREPARE p(int) AS DELETE FROM t WHERE id < $1",
                                      "EXECUTE p(4)", "EXECUTE p(7)", "DEALLOCATE p")),
    Trap("cursor", _PLAIN, ("DECLARE c CURSOR FOR SELECT * FROM t ORDER BY id FOR UPDATE",
                            "FETCH 2 FROM c", "DELETE FROM t WHERE CURRENT OF c", "MOVE 3 FROM c",
                            "UPDATE t SET v = 'at' WHERE CURRENT OF c", "CLOSE c")),
    Trap("exclusion constraint",
         "CREATE TABLE t(id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&));"
         "INSERT INTO t VALUES (1, '[1,5)'), (2, '[5,9)')",
         ("DELETE FROM t WHERE id = 1", "UPDATE t SET r = '[1,9)' WHERE id = 2")),
]  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS, ids=str)
async def test_revert_restores_every_table_exactly(case: Case, trap: Trap) -> None:
    case.setup(_without_xml(case, trap.setup))
    if "p_eu" in trap.setup:
        case.admin.execute("REVOKE ALL ON p_eu, p_us FROM agent")
    before = case.dump()
    done = await case.call(*trap.statements)
    after = case.dump()
    assert done.undo.image or done.undo.spooled or before == after
    reverted = await case.revert(done.undo)
    assert reverted.states == ["reverted"]
    assert case.dump() == before
    assert reverted.undo is not None
    again = await case.revert(reverted.undo)
    assert again.states == ["reverted"]
    assert case.dump() == after


def _without_xml(case: Case, setup: str) -> str:
    """The server of the wheel is built without it."""
    if case.admin.info.server_version < 180000:
        return setup
    return setup.replace("x xml", "x text")


async def test_the_extent_counts_cascades_and_triggers(case: Case) -> None:
    case.setup(_CASCADE)
    done = await case.call("DELETE FROM a WHERE id = 2")
    tables = done.ran.measured.tables
    assert tables["public.a"] == RowCounts(deleted=1)
    assert tables["public.b"] == RowCounts(deleted=3)
    assert tables["public.c"] == RowCounts(deleted=9)
    assert tables["public.d"] == RowCounts(updated=_orphaned(case))
    assert done.ran.measured.share == pytest.approx(_orphaned(case) / 40)


def _orphaned(case: Case) -> int:
    (count,) = case.admin.execute("SELECT count(*) FROM d WHERE c IS NULL").fetchone() or (0,)
    return int(count)


async def test_a_row_that_others_only_locked_is_not_captured(case: Case) -> None:
    case.setup(_PLAIN)
    before = case.dump()
    with psycopg.connect(case.server.url(case.database)) as other:
        other.execute("SELECT * FROM t WHERE id BETWEEN 10 AND 20 FOR UPDATE")
        done = await case.call("DELETE FROM t WHERE id < 5")
        assert done.undo.manifest["tables"][0]["before"]["rows"] == 4
        other.rollback()
    await case.revert(done.undo)
    assert case.dump() == before


async def test_a_shared_key_lock_does_not_hide_a_row(case: Case) -> None:
    case.setup(_PLAIN)
    before = case.dump()
    with psycopg.connect(case.server.url(case.database)) as other:
        other.execute("SELECT * FROM t WHERE id < 8 FOR KEY SHARE")
        done = await case.call("UPDATE t SET v = 'x' WHERE id < 5")
        assert done.undo.manifest["tables"][0]["before"]["rows"] == 4
        other.rollback()
    await case.revert(done.undo)
    assert case.dump() == before


async def test_what_others_commit_meanwhile_is_theirs(case: Case) -> None:
    case.setup(_PLAIN)
    twin = case.dump()

    def during() -> None:
        case.admin.execute("DELETE FROM t WHERE id = 15; UPDATE t SET v = 'theirs' WHERE id = 16")
        case.admin.execute("INSERT INTO t VALUES (99, 'theirs', 0)")

    done = await case.call("DELETE FROM t WHERE id < 5", "UPDATE t SET v = 'me' WHERE id = 6",
                           "UPDATE t SET v = 'me too' WHERE id = 6", during=during)  # fmt: skip
    await case.revert(done.undo)
    assert case.dump() != twin
    case.admin.execute("DELETE FROM t WHERE id = 99; INSERT INTO t VALUES (15, 'v15', 16.50)")
    case.admin.execute("UPDATE t SET v = 'v16' WHERE id = 16")
    assert case.dump() == twin


@pytest.mark.parametrize(
    ("setup", "grants", "statement", "named"),
    [
        (_PLAIN, "REVOKE SELECT ON t FROM agent", "DELETE FROM t", "may not read public.t"),
        (
            _PLAIN,
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id > 3)",
            "DELETE FROM t",
            "row-level security",
        ),
        (
            _TRIGGERS,
            "ALTER TABLE t ENABLE ALWAYS TRIGGER n",
            "DELETE FROM t",
            "ALWAYS",
        ),
        (
            _PLAIN,
            "ALTER TABLE t ADD CONSTRAINT c CHECK (id > 10) NOT VALID",
            "UPDATE t SET id = 100 + id",
            "NOT VALID",
        ),
        (
            "CREATE TABLE t(id int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN CREATE TEMP TABLE x(i int); RETURN NULL; END $$;"
            "CREATE TRIGGER f AFTER INSERT ON t EXECUTE FUNCTION f()",
            "",
            "INSERT INTO t VALUES (1)",
            "created, truncated or altered",
        ),
        (
            "CREATE TABLE t(id int); CREATE TABLE u(id int); INSERT INTO u VALUES (1);"
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
            "$$ BEGIN TRUNCATE u; RETURN NULL; END $$;"
            "CREATE TRIGGER f AFTER INSERT ON t EXECUTE FUNCTION f()",
            "",
            "INSERT INTO t VALUES (1)",
            "truncated",
        ),
        (
            "CREATE TABLE t(id int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql "
            "SECURITY DEFINER AS $$ BEGIN PERFORM lo_create(0); RETURN NULL; END $$;"
            "CREATE TRIGGER f AFTER INSERT ON t EXECUTE FUNCTION f()",
            "",
            "INSERT INTO t VALUES (1)",
            "created, altered or dropped",
        ),
    ],
)
async def test_what_cannot_be_restored_is_refused_before_commit(
    case: Case, setup: str, grants: str, statement: str, named: str
) -> None:
    case.setup(setup)
    if grants:
        case.admin.execute(grants)
    before = case.dump()
    with pytest.raises(Refused) as refused:
        await case.call(statement)
    assert refused.value.deny.reason == "undo.unavailable"
    assert named in refused.value.deny.detail
    assert case.dump() == before
