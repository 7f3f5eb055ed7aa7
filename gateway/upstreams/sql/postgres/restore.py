"""Taking back what one call did to one table: compare before, after and now, then restore.

Everything is set-based over temporary tables: ``b`` and ``a`` hold the images, ``o`` the rows as
they are now (locked), ``w`` one line per row with what is to be done. Rows are compared by
``*=``, which tells apart what ``=`` does not (1.0 and 1.00, -0 and 0). Tables with a key are
compared key by key; others as multisets, where only equal copies can be told to be ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from gateway.errors import ImageDamaged, UpstreamError
from gateway.model import OnConflict
from gateway.upstreams.sql.postgres.catalog import Column, Table
from gateway.upstreams.sql.postgres.copying import Segments, copy_in
from gateway.upstreams.sql.postgres.images import BINARY, TableImage
from gateway.upstreams.sql.postgres.phrases import listed, row_text, same_row
from gateway.upstreams.sql.postgres.session import Session

_UNIQUE = (psycopg.errors.UniqueViolation, psycopg.errors.ExclusionViolation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A row that cannot be restored, found while trying. ``row``: its line in ``w``."""

    row: int
    why: str  # unique orphan referenced


class Restore:
    """One table of one call. ``load`` and ``compare`` once; ``apply`` again after each ``skip``,
    from the savepoint that the caller holds."""

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
        self._why: dict[int, str] = {}
        self.linked = True  # whether rows found on one side only belong together
        self.b, self.a, self.o, self.w = (f"pg_temp.{prefix}{side}" for side in "baow")
        self.mark = f"{prefix}n"
        self._place = f"{prefix}ctid"
        self._whole = f"{prefix}row"  # in ``b``: the line that a merged row is for

    @property
    def keyed(self) -> bool:
        return self.table.key is not None

    # --- compare --------------------------------------------------------------------------

    async def load(self, segments: Segments) -> None:
        """Raises ``ImageDamaged``; whatever was restored by then must be rolled back."""
        columns = listed(self.table.stored)
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
                await self._session.run(f"ANALYZE {name}")

    async def compare(self) -> None:
        """Locks the rows concerned and decides what each one needs."""
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
            f"""SELECT p.n AS {self.mark}, t.ctid AS {self._place}, {self._all("t")}
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
        hard = [c for c in stored if self._hard(c)]
        await self._make(
            self.w,
            f"""SELECT v.*, (verdict = 'changed' AND NOT {self._force}) AS skip,
              CASE WHEN verdict = 'same' OR (bct IS NULL AND nct IS NULL) THEN NULL
                   WHEN bct IS NULL THEN 'delete' WHEN nct IS NULL THEN 'insert'
                   WHEN soft THEN 'update' ELSE 'replace' END AS op
            FROM (SELECT p.n, p.bct, p.sct, p.act, o.{self._place} AS nct,
                {same_row("b", "o", hard) if hard else "true"} AS soft,
                p.act IS NULL AND o.{self._place} IS NULL OR p.act IS NOT NULL
                  AND o.{self._place} IS NOT NULL AND {same_row("a", "o", stored)} AS kept,
                CASE WHEN (p.bct IS NULL AND o.{self._place} IS NULL)
                       OR (p.bct IS NOT NULL AND o.{self._place} IS NOT NULL
                           AND {same_row("b", "o", stored)}) THEN 'same'
                     WHEN b.{self._whole} IS NOT NULL OR (p.act IS NULL AND o.{self._place} IS NULL)
                       OR (p.act IS NOT NULL AND o.{self._place} IS NOT NULL
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
            f"""SELECT p.n AS {self.mark}, t.ctid AS {self._place}, {self._all("t")}
            FROM (SELECT ct, v, row_number() OVER (PARTITION BY v ORDER BY ct) AS r
                  FROM {copies}) c
            JOIN {pairs} p ON p.v = c.v AND p.r = c.r AND p.act IS NOT NULL
            JOIN ONLY {self.table.quoted} t ON t.ctid = c.ct""",
        )
        # Which rows took the place of missing copies cannot be told, so force does not help here.
        await self._make(
            self.w,
            f"""SELECT v.*, verdict = 'changed' AS skip FROM (
              SELECT p.n, p.bct, p.bct AS sct, p.act, o.{self._place} AS nct, false AS soft,
                CASE WHEN p.act IS NULL OR o.{self._place} IS NOT NULL THEN 'ours'
                     ELSE 'changed' END AS verdict,
                CASE WHEN p.act IS NULL THEN 'insert'
                     WHEN o.{self._place} IS NOT NULL THEN 'delete' END AS op
              FROM {pairs} p LEFT JOIN {self.o} o ON o.{self.mark} = p.n) v""",
        )

    # --- restore --------------------------------------------------------------------------

    async def apply(self) -> list[Problem]:
        """Restores every row that is not skipped. What other rows stand in the way of is left
        out and returned; then the caller rolls back, skips, and applies again."""
        stored = self.table.stored
        target = self.table.quoted
        problems = await self._each(
            f"DELETE FROM ONLY {target} t USING {self.w} w WHERE t.ctid = w.nct",
            ("delete", "replace") if self._twice else ("delete",),
        )
        soft = [c for c in stored if not self._hard(c) or not self._twice]
        sets = ", ".join(f"{c.quoted} = b.{c.quoted}" for c in soft)
        if sets:
            problems += await self._each(
                f"UPDATE ONLY {target} t SET {sets} FROM {self.w} w JOIN {self.b} b "
                "ON b.ctid = w.bct WHERE t.ctid = w.nct",
                ("update",) if self._twice else ("update", "replace"),
            )
        problems += await self._each(
            f"INSERT INTO {target} ({listed(stored)}) OVERRIDING SYSTEM VALUE "
            f"SELECT {listed(stored, 'b')} FROM {self.w} w JOIN {self.b} b ON b.ctid = w.bct "
            "WHERE true",
            ("insert", "replace") if self._twice else ("insert",),
        )
        return problems + await self._duplicates()

    async def _each(self, statement: str, ops: Sequence[str]) -> list[Problem]:
        among = "w.op IN (" + ", ".join(f"'{op}'" for op in ops) + ") AND NOT w.skip"
        rows = await self._session.rows(f"SELECT w.n FROM {self.w} w WHERE {among} ORDER BY w.n")
        lines = [row for (row,) in rows]
        problems: list[Problem] = []
        parts = [lines] if lines else []
        while parts:
            part = parts.pop()
            bounded = f"{statement} AND {among} AND w.n BETWEEN {part[0]} AND {part[-1]}"
            why = await self._try(bounded, len(part))
            if why is None:
                continue
            if len(part) == 1:
                problems.append(Problem(row=part[0], why=why))
            else:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
        return problems

    async def _try(self, statement: str, expected: int) -> str | None:
        """``None`` when it went through, otherwise what kind of constraint refused it."""
        await self._session.run("SAVEPOINT part")
        try:
            touched = await self._session.run(statement)
        except (*_UNIQUE, psycopg.errors.ForeignKeyViolation) as error:
            await self._session.run("ROLLBACK TO SAVEPOINT part")
            await self._session.run("RELEASE SAVEPOINT part")
            if isinstance(error, _UNIQUE):
                return "unique"
            return "referenced" if statement.startswith("DELETE") else "orphan"
        if touched != expected:
            raise UpstreamError(
                f"Restoring {self.image.resource} touched {touched} rows where {expected} were "
                "compared; it was rolled back."
            )
        await self._session.run("RELEASE SAVEPOINT part")
        return None

    async def _duplicates(self) -> list[Problem]:
        """Deferrable unique constraints are checked by a trigger, and triggers are off."""
        problems: list[Problem] = []
        for key in self.table.deferrable:
            names = [self.table_column(n).quoted for n in key.columns]
            pairs = zip(names, key.operators, strict=True)
            equal = " AND ".join(f"t.{name} {op} b.{name}" for name, op in pairs)
            rows = await self._session.rows(
                f"SELECT w.n FROM {self.w} w JOIN {self.b} b ON b.ctid = w.bct "
                "WHERE NOT w.skip AND w.op <> 'delete' AND (SELECT count(*) FROM ONLY "
                f"{self.table.quoted} t WHERE {equal}) > 1"
            )
            problems += [Problem(row=row, why="unique") for (row,) in rows]
        return problems

    async def skip(self, problems: Sequence[Problem]) -> None:
        for problem in problems:
            self._why[problem.row] = problem.why
        await self._session.run(
            f"UPDATE {self.w} SET skip = true WHERE n = ANY(%s)", [p.row for p in problems]
        )

    async def keys(self) -> list[list[str]]:
        """The keys of all images as text, column by column."""
        assert self.table.key is not None
        columns = [self.table_column(name) for name in self.table.key.columns]
        sides = " UNION ".join(
            f"SELECT {', '.join(f'x.{c.quoted}::text' for c in columns)} FROM {side} x"
            for side in (self.b, self.a)
        )
        return [list(column) for column in zip(*await self._session.rows(sides), strict=True)]

    async def undone(self) -> list[int]:
        """Rows that stand as before the call, though the call had changed them."""
        if not self.keyed:
            return []
        rows = await self._session.rows(
            f"SELECT n FROM {self.w} WHERE verdict = 'same' AND NOT kept ORDER BY n"
        )
        return [row for (row,) in rows]

    def note(self, rows: Sequence[int], why: str) -> None:
        """Lists rows that are left as they are without being counted as left."""
        self._why.update(dict.fromkeys(rows, why))

    async def one_sided(self, *, skipped: bool) -> list[int]:
        """Rows that have only a before or only an after image."""
        rows = await self._session.rows(
            f"SELECT n FROM {self.w} WHERE (bct IS NULL) <> (act IS NULL) "
            f"AND skip = {skipped} AND verdict <> 'same'"
        )
        return [row for (row,) in rows]

    # --- report ---------------------------------------------------------------------------

    async def restored(self) -> int:
        counted = await self._session.one(
            f"SELECT count(*) FROM {self.w} WHERE op IS NOT NULL AND NOT skip"
        )
        return int(counted[0])

    async def left(self) -> int:
        counted = await self._session.one(f"SELECT count(*) FROM {self.w} WHERE skip")
        return int(counted[0])

    async def merged(self) -> int:
        counted = await self._session.one(
            f"SELECT count(*) FROM {self.w} w JOIN {self.b} b ON b.ctid = w.bct "
            f"WHERE b.{self._whole} IS NOT NULL AND NOT w.skip"
        )
        return int(counted[0])

    def why(self, row: int) -> str:
        return self._why[row]

    def disputed(self) -> list[int]:
        """Every row that was left, or overwritten by force."""
        return sorted(self._why)

    # --- names ----------------------------------------------------------------------------

    def table_column(self, name: str) -> Column:
        return next(c for c in self.table.columns if c.name == name)

    def _hard(self, column: Column) -> bool:
        """Columns that UPDATE may not set freely: it would meet a unique index row by row, or
        they are GENERATED ALWAYS AS IDENTITY."""
        return column.name in self.table.unique or column.identity == "a"

    @property
    def _twice(self) -> bool:
        """Whether a row with a new value in a hard column is deleted and inserted. Foreign keys
        that are enforced meanwhile would refuse the delete; then it is updated."""
        return self._replica or any(c.identity == "a" for c in self.table.stored)

    def _all(self, alias: str) -> str:
        return listed(self.table.columns, alias)

    async def _make(self, name: str, query: str) -> None:
        plain = name.removeprefix("pg_temp.")
        await self._session.run(f"CREATE TEMPORARY TABLE {plain} ON COMMIT DROP AS {query}")
