"""Brings a SQLite store to the schema of this version, one transaction per migration."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence

from gateway.errors import StoreUnavailable
from gateway.store.queries import Migration, migrations

_TABLE = """
CREATE TABLE IF NOT EXISTS migrations (
  number INTEGER PRIMARY KEY NOT NULL,
  name TEXT NOT NULL,
  sha256 TEXT NOT NULL
) STRICT
"""


def migrate(connection: sqlite3.Connection, steps: Sequence[Migration] | None = None) -> None:
    """Applies what is missing. Raises ``StoreUnavailable`` for a store that is newer than this
    program or whose history is another one. The connection must be in autocommit mode."""
    steps = migrations() if steps is None else steps
    connection.execute(_TABLE)
    applied = dict(connection.execute("SELECT number, sha256 FROM migrations ORDER BY number"))
    if len(applied) > len(steps):
        raise StoreUnavailable(
            f"The store has schema {max(applied)}, this version knows {len(steps)}. "
            "Run the newer version, or restore a backup."
        )
    for step in steps:
        if step.number not in applied:
            _apply(connection, step)
        elif applied[step.number] != _hash(step):
            raise StoreUnavailable(f"The store was made with another {step.name}.")


def _apply(connection: sqlite3.Connection, step: Migration) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    try:
        for statement in statements(step.text):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO migrations (number, name, sha256) VALUES (?, ?, ?)",
            (step.number, step.name, _hash(step)),
        )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _hash(step: Migration) -> str:
    return hashlib.sha256(step.text.encode("utf-8")).hexdigest()


def statements(text: str) -> list[str]:
    """The statements of a migration. ``executescript`` would commit in the middle of one."""
    found, pending = [], ""
    for line in text.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return [*found, pending] if pending.strip() else found
