"""What comes after a change of the schema in one text is judged on a stage: a database in memory
with the same schema and no rows, on which that change was carried out.

What a statement was seen to do there is also all that it may do when it runs in the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import apsw

from gateway.upstreams.sql.sqlite.catalog import folded, listed
from gateway.upstreams.sql.sqlite.connections import Deadline, wall_in

# A table can be made of a query that needs no rows to have many.
_SECONDS = 0.25
_MOST_PAGES = 4096
_SCHEMA_SECONDS = 2.0

_SCHEMA = """
SELECT name, sql FROM main.sqlite_schema WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*'
 ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'view' THEN 1 WHEN 'index' THEN 2 ELSE 3 END, rowid
"""
_STATISTICS = "SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_stat1'"
Authorizer = Callable[[int, str | None, str | None, str | None, str | None], int]


class CannotStage(Exception):
    """The schema, or a change of it, cannot be had without the rows."""


class Stage:
    """``of``: the database whose schema it has; nothing is written to that. Raises
    ``CannotStage``."""

    def __init__(self, of: apsw.Connection, *, foreign_keys: bool) -> None:
        self.db = apsw.Connection(":memory:", statementcachesize=0)
        self._deadline = Deadline(self.db)
        try:
            wall_in(self.db, foreign_keys=foreign_keys)
            self.db.pragma("max_page_count", _MOST_PAGES)
            self._fill(of)
        except BaseException:
            self.close()
            raise

    def _fill(self, of: apsw.Connection) -> None:
        shadows = {folded(name) for name, kind in listed(of).items() if kind == "shadow"}
        with self._bounded(_SCHEMA_SECONDS):
            for name, sql in of.execute(_SCHEMA).fetchall():
                if folded(str(name)) not in shadows:  # made by the table that they belong to
                    self.db.execute(str(sql))
            if of.execute(_STATISTICS).fetchall():
                self.db.execute("ANALYZE")

    def carry_out(self, sql: str, bindings: Any, authorizer: Authorizer) -> None:
        """One change of the schema. Raises ``CannotStage``."""
        with self._bounded(_SECONDS):
            self.db.authorizer = authorizer
            try:
                self.db.execute(sql, bindings, can_cache=False).fetchall()
            finally:
                self.db.authorizer = None

    @contextlib.contextmanager
    def _bounded(self, seconds: float) -> Iterator[None]:
        self._deadline.start(seconds)
        try:
            yield
        except apsw.Error as error:
            raise CannotStage(str(error)) from error
        finally:
            self._deadline.clear()

    def close(self) -> None:
        self.db.close()
