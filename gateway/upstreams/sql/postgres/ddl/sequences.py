"""Where sequences stand, and putting them back: never behind a value that somebody drew since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg.sql import Identifier

from gateway.model import Json
from gateway.upstreams.sql.postgres.session import Session

_OWNED = """
SELECT DISTINCT s.oid::int8, n.nspname, s.relname, q.seqcache, q.seqincrement
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = d.classid
  AND d.refobjid = ANY (%s::int8[]::oid[]) AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
ORDER BY 1"""

_SELF = """
SELECT s.oid::int8, n.nspname, s.relname, q.seqcache, q.seqincrement
FROM pg_catalog.pg_class s
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
WHERE s.oid = ANY (%s::int8[]::oid[])"""

_THERE = """
SELECT n.nspname, s.relname FROM pg_catalog.pg_class s
JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace WHERE s.oid = %s::int8::oid"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """One sequence. ``cache`` is its own setting; ``step`` says which way it runs."""

    oid: int
    schema: str
    name: str
    cache: int
    step: int

    @property
    def quoted(self) -> str:
        return Identifier(self.schema, self.name).as_string()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """A sequence that a call moved: ``before`` and ``after`` are (last value, whether it was
    drawn)."""

    oid: int
    step: int
    before: tuple[int, bool]
    after: tuple[int, bool]

    def as_json(self) -> Json:
        return {
            "oid": self.oid,
            "step": self.step,
            "before": list(self.before),
            "after": list(self.after),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Json]) -> Reset:
        (last, drawn), (then, was) = data["before"], data["after"]
        return cls(
            oid=int(data["oid"]),
            step=int(data["step"]),
            before=(int(last), bool(drawn)),
            after=(int(then), bool(was)),
        )


async def owned(session: Session, tables: Sequence[int]) -> list[Counter]:
    """The sequences that belong to columns of ``tables``."""
    return [
        Counter(oid=oid, schema=schema, name=name, cache=cache, step=step)
        for oid, schema, name, cache, step in await session.rows(_OWNED, list(tables))
    ]


async def concerned(session: Session, relations: Sequence[int]) -> list[Counter]:
    """The sequences among ``relations``, and those that belong to the tables among them."""
    own = [
        Counter(oid=o, schema=n, name=r, cache=c, step=i)
        for o, n, r, c, i in await session.rows(_SELF, list(relations))
    ]
    return own + await owned(session, relations)


async def moved(
    session: Session, counters: Sequence[Counter], before: Mapping[int, tuple[int, bool]]
) -> list[Reset]:
    """Those of ``counters`` that stand elsewhere than ``before``."""
    found = []
    for counter in counters:
        after = await stands(session, counter.quoted)
        if after != before[counter.oid]:
            found.append(
                Reset(oid=counter.oid, step=counter.step, before=before[counter.oid], after=after)
            )
    return found


async def hold(session: Session, counter: Counter) -> None:
    """Nobody draws from it until the transaction ends; it stays as it is."""
    await session.run(holding(counter))


def holding(counter: Counter) -> str:
    """The statement of ``hold``."""
    return f"ALTER SEQUENCE {counter.quoted} CACHE {counter.cache}"


async def renewed(session: Session, counter: Counter, stood: tuple[int, bool]) -> None:
    """From here on a setval is part of the transaction, which it is not by itself: it is undone
    by a rollback. The sequence is held and stands where it stood."""
    await _placed(session, counter.quoted, stood)


async def _placed(session: Session, quoted: str, target: tuple[int, bool]) -> None:
    # Restarted first, so that the value is part of the transaction and goes with it.
    await session.run(f"ALTER SEQUENCE {quoted} RESTART WITH {target[0]}")
    await session.rows(
        "SELECT pg_catalog.setval(%s::text::pg_catalog.regclass, %s, %s)", quoted, *target
    )


async def stands(session: Session, quoted: str) -> tuple[int, bool]:
    last, drawn = await session.one(f"SELECT last_value, is_called FROM {quoted}")
    return int(last), bool(drawn)


async def where(session: Session, oid: int) -> tuple[int, bool] | None:
    """Where the sequence stands; ``None`` where it is gone."""
    found = await session.rows(_THERE, oid)
    return await stands(session, Identifier(*found[0]).as_string()) if found else None


async def put_back(session: Session, resets: Sequence[Reset]) -> list[Reset]:
    """Gives what takes this back in turn. A sequence that is gone is passed over: it went with
    something whose own way back tells of it."""
    done: list[Reset] = []
    for reset in resets:
        found = await session.rows(_THERE, reset.oid)
        if not found:
            continue
        quoted = Identifier(*found[0]).as_string()
        now = await stands(session, quoted)
        target = reset.before if now == reset.after else further(now, reset.before, reset.step)
        if target == now:
            continue
        await _placed(session, quoted, target)
        done.append(Reset(oid=reset.oid, step=reset.step, before=now, after=target))
    return done


def further(a: tuple[int, bool], b: tuple[int, bool], step: int) -> tuple[int, bool]:
    """Of two standings, the one that a sequence which runs by ``step`` comes to later."""
    return max(a, b) if step > 0 else max(a, b, key=lambda v: (-v[0], v[1]))
