from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.audit import GENESIS, seal
from gateway.cli import remote
from tests.fixtures.terminal import Terminal


def chain(count: int) -> list[dict[str, Any]]:
    entries, previous = [], GENESIS
    for seq in range(1, count + 1):
        at = datetime(2026, 3, 1, 12, 0, seq % 60, tzinfo=UTC)
        sealed = seal(previous, seq, at, "test", {"n": seq, "text": "ü\n\u202e"})
        previous = sealed.hash
        entries.append({"seq": sealed.seq, "hash": sealed.hash, "body": sealed.body})
    return entries


def serving(entries: list[dict[str, Any]]) -> Terminal:
    def page(request: httpx.Request) -> tuple[int, Any]:
        after, limit = (int(request.url.params[name]) for name in ("after", "limit"))
        found = [e for e in entries if e["seq"] > after][:limit]
        return 200, {"entries": found, "after": None}

    shell = Terminal()
    shell.answers["GET", "/admin/audit"] = page
    return shell


def test_a_good_log_verifies_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAGE", 3)
    entries = chain(7)
    shell = serving(entries)
    assert shell.run("audit", "verify") == 0
    assert "7 entries are good" in shell.out
    assert entries[-1]["hash"] in shell.out
    assert len(shell.requests) == 3


def test_the_first_bad_entry_is_named() -> None:
    entries = chain(5)
    entries[2]["body"] = entries[2]["body"].replace('"n":3', '"n":4')
    shell = serving(entries)
    assert shell.run("audit", "verify") == 1
    assert "Bad entry 3" in shell.err
    assert shell.run("audit", "verify", "--json") == 1
    verdict = json.loads(shell.out)
    assert verdict["ok"] is False
    assert verdict["fault"]["seq"] == 3


@pytest.mark.parametrize("as_list", [True, False])
def test_a_cut_log_is_found_by_its_checkpoint(tmp_path: Path, as_list: bool) -> None:
    entries = chain(5)
    point = {"seq": 5, "hash": entries[-1]["hash"]}
    file = tmp_path / "point.json"
    file.write_text(json.dumps([point] if as_list else point))
    assert serving(entries).run("audit", "verify", "--checkpoint", str(file)) == 0
    shell = serving(entries[:4])
    assert shell.run("audit", "verify", "--checkpoint", str(file)) == 1
    assert "ends before the checkpoint at 5" in shell.err


@pytest.mark.parametrize("text", ["", "{}", "[]", "5", '{"seq": "1", "hash": "x"}', "\xff"])
def test_a_checkpoint_that_is_none_is_a_usage_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "point.json"
    file.write_bytes(text.encode("latin-1"))
    shell = serving(chain(1))
    assert shell.run("audit", "verify", "--checkpoint", str(file)) == 2
    assert shell.requests == []


def test_an_exported_log_verifies_without_a_gateway(tmp_path: Path) -> None:
    entries = chain(4)
    file = tmp_path / "log.jsonl"
    assert serving(entries).run("audit", "export", "--out", str(file)) == 0
    lines = file.read_text("ascii").splitlines()
    assert [json.loads(line) for line in lines] == entries
    shell = Terminal(environ={})
    assert shell.run("audit", "verify", "--file", str(file)) == 0
    assert "4 entries are good" in shell.out
    file.write_text("\n".join([lines[0], lines[2], lines[1], lines[3]]) + "\n")
    assert shell.run("audit", "verify", "--file", str(file)) == 1
    assert "Bad entry 2" in shell.err


def test_a_line_that_is_no_entry_is_named(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text(json.dumps(chain(1)[0]) + "\nnot json\n")
    shell = Terminal(environ={})
    assert shell.run("audit", "verify", "--file", str(file)) == 1
    assert "log.jsonl:2" in shell.err


def test_the_export_goes_to_standard_output() -> None:
    entries = chain(3)
    shell = serving(entries)
    assert shell.run("audit", "export", "--after", "1") == 0
    assert [json.loads(line) for line in shell.out.splitlines()] == entries[1:]
    assert shell.out.isascii()


def test_a_checkpoint_is_written_and_verifies(tmp_path: Path) -> None:
    entries = chain(3)
    answer = {"seq": 3, "hash": entries[-1]["hash"], "at": "2026-03-01T12:00:00Z"}
    shell = serving(entries).on("POST", "/admin/audit/checkpoints", 201, answer)
    file = tmp_path / "point.json"
    assert shell.run("audit", "checkpoint", "--out", str(file)) == 0
    assert json.loads(file.read_text()) == answer
    assert shell.run("audit", "verify", "--checkpoint", str(file)) == 0


def test_a_folder_cannot_be_written_to(tmp_path: Path) -> None:
    shell = serving(chain(1))
    assert shell.run("audit", "export", "--out", str(tmp_path / "no" / "log")) == 1
    assert "cannot be written" in shell.err
