"""Bounds of one SQL source: how much a call may read, change, capture, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlLimits:
    """Sizes in bytes, times in seconds. ``max_capture_rows`` and ``max_capture_bytes`` bound the
    row images of one call; beyond them the call is refused, or falls back on a mechanism without
    row images where the database has one. From more than ``row_images`` rows on, a database that
    keeps whole pages of its own accord is relied on for that. So is it where the pages that a call
    changes take more than ``max_page_bytes`` of memory and go to disk before it commits."""

    max_sql_bytes: int = 256 * 1024
    max_result_rows: int = 10_000
    max_result_bytes: int = 8 * 1024 * 1024
    max_capture_rows: int = 1_000_000
    row_images: int = 10_000
    max_capture_bytes: int = 512 * 1024 * 1024
    max_page_bytes: int = 32 * 1024 * 1024
    statement_timeout_s: float = 30.0
    lock_timeout_s: float = 5.0
    parse_timeout_s: float = 2.0
