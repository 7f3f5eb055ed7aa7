"""What one call did to one table, compared with what is there now.

Everything is set-based over temporary tables: ``b`` and ``a`` hold the images, ``o`` the rows as
they are now (locked), ``w`` one line per row with what is to be done. Rows are compared by
``*=``, which tells apart what ``=`` does not (1.0 and 1.00, -0 and 0). Tables with a key are
compared key by key; others as multisets, where only equal copies can be told to be ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.errors import ImageDamaged
from gateway.model import OnConflict
from gateway.upstreams.sql.postgres.catalog import Column, Table
from gateway.upstreams.sql.postgres.copying import Segments, copy_in
from gateway.upstreams.sql.postgres.images import BINARY, TableImage
from gateway.upstreams.sql.postgres.phrases import listed, row_text, same_row
from gateway.upstreams.sql.postgres.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """How many rows were restored without comparing them one by one (``straight``)."""

    inserted: int
    updated: int
    deleted: int

    @property
    def rows(self) -> int:
        return self.inserted + self.updated + self.deleted


class Comparison:
    """One table of one call. ``load`` and ``compare`` once. ``met``: set where ``straight`` did all
    of it."""

    def __init__(
        self,
        session: Session,
        table: Table,
        image: TableImage,
        *,
        prefix: str,
        mode: OnConflict,
        replica: bool,
    ) -> None:
        self._session = session
        self.table = table
        self.image = image
        self._prefix = prefix
        self._force = mode is OnConflict.FORCE
        self._merge = mode is OnConflict.MERGE
        self._replica = replica
        self.met: Met | None = None
        self._why: dict[int, str] = {}
        self.linked = True  # whether rows found on one side only belong together
        self.b, self.a, self.o, self.w = (f"pg_temp.{prefix}{side}" for side in "baow")
        self.mark = f"{prefix}n"
        self.place = f"{prefix}ctid"
        self._whole = f"{prefix}row"  # in ``b``: the line that a merged row is for

    @property
    def keyed(self) -> bool:
        return self.table.key is not None

    # --- compare --------------------------------------------------------------------------

    async def load(self, segments: Segments) -> None:
        """Raises ``ImageDamaged``; whatever was restored by then must be rolled back."""
        # In the order of the image: a column that came back stands elsewhere now.
        columns = listed([self.table_column(c.name) for c in self.image.columns])
        for name, rows in ((self.b, self.image.before), (self.a, self.image.after)):
            await self._make(
                name,
                f"SELECT {columns}, NULL::int8 AS {self._whole} FROM ONLY {self.table.quoted} "
                "WITH NO DATA",
            )
            if rows.count:
                loaded = await copy_in(
                    self._session,
                    f"{name} ({columns})",
                    segments.part(rows.offset, rows.size),
                    binary=self.image.coding == BINARY,
                )
                if loaded != rows.count:
                    raise ImageDamaged("The images of this call are not complete.")

    async def compare(self) -> None:
        """Locks the rows concerned and decides what each one needs."""
        self.met = None
        await self._session.run(f"ANALYZE {self.b}, {self.a}")
        if self.keyed:
            await self._compare_keyed()
        else:
            await self._compare_copies()
        await self._session.run(f"ANALYZE {self.w}")
        for (row,) in await self._session.rows(
            f"SELECT n FROM {self.w} WHERE verdict = 'changed' ORDER BY n"
        ):
            self._why[row] = "changed"

    async def _compare_keyed(self) -> None:
        key = self.table.key
        assert key is not None
        names = [self.table_column(name).quoted for name in key.columns]
        numbered = [f"k{i}" for i in range(len(names))]

        def same(left: str, rights: Sequence[str]) -> str:
            pairs = zip(names, key.operators, rights, strict=True)
            return " AND ".join(f"{left}.{name} {op} {right}" for name, op, right in pairs)

        as_keys = ", ".join(f"{{0}}.{n} AS {k}" for n, k in zip(names, numbered, strict=True))
        pairs = f"pg_temp.{self._prefix}p"
        await self._make(
            pairs,
            f"""SELECT row_number() OVER () AS n, q.bct AS sct, q.* FROM (
              SELECT b.ctid AS bct, a.ctid AS act, {as_keys.format("b")} FROM {self.b} b
                LEFT JOIN {self.a} a ON {same("a", [f"b.{n}" for n in names])}
              UNION ALL
              SELECT NULL::tid, a.ctid, {as_keys.format("a")} FROM {self.a} a WHERE NOT EXISTS (
                SELECT 1 FROM {self.b} b WHERE {same("b", [f"a.{n}" for n in names])})) q""",
        )
        await self._session.run(f"ANALYZE {pairs}")
        (both,) = await self._session.one(
            f"SELECT count(*) FROM {pairs} WHERE bct IS NOT NULL AND act IS NOT NULL"
        )
        self.linked = self.image.spread or self.image.updated > both
        await self._make(
            self.o,
            f"""SELECT p.n AS {self.mark}, t.ctid AS {self.place}, {self._all("t")}
            FROM ONLY {self.table.quoted} t JOIN {pairs} p
              ON {same("t", [f"p.{k}" for k in numbered])} FOR UPDATE OF t""",
        )
        await self._session.run(f"ANALYZE {self.o}")
        if self._merge:
            await self._merge_rows(pairs)
        await self._judge_rows(pairs)

    async def _merge_rows(self, pairs: str) -> None:
        """Puts a merged row in the place of the before-image where the columns that the call
        changed and those that others changed since are not the same ones."""
        stored = self.table.stored
        picked = ", ".join(
            f"CASE WHEN {same_row('b', 'a', [c])} THEN o.{c.quoted} ELSE b.{c.quoted} END"
            for c in stored
        )
        apart = " AND ".join(
            f"({same_row('b', 'a', [c])} OR {same_row('o', 'a', [c])})" for c in stored
        )
        await self._session.run(
            f"""INSERT INTO {self.b} ({listed(stored)}, {self._whole})
            SELECT {picked}, p.n FROM {pairs} p JOIN {self.b} b ON b.ctid = p.bct
              JOIN {self.a} a ON a.ctid = p.act JOIN {self.o} o ON o.{self.mark} = p.n
            WHERE NOT {same_row("b", "o", stored)} AND NOT {same_row("a", "o", stored)}
              AND {apart}"""
        )
        await self._session.run(
            f"UPDATE {pairs} p SET bct = b.ctid FROM {self.b} b WHERE b.{self._whole} = p.n"
        )

    async def _judge_rows(self, pairs: str) -> None:
        stored = self.table.stored
        hard = self.hard
        await self._make(
            self.w,
            f"""SELECT v.*, (verdict = 'changed' AND NOT {self._force}) AS skip,
              CASE WHEN verdict = 'same' OR (bct IS NULL AND nct IS NULL) THEN NULL
                   WHEN bct IS NULL THEN 'delete' WHEN nct IS NULL THEN 'insert'
                   WHEN soft THEN 'update' ELSE 'replace' END AS op
            FROM (SELECT p.n, p.bct, p.sct, p.act, o.{self.place} AS nct,
                {same_row("b", "o", hard) if hard else "true"} AS soft,
                p.act IS NULL AND o.{self.place} IS NULL OR p.act IS NOT NULL
                  AND o.{self.place} IS NOT NULL AND {same_row("a", "o", stored)} AS kept,
                CASE WHEN (p.bct IS NULL AND o.{self.place} IS NULL)
                       OR (p.bct IS NOT NULL AND o.{self.place} IS NOT NULL
                           AND {same_row("b", "o", stored)}) THEN 'same'
                     WHEN b.{self._whole} IS NOT NULL OR (p.act IS NULL AND o.{self.place} IS NULL)
                       OR (p.act IS NOT NULL AND o.{self.place} IS NOT NULL
                           AND {same_row("a", "o", stored)}) THEN 'ours'
                     ELSE 'changed' END AS verdict
              FROM {pairs} p LEFT JOIN {self.b} b ON b.ctid = p.bct
              LEFT JOIN {self.a} a ON a.ctid = p.act
              LEFT JOIN {self.o} o ON o.{self.mark} = p.n) v""",
        )

    async def _compare_copies(self) -> None:
        stored = self.table.stored
        pairs, copies = f"pg_temp.{self._prefix}p", f"pg_temp.{self._prefix}c"

        def numbered(name: str, alias: str) -> str:
            text = row_text(alias, stored)
            return (
                f"SELECT {alias}.ctid, {text} AS v, "
                f"row_number() OVER (PARTITION BY {text}) AS r FROM {name} {alias}"
            )

        await self._make(
            pairs,
            f"""WITH bv AS ({numbered(self.b, "b")}), av AS ({numbered(self.a, "a")})
            SELECT row_number() OVER () AS n, q.* FROM (
              SELECT bv.ctid AS bct, NULL::tid AS act, bv.v, NULL::int8 AS r FROM bv
                WHERE NOT EXISTS (SELECT 1 FROM av WHERE av.v = bv.v AND av.r = bv.r)
              UNION ALL
              SELECT NULL, av.ctid, av.v, row_number() OVER (PARTITION BY av.v) FROM av
                WHERE NOT EXISTS (SELECT 1 FROM bv WHERE bv.v = av.v AND bv.r = av.r)) q""",
        )
        await self._session.run(f"ANALYZE {pairs}")
        text = row_text("t", stored)
        await self._make(
            copies,
            f"""SELECT t.ctid AS ct, {text} AS v FROM ONLY {self.table.quoted} t
            WHERE {text} IN (SELECT p.v FROM {pairs} p WHERE p.act IS NOT NULL)
            FOR UPDATE OF t""",
        )
        await self._make(
            self.o,
            f"""SELECT p.n AS {self.mark}, t.ctid AS {self.place}, {self._all("t")}
            FROM (SELECT ct, v, row_number() OVER (PARTITION BY v ORDER BY ct) AS r
                  FROM {copies}) c
            JOIN {pairs} p ON p.v = c.v AND p.r = c.r AND p.act IS NOT NULL
            JOIN ONLY {self.table.quoted} t ON t.ctid = c.ct""",
        )
        # Which rows took the place of missing copies cannot be told, so force does not help here.
        await self._make(
            self.w,
            f"""SELECT v.*, verdict = 'changed' AS skip FROM (
              SELECT p.n, p.bct, p.bct AS sct, p.act, o.{self.place} AS nct, false AS soft,
                CASE WHEN p.act IS NULL OR o.{self.place} IS NOT NULL THEN 'ours'
                     ELSE 'changed' END AS verdict,
                CASE WHEN p.act IS NULL THEN 'insert'
                     WHEN o.{self.place} IS NOT NULL THEN 'delete' END AS op
              FROM {pairs} p LEFT JOIN {self.o} o ON o.{self.mark} = p.n) v""",
        )

    # --- names ----------------------------------------------------------------------------

    def table_column(self, name: str) -> Column:
        return next(c for c in self.table.columns if c.name == name)

    @property
    def hard(self) -> list[Column]:
        """Columns that UPDATE may not set freely: it would meet a unique index row by row, or
        they are GENERATED ALWAYS AS IDENTITY."""
        return [c for c in self.table.stored if c.name in self.table.unique or c.identity == "a"]

    @property
    def soft(self) -> list[Column]:
        hard = self.hard
        return [c for c in self.table.stored if c not in hard]

    def _all(self, alias: str) -> str:
        return listed(self.table.columns, alias)

    async def _make(self, name: str, query: str) -> None:
        plain = name.removeprefix("pg_temp.")
        await self._session.run(f"CREATE TEMPORARY TABLE {plain} ON COMMIT DROP AS {query}")
