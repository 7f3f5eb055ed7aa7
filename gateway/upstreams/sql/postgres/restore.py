"""Taking back what one call did to one table, once it is compared with what is there now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from gateway.errors import UpstreamError
from gateway.upstreams.sql.postgres.comparing import Comparison
from gateway.upstreams.sql.postgres.phrases import listed

UNIQUE = (psycopg.errors.UniqueViolation, psycopg.errors.ExclusionViolation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A row that cannot be restored, found while trying. ``row``: its line in ``w``."""

    row: int
    why: str  # unique orphan referenced


class Restore(Comparison):
    """One table of one call. ``apply`` again after each ``skip``, from the savepoint that the
    caller holds."""

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
        soft = self.soft if self._twice else stored
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
        except (*UNIQUE, psycopg.errors.ForeignKeyViolation) as error:
            await self._session.run("ROLLBACK TO SAVEPOINT part")
            await self._session.run("RELEASE SAVEPOINT part")
            if isinstance(error, UNIQUE):
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

    @property
    def put(self) -> tuple[str, str, str]:
        """Rows ``b`` that are put back: FROM items, a condition, and their lines."""
        if self.met is not None:
            return f"{self.b} b", "true", "0"
        ops = "w.op IN ('insert', 'update', 'replace') AND NOT w.skip"
        return f"{self.w} w JOIN {self.b} b ON b.ctid = w.bct", ops, "w.n"

    @property
    def taken(self) -> tuple[str, str, str]:
        """Rows ``o`` that are taken away, likewise."""
        if self.met is not None:
            return f"{self.a} o", "true", "0"
        ops = "w.op IN ('delete', 'update', 'replace') AND NOT w.skip"
        return f"{self.w} w JOIN {self.o} o ON o.{self.mark} = w.n", ops, "w.n"

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
        if self.met is not None:
            return self.met.rows
        counted = await self._session.one(
            f"SELECT count(*) FROM {self.w} WHERE op IS NOT NULL AND NOT skip"
        )
        return int(counted[0])

    async def left(self) -> int:
        if self.met is not None:
            return 0
        counted = await self._session.one(f"SELECT count(*) FROM {self.w} WHERE skip")
        return int(counted[0])

    async def merged(self) -> int:
        if self.met is not None:
            return 0
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

    @property
    def _twice(self) -> bool:
        """Whether a row with a new value in a hard column is deleted and inserted. Foreign keys
        that are enforced meanwhile would refuse the delete; then it is updated."""
        return self._replica or any(c.identity == "a" for c in self.table.stored)


async def note_undone(restores: Sequence[Restore]) -> None:
    """Rows that somebody put back already are listed like every row that others touched: what they
    did may have met rows that the call had put in their place."""
    for restore in restores:
        restore.note(await restore.undone(), "undone")


async def link(restores: Sequence[Restore]) -> None:
    """Rows that moved are put back together or not at all."""
    families: dict[int, list[Restore]] = {}
    for restore in restores:
        if restore.linked:
            families.setdefault(restore.image.family, []).append(restore)
    for family in families.values():
        if not any([await r.one_sided(skipped=True) for r in family]):
            continue
        for restore in family:
            rest = await restore.one_sided(skipped=False)
            await restore.skip([Problem(row=row, why="linked") for row in rest])
