from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.demo import shop
from gateway.demo.shop import CUSTOMERS, dump, seed_shop


@pytest.fixture
def seeded(tmp_path: Path) -> Path:
    file = tmp_path / "var" / "shop.db"
    assert seed_shop(file)
    return file


def rows(file: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(sql).fetchall()


def test_there_are_1206_customers(seeded: Path) -> None:
    assert CUSTOMERS == 1206
    assert rows(seeded, "SELECT count(*), min(id), max(id) FROM customers") == [(1206, 1, 1206)]
    columns = rows(seeded, "SELECT name FROM pragma_table_info('customers')")
    assert columns == [("id",), ("name",), ("email",), ("plan",), ("balance",)]


def test_the_rows_are_always_the_same(seeded: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    seed_shop(other)
    assert dump(seeded) == dump(other)


def test_every_customer_has_two_or_three_orders_with_an_invoice_each(seeded: Path) -> None:
    counts = rows(
        seeded,
        "SELECT DISTINCT orders, invoices FROM (SELECT count(DISTINCT o.id) AS orders,"
        " count(i.id) AS invoices FROM customers c JOIN orders o ON o.customer_id = c.id"
        " JOIN invoices i ON i.order_id = o.id GROUP BY c.id) ORDER BY 1",
    )
    assert counts == [(2, 2), (3, 3)]


def test_deleting_a_customer_cascades_to_few_rows_and_is_audited(seeded: Path) -> None:
    with closing(sqlite3.connect(seeded)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM customers WHERE id = 7")
        connection.commit()
    left = rows(seeded, "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM invoices)")
    assert left == [(3012, 3012)]
    assert rows(seeded, "SELECT customer_id, change FROM audit_log") == [(7, "deleted")]


def test_the_total_of_an_invoice_is_generated(seeded: Path) -> None:
    assert rows(seeded, "SELECT count(*) FROM invoices WHERE total <> net + tax") == [(0,)]
    hidden = rows(seeded, "SELECT hidden FROM pragma_table_xinfo('invoices') WHERE name = 'total'")
    assert hidden == [(3,)]


def test_the_database_is_sound(seeded: Path) -> None:
    assert rows(seeded, "PRAGMA integrity_check") == [("ok",)]
    assert rows(seeded, "PRAGMA foreign_key_check") == []
    assert rows(seeded, "SELECT count(*) FROM audit_log") == [(0,)]


def test_a_file_that_exists_is_left_alone(seeded: Path) -> None:
    seeded.write_bytes(b"mine")
    assert not seed_shop(seeded)
    assert seeded.read_bytes() == b"mine"


def test_a_file_that_appears_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "shop.db"

    def race(connection: sqlite3.Connection) -> None:
        file.write_bytes(b"theirs")

    monkeypatch.setattr(shop, "_fill", race)
    assert not seed_shop(file)
    assert file.read_bytes() == b"theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["shop.db"]


def test_a_seed_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (id)")
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr(shop, "_fill", fail)
    with pytest.raises(sqlite3.OperationalError):
        seed_shop(tmp_path / "shop.db")
    assert list(tmp_path.iterdir()) == []


def test_a_dump_tells_types_and_hidden_rowids_apart(tmp_path: Path) -> None:
    dumps = []
    for value in ("1", "'1'", "1.0", "x'31'", "NULL"):
        file = tmp_path / "values.db"
        file.unlink(missing_ok=True)
        with closing(sqlite3.connect(file)) as connection:
            connection.execute('CREATE TABLE "odd ""name" (v)')
            connection.execute(f'INSERT INTO "odd ""name" (v) VALUES ({value})')
            connection.commit()
        dumps.append(dump(file))
        with closing(sqlite3.connect(file)) as connection:
            connection.execute('UPDATE "odd ""name" SET rowid = 9')
            connection.commit()
        dumps.append(dump(file))
    assert all(one != two for i, one in enumerate(dumps) for two in dumps[:i])
