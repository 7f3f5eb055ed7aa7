"""The engine's own word on what a text would do, and that whatever is not understood is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.model import Action, ActionClass, Deny, Effect
from gateway.upstreams.sql.limits import SqlLimits
from tests.upstreams.sql.sqlite.driving import Driver, change, driving, rows_of

TABLE = Path(__file__).resolve().parents[3] / "fixtures" / "sql" / "sqlite_statements.jsonl"
CASES: list[dict[str, Any]] = [
    json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()
]
SCHEMA = """
CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT);
CREATE INDEX i_users ON users(name);
CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance);
CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT,
  user_id REFERENCES users(id) ON DELETE CASCADE);
CREATE TABLE keeps(u UNIQUE ON CONFLICT REPLACE);
CREATE TABLE notes(body);
CREATE TABLE tricky(a);
CREATE TABLE gone(id);
CREATE VIEW v_users AS SELECT id, name FROM users;
CREATE VIEW v_evil AS SELECT load_extension('x');
CREATE VIEW v_receipts AS SELECT call FROM holdfast_receipt;
CREATE TRIGGER users_d AFTER DELETE ON users BEGIN INSERT INTO gone VALUES(old.id); END;
CREATE TRIGGER v_users_u INSTEAD OF UPDATE ON v_users BEGIN
  UPDATE users SET name = new.name WHERE id = old.id; END;
CREATE VIRTUAL TABLE ft USING fts5(body);
CREATE TRIGGER notes_i AFTER INSERT ON notes BEGIN INSERT INTO ft VALUES(new.body); END;
CREATE TRIGGER tricky_d AFTER DELETE ON tricky BEGIN
  UPDATE accounts SET balance = 0 WHERE id = (SELECT max(id) FROM users); END;
INSERT INTO users VALUES(1, 'ann'), (2, 'ben');
INSERT INTO accounts VALUES(1, 10), (2, 20);
"""


@pytest.fixture
async def driver(tmp_path: Path):  # type: ignore[no-untyped-def]
    async with driving(tmp_path / "a.db", SCHEMA) as opened:
        yield opened


def verdict(action: Action | Deny) -> str:
    return action.reason if isinstance(action, Deny) else str(action.cls)


async def test_the_table_of_statements_is_judged_as_it_says(driver: Driver) -> None:
    assert len(CASES) >= 150
    before = rows_of(driver.path)
    wrong: list[tuple[str, str, str, object]] = []
    for case in CASES:
        params = {"n": "x"} if ":n" in case["sql"] else None
        action = await driver.parse(case["sql"], params)
        if verdict(action) != case["expect"]:
            wrong.append((case["sql"], case["expect"], verdict(action), action))
    assert wrong == []
    assert rows_of(driver.path) == before


async def test_what_is_judged_a_read_runs_and_changes_nothing(driver: Driver) -> None:
    before = rows_of(driver.path)
    for case in CASES:
        if case["expect"] == "read":
            outcome = await driver.read(case["sql"])
            assert outcome.refusal is None, case
    assert rows_of(driver.path) == before


def shown(action: Action | Deny) -> Iterator[tuple[str, str, str, tuple[str, ...], bool]]:
    assert isinstance(action, Action), action
    for effect in action.effects:
        yield effect.verb, effect.kind, effect.name, effect.columns, effect.bounded


async def test_cascades_and_triggers_are_effects(driver: Driver) -> None:
    action = await driver.parse("DELETE FROM users WHERE id = 1")
    assert list(shown(action)) == [
        ("delete", "table", "main.users", ("*",), True),
        ("insert", "table", "main.gone", ("*",), True),
        ("delete", "table", "main.orders", ("*",), True),
        ("select", "table", "main.users", ("id",), True),
    ]


async def test_columns_are_those_that_the_engine_reads_and_writes(driver: Driver) -> None:
    action = await driver.parse(
        "UPDATE v_users SET name = (SELECT balance FROM accounts LIMIT 1) WHERE id = 1"
    )
    assert isinstance(action, Action)
    assert Effect(verb="update", kind="view", name="main.v_users", columns=("name",)) in (
        action.effects
    )
    assert Effect(verb="update", kind="table", name="main.users", columns=("name",)) in (
        action.effects
    )
    assert Effect(verb="select", kind="table", name="main.accounts", columns=("balance",)) in (
        action.effects
    )


async def test_a_common_table_expression_cannot_pass_for_a_trigger(driver: Driver) -> None:
    action = await driver.parse(
        "WITH tricky_d AS (SELECT name FROM users) "
        "UPDATE accounts SET balance = (SELECT name FROM tricky_d) WHERE id = 1"
    )
    assert ("select", "table", "main.users", ("name",), True) in list(shown(action))


async def test_a_triggers_own_look_at_rows_is_not_the_agents(driver: Driver) -> None:
    action = await driver.parse("DELETE FROM tricky WHERE a = 1")
    assert "main.users" not in {e[2] for e in shown(action)}
    assert ("update", "table", "main.accounts", ("balance",), True) in list(shown(action))


async def test_rows_that_give_way_are_deleted_rows(driver: Driver) -> None:
    action = await driver.parse("REPLACE INTO users(id) VALUES(1)")
    assert isinstance(action, Action)
    assert action.name == "delete"
    assert ("delete", "table", "main.users", ("*",), True) in list(shown(action))


async def test_a_change_of_a_tables_index_or_trigger_alters_the_table(driver: Driver) -> None:
    for sql in (
        "DROP INDEX i_users",
        "DROP TRIGGER users_d",
        "CREATE INDEX i ON users(id)",
        "CREATE TRIGGER t AFTER UPDATE ON users BEGIN SELECT 1; END",
    ):
        action = await driver.parse(sql)
        assert ("alter", "table", "main.users", ("*",), True) in list(shown(action)), sql


async def test_the_whole_text_is_shown_statement_by_statement(driver: Driver) -> None:
    action = await driver.parse("SELECT lower(name) FROM users; DELETE FROM users")
    assert isinstance(action, Action)
    assert action.sql is not None
    assert [(s.verb, s.tables, s.functions, s.bounded) for s in action.sql.statements] == [
        ("select", ("main.users",), ("lower",), True),
        ("delete", ("main.users", "main.gone", "main.orders"), (), False),
    ]
    assert (action.name, action.cls) == ("delete", ActionClass.DESTRUCTIVE)


@pytest.mark.parametrize(
    ("sql", "params", "expected"),
    [
        ("SELECT ?, ?", [1, "x"], "read"),
        ("SELECT ?2, ?1", [1, 2], "read"),
        ("SELECT :a, @b, $c", {"a": 1, "b": None, "c": True}, "read"),
        ("SELECT ?", [], "malformed"),
        ("SELECT ?", [1, 2], "malformed"),
        ("SELECT :a", {"b": 1}, "malformed"),
        ("SELECT :a", {"a": 1, "b": 1}, "malformed"),
        ("SELECT :a", [1], "malformed"),
        ("SELECT ?", {"a": 1}, "malformed"),
        ("SELECT 1", {"a": 1}, "malformed"),
        ("SELECT 1", {}, "read"),
        ("SELECT 1", "x", "malformed"),
        ("SELECT ?", [[1]], "malformed"),
        ("SELECT ?", [{"a": 1}], "malformed"),
        ("SELECT ?", [2**63], "malformed"),
        ("SELECT ?", [2**63 - 1], "read"),
        ("SELECT ?", [float("nan")], "malformed"),
        ("SELECT ?", ["\ud800"], "malformed"),
        ("SELECT ?; SELECT ?, ?", [1, 2, 3], "read"),
        ("SELECT ?; SELECT ?, ?", [1, 2], "malformed"),
        ("SELECT :a; SELECT :b", {"a": 1, "b": 2}, "read"),
    ],
)
async def test_parameters_fit_or_are_malformed(
    driver: Driver, sql: str, params: Any, expected: str
) -> None:
    assert verdict(await driver.parse(sql, params)) == expected


@pytest.mark.parametrize("sql", [None, 5, ["SELECT 1"], b"SELECT 1"])
async def test_what_is_no_text_is_malformed(driver: Driver, sql: object) -> None:
    assert verdict(await driver.parse(sql)) == "malformed"


async def test_hostile_sizes_are_answered_clearly(driver: Driver) -> None:
    megabyte = "SELECT '" + "x" * (1 << 20) + "'"
    assert verdict(await driver.parse(megabyte)) == "too_large"
    deep = "SELECT " + "(" * 1000 + "1" + ")" * 1000
    assert verdict(await driver.parse(deep)) == "too_large"
    many = ";".join(["SELECT 1"] * 1500)
    assert verdict(await driver.parse(many)) == "sql.unsupported"
    long_or = "SELECT * FROM users WHERE " + " OR ".join(f"id = {i}" for i in range(900))
    assert verdict(await driver.parse(long_or)) == "read"


async def test_a_schema_that_changes_is_seen_by_the_next_parse(driver: Driver) -> None:
    assert verdict(await driver.parse("SELECT * FROM later")) == "sql.unparsable"
    change(driver.path, "CREATE TABLE later(a)")
    assert verdict(await driver.parse("SELECT * FROM later")) == "read"
    change(driver.path, "DROP TABLE later", "CREATE VIEW later AS SELECT load_extension('x')")
    assert verdict(await driver.parse("SELECT * FROM later")) == "sql.unparsable"


async def test_the_largest_text_that_is_allowed_is_judged(tmp_path: Path) -> None:
    limits = SqlLimits(max_sql_bytes=200)
    async with driving(tmp_path / "a.db", SCHEMA, limits=limits) as driver:
        fits = "SELECT '" + "é" * 95 + "'"
        assert len(fits.encode()) == 199
        assert verdict(await driver.parse(fits)) == "read"
        assert verdict(await driver.parse(fits + "  ")) == "too_large"


async def test_views_of_views_multiply_only_so_far(driver: Driver) -> None:
    """Each of the first looks twice at the one before it; the engine itself ends at 65,535."""
    columns = ", ".join(f"c{n}" for n in range(20))
    views = [f"CREATE TABLE wide({columns})", "CREATE VIEW v0 AS SELECT * FROM wide"]
    views += [f"CREATE VIEW v{n + 1} AS SELECT * FROM v{n} UNION SELECT * FROM v{n}"
              for n in range(20)]  # fmt: skip
    change(driver.path, *views)
    assert verdict(await driver.parse("SELECT * FROM v4")) == "read"
    refused = [await driver.parse(f"SELECT * FROM v{n}") for n in (14, 20)]
    assert [verdict(one) for one in refused] == ["too_large", "sql.unparsable"]
    assert isinstance(refused[0], Deny)
    assert "views" in refused[0].detail
    assert verdict(await driver.parse("SELECT * FROM users")) == "read"
