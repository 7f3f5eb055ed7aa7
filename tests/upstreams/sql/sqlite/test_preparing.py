"""What a file needs so that its journal can be kept."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from gateway.errors import UpstreamError
from gateway.upstreams.sql.sqlite.preparing import prepared


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.db"
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE t(a)")
    db.close()
    return path


def mode(file: Path, wanted: str | None = None) -> str:
    db = apsw.Connection(str(file))
    found = str(db.pragma("journal_mode", wanted) if wanted else db.pragma("journal_mode"))
    db.close()
    return found


def test_the_default_needs_nothing(file: Path) -> None:
    [piece] = prepared(file, apply=True)
    assert (piece.state, piece.detail) == ("there", None)


def test_a_write_ahead_log_is_shown_and_ended_when_asked(file: Path) -> None:
    mode(file, "wal")
    [piece] = prepared(file, apply=False)
    assert (piece.state, mode(file)) == ("missing", "wal")
    assert "PRAGMA journal_mode = DELETE" in piece.statements
    [piece] = prepared(file, apply=True)
    assert (piece.state, mode(file)) == ("applied", "delete")


def test_others_that_have_the_file_open_are_named(file: Path) -> None:
    mode(file, "wal")
    other = apsw.Connection(str(file))
    other.execute("BEGIN; SELECT * FROM t")
    [piece] = prepared(file, apply=True)
    assert piece.state == "failed"
    assert "open" in (piece.detail or "")
    other.close()


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database" * 100)
    with pytest.raises(UpstreamError):
        prepared(tmp_path / "x.db", apply=False)
