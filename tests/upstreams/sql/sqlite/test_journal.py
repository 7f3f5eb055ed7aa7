"""Journals are kept only where they can be put back."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest

from gateway.model import Deny, EffectState
from gateway.upstreams.sql.sqlite.journal import Journals


@pytest.mark.parametrize(
    ("pragma", "keepable"),
    [
        ("user_version", True),
        ("journal_mode = wal", False),
        ("journal_mode = memory", False),
        ("journal_mode = truncate", False),
        ("synchronous = off", False),
        ("locking_mode = exclusive", False),
    ],
)
def test_only_a_synced_journal_that_is_deleted_is_kept(
    tmp_path: Path, pragma: str, keepable: bool
) -> None:
    db = apsw.Connection(str(tmp_path / "a.db"))
    db.execute(f"CREATE TABLE t(a); PRAGMA {pragma}")
    journals = Journals(tmp_path / "a.db", tmp_path)
    db.execute("BEGIN IMMEDIATE; INSERT INTO t VALUES(1)")
    assert isinstance(journals.keep(db, "call", 1), Deny) is not keepable
    assert isinstance(journals.keep(db, "../call", 1), Deny)
    db.execute("ROLLBACK")
    db.close()


def test_what_waits_to_be_put_back_is_voided_when_asked_and_never_pruned(tmp_path: Path) -> None:
    journals = Journals(tmp_path / "a.db", tmp_path)
    for name in ("a.journal", "a.void", "b.putback"):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (0, 0))
    late = datetime(2026, 1, 1, tzinfo=UTC)
    journals.prune(receipts=late, journals=None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.journal", "b.putback"]
    journals.prune(receipts=late, journals=late)
    assert [p.name for p in tmp_path.iterdir()] == ["b.putback"]
    assert journals.happened("putback:b") is EffectState.NONE
    assert journals.happened("putback:b") is EffectState.NONE
    assert journals.happened("putback:c") is EffectState.APPLIED
    assert journals.happened("putback:../x") is EffectState.UNKNOWN


def test_no_journal_is_kept_where_it_must_not_lie_unencrypted(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "a.db"))
    db.execute("CREATE TABLE t(a)")
    journals = Journals(tmp_path / "a.db", tmp_path, plain=False)
    db.execute("BEGIN IMMEDIATE; INSERT INTO t VALUES(1)")
    refused = journals.keep(db, "call", 1)
    assert isinstance(refused, Deny)
    assert "unencrypted" in refused.detail
    assert not (tmp_path / "call.journal").exists()
    db.close()


def test_a_journal_is_erased_by_its_call_and_no_other_file_is(tmp_path: Path) -> None:
    journals = Journals(tmp_path / "a.db", tmp_path / "kept")
    journals.erase("call_1")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "call_1.journal").write_bytes(b"x")
    (tmp_path / "x.journal").write_bytes(b"x")
    for call in ("call_1", "call_1", "../x"):
        journals.erase(call)
    assert [p.name for p in tmp_path.rglob("*.journal")] == ["x.journal"]
