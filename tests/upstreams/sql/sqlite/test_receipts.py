"""A receipt is there or it is not; while somebody writes nobody can tell."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import apsw

from gateway.model import EffectState
from gateway.upstreams.sql.sqlite import receipts

THEN = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_answer_is_unknown_while_a_writer_is_under_way(tmp_path: Path) -> None:
    writer, asker = (apsw.Connection(str(tmp_path / "a.db")) for _ in range(2))
    receipts.prepare(writer, THEN)
    writer.execute("BEGIN IMMEDIATE")
    receipts.write(writer, "one", THEN)
    assert receipts.ask(asker, "one") is EffectState.UNKNOWN
    writer.execute("COMMIT")
    assert receipts.ask(asker, "one") is EffectState.APPLIED
    assert receipts.ask(asker, "two") is EffectState.NONE
    writer.close()
    asker.close()
