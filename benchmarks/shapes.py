"""Shapes of writes that an undo is tried on: each on a small PostgreSQL database of its own."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """``setup`` makes the database, ``statement`` is what the agent sends."""

    name: str
    setup: str
    statement: str


ITEMS = (
    "CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL, price numeric NOT NULL);"
    "INSERT INTO item SELECT i, 'item ' || i, i * 1.50 FROM generate_series(1, 20) i;"
)
TREE = (
    "CREATE TABLE parent (id int PRIMARY KEY, name text);"
    "CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE {on_delete} "
    "ON UPDATE CASCADE, note text);"
    "INSERT INTO parent SELECT i, 'p' || i FROM generate_series(1, 5) i;"
    "INSERT INTO child SELECT i, (i - 1) % 5 + 1, 'c' || i FROM generate_series(1, 15) i;"
)
AUDITED = (
    ITEMS + "CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY, item int, at_price numeric);"
    "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
    "$$BEGIN INSERT INTO log (item, at_price) VALUES (OLD.id, OLD.price); RETURN NULL; END$$;"
    "CREATE TRIGGER noted AFTER UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION note();"
)
PARTED = (
    "CREATE TABLE sale (id int, region text, amount int) PARTITION BY LIST (region);"
    "CREATE TABLE sale_eu PARTITION OF sale FOR VALUES IN ('eu');"
    "CREATE TABLE sale_us (amount int, region text, id int);"
    "ALTER TABLE sale ATTACH PARTITION sale_us FOR VALUES IN ('us');"
    "INSERT INTO sale SELECT i, CASE WHEN i % 2 = 0 THEN 'eu' ELSE 'us' END, i * 10 "
    "FROM generate_series(1, 10) i;"
)
EVERY_TYPE = (
    "CREATE TABLE typed (id int PRIMARY KEY, n numeric, f float8, b bytea, j json, jb jsonb, "
    "i interval, d date, ts timestamptz, a int[], r numrange, c char(5), t text);"
    "INSERT INTO typed VALUES (1, 1.10, '-0', '\\x00ff', '{\"a\":  1}', '{\"n\": 1.10}', "
    "'1 mon', 'infinity', '2026-01-01 00:00:00.123456+00', '[0:1]={7,8}', '[1.0,2.50)', 'ab', "
    "E'x\\ty'), (2, 'NaN', 'infinity', NULL, '[1, 1]', 'null', '30 days', '0044-03-15 BC', "
    "'-infinity', '{}', 'empty', '', '');"
)

SHAPES = (
    Shape(name="insert", setup=ITEMS, statement="INSERT INTO item VALUES (21, 'new', 1)"),
    Shape(
        name="update with a bound",
        setup=ITEMS,
        statement="UPDATE item SET price = price + 1 WHERE id <= 5",
    ),
    Shape(name="delete with a bound", setup=ITEMS, statement="DELETE FROM item WHERE id <= 5"),
    Shape(
        name="insert on conflict do update",
        setup=ITEMS,
        statement="INSERT INTO item VALUES (3, 'again', 9), (30, 'new', 9) "
        "ON CONFLICT (id) DO UPDATE SET name = excluded.name, price = excluded.price",
    ),
    Shape(
        name="update from another table",
        setup=ITEMS + "CREATE TABLE rate (id int, by int); INSERT INTO rate VALUES (1, 5), (2, 6);",
        statement="UPDATE item SET price = price + rate.by FROM rate WHERE rate.id = item.id",
    ),
    Shape(
        name="delete using another table",
        setup=ITEMS + "CREATE TABLE gone (id int); INSERT INTO gone VALUES (4), (5);",
        statement="DELETE FROM item USING gone WHERE gone.id = item.id",
    ),
    Shape(
        name="merge",
        setup=ITEMS,
        statement="MERGE INTO item USING (VALUES (1, 'one'), (40, 'forty')) AS w (id, name) "
        "ON item.id = w.id WHEN MATCHED THEN UPDATE SET name = w.name "
        "WHEN NOT MATCHED THEN INSERT VALUES (w.id, w.name, 0)",
    ),
    Shape(
        name="a write in WITH",
        setup=ITEMS + "CREATE TABLE archive (LIKE item);",
        statement="WITH d AS (DELETE FROM item WHERE id < 4 RETURNING *) "
        "INSERT INTO archive SELECT * FROM d",
    ),
    Shape(
        name="returning",
        setup=ITEMS,
        statement="UPDATE item SET name = upper(name) WHERE id < 4 RETURNING id, name",
    ),
    Shape(
        name="no key, duplicate rows",
        setup="CREATE TABLE dup (a int, b text); INSERT INTO dup VALUES (1, 'x'), (1, 'x'), "
        "(2, 'y'), (1, 'x');",
        statement="DELETE FROM dup WHERE a = 1",
    ),
    Shape(
        name="composite key",
        setup="CREATE TABLE pair (a int, b int, v text, PRIMARY KEY (a, b)); INSERT INTO pair "
        "SELECT i % 3, i, 'v' || i FROM generate_series(1, 12) i;",
        statement="UPDATE pair SET v = 'w' WHERE a = 1",
    ),
    Shape(
        name="a key that moves",
        setup=ITEMS,
        statement="UPDATE item SET id = id + 100 WHERE id <= 5",
    ),
    Shape(
        name="delete that cascades",
        setup=TREE.format(on_delete="CASCADE"),
        statement="DELETE FROM parent WHERE id = 2",
    ),
    Shape(
        name="delete that sets null",
        setup=TREE.format(on_delete="SET NULL"),
        statement="DELETE FROM parent WHERE id = 2",
    ),
    Shape(
        name="key update that cascades",
        setup=TREE.format(on_delete="CASCADE"),
        statement="UPDATE parent SET id = 50 WHERE id = 2",
    ),
    Shape(
        name="trigger that writes elsewhere",
        setup=AUDITED,
        statement="DELETE FROM item WHERE id IN (1, 2)",
    ),
    Shape(
        name="generated and identity columns",
        setup="CREATE TABLE line (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, net int, "
        "gross int GENERATED ALWAYS AS (net * 2) STORED); INSERT INTO line (net) VALUES (1), (2);",
        statement="DELETE FROM line WHERE id = 1",
    ),
    Shape(
        name="row that moves between partitions",
        setup=PARTED,
        statement="UPDATE sale SET region = 'us' WHERE id = 2",
    ),
    Shape(
        name="inheritance",
        setup="CREATE TABLE animal (id int, name text); CREATE TABLE dog (tricks int) "
        "INHERITS (animal); INSERT INTO animal VALUES (1, 'a'); "
        "INSERT INTO dog VALUES (2, 'b', 7);",
        statement="DELETE FROM animal WHERE id <= 2",
    ),
    Shape(
        name="view with an INSTEAD rule",
        setup=ITEMS + "CREATE VIEW cheap AS SELECT * FROM item WHERE price < 9; "
        "CREATE RULE r AS ON DELETE TO cheap DO INSTEAD UPDATE item SET price = -1 "
        "WHERE id = OLD.id;",
        statement="DELETE FROM cheap WHERE id = 1",
    ),
    Shape(
        name="every type",
        setup=EVERY_TYPE,
        statement="DELETE FROM typed WHERE id <= 2",
    ),
    Shape(
        name="random rows",
        setup=ITEMS,
        statement="DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY random() LIMIT 3)",
    ),
    Shape(name="truncate", setup=ITEMS, statement="TRUNCATE item"),
    Shape(name="drop table", setup=ITEMS, statement="DROP TABLE item"),
    Shape(
        name="add a column",
        setup=ITEMS,
        statement="ALTER TABLE item ADD COLUMN note text DEFAULT 'x'",
    ),
)


def dump(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, object]:
    """Tables with their columns and rows as text with pinned settings, nothing left out."""
    connection.execute("SET datestyle = 'ISO'; SET extra_float_digits = 3; SET timezone = 'UTC'")
    tables = connection.execute(
        "SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n "
        "ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND n.nspname = 'public' "
        "ORDER BY 2, 3"
    ).fetchall()
    found: dict[str, object] = {}
    for oid, schema, name in tables:
        columns = connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
            "WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            (oid,),
        ).fetchall()
        named = sql.Identifier(str(schema), str(name))
        rows = connection.execute(
            sql.SQL("SELECT shown::text FROM ONLY {} AS shown ORDER BY 1").format(named)
        ).fetchall()
        found[f"{schema}.{name}"] = (columns, rows)
    return found
