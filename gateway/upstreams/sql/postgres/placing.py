"""Where a server keeps its data, if that is a folder of this machine."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psycopg

from gateway.upstreams.sql.postgres.session import Session

_WHERE = """
SELECT pg_catalog.current_setting('data_directory')
WHERE pg_catalog.inet_server_addr() IS NULL
   OR pg_catalog.inet_server_addr() <<= '127.0.0.0/8'::pg_catalog.inet
   OR pg_catalog.inet_server_addr() = '::1'::pg_catalog.inet"""


async def data_folder(session: Session) -> Path | None:
    """``None`` for a server elsewhere, in a container, or whose settings the role may not read."""
    try:
        rows = await session.rows(_WHERE)
    except psycopg.errors.InsufficientPrivilege:
        return None
    if not rows:
        return None
    folder = Path(str(rows[0][0]))
    return folder if await asyncio.to_thread(os.path.isdir, folder) else None
