from __future__ import annotations

from tests.fixtures.terminal import Terminal, problem_body

KEPT = {
    "id": "snap_1",
    "call": "call_1",
    "upstream": "shop",
    "kind": "sqlite",
    "reversibility": "exact",
    "bytes": 1234,
    "stored_bytes": 321,
    "key": "k1",
    "sha256": "d" * 64,
    "expires_at": "2026-03-01T13:00:00Z",
    "deleted_at": None,
    "erased_at": None,
}
IMAGE = {"resource": "main.t", "key": {"id": 7}, "before": {"name": "Ann"}, "after": None}


def test_snapshots_are_listed() -> None:
    shell = Terminal().on("GET", "/admin/snapshots", 200, {"snapshots": [KEPT], "cursor": "9"})
    assert shell.run("snapshots", "list") == 0
    for part in ("snap_1", "call_1", "1234", "321", "k1", "More: --cursor 9"):
        assert part in shell.out


def test_a_snapshot_shows_its_images() -> None:
    body = {**KEPT, "images": [IMAGE], "offset": 0, "next_offset": 1}
    shell = Terminal().on("GET", "/admin/snapshots/snap_1", 200, body)
    assert shell.run("snapshots", "show", "snap_1", "--limit", "1") == 0
    for part in ("main.t", "Ann", "d" * 64, "More: --offset 1"):
        assert part in shell.out


def test_a_snapshot_without_images_says_so() -> None:
    body = {**KEPT, "images": None, "offset": 0, "next_offset": None}
    shell = Terminal().on("GET", "/admin/snapshots/snap_1", 200, body)
    assert shell.run("snapshots", "show", "snap_1") == 0
    assert "deleted" in shell.out


def test_a_snapshot_is_deleted() -> None:
    shell = Terminal().on("DELETE", "/admin/snapshots/snap_1", 200, {"id": "snap_1"})
    assert shell.run("snapshots", "delete", "snap_1") == 0
    assert "Deleted: snap_1" in shell.out


def test_what_cannot_be_deleted_is_a_failure() -> None:
    body = problem_body(503, "store.unavailable", "An image could not be removed.")
    shell = Terminal().on("DELETE", "/admin/snapshots/snap_1", 503, body)
    assert shell.run("snapshots", "delete", "snap_1") == 1
    assert "could not be removed" in shell.err


def test_keys_are_rotated_and_what_is_left_is_said() -> None:
    turned = {"key": "k2", "rewrapped": 5, "damaged": 0, "plain": 0}
    shell = Terminal().on("POST", "/admin/snapshots/rotate", 200, turned)
    assert shell.run("snapshots", "rotate") == 0
    assert shell.out.strip() == "5 images are under the key k2 now."
    shell = Terminal().on(
        "POST", "/admin/snapshots/rotate", 200, {**turned, "damaged": 1, "plain": 2}
    )
    assert shell.run("snapshots", "rotate") == 1
    assert "1 could not be read" in shell.out
    assert "2 are from before" in shell.out
    assert shell.run("snapshots", "rotate", "--json") == 1
