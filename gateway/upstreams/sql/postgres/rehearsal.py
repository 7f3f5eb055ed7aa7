"""Tries a call's way back while its transaction is still open, in a savepoint that is rolled back.

The code that reverts runs in the agent's own transaction, and so with the agent's rights: where
these do not reach (a table that only a cascade may write, triggers that only another role may
switch off) the call cannot be rehearsed. What stands then is compared with what the second
connection still sees committed: a digest over every column of every table that the call touched,
of the whole table while it is small, otherwise of the touched keys.
"""

from __future__ import annotations

import psycopg

from gateway.model import Step, Undo
from gateway.upstreams.sql.postgres.catalog import Table
from gateway.upstreams.sql.postgres.ddl.sequences import Reset, where
from gateway.upstreams.sql.postgres.ddl.shape import plain_names
from gateway.upstreams.sql.postgres.fitness import Source, Unfit, sources
from gateway.upstreams.sql.postgres.phrases import row_text
from gateway.upstreams.sql.postgres.restore import Restore
from gateway.upstreams.sql.postgres.session import Session
from gateway.upstreams.sql.postgres.unwind import PostgresUnwinding

_WHOLE_BYTES = 512 << 10  # size of a table that is compared as a whole: some 20 ms


class CannotRehearse(Exception):
    """A sentence that says what the agent's role lacks."""


async def rehearse(
    own: Session, peer: Session, unwinding: PostgresUnwinding, touched: frozenset[int]
) -> str | None:
    """How the state after the undo differs from the one before the call; ``None``: not at all.
    ``touched``: the tables that the transaction's own counters name, whatever the images say.
    ``unwinding`` works on ``own``, in whose open transaction nothing of this is left. Raises
    ``CannotRehearse`` and ``psycopg.Error``."""
    await own.run("SAVEPOINT rehearsal")
    try:
        step, restores = await unwinding.try_one()
        if step.state == "failed" and step.reason == "revert.not_revertible":
            raise CannotRehearse(step.detail or "its rows cannot be put back by the agent's role.")
        if step.state != "reverted":
            return step.detail or _first(step)
        if touched - {restore.table.oid for restore in restores}:
            return "there is a table among those changed that has no images"
        for restore in restores:
            if await _differs(own, peer, restore):
                return f"rows of {restore.image.resource} would not be as they were"
    except psycopg.errors.InsufficientPrivilege as error:
        raise CannotRehearse(f"{error.diag.message_primary}.") from error
    except Unfit as error:
        raise CannotRehearse(str(error)) from error
    finally:
        await own.run("ROLLBACK TO SAVEPOINT rehearsal")
    return None


async def rehearse_alone(own: Session, unwinding: PostgresUnwinding, undo: Undo) -> str | None:
    """``rehearse`` for a schema change or a TRUNCATE, which hold locks that let nobody else look.
    Schema changes compare everything that they touched with how it looked before. Rows that were
    cleared are compared with their images, which were read while nobody could write them."""
    await own.run("SAVEPOINT rehearsal")
    try:
        await own.run("SET LOCAL row_security = off")
        async with plain_names(own):
            step, restores = await unwinding.try_one()
            if step.state == "failed" and step.reason == "revert.not_revertible":
                raise CannotRehearse(step.detail or "the agent's role cannot take it back.")
            if step.state != "reverted":
                return step.detail or _first(step)
            for restore in restores:
                if await _unlike(own, restore):
                    return f"rows of {restore.image.resource} would not be as they were"
            for reset in map(Reset.from_json, undo.manifest.get("resets", ())):
                if await where(own, reset.oid) != reset.before:
                    return "a sequence would not stand where it stood"
    except psycopg.errors.InsufficientPrivilege as error:
        raise CannotRehearse(f"{error.diag.message_primary}.") from error
    finally:
        await own.run("ROLLBACK TO SAVEPOINT rehearsal")
    return None


async def _unlike(own: Session, restore: Restore) -> bool:
    """Whether the rows of the table, which held none, are others than those of its image."""
    stored = sorted(restore.table.stored, key=lambda c: c.name)
    query = f"SELECT count(*), {_sums(row_text('x', stored))} FROM {{}} AS x"
    now = await own.one(query.format(f"ONLY {restore.table.quoted}"))
    return now != await own.one(query.format(restore.b))


def _sums(text: str) -> str:
    return ", ".join(
        f"COALESCE(sum(pg_catalog.hashtextextended({text}, {seed})::numeric), 0)::text"
        for seed in (0, 1)
    )


def _first(step: Step) -> str:
    conflict = step.conflicts[0] if step.conflicts else None
    return f"{conflict.resource}: {conflict.why}" if conflict else "rows would not come back"


async def _differs(own: Session, peer: Session, restore: Restore) -> bool:
    table = restore.table
    own_source, peer_source = await sources(own, peer, table)
    (size,) = await peer.one("SELECT pg_catalog.pg_relation_size(%s::oid)", table.oid)
    keys: list[list[str]] | None = None
    if table.key is not None and size > _WHOLE_BYTES:
        keys = await restore.keys()
    mine = await _digest(own, own_source, table, keys)
    return mine != await _digest(peer, peer_source, table, keys)


async def _digest(
    session: Session, source: Source, table: Table, keys: list[list[str]] | None
) -> tuple[object, ...]:
    text = row_text("x", table.columns)
    found, conditions = f"{source.text} AS x", [source.condition] if source.condition else []
    if keys is not None and table.key is not None:
        # The keys as arrays of text, one per column, so that the key's index finds the rows.
        columns = [next(c for c in table.columns if c.name == n) for n in table.key.columns]
        arrays = ", ".join(f"pg_catalog.unnest(%s::text[]::{c.type}[])" for c in columns)
        names = [f"k{i}" for i in range(len(columns))]
        found += f" JOIN ROWS FROM ({arrays}) AS k({', '.join(names)}) ON "
        found += " AND ".join(
            f"x.{c.quoted} {op} k.{k}"
            for c, op, k in zip(columns, table.key.operators, names, strict=True)
        )
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    query = f"SELECT count(*), {_sums(text)} FROM {found}{where}"
    return await session.one(query, *(keys or ()))
