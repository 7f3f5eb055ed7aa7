"""The demo database ``shop``: customers, their orders and invoices, and an audit trail.

Always the same rows, so that examples and comparisons can count on them.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

CUSTOMERS = 1206
_SEED = 20250718
OWN = b"holdfast"

SCHEMA = """
CREATE TABLE customers (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  email TEXT NOT NULL UNIQUE,
  plan TEXT NOT NULL CHECK (plan IN ('free', 'pro', 'enterprise')),
  balance NUMERIC NOT NULL DEFAULT 0
);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
  item TEXT NOT NULL,
  quantity INTEGER NOT NULL CHECK (quantity > 0),
  placed_on TEXT NOT NULL
);
CREATE INDEX orders_by_customer ON orders (customer_id);
CREATE TABLE invoices (
  id INTEGER PRIMARY KEY,
  order_id INTEGER NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
  net INTEGER NOT NULL,
  tax INTEGER NOT NULL,
  total INTEGER GENERATED ALWAYS AS (net + tax) STORED,
  paid INTEGER NOT NULL DEFAULT 0 CHECK (paid IN (0, 1))
);
CREATE INDEX invoices_by_order ON invoices (order_id);
CREATE TABLE audit_log (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL,
  change TEXT NOT NULL,
  balance_before NUMERIC,
  balance_after NUMERIC
);
"""
# Made after the rows, so that the trail begins empty.
TRIGGERS = """
CREATE TRIGGER customers_updated AFTER UPDATE ON customers BEGIN
  INSERT INTO audit_log (customer_id, change, balance_before, balance_after)
  VALUES (old.id, 'updated', old.balance, new.balance);
END;
CREATE TRIGGER customers_deleted AFTER DELETE ON customers BEGIN
  INSERT INTO audit_log (customer_id, change, balance_before)
  VALUES (old.id, 'deleted', old.balance);
END;
"""

_FIRST = ("Ada", "Ben", "Cleo", "Dana", "Eli", "Fay", "Gus", "Hana", "Ivo", "Jun", "Kai", "Lea")
_LAST = ("Abel", "Berg", "Costa", "Diaz", "Engel", "Frey", "Holm", "Ito", "Koch", "Lind", "Novak")
_ITEMS = ("backup", "seat", "storage", "support", "training")
_PLANS = ("free", "free", "free", "pro", "pro", "enterprise")


def seed_shop(path: str | Path) -> bool:
    """Makes the database at ``path`` unless the file exists. Whether it was made.

    It is built beside its place and put there whole: a process that dies in between leaves no
    half-filled database, and of two that race both see a complete one.
    """
    path = Path(path)
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    aside.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(aside)) as connection:
            _fill(connection)
        return _put(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _put(aside: Path, path: Path) -> bool:
    with aside.open("rb") as done:
        os.fsync(done.fileno())
    try:
        os.link(aside, path)  # unlike a rename, never over somebody's file
    except FileExistsError:
        return False
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def _fill(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.executescript(SCHEMA)
    random_ = random.Random(_SEED)  # noqa: S311 - sample data
    with connection:
        connection.executemany(
            "INSERT INTO customers (id, name, email, plan, balance) VALUES (?, ?, ?, ?, ?)",
            _customers(random_),
        )
        orders = list(_orders(random_))
        connection.executemany(
            "INSERT INTO orders (id, customer_id, item, quantity, placed_on)"
            " VALUES (?, ?, ?, ?, ?)",
            orders,
        )
        connection.executemany(
            "INSERT INTO invoices (id, order_id, net, tax, paid) VALUES (?, ?, ?, ?, ?)",
            _invoices(random_, len(orders)),
        )
    connection.executescript(TRIGGERS)


def _customers(random_: random.Random) -> Iterator[tuple[object, ...]]:
    for id_ in range(1, CUSTOMERS + 1):
        first, last = random_.choice(_FIRST), random_.choice(_LAST)
        email = f"{first}.{last}.{id_}@example.com".lower()
        cents = random_.randrange(0, 500_000)
        yield id_, f"{first} {last}", email, random_.choice(_PLANS), cents / 100


def _orders(random_: random.Random) -> Iterator[tuple[object, ...]]:
    id_ = 0
    for customer in range(1, CUSTOMERS + 1):
        for _ in range(2 + customer % 2):
            id_ += 1
            day = f"2025-{random_.randrange(1, 7):02d}-{random_.randrange(1, 29):02d}"
            yield id_, customer, random_.choice(_ITEMS), random_.randrange(1, 9), day


def _invoices(random_: random.Random, orders: int) -> Iterator[tuple[object, ...]]:
    for order in range(1, orders + 1):
        net = random_.randrange(500, 90_000)
        yield order, order, net, net * 19 // 100, random_.randrange(0, 2)


Dump = dict[str, tuple[tuple[object, ...], ...]]


def dump(path: str | Path) -> Dump:
    """Every row of every table of an SQLite database, each value with its storage class, rowids
    included, and the schema under ``sqlite_schema``. For comparing before and after; the tables
    that the gateway keeps for itself (``holdfast...``) are left out."""
    with closing(sqlite3.connect(f"file:{Path(path).absolute()}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        connection.execute("BEGIN")  # one moment for all tables
        schema = tuple(
            row
            for row in connection.execute(
                "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2"
            )
            if not row[2].startswith(OWN)
        )
        tables = [name.decode() for kind, name, _, _ in schema if kind == b"table"]
        return {"sqlite_schema": schema, **{name: _rows(connection, name) for name in tables}}


def _rows(connection: sqlite3.Connection, table: str) -> tuple[tuple[object, ...], ...]:
    info = connection.execute(f"PRAGMA table_xinfo({_quoted(table)})").fetchall()
    columns = [_quoted(row[1].decode()) for row in info]
    listed = [*columns, *(f"typeof({column})" for column in columns)]
    if _has_rowid(connection, table):
        listed.insert(0, "rowid")
    order = ", ".join(str(place) for place in range(1, len(listed) + 1))
    return tuple(
        connection.execute(f"SELECT {', '.join(listed)} FROM {_quoted(table)} ORDER BY {order}")
    )


def _has_rowid(connection: sqlite3.Connection, table: str) -> bool:
    try:
        connection.execute(f"SELECT rowid FROM {_quoted(table)} LIMIT 0")
    except sqlite3.OperationalError:
        return False
    return True


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
