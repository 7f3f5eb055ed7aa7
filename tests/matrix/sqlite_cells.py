"""Every shape of a write against every kind of table of SQLite. A cell is one shape on one kind."""

# ruff: noqa: E501 - a statement is easier to compare on one line
from __future__ import annotations

# Each kind makes ``t(k, v, w)``: with a key k where it has one, and rows k = 1..6.
_ROWS = "INSERT INTO t(k, v, w) VALUES(1,'a',1),(2,'b',2.0),(3,'c',NULL),(4,'d',-0.0),(5,'e',9),"
_ROWS += "(6,'f',x'00ff');"
_PLAIN = f"CREATE TABLE t(k INTEGER PRIMARY KEY, v, w); {_ROWS}"
_FK = "CREATE TABLE c(id INTEGER PRIMARY KEY, k REFERENCES t(k) {}, x); "
_CHILDREN = "INSERT INTO c(k, x) VALUES(1,'p'),(1,'q'),(2,'r'),(NULL,'s');"

KINDS: dict[str, str] = {
    "integer key": _PLAIN,
    "no key": f"CREATE TABLE t(k, v, w); {_ROWS}",
    "text key": f"CREATE TABLE t(k TEXT PRIMARY KEY, v, w); {_ROWS}",
    "key in descending order": f"CREATE TABLE t(k INTEGER PRIMARY KEY DESC, v, w); {_ROWS}",
    "composite key": f"CREATE TABLE t(k, v, w, PRIMARY KEY(k, v)); {_ROWS}",
    "WITHOUT ROWID": f"CREATE TABLE t(k, v, w, PRIMARY KEY(k)) WITHOUT ROWID; {_ROWS}",
    "WITHOUT ROWID, composite, NOCASE": "CREATE TABLE t(k, v COLLATE NOCASE, w, PRIMARY KEY(v, k))"
    f" WITHOUT ROWID; {_ROWS}",
    "WITHOUT ROWID, generated": "CREATE TABLE t(k, v, w, g AS (v || k) STORED, PRIMARY KEY(k))"
    f" WITHOUT ROWID; {_ROWS}",
    "NULL in the key": f"CREATE TABLE t(k TEXT PRIMARY KEY, v, w); {_ROWS}"
    "INSERT INTO t VALUES(NULL,'n',1),(NULL,'n',1);",
    "duplicates": f"CREATE TABLE t(k, v, w); {_ROWS} {_ROWS}",
    "unique values": f"CREATE TABLE t(k INTEGER PRIMARY KEY, v UNIQUE, w); {_ROWS}",
    "unique, ON CONFLICT REPLACE": "CREATE TABLE t(k INTEGER PRIMARY KEY, v UNIQUE ON CONFLICT"
    f" REPLACE, w); {_ROWS}",
    "cascade": _PLAIN + _FK.format("ON DELETE CASCADE ON UPDATE CASCADE") + _CHILDREN,
    "cascade, three levels": _PLAIN
    + _FK.format("ON DELETE CASCADE")
    + "CREATE TABLE d(id, c REFERENCES c(id) ON DELETE CASCADE);"
    + _CHILDREN
    + "INSERT INTO d VALUES(1, 1), (2, 2), (3, 3);",
    "SET NULL": _PLAIN + _FK.format("ON DELETE SET NULL ON UPDATE SET NULL") + _CHILDREN,
    "SET DEFAULT": _PLAIN
    + "CREATE TABLE c(id INTEGER PRIMARY KEY, k DEFAULT 6 REFERENCES t(k) ON DELETE SET DEFAULT, x);"
    + _CHILDREN,
    "restricted": _PLAIN + _FK.format("") + _CHILDREN,
    "deferred": _PLAIN + _FK.format("DEFERRABLE INITIALLY DEFERRED") + _CHILDREN,
    "audit trigger": _PLAIN + "CREATE TABLE log(what, k);"
    "CREATE TRIGGER t_i AFTER INSERT ON t BEGIN INSERT INTO log VALUES('i', new.k); END;"
    "CREATE TRIGGER t_u AFTER UPDATE ON t BEGIN INSERT INTO log VALUES('u', new.k); END;"
    "CREATE TRIGGER t_d BEFORE DELETE ON t BEGIN INSERT INTO log VALUES('d', old.k); END;",
    "nested triggers on the same rows": _PLAIN + "CREATE TABLE n(total); INSERT INTO n VALUES(0);"
    "CREATE TRIGGER t_u AFTER UPDATE OF v ON t BEGIN UPDATE t SET w = 'seen' WHERE k = new.k;"
    " UPDATE n SET total = total + 1; END;"
    "CREATE TRIGGER t_d AFTER DELETE ON t BEGIN INSERT INTO t VALUES(old.k + 1000, 'back', 0); END;",
    "soft delete by INSTEAD OF": "CREATE TABLE r(k INTEGER PRIMARY KEY, v, w, gone DEFAULT 0);"
    "CREATE VIEW t AS SELECT k, v, w FROM r WHERE NOT gone;"
    "CREATE TRIGGER t_i INSTEAD OF INSERT ON t BEGIN INSERT INTO r(k, v, w) VALUES(new.k, new.v,"
    " new.w); END;"
    "CREATE TRIGGER t_u INSTEAD OF UPDATE ON t BEGIN UPDATE r SET v = new.v, w = new.w"
    " WHERE k = old.k; END;"
    f"CREATE TRIGGER t_d INSTEAD OF DELETE ON t BEGIN UPDATE r SET gone = 1 WHERE k = old.k; END; {_ROWS}",
    "generated, stored and virtual": "CREATE TABLE t(k INTEGER PRIMARY KEY, v, w, s AS (k * 2) STORED,"
    f" x AS (v || '!') VIRTUAL UNIQUE); {_ROWS}",
    "AUTOINCREMENT": f"CREATE TABLE t(k INTEGER PRIMARY KEY AUTOINCREMENT, v, w); {_ROWS}",
    "every row id hidden": f"CREATE TABLE t(k, v, w, rowid, oid, _rowid_); {_ROWS}",
    "row id hidden in part": f"CREATE TABLE t(k, v, w, rowid DEFAULT 7); {_ROWS}",
    "partial and expression indexes": _PLAIN + "CREATE UNIQUE INDEX t_p ON t(w) WHERE w > 0;"
    "CREATE INDEX t_e ON t(lower(v), k + 1);",
    "STRICT": "CREATE TABLE t(k INTEGER PRIMARY KEY, v TEXT, w ANY) STRICT; " + _ROWS,
    "CHECK and NOT NULL": "CREATE TABLE t(k INTEGER PRIMARY KEY, v NOT NULL CHECK(length(v) < 9), w);"
    + _ROWS,
    "affinities and odd values": "CREATE TABLE t(k INTEGER PRIMARY KEY, v TEXT, w REAL, i INT, n NUMERIC,"
    f" b BLOB); {_ROWS} UPDATE t SET i = '12', n = '1e400', b = CAST(x'c328' AS TEXT), w = 1e-320;"
    "UPDATE t SET v = CAST(x'ff00fe' AS TEXT), n = 9223372036854775807, w = -1e999 WHERE k > 3;",
    "values on overflow pages": f"{_PLAIN} UPDATE t SET w = randomblob(20000) WHERE k < 4;",
    "full-text index by triggers": _PLAIN + "CREATE VIRTUAL TABLE ft USING fts5(v, content='t',"
    " content_rowid='k');"
    "INSERT INTO ft(rowid, v) SELECT k, v FROM t;"
    "CREATE TRIGGER t_i AFTER INSERT ON t BEGIN INSERT INTO ft(rowid, v) VALUES(new.k, new.v); END;"
    "CREATE TRIGGER t_d AFTER DELETE ON t BEGIN INSERT INTO ft(ft, rowid, v) VALUES('delete', old.k,"
    " old.v); END;"
    "CREATE TRIGGER t_u AFTER UPDATE ON t BEGIN INSERT INTO ft(ft, rowid, v) VALUES('delete', old.k,"
    " old.v); INSERT INTO ft(rowid, v) VALUES(new.k, new.v); END;",
    "names that need quotes": f'{_PLAIN} CREATE TABLE "a ""b"(t, "select"); CREATE TRIGGER "x y" AFTER'
    ' UPDATE ON t BEGIN INSERT INTO "a ""b" VALUES(new.v, 1); END;',
}

SHAPES: dict[str, str] = {
    "INSERT": "INSERT INTO t(k, v, w) VALUES(20, 'new', 1.5)",
    "INSERT, several": "INSERT INTO t(k, v, w) VALUES(20, 'new', 1.5), (21, 'newer', NULL)",
    "INSERT SELECT": "INSERT INTO t(k, v, w) SELECT k + 50, v || '2', 'copy ' || k FROM t",
    "REPLACE": "REPLACE INTO t(k, v, w) VALUES(2, 'b', 'again'), (30, 'c', 1)",
    "INSERT OR IGNORE": "INSERT OR IGNORE INTO t(k, v, w) VALUES(1, 'a', 0), (31, 'z', 0)",
    "upsert": "INSERT INTO t(k, v, w) VALUES(1, 'a', 0), (32, 'y', 0) ON CONFLICT DO UPDATE SET"
    " w = excluded.w",
    "UPDATE": "UPDATE t SET w = 'x' WHERE k = 2",
    "UPDATE of everything": "UPDATE t SET v = v || '~', w = k",
    "UPDATE to the same": "UPDATE t SET v = v, w = w",
    "UPDATE there and back": "UPDATE t SET w = 77 WHERE k = 1; UPDATE t SET w = 1 WHERE k = 1",
    "UPDATE FROM": "UPDATE t SET w = s.n FROM (SELECT k AS i, k * 10 AS n FROM t) AS s WHERE k = s.i",
    "key shifted": "UPDATE t SET k = k + 100",
    "key changed for one": "UPDATE t SET k = 99 WHERE k = 2",
    "values swapped": "UPDATE t SET v = CASE k WHEN 1 THEN 'b_' ELSE 'a_' END WHERE k < 3;"
    " UPDATE t SET v = rtrim(v, '_') WHERE k < 3",
    "DELETE": "DELETE FROM t WHERE k = 1",
    "DELETE of everything": "DELETE FROM t",
    "DELETE by a subquery": "DELETE FROM t WHERE k IN (SELECT k FROM t ORDER BY v DESC LIMIT 2)",
    "DELETE at random": "DELETE FROM t WHERE random() % 2 = 0 OR k = 1",
    "DELETE and INSERT again": "DELETE FROM t WHERE k = 3; INSERT INTO t(k, v, w) VALUES(3, 'c', NULL)",
    "under WITH, RETURNING": "WITH n(i) AS (SELECT 2) UPDATE t SET w = 5 WHERE k IN (SELECT i FROM n)"
    " RETURNING k, w",
    "several statements": "INSERT INTO t(k, v, w) VALUES(40, 'm', 1); UPDATE t SET w = 2 WHERE k = 40;"
    " DELETE FROM t WHERE k IN (40, 5)",
    "CREATE TABLE": "CREATE TABLE z(a PRIMARY KEY, b REFERENCES z)",
    "CREATE TABLE AS": "CREATE TABLE z AS SELECT * FROM t",
    "CREATE INDEX": "CREATE INDEX z ON t(w, v)",
    "CREATE VIEW": "CREATE VIEW z AS SELECT v FROM t",
    "CREATE TRIGGER": "CREATE TRIGGER z AFTER INSERT ON t BEGIN DELETE FROM t WHERE k = 1; END",
    "DROP": "DROP TABLE t",
    "ADD COLUMN": "ALTER TABLE t ADD COLUMN added DEFAULT 'd'",
    "DROP COLUMN": "ALTER TABLE t DROP COLUMN w",
    "RENAME COLUMN": "ALTER TABLE t RENAME COLUMN v TO renamed",
    "RENAME": "ALTER TABLE t RENAME TO renamed",
    "ANALYZE": "ANALYZE t",
    "PRAGMA user_version": "PRAGMA user_version = 7",
    "PRAGMA application_id": "PRAGMA application_id(-70)",
    "schema and rows": "CREATE TABLE z(a); UPDATE t SET w = 3 WHERE k = 4",
}

# Refused on every kind of table, before anything changes.
REFUSED: dict[str, str] = {
    "VACUUM": "VACUUM",
    "VACUUM INTO": "VACUUM INTO 'copy.db'",
    "PRAGMA user_version of what is no number": "PRAGMA user_version = auto",
    "PRAGMA schema_version": "PRAGMA schema_version = 7",
    "PRAGMA writable_schema": "PRAGMA writable_schema = 1",
    "PRAGMA journal_mode": "PRAGMA journal_mode = off",
    "PRAGMA foreign_keys": "PRAGMA foreign_keys = 0",
    "ATTACH": "ATTACH 'other.db' AS other",
    "a write to an attached file": "ATTACH 'o.db' AS o; CREATE TABLE o.x(a)",
    "ANALYZE of the gateway's table": "ANALYZE",
    "transaction control": "DELETE FROM t; COMMIT",
    "a savepoint": "SAVEPOINT a; DELETE FROM t; RELEASE a",
    "CREATE VIRTUAL TABLE": "CREATE VIRTUAL TABLE z USING fts5(a)",
    "CREATE TEMP TABLE": "CREATE TEMP TABLE z(a)",
    "a TEMP trigger": "CREATE TEMP TRIGGER z AFTER DELETE ON t BEGIN SELECT 1; END",
    "the schema table": "DELETE FROM sqlite_schema",
    "the sequence table": "DELETE FROM sqlite_sequence",
    "the gateway's own table": "DELETE FROM holdfast_receipt",
    "an extension": "SELECT load_extension('x')",
}

# What the database itself does not accept: on every row that the kind has, and on some rows.
FAILING: dict[str, tuple[str, ...]] = {
    "cascade, three levels": ("key shifted", "key changed for one"),
    "SET DEFAULT": ("key shifted", "key changed for one", "DELETE of everything", "DROP"),
    "restricted": (
        "key shifted",
        "key changed for one",
        "DELETE",
        "DELETE of everything",
        "DELETE at random",
        "DROP",
    ),
    "deferred": (
        "key shifted",
        "key changed for one",
        "DELETE",
        "DELETE of everything",
        "DELETE at random",
        "DROP",
    ),
    "soft delete by INSTEAD OF": (
        "upsert",
        "DELETE and INSERT again",
        "CREATE INDEX",
        "CREATE TRIGGER",
        "DROP",
        "ADD COLUMN",
        "DROP COLUMN",
        "RENAME COLUMN",
        "RENAME",
    ),
    "partial and expression indexes": ("several statements", "DROP COLUMN"),
    "STRICT": ("ADD COLUMN",),
}
BY_CHANCE: dict[str, tuple[str, ...]] = {
    "SET DEFAULT": ("DELETE at random",),
}

# One by one: what fools simpler ways of taking back. What has to stand before, and the statement.
TRAPS: dict[str, tuple[str, str]] = {
    "full-text table renamed": (
        "CREATE VIRTUAL TABLE ft USING fts5(v); INSERT INTO ft VALUES('a b'), ('b c');",
        "ALTER TABLE ft RENAME TO g",
    ),
    "full-text index merged": (
        "CREATE VIRTUAL TABLE ft USING fts5(v); INSERT INTO ft VALUES('a b'); INSERT INTO ft VALUES('b c');"
        " INSERT INTO ft VALUES('zz');",
        "INSERT INTO ft(ft) VALUES('optimize')",
    ),
    "full-text rows": (
        "CREATE VIRTUAL TABLE ft USING fts5(v, w UNINDEXED); INSERT INTO ft VALUES('a b', 1), ('b c', 2);",
        "UPDATE ft SET v = v || ' z' WHERE rowid = 1; DELETE FROM ft WHERE rowid = 2",
    ),
    "full-text index that flushes at the commit": (
        "CREATE VIRTUAL TABLE ft USING fts5(v);",
        "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)"
        " INSERT INTO ft SELECT 'word' || i || ' a b c d e f g' FROM n",
    ),
    "copies under a key of NULL": (
        "CREATE TABLE t(k TEXT PRIMARY KEY, v); INSERT INTO t VALUES(NULL,'n'),(NULL,'n'),(NULL,'m'),('a','b');",
        "DELETE FROM t WHERE rowid IN (1, 3)",
    ),
    "row ids that are hidden and far apart": (
        "CREATE TABLE t(v); INSERT INTO t(rowid, v) VALUES(-9223372036854775808,'a'),(9007199254740993,'b'),"
        "(9223372036854775807,'c');",
        "DELETE FROM t WHERE v <> 'a'; UPDATE t SET v = 'z'",
    ),
    "row id that is drawn by chance": (
        "CREATE TABLE t(v); INSERT INTO t(rowid, v) VALUES(9223372036854775807,'c');",
        "INSERT INTO t VALUES('d')",
    ),
    "counter that is kept": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY AUTOINCREMENT, v); INSERT INTO t(v) VALUES('a'),('b');",
        "INSERT INTO t(v) VALUES('c'); DELETE FROM t",
    ),
    "REPLACE that takes two rows away": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v UNIQUE); INSERT INTO t VALUES(1,'a'),(2,'b'),(3,'c');",
        "REPLACE INTO t VALUES(1, 'b')",
    ),
    "UPDATE OR REPLACE": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v UNIQUE); INSERT INTO t VALUES(1,'a'),(2,'b'),(3,'c');",
        "UPDATE OR REPLACE t SET v = 'c' WHERE k < 3",
    ),
    "trigger that REPLACE does not fire": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); CREATE TABLE log(k); INSERT INTO t VALUES(1,'a'),(2,'b');"
        "CREATE TRIGGER g AFTER DELETE ON t BEGIN INSERT INTO log VALUES(old.k); END;",
        "REPLACE INTO t VALUES(1, 'z')",
    ),
    "trigger that gives up quietly": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,'a'),(2,'b'),(3,'c');"
        "CREATE TRIGGER g BEFORE UPDATE ON t WHEN old.k = 2 BEGIN SELECT RAISE(IGNORE); END;",
        "UPDATE t SET v = 'z'",
    ),
    "two conflicts in one upsert": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v UNIQUE, w); INSERT INTO t VALUES(1,'a',0),(2,'b',0);",
        "INSERT INTO t VALUES(1,'x',1),(9,'b',2) ON CONFLICT(k) DO UPDATE SET w = 5 ON CONFLICT(v) DO UPDATE"
        " SET w = 6, k = 20",
    ),
    "references broken and mended in one call": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY); CREATE TABLE c(k REFERENCES t(k) DEFERRABLE INITIALLY DEFERRED);"
        "INSERT INTO t VALUES(1); INSERT INTO c VALUES(1);",
        "DELETE FROM t; INSERT INTO t VALUES(5); UPDATE c SET k = 5",
    ),
    "rows that refer to their own table": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, up REFERENCES t(k) ON DELETE CASCADE);"
        "INSERT INTO t VALUES(1,NULL),(2,1),(3,2),(4,4),(5,NULL);",
        "DELETE FROM t WHERE k IN (1, 4)",
    ),
    "key of WITHOUT ROWID changed": (
        "CREATE TABLE t(a TEXT COLLATE NOCASE, b, v, PRIMARY KEY(a, b)) WITHOUT ROWID;"
        "INSERT INTO t VALUES('x',1,'p'),('y',2,'q'),('Z',3,'r');",
        "UPDATE t SET a = upper(a), b = b + 1",
    ),
    "text with NUL and text that is none": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,'a' || char(0) || 'b'),"
        "(2,CAST(x'c3' AS TEXT)),(3,CAST(x'eda080' AS TEXT)),(4,x''),(5,'');",
        "UPDATE t SET v = v || 'z'",
    ),
    "numbers at the edge": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,-0.0),(2,9e999),(3,-9e999),(4,4.9e-324),"
        "(5,0.1),(6,9223372036854775807),(7,'9223372036854775808');",
        "DELETE FROM t",
    ),
    "database in UTF-16": (
        "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t(k TEXT PRIMARY KEY, v);"
        " INSERT INTO t VALUES('\u00e9','\U0001f600'),('b','x');",
        "UPDATE t SET k = k || k, v = upper(v)",
    ),
    "small pages": (
        "PRAGMA page_size = 512; CREATE TABLE t(k INTEGER PRIMARY KEY, v); CREATE INDEX i ON t(v);"
        "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO t SELECT i, 'v' || i FROM n;",
        "DELETE FROM t WHERE k % 3 = 0; UPDATE t SET v = hex(zeroblob(600)) WHERE k % 50 = 1",
    ),
    "file that shrinks by itself": (
        "PRAGMA auto_vacuum = FULL; CREATE TABLE t(k INTEGER PRIMARY KEY, v);"
        "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) INSERT INTO t SELECT i, hex(zeroblob(2000)) FROM n;",
        "DELETE FROM t WHERE k > 5",
    ),
    "pages that were free": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v);"
        "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) INSERT INTO t SELECT i, hex(zeroblob(2000)) FROM n;"
        "DELETE FROM t WHERE k > 9;",
        "INSERT INTO t SELECT k + 100, v || v FROM t",
    ),
    "generated column that is indexed": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v, g AS (lower(v)) STORED); CREATE UNIQUE INDEX i ON t(g);"
        "INSERT INTO t(k, v) VALUES(1,'A'),(2,'B');",
        "UPDATE t SET v = CASE k WHEN 1 THEN 'b2' ELSE 'a2' END",
    ),
    "default that is drawn by chance": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v DEFAULT (random()), at DEFAULT CURRENT_TIMESTAMP);",
        "INSERT INTO t(k) VALUES(1), (2)",
    ),
    "rows of a recursive query": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v);",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
        " INSERT INTO t SELECT i, i * i FROM n",
    ),
    "table with children dropped": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); CREATE TABLE c(k REFERENCES t(k) ON DELETE CASCADE);"
        "INSERT INTO t VALUES(1,'a'),(2,'b'); INSERT INTO c VALUES(1),(1),(2);",
        "DROP TABLE t",
    ),
    "table dropped and made anew": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,'a'),(2,'b'); CREATE INDEX i ON t(v);",
        "DROP TABLE t; CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,'made up'),(7,'too')",
    ),
    "table built anew, its rows and its index": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,'a'),(2,'b'); CREATE INDEX i ON t(v);"
        "CREATE TABLE c(k REFERENCES t(k)); INSERT INTO c VALUES(NULL);",
        "CREATE TABLE n(k INTEGER PRIMARY KEY AUTOINCREMENT, v NOT NULL, x DEFAULT 7);"
        "INSERT INTO n(k, v) SELECT k, v FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t;"
        "CREATE INDEX i ON t(x, v); UPDATE t SET x = x + k",
    ),
    "column added and filled": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,'a'),(2,'b');",
        "ALTER TABLE t ADD COLUMN w; UPDATE t SET w = upper(v); DELETE FROM t WHERE w = 'A'",
    ),
    "trigger made and set off": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); CREATE TABLE u(k); INSERT INTO u VALUES(1),(2);",
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM u WHERE k = NEW.k; END;"
        "INSERT INTO t VALUES(2, 'x'); DROP TRIGGER g; INSERT INTO t VALUES(1, 'y')",
    ),
    "without rowid made of one with": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,'a'),(2,'b');",
        "ALTER TABLE t RENAME TO o; CREATE TABLE t(k TEXT PRIMARY KEY, v) WITHOUT ROWID;"
        "INSERT INTO t SELECT * FROM o; DROP TABLE o; UPDATE t SET v = v || k",
    ),
    "without rowid made anew with fewer columns": (
        "CREATE TABLE t(a, b, k PRIMARY KEY) WITHOUT ROWID; INSERT INTO t VALUES(1, 2, 3), (4, 5, 6);",
        "DROP TABLE t; CREATE TABLE t(k PRIMARY KEY) WITHOUT ROWID; INSERT INTO t VALUES(1), (2);"
        "DELETE FROM t WHERE k = 1",
    ),
    "table made of a query and read": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,'a'),(2,'b'); ANALYZE;",
        "CREATE TABLE m AS SELECT v, count(*) AS n FROM t GROUP BY v; SELECT * FROM m ORDER BY v;"
        "DROP TABLE t",
    ),
    "index, view and trigger dropped": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,'a'); CREATE INDEX i ON t(v);"
        "CREATE VIEW w AS SELECT v FROM t; CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END;",
        "DROP INDEX i; DROP VIEW w; DROP TRIGGER g",
    ),
    "column dropped under an index of others": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v, w, x); INSERT INTO t VALUES(1,'a',2,3),(2,'b',4,5);"
        "CREATE INDEX i ON t(v); CREATE VIEW y AS SELECT k, v FROM t;",
        "ALTER TABLE t DROP COLUMN w",
    ),
    "index built again": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,'a'); CREATE INDEX i ON t(v);",
        "REINDEX t",
    ),
    "statistics of a table": (
        "CREATE TABLE t(k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1,'a'),(2,'a'); CREATE INDEX i ON t(v);"
        "ANALYZE; INSERT INTO t VALUES(3,'b'),(4,'b');",
        "ANALYZE t",
    ),
}

# Those that are refused before anything changes.
TRAPS_REFUSED = frozenset(
    {
        "full-text table renamed",  # its other tables would be renamed by the module
    }
)
