"""Captured images among concurrent writers, against an independent log kept by row triggers, and
against the rows themselves where no trigger is in the way.

``HOLDFAST_CASES`` sets the number of agents' transactions.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw

from gateway.upstreams.sql.limits import SqlLimits
from gateway.upstreams.sql.sqlite.images import unpack
from tests.upstreams.sql.sqlite.driving import Done, Driver, driving

CALLS = int(os.environ.get("HOLDFAST_CASES") or 60)
LIMITS = SqlLimits(lock_timeout_s=30.0)

# The others write rows below zero.
SCHEMA = """
CREATE TABLE p(id INTEGER PRIMARY KEY, n);
CREATE TABLE t(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE, v);
CREATE TABLE bare(id INTEGER PRIMARY KEY, v UNIQUE);
CREATE TABLE truth(seq INTEGER PRIMARY KEY, name, old, new);
CREATE INDEX t_p ON t(p);
WITH RECURSIVE g(i) AS (SELECT -40 UNION ALL SELECT i + 1 FROM g WHERE i < 40)
  INSERT INTO p SELECT i, 0 FROM g;
INSERT INTO t SELECT id, id, 'v' FROM p;
INSERT INTO bare SELECT id, id * 1.5 FROM p;
""" + "".join(
    f"CREATE TRIGGER {name}_{verb} AFTER {verb} ON {name} BEGIN INSERT INTO truth(name, old, new)"
    f" VALUES('{name}', {old}, {new}); END;"
    for name, columns in (("p", ("id", "n")), ("t", ("id", "p", "v")))
    for row in ["json_array({})"]
    for verb, old, new in (
        ("INSERT", "NULL", row.format(", ".join(f"new.{c}" for c in columns))),
        ("DELETE", row.format(", ".join(f"old.{c}" for c in columns)), "NULL"),
        (
            "UPDATE",
            row.format(", ".join(f"old.{c}" for c in columns)),
            row.format(", ".join(f"new.{c}" for c in columns)),
        ),
    )
)


def write(path: Path, seed: int, stop: threading.Event) -> int:
    """One of the others."""
    choose, done = random.Random(seed), 0
    db = apsw.Connection(str(path))
    db.set_busy_timeout(100)
    db.pragma("foreign_keys", True)
    while not stop.is_set():
        row = -choose.randint(1, 40)
        try:
            with db:
                db.execute("UPDATE p SET n = n + 1 WHERE id = ?", (row,))
                db.execute("INSERT OR REPLACE INTO t VALUES(?, ?, 'w')", (row, row))
                db.execute("UPDATE bare SET v = ? WHERE id = ?", (f"w{done} {seed}", row))
            done += 1
        except (apsw.BusyError, apsw.ConstraintError):
            continue
        stop.wait(choose.random() / 50)
    db.close()
    return done


def statement(choose: random.Random) -> str:
    row, other = choose.randint(0, 40), choose.randint(41, 90)
    return choose.choice(
        [
            f"DELETE FROM t WHERE id BETWEEN {row} AND {row + 3}",
            f"UPDATE t SET v = 'a' WHERE id BETWEEN {row} AND {row + 5}",
            f"UPDATE t SET v = 'a' WHERE id = {row}; UPDATE t SET v = 'v' WHERE id = {row}",
            f"INSERT INTO t VALUES({row}, NULL, 'x') ON CONFLICT DO UPDATE SET v = 'y'",
            f"DELETE FROM p WHERE id = {row}",
            f"UPDATE OR IGNORE p SET id = {other} WHERE id = {row}",
            f"INSERT OR IGNORE INTO p VALUES({row}, 0)",
            f"DELETE FROM bare WHERE id BETWEEN {row} AND {row + 3}",
            f"UPDATE bare SET v = v || '!' WHERE id BETWEEN {row} AND {row + 9}",
            f"UPDATE OR IGNORE bare SET id = {other} WHERE id = {row}",
            f"INSERT OR IGNORE INTO bare VALUES({row}, {choose.random()})",
            f"REPLACE INTO bare VALUES({other}, {row * 1.5})",
        ]
    )


Nets = dict[str, Counter[str]]


def add(nets: Nets, name: str, row: str | None, sign: int) -> None:
    if row is not None:
        nets.setdefault(name, Counter())[row] += sign


def nonzero(nets: Nets) -> Nets:
    found = {name: Counter({r: n for r, n in net.items() if n}) for name, net in nets.items()}
    return {name: net for name, net in found.items() if net}


class Truth:
    """A third connection, which only reads."""

    def __init__(self, path: Path) -> None:
        self._db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        self._db.set_busy_timeout(10_000)
        self._seen = 0
        self._bare = self._rows()

    def _rows(self) -> list[str]:
        sql = "SELECT json_array(id, v) FROM bare WHERE id >= 0"
        return [str(row) for (row,) in self._db.execute(sql)]

    def since(self) -> Nets:
        """What happened to rows of the agent's since the last time."""
        nets: Nets = {}
        sql = "SELECT seq, name, old, new FROM truth WHERE seq > ? ORDER BY seq"
        with self._db:
            for seq, name, old, new in self._db.execute(sql, (self._seen,)).fetchall():
                self._seen = int(str(seq))
                if not str(old or new).startswith("[-"):
                    add(nets, str(name), None if old is None else str(old), -1)
                    add(nets, str(name), None if new is None else str(new), 1)
            now = self._rows()
        for row in self._bare:
            add(nets, "bare", row, -1)
        for row in now:
            add(nets, "bare", row, 1)
        self._bare = now
        return nonzero(nets)

    def told(self, done: Done) -> Nets:
        """What was captured."""
        nets: Nets = {}
        for image in unpack(done.undo.manifest["tables"], done.undo.image):
            for change in image.changes:
                for row, sign in ((change.before, -1), (change.after, 1)):
                    if row is not None and image.shape.name != "truth":
                        places = ", ".join("?" * len(row))
                        text = self._db.execute(f"SELECT json_array({places})", row).get  # type: ignore[arg-type]
                        add(nets, image.shape.name, str(text), sign)
        return nonzero(nets)

    def close(self) -> None:
        self._db.close()


async def test_captures_among_other_writers_match_an_independent_log(tmp_path: Path) -> None:
    path, stop, choose = tmp_path / "a.db", threading.Event(), random.Random(5)
    async with driving(path, SCHEMA, limits=LIMITS) as driver:
        truth = Truth(path)
        with ThreadPoolExecutor(2) as pool:
            writers = [pool.submit(write, path, seed, stop) for seed in range(2)]
            try:
                changed = sum([await agrees(driver, truth, choose) for _ in range(CALLS)])
            finally:
                stop.set()
            assert all(writer.result() > 0 for writer in writers)
        truth.close()
    assert changed >= CALLS // 3


async def agrees(driver: Driver, truth: Truth, choose: random.Random) -> bool:
    sql = statement(choose)
    told = truth.told(await driver.do(sql))
    assert told == truth.since(), sql
    return bool(told)
