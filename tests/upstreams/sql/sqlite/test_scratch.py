from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from gateway.upstreams.sql.sqlite.pages import DatabaseFile
from gateway.upstreams.sql.sqlite.scratch import Scratch
from tests.upstreams.sql.sqlite.driving import change, rows_in

SCHEMA = "PRAGMA page_size = 1024; CREATE TABLE t(a, b); INSERT INTO t VALUES(1, zeroblob(9000))"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    change(tmp_path / "a.db", SCHEMA)
    return tmp_path / "a.db"


@pytest.mark.parametrize(
    "sql",
    ["INSERT INTO t VALUES(2, zeroblob(99999))", "DELETE FROM t; VACUUM", "UPDATE t SET a = 7"],
)
def test_the_pages_in_which_the_copy_differs_make_it_of_the_file(
    path: Path, tmp_path: Path, sql: str
) -> None:
    scratch = Scratch(tmp_path / "x.scratch")
    with DatabaseFile(path) as file:
        with scratch.opened(file, None) as db:
            db.execute(sql)
            wanted = rows_in(db)
        pages = scratch.differing(file)
        assert pages is not None
        whole = bytearray(path.read_bytes())
        whole = whole[: pages.count * pages.size].ljust(pages.count * pages.size, b"\0")
        for number, image in pages.images.items():
            whole[(number - 1) * pages.size : number * pages.size] = image
    made = tmp_path / "made.db"
    made.write_bytes(whole)
    db = apsw.Connection(str(made))
    assert db.pragma("integrity_check") == "ok"
    assert rows_in(db) == wanted
    db.close()
    scratch.discard()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.db", "made.db"]


def test_a_copy_that_stays_as_it_is_differs_in_nothing(path: Path, tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "x.scratch")
    with DatabaseFile(path) as file:
        with scratch.opened(file, None) as db:
            assert db.execute("SELECT a FROM t").fetchall() == [(1,)]
        assert scratch.differing(file) is None
    scratch.discard()
