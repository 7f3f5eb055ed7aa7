"""Statements labelled by running them, where the collection is at hand: nothing that has an effect
is ever judged a read, and ordinary reads are hardly ever refused."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest
import sqlglot
from sqlglot import exp

from gateway.model import ActionClass, Deny
from gateway.upstreams.sql.gate import check_text
from gateway.upstreams.sql.sqlite.facts import Judgement
from gateway.upstreams.sql.sqlite.judge import Judge

ROOT = Path(__file__).resolve().parents[4]
FOLDER = Path(os.environ.get("HOLDFAST_CORPUS", ROOT.parent / "shared" / "corpus"))
FILES = ("adversarial_sqlite", "sqlite_tests", "external_guard_tests", "sqli_payloads")

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the corpus is not at hand")

BASE = """
CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT, email TEXT, password TEXT);
CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER);
CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, user_id REFERENCES users(id));
CREATE TABLE audit_log(id INTEGER PRIMARY KEY, what TEXT);
CREATE VIEW v_users AS SELECT id, name FROM users;
CREATE TRIGGER v_users_u INSTEAD OF UPDATE ON v_users BEGIN
  UPDATE users SET name = new.name WHERE id = old.id; END;
CREATE VIRTUAL TABLE ft USING fts5(body);
"""


def records(name: str) -> list[dict[str, Any]]:
    lines = (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [r for r in map(json.loads, lines) if r["dialect"] == "sqlite"]


def judge_on(schema: str, sql: str) -> Judgement | Deny:
    db = apsw.Connection(":memory:")
    try:
        db.execute(schema)
        return check_text(sql, max_bytes=1 << 20, dialect="sqlite") or Judge(
            db, foreign_keys=True
        ).judge(sql, [])
    finally:
        db.close()


def resolved(sql: str, base: str) -> Judgement | Deny:
    """The verdict on a schema that has what the statement names, as far as that can be guessed."""
    tables: dict[str, set[str]] = {}
    aliases = _aliases(sql)
    verdict = judge_on(base, sql)
    for _ in range(60):
        if not isinstance(verdict, Deny) or not _learnt(verdict.detail, tables, aliases):
            return verdict
        made = "".join(_table(name, columns) for name, columns in tables.items())
        try:
            verdict = judge_on(base + made, sql)
        except apsw.Error:
            return verdict
    return verdict


def _table(name: str, columns: set[str]) -> str:
    listed = ", ".join('"' + c + '"' for c in sorted(columns)) or "zz_"
    return f'CREATE TABLE IF NOT EXISTS "{name}"({listed});'


def _aliases(sql: str) -> dict[str, str]:
    try:
        trees = [t for t in sqlglot.parse(sql, dialect="sqlite") if t is not None]
    except (sqlglot.errors.SqlglotError, RecursionError):
        return {}
    tables = [t for tree in trees for t in tree.find_all(exp.Table)]
    return {t.alias_or_name.casefold(): t.name for t in tables}


def _learnt(detail: str, tables: dict[str, set[str]], aliases: dict[str, str]) -> bool:
    table = re.search(r"no such table: (?:main\.)?(.+)\.$", detail)
    if table is not None and table.group(1) not in tables and "." not in table.group(1):
        tables[table.group(1)] = set()
        return True
    column = re.search(r"no such column: (?:(\w+)\.)?(\S+?)(?: - .*)?\.$", detail)
    if column is None or not tables:
        return False
    owner = aliases.get((column.group(1) or "").casefold())
    known = {name.casefold(): name for name in tables}
    name = known.get((owner or column.group(1) or "").casefold())
    for choice in [name] if name else list(tables):
        if column.group(2) not in tables[choice]:
            tables[choice].add(column.group(2))
            return True
    return False


def scored() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in FILES:
        for record in records(name):
            yield name, record


def is_read(verdict: Judgement | Deny) -> bool:
    return not isinstance(verdict, Deny) and verdict.cls is ActionClass.READ


def test_nothing_that_has_an_effect_is_judged_a_read() -> None:
    wrong: list[tuple[str, str]] = []
    seen = 0
    for _, record in scored():
        if record.get("safe_read") is not False:
            continue
        seen += 1
        if is_read(judge_on(BASE, record["sql"])) or is_read(resolved(record["sql"], BASE)):
            wrong.append((record["id"], record["sql"]))
    assert seen > 400
    assert wrong == []


def test_ordinary_reads_that_resolve_are_hardly_ever_refused() -> None:
    blocked: list[tuple[str, str]] = []
    resolvable = 0
    for record in records("text2sql_reads"):
        verdict = resolved(record["sql"], "")
        if isinstance(verdict, Deny) and verdict.reason == "sql.unparsable":
            continue  # the guess at its tables and columns did not resolve it
        resolvable += 1
        if not is_read(verdict):
            blocked.append((record["id"], record["sql"]))
    assert resolvable > 450
    assert len(blocked) <= 0.03 * resolvable, blocked
