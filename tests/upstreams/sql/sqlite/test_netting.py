"""The net difference is that of the whole tables, however many rows it takes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from gateway.model import Deny
from gateway.upstreams.sql.sqlite.images import LINE_ROWS, Change, unpack
from gateway.upstreams.sql.sqlite.netting import Packed, Sides, differing
from gateway.upstreams.sql.sqlite.recorder import Touched

_ROWS = 2 * LINE_ROWS + 7


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[Sides]:
    path = tmp_path / "a.db"
    after, before = apsw.Connection(str(path)), apsw.Connection(str(path))
    after.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    after.execute("CREATE TABLE w(k TEXT COLLATE NOCASE PRIMARY KEY, v) WITHOUT ROWID")
    with after:
        after.executemany("INSERT INTO t VALUES(?, ?)", ((n, n * 1.0) for n in range(_ROWS)))
        after.executemany("INSERT INTO w VALUES(?, ?)", ((f"k{n}", n) for n in range(_ROWS)))
    after.execute("BEGIN IMMEDIATE")
    yield Sides(before=before, after=after, max_rows=_ROWS)
    after.close()
    before.close()


def changes(packed: Packed | Deny | None) -> dict[str, tuple[Change, ...]]:
    assert isinstance(packed, Packed)
    return {i.shape.name: i.changes for i in unpack(packed.tables, packed.image)}


@pytest.mark.parametrize("whole", [True, False])
def test_many_rows_are_told_in_their_order(sides: Sides, whole: bool) -> None:
    sides.after.execute("UPDATE t SET v = v + (id % 2); DELETE FROM t WHERE id % 5 = 0")
    keys = {(n,) for n in range(_ROWS)}
    touched = {"t": Touched(keys=set() if whole else keys, whole=whole)}
    found = changes(sides.pack(touched, max_bytes=1 << 30))["t"]
    wanted = [n for n in range(_ROWS) if n % 2 or n % 5 == 0]
    assert [c.key for c in sorted(found, key=lambda c: str(c.key).zfill(9))] == [
        (n,) for n in sorted(wanted, key=lambda n: str((n,)).zfill(9))
    ]
    for change in found:
        (number,) = change.key
        assert change.before == (number, float(number))
        assert change.after == (None if number % 5 == 0 else (number, number + 1.0))  # type: ignore[operator]


def test_two_spellings_of_one_key_are_one_change_also_far_apart(sides: Sides) -> None:
    sides.after.execute("UPDATE w SET k = upper(k)")
    keys = [(f"{k}{n}",) for k in "kK" for n in range(_ROWS)]
    random.Random(1).shuffle(keys)
    found = changes(sides.pack({"w": Touched(keys=set(keys))}, max_bytes=1 << 30))["w"]
    assert len(found) == _ROWS
    assert {(c.before, c.after) for c in found} == {
        ((f"k{n}", n), (f"K{n}", n)) for n in range(_ROWS)
    }


def test_what_is_too_much_is_not_kept(sides: Sides) -> None:
    sides.after.execute("DELETE FROM t")
    assert sides.pack({"t": Touched(keys={(n,) for n in range(99)})}, max_bytes=99) is None
    small = Sides(before=sides.before, after=sides.after, max_rows=_ROWS - 1)
    refused = small.pack({"t": Touched(whole=True)}, max_bytes=1 << 30)
    assert isinstance(refused, Deny)
    assert refused.reason == "undo.unavailable"
    gone = sides.pack({"nowhere": Touched()}, max_bytes=99)
    assert isinstance(gone, Deny)


def test_rows_that_only_look_alike_differ() -> None:
    pairs = [((1,), (1.0,)), ((0.0,), (-0.0,)), (("a",), (b"a",)), ((1,), (1,)), ((None,), None)]
    before = {(n,): old for n, (old, _) in enumerate(pairs)}
    after = {(n,): new for n, (_, new) in enumerate(pairs) if new is not None}
    assert [key for (key,), _, _ in differing(before, before, after)] == [0, 1, 2, 4]
