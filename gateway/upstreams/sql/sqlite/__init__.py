"""SQLite: parse, attempt, capture and unwind of one file."""

from __future__ import annotations

from gateway.upstreams.sql.sqlite.upstream import SqliteUpstream

__all__ = ["SqliteUpstream"]
